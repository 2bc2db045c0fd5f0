//! A development ledger: FISCO-shaped blocks out of one process. Never for real data.
//!
//! It exists so that the first run, the tests and a consortium's chain share one adapter and one verification
//! path: four SM2 sealers, SM3, width-2 Merkle trees, FISCO BCOS 3's JSON-RPC. There is no consensus: one
//! process holds all the sealers' keys. Cargo feature `dev`; absent from a release build. It calls itself a
//! development ledger in the genesis document, in block 0, in its answers, its HTTP header and its logs.
//!
//! | module | what |
//! |---|---|
//! | `genesis` | block 0 and the genesis document |
//! | `admit` | which transactions are taken, and the code of each refusal |
//! | `limits` | a rate per submitting client |
//! | `pool` | transactions that wait, bounded |
//! | `seal` | a block from transactions, signed by the sealers; [`Faults`] for tests |
//! | `storage` | one fsynced append-only file |
//! | `index` | where blocks and transactions are; what was seen |
//! | `core` | [`DevLedger`]: all of it, without sockets |
//! | `rpc`, `shapes` | JSON-RPC 2.0 with FISCO's names and codes |
//! | `client`, `serve` | who connects; HTTP/1.1 over TCP or TLS |

mod admit;
mod client;
mod core;
mod genesis;
mod index;
mod limits;
mod pool;
mod rpc;
mod seal;
mod serve;
mod shapes;
mod storage;
#[cfg(test)]
mod tests;

pub use self::core::DevLedger;
pub use admit::Refusal;
pub use client::{Client, ListedClient, Submitters};
pub use genesis::{Names, genesis};
pub use limits::Rate;
pub use seal::{Change, Faults};
pub use serve::serve;

use gw_proto::{
    UnixMillis,
    fisco::{BlockHeader, FiscoError, Receipt, Transaction},
    genesis::Genesis,
};
use gw_store::StoreError;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What it calls itself: HTTP header `Server`, node name, block 0.
pub const NAME: &str = "xinguan-development-ledger";

/// A development ledger's settings. [`DevLedgerConfig::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct DevLedgerConfig {
    /// the genesis document, from [`genesis()`]
    pub genesis: Genesis,
    /// least time between blocks; default 200 ms
    pub block_interval: Duration,
    /// most transactions in a block; default 100
    pub block_transactions: usize,
    /// most bytes of transactions in a block, in TARS form; default 512 KiB
    pub block_bytes: usize,
    /// most transactions that wait; default 1,000
    pub pool_transactions: usize,
    /// most bytes of transactions that wait, in TARS form; default 16 MiB
    pub pool_bytes: usize,
    /// how often one client may submit; default 50 a second, 200 at once
    pub rate: Rate,
    /// who may submit
    pub submitters: Submitters,
    /// how long `sendTransaction` waits for its block; default 10 s
    pub submit_wait: Duration,
    /// most connections; default 256
    pub connections: usize,
    /// longest wait for a TLS handshake, for a request's headers (an idle connection too) and for its body;
    /// default 15 s each
    pub read_wait: Duration,
    /// longest wait for open connections at a graceful stop; default 5 s
    pub drain_wait: Duration,
}

impl DevLedgerConfig {
    /// The defaults.
    pub fn new(genesis: Genesis, submitters: Submitters) -> Self {
        Self {
            genesis,
            block_interval: Duration::from_millis(200),
            block_transactions: 100,
            block_bytes: 512 * 1024,
            pool_transactions: 1_000,
            pool_bytes: 16 * 1024 * 1024,
            rate: Rate { per_second: 50, burst: 200 },
            submitters,
            submit_wait: Duration::from_secs(10),
            connections: 256,
            read_wait: Duration::from_secs(15),
            drain_wait: Duration::from_secs(5),
        }
    }
}

/// A block as it is kept: what a node of FISCO BCOS would show of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// its header
    pub header: BlockHeader,
    /// its transactions, in order
    pub transactions: Vec<Transaction>,
    /// when each was received
    pub imported: Vec<UnixMillis>,
    /// their receipts, in the same order
    pub receipts: Vec<Receipt>,
}

/// Why the development ledger does not open, or does not make a block.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The genesis document is not one of a development ledger, or does not fit the sealers.
    #[error("genesis document: {0}; make it again with `xinguan dev pki`")]
    Genesis(String),
    /// A setting that cannot be.
    #[error("development ledger: {0}")]
    Config(&'static str),
    /// The file is damaged before its last block.
    #[error(
        "the development ledger's file is damaged at byte {at}: {what}; restore it or delete it to begin a new chain"
    )]
    Damaged {
        /// offset
        at: u64,
        /// what is wrong
        what: String,
    },
    /// The file belongs to another genesis document.
    #[error("the development ledger's file is not of this genesis document; delete it or give the right one")]
    OtherChain,
    /// Reading or writing failed. After a failed write the ledger makes no more blocks.
    #[error("development ledger's file")]
    Store(#[from] StoreError),
    /// An earlier write failed.
    #[error("an earlier write failed: no more blocks until the development ledger is started again")]
    Closed,
    /// The clock lies behind the last block by more than 5 s.
    #[error(
        "the clock is {behind_ms} ms behind the last block (at most 5000): no block until it is set right"
    )]
    ClockBehind {
        /// how far
        behind_ms: u64,
    },
    /// A block cannot be hashed, signed or written down.
    #[error("block {number}: {what}")]
    Block {
        /// its number
        number: u64,
        /// what is wrong
        what: String,
    },
    /// A hash cannot be computed.
    #[error("a hash of the block cannot be computed")]
    Fisco(#[from] FiscoError),
    /// Listening failed.
    #[error("development ledger cannot accept connections")]
    Accept(#[source] std::io::Error),
}
