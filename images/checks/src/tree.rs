//! The file system that is looked at: the running box's, or a fixture's.

use crate::mounts::{Mount, parse_mounts};
use std::{
    fs, io,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Files that are read whole are small; a larger one is not what it should be.
const MAX_FILE: u64 = 1024 * 1024;
/// Entries of a walk. An image has some hundreds.
const MAX_ENTRIES: usize = 20_000;

/// A root folder.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

/// A regular file of the image.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
}

impl Tree {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    pub(crate) fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        fs::File::open(self.at(path))?.take(MAX_FILE).read_to_end(&mut out)?;
        Ok(out)
    }

    /// When a file was last written.
    pub(crate) fn modified(&self, path: &str) -> Result<SystemTime, String> {
        let time = fs::metadata(self.at(path)).and_then(|m| m.modified());
        time.map_err(|e| format!("{path}: {e}"))
    }

    /// A file's text without white space at its ends.
    pub(crate) fn text(&self, path: &str) -> Result<String, String> {
        let bytes = self.bytes(path).map_err(|e| format!("{path}: {e}"))?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    pub(crate) fn mounts(&self) -> Result<Vec<Mount>, String> {
        Ok(parse_mounts(&self.text("/proc/self/mountinfo")?))
    }

    /// The device mapper's name for what kind of device a mount lies on: `CRYPT-VERITY-…`, `CRYPT-LUKS2-…`.
    pub(crate) fn mapper_kind(&self, mount: &Mount) -> Result<String, String> {
        self.text(&format!("/sys/dev/block/{}/dm/uuid", mount.device))
    }

    /// Names in a folder; none if it is not there.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.at(folder)) else { return Vec::new() };
        entries.flatten().take(MAX_ENTRIES).map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    }

    /// All files and links below a folder; links are not followed.
    pub(crate) fn walk(&self, folder: &str) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut folders = vec![self.at(folder)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let meta = entry.metadata()?;
                if meta.is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push(Entry { path: entry.path(), mode: meta.permissions().mode() });
                }
                if found.len() > MAX_ENTRIES {
                    return Err(io::Error::other("more files than an image has"));
                }
            }
        }
        Ok(found)
    }
}

impl Entry {
    pub(crate) fn name(&self) -> String {
        self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Executable, and its first bytes name another program that reads it.
    pub(crate) fn is_script(&self) -> bool {
        let mut start = [0; 2];
        self.mode & 0o111 != 0
            && self.mode & 0o170_000 == 0o100_000
            && fs::File::open(&self.path).and_then(|mut f| f.read_exact(&mut start)).is_ok()
            && start == *b"#!"
    }
}
