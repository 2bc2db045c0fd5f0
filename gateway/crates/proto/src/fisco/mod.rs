//! Blocks, transactions and receipts of FISCO BCOS 3: JSON shapes, hashes, width-2 Merkle trees.
//!
//! Field names are those of FISCO's JSON-RPC (`getBlockByNumber`, `getTransactionReceipt`); members that
//! are not listed here are ignored. Nothing is believed because it is claimed: each hash is computed from
//! the fields. FISCO hashes most fields without their lengths, so one hash can have several parses; what
//! this module hands out is therefore a function of the *hashed bytes* alone (see [`hash`] and [`input`]).
//!
//! | module | what |
//! |---|---|
//! | [`text`] | `0x…` fields, and the errors |
//! | [`hash`] | what is hashed, in which order |
//! | [`input`] | `put(bytes)`: writing it, and taking the payload out |
//! | [`tree`] | width-2 Merkle roots and paths |

use serde::{Deserialize, Serialize};

pub mod hash;
pub mod input;
pub mod text;
pub mod tree;

pub use input::{SkipReason, encode_put_input, put_selector};
pub use text::{FiscoError, parse_0x, parse_digest, write_0x};
pub use tree::{merkle_path, merkle_root, merkle_root_from_path};

/// The most transactions of a block that are taken.
pub const MAX_TRANSACTIONS: usize = 4096;
/// The most sealers, and the most signatures, of a header.
pub const MAX_SEALERS: usize = 256;
/// The most bytes of one input, output, or log's data.
pub const MAX_FIELD_BYTES: usize = 1024 * 1024;
/// The most logs of a receipt, and the most topics of a log.
pub const MAX_LOGS: usize = 1024;
/// The most bytes of chainID, groupID, `to`, nonce, address.
pub const MAX_NAME_BYTES: usize = 128;

/// A block's header as `getBlockByNumber` gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockHeader {
    /// protocol version
    pub version: u32,
    /// its own hash, as claimed; 0x and hex
    pub hash: String,
    /// block number
    pub number: u64,
    /// parents, one in practice
    pub parent_info: Vec<Parent>,
    /// 0x and hex
    pub txs_root: String,
    /// 0x and hex
    pub receipts_root: String,
    /// 0x and hex
    pub state_root: String,
    /// decimal
    pub gas_used: String,
    /// ms since 1970, the proposer's clock
    pub timestamp: u64,
    /// index of the proposer
    pub sealer: i64,
    /// 64-byte keys, 0x and hex
    pub sealer_list: Vec<String>,
    /// 0x and hex
    pub extra_data: String,
    /// weights of the sealers
    pub consensus_weights: Vec<u64>,
    /// the sealers' signatures over the hash
    pub signature_list: Vec<SealerSignature>,
}

/// A parent's number and hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parent {
    /// number
    pub block_number: u64,
    /// 0x and hex
    pub block_hash: String,
}

/// A sealer's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealerSignature {
    /// index into `sealerList`
    pub sealer_index: u64,
    /// r ‖ s (FISCO may append the public key), 0x and hex
    pub signature: String,
}

/// A transaction as `getBlockByNumber` gives it in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// transaction version
    pub version: u32,
    /// its hash as claimed
    pub hash: String,
    /// chainID
    #[serde(rename = "chainID")]
    pub chain_id: String,
    /// groupID
    #[serde(rename = "groupID")]
    pub group_id: String,
    /// last block that may hold it
    pub block_limit: i64,
    /// hex digits, without 0x
    pub nonce: String,
    /// address, 0x and hex, or empty
    pub to: String,
    /// 0x and hex
    pub input: String,
    /// empty for ours
    #[serde(default)]
    pub abi: String,
    /// r ‖ s ‖ public key, 0x and hex
    pub signature: String,
}

/// A receipt as `getTransactionReceipt` gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// receipt version
    pub version: u32,
    /// its hash as claimed
    pub hash: String,
    /// of which transaction
    pub transaction_hash: String,
    /// decimal
    pub gas_used: String,
    /// 0x and hex, or empty
    #[serde(default)]
    pub contract_address: String,
    /// 0 = done
    pub status: i32,
    /// 0x and hex
    pub output: String,
    /// logs
    #[serde(default)]
    pub log_entries: Vec<LogEntry>,
    /// in which block
    pub block_number: u64,
}

/// A log; hashed, never interpreted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// contract
    pub address: String,
    /// topics, 0x and hex
    pub topics: Vec<String>,
    /// 0x and hex
    pub data: String,
}

#[cfg(test)]
mod tests;
