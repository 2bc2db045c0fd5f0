//! Where in the file the outbox's log begins: two copies of one small record.
//!
//! ```text
//! magic 16 │ version 4 │ generation 8 │ start 8 │ next id 8 │ index 8 │ digest 32 │ owner 1+43 │ zeros │ SM3 32
//! ```
//! Clearing writes the pending items elsewhere, then this record over the first copy, then over the second,
//! each synced. Whatever a crash tears, one copy holds, and what it points to is still there. `index` and
//! `digest` continue the chain of the log that was cleared: the record, and with it the tag of the new log's
//! frames, depends on everything before it.

use super::NAME;
use crate::{
    error::JournalError,
    log::{Head, Layout, is_torn_copy},
};
use gw_proto::{Hex, canon::domain, domain_digest};
use gw_store::{Disk, StoreError};

const MAGIC: &[u8; 16] = b"XINGUAN-OUTBOX\0\0";
const FORMAT: u32 = 1;
const SIZE: usize = 192;
/// The copies lie in different pages.
const COPIES: [u64; 2] = [0, 4096];
/// Where the first log begins.
pub(super) const FIRST_START: u64 = 8192;

/// Where the log begins and what it continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) generation: u64,
    pub(super) start: u64,
    pub(super) next_id: u64,
    pub(super) continues: Head,
}

impl Place {
    fn first() -> Self {
        let continues = Head { index: 0, digest: Hex([0; 32]) };
        Self { generation: 1, start: FIRST_START, next_id: 1, continues }
    }

    pub(super) fn layout(&self, owner: &str) -> Result<Layout, JournalError> {
        let bytes = self.encode(owner)?;
        let digest = domain_digest(domain::JOURNAL, &bytes);
        Ok(Layout {
            name: NAME,
            start: self.start,
            head: Head { index: self.continues.index, digest },
            // an abandoned copy of everything pending may follow
            max_tail: None,
        })
    }

    fn encode(&self, owner: &str) -> Result<[u8; SIZE], JournalError> {
        let mut out = Vec::from(MAGIC);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        for n in [self.generation, self.start, self.next_id, self.continues.index] {
            out.extend_from_slice(&n.to_be_bytes());
        }
        out.extend_from_slice(&self.continues.digest.0);
        let length = u8::try_from(owner.len()).ok().filter(|l| *l <= 43);
        out.push(length.ok_or_else(|| JournalError::Encode("the owner's name has at most 43 bytes".into()))?);
        out.extend_from_slice(owner.as_bytes());
        out.resize(SIZE - 32, 0);
        let sum = domain_digest(domain::JOURNAL, &out);
        out.extend_from_slice(&sum.0);
        out.try_into().map_err(|_| JournalError::Encode("header".into()))
    }

    /// Writes both copies, one after the other.
    pub(super) fn write(&self, disk: &dyn Disk, owner: &str) -> Result<(), JournalError> {
        let bytes = self.encode(owner)?;
        for at in COPIES {
            disk.write_at(at, &bytes).and_then(|()| disk.sync()).map_err(disk_error)?;
        }
        Ok(())
    }

    /// Reads the newer valid copy, or makes a first one where there is none. Says whether it is new.
    ///
    /// The copies are written again: a crash may have torn one, and a failed sync may have left one in
    /// memory only.
    pub(super) fn settle(disk: &dyn Disk, owner: &str) -> Result<(Self, bool), JournalError> {
        let copies = read_copies(disk).map_err(disk_error)?;
        let mut valid = Vec::new();
        for copy in &copies {
            match parse(copy) {
                Some((FORMAT, place, found)) if found == owner => valid.push(place),
                Some((FORMAT, _, found)) => {
                    let (found, wanted) = (found.to_owned(), owner.to_owned());
                    return Err(JournalError::Owner { log: NAME, found, wanted });
                }
                Some((found, ..)) => return Err(JournalError::Version { log: NAME, found, known: FORMAT }),
                None => {}
            }
        }
        if let Some(newest) = valid.into_iter().max_by_key(|p| p.generation) {
            // a first write may have been torn before its length
            if disk.len().map_err(disk_error)? < FIRST_START {
                disk.resize(FIRST_START).map_err(disk_error)?;
            }
            newest.write(disk, owner)?;
            return Ok((newest, false));
        }
        create(disk, owner, &copies)
    }
}

/// Makes an outbox where a crash left at most a part of a first one.
fn create(disk: &dyn Disk, owner: &str, copies: &[Vec<u8>]) -> Result<(Place, bool), JournalError> {
    let first = Place::first();
    let wanted = first.encode(owner)?;
    let short = disk.len().map_err(disk_error)? <= FIRST_START;
    if !short || !copies.iter().all(|c| is_torn_copy(c, &wanted)) {
        return Err(JournalError::NotOurs { log: NAME });
    }
    disk.resize(FIRST_START).map_err(disk_error)?;
    first.write(disk, owner)?;
    Ok((first, true))
}

fn read_copies(disk: &dyn Disk) -> Result<Vec<Vec<u8>>, StoreError> {
    let len = disk.len()?;
    let mut out = Vec::new();
    for at in COPIES {
        let size = usize::try_from(len.saturating_sub(at)).unwrap_or(SIZE).min(SIZE);
        let mut copy = vec![0; size];
        disk.read_at(at.min(len), &mut copy)?;
        out.push(copy);
    }
    Ok(out)
}

/// Version, place and owner; none unless the copy is whole.
fn parse(copy: &[u8]) -> Option<(u32, Place, &str)> {
    let (body, sum) = copy.split_last_chunk::<32>()?;
    if copy.len() != SIZE || domain_digest(domain::JOURNAL, body).0 != *sum {
        return None;
    }
    let rest = body.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (generation, rest) = number(rest)?;
    let (start, rest) = number(rest)?;
    let (next_id, rest) = number(rest)?;
    let (index, rest) = number(rest)?;
    let (digest, rest) = rest.split_first_chunk::<32>()?;
    let (length, rest) = rest.split_first()?;
    let owner = std::str::from_utf8(rest.get(..usize::from(*length))?).ok()?;
    let continues = Head { index, digest: Hex(*digest) };
    Some((u32::from_be_bytes(*version), Place { generation, start, next_id, continues }, owner))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

pub(super) fn disk_error(source: StoreError) -> JournalError {
    JournalError::Disk { log: NAME, source }
}
