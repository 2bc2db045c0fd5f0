//! Blocks, transactions and receipts of FISCO BCOS 3: JSON shapes, hashes, width-2 Merkle trees.
//!
//! Field names are those of FISCO's JSON-RPC (`getBlockByNumber`, `getTransactionReceipt`).

use crate::canon::Digest;
use serde::{Deserialize, Serialize};

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

/// Placeholder so that the type is used before the hashing lands.
pub type Root = Digest;
