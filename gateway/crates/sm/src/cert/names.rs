//! Object identifiers, names and keys as they stand in DER.

use super::{CertError, Subject};
use der::{
    Decode as _, Encode as _, Tag,
    asn1::{Any, BitString, ObjectIdentifier, SetOfVec},
};
use gw_proto::{Hex, PublicKey, Scheme, Signature};
use x509_cert::{
    attr::AttributeTypeAndValue,
    ext::pkix::name::DirectoryString,
    name::{Name, RdnSequence, RelativeDistinguishedName},
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
};

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

pub(super) const EC_PUBLIC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");
pub(super) const CURVE_SM2: ObjectIdentifier = oid("1.2.156.10197.1.301");
pub(super) const CURVE_P256: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
pub(super) const SM2_WITH_SM3: ObjectIdentifier = oid("1.2.156.10197.1.501");
pub(super) const ECDSA_WITH_SHA256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");

pub(super) const SERVER_AUTH: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.1");
pub(super) const CLIENT_AUTH: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.2");
pub(super) const EMAIL_PROTECTION: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.4");
/// RFC 9336
pub(super) const DOCUMENT_SIGNING: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.36");
pub(super) const ANY_USAGE: ObjectIdentifier = oid("2.5.29.37.0");

pub(super) const BASIC_CONSTRAINTS: ObjectIdentifier = oid("2.5.29.19");
pub(super) const KEY_USAGE: ObjectIdentifier = oid("2.5.29.15");
pub(super) const EXTENDED_KEY_USAGE: ObjectIdentifier = oid("2.5.29.37");
pub(super) const SUBJECT_ALT_NAME: ObjectIdentifier = oid("2.5.29.17");
pub(super) const NAME_CONSTRAINTS: ObjectIdentifier = oid("2.5.29.30");
/// RFC 9608: "nobody will list my revocation", for certificates that live shorter than a list
pub(super) const NO_REV_AVAIL: ObjectIdentifier = oid("2.5.29.56");

const COMMON_NAME: ObjectIdentifier = oid("2.5.4.3");
const SERIAL_NUMBER: ObjectIdentifier = oid("2.5.4.5");
const ORGANIZATION: ObjectIdentifier = oid("2.5.4.10");

/// Longest attribute of a name, in bytes; RFC 5280 Appendix A.1 has 64 characters.
const MAX_ATTRIBUTE: usize = 256;

/// The algorithm that a key of `scheme` signs with. SM2's parameters are absent, as OpenSSL writes it.
pub(super) fn signature_algorithm(scheme: Scheme) -> AlgorithmIdentifierOwned {
    let oid = match scheme {
        Scheme::Sm2Sm3 => SM2_WITH_SM3,
        Scheme::EcdsaP256Sha256 => ECDSA_WITH_SHA256,
    };
    AlgorithmIdentifierOwned { oid, parameters: None }
}

/// The scheme of a signature algorithm; SM2 also with NULL parameters, which some CAs write.
pub(super) fn signature_scheme(algorithm: &AlgorithmIdentifierOwned) -> Result<Scheme, CertError> {
    match (algorithm.oid, &algorithm.parameters) {
        (SM2_WITH_SM3, None) => Ok(Scheme::Sm2Sm3),
        (SM2_WITH_SM3, Some(p)) if p.is_null() => Ok(Scheme::Sm2Sm3),
        (ECDSA_WITH_SHA256, None) => Ok(Scheme::EcdsaP256Sha256),
        _ => Err(CertError::WrongCurve),
    }
}

/// SubjectPublicKeyInfo of a key: id-ecPublicKey, named curve, uncompressed point (RFC 5480 §2.1.1).
pub(super) fn encode_key(key: &PublicKey) -> der::Result<SubjectPublicKeyInfoOwned> {
    let curve = match key.scheme {
        Scheme::Sm2Sm3 => CURVE_SM2,
        Scheme::EcdsaP256Sha256 => CURVE_P256,
    };
    let algorithm =
        AlgorithmIdentifierOwned { oid: EC_PUBLIC_KEY, parameters: Some(Any::from_der(&curve.to_der()?)?) };
    let point = [&[4u8], &key.point.0[..]].concat();
    Ok(SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(&point)? })
}

/// The key of a SubjectPublicKeyInfo: SM2 or P-256, uncompressed.
pub(super) fn decode_key(info: &SubjectPublicKeyInfoOwned) -> Result<PublicKey, CertError> {
    if info.algorithm.oid != EC_PUBLIC_KEY {
        return Err(CertError::WrongCurve);
    }
    let curve = info
        .algorithm
        .parameters
        .as_ref()
        .and_then(|p| p.decode_as::<ObjectIdentifier>().ok())
        .ok_or(CertError::WrongCurve)?;
    let scheme = match curve {
        CURVE_SM2 => Scheme::Sm2Sm3,
        CURVE_P256 => Scheme::EcdsaP256Sha256,
        _ => return Err(CertError::WrongCurve),
    };
    match info.subject_public_key.as_bytes() {
        Some([4, point @ ..]) => {
            let point = point.try_into().map_err(|_| CertError::BadKey)?;
            Ok(PublicKey { scheme, point: Hex(point) })
        }
        _ => Err(CertError::BadKey),
    }
}

