//! What the journal's and the outbox's tests share.

use gw_journal::{Intent, Journal, JournalError, JournalOptions, OutboxOptions, Recovered};
use gw_proto::{Clock, NodeId, UnixMillis, clock::FakeClock};
use gw_store::{Disk, MemDisk, StoreError};
use std::sync::{Arc, Condvar, Mutex};

pub(crate) const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(FakeClock::at(NOW))
}

pub(crate) fn node() -> NodeId {
    NodeId::parse("bank-suzhou-1").unwrap()
}

pub(crate) fn options() -> JournalOptions {
    JournalOptions::new(&node())
}

pub(crate) fn outbox_options() -> OutboxOptions {
    OutboxOptions::new(&node())
}

pub(crate) fn open(disk: impl Disk + 'static) -> Result<(Journal, Recovered), JournalError> {
    Journal::open(Box::new(disk), &options(), clock())
}

pub(crate) fn intent(n: u64) -> Intent {
    Intent { trace_id: Some(n.to_string()), ..Intent::new("query", NOW) }
}

/// A disk in memory that outlives its journal, counts syncs and can hold them back.
#[derive(Clone, Default)]
pub(crate) struct GateDisk(Arc<Gate>);

#[derive(Default)]
struct Gate {
    disk: MemDisk,
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    shut: bool,
    waiting: bool,
    syncs: u64,
}

impl GateDisk {
    pub(crate) fn with_content(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Gate { disk: MemDisk::with_content(bytes), ..Gate::default() }))
    }
    pub(crate) fn content(&self) -> Vec<u8> {
        self.0.disk.content()
    }
    pub(crate) fn shut(&self) {
        self.0.state.lock().unwrap().shut = true;
    }
    pub(crate) fn release(&self) {
        self.0.state.lock().unwrap().shut = false;
        self.0.changed.notify_all();
    }
    /// Returns when a sync is held back.
    pub(crate) fn until_held(&self) {
        let state = self.0.state.lock().unwrap();
        let limit = std::time::Duration::from_secs(30);
        let (_guard, late) = self.0.changed.wait_timeout_while(state, limit, |s| !s.waiting).unwrap();
        assert!(!late.timed_out(), "no sync came");
    }
    pub(crate) fn syncs(&self) -> u64 {
        self.0.state.lock().unwrap().syncs
    }
}

impl Disk for GateDisk {
    fn len(&self) -> Result<u64, StoreError> {
        self.0.disk.len()
    }
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.0.disk.read_at(at, out)
    }
    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.disk.write_at(at, bytes)
    }
    fn resize(&self, len: u64) -> Result<(), StoreError> {
        self.0.disk.resize(len)
    }
    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.0.state.lock().unwrap();
        state.syncs += 1;
        state.waiting = true;
        self.0.changed.notify_all();
        while state.shut {
            state = self.0.changed.wait(state).unwrap();
        }
        state.waiting = false;
        Ok(())
    }
}
