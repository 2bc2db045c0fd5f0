//! A store in memory, for tests of whatever stands on `Store`.

use crate::{
    error::StoreError,
    kv::{Pair, Store, Write, check_bounds},
};
use std::{
    collections::BTreeMap,
    ops::Bound,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Behaves as [`crate::SledStore`] does, without a file; can be told to fail.
#[derive(Default)]
pub struct MemStore(Mutex<State>);

#[derive(Default)]
struct State {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    fail_next: bool,
    closed: bool,
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
    /// The next commit fails and leaves the store closed.
    pub fn fail_next_commit(&self) {
        self.lock().fail_next = true;
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn open_state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        if state.closed {
            return Err(StoreError::Closed { path: place() });
        }
        Ok(state)
    }
}

fn place() -> PathBuf {
    PathBuf::from("(memory)")
}

impl Store for MemStore {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.open_state()?.map.get(key).cloned())
    }
    fn scan_after(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let from = match after {
            Some(a) if a >= prefix => Bound::Excluded(a),
            _ => Bound::Included(prefix),
        };
        Ok(self
            .open_state()?
            .map
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(k, _)| k.starts_with(prefix))
            .take(limit)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect())
    }
    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        check_bounds(writes)?;
        let mut state = self.open_state()?;
        if std::mem::take(&mut state.fail_next) {
            state.closed = true;
            let source = std::io::Error::other("failure asked for by a test");
            return Err(StoreError::Io { operation: "commit", path: place(), source });
        }
        for w in writes {
            match &w.value {
                Some(v) => state.map.insert(w.key.clone(), v.clone()),
                None => state.map.remove(&w.key),
            };
        }
        Ok(())
    }
    fn clear(&self) -> Result<(), StoreError> {
        self.open_state()?.map.clear();
        Ok(())
    }
}
