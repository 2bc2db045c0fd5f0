//! What can go wrong between this box and the chain, whose fault it is, and whether to try again.

use gw_policy::{ApplyError, RefusalReason};
use gw_proof::ChainError;
use gw_proto::{Digest, Height, UnixMillis, canon::CanonError, fisco::FiscoError, tars::TarsError};
use gw_store::StoreError;
use std::time::Duration;

/// Why a block is refused. The chain did not make it like this: the endpoint did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockFault {
    /// The header is wrong, or too few signed it.
    #[error(transparent)]
    Header(#[from] ChainError),
    /// Another block than the one asked for.
    #[error("block {found} was given, block {expected} was asked for")]
    Number {
        /// asked for
        expected: Height,
        /// given
        found: Height,
    },
    /// A quorum signed it, and it does not follow the block that we have: the chain has forked.
    #[error("block {height} follows {found}, we have {expected}: both are signed by a quorum")]
    Parent {
        /// of which block
        height: Height,
        /// our head
        expected: Digest,
        /// its parent
        found: Digest,
    },
    /// It names another height for its parent.
    #[error("block {height} names a parent that is not at the height below")]
    ParentNumber {
        /// of which block
        height: Height,
    },
    /// More transactions than are taken.
    #[error("block {height} has {found} transactions, at most {max} are taken")]
    TooMany {
        /// which block
        height: Height,
        /// how many
        found: usize,
        /// the bound
        max: usize,
    },
    /// Receipts and transactions differ in number.
    #[error("block {height} has {transactions} transactions and {receipts} receipts")]
    ReceiptCount {
        /// which block
        height: Height,
        /// how many
        transactions: usize,
        /// how many
        receipts: usize,
    },
    /// A transaction whose hash cannot be computed.
    #[error("block {height}, transaction {index}: {source}")]
    Transaction {
        /// which block
        height: Height,
        /// position
        index: usize,
        /// what is wrong
        source: FiscoError,
    },
    /// A transaction that FISCO's pool would not have taken; perhaps an inner node of the tree.
    #[error("block {height}, transaction {index}: not of the pinned chain and group")]
    ForeignTransaction {
        /// which block
        height: Height,
        /// position
        index: usize,
    },
    /// A receipt whose hash cannot be computed.
    #[error("block {height}, receipt {index}: {source}")]
    Receipt {
        /// which block
        height: Height,
        /// position
        index: usize,
        /// what is wrong
        source: FiscoError,
    },
    /// The claimed hash is not the hash of the fields.
    #[error("block {height}, {what} {index}: claims another hash than that of its fields")]
    ClaimedHash {
        /// which block
        height: Height,
        /// transaction or receipt
        what: &'static str,
        /// position
        index: usize,
    },
    /// A receipt that names another transaction, or another block.
    #[error("block {height}, receipt {index}: it is of another {what}")]
    ReceiptOf {
        /// which block
        height: Height,
        /// position
        index: usize,
        /// transaction or block
        what: &'static str,
    },
    /// The root of what was given is not the header's: something was left out, added, changed or moved.
    #[error("block {height}: the {what} given do not have the root that the sealers signed")]
    Root {
        /// which block
        height: Height,
        /// transactions or receipts
        what: &'static str,
    },
    /// Dated too far ahead of the local clock.
    #[error(
        "block {height} is dated {} and the local clock says {}: more than {} s ahead; check the clock",
        time.rfc3339(), now.rfc3339(), max.as_secs()
    )]
    DatedAhead {
        /// which block
        height: Height,
        /// its time
        time: UnixMillis,
        /// ours
        now: UnixMillis,
        /// what is taken
        max: Duration,
    },
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// the endpoint, or the way to it
    Upstream,
    /// this box: its store, its keys, its configuration
    Us,
    /// whoever asked
    Caller,
}

