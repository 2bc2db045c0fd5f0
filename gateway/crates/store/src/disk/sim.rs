//! A disk that loses power: what was not synced is lost, torn or reordered.
//!
//! The program sees its own writes at once, as through the system's page cache. The platter sees them in
//! any order, whole, torn or not at all, until a sync has returned. All chances come from one seed, so a
//! failing test is repeated exactly.

use super::{Disk, mem};
use crate::error::StoreError;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Drives store sectors whole, but nothing promises the order of sectors within a write.
const SECTOR: usize = 512;

/// When it fails. Calls are counted from 1 since the disk was made or reopened; none = never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SimPlan {
    /// power is lost inside this sync: it does not return success, and nothing works any more
    pub freeze_at_sync: Option<u64>,
    /// power is lost inside this write
    pub freeze_at_write: Option<u64>,
    /// this write fails, and part of it may have been done
    pub fail_write: Option<u64>,
    /// this sync fails; as on Linux, what it should have written is then *not* tried again by the next
    pub fail_sync: Option<u64>,
}

/// The simulated disk. Clones are handles of the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

struct State {
    /// what a power loss leaves for certain
    durable: Vec<u8>,
    /// what the program sees
    seen: Vec<u8>,
    /// changes since the last sync
    pending: Vec<Change>,
    plan: SimPlan,
    syncs: u64,
    writes: u64,
    frozen: bool,
    closed: bool,
    chance: Chance,
}

enum Change {
    Write { at: u64, bytes: Vec<u8> },
    Resize { len: u64 },
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64, plan: SimPlan) -> Self {
        Self::with_content(Vec::new(), seed, plan)
    }
    /// A disk whose content is durable already.
    pub fn with_content(content: Vec<u8>, seed: u64, plan: SimPlan) -> Self {
        Self(Arc::new(Mutex::new(State {
            durable: content.clone(),
            seen: content,
            pending: Vec::new(),
            plan,
            syncs: 0,
            writes: 0,
            frozen: false,
            closed: false,
            chance: Chance(seed),
        })))
    }
    /// Power off, power on: a new disk with what was durable, plus whatever part of the rest chance left.
    pub fn after_power_loss(&self, plan: SimPlan) -> Self {
        let mut s = self.lock();
        s.land();
        let (content, seed) = (s.durable.clone(), s.chance.next());
        Self::with_content(content, seed, plan)
    }
    /// The program restarts, the machine does not: everything written is still seen, and no more durable
    /// than before.
    pub fn after_restart(&self, plan: SimPlan) -> Self {
        let mut s = self.lock();
        let seed = s.chance.next();
        let pending = std::mem::take(&mut s.pending);
        let next = Self::with_content(s.durable.clone(), seed, plan);
        {
            let mut n = next.lock();
            n.seen = s.seen.clone();
            n.pending = pending;
        }
        s.frozen = true;
        next
    }
    /// Whether the power went, by the plan.
    pub fn is_frozen(&self) -> bool {
        self.lock().frozen
    }
    /// Syncs that were called so far.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }
    /// What the program sees.
    pub fn content(&self) -> Vec<u8> {
        self.lock().seen.clone()
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self) -> Result<(), StoreError> {
        if self.frozen {
            return Err(failure("power", "the simulated power is off"));
        }
        if self.closed {
            return Err(StoreError::Closed { path: place() });
        }
        Ok(())
    }
    /// Decides what became of the pending changes: all, none, or each by chance.
    fn land(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let mood = self.chance.below(4);
        for change in pending {
            let fate = match mood {
                0 => 0,
                1 => 1,
                _ => self.chance.below(3),
            };
            match (fate, change) {
                (0, change) => apply(&mut self.durable, &change),
                (2, Change::Write { at, bytes }) => self.land_torn(at, &bytes),
                _ => {}
            }
        }
    }
    /// Some sectors of a write reach the platter; the boundary may lie anywhere in the last of them.
    fn land_torn(&mut self, at: u64, bytes: &[u8]) {
        let keep = usize::try_from(self.chance.below(bytes.len() as u64 + 1)).unwrap_or(0);
        let scattered = self.chance.below(2) == 0;
        let kept = if scattered { bytes } else { bytes.get(..keep).unwrap_or_default() };
        for (i, sector) in kept.chunks(SECTOR).enumerate() {
            if !scattered || self.chance.below(2) == 0 {
                let change = Change::Write { at: at + (i * SECTOR) as u64, bytes: sector.to_vec() };
                apply(&mut self.durable, &change);
            }
        }
    }
    fn change(&mut self, change: Change) {
        apply(&mut self.seen, &change);
        self.pending.push(change);
    }
}

impl Disk for SimDisk {
    fn len(&self) -> Result<u64, StoreError> {
        let s = self.lock();
        s.check()?;
        Ok(s.seen.len() as u64)
    }
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), StoreError> {
        let s = self.lock();
        s.check()?;
        mem::read(&s.seen, at, out)
    }
    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let mut s = self.lock();
        s.check()?;
        super::end_of(at, bytes.len(), mem::MAX_MEM_BYTES)?;
        s.writes += 1;
        let (n, plan) = (Some(s.writes), s.plan);
        if n == plan.fail_write {
            let kept = usize::try_from(s.chance.below(bytes.len() as u64 + 1)).unwrap_or(0);
            s.change(Change::Write { at, bytes: bytes.get(..kept).unwrap_or_default().to_vec() });
            s.closed = true;
            return Err(failure("write", "failure asked for by a test"));
        }
        s.change(Change::Write { at, bytes: bytes.to_vec() });
        if n == plan.freeze_at_write {
            s.frozen = true;
            return Err(failure("write", "the simulated power went"));
        }
        Ok(())
    }
    fn resize(&self, len: u64) -> Result<(), StoreError> {
        let mut s = self.lock();
        s.check()?;
        super::end_of(len, 0, mem::MAX_MEM_BYTES)?;
        s.change(Change::Resize { len });
        Ok(())
    }
    fn sync(&self) -> Result<(), StoreError> {
        let mut s = self.lock();
        s.check()?;
        s.syncs += 1;
        let (n, plan) = (Some(s.syncs), s.plan);
        if n == plan.freeze_at_sync {
            s.frozen = true;
            return Err(failure("sync", "the simulated power went"));
        }
        if n == plan.fail_sync {
            // the pages count as clean from now on although they may not have been written
            s.land();
            s.closed = true;
            return Err(failure("sync", "failure asked for by a test"));
        }
        // only what is pending is written: pages that a failed sync left behind count as clean
        for change in std::mem::take(&mut s.pending) {
            apply(&mut s.durable, &change);
        }
        Ok(())
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    // bounds were checked when the change was made
    let _ = match change {
        Change::Write { at, bytes } => mem::write(content, *at, bytes),
        Change::Resize { len } => mem::resize(content, *len),
    };
}

fn place() -> PathBuf {
    PathBuf::from("(simulated)")
}

fn failure(operation: &'static str, why: &'static str) -> StoreError {
    StoreError::Io { operation, path: place(), source: std::io::Error::other(why) }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for chances, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }
}
