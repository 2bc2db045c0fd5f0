//! A source in memory, for the tests of those who ask it.

use super::{FetchLimits, Meter, Snapshot, SourceAdapter};
use crate::{Catalogue, SourceError, mapping::CheckReport};
use gw_proto::{Clock, Dimension, Uscc, report::Item};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// Answers out of a map; fails as often as it is told to.
pub struct FakeSource {
    clock: Arc<dyn Clock>,
    catalogue: Catalogue,
    items: Mutex<HashMap<Uscc, Vec<Item>>>,
    failures: Mutex<VecDeque<SourceError>>,
}

impl std::fmt::Debug for FakeSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeSource")
    }
}

impl FakeSource {
    /// Holds nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, catalogue: Catalogue::builtin(), items: Mutex::default(), failures: Mutex::default() }
    }
    /// Holds these on a subject from now on.
    pub fn put(&self, subject: Uscc, items: Vec<Item>) {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).insert(subject, items);
    }
    /// The next read fails with this; several queue up.
    pub fn fail_next(&self, error: SourceError) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push_back(error);
    }
}

impl SourceAdapter for FakeSource {
    fn fetch(
        &self,
        subject: &Uscc,
        dimensions: &[Dimension],
        limits: &FetchLimits,
    ) -> Result<Snapshot, SourceError> {
        if let Some(e) = self.failures.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            return Err(e);
        }
        if self.clock.instant() >= limits.deadline {
            return Err(SourceError::Deadline { place: "the fake".to_owned() });
        }
        let all = self.items.lock().unwrap_or_else(PoisonError::into_inner).get(subject).cloned();
        let mut meter = Meter::new(limits);
        let mut items = Vec::new();
        for item in all.unwrap_or_default().into_iter().filter(|i| dimensions.contains(&i.dimension)) {
            meter.add(&item)?;
            items.push(item);
        }
        if let Some(problem) = self.catalogue.validate_all(&items).into_iter().next() {
            return Err(SourceError::Item { query: "fake".to_owned(), row: 0, problem });
        }
        items.sort_by_cached_key(|i| (self.catalogue.position(&i.id), i.key.clone()));
        Ok(Snapshot { as_of: self.clock.now(), items })
    }
    fn check(&self) -> Result<CheckReport, SourceError> {
        Ok(CheckReport::default())
    }
}
