//! The few calls beneath a folder of configuration. One trait, so that tests can cut its power.

use crate::SetupError;
use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::PathBuf,
};

/// A folder with more entries than this is not ours.
const MAX_ENTRIES: usize = 256;

/// Paths are plain names, or `folder/name`. What has returned is durable; what was interrupted may have happened in
/// part: a file half written, a folder half removed, a rename that left both names (FAT).
pub trait Folder {
    /// A file's bytes, none if it is not there; more than `max` is an error.
    fn read(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, SetupError>;
    /// Names of the files in a folder below (`""`: here); none if the folder is not there.
    fn list(&self, folder: &str) -> Result<Vec<String>, SetupError>;
    /// Makes or replaces a file, and the folder that it lies in.
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), SetupError>;
    /// Gives a file another name, replacing what had it.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), SetupError>;
    /// Removes a file, or a folder with its files; none there is no error.
    fn remove(&mut self, path: &str) -> Result<(), SetupError>;
}

/// Replaces a file: after a power loss the old content or the new.
pub fn replace(folder: &mut dyn Folder, path: &str, bytes: &[u8]) -> Result<(), SetupError> {
    let scratch = format!("{path}.new");
    folder.write(&scratch, bytes)?;
    folder.rename(&scratch, path)
}

/// A real folder.
#[derive(Debug)]
pub struct DirFolder {
    path: PathBuf,
}

impl DirFolder {
    /// Made when something is written, if its parent exists.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
    /// Where an entry lies.
    pub fn place(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }
    fn sync_folder(&self, of: &str) -> Result<(), SetupError> {
        let place = self.place(of);
        let folder = place.parent().unwrap_or(&self.path);
        File::open(folder).and_then(|f| f.sync_all()).map_err(|source| SetupError::Folder {
            operation: "sync",
            path: folder.to_owned(),
            source,
        })
    }
}

impl Folder for DirFolder {
    fn read(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, SetupError> {
        match crate::places::read_bytes(&self.place(path), max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(SetupError::Folder { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
    fn list(&self, folder: &str) -> Result<Vec<String>, SetupError> {
        let place = self.place(folder);
        let fail = |source| SetupError::Folder { operation: "list", path: place.clone(), source };
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(fail(e)),
        };
        let mut names = Vec::new();
        for (n, entry) in entries.enumerate() {
            if n == MAX_ENTRIES {
                return Err(fail(std::io::Error::other(format!("more than {MAX_ENTRIES} entries"))));
            }
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), SetupError> {
        let place = self.place(path);
        let fail = |source| SetupError::Folder { operation: "write", path: place.clone(), source };
        if let Some(folder) = place.parent().filter(|f| !f.exists()) {
            fs::create_dir_all(folder).map_err(fail)?;
            self.sync_folder(path.split_once('/').map_or(path, |(folder, _)| folder))?;
        }
        let mut file = File::create(&place).map_err(fail)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
        self.sync_folder(path)
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<(), SetupError> {
        let place = self.place(to);
        fs::rename(self.place(from), &place).map_err(|source| SetupError::Folder {
            operation: "rename to",
            path: place,
            source,
        })?;
        self.sync_folder(to)
    }
    fn remove(&mut self, path: &str) -> Result<(), SetupError> {
        let place = self.place(path);
        let done = match fs::symlink_metadata(&place) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => Err(e),
            Ok(m) if m.is_dir() => fs::remove_dir_all(&place),
            Ok(_) => fs::remove_file(&place),
        };
        done.map_err(|source| SetupError::Folder { operation: "remove", path: place, source })?;
        self.sync_folder(path)
    }
}
