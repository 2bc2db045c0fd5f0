//! A folder of small files: boot entries, or our own records. One trait, so that tests can cut its power.

use crate::error::UpdateError;
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// A folder with more files than this is not ours.
const MAX_FILES: usize = 256;

/// The seven calls beneath boot entries and records. Names are plain: no separators.
///
/// Nothing is durable before the matching sync has returned. After a power loss between, a rename may have
/// happened, not happened, or (on FAT) left both names or none.
pub trait Folder: Send + Sync {
    /// Names of the regular files.
    fn list(&self) -> Result<Vec<String>, UpdateError>;
    /// A file's bytes, none if there is no such file; more than `max` is an error.
    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, UpdateError>;
    /// Makes or replaces a file's content.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), UpdateError>;
    /// Makes a file's content durable.
    fn sync(&self, name: &str) -> Result<(), UpdateError>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> Result<(), UpdateError>;
    /// Removes a file; none there is no error.
    fn remove(&self, name: &str) -> Result<(), UpdateError>;
    /// Makes names durable.
    fn sync_names(&self) -> Result<(), UpdateError>;
}

impl<F: Folder + ?Sized> Folder for std::sync::Arc<F> {
    fn list(&self) -> Result<Vec<String>, UpdateError> {
        (**self).list()
    }
    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, UpdateError> {
        (**self).read(name, max)
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), UpdateError> {
        (**self).write(name, bytes)
    }
    fn sync(&self, name: &str) -> Result<(), UpdateError> {
        (**self).sync(name)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), UpdateError> {
        (**self).rename(from, to)
    }
    fn remove(&self, name: &str) -> Result<(), UpdateError> {
        (**self).remove(name)
    }
    fn sync_names(&self) -> Result<(), UpdateError> {
        (**self).sync_names()
    }
}

/// Replaces a file so that after a power loss either the old or the new content is there.
///
/// On FAT the name itself may be lost by a power loss in the rename; our records live on ext4 or the like.
pub fn replace(folder: &dyn Folder, name: &str, bytes: &[u8]) -> Result<(), UpdateError> {
    let scratch = format!("{name}.tmp");
    folder.write(&scratch, bytes)?;
    folder.sync(&scratch)?;
    folder.rename(&scratch, name)?;
    folder.sync_names()
}

/// A real folder.
#[derive(Debug)]
pub struct DirFolder {
    path: PathBuf,
}

impl DirFolder {
    /// A folder that exists.
    pub fn open(path: &Path) -> Result<Self, UpdateError> {
        let folder = Self { path: path.to_owned() };
        match std::fs::metadata(path) {
            Ok(m) if m.is_dir() => Ok(folder),
            Ok(_) => Err(failed("open", path, std::io::Error::from(ErrorKind::NotADirectory))),
            Err(e) => Err(failed("open", path, e)),
        }
    }
    /// Takes the lock file in this folder until the result is dropped: one update at a time.
    pub fn lock(&self) -> Result<File, UpdateError> {
        let path = self.place("update.lock")?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|e| failed("open", &path, e))?;
        file.try_lock().map_err(|_| UpdateError::Busy { path })?;
        Ok(file)
    }
    fn place(&self, name: &str) -> Result<PathBuf, UpdateError> {
        let plain =
            !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && !name.contains(['/', '\0']);
        if plain {
            return Ok(self.path.join(name));
        }
        Err(failed("open", &self.path, std::io::Error::new(ErrorKind::InvalidInput, "not a plain name")))
    }
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> UpdateError {
    UpdateError::Folder { operation, path: path.to_owned(), source }
}

impl Folder for DirFolder {
    fn list(&self) -> Result<Vec<String>, UpdateError> {
        let fail = |e| failed("list", &self.path, e);
        let mut names = Vec::new();
        for (n, item) in std::fs::read_dir(&self.path).map_err(fail)?.enumerate() {
            if n == MAX_FILES {
                // a list cut short could hide an entry that must go before its slot is written
                return Err(fail(std::io::Error::other(format!("more than {MAX_FILES} files"))));
            }
            let item = item.map_err(fail)?;
            if item.file_type().map_err(fail)?.is_file() {
                names.extend(item.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }
    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, UpdateError> {
        let path = self.place(name)?;
        let file = match File::open(&path) {
            Ok(f) => f,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("read", &path, e)),
        };
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| failed("read", &path, e))?;
        if bytes.len() as u64 > max {
            return Err(failed("read", &path, std::io::Error::from(ErrorKind::FileTooLarge)));
        }
        Ok(Some(bytes))
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), UpdateError> {
        let path = self.place(name)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut f| f.write_all(bytes)).map_err(|e| failed("write", &path, e))
    }
    fn sync(&self, name: &str) -> Result<(), UpdateError> {
        let path = self.place(name)?;
        let file = OpenOptions::new().write(true).open(&path);
        file.and_then(|f| {
            f.sync_all()?;
            crate::partition::forget_cache(&f)
        })
        .map_err(|e| failed("sync", &path, e))
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), UpdateError> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        std::fs::rename(&from, to).map_err(|e| failed("rename", &from, e))
    }
    fn remove(&self, name: &str) -> Result<(), UpdateError> {
        let path = self.place(name)?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("remove", &path, e)),
            _ => Ok(()),
        }
    }
    fn sync_names(&self) -> Result<(), UpdateError> {
        File::open(&self.path).and_then(|d| d.sync_all()).map_err(|e| failed("sync", &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_folder() {
        let dir = tempfile::tempdir().unwrap();
        let f = DirFolder::open(dir.path()).unwrap();
        replace(&f, "one", b"first").unwrap();
        replace(&f, "one", b"second").unwrap();
        assert_eq!(f.list().unwrap(), ["one"]);
        assert_eq!(f.read("one", 6).unwrap().unwrap(), b"second");
        assert!(f.read("one", 5).is_err());
        assert_eq!(f.read("two", 5).unwrap(), None);
        for bad in ["", ".", "..", "../one", "a/b", ".hidden"] {
            assert!(f.write(bad, b"x").is_err(), "{bad}");
        }
        f.remove("one").unwrap();
        f.remove("one").unwrap();
        assert!(f.list().unwrap().is_empty());
        assert!(DirFolder::open(&dir.path().join("none")).is_err());
    }

    #[test]
    fn a_list_is_whole_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let f = DirFolder::open(dir.path()).unwrap();
        (0..MAX_FILES).for_each(|n| f.write(&n.to_string(), b"").unwrap());
        assert_eq!(f.list().unwrap().len(), MAX_FILES);
        f.write("one-more", b"").unwrap();
        assert!(matches!(f.list(), Err(UpdateError::Folder { operation: "list", .. })));
    }

    #[test]
    fn one_update_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let f = DirFolder::open(dir.path()).unwrap();
        let first = f.lock().unwrap();
        assert!(matches!(f.lock(), Err(UpdateError::Busy { .. })));
        drop(first);
        f.lock().unwrap();
    }
}
