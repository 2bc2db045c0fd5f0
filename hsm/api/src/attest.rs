//! What a device says of itself, signed (RFC 9334: the attester's side; judging it is elsewhere).

use crate::HsmError;
use gw_proto::{PublicKey, Signature};
use zeroize::Zeroizing;

/// The hash of a PCR bank or of an attestation's signature; evidence says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeasurementHash {
    /// where the chip has no SM3
    Sha256,
    /// GB/T 32905
    Sm3,
}

impl MeasurementHash {
    /// The name in evidence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sm3 => "sm3",
        }
    }
}

/// A statement of the device about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// TPMS_ATTEST (TPM 2.0 part 2, 10.12.8), as signed
    pub attested: Vec<u8>,
    /// over `hash(attested)` as a bare digest: an SM2 attestation key adds no Z
    pub signature: Signature,
    /// what `attested` is hashed with
    pub hash: MeasurementHash,
}

/// A quote, and the PCR values it covers as they were read beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// what is signed: a digest over the values
    pub statement: Statement,
    /// the bank
    pub bank: MeasurementHash,
    /// number and value, ascending
    pub pcrs: Vec<(u8, [u8; 32])>,
}

/// What a verifier checks before it believes an attestation key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationKey {
    /// the key
    pub public: PublicKey,
    /// TPMT_PUBLIC (TPM 2.0 part 2, 12.2.4): attributes and scheme; its hash is the key's name
    pub public_area: Vec<u8>,
    /// the key's name, which a credential is made for
    pub name: Vec<u8>,
}

/// A challenge that only the chip with both the endorsement key and the attestation key can answer
/// (TPM2_MakeCredential).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// TPM2B_ID_OBJECT without its size
    pub blob: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET without its size
    pub secret: Vec<u8>,
}

/// Evidence over a nonce and measurements. Only a TPM has it.
pub trait Attestor: Send + Sync {
    /// The key that signs the statements.
    fn attestation_key(&self) -> AttestationKey;
    /// Signs the PCRs named; the nonce (at most 32 bytes) stands in the statement.
    fn quote(&self, nonce: &[u8], pcrs: &[u8]) -> Result<Quote, HsmError>;
    /// Says that the key of this name lies in the same device.
    fn certify(&self, key_name: &str, nonce: &[u8]) -> Result<Statement, HsmError>;
    /// Answers a challenge made for the endorsement key and this attestation key.
    fn activate_credential(&self, credential: &Credential) -> Result<Zeroizing<Vec<u8>>, HsmError>;
    /// The endorsement key's public area (TPMT_PUBLIC).
    fn endorsement_key(&self) -> Result<Vec<u8>, HsmError>;
    /// The manufacturer's certificate of the endorsement key, in DER.
    fn endorsement_certificate(&self) -> Result<Vec<u8>, HsmError>;
}
