//! A disk in memory: never fails, forgets everything.

use super::{Disk, end_of};
use crate::error::StoreError;
use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The most bytes of a disk in memory.
pub(super) const MAX_MEM_BYTES: u64 = 256 * 1024 * 1024;

/// For tests that need a disk and no failures.
#[derive(Default)]
pub struct MemDisk(Mutex<Vec<u8>>);

impl MemDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }
    /// A disk with this content.
    pub fn with_content(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(bytes))
    }
    /// A copy of its content.
    pub fn content(&self) -> Vec<u8> {
        self.lock().clone()
    }
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemDisk {
    fn len(&self) -> Result<u64, StoreError> {
        Ok(self.lock().len() as u64)
    }
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), StoreError> {
        read(&self.lock(), at, out)
    }
    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        write(&mut self.lock(), at, bytes)
    }
    fn resize(&self, len: u64) -> Result<(), StoreError> {
        resize(&mut self.lock(), len)
    }
    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Reads exactly; shared with the simulated disk.
pub(super) fn read(content: &[u8], at: u64, out: &mut [u8]) -> Result<(), StoreError> {
    let found = usize::try_from(at).ok().and_then(|from| content.get(from..)?.get(..out.len()));
    match found {
        Some(bytes) => {
            out.copy_from_slice(bytes);
            Ok(())
        }
        None => Err(StoreError::OutOfRange {
            path: PathBuf::from("(memory)"),
            at,
            len: out.len() as u64,
            end: content.len() as u64,
        }),
    }
}

/// Writes, growing as needed; shared with the simulated disk.
pub(super) fn write(content: &mut Vec<u8>, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let end = end_of(at, bytes.len(), MAX_MEM_BYTES)?;
    if (content.len() as u64) < end {
        resize(content, end)?;
    }
    let place = usize::try_from(at).ok().and_then(|from| content.get_mut(from..)?.get_mut(..bytes.len()));
    if let Some(place) = place {
        place.copy_from_slice(bytes);
    }
    Ok(())
}

/// Cuts or extends; shared with the simulated disk.
pub(super) fn resize(content: &mut Vec<u8>, len: u64) -> Result<(), StoreError> {
    end_of(len, 0, MAX_MEM_BYTES)?;
    content.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
    Ok(())
}
