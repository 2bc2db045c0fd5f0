//! Public keys, signatures and their schemes, as they stand on the ledger.

use crate::{
    bytes::Hex,
    canon::{self, domain},
    ids::KeyId,
};
use serde::{Deserialize, Serialize};

/// A signature scheme. Both hash to 32 bytes and sign with 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scheme {
    /// SM2 with SM3 (GB/T 32918.2), id `1234567812345678`.
    #[serde(rename = "sm2-sm3")]
    Sm2Sm3,
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5).
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
}

/// A point x ‖ y of 64 bytes without the 0x04 prefix. Whether it lies on the curve is checked when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    /// what it signs with
    pub scheme: Scheme,
    /// x ‖ y
    pub point: Hex<64>,
}

impl PublicKey {
    /// The key's id: SM3(domain ‖ 0x00 ‖ scheme ‖ 0x00 ‖ x ‖ y).
    pub fn id(&self) -> KeyId {
        let name: &[u8] = match self.scheme {
            Scheme::Sm2Sm3 => b"sm2-sm3\0",
            Scheme::EcdsaP256Sha256 => b"ecdsa-p256-sha256\0",
        };
        KeyId(canon::domain_digest(domain::KEY_ID, &[name, &self.point.0].concat()))
    }
}

/// r ‖ s, 32 bytes each, big-endian.
pub type Signature = Hex<64>;