/// `SEQUENCE { r INTEGER, s INTEGER }`: the form of both schemes' signatures in X.509 and TLS.
#[derive(der::Sequence)]
struct EcSignature {
    r: der::asn1::Uint,
    s: der::asn1::Uint,
}

/// r ‖ s as DER.
pub fn signature_to_der(signature: &Signature) -> der::Result<Vec<u8>> {
    let (r, s) = signature.0.split_at(32);
    EcSignature { r: der::asn1::Uint::new(r)?, s: der::asn1::Uint::new(s)? }.to_der()
}

/// DER as r ‖ s. Strict: one signature has one form, numbers above 256 bits are refused.
pub fn signature_from_der(bytes: &[u8]) -> Option<Signature> {
    // two 33-byte integers with their headers
    if bytes.len() > 72 {
        return None;
    }
    let parsed = EcSignature::from_der(bytes).ok()?;
    let mut out = [0u8; 64];
    let (r, s) = out.split_at_mut(32);
    for (half, number) in [(r, parsed.r), (s, parsed.s)] {
        let number = number.as_bytes();
        let start = half.len().checked_sub(number.len())?;
        half.get_mut(start..)?.copy_from_slice(number);
    }
    Some(Hex(out))
}

fn attribute(oid: ObjectIdentifier, tag: Tag, text: &str) -> Result<RelativeDistinguishedName, CertError> {
    if text.is_empty() || text.len() > MAX_ATTRIBUTE {
        return Err(CertError::Build("a name's attribute is empty or above 256 bytes"));
    }
    let value = Any::new(tag, text.as_bytes()).map_err(|_| CertError::Build("name"))?;
    let set =
        SetOfVec::try_from([AttributeTypeAndValue { oid, value }]).map_err(|_| CertError::Build("name"))?;
    Ok(RelativeDistinguishedName::from(set))
}

/// A subject as a Name: O, CN, serialNumber, one attribute each.
pub(super) fn encode_subject(subject: &Subject) -> Result<Name, CertError> {
    let mut rdns = RdnSequence::default();
    if let Some(text) = &subject.organization {
        rdns.push(attribute(ORGANIZATION, Tag::Utf8String, text)?);
    }
    if let Some(text) = &subject.common_name {
        rdns.push(attribute(COMMON_NAME, Tag::Utf8String, text)?);
    }
    if let Some(text) = &subject.serial_number {
        // X.520: serialNumber is a PrintableString
        let printable = |b: u8| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b);
        if !text.bytes().all(printable) {
            return Err(CertError::Build("the subject's serial number is not printable"));
        }
        rdns.push(attribute(SERIAL_NUMBER, Tag::PrintableString, text)?);
    }
    let der = rdns.to_der().map_err(|_| CertError::Build("name"))?;
    Name::from_der(&der).map_err(|_| CertError::Build("name"))
}

/// One attribute of a name; twice is refused: nobody should have to guess which one counts.
fn find_attribute(name: &Name, oid: ObjectIdentifier) -> Result<Option<String>, CertError> {
    let mut found = name.iter().filter(|a| a.oid == oid);
    let (first, second) = (found.next(), found.next());
    if second.is_some() {
        return Err(CertError::Malformed("certificate: an attribute of its name stands twice"));
    }
    let Some(first) = first else { return Ok(None) };
    let text = DirectoryString::from_der(
        &first.value.to_der().map_err(|_| CertError::Malformed("certificate's name"))?,
    )
    .map_err(|_| CertError::Malformed("certificate's name"))?;
    let text = match text {
        DirectoryString::PrintableString(t) => t.as_str().to_owned(),
        DirectoryString::TeletexString(t) => t.to_string(),
        DirectoryString::Utf8String(t) => t,
        DirectoryString::BmpString(t) => t.to_string(),
    };
    bound_attribute(text).map(Some)
}

fn bound_attribute(text: String) -> Result<String, CertError> {
    super::bound("attribute of a certificate's name", text.len(), MAX_ATTRIBUTE).map(|()| text)
}

/// A Name as a subject; attributes beyond the three are not looked at.
pub(super) fn decode_subject(name: &Name) -> Result<Subject, CertError> {
    Ok(Subject {
        common_name: find_attribute(name, COMMON_NAME)?,
        organization: find_attribute(name, ORGANIZATION)?,
        serial_number: find_attribute(name, SERIAL_NUMBER)?,
    })
}
