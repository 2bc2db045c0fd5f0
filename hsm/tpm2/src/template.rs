//! Public areas: what kinds of keys we make, and reading what the chip made of them.

use crate::{crypt, error::TpmError, wire};
use gw_proto::{Hex, PublicKey, Scheme};
use hsm_api::{KeyPurpose, attest::MeasurementHash};
use sha2::{Digest as _, Sha384};
use tpm2_protocol::{
    TpmUnmarshal as _,
    basic::TpmUint16,
    data::{
        Tpm2bDigest, TpmAlgId, TpmEccCurve, TpmaObject, TpmsEccParms, TpmsEccPoint, TpmsKeyedhashParms,
        TpmsRsaParms, TpmsSchemeHash, TpmtEccScheme, TpmtPublic, TpmtSymDef, TpmuAsymScheme, TpmuPublicId,
        TpmuPublicParms, TpmuSymKeyBits, TpmuSymMode,
    },
};

/// The attributes of every key of ours: made in the chip, never leaves it, usable with its authorization
/// value, exempt from the lockout (a power loss while it is in use would count as a failure).
fn ours() -> TpmaObject {
    TpmaObject::FIXED_TPM
        | TpmaObject::FIXED_PARENT
        | TpmaObject::SENSITIVE_DATA_ORIGIN
        | TpmaObject::USER_WITH_AUTH
        | TpmaObject::NO_DA
}

fn aes(bits: u16) -> TpmtSymDef {
    TpmtSymDef {
        algorithm: TpmAlgId::Aes,
        key_bits: TpmuSymKeyBits::Aes(TpmUint16::from(bits)),
        mode: TpmuSymMode::Aes(TpmAlgId::Cfb),
    }
}

fn no_symmetric() -> TpmtSymDef {
    TpmtSymDef { algorithm: TpmAlgId::Null, key_bits: TpmuSymKeyBits::Null, mode: TpmuSymMode::Null }
}

fn ecc(
    curve: TpmEccCurve,
    attributes: TpmaObject,
    symmetric: TpmtSymDef,
    scheme: TpmtEccScheme,
) -> TpmtPublic {
    let parameters = TpmsEccParms { symmetric, scheme, curve_id: curve, ..TpmsEccParms::default() };
    TpmtPublic {
        object_type: TpmAlgId::Ecc,
        name_alg: TpmAlgId::Sha256,
        object_attributes: attributes,
        auth_policy: Tpm2bDigest::new(),
        parameters: TpmuPublicParms::Ecc(parameters),
        unique: TpmuPublicId::Ecc(TpmsEccPoint::default()),
    }
}

fn digest(bytes: &[u8]) -> Tpm2bDigest {
    // at most 64 bytes come in here
    Tpm2bDigest::try_from(bytes).unwrap_or_default()
}

/// The storage key: parent of all others, and the key that salts sessions.
pub fn storage() -> TpmtPublic {
    let attributes = ours() | TpmaObject::RESTRICTED | TpmaObject::DECRYPT;
    ecc(TpmEccCurve::NistP256, attributes, aes(128), TpmtEccScheme::default())
}

/// The hash's identifier.
pub(crate) fn hash_id(hash: MeasurementHash) -> TpmAlgId {
    match hash {
        MeasurementHash::Sha256 => TpmAlgId::Sha256,
        MeasurementHash::Sm3 => TpmAlgId::Sm3_256,
    }
}

/// A signing key, bound to its name and purpose by the label in its policy field: the chip checks public and
/// private part against each other when it loads a key, so the label cannot be changed, and a certified name
/// covers it. The label is no policy that anybody can satisfy: the key is used by its value.
pub fn signing(name: &str, purpose: KeyPurpose, scheme: Scheme, hash: MeasurementHash) -> TpmtPublic {
    let (curve, id, hash) = match scheme {
        // a chip without SM3 takes an SM2 digest under the name of another hash of 32 bytes
        Scheme::Sm2Sm3 => (TpmEccCurve::Sm2P256, TpmAlgId::Sm2, hash_id(hash)),
        Scheme::EcdsaP256Sha256 => (TpmEccCurve::NistP256, TpmAlgId::Ecdsa, TpmAlgId::Sha256),
    };
    let details = TpmuAsymScheme::Hash(TpmsSchemeHash { hash_alg: hash });
    let restricted =
        if purpose == KeyPurpose::Attestation { TpmaObject::RESTRICTED } else { TpmaObject::default() };
    let attributes = ours() | TpmaObject::SIGN_ENCRYPT | restricted;
    let mut public = ecc(curve, attributes, no_symmetric(), TpmtEccScheme { scheme: id, details });
    public.auth_policy = digest(&label(name, purpose, scheme));
    public
}

/// What binds a key to its name, purpose and scheme.
pub fn label(name: &str, purpose: KeyPurpose, scheme: Scheme) -> [u8; 32] {
    let scheme: &[u8] = match scheme {
        Scheme::Sm2Sm3 => b"sm2-sm3",
        Scheme::EcdsaP256Sha256 => b"ecdsa-p256-sha256",
    };
    let purpose = purpose.as_str().as_bytes();
    crypt::sha256(&[b"xinguan tpm key v1\0", name.as_bytes(), b"\0", purpose, b"\0", scheme])
}

