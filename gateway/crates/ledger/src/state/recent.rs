//! What became of the transactions of the last blocks: for those who wait for theirs.

use crate::verify::{Skip, VerifiedBlock};
use gw_policy::{BlockOutcome, Fate};
use gw_proto::{Digest, Height, UnixMillis};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// For how many blocks it is kept, and for how many transactions at most.
const BLOCKS: usize = 1024;
const TRANSACTIONS: usize = 16 * 1024;

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxOutcome {
    /// its batch was applied: one fate per record, in order
    Applied(Vec<Fate>),
    /// it stands in the block and has no effect
    Skipped(Skip),
}

/// Where a transaction stands and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// in which block
    pub height: Height,
    /// the block's hash
    pub hash: Digest,
    /// the block's time
    pub time: UnixMillis,
    /// position in the block
    pub tx_index: u32,
    /// what became of it
    pub outcome: TxOutcome,
}

#[derive(Default)]
pub(super) struct Recent {
    blocks: VecDeque<Vec<Digest>>,
    found: HashMap<Digest, Found>,
}

impl Recent {
    pub(super) fn find(&self, hash: &Digest) -> Option<Found> {
        self.found.get(hash).cloned()
    }

    pub(super) fn push(&mut self, block: &VerifiedBlock, outcome: &BlockOutcome) {
        let header = block.header();
        let mut hashes = Vec::new();
        let skipped: BTreeMap<u32, &Skip> = block.skipped().iter().map(|s| (s.tx, &s.why)).collect();
        let mut fates: BTreeMap<u32, Vec<Fate>> = BTreeMap::new();
        for f in &outcome.fates {
            fates.entry(f.tx).or_default().push(f.fate);
        }
        for (tx_index, hash) in (0u32..).zip(block.transaction_hashes()) {
            let outcome = match skipped.get(&tx_index) {
                // others' transactions: nobody here waits for them
                Some(Skip::NotOurs(_)) => continue,
                Some(why) => TxOutcome::Skipped((*why).clone()),
                None => TxOutcome::Applied(fates.remove(&tx_index).unwrap_or_default()),
            };
            let found = Found {
                height: header.number(),
                hash: header.hash(),
                time: header.time(),
                tx_index,
                outcome,
            };
            self.found.insert(*hash, found);
            hashes.push(*hash);
        }
        self.blocks.push_back(hashes);
        while self.blocks.len() > BLOCKS || (self.found.len() > TRANSACTIONS && self.blocks.len() > 1) {
            for old in self.blocks.pop_front().into_iter().flatten() {
                self.found.remove(&old);
            }
        }
    }
}
