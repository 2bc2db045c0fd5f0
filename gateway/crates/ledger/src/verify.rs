//! A raw block checked as a whole, and the records in it.
//!
//! An endpoint can leave out a revocation, swap receipts, or tell another split of the hashed bytes. So the
//! block is taken only if its header is signed by a quorum and follows the cursor, and if *all* its
//! transactions and receipts have the two roots that the sealers signed. Records come from the
//! transactions' hashed bytes, never from logs, and only with receipt status 0. A transaction that is not
//! ours is skipped with a reason: others may use the group, and their transactions change nothing here.
//! A batch's signatures are judged by `gw_policy::apply_block`.

use crate::{endpoint::RawBlock, error::BlockFault};
use gw_proof::{SealerSet, VerifiedHeader, verify_header};
use gw_proto::{
    Digest, Height,
    fisco::{FiscoError, MAX_TRANSACTIONS, Receipt, SkipReason, Transaction, merkle_root, parse_digest},
    genesis::Genesis,
    record::{BatchError, SignedBatch},
};

/// Why a transaction of a verified block has no effect here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// Not a record transaction of this consortium.
    #[error(transparent)]
    NotOurs(#[from] SkipReason),
    /// The chain ran it and it failed.
    #[error("the chain gives status {status}")]
    Failed {
        /// the receipt's status
        status: i32,
    },
    /// Its payload is not a batch.
    #[error("the payload is not a batch: {0}")]
    NotABatch(String),
}

/// A skipped transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// index of the transaction
    pub tx: u32,
    /// why
    pub why: Skip,
}

/// A block that was verified as a whole. Only [`verify_block`] makes one.
#[derive(Debug, Clone)]
pub struct VerifiedBlock {
    header: VerifiedHeader,
    hashes: Vec<Digest>,
    batches: Vec<(u32, SignedBatch)>,
    skipped: Vec<Skipped>,
}

impl VerifiedBlock {
    /// Its header.
    pub fn header(&self) -> &VerifiedHeader {
        &self.header
    }
    /// The hashes of all its transactions, in order.
    pub fn transaction_hashes(&self) -> &[Digest] {
        &self.hashes
    }
    /// (index of the transaction, batch), ascending.
    pub fn batches(&self) -> &[(u32, SignedBatch)] {
        &self.batches
    }
    /// What has no effect here, and why.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// Checks a block against the one that it must follow: its height, its hash, and the sealers after it.
pub fn verify_block(
    genesis: &Genesis,
    at: Height,
    hash: &Digest,
    sealers: &SealerSet,
    block: &RawBlock,
) -> Result<VerifiedBlock, BlockFault> {
    let found = Height(block.header.number);
    if found.0.checked_sub(1) != Some(at.0) {
        return Err(BlockFault::Number { expected: Height(at.0.saturating_add(1)), found });
    }
    let header = verify_header(&block.header, sealers)?;
    if block.header.parent_info.first().is_none_or(|p| p.block_number != at.0) {
        return Err(BlockFault::ParentNumber { height: found });
    }
    if header.parent() != *hash {
        return Err(BlockFault::Parent { height: found, expected: *hash, found: header.parent() });
    }
    let hashes = verify_contents(genesis, &header, block)?;
    let mut verified = VerifiedBlock { header, hashes, batches: Vec::new(), skipped: Vec::new() };
    for (tx, (transaction, receipt)) in (0u32..).zip(block.transactions.iter().zip(&block.receipts)) {
        match take_batch(genesis, transaction, receipt) {
            Ok(batch) => verified.batches.push((tx, batch)),
            Err(why) => verified.skipped.push(Skipped { tx, why }),
        }
    }
    Ok(verified)
}

/// Recomputes both roots from everything that was given; the hashes of the transactions.
pub(crate) fn verify_contents(
    genesis: &Genesis,
    header: &VerifiedHeader,
    block: &RawBlock,
) -> Result<Vec<Digest>, BlockFault> {
    let height = header.number();
    let (transactions, receipts) = (block.transactions.len(), block.receipts.len());
    if transactions > MAX_TRANSACTIONS {
        return Err(BlockFault::TooMany { height, found: transactions, max: MAX_TRANSACTIONS });
    }
    if transactions != receipts {
        return Err(BlockFault::ReceiptCount { height, transactions, receipts });
    }
    let mut hashes = Vec::with_capacity(transactions);
    for (index, tx) in block.transactions.iter().enumerate() {
        hashes.push(transaction_hash(genesis, height, index, tx)?);
    }
    if merkle_root(&hashes) != header.txs_root() {
        return Err(BlockFault::Root { height, what: "transactions" });
    }
    let mut results = Vec::with_capacity(receipts);
    for (index, (receipt, of)) in block.receipts.iter().zip(&hashes).enumerate() {
        results.push(receipt_hash(height, index, receipt, of)?);
    }
    if merkle_root(&results) != header.receipts_root() {
        return Err(BlockFault::Root { height, what: "receipts" });
    }
    Ok(hashes)
}

fn transaction_hash(
    genesis: &Genesis,
    height: Height,
    index: usize,
    tx: &Transaction,
) -> Result<Digest, BlockFault> {
    let fault = |source| BlockFault::Transaction { height, index, source };
    if !tx.is_of_chain(genesis).map_err(fault)? {
        return Err(BlockFault::ForeignTransaction { height, index });
    }
    let hash = tx.compute_hash().map_err(fault)?;
    if parse_digest("hash", &tx.hash).map_err(fault)? != hash {
        return Err(BlockFault::ClaimedHash { height, what: "transaction", index });
    }
    Ok(hash)
}

fn receipt_hash(height: Height, index: usize, receipt: &Receipt, of: &Digest) -> Result<Digest, BlockFault> {
    let fault = |source| BlockFault::Receipt { height, index, source };
    let hash = receipt.compute_hash().map_err(fault)?;
    if parse_digest("hash", &receipt.hash).map_err(fault)? != hash {
        return Err(BlockFault::ClaimedHash { height, what: "receipt", index });
    }
    if parse_digest("transactionHash", &receipt.transaction_hash).map_err(fault)? != *of {
        return Err(BlockFault::ReceiptOf { height, index, what: "transaction" });
    }
    if receipt.block_number != height.0 {
        return Err(BlockFault::ReceiptOf { height, index, what: "block" });
    }
    Ok(hash)
}

fn take_batch(genesis: &Genesis, tx: &Transaction, receipt: &Receipt) -> Result<SignedBatch, Skip> {
    let payload = tx.payload(genesis).map_err(|e| match e {
        FiscoError::Skip(reason) => Skip::NotOurs(reason),
        other => Skip::NotABatch(other.to_string()),
    })?;
    if receipt.status != 0 {
        return Err(Skip::Failed { status: receipt.status });
    }
    SignedBatch::parse(&payload).map_err(|e: BatchError| Skip::NotABatch(e.to_string()))
}
