//! A state as bytes: reading it, changing it, reading one's own writes.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Why a state cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The store below failed.
    #[error("ledger state: the store failed: {0}")]
    Store(String),
    /// A value is not what this program writes; the state must be rebuilt from the chain.
    #[error("ledger state: the {table} entry is not readable ({why}); rebuild the state from the chain")]
    Corrupt {
        /// which table
        table: &'static str,
        /// what is wrong
        why: String,
    },
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Reads of one consistent state.
pub trait StateRead {
    /// The value of a key.
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;
    /// The first `limit` entries whose keys start with `prefix`, in ascending order of keys.
    /// `limit` may be far above what there is: nothing should be allocated for it.
    fn scan(&self, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StateError>;
}

/// One entry that a block writes; `None` removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// where
    pub key: Vec<u8>,
    /// what
    pub value: Option<Vec<u8>>,
}

/// A state in memory: for tests, the offline tools and the development ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MapState(BTreeMap<Vec<u8>, Vec<u8>>);

impl MapState {
    /// Takes a block's changes, all of them.
    pub fn commit(&mut self, changes: &[Change]) {
        for change in changes {
            match &change.value {
                Some(value) => self.0.insert(change.key.clone(), value.clone()),
                None => self.0.remove(&change.key),
            };
        }
    }
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl StateRead for MapState {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.0.get(key).cloned())
    }
    fn scan(&self, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        let from = self.0.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        let hits = from.take_while(|(k, _)| k.starts_with(prefix)).take(limit);
        Ok(hits.map(|(k, v)| (k.clone(), v.clone())).collect())
    }
}

/// A state plus the writes of the block at hand: a record sees what the records before it wrote.
pub struct Overlay<'a> {
    base: &'a dyn StateRead,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Overlay<'a> {
    /// Nothing written yet.
    pub fn new(base: &'a dyn StateRead) -> Self {
        Self { base, writes: BTreeMap::new() }
    }
    /// Writes or removes an entry.
    pub fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.writes.insert(key, value);
    }
    /// The writes so far, one per key, in ascending order of keys.
    pub fn into_changes(self) -> Vec<Change> {
        self.writes.into_iter().map(|(key, value)| Change { key, value }).collect()
    }
}

impl StateRead for Overlay<'_> {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.base.read(key),
        }
    }
    fn scan(&self, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        let written = || {
            let from = self.writes.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
            from.take_while(|(k, _)| k.starts_with(prefix))
        };
        // each removed entry can hide one of the base's: ask for that many more
        let removed = written().filter(|(_, v)| v.is_none()).count();
        let below = self.base.scan(prefix, limit.saturating_add(removed))?;
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = below.into_iter().collect();
        for (key, value) in written() {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(merged.into_iter().take(limit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Entries = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn entries() -> impl Strategy<Value = Entries> {
        let key = proptest::collection::vec(0u8..3, 0..4);
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..2));
        proptest::collection::vec((key, value), 0..40)
    }

    proptest! {
        /// Reading through an overlay is reading the state after the commit.
        #[test]
        fn overlay_reads_like_the_committed_state(before in entries(), writes in entries(),
                prefix in proptest::collection::vec(0u8..3, 0..3), limit in 0usize..20) {
            let changes = |e: &Entries| {
                e.iter().map(|(k, v)| Change { key: k.clone(), value: v.clone() }).collect::<Vec<_>>()
            };
            let mut base = MapState::default();
            base.commit(&changes(&before));
            let mut after = base.clone();
            after.commit(&changes(&writes));
            let mut overlay = Overlay::new(&base);
            for (k, v) in &writes {
                overlay.write(k.clone(), v.clone());
            }
            prop_assert_eq!(overlay.scan(&prefix, limit), after.scan(&prefix, limit));
            prop_assert_eq!(overlay.read(&prefix), after.read(&prefix));
            let mut rebuilt = base.clone();
            rebuilt.commit(&overlay.into_changes());
            prop_assert_eq!(rebuilt, after);
        }
    }
}
