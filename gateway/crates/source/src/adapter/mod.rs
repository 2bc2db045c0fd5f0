//! Reading one subject's items: the trait, its bounds, and what comes back.
//!
//! An adapter **blocks**. On an async runtime use [`BlockingSource`], which runs it on the blocking pool with
//! a bound on readers and on those who wait, and says busy beyond that.

mod blocking;
mod fake;
mod sqlite;

use crate::{SourceError, mapping::CheckReport};
use gw_proto::{Dimension, UnixMillis, Uscc, report::Item};
use std::time::Instant;

pub use blocking::BlockingSource;
pub use fake::FakeSource;
pub use sqlite::{SqliteOptions, SqliteSource};

/// The most items of a reply (gw_proto's bound).
pub const MAX_ITEMS: usize = 4096;
/// The most rows that one query may yield for one subject.
pub const MAX_ROWS: usize = 4096;
/// The most bytes of all items as JSON: a reply of at most 1 MiB must hold them besides its other members.
pub const MAX_BYTES: usize = 960 * 1024;

/// What one read may take.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// the read is stopped then
    pub deadline: Instant,
    /// most items
    pub max_items: usize,
    /// most rows of one query
    pub max_rows: usize,
    /// most bytes of all items as JSON
    pub max_bytes: usize,
}

impl FetchLimits {
    /// The usual bounds, until `deadline`.
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, max_items: MAX_ITEMS, max_rows: MAX_ROWS, max_bytes: MAX_BYTES }
    }
}

/// What a source holds on a subject, all of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// when it was read
    pub as_of: UnixMillis,
    /// in the catalogue's order, then by key; empty = nothing on this subject in these dimensions
    pub items: Vec<Item>,
}

/// A source's own database. Blocking: see the module's documentation.
pub trait SourceAdapter: Send + Sync {
    /// Reads a subject's items of some dimensions: all of them, each valid by the catalogue, or an error.
    fn fetch(
        &self,
        subject: &Uscc,
        dimensions: &[Dimension],
        limits: &FetchLimits,
    ) -> Result<Snapshot, SourceError>;
    /// Does the mapping still agree with the database? For the start, `check-config` and `doctor`.
    fn check(&self) -> Result<CheckReport, SourceError>;
}

/// Stops at the first bound that the items pass; nothing is cut off.
struct Meter<'l> {
    limits: &'l FetchLimits,
    items: usize,
    bytes: usize,
}

impl<'l> Meter<'l> {
    fn new(limits: &'l FetchLimits) -> Self {
        Self { limits, items: 0, bytes: 0 }
    }
    fn add(&mut self, item: &Item) -> Result<(), SourceError> {
        self.items += 1;
        // an item always serializes; if it did not, it would be too much
        self.bytes = self.bytes.saturating_add(serde_json::to_vec(item).map_or(usize::MAX, |v| v.len() + 1));
        let all = || "the subject's data".to_owned();
        if self.items > self.limits.max_items {
            return Err(SourceError::TooMuch { place: all(), unit: "items", limit: self.limits.max_items });
        }
        if self.bytes > self.limits.max_bytes {
            return Err(SourceError::TooMuch { place: all(), unit: "bytes", limit: self.limits.max_bytes });
        }
        Ok(())
    }
}
