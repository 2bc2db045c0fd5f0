//! The `Store` trait: ordered keys, atomic commits.

use crate::error::StoreError;

/// The longest key.
pub const MAX_KEY_BYTES: usize = 1024;
/// The longest value. Records on the ledger have at most 32 KiB, so this is generous.
pub const MAX_VALUE_BYTES: usize = 4 * 1024 * 1024;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One change in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// which key
    pub key: Vec<u8>,
    /// its new value; none removes the key
    pub value: Option<Vec<u8>>,
}

impl Write {
    /// Sets a key.
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: Some(value.into()) }
    }
    /// Removes a key; no matter whether it is there.
    pub fn remove(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: None }
    }
}

/// Keys in the order of their bytes, changed by atomic commits.
///
/// A power loss may take the last commits. That none is taken in part is the engine's word, not tested here
/// as [`crate::Disk`] is: whoever opens a store checks it against the chain, or rebuilds it. Whoever needs more
/// writes to a journal on a [`crate::Disk`].
pub trait Store: Send + Sync {
    /// The value of a key.
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// At most `limit` pairs whose key starts with `prefix` and lies strictly after `after`, in order.
    fn scan_after(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError>;
    /// Does all writes or none. Where a key occurs twice the later write counts.
    fn commit(&self, writes: &[Write]) -> Result<(), StoreError>;
    /// Removes everything.
    fn clear(&self) -> Result<(), StoreError>;

    /// The first `limit` pairs whose key starts with `prefix`, in order.
    fn scan(&self, prefix: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.scan_after(prefix, None, limit)
    }
}

/// Refuses what is above the bounds, before anything is copied.
pub(crate) fn check_bounds(writes: &[Write]) -> Result<(), StoreError> {
    for w in writes {
        bound("key", w.key.len(), MAX_KEY_BYTES)?;
        bound("value", w.value.as_ref().map_or(0, Vec::len), MAX_VALUE_BYTES)?;
    }
    Ok(())
}

fn bound(what: &'static str, found: usize, max: usize) -> Result<(), StoreError> {
    if found > max {
        return Err(StoreError::TooLarge { what, found: found as u64, max: max as u64 });
    }
    Ok(())
}
