//! Which transactions are taken, and the code of each refusal.

use crate::tx;
use gw_proto::{
    canon::Digest,
    fisco::Transaction,
    genesis::Genesis,
    tars::{self, TarsError},
};

/// How far ahead of the head a transaction's `blockLimit` may lie (PROTOCOL.md, "Settled for the first build").
pub(super) const MAX_BLOCKS_AHEAD: u64 = 600;
/// The longest nonce, in hex digits. Ours have 32; a follower refuses others, the chain need not.
const MAX_NONCE_DIGITS: usize = 256;

/// Why a submission is refused. Codes are those of FISCO BCOS (`TransactionStatus`, `JsonRpcError`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The client is not one that may submit.
    #[error("this client is not listed as a submitter of the development ledger")]
    NotListed,
    /// Too many submissions by this client.
    #[error("too many submissions by this client; wait {wait_ms} ms")]
    RateLimited {
        /// how long
        wait_ms: u64,
    },
    /// Not a transaction of this form.
    #[error("not a transaction: {0}")]
    Malformed(TarsError),
    /// A nonce that is absent or too long.
    #[error("nonce is empty or longer than 128 bytes")]
    Nonce,
    /// Another chain's.
    #[error("the transaction is for another chain")]
    WrongChain,
    /// Another group's.
    #[error("the transaction is for another group")]
    WrongGroup,
    /// Not for the record contract.
    #[error("the transaction is not for the record contract of this chain")]
    WrongContract,
    /// Its limit has passed, or lies too far ahead.
    #[error("blockLimit {limit} is not above the head {head} by 1 to 600")]
    BlockLimit {
        /// its limit
        limit: i64,
        /// the head
        head: u64,
    },
    /// The claimed hash is another.
    #[error("the claimed hash is not that of the transaction")]
    HashMismatch,
    /// The signature does not hold.
    #[error("the account's signature does not hold")]
    BadSignature,
    /// Another transaction used this nonce.
    #[error("the nonce was used before")]
    NonceUsed,
    /// It waits already.
    #[error("the transaction waits already")]
    Waiting,
    /// It stands in a block already.
    #[error("the transaction is in block {number} already")]
    InChain {
        /// which
        number: u64,
    },
    /// No room.
    #[error("too many transactions wait")]
    PoolFull,
    /// The ledger makes no more blocks.
    #[error("the development ledger is closed since a failed write")]
    Closed,
}

impl Refusal {
    /// FISCO's number for it.
    pub fn code(&self) -> i64 {
        match self {
            Self::NotListed => -32003,
            Self::RateLimited { .. } | Self::PoolFull => 10002,
            Self::Malformed(_) | Self::Nonce | Self::HashMismatch => 10003,
            Self::WrongChain => 10006,
            Self::WrongGroup => 10007,
            Self::WrongContract => 19,
            Self::BlockLimit { .. } => 10001,
            Self::BadSignature => 10008,
            Self::NonceUsed => 10000,
            Self::Waiting => 10004,
            Self::InChain { .. } => 10005,
            Self::Closed => -32603,
        }
    }
    /// Whether the same transaction may be taken later.
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::PoolFull)
    }
}

/// A transaction of the right form for this chain. Its signature is not checked yet.
pub(super) struct Candidate {
    pub(super) tx: Transaction,
    pub(super) hash: Digest,
    pub(super) bytes: usize,
}

/// The checks that need neither the chain's state nor a signature.
pub(super) fn check_form(genesis: &Genesis, bytes: &[u8]) -> Result<Candidate, Refusal> {
    let mut tx = tars::decode_transaction(bytes).map_err(Refusal::Malformed)?;
    if tx.chain_id != genesis.chain {
        return Err(Refusal::WrongChain);
    }
    if tx.group_id != genesis.group {
        return Err(Refusal::WrongGroup);
    }
    if tx.to != genesis.contract {
        return Err(Refusal::WrongContract);
    }
    if tx.nonce.is_empty() || tx.nonce.len() > MAX_NONCE_DIGITS {
        return Err(Refusal::Nonce);
    }
    let hash = tx.compute_hash().map_err(|_| Refusal::HashMismatch)?;
    let text = format!("0x{hash}");
    if tx.hash == "0x" {
        tx.hash = text;
    } else if tx.hash != text {
        return Err(Refusal::HashMismatch);
    }
    Ok(Candidate { tx, hash, bytes: bytes.len() })
}

/// head < limit ≤ head + 600.
pub(super) fn check_block_limit(limit: i64, head: u64) -> Result<(), Refusal> {
    match u64::try_from(limit) {
        Ok(l) if l > head && l <= head.saturating_add(MAX_BLOCKS_AHEAD) => Ok(()),
        _ => Err(Refusal::BlockLimit { limit, head }),
    }
}

/// The account's signature over the hash.
pub(super) fn check_signature(candidate: &Candidate) -> Result<(), Refusal> {
    tx::verify_account(&candidate.tx, &candidate.hash).map(drop).map_err(|_| Refusal::BadSignature)
}
