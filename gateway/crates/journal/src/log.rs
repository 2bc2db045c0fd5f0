//! A chain of frames on a disk: recovery after a crash, and durable appends.
//!
//! A crash can damage only what the last sync had not made durable: at most one batch at the end. Recovery
//! cuts that off. Damage before it cannot come from a crash, so it is an error that names the place.

use crate::{
    error::JournalError,
    frame::{self, Frame, MAX_FRAME, Place, Reader, Tag},
};
use gw_proto::Digest;
use gw_store::{Disk, StoreError};
use std::sync::Arc;

/// The most bytes that one sync makes durable, hence the most that a crash can damage.
pub(crate) const MAX_BATCH_BYTES: usize = 1024 * 1024;
const _: () = assert!(MAX_FRAME <= MAX_BATCH_BYTES);

/// The last entry: its index, 0 if there is none, and the hash that covers all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// index of the last entry; entries count from 1
    pub index: u64,
    /// the chain's hash after it
    pub digest: Digest,
}

/// Where a log begins, and what its first entry chains to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// journal or outbox, for messages
    pub(crate) name: &'static str,
    /// position of the first frame
    pub(crate) start: u64,
    /// before the first frame
    pub(crate) head: Head,
    /// what may follow the last entry: only one torn batch, or also an abandoned copy of any size
    pub(crate) max_tail: Option<u64>,
}

/// What a scan found.
pub(crate) struct Scan {
    pub(crate) head: Head,
    /// behind the last entry
    pub(crate) end: u64,
    /// bytes that follow it and belong to no durable entry
    pub(crate) tail: u64,
}

impl Layout {
    pub(crate) fn tag(&self) -> Tag {
        frame::tag_of(&self.head.digest)
    }
    pub(crate) fn disk_error(&self, source: StoreError) -> JournalError {
        JournalError::Disk { log: self.name, source }
    }
    fn broken(&self, offset: u64, what: &'static str) -> JournalError {
        JournalError::Broken { log: self.name, offset, what }
    }

    /// Reads and checks every entry, handing each to `take` with its position.
    pub(crate) fn scan(
        &self,
        disk: &dyn Disk,
        take: &mut dyn FnMut(u64, Frame) -> Result<(), JournalError>,
    ) -> Result<Scan, JournalError> {
        let len = disk.len().map_err(|e| self.disk_error(e))?;
        if len < self.start {
            return Err(self.broken(len, "the file ends before its first entry"));
        }
        let mut reader = Reader::new(disk, len);
        let mut scan = Scan { head: self.head, end: self.start, tail: 0 };
        while let Some(frame) = reader.frame(scan.end).map_err(|e| self.disk_error(e))? {
            if frame.tag != self.tag() {
                break;
            }
            if frame.prev != scan.head.digest || frame.index != scan.head.index + 1 {
                return Err(self.broken(scan.end, "the entry does not chain to the one before"));
            }
            scan.head = Head { index: frame.index, digest: frame.hash };
            let at = scan.end;
            scan.end += frame.size();
            take(at, frame)?;
        }
        scan.tail = len.saturating_sub(scan.end);
        self.check_tail(&mut reader, &scan)?;
        Ok(scan)
    }

    /// What follows the last entry may be a torn batch, not damage to entries that were durable.
    fn check_tail(&self, reader: &mut Reader<'_>, scan: &Scan) -> Result<(), JournalError> {
        if self.max_tail.is_some_and(|max| scan.tail > max) {
            return Err(self.broken(scan.end, "no valid entry, and more follows than a crash can leave"));
        }
        let mut from = scan.end;
        while let Some(at) = reader.find_magic(from).map_err(|e| self.disk_error(e))? {
            let found = reader.frame(at).map_err(|e| self.disk_error(e))?;
            // a batch is written only when the one before is durable: if one follows that began after the
            // missing entry, the missing entry was durable
            if found.is_some_and(|f| f.tag == self.tag() && f.first > scan.head.index + 1) {
                return Err(self.broken(scan.end, "an entry is missing, and later ones are there"));
            }
            from = at + 1;
        }
        Ok(())
    }
}

/// An open log. Its disk is written by this and nothing else.
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    layout: Layout,
    pub(crate) head: Head,
    pub(crate) end: u64,
}

/// Where an entry went.
pub(crate) struct Placed {
    pub(crate) head: Head,
    pub(crate) at: u64,
    pub(crate) size: u64,
}

impl Log {
    /// Reads the log, cuts off a torn tail, and makes durable what it keeps.
    pub(crate) fn recover(
        disk: Arc<dyn Disk>,
        layout: Layout,
        take: &mut dyn FnMut(u64, Frame) -> Result<(), JournalError>,
    ) -> Result<(Self, u64), JournalError> {
        let scan = layout.scan(&*disk, take)?;
        repair(&*disk, &scan).map_err(|e| layout.disk_error(e))?;
        Ok((Self { disk, layout, head: scan.head, end: scan.end }, scan.tail))
    }

    /// A log that was just written and synced by other means (compaction).
    pub(crate) fn resume(disk: Arc<dyn Disk>, layout: Layout, head: Head, end: u64) -> Self {
        Self { disk, layout, head, end }
    }

    /// Writes entries of one batch and syncs once. After an error the log must not be used again.
    pub(crate) fn append(&mut self, entries: &[(u8, Vec<u8>)]) -> Result<Vec<Placed>, StoreError> {
        let (bytes, placed) = encode_all(&self.layout, self.head, self.end, entries);
        self.disk.write_at(self.end, &bytes)?;
        self.disk.sync()?;
        if let Some(last) = placed.last() {
            self.head = last.head;
            self.end += bytes.len() as u64;
        }
        Ok(placed)
    }
}

/// Frames one batch.
pub(crate) fn encode_all(
    layout: &Layout,
    mut head: Head,
    start: u64,
    entries: &[(u8, Vec<u8>)],
) -> (Vec<u8>, Vec<Placed>) {
    let (mut bytes, mut placed) = (Vec::new(), Vec::with_capacity(entries.len()));
    let first = head.index + 1;
    for (kind, payload) in entries {
        let from = bytes.len() as u64;
        let place = Place { tag: layout.tag(), index: head.index + 1, first, prev: head.digest };
        let digest = frame::encode(*kind, &place, payload, &mut bytes);
        head = Head { index: place.index, digest };
        placed.push(Placed { head, at: start + from, size: bytes.len() as u64 - from });
    }
    (bytes, placed)
}

/// Cuts the tail off, then writes the last batch's worth of bytes once more.
///
/// If a sync had failed before the restart, the system may show bytes that it never wrote and counts them
/// as clean: no later sync would write them, and a power loss would then open a hole beneath entries that
/// were acknowledged afterwards. Writing the same bytes again makes them dirty; nothing older than one batch
/// can be affected, because a failed sync closes the log.
fn repair(disk: &dyn Disk, scan: &Scan) -> Result<(), StoreError> {
    if scan.tail > 0 {
        disk.resize(scan.end)?;
    }
    let from = scan.end.saturating_sub(MAX_BATCH_BYTES as u64);
    let mut bytes = vec![0; usize::try_from(scan.end - from).unwrap_or(MAX_BATCH_BYTES)];
    disk.read_at(from, &mut bytes)?;
    disk.write_at(from, &bytes)?;
    disk.sync()
}

/// Whether `found` is `wanted` of which parts are missing or zero: what a crash leaves of a first write.
pub(crate) fn is_torn_copy(found: &[u8], wanted: &[u8]) -> bool {
    found.len() <= wanted.len() && found.iter().zip(wanted).all(|(f, w)| f == w || *f == 0)
}
