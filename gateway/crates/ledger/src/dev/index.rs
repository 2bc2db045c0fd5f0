//! Where blocks and transactions are, and what was seen; in memory, made anew at every start.

use super::{Block, admit::MAX_BLOCKS_AHEAD, storage::Span};
use gw_proto::canon::Digest;
use std::collections::{HashMap, VecDeque};

#[derive(Default)]
pub(super) struct Index {
    /// block n is at n − 1; block 0 is not in the file
    spans: Vec<Span>,
    by_hash: HashMap<String, u64>,
    transactions: HashMap<Digest, (u64, usize)>,
    nonces: HashMap<String, u64>,
    /// nonces by block, oldest first: older than any valid `blockLimit` allows, they are forgotten
    recent: VecDeque<(u64, Vec<String>)>,
}

impl Index {
    pub(super) fn head(&self) -> u64 {
        u64::try_from(self.spans.len()).unwrap_or(u64::MAX)
    }
    pub(super) fn add(&mut self, block: &Block, hashes: &[Digest], span: Span) {
        let number = block.header.number;
        self.spans.push(span);
        self.by_hash.insert(block.header.hash.clone(), number);
        for (i, hash) in hashes.iter().enumerate() {
            self.transactions.insert(*hash, (number, i));
        }
        let nonces: Vec<String> = block.transactions.iter().map(|t| t.nonce.clone()).collect();
        for nonce in &nonces {
            self.nonces.insert(nonce.clone(), number);
        }
        self.recent.push_back((number, nonces));
        // A transaction of block n had blockLimit ≤ n − 1 + 600: after that it is refused by its limit.
        while self.recent.front().is_some_and(|(n, _)| n.saturating_add(MAX_BLOCKS_AHEAD) < number) {
            if let Some((n, nonces)) = self.recent.pop_front() {
                for nonce in nonces {
                    if self.nonces.get(&nonce) == Some(&n) {
                        self.nonces.remove(&nonce);
                    }
                }
            }
        }
    }
    pub(super) fn span(&self, number: u64) -> Option<Span> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        self.spans.get(at).copied()
    }
    pub(super) fn number_of(&self, block_hash: &str) -> Option<u64> {
        self.by_hash.get(block_hash).copied()
    }
    /// Block and position of a transaction.
    pub(super) fn place_of(&self, hash: &Digest) -> Option<(u64, usize)> {
        self.transactions.get(hash).copied()
    }
    pub(super) fn nonce_used(&self, nonce: &str) -> bool {
        self.nonces.contains_key(nonce)
    }
}
