//! Transactions that wait for a block: first come, first served, bounded in number and bytes.

use super::admit::{Candidate, Refusal};
use gw_proto::{UnixMillis, canon::Digest, fisco::Transaction};
use std::collections::{HashSet, VecDeque};

/// A transaction whose signature holds, with the time it came.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) tx: Transaction,
    pub(super) hash: Digest,
    pub(super) bytes: usize,
    pub(super) imported: UnixMillis,
}

pub(super) struct Pool {
    max_count: usize,
    max_bytes: usize,
    bytes: usize,
    queue: VecDeque<Waiting>,
    hashes: HashSet<Digest>,
    nonces: HashSet<String>,
}

impl Pool {
    pub(super) fn new(max_count: usize, max_bytes: usize) -> Self {
        Self {
            max_count,
            max_bytes,
            bytes: 0,
            queue: VecDeque::new(),
            hashes: HashSet::new(),
            nonces: HashSet::new(),
        }
    }
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
    pub(super) fn holds(&self, hash: &Digest) -> bool {
        self.hashes.contains(hash)
    }

    /// Whether there is room for it and nothing like it waits.
    pub(super) fn check(&self, c: &Candidate) -> Result<(), Refusal> {
        if self.hashes.contains(&c.hash) {
            return Err(Refusal::Waiting);
        }
        if self.nonces.contains(&c.tx.nonce) {
            return Err(Refusal::NonceUsed);
        }
        if self.queue.len() >= self.max_count || self.bytes.saturating_add(c.bytes) > self.max_bytes {
            return Err(Refusal::PoolFull);
        }
        Ok(())
    }

    pub(super) fn push(&mut self, c: Candidate, imported: UnixMillis) -> Result<(), Refusal> {
        self.check(&c)?;
        self.bytes += c.bytes;
        self.hashes.insert(c.hash);
        self.nonces.insert(c.tx.nonce.clone());
        self.queue.push_back(Waiting { tx: c.tx, hash: c.hash, bytes: c.bytes, imported });
        Ok(())
    }

    /// Drops those that may not stand in block `next` any more, from anywhere in the queue.
    pub(super) fn drop_expired(&mut self, next: u64) -> usize {
        let before = self.queue.len();
        let waiting = std::mem::take(&mut self.queue);
        for w in waiting {
            if u64::try_from(w.tx.block_limit).is_ok_and(|limit| limit >= next) {
                self.queue.push_back(w);
            } else {
                self.forget(&w);
            }
        }
        before - self.queue.len()
    }

    /// The first ones that fit into a block; they stay until [`Pool::remove`], should the block fail.
    pub(super) fn first(&self, count: usize, bytes: usize) -> Vec<Waiting> {
        let mut left = bytes;
        self.queue
            .iter()
            .take(count)
            .enumerate()
            .take_while(|(i, w)| {
                let fits = w.bytes <= left || *i == 0; // one always fits, or it would wait for ever
                left = left.saturating_sub(w.bytes);
                fits
            })
            .map(|(_, w)| w.clone())
            .collect()
    }

    /// Removes the first `count`.
    pub(super) fn remove(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(w) = self.queue.pop_front() {
                self.forget(&w);
            }
        }
    }

    fn forget(&mut self, w: &Waiting) {
        self.bytes = self.bytes.saturating_sub(w.bytes);
        self.hashes.remove(&w.hash);
        self.nonces.remove(&w.tx.nonce);
    }
}