/// Why something did not work with the chain.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The endpoint's address, or its TLS, is not configured as it should be.
    #[error("ledger endpoint `{endpoint}`: {what}")]
    Config {
        /// as configured
        endpoint: String,
        /// what to change
        what: &'static str,
    },
    /// No connection.
    #[error(
        "ledger endpoint {endpoint}: cannot connect; check that it runs and that its certificate is ours"
    )]
    Connect {
        /// which
        endpoint: String,
        /// what the system says
        source: std::io::Error,
    },
    /// The connection broke, or HTTP failed.
    #[error("ledger endpoint {endpoint}: {method}: {what}")]
    Transport {
        /// which
        endpoint: String,
        /// the call
        method: &'static str,
        /// what went wrong
        what: String,
    },
    /// No answer in time.
    #[error("ledger endpoint {endpoint}: {method}: no answer within {} ms", after.as_millis())]
    Timeout {
        /// which
        endpoint: String,
        /// the call
        method: &'static str,
        /// the deadline
        after: Duration,
    },
    /// More than is read.
    #[error("ledger endpoint {endpoint}: {method}: the answer is larger than {max} bytes")]
    TooLarge {
        /// which
        endpoint: String,
        /// the call
        method: &'static str,
        /// the bound
        max: usize,
    },
    /// Not what FISCO BCOS 3 answers.
    #[error("ledger endpoint {endpoint}: {method}: unexpected answer: {what}")]
    Answer {
        /// which
        endpoint: String,
        /// the call
        method: &'static str,
        /// what is wrong
        what: String,
    },
    /// It answered with an error.
    #[error("ledger endpoint {endpoint}: {method}: error {code}: {message}")]
    Refused {
        /// which
        endpoint: String,
        /// the call
        method: &'static str,
        /// FISCO's code
        code: i64,
        /// FISCO's text, clipped
        message: String,
    },
    /// A block that is not the chain's.
    #[error("ledger endpoint {endpoint}: {fault}")]
    Block {
        /// which
        endpoint: String,
        /// what is wrong with it
        fault: BlockFault,
    },
    /// No endpoint is configured.
    #[error("no ledger endpoint is configured; name two of different owners")]
    NoEndpoint,
    /// The genesis document cannot be followed.
    #[error("genesis document: {0}")]
    Genesis(String),
    /// The store under the state failed.
    #[error("ledger state: {0}")]
    Store(#[from] StoreError),
    /// The block cannot be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A block that does not follow the state was to be committed.
    #[error("block {found} does not follow the state at height {at}")]
    NotNext {
        /// where the state stands
        at: Height,
        /// the block
        found: Height,
    },
    /// The follower stopped for good.
    #[error("following the chain has stopped: {0}")]
    Halted(String),
    /// A record or its transaction cannot be written down.
    #[error("record cannot be encoded: {0}")]
    Encode(String),
    /// More records than one batch holds.
    #[error("{found} records or {bytes} bytes in one call; a batch holds 64 records and 32 KiB")]
    BatchFull {
        /// records
        found: usize,
        /// their canonical bytes
        bytes: usize,
    },
    /// The queue is full.
    #[error("the queue of records to be submitted is full; try again later")]
    Busy,
    /// The submitter has ended.
    #[error("the submitter has stopped")]
    Stopped,
    /// The node or account key did not sign.
    #[error("cannot sign for the ledger: {what}")]
    Sign {
        /// what the keystore says
        what: String,
        /// it was only busy
        busy: bool,
    },
    /// No endpoint took the transaction, and none can have taken it.
    #[error("no ledger endpoint took the transaction; the last one said: {last}")]
    NotTaken {
        /// the last endpoint's error
        last: String,
    },
    /// The chain decided against the record.
    #[error("the chain refused the record: {0}")]
    RecordRefused(RefusalReason),
    /// The transaction stands in a block and has no effect.
    #[error("the transaction has no effect on the chain: {0}")]
    NoEffect(String),
    /// Too late for any block to hold it.
    #[error("no block took the transaction up to height {height}; nothing was recorded")]
    Expired {
        /// the last height that could have
        height: Height,
    },
    /// The fate of the record is not known in time. It may yet be accepted: it counts as spent.
    #[error(
        "the record's fate was not known in a verified block before the deadline; it may yet be accepted"
    )]
    FateUnknown,
    /// A proof was asked for what is not there.
    #[error("block {height} has no record {record} in transaction {tx}")]
    NoSuchRecord {
        /// which block
        height: Height,
        /// which transaction
        tx: u32,
        /// which record
        record: u32,
    },
}

impl LedgerError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Connect { .. }
            | Self::Transport { .. }
            | Self::Timeout { .. }
            | Self::TooLarge { .. }
            | Self::Answer { .. }
            | Self::Refused { .. }
            | Self::Block { .. }
            | Self::NotTaken { .. }
            | Self::Expired { .. }
            | Self::FateUnknown => Blame::Upstream,
            Self::BatchFull { .. }
            | Self::RecordRefused(_)
            | Self::NoEffect(_)
            | Self::NoSuchRecord { .. } => Blame::Caller,
            Self::Config { .. }
            | Self::NoEndpoint
            | Self::Genesis(_)
            | Self::Store(_)
            | Self::Apply(_)
            | Self::NotNext { .. }
            | Self::Halted(_)
            | Self::Encode(_)
            | Self::Busy
            | Self::Stopped
            | Self::Sign { .. } => Blame::Us,
        }
    }

    /// Whether the endpoint may have done what it was asked for all the same.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Timeout { .. } | Self::TooLarge { .. } | Self::Answer { .. } => {
                true
            }
            Self::Refused { code, .. } => *code == STILL_WAITS,
            _ => false,
        }
    }

    /// Whether the same call may succeed later, or at another endpoint.
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Refused { code, .. } => is_passing(*code),
            Self::Sign { busy, .. } => *busy,
            Self::Connect { .. }
            | Self::Transport { .. }
            | Self::Timeout { .. }
            | Self::TooLarge { .. }
            | Self::Answer { .. }
            | Self::Block { .. }
            | Self::NotTaken { .. }
            | Self::Expired { .. }
            | Self::Busy => true,
            _ => false,
        }
    }
}

/// FISCO's code of a transaction that still waits in the pool at the deadline of the call.
const STILL_WAITS: i64 = 10010;

/// FISCO's codes of a pool that is full or slow, and of a node that is not ready; others are final.
fn is_passing(code: i64) -> bool {
    matches!(code, 10002 | STILL_WAITS | -1 | -32603 | -32000 | -32004)
}

impl From<CanonError> for LedgerError {
    fn from(e: CanonError) -> Self {
        Self::Encode(e.to_string())
    }
}
impl From<FiscoError> for LedgerError {
    fn from(e: FiscoError) -> Self {
        Self::Encode(e.to_string())
    }
}
impl From<TarsError> for LedgerError {
    fn from(e: TarsError) -> Self {
        Self::Encode(e.to_string())
    }
}

/// The first 200 characters of what came from outside: enough for a log line.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
