//! What a chip signs (TPMS_ATTEST) and what its keys are (TPMT_PUBLIC); every byte is accounted for.

use crate::{
    error::{AttestError, one_line},
    hash::Bank,
};
use gw_proto::{Hex, PublicKey, Scheme, Signature};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use tpm2_protocol::{
    TpmMarshal as _, TpmUnmarshal as _, TpmWriter,
    data::{
        TpmAlgId, TpmEccCurve, TpmaObject, TpmsAttest, TpmtPublic, TpmuAsymScheme, TpmuAttest, TpmuPublicId,
        TpmuPublicParms,
    },
};

const MAGIC: u32 = 0xff54_4347;
const MAX_BYTES: usize = 4096;

/// Counters of the chip inside every statement (TPMS_CLOCK_INFO).
///
/// Of a key outside the endorsement hierarchy, resets and restarts come with a constant added that only the
/// chip knows (TPM 2.0 part 1, 36.7): they are compared by their difference, never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// milliseconds that the chip had power
    pub clock_ms: u64,
    /// TPM Resets
    pub resets: u32,
    /// TPM Restarts and Resumes since the last reset
    pub restarts: u32,
    /// no later clock value has been reported before
    pub safe: bool,
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// TPM2_Quote
    Quote {
        /// per bank, as TPM_ALG_ID, the PCRs ascending
        selection: Vec<(u16, Vec<u8>)>,
        /// over their values
        digest: Vec<u8>,
    },
    /// TPM2_Certify
    Certify {
        /// the certified object's name
        name: Vec<u8>,
    },
    /// something else that chips attest, by its tag
    Other(u16),
}

impl Subject {
    /// For people.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Quote { .. } => "quote",
            Self::Certify { .. } => "certify",
            Self::Other(_) => "other",
        }
    }
}

/// TPMS_ATTEST (TPM 2.0 part 2, 10.12.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// what the verifier gave
    pub extra_data: Vec<u8>,
    /// the chip's counters
    pub counters: Counters,
    /// what it says
    pub subject: Subject,
}

/// Parses a TPMS_ATTEST that fills the bytes.
pub fn parse_attested(bytes: &[u8]) -> Result<Attested, AttestError> {
    const WHAT: &str = "TPMS_ATTEST";
    let bad = |detail: String| AttestError::Structure { what: WHAT, detail: one_line(&detail) };
    let head = bytes.first_chunk::<4>().ok_or_else(|| bad("shorter than its magic number".to_owned()))?;
    let found = u32::from_be_bytes(*head);
    if found != MAGIC {
        return Err(AttestError::Magic { found });
    }
    if bytes.len() > MAX_BYTES {
        return Err(AttestError::Size { what: WHAT, found: bytes.len(), limit: MAX_BYTES });
    }
    let (attest, rest) = TpmsAttest::unmarshal(bytes).map_err(|e| bad(e.to_string()))?;
    if !rest.is_empty() {
        return Err(bad(format!("{} bytes too many", rest.len())));
    }
    Ok(Attested {
        extra_data: attest.extra_data.as_ref().to_vec(),
        counters: Counters {
            clock_ms: attest.clock_info.clock.into(),
            resets: attest.clock_info.reset_count.into(),
            restarts: attest.clock_info.restart_count.into(),
            safe: attest.clock_info.safe.into(),
        },
        subject: subject(&attest),
    })
}

fn subject(attest: &TpmsAttest) -> Subject {
    match &attest.attested {
        TpmuAttest::Quote(info) => Subject::Quote {
            selection: info.pcr_select.iter().map(|s| (s.hash.value(), numbers(&s.pcr_select))).collect(),
            digest: info.pcr_digest.as_ref().to_vec(),
        },
        TpmuAttest::Certify(info) => Subject::Certify { name: info.name.as_ref().to_vec() },
        _ => Subject::Other(attest.attest_type.value()),
    }
}

/// Numbers of the bits set, bit 0 of byte 0 being PCR 0.
fn numbers(bitmap: &[u8]) -> Vec<u8> {
    (0u8..=u8::MAX)
        .filter(|n| bitmap.get(usize::from(n / 8)).is_some_and(|byte| byte >> (n % 8) & 1 == 1))
        .collect()
}

/// A key in a chip, as its public area describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChipKey {
    area: TpmtPublic,
    name: Vec<u8>,
}

/// Reads a TPMT_PUBLIC that fills the bytes and is written as a chip would.
pub fn parse_chip_key(bytes: &[u8]) -> Result<ChipKey, AttestError> {
    const WHAT: &str = "TPMT_PUBLIC";
    let bad = |detail: String| AttestError::Structure { what: WHAT, detail: one_line(&detail) };
    if bytes.len() > MAX_BYTES {
        return Err(AttestError::Size { what: WHAT, found: bytes.len(), limit: MAX_BYTES });
    }
    let (area, rest) = TpmtPublic::unmarshal(bytes).map_err(|e| bad(e.to_string()))?;
    let mut buffer = [0u8; MAX_BYTES];
    let mut writer = TpmWriter::new(&mut buffer);
    let written = area.marshal(&mut writer).is_ok() && writer.as_bytes() == bytes;
    if !rest.is_empty() || !written {
        return Err(bad("another form than a chip's".to_owned()));
    }
    let digest = match area.name_alg {
        TpmAlgId::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
        TpmAlgId::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
        TpmAlgId::Sm3_256 => gw_proto::sm3(bytes).0.to_vec(),
        other => return Err(bad(format!("its name uses the hash {:#06x}", other.value()))),
    };
    let name = [&area.name_alg.value().to_be_bytes()[..], &digest].concat();
    Ok(ChipKey { area, name })
}

