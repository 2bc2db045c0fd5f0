//! Certificates and revocation lists, built and signed by whoever holds the key.

use super::{CertError, SHORT_LIVED, Subject, names, parse::Parsed};
use der::{
    Encode, Sequence,
    asn1::{BitString, OctetString, Uint},
};
use gw_proto::{PublicKey, Signature, UnixMillis, sm3};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use x509_cert::{
    Version,
    crl::{RevokedCert, TbsCertList},
    ext::{
        Extension,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, CrlNumber, ExtendedKeyUsage, KeyUsage, KeyUsages,
            NameConstraints, SubjectAltName, SubjectKeyIdentifier,
            constraints::name::GeneralSubtree,
            name::{GeneralName, GeneralNames},
        },
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned},
    time::{Time, Validity},
};

/// What a certificate is for; decides its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertKind {
    /// a CA that signs itself or is signed as a root's successor; no path length
    Root,
    /// a CA under a root; path length 1, so that node CAs fit under it
    Intermediate,
    /// a node key: CA with path length 0 that may certify only this host and its sub-domains, the spec's other
    /// `dns`, and the spec's `ips` (none: no address at all)
    NodeCa {
        /// the node's host name
        dns: String,
    },
    /// end entity for both sides of TLS
    TlsServerClient,
    /// end entity for the client side: operators, a bank's systems
    TlsClient,
    /// end entity that signs documents: an enterprise's or e-seal service's key
    EvidenceSigner,
}

/// A certificate to build.
#[derive(Debug, Clone)]
pub struct CertSpec {
    /// what it is for
    pub kind: CertKind,
    /// whom it names
    pub subject: Subject,
    /// the key it certifies
    pub public_key: PublicKey,
    /// first moment of its validity, cut to the second
    pub not_before: UnixMillis,
    /// last moment of its validity, cut to the second
    pub not_after: UnixMillis,
    /// random, not all zero
    pub serial: [u8; 16],
    /// host names
    pub dns: Vec<String>,
    /// addresses
    pub ips: Vec<IpAddr>,
}

/// Who signs. `sign` gets the 32 bytes that [`crate::sig::message_digest`] gives and returns r ‖ s.
pub struct Issuer<'a> {
    /// the signer's certificate; None = the certificate signs itself
    pub certificate: Option<&'a [u8]>,
    /// the signing key
    pub key: &'a PublicKey,
    /// signs a digest: a chip, or [`crate::KeyPair::sign_digest`]
    pub sign: &'a dyn Fn(&[u8; 32]) -> Result<Signature, String>,
}

/// A revocation list to build.
#[derive(Debug, Clone)]
pub struct CrlSpec {
    /// when it was made
    pub this_update: UnixMillis,
    /// when the next one is due; from then on it counts as unknown
    pub next_update: UnixMillis,
    /// grows with every list of one issuer
    pub number: u64,
    /// what is revoked
    pub revoked: Vec<RevokedSerial>,
}

/// One line of a revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedSerial {
    /// the certificate's serial number, as in [`super::CertInfo`]
    pub serial: Vec<u8>,
    /// since when
    pub at: UnixMillis,
}

/// RFC 5280 §4.1; x509-cert's own type can be made only by its builder, which wants to own the signer.
#[derive(Sequence)]
struct TbsCertificate {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial_number: SerialNumber,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    subject_public_key_info: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// Certificate and CertificateList share this form (RFC 5280 §4.1, §5.1).
#[derive(Sequence)]
struct SignedDer {
    body: der::Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

const ENCODING: CertError = CertError::Build("DER encoding");

/// Who issues: name, key identifier and, when not self-signed, its certificate.
struct IssuerFacts {
    name: Name,
    parsed: Option<Parsed>,
}

impl IssuerFacts {
    fn load(issuer: &Issuer<'_>, own: Option<(&Name, &PublicKey)>) -> Result<Self, CertError> {
        let Some(der) = issuer.certificate else {
            let (name, key) = own.ok_or(CertError::WrongIssuer)?;
            if key != issuer.key {
                return Err(CertError::WrongIssuer);
            }
            return Ok(Self { name: name.clone(), parsed: None });
        };
        let parsed = Parsed::from_der(der)?;
        if parsed.info.public_key != *issuer.key || !parsed.info.is_ca {
            return Err(CertError::WrongIssuer);
        }
        let name = der::Decode::from_der(&parsed.subject).map_err(|_| ENCODING)?;
        Ok(Self { name, parsed: Some(parsed) })
    }
    /// It can certify end entities only: a node key.
    fn certifies_leaves_only(&self) -> bool {
        self.parsed.as_ref().is_some_and(|p| p.path_length == Some(0))
    }
}

/// Builds and signs a certificate, and checks the signature before it is given out.
pub fn build_cert(spec: &CertSpec, issuer: &Issuer<'_>) -> Result<Vec<u8>, CertError> {
    let subject = names::encode_subject(&spec.subject)?;
    let facts = IssuerFacts::load(issuer, Some((&subject, &spec.public_key)))?;
    let is_ca = matches!(spec.kind, CertKind::Root | CertKind::Intermediate | CertKind::NodeCa { .. });
    if subject.is_empty() && (is_ca || spec.dns.is_empty() && spec.ips.is_empty()) {
        return Err(CertError::Build("a certificate needs a subject or, as an end entity, a host name"));
    }
    if spec.not_before.0 / 1000 > spec.not_after.0 / 1000 {
        return Err(CertError::Build("validity ends before it begins"));
    }
    if spec.serial == [0; 16] {
        return Err(CertError::Build("the serial number is zero"));
    }
    let tbs = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&spec.serial).map_err(|_| ENCODING)?,
        signature: names::signature_algorithm(issuer.key.scheme),
        issuer: facts.name.clone(),
        validity: Validity::new(time(spec.not_before)?, time(spec.not_after)?),
        subject: subject.clone(),
        subject_public_key_info: names::encode_key(&spec.public_key).map_err(|_| ENCODING)?,
        extensions: extensions(spec, issuer, &facts, subject.is_empty())?,
    };
    sign(&tbs, issuer)
}

