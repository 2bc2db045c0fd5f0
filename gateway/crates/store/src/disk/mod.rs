//! The five calls beneath an append-only log, and three things that answer them.

mod file;
mod mem;
mod sim;

pub use file::FileDisk;
pub use mem::MemDisk;
pub use sim::{SimDisk, SimPlan};

use crate::error::StoreError;

/// The largest position on any disk: 1 TiB. Far above every configured bound, far below what overflows.
pub const MAX_DISK_BYTES: u64 = 1 << 40;

/// One file: read and write at positions, and make it survive a power loss.
///
/// One writer at a time; readers may read what lies outside the bytes being written. Each call blocks.
pub trait Disk: Send + Sync {
    /// How many bytes it has.
    fn len(&self) -> Result<u64, StoreError>;
    /// Fills `out` from position `at`; an error if it ends before.
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), StoreError>;
    /// Writes at position `at`; grows as needed, with zeros up to `at`. Not durable before [`Disk::sync`].
    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), StoreError>;
    /// Cuts it, or extends it with zeros. Not durable before [`Disk::sync`].
    fn resize(&self, len: u64) -> Result<(), StoreError>;
    /// Returns when everything written so far survives a power loss. Once it has failed, the disk is closed.
    fn sync(&self) -> Result<(), StoreError>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }
}

/// The end of `len` bytes at `at`, if it is at most `max`.
fn end_of(at: u64, len: usize, max: u64) -> Result<u64, StoreError> {
    let end = at.saturating_add(len as u64);
    if end > max {
        return Err(StoreError::TooLarge { what: "file", found: end, max });
    }
    Ok(end)
}
