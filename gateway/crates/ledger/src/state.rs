//! The verified state: cursor, records, health. One store transaction per block, cursor included.
//!
//! The state is a copy of what the chain says and can be made again at any time. When it is opened it is
//! checked against the genesis document and against itself; one that fails is emptied and followed anew.
//! It is served only when a verified header is young enough, the height that the journal has seen is
//! reached, and nothing alarming is known. An endpoint's word never makes a state fresh.

mod cursor;
mod health;
mod recent;

pub use cursor::Cursor;
pub use health::{EndpointStatus, Health};
pub use recent::{Found, TxOutcome};

use crate::{error::LedgerError, follower::Alarm, verify::VerifiedBlock};
use cursor::{Keys, load_checked};
use gw_policy::{
    ApplyError, BlockInput, BlockOutcome, StateError, StateRead, View, apply_block, state::Entry,
};
use gw_proto::{Clock, Digest, Height, UnixMillis, genesis::Genesis};
use gw_store::{Store, Write};
use health::Condition;
use recent::Recent;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};
use tokio::sync::watch;

/// A state older than this is not served, until a policy record says otherwise.
pub const DEFAULT_STALENESS: Duration = Duration::from_secs(60);
/// How far ahead of the local clock a header may be dated; also how far the clock may lag behind the chain.
pub const MAX_AHEAD: Duration = Duration::from_secs(10);