/// A key for ECDH with a point of the caller's.
pub fn agreement() -> TpmtPublic {
    ecc(TpmEccCurve::NistP256, ours() | TpmaObject::DECRYPT, no_symmetric(), TpmtEccScheme::default())
}

/// Sealed data under a policy; nothing but the policy opens it.
pub fn sealed(policy: &[u8; 32]) -> TpmtPublic {
    TpmtPublic {
        object_type: TpmAlgId::KeyedHash,
        name_alg: TpmAlgId::Sha256,
        object_attributes: TpmaObject::FIXED_TPM | TpmaObject::FIXED_PARENT | TpmaObject::NO_DA,
        auth_policy: digest(policy),
        parameters: TpmuPublicParms::KeyedHash(TpmsKeyedhashParms::default()),
        unique: TpmuPublicId::KeyedHash(Tpm2bDigest::new()),
    }
}

/// The kinds of endorsement keys whose certificates we look for (TCG EK credential profile 2.5, B.3 and B.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endorsement {
    /// L-2: P-256, certificate at 0x01c0000a
    P256,
    /// H-3: P-384, certificate at 0x01c00016
    P384,
    /// L-1: RSA of 2048 bits, certificate at 0x01c00002
    Rsa,
    /// H-1: the same in the high range, certificate at 0x01c00012
    RsaHigh,
}

impl Endorsement {
    /// All, the first that has a certificate is used: RSA keys take a chip seconds to make.
    pub const ALL: [Self; 4] = [Self::P256, Self::P384, Self::Rsa, Self::RsaHigh];

    /// NV index of the certificate.
    pub fn certificate_index(self) -> u32 {
        match self {
            Self::P256 => 0x01c0_000a,
            Self::P384 => 0x01c0_0016,
            Self::Rsa => 0x01c0_0002,
            Self::RsaHigh => 0x01c0_0012,
        }
    }

    /// Whether the key is used by its own value, which is empty, and not by the endorsement hierarchy's: those of
    /// the high range are.
    pub fn by_value(self) -> bool {
        matches!(self, Self::P384 | Self::RsaHigh)
    }

    /// The template that the manufacturer certified.
    pub fn template(self) -> TpmtPublic {
        let attributes = TpmaObject::FIXED_TPM
            | TpmaObject::FIXED_PARENT
            | TpmaObject::SENSITIVE_DATA_ORIGIN
            | TpmaObject::ADMIN_WITH_POLICY
            | TpmaObject::RESTRICTED
            | TpmaObject::DECRYPT;
        match self {
            Self::P256 => {
                let mut public = ecc(TpmEccCurve::NistP256, attributes, aes(128), TpmtEccScheme::default());
                public.auth_policy = digest(&crate::commands::policy::ENDORSEMENT_SECRET);
                public.unique = TpmuPublicId::Ecc(zero_point());
                public
            }
            Self::P384 => {
                let attributes = attributes | TpmaObject::USER_WITH_AUTH;
                let mut public = ecc(TpmEccCurve::NistP384, attributes, aes(256), TpmtEccScheme::default());
                public.name_alg = TpmAlgId::Sha384;
                public.auth_policy = digest(&POLICY_B_SHA384);
                public
            }
            // the unique field of the low range has the size of the modulus
            Self::Rsa => rsa(attributes, &crate::commands::policy::ENDORSEMENT_SECRET, &[0; 256]),
            Self::RsaHigh => rsa(attributes | TpmaObject::USER_WITH_AUTH, &POLICY_B_SHA256, &[]),
        }
    }
}

/// A restricted key of 2048 bits that decrypts; the exponent 0 is the default, 65537.
fn rsa(attributes: TpmaObject, policy: &[u8; 32], unique: &[u8]) -> TpmtPublic {
    let key_bits = TpmUint16::from(2048);
    let parameters = TpmsRsaParms { symmetric: aes(128), key_bits, ..TpmsRsaParms::default() };
    TpmtPublic {
        object_type: TpmAlgId::Rsa,
        name_alg: TpmAlgId::Sha256,
        object_attributes: attributes,
        auth_policy: digest(policy),
        parameters: TpmuPublicParms::Rsa(parameters),
        unique: TpmuPublicId::Rsa(unique.try_into().unwrap_or_default()),
    }
}

/// PolicyB for SHA-256 (EK credential profile 2.5, B.6.5).
const POLICY_B_SHA256: [u8; 32] = [
    0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34, 0x24, 0x14, 0xef, 0xcf, 0xb3, 0xa3,
    0x85, 0xd4, 0x4c, 0xd1, 0xfd, 0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0,
];

/// PolicyB for SHA-384 (EK credential profile 2.5, B.6.5).
const POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a, 0x07,
    0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47,
    0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];