/// Builds and signs a revocation list of `issuer`, whose certificate must be given.
pub fn build_crl(spec: &CrlSpec, issuer: &Issuer<'_>) -> Result<Vec<u8>, CertError> {
    let facts = IssuerFacts::load(issuer, None)?;
    if !facts.parsed.as_ref().and_then(|p| p.usage).is_some_and(|u| u.crl_sign()) {
        return Err(CertError::WrongIssuer);
    }
    if spec.this_update.0 / 1000 >= spec.next_update.0 / 1000 {
        return Err(CertError::Build("the next update must come after this one"));
    }
    let mut revoked: Vec<RevokedCert> = Vec::with_capacity(spec.revoked.len());
    for line in &spec.revoked {
        revoked.push(RevokedCert {
            serial_number: SerialNumber::new(&line.serial).map_err(|_| ENCODING)?,
            revocation_date: time(line.at)?,
            crl_entry_extensions: None,
        });
    }
    let number = CrlNumber(Uint::new(&spec.number.to_be_bytes()).map_err(|_| ENCODING)?);
    let tbs = TbsCertList {
        version: Version::V2,
        signature: names::signature_algorithm(issuer.key.scheme),
        issuer: facts.name,
        this_update: time(spec.this_update)?,
        next_update: Some(time(spec.next_update)?),
        // RFC 5280 §5.1.2.6: absent when nothing is revoked
        revoked_certificates: (!revoked.is_empty()).then_some(revoked),
        crl_extensions: Some(vec![extension(false, &authority(issuer.key)?)?, extension(false, &number)?]),
    };
    sign(&tbs, issuer)
}

fn sign(tbs: &impl Encode, issuer: &Issuer<'_>) -> Result<Vec<u8>, CertError> {
    let bytes = tbs.to_der().map_err(|_| ENCODING)?;
    let digest = crate::sig::message_digest(issuer.key, &bytes).map_err(|_| CertError::BadKey)?;
    let signature = (issuer.sign)(&digest).map_err(CertError::Signer)?;
    // a wrong key name or a failing chip must not go unseen
    crate::sig::verify_digest(issuer.key, &digest, &signature).map_err(|_| CertError::WrongIssuer)?;
    let signature = names::signature_to_der(&signature).map_err(|_| ENCODING)?;
    let signed = SignedDer {
        body: der::Decode::from_der(&bytes).map_err(|_| ENCODING)?,
        algorithm: names::signature_algorithm(issuer.key.scheme),
        signature: BitString::from_bytes(&signature).map_err(|_| ENCODING)?,
    };
    signed.to_der().map_err(|_| ENCODING)
}

/// UTCTime until 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5), whole seconds.
fn time(at: UnixMillis) -> Result<Time, CertError> {
    let seconds = std::time::Duration::from_secs(at.0 / 1000);
    let date = der::DateTime::from_unix_duration(seconds).map_err(|_| CertError::Build("time"))?;
    Ok(Time::from(date))
}

fn extension<T: Encode + const_oid::AssociatedOid>(
    critical: bool,
    value: &T,
) -> Result<Extension, CertError> {
    raw_extension(T::OID, critical, value)
}

fn raw_extension(oid: ObjectIdentifier, critical: bool, value: &impl Encode) -> Result<Extension, CertError> {
    let value = value.to_der().map_err(|_| ENCODING)?;
    Ok(Extension { extn_id: oid, critical, extn_value: OctetString::new(value).map_err(|_| ENCODING)? })
}

/// First 160 bits of the point's SM3: RFC 7093 §2 allows any method that keeps identifiers apart.
fn key_identifier(key: &PublicKey) -> Result<OctetString, CertError> {
    let digest = sm3(&[&[4u8], &key.point.0[..]].concat());
    OctetString::new(digest.0.get(..20).unwrap_or_default()).map_err(|_| ENCODING)
}

