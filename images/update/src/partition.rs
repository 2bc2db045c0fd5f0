//! A partition: a block device, or a file in its place. It never grows.

use gw_store::{StoreError, disk::Disk};
use rustix::fs::{Advice, fadvise};
use std::{
    fs::{File, OpenOptions},
    io::{Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, FileTypeExt as _},
    path::{Path, PathBuf},
};

/// An existing block device or regular file, opened for reading and writing.
#[derive(Debug)]
pub struct Partition {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Partition {
    /// Opens what exists; nothing is made.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let fail = |source| StoreError::Open { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(fail)?;
        let kind = file.metadata().map_err(fail)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(fail(std::io::Error::other("neither a block device nor a file")));
        }
        // a block device's metadata says length 0
        let len = file.seek(SeekFrom::End(0)).map_err(fail)?;
        Ok(Self { file, path: path.to_owned(), len })
    }
    fn check(&self, at: u64, len: usize) -> Result<(), StoreError> {
        if at.saturating_add(len as u64) <= self.len {
            return Ok(());
        }
        Err(StoreError::OutOfRange { path: self.path.clone(), at, len: len as u64, end: self.len })
    }
    fn io(&self, operation: &'static str, source: std::io::Error) -> StoreError {
        StoreError::Io { operation, path: self.path.clone(), source }
    }
}

impl Disk for Partition {
    fn len(&self) -> Result<u64, StoreError> {
        Ok(self.len)
    }
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.check(at, out.len())?;
        self.file.read_exact_at(out, at).map_err(|e| self.io("read", e))
    }
    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.check(at, bytes.len())?;
        self.file.write_all_at(bytes, at).map_err(|e| self.io("write", e))
    }
    fn resize(&self, len: u64) -> Result<(), StoreError> {
        Err(StoreError::TooLarge { what: "partition", found: len, max: self.len })
    }
    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().and_then(|()| forget_cache(&self.file)).map_err(|e| self.io("sync", e))
    }
}

/// What is read next comes from the medium, not from what was just written.
pub(crate) fn forget_cache(file: &File) -> std::io::Result<()> {
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_never_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        assert!(Partition::open(&path).is_err(), "nothing is made");
        std::fs::write(&path, [0; 1024]).unwrap();
        let p = Partition::open(&path).unwrap();
        p.write_at(1020, b"last").unwrap();
        p.sync().unwrap();
        assert!(matches!(p.write_at(1021, b"over"), Err(StoreError::OutOfRange { .. })));
        assert!(p.write_at(u64::MAX, b"x").is_err());
        assert!(p.resize(2048).is_err());
        let mut out = [0; 4];
        p.read_at(1020, &mut out).unwrap();
        assert_eq!(&out, b"last");
        assert!(Partition::open(Path::new("/dev/null")).is_err());
    }
}
