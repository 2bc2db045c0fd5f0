//! Leaves, paths and signed roots of Merkle batches: one signature for many messages.
//!
//! leaf = SM3(0x00 ‖ kind u8 ‖ len(audience) u16be ‖ audience ‖ salt ‖ digest);
//! node = SM3(0x01 ‖ left ‖ right); a node without a sibling moves up unchanged.
//! Kinds and audiences cannot be confused, and a neighbour's leaf cannot be guessed (32-byte salt).

use crate::{
    bytes::Hex,
    canon::{self, Digest, domain},
    clock::UnixMillis,
    ids::KeyId,
    key::Signature,
};
use serde::{Deserialize, Serialize};

/// The most leaves under one root.
pub const MAX_LEAVES: u32 = 1024;

/// What kind of message a leaf stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeafKind {
    /// a request to one source
    Request,
    /// a reply to one asker
    Reply,
    /// a report to one operator of the own institution
    Report,
}

impl LeafKind {
    fn code(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Report => 3,
        }
    }
}

/// A leaf before it is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// what it stands for
    pub kind: LeafKind,
    /// for whom: a node id, or an operator tag; at most 128 bytes
    pub audience: String,
    /// fresh randomness
    pub salt: Hex<32>,
    /// digest of the message under its own domain
    pub digest: Digest,
}

impl Leaf {
    /// The leaf's hash; `None` if the audience is longer than 128 bytes.
    pub fn hash(&self) -> Option<Digest> {
        if self.audience.len() > 128 {
            return None;
        }
        let len = u16::try_from(self.audience.len()).ok()?;
        let mut m = vec![0u8, self.kind.code()];
        m.extend_from_slice(&len.to_be_bytes());
        m.extend_from_slice(self.audience.as_bytes());
        m.extend_from_slice(&self.salt.0);
        m.extend_from_slice(&self.digest.0);
        Some(canon::sm3(&m))
    }
}

/// An inner node's hash.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut m = [1u8; 65];
    m[1..33].copy_from_slice(&left.0);
    m[33..65].copy_from_slice(&right.0);
    canon::sm3(&m)
}

/// What the root's signature covers: domain `xinguan/root/1` over the canonical JSON of this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// always `xinguan-batch-1`
    pub context: String,
    /// the signing node key
    pub key_id: KeyId,
    /// number of leaves, 1 to 1024
    pub size: u32,
    /// when it was signed
    pub time: UnixMillis,
    /// hash of the tree
    pub root: Digest,
}

/// The value of [`Root::context`].
pub const ROOT_CONTEXT: &str = "xinguan-batch-1";

/// A leaf with its path and the signed root: everything a verifier needs but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedLeaf {
    /// the leaf
    pub leaf: Leaf,
    /// its position, from 0
    pub index: u32,
    /// siblings from the leaf up; at most 10
    pub path: Vec<Digest>,
    /// the root
    pub root: Root,
    /// signature over the root
    pub signature: Signature,
}

impl SignedLeaf {
    /// The leaf's own hash: what REPLY and TRACE refer to.
    pub fn leaf_hash(&self) -> Option<Digest> {
        self.leaf.hash()
    }
    /// The bytes that the root's signature covers.
    pub fn root_signing_input(&self) -> Result<Vec<u8>, canon::CanonError> {
        canon::signing_input(domain::ROOT, &self.root)
    }
}
