//! Sessions that a server can resume: bounded, in memory, wiped when they go.

use rustls::server::StoresServerSessions;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use zeroize::Zeroizing;

/// A bounded store; the oldest session goes first. [`Sessions::clear`] makes every peer prove itself again.
pub struct Sessions {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_id: HashMap<Vec<u8>, Zeroizing<Vec<u8>>>,
    /// ids in the order they came; may hold ids that are gone already
    order: VecDeque<Vec<u8>>,
}

impl Sessions {
    /// Keeps at most `capacity` sessions.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, inner: Mutex::default() }
    }
    /// Forgets all: after a change of roots or revocation lists.
    pub fn clear(&self) {
        *self.lock() = Inner::default();
    }
    /// How many it holds.
    pub fn len(&self) -> usize {
        self.lock().by_id.len()
    }
    /// Holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// A poisoned lock is taken: each operation leaves the maps usable at any point.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, id: Vec<u8>, value: Vec<u8>) -> bool {
        if self.capacity == 0 {
            return false;
        }
        let mut inner = self.lock();
        // `take` leaves ids behind, so the queue bounds both
        while inner.order.len() >= self.capacity {
            if let Some(oldest) = inner.order.pop_front() {
                inner.by_id.remove(&oldest);
            }
        }
        if inner.by_id.insert(id.clone(), Zeroizing::new(value)).is_none() {
            inner.order.push_back(id);
        }
        true
    }
    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.lock().by_id.get(id).map(|v| v.to_vec())
    }
    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.lock().by_id.remove(id).map(|v| v.to_vec())
    }
    fn can_cache(&self) -> bool {
        self.capacity > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_single_use() {
        let store = Sessions::new(4);
        for i in 0..50u8 {
            assert!(store.put(vec![i], vec![i; 3]));
            if i % 3 == 0 {
                assert_eq!(store.take(&[i]), Some(vec![i; 3]));
                assert_eq!(store.take(&[i]), None);
            }
            assert!(store.len() <= 4 && store.lock().order.len() <= 4);
        }
        assert_eq!(store.get(&[49]), Some(vec![49; 3]));
        store.clear();
        assert!(store.is_empty() && store.get(&[49]).is_none());
        assert!(!Sessions::new(0).put(vec![1], vec![1]));
    }
}
