//! Hashes of PCR banks, and the sizes of those that only stand in logs.

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// The hash of a PCR bank, of a quote, of a measurement. Both have 32 bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Bank {
    /// FIPS 180-4; where the chip has no SM3
    Sha256,
    /// GB/T 32905
    Sm3,
}

impl Bank {
    /// The name in evidence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sm3 => "sm3",
        }
    }

    /// TPM_ALG_ID (TCG algorithm registry).
    pub fn alg_id(self) -> u16 {
        match self {
            Self::Sha256 => 0x000b,
            Self::Sm3 => 0x0012,
        }
    }

    /// The bank of a TPM_ALG_ID; none for hashes that are no longer, or not yet, judged.
    pub fn from_alg_id(id: u16) -> Option<Self> {
        [Self::Sha256, Self::Sm3].into_iter().find(|b| b.alg_id() == id)
    }

    /// Digest of the parts, one after the other.
    pub fn digest(self, parts: &[&[u8]]) -> [u8; 32] {
        match self {
            Self::Sha256 => {
                let mut h = sha2::Sha256::new();
                parts.iter().for_each(|p| h.update(p));
                h.finalize().into()
            }
            Self::Sm3 => gw_proto::sm3(&parts.concat()).0,
        }
    }

    /// What a PCR holds after a measurement (TPM 2.0 part 1, 11.4.9).
    pub fn extend(self, pcr: &[u8; 32], digest: &[u8; 32]) -> [u8; 32] {
        self.digest(&[pcr, digest])
    }
}

impl std::fmt::Display for Bank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Bytes of a digest in an event log; none for an unknown algorithm.
pub(crate) fn digest_bytes(alg_id: u16) -> Option<usize> {
    match alg_id {
        0x0004 => Some(20),                   // SHA-1
        0x000b | 0x0012 | 0x0027 => Some(32), // SHA-256, SM3, SHA3-256
        0x000c | 0x0028 => Some(48),          // SHA-384, SHA3-384
        0x000d | 0x0029 => Some(64),          // SHA-512, SHA3-512
        _ => None,
    }
}