/// A handle on the state; clones are the same state.
#[derive(Clone)]
pub struct StateHandle(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    genesis: Arc<Genesis>,
    clock: Arc<dyn Clock>,
    floor: Height,
    /// Readers see the store between two commits, never amid one.
    cursor: RwLock<Cursor>,
    /// Held for a whole commit: apply reads what it then changes.
    committing: Mutex<()>,
    condition: Mutex<Condition>,
    recent: Mutex<Recent>,
    watch: watch::Sender<Cursor>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StateHandle {
    /// Opens the state in `store`, or starts it anew if it is empty, of another genesis document, or damaged.
    /// `floor` is the height that the journal has seen: below it nothing is served.
    pub fn open(
        store: Arc<dyn Store>,
        genesis: Genesis,
        clock: Arc<dyn Clock>,
        floor: Height,
    ) -> Result<Self, LedgerError> {
        let start = Cursor::of_genesis(&genesis)?;
        let keys = Keys::of(&genesis)?;
        let cursor = match load_checked(store.as_ref(), &keys) {
            Ok(found) => found.unwrap_or_else(|| start.clone()),
            Err(why) => {
                tracing::warn!(%why, "the ledger state fails its check and is rebuilt from the chain");
                store.clear()?;
                start
            }
        };
        let condition = Condition::new(clock.instant());
        Ok(Self(Arc::new(Inner {
            store,
            genesis: Arc::new(genesis),
            clock,
            floor,
            watch: watch::Sender::new(cursor.clone()),
            cursor: RwLock::new(cursor),
            committing: Mutex::new(()),
            condition: Mutex::new(condition),
            recent: Mutex::new(Recent::default()),
        })))
    }

    /// The pinned genesis document.
    pub fn genesis(&self) -> &Arc<Genesis> {
        &self.0.genesis
    }

    /// One consistent state for as long as the guard lives. Commits wait for it: keep it short, and never
    /// take a second one meanwhile. All other calls on the handle are free of this lock.
    pub fn read(&self) -> StateGuard<'_> {
        let cursor = self.0.cursor.read().unwrap_or_else(PoisonError::into_inner);
        StateGuard { store: self.0.store.as_ref(), cursor }
    }

    /// Where the state stands.
    pub fn cursor(&self) -> Cursor {
        self.0.watch.borrow().clone()
    }

    fn chain_time(&self) -> UnixMillis {
        self.0.watch.borrow().time
    }

    /// Follows the cursor.
    pub fn watch(&self) -> watch::Receiver<Cursor> {
        self.0.watch.subscribe()
    }

    /// Waits until the state has reached a height; false if it has not in time.
    pub async fn wait_height(&self, height: Height, timeout: Duration) -> bool {
        let mut watch = self.watch();
        let reached = watch.wait_for(|c| c.height >= height);
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
    }

    /// Local time, never below the highest verified header time: a clock set back does not revive what expired.
    pub fn now(&self) -> UnixMillis {
        self.0.clock.now().max(self.chain_time())
    }

    /// How old the newest verified header is: by the wall clock, and at least by the time that has passed
    /// here since it came, so that a clock set back does not keep it young.
    pub fn age(&self) -> Duration {
        let by_wall = self.0.clock.now().since(self.chain_time());
        by_wall.max(self.since_progress())
    }

    fn since_progress(&self) -> Duration {
        self.0.clock.instant().saturating_duration_since(lock(&self.0.condition).progress)
    }

    /// The age above which the state is not served: the policy's, or 60 s.
    pub fn staleness(&self) -> Duration {
        let policy = View::new(&Raw(self.0.store.as_ref())).policy();
        policy.ok().flatten().map_or(DEFAULT_STALENESS, |p| Duration::from_millis(p.staleness_ms))
    }

    /// Whether the state may be served, and if not, why.
    pub fn health(&self) -> Health {
        let Cursor { height, time, .. } = self.cursor();
        let age = self.age();
        let condition = lock(&self.0.condition).clone();
        if let Some(why) = condition.halted {
            return Health::Halted(why);
        }
        let mut alarms = condition.alarms;
        alarms.extend(condition.digest_mismatch.map(|(height, by)| Alarm::StateDigest { height, by }));
        if !alarms.is_empty() {
            return Health::Alarm(alarms);
        }
        if height == Height(0) {
            return Health::Stale { age, why: "no block has been verified yet".into() };
        }
        if height < self.0.floor {
            let floor = self.0.floor;
            let why = format!("the state stands at height {height}, the journal has seen {floor}");
            return Health::Stale { age, why };
        }
        if self.0.clock.now().plus(MAX_AHEAD) < time {
            let why = "the local clock lies behind the chain's time; check the clock".into();
            return Health::Stale { age, why };
        }
        let bound = self.staleness();
        if age > bound {
            let why = format!("the newest verified header is older than {} s", bound.as_secs());
            return Health::Stale { age, why };
        }
        Health::Fresh
    }

    /// The hash of a recent verified block, for as long as it is kept.
    pub fn hash_at(&self, height: Height) -> Result<Option<Digest>, LedgerError> {
        Ok(cursor::load_hash(self.0.store.as_ref(), height)?)
    }

    /// What became of a transaction in one of the last blocks that this process has committed.
    pub fn find_transaction(&self, hash: &Digest) -> Option<Found> {
        lock(&self.0.recent).find(hash)
    }

    /// What each endpoint last said.
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        lock(&self.0.condition).endpoints.clone()
    }

    /// Applies a block and writes it with the cursor in one store transaction.
    pub fn commit(&self, block: &VerifiedBlock) -> Result<BlockOutcome, LedgerError> {
        let _one_at_a_time = lock(&self.0.committing);
        let header = block.header();
        let before = self.cursor();
        if header.number().0.checked_sub(1) != Some(before.height.0) || header.parent() != before.hash {
            return Err(LedgerError::NotNext { at: before.height, found: header.number() });
        }
        let input = BlockInput {
            height: header.number(),
            hash: header.hash(),
            time: header.time(),
            batches: block.batches().to_vec(),
        };
        let store = self.0.store.as_ref();
        let outcome = apply_block(&self.0.genesis, &Raw(store), &input)?;
        let cursor = Cursor {
            height: header.number(),
            hash: header.hash(),
            time: outcome.time,
            state_digest: outcome.state_digest,
            sealers: header.next().clone(),
        };
        let writes = self.writes(&outcome, &cursor)?;
        {
            let mut guard = self.0.cursor.write().unwrap_or_else(PoisonError::into_inner);
            store.commit(&writes)?;
            *guard = cursor.clone();
        }
        self.note(block, &outcome, &before, &cursor);
        self.0.watch.send_replace(cursor);
        Ok(outcome)
    }

    fn writes(&self, outcome: &BlockOutcome, cursor: &Cursor) -> Result<Vec<Write>, LedgerError> {
        let changes = outcome.changes.iter();
        let mut writes: Vec<Write> =
            changes.map(|c| Write { key: c.key.clone(), value: c.value.clone() }).collect();
        writes.extend(cursor.writes(&Keys::of(&self.0.genesis)?)?);
        Ok(writes)
    }

    fn note(&self, block: &VerifiedBlock, outcome: &BlockOutcome, before: &Cursor, cursor: &Cursor) {
        lock(&self.0.recent).push(block, outcome);
        let anchor = View::new(&Raw(self.0.store.as_ref())).anchor().ok().flatten();
        let mut condition = lock(&self.0.condition);
        if cursor.time > before.time {
            condition.progress = self.0.clock.instant();
        }
        for gw_policy::Alarm::DigestMismatch { height, by, .. } in &outcome.alarms {
            condition.digest_mismatch = Some((*height, by.to_string()));
        }
        // a supervisor has since confirmed a later state of ours
        if condition.digest_mismatch.as_ref().is_some_and(|(h, _)| anchor.is_some_and(|a| a.height > *h)) {
            condition.digest_mismatch = None;
        }
    }

    /// Empties the state; the next block is block 1. For a state that turned out to be damaged.
    pub fn rebuild(&self) -> Result<Cursor, LedgerError> {
        let _one_at_a_time = lock(&self.0.committing);
        let start = Cursor::of_genesis(&self.0.genesis)?;
        {
            let mut guard = self.0.cursor.write().unwrap_or_else(PoisonError::into_inner);
            self.0.store.clear()?;
            *guard = start.clone();
        }
        lock(&self.0.condition).digest_mismatch = None;
        self.0.watch.send_replace(start.clone());
        Ok(start)
    }

    /// Sets what the follower found alarming; an empty list clears it.
    pub(crate) fn set_alarms(&self, alarms: Vec<Alarm>) {
        lock(&self.0.condition).alarms = alarms;
    }

    /// Stops serving for good; only a restart ends it. The first reason stays.
    pub(crate) fn halt(&self, why: String) {
        lock(&self.0.condition).halted.get_or_insert(why);
    }

    pub(crate) fn set_endpoints(&self, endpoints: Vec<EndpointStatus>) {
        lock(&self.0.condition).endpoints = endpoints;
    }
}

/// Reads of one consistent state. Not `Send`: it cannot be held across an await.
pub struct StateGuard<'a> {
    store: &'a dyn Store,
    cursor: RwLockReadGuard<'a, Cursor>,
}

impl StateGuard<'_> {
    /// Where this state stands.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }
}

impl StateRead for StateGuard<'_> {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Raw(self.store).read(key)
    }
    fn scan(&self, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        Raw(self.store).scan(prefix, limit)
    }
}

/// The store as the policy reads it.
struct Raw<'a>(&'a dyn Store);

impl StateRead for Raw<'_> {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.0.read(key).map_err(|e| StateError::Store(e.to_string()))
    }
    fn scan(&self, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        self.0.scan(prefix, limit).map_err(|e| StateError::Store(e.to_string()))
    }
}

/// Whether emptying the state and following the chain anew is the remedy.
pub(crate) fn rebuild_helps(error: &LedgerError) -> bool {
    match error {
        LedgerError::Apply(ApplyError::State(StateError::Corrupt { .. }) | ApplyError::OtherGenesis)
        | LedgerError::Apply(ApplyError::NotNext { .. }) => true,
        LedgerError::Store(e) => e.is_corruption(),
        _ => false,
    }
}