/// Whether a key must sign only what its chip says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// an attestation key
    OnlyAttestations,
    /// the node key
    Messages,
}

impl ChipKey {
    /// Hash identifier and hash of the public area (TPM 2.0 part 1, 16).
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The public key, if curve and scheme belong together; otherwise what was found. `tpm2_createak -s sm2`
    /// makes the SM2 scheme on P-256, whose signatures prove nothing about SM2.
    pub fn public_key(&self) -> Result<PublicKey, String> {
        let (TpmuPublicParms::Ecc(parms), TpmuPublicId::Ecc(point)) =
            (&self.area.parameters, &self.area.unique)
        else {
            return Err("no elliptic key".to_owned());
        };
        let scheme = match (parms.curve_id, parms.scheme.scheme) {
            (TpmEccCurve::Sm2P256, TpmAlgId::Sm2) => Scheme::Sm2Sm3,
            (TpmEccCurve::NistP256, TpmAlgId::Ecdsa) => Scheme::EcdsaP256Sha256,
            (TpmEccCurve::NistP256, TpmAlgId::Sm2) => return Err("the sm2 scheme on curve P-256".to_owned()),
            (TpmEccCurve::Sm2P256, TpmAlgId::Ecdsa) => return Err("ECDSA on the SM2 curve".to_owned()),
            (curve, scheme) => {
                return Err(format!("curve {:#06x}, scheme {:#06x}", curve.value(), scheme.value()));
            }
        };
        let mut out = [0; 64];
        let (x, y) = out.split_at_mut(32);
        let fits = right_align(&point.x, x).and_then(|()| right_align(&point.y, y));
        fits.ok_or_else(|| "a coordinate of more than 32 bytes".to_owned())?;
        Ok(PublicKey { scheme, point: Hex(out) })
    }

    /// What the key hashes with: SHA-256, or SM3 for SM2 on a chip that has it.
    pub fn hash(&self) -> Result<Bank, String> {
        let TpmuPublicParms::Ecc(parms) = &self.area.parameters else { return Err("no elliptic key".into()) };
        let TpmuAsymScheme::Hash(hash) = &parms.scheme.details else { return Err("no hash".into()) };
        match (Bank::from_alg_id(hash.hash_alg.value()), parms.scheme.scheme) {
            (Some(Bank::Sm3), TpmAlgId::Sm2) => Ok(Bank::Sm3),
            (Some(Bank::Sha256), TpmAlgId::Sm2 | TpmAlgId::Ecdsa) => Ok(Bank::Sha256),
            _ => Err(format!("hash {:#06x}", hash.hash_alg.value())),
        }
    }

    /// Attributes that are missing or too many: none, if the key cannot leave its chip, was made by it, signs,
    /// does nothing else, and is restricted exactly where it must be.
    pub fn wrong_attributes(&self, signs: Signs) -> Vec<&'static str> {
        let has = |a: TpmaObject| self.area.object_attributes.bits() & a.bits() != 0;
        let restricted = signs == Signs::OnlyAttestations;
        let rules = [
            (has(TpmaObject::FIXED_TPM), "not fixedTPM"),
            (has(TpmaObject::FIXED_PARENT), "not fixedParent"),
            (has(TpmaObject::SENSITIVE_DATA_ORIGIN), "not sensitiveDataOrigin"),
            (has(TpmaObject::SIGN_ENCRYPT), "not sign"),
            (!has(TpmaObject::DECRYPT), "decrypt"),
            (!restricted || has(TpmaObject::RESTRICTED), "not restricted"),
            (restricted || !has(TpmaObject::RESTRICTED), "restricted"),
        ];
        rules.into_iter().filter(|(fine, _)| !fine).map(|(_, name)| name).collect()
    }

    /// Whether this key signed the statement. The digest is bare: an SM2 attestation has no Z.
    pub fn verifies(&self, attested: &[u8], hash: Bank, signature: &Signature) -> Result<(), String> {
        let own = self.hash()?;
        if own != hash {
            return Err(format!("hashed with {hash}, the key uses {own}"));
        }
        let key = self.public_key()?;
        gw_sm::verify_digest(&key, &hash.digest(&[attested]), signature).map_err(|e| e.to_string())
    }
}

/// A number of a chip may come without its leading zeros.
fn right_align(number: &[u8], out: &mut [u8]) -> Option<()> {
    let start = out.len().checked_sub(number.len())?;
    out.get_mut(start..)?.copy_from_slice(number);
    Some(())
}
