//! A real file: owned by one process, readable by one user, synced with fsync.

use super::{Disk, MAX_DISK_BYTES, end_of};
use crate::error::StoreError;
use std::{
    fs::{File, OpenOptions, Permissions, TryLockError},
    io::ErrorKind,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Only the gateway's user reads it.
const MODE: u32 = 0o600;

/// A file under an exclusive lock, held until drop.
pub struct FileDisk {
    file: File,
    path: PathBuf,
    closed: AtomicBool,
}

impl FileDisk {
    /// Opens the file, or makes it in a folder that exists. A new file's name is durable when this returns.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (file, new) = open_or_create(path).map_err(|source| open_error(path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(open_error(path, source)),
        }
        settle(&file, path, new).map_err(|source| open_error(path, source))?;
        Ok(Self { file, path: path.to_owned(), closed: AtomicBool::new(false) })
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check_open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(StoreError::Closed { path: self.path.clone() });
        }
        Ok(())
    }
    fn io(&self, operation: &'static str, source: std::io::Error) -> StoreError {
        StoreError::Io { operation, path: self.path.clone(), source }
    }
    /// A failed change: what the file holds is unknown, so nothing more is done to it.
    fn changed(&self, operation: &'static str, result: std::io::Result<()>) -> Result<(), StoreError> {
        result.map_err(|source| {
            self.closed.store(true, Ordering::SeqCst);
            self.io(operation, source)
        })
    }
}

impl Disk for FileDisk {
    fn len(&self) -> Result<u64, StoreError> {
        self.check_open()?;
        Ok(self.file.metadata().map_err(|e| self.io("read", e))?.len())
    }
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.check_open()?;
        match self.file.read_exact_at(out, at) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(StoreError::OutOfRange {
                path: self.path.clone(),
                at,
                len: out.len() as u64,
                end: self.len()?,
            }),
            Err(e) => Err(self.io("read", e)),
        }
    }
    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.check_open()?;
        end_of(at, bytes.len(), MAX_DISK_BYTES)?;
        self.changed("write", self.file.write_all_at(bytes, at))
    }
    fn resize(&self, len: u64) -> Result<(), StoreError> {
        self.check_open()?;
        end_of(len, 0, MAX_DISK_BYTES)?;
        self.changed("resize", self.file.set_len(len))
    }
    fn sync(&self) -> Result<(), StoreError> {
        self.check_open()?;
        // fsync, not fdatasync: the length of an appended file is part of what must survive
        self.changed("sync", self.file.sync_all())
    }
}

fn open_error(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Open { path: path.to_owned(), source }
}

fn open_or_create(path: &Path) -> std::io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(MODE);
    match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok((options.open(path)?, false)),
        Err(e) => Err(e),
    }
}

/// Checks what was opened and makes a new file's name durable.
fn settle(file: &File, path: &Path, new: bool) -> std::io::Result<()> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    if meta.permissions().mode() & 0o777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    if new || meta.len() == 0 {
        // a crash may have come between making an empty file and this; so an empty one is settled again
        file.sync_all()?;
        let parent = match path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}