fn authority(key: &PublicKey) -> Result<AuthorityKeyIdentifier, CertError> {
    Ok(AuthorityKeyIdentifier { key_identifier: Some(key_identifier(key)?), ..Default::default() })
}

fn extensions(
    spec: &CertSpec,
    issuer: &Issuer<'_>,
    facts: &IssuerFacts,
    nameless: bool,
) -> Result<Vec<Extension>, CertError> {
    use KeyUsages::{CRLSign, DigitalSignature, KeyCertSign, NonRepudiation};
    let (ca, path_len_constraint, usage) = match &spec.kind {
        CertKind::Root => (true, None, KeyCertSign | CRLSign),
        CertKind::Intermediate => (true, Some(1), KeyCertSign | CRLSign),
        // the node key also signs batches and statements
        CertKind::NodeCa { .. } => (true, Some(0), DigitalSignature | KeyCertSign | CRLSign),
        CertKind::TlsServerClient | CertKind::TlsClient => (false, None, DigitalSignature.into()),
        CertKind::EvidenceSigner => (false, None, DigitalSignature | NonRepudiation),
    };
    let purposes = match &spec.kind {
        CertKind::TlsServerClient => vec![names::SERVER_AUTH, names::CLIENT_AUTH],
        CertKind::TlsClient => vec![names::CLIENT_AUTH],
        CertKind::EvidenceSigner => vec![names::DOCUMENT_SIGNING],
        _ => vec![],
    };
    let mut out = vec![
        extension(true, &BasicConstraints { ca, path_len_constraint })?,
        extension(true, &KeyUsage(usage))?,
        extension(false, &SubjectKeyIdentifier(key_identifier(&spec.public_key)?))?,
        extension(false, &authority(issuer.key)?)?,
    ];
    if !purposes.is_empty() {
        out.push(extension(false, &ExtendedKeyUsage(purposes))?);
    }
    match &spec.kind {
        CertKind::NodeCa { dns } => out.push(extension(true, &constraints(dns, spec)?)?),
        CertKind::Root | CertKind::Intermediate => {}
        _ if spec.dns.is_empty() && spec.ips.is_empty() => {}
        // RFC 5280 §4.2.1.6: critical when the subject is empty
        _ => out.push(extension(nameless, &SubjectAltName(alt_names(spec)?))?),
    }
    let life = spec.not_after.0.saturating_sub(spec.not_before.0);
    if !ca && facts.certifies_leaves_only() && life <= SHORT_LIVED {
        out.push(raw_extension(names::NO_REV_AVAIL, false, &der::asn1::Null)?);
    }
    Ok(out)
}

fn dns_name(text: &str) -> Result<GeneralName, CertError> {
    const BAD: CertError = CertError::Build("not a host name");
    // no wildcard: a name stands for one host
    rustls_pki_types::DnsName::try_from(text).map_err(|_| BAD)?;
    der::asn1::Ia5String::new(text).map(GeneralName::DnsName).map_err(|_| BAD)
}

fn alt_names(spec: &CertSpec) -> Result<GeneralNames, CertError> {
    let mut out = GeneralNames::new();
    for name in &spec.dns {
        out.push(dns_name(name)?);
    }
    for ip in &spec.ips {
        out.push(GeneralName::from(*ip));
    }
    Ok(out)
}

/// An address range of a name constraint: address ‖ mask (RFC 5280 §4.2.1.10).
fn address_range(ip: IpAddr, mask: u8) -> Result<GeneralSubtree, CertError> {
    let mut bytes = match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let length = bytes.len();
    bytes.resize(2 * length, mask);
    let base = GeneralName::IpAddress(OctetString::new(bytes).map_err(|_| ENCODING)?);
    Ok(GeneralSubtree { base, minimum: 0, maximum: None })
}

/// A constraint on host names alone would leave addresses free: without `ips` all are excluded.
fn constraints(dns: &str, spec: &CertSpec) -> Result<NameConstraints, CertError> {
    let mut permitted = Vec::new();
    for name in std::iter::once(dns).chain(spec.dns.iter().map(String::as_str)) {
        permitted.push(GeneralSubtree { base: dns_name(name)?, minimum: 0, maximum: None });
    }
    for ip in &spec.ips {
        permitted.push(address_range(*ip, 0xff)?);
    }
    let mut excluded = Vec::new();
    let free = |v4: bool| spec.ips.iter().any(|ip| ip.is_ipv4() == v4);
    if !free(true) {
        excluded.push(address_range(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)?);
    }
    if !free(false) {
        excluded.push(address_range(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0)?);
    }
    Ok(NameConstraints {
        permitted_subtrees: Some(permitted),
        excluded_subtrees: (!excluded.is_empty()).then_some(excluded),
    })
}
