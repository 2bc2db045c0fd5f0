//! The pinned trust root: what a box believes before it has seen a block.

use crate::{
    bytes::Hex,
    canon::{self, CanonError, Digest, domain},
    ids::ConsortiumId,
    key::PublicKey,
};
use serde::{Deserialize, Serialize};

/// Handed to a box at enrolment; its digest stands in every batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// 1
    pub v: u32,
    /// the consortium's name
    pub consortium: ConsortiumId,
    /// what kind of chain: `development` or `fisco-bcos-3`
    pub engine: Engine,
    /// FISCO's chainID
    pub chain: String,
    /// FISCO's groupID
    pub group: String,
    /// address of the record contract, 0x and 40 lower-case hex digits
    pub contract: String,
    /// hash of block 0
    pub block0: Digest,
    /// the sealers of block 1
    pub sealers: Vec<Sealer>,
    /// who may write governance records
    pub governance: Governance,
    /// rules in force at height 1
    pub rules: u32,
}

/// What kind of chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// a development ledger: one process, no consensus; never for real data
    Development,
    /// FISCO BCOS 3, SM chain
    FiscoBcos3,
}

/// A consensus node of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealer {
    /// SM2 key, x ‖ y
    pub key: Hex<64>,
    /// its weight
    pub weight: u64,
}

/// k of n offline keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Governance {
    /// k
    pub threshold: u32,
    /// the n keys
    pub keys: Vec<PublicKey>,
}

impl Genesis {
    /// H(genesis).
    pub fn digest(&self) -> Result<Digest, CanonError> {
        canon::jcs_digest(domain::GENESIS, self)
    }
}
