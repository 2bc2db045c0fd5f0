//! The institution's own documents: statements with their evidence, and openings by Idempotency-Key.
//!
//! Both stay on this box (data partition): the ledger has commitments only. An opening is kept *before* its
//! reservation goes out, so that a repeated key after a crash finds the same report id and never spends a
//! second use.

use gw_proto::{
    AuthzId, Digest, InstitutionId, UnixMillis, canon,
    message::{Evidence, Opening, Statement},
};
use gw_store::{Store, Write};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The most idempotency keys held at once; beyond, a new one is refused as busy until old ones are swept.
pub const MAX_KEYS: usize = 100_000;

/// Why the documents could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The store failed.
    #[error("documents: {0}")]
    Store(#[from] gw_store::StoreError),
    /// A document has no canonical form or cannot be read back.
    #[error("documents: entry of {kind} cannot be read or written: {why}")]
    Entry {
        /// which kind
        kind: &'static str,
        /// why
        why: String,
    },
}

/// A statement and what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorized {
    /// S
    pub statement: Statement,
    /// E
    pub evidence: Evidence,
}

/// What an Idempotency-Key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// digest of the request's body
    pub body: Digest,
    /// T
    pub opening: Opening,
    /// when it was first seen
    pub created: UnixMillis,
}

/// Scope of a key: institution, operator, key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyScope(Digest);

impl IdempotencyScope {
    /// Makes the scope of a key (1 to 200 visible ASCII characters, checked by the caller).
    pub fn new(institution: &InstitutionId, operator: &str, key: &str) -> Self {
        let v = format!("{institution}\u{0}{operator}\u{0}{key}");
        Self(canon::domain_digest("xinguan/idempotency/1", v.as_bytes()))
    }
}

/// Statements, evidence, openings.
pub struct Documents {
    store: Box<dyn Store>,
    running: Mutex<HashSet<IdempotencyScope>>,
    /// keys held: counted once at the start, then kept in step; a request must not read them all
    held: AtomicUsize,
    window: Duration,
}

/// Held while a request with a key runs; a second one meets "in progress".
pub struct Running<'a> {
    documents: &'a Documents,
    scope: IdempotencyScope,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.documents.running).remove(&self.scope);
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn authz_key(id: &AuthzId) -> Vec<u8> {
    [b"a".as_slice(), &id.0.0].concat()
}

fn key_key(scope: &IdempotencyScope) -> Vec<u8> {
    [b"k".as_slice(), &scope.0.0].concat()
}

fn encode<T: Serialize>(kind: &'static str, v: &T) -> Result<Vec<u8>, DocumentError> {
    serde_json::to_vec(v).map_err(|e| DocumentError::Entry { kind, why: e.to_string() })
}

fn decode<T: serde::de::DeserializeOwned>(kind: &'static str, v: &[u8]) -> Result<T, DocumentError> {
    serde_json::from_slice(v).map_err(|e| DocumentError::Entry { kind, why: e.to_string() })
}

impl Documents {
    /// Over a store of its own. `window`: how long a key is remembered (at most 10 min).
    pub fn new(store: Box<dyn Store>, window: Duration) -> Result<Self, DocumentError> {
        let held = AtomicUsize::new(store.scan(b"k", MAX_KEYS)?.len());
        Ok(Self { store, running: Mutex::new(HashSet::new()), held, window })
    }
    /// Keeps an authorization's documents.
    pub fn keep(&self, id: &AuthzId, doc: &Authorized) -> Result<(), DocumentError> {
        let value = Some(encode("authorization", doc)?);
        Ok(self.store.commit(&[Write { key: authz_key(id), value }])?)
    }
    /// Finds an authorization's documents.
    pub fn find(&self, id: &AuthzId) -> Result<Option<Authorized>, DocumentError> {
        self.store.read(&authz_key(id))?.map(|v| decode("authorization", &v)).transpose()
    }
    /// Claims a key while its request runs; `None` if it runs already.
    pub fn claim(&self, scope: IdempotencyScope) -> Option<Running<'_>> {
        // a guard exists only for who got the place: its drop gives the place back
        let first = lock(&self.running).insert(scope);
        first.then(|| Running { documents: self, scope })
    }
    /// What a key stands for, unless its window has passed.
    pub fn remembered(
        &self,
        scope: &IdempotencyScope,
        now: UnixMillis,
    ) -> Result<Option<Remembered>, DocumentError> {
        let Some(v) = self.store.read(&key_key(scope))? else { return Ok(None) };
        let r: Remembered = decode("idempotency key", &v)?;
        Ok((now.since(r.created) <= self.window).then_some(r))
    }
    /// Remembers what a key stands for. Returns false when too many are held.
    pub fn remember(&self, scope: &IdempotencyScope, r: &Remembered) -> Result<bool, DocumentError> {
        if self.held.load(Ordering::Relaxed) >= MAX_KEYS {
            return Ok(false);
        }
        let key = key_key(scope);
        let new = self.store.read(&key)?.is_none();
        let value = Some(encode("idempotency key", r)?);
        self.store.commit(&[Write { key, value }])?;
        self.held.fetch_add(usize::from(new), Ordering::Relaxed);
        Ok(true)
    }
    /// Forgets keys whose window has passed; called now and then.
    pub fn sweep(&self, now: UnixMillis) -> Result<(), DocumentError> {
        let mut gone = Vec::new();
        for (key, value) in self.store.scan(b"k", MAX_KEYS)? {
            let r: Remembered = decode("idempotency key", &value)?;
            if now.since(r.created) > self.window {
                gone.push(Write { key, value: None });
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.store.commit(&gone)?;
        self.held.fetch_sub(gone.len(), Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_store::MemStore;

    #[test]
    fn a_key_runs_once_at_a_time() {
        let documents = Documents::new(Box::new(MemStore::default()), Duration::from_secs(600)).unwrap();
        let scope = |key| IdempotencyScope::new(&"bank-suzhou".parse().unwrap(), "credit-system", key);
        let running = documents.claim(scope("a")).unwrap();
        // refused without waiting, and without taking the place from who has it
        assert!(documents.claim(scope("a")).is_none());
        assert!(documents.claim(scope("a")).is_none());
        assert!(documents.claim(scope("b")).is_some());
        drop(running);
        assert!(documents.claim(scope("a")).is_some());
    }
}