fn zero_point() -> TpmsEccPoint {
    let zeros = || [0u8; 32].as_slice().try_into().unwrap_or_default();
    TpmsEccPoint { x: zeros(), y: zeros() }
}

/// The name of an object: identifier and digest of its public area (part 1, 16).
pub fn name_of(public: &TpmtPublic) -> Result<Vec<u8>, TpmError> {
    let bytes = wire::marshal(public).ok_or(TpmError::TooLong { command: "a public area" })?;
    let digest = match public.name_alg {
        TpmAlgId::Sha256 => crypt::sha256(&[&bytes]).to_vec(),
        TpmAlgId::Sha384 => Sha384::digest(&bytes).to_vec(),
        TpmAlgId::Sm3_256 => gw_proto::sm3(&bytes).0.to_vec(),
        other => return Err(TpmError::Lacks { what: format!("name of a usable kind ({other})") }),
    };
    Ok([&public.name_alg.value().to_be_bytes()[..], &digest].concat())
}

/// Reads a public area that fills the bytes.
pub fn parse(bytes: &[u8]) -> Option<TpmtPublic> {
    TpmtPublic::unmarshal(bytes).ok().filter(|(_, rest)| rest.is_empty()).map(|(public, _)| public)
}

/// The point of an elliptic key, both halves 32 bytes; none for other keys.
pub fn point(public: &TpmtPublic) -> Option<[u8; 64]> {
    let TpmuPublicId::Ecc(p) = &public.unique else { return None };
    let mut out = [0; 64];
    let (x, y) = out.split_at_mut(32);
    right_align(&p.x, x)?;
    right_align(&p.y, y)?;
    Some(out)
}

/// A number of a chip may come without its leading zeros.
pub(crate) fn right_align(number: &[u8], out: &mut [u8]) -> Option<()> {
    let start = out.len().checked_sub(number.len())?;
    out.get_mut(start..)?.copy_from_slice(number);
    Some(())
}

/// The signing key in a public area, if it is one of ours: curve, scheme and attributes as we make them.
pub fn signing_key(public: &TpmtPublic) -> Option<PublicKey> {
    let TpmuPublicParms::Ecc(parms) = &public.parameters else { return None };
    let scheme = match (parms.curve_id, parms.scheme.scheme) {
        (TpmEccCurve::Sm2P256, TpmAlgId::Sm2) => Scheme::Sm2Sm3,
        (TpmEccCurve::NistP256, TpmAlgId::Ecdsa) => Scheme::EcdsaP256Sha256,
        _ => return None,
    };
    let wanted = ours() | TpmaObject::SIGN_ENCRYPT;
    if public.object_attributes.bits() & !TpmaObject::RESTRICTED.bits() != wanted.bits() {
        return None;
    }
    Some(PublicKey { scheme, point: Hex(point(public)?) })
}

/// Whether a key signs only what its chip says.
pub fn is_restricted(public: &TpmtPublic) -> bool {
    public.object_attributes.bits() & TpmaObject::RESTRICTED.bits() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_differ_by_each_part_and_parts_do_not_run_together() {
        let a = label("node", KeyPurpose::Node, Scheme::Sm2Sm3);
        for other in [
            label("node", KeyPurpose::Account, Scheme::Sm2Sm3),
            label("node", KeyPurpose::Node, Scheme::EcdsaP256Sha256),
            label("nod", KeyPurpose::Node, Scheme::Sm2Sm3),
            label("node-node", KeyPurpose::Node, Scheme::Sm2Sm3),
        ] {
            assert_ne!(a, other);
        }
    }

    #[test]
    fn a_key_that_could_leave_its_chip_is_none_of_ours() {
        let good = signing("k", KeyPurpose::Node, Scheme::Sm2Sm3, MeasurementHash::Sha256);
        assert!(signing_key(&good).is_some());
        for bad in [TpmaObject::FIXED_TPM, TpmaObject::FIXED_PARENT, TpmaObject::SENSITIVE_DATA_ORIGIN] {
            let mut changed = good.clone();
            changed.object_attributes =
                TpmaObject::from_bits_truncate(good.object_attributes.bits() & !bad.bits());
            assert!(signing_key(&changed).is_none());
        }
        // `tpm2_createak -G ecc -s sm2` makes the scheme on the wrong curve
        let mut curve = good;
        if let TpmuPublicParms::Ecc(p) = &mut curve.parameters {
            p.curve_id = TpmEccCurve::NistP256;
        }
        assert!(signing_key(&curve).is_none());
    }

    #[test]
    fn public_areas_are_read_as_written() {
        for public in [
            storage(),
            agreement(),
            sealed(&[7; 32]),
            Endorsement::P256.template(),
            Endorsement::P384.template(),
            Endorsement::Rsa.template(),
            Endorsement::RsaHigh.template(),
        ] {
            let bytes = wire::marshal(&public).unwrap();
            assert_eq!(parse(&bytes).unwrap(), public);
            assert!(parse(&[&bytes[..], &[0]].concat()).is_none());
        }
    }
}
