//! From a chain to a [`VerifiedCert`]: path, validity, usage, curve, name, revocation.

use super::{
    CertError, Crl, MAX_CERT, MAX_CHAIN, MAX_CRLS, MAX_ROOTS, SignatureCache, VerifiedCert,
    algs::{self, Cached},
    bound, count,
    crl::check_revocation,
    names,
    parse::Parsed,
};
use der::asn1::ObjectIdentifier;
use gw_proto::{Scheme, UnixMillis};
use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use std::time::Duration;

/// What the first certificate of a chain must be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// a node key: CA with path length 0 that may also sign data
    NodeKey,
    /// end entity that signs documents: an enterprise or e-seal service
    EvidenceSigner,
    /// end entity, client side of TLS
    TlsClient,
    /// end entity, server side of TLS
    TlsServer,
}

/// Trusted roots, parsed once.
#[derive(Debug, Clone)]
pub struct Anchors {
    roots: Vec<Parsed>,
    webpki: Vec<TrustAnchor<'static>>,
}

impl Anchors {
    /// From root certificates in DER: at least one, CAs that may sign certificates.
    pub fn new(roots: &[&[u8]]) -> Result<Self, CertError> {
        count("trusted roots", roots.len(), MAX_ROOTS)?;
        if roots.is_empty() {
            return Err(CertError::Empty);
        }
        let mut out = Self { roots: Vec::new(), webpki: Vec::new() };
        for der in roots {
            let parsed = Parsed::from_der(der)?;
            parsed.check_ca()?;
            let der = CertificateDer::from(*der);
            let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|e| translate(&e))?;
            out.webpki.push(anchor.to_owned());
            out.roots.push(parsed);
        }
        Ok(out)
    }

    /// The roots' names in DER, for a server's certificate request.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        self.roots.iter().map(|r| r.subject.as_slice())
    }

    /// The curves of the roots' keys.
    pub(crate) fn schemes(&self) -> impl Iterator<Item = Scheme> + '_ {
        self.roots.iter().map(|r| r.info.public_key.scheme)
    }
}

/// Everything that decides about a chain.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// whom we trust
    pub anchors: &'a Anchors,
    /// revocation lists; empty = revocation is not checked, else every certificate must be covered
    pub crls: &'a [Crl],
    /// the moment that counts
    pub at: UnixMillis,
    /// what for
    pub expect: Expect,
    /// the only curve allowed; None = SM2 and P-256
    pub curve: Option<Scheme>,
    /// host name or address that the certificate must carry
    pub name: Option<&'a ServerName<'a>>,
    /// remembers signatures that held
    pub cache: Option<&'a SignatureCache>,
}

/// Verifies a chain, leaf first, to one of the roots, without revocation lists: [`Rules`] has them.
pub fn verify_chain(
    chain: &[&[u8]],
    roots: &[&[u8]],
    at: UnixMillis,
    expect: Expect,
) -> Result<VerifiedCert, CertError> {
    let anchors = Anchors::new(roots)?;
    Rules { anchors: &anchors, crls: &[], at, expect, curve: None, name: None, cache: None }.verify(chain)
}

impl Rules<'_> {
    /// Verifies a chain, leaf first. Order after the leaf does not matter except for [`Expect::NodeKey`], where each
    /// certificate must be followed by its issuer's.
    pub fn verify(&self, chain: &[&[u8]]) -> Result<VerifiedCert, CertError> {
        count("certificates in a chain", chain.len(), MAX_CHAIN)?;
        count("revocation lists", self.crls.len(), MAX_CRLS)?;
        let mut parsed = Vec::with_capacity(chain.len());
        for der in chain {
            bound("certificate", der.len(), MAX_CERT)?;
            parsed.push(Parsed::from_der(der)?);
        }
        let leaf = parsed.first().ok_or(CertError::Empty)?;
        let schemes = parsed.iter().flat_map(|p| [p.info.public_key.scheme, p.signed.scheme]);
        if self.curve.is_some_and(|c| schemes.into_iter().any(|s| s != c)) {
            return Err(CertError::WrongCurve);
        }
        let path = match self.expect {
            Expect::NodeKey => self.walk(&parsed)?,
            _ => self.build_path(chain)?,
        };
        check_usage(leaf, self.expect)?;
        crate::sig::check_key(&leaf.info.public_key).map_err(|_| CertError::BadKey)?;
        self.check_path(leaf, &path)?;
        Ok(VerifiedCert(leaf.info.clone()))
    }

    /// What webpki leaves out: the root's validity, CAs' key usage, revocation under our rules.
    fn check_path(&self, leaf: &Parsed, path: &[Parsed]) -> Result<(), CertError> {
        let mut child = leaf;
        for issuer in path {
            issuer.check_ca()?;
            issuer.check_time(self.at)?;
            if !self.crls.is_empty() {
                check_revocation(self.crls, child, issuer, self.at, self.cache)?;
            }
            child = issuer;
        }
        Ok(())
    }

    /// An end entity's path by webpki: issuers from the leaf's up to and with the root.
    fn build_path(&self, chain: &[&[u8]]) -> Result<Vec<Parsed>, CertError> {
        let (leaf, rest) = chain.split_first().ok_or(CertError::Empty)?;
        let leaf = CertificateDer::from(*leaf);
        let rest: Vec<CertificateDer<'_>> = rest.iter().map(|der| CertificateDer::from(*der)).collect();
        let end_entity = webpki::EndEntityCert::try_from(&leaf).map_err(|e| translate(&e))?;
        let plain = algs::algorithms(self.curve);
        let cached: Vec<Cached<'_>> = self
            .cache
            .iter()
            .flat_map(|cache| plain.iter().map(|inner| Cached { inner: *inner, cache }))
            .collect();
        let algorithms: Vec<&dyn SignatureVerificationAlgorithm> = match self.cache {
            Some(_) => cached.iter().map(|c| c as &dyn SignatureVerificationAlgorithm).collect(),
            None => plain.to_vec(),
        };
        let path = end_entity
            .verify_for_usage(
                &algorithms,
                &self.anchors.webpki,
                &rest,
                UnixTime::since_unix_epoch(Duration::from_secs(self.at.0 / 1000)),
                Purposes(purposes(self.expect)),
                None,
                None,
            )
            .map_err(|e| translate(&e))?;
        if let Some(name) = self.name {
            end_entity.verify_is_valid_for_subject_name(name).map_err(|e| translate(&e))?;
        }
        let mut out = Vec::new();
        for issuer in path.intermediate_certificates() {
            out.push(Parsed::from_der(&issuer.der())?);
        }
        let place = self.anchors.webpki.iter().position(|a| std::ptr::eq(a, path.anchor()));
        let root = place.and_then(|i| self.anchors.roots.get(i)).ok_or(CertError::UnknownIssuer)?;
        out.push(root.clone());
        Ok(out)
    }

    /// A node key's path. Its certificate is a CA's, which webpki refuses as a leaf.
    fn walk(&self, chain: &[Parsed]) -> Result<Vec<Parsed>, CertError> {
        let mut path: Vec<Parsed> = Vec::new();
        for (depth, cert) in chain.iter().enumerate() {
            cert.check_time(self.at)?;
            let mut candidates = self.anchors.roots.iter().filter(|r| r.subject == cert.issuer).peekable();
            let named = candidates.peek().is_some();
            if let Some(root) = candidates.find(|r| self.issued(cert, r)) {
                check_room(root, depth)?;
                path.push(root.clone());
                return Ok(path);
            }
            let next = chain.get(depth + 1).filter(|n| n.subject == cert.issuer);
            let Some(next) = next else {
                return Err(if named { CertError::BadSignature } else { CertError::UnknownIssuer });
            };
            if !self.issued(cert, next) {
                return Err(CertError::BadSignature);
            }
            next.check_ca()?;
            check_room(next, depth)?;
            path.push(next.clone());
        }
        Err(CertError::UnknownIssuer)
    }

    fn issued(&self, cert: &Parsed, issuer: &Parsed) -> bool {
        algs::verify_signed(&cert.signed, &issuer.info.public_key, self.cache).is_ok()
    }
}

/// `depth` CAs stand between `issuer` and the node key, the node key counts as well: it is there to certify.
fn check_room(issuer: &Parsed, depth: usize) -> Result<(), CertError> {
    if issuer.path_length.is_some_and(|limit| usize::from(limit) <= depth) {
        return Err(CertError::WrongUsage("more CAs below a CA than its path length allows"));
    }
    // a node key has no name that could be checked against them
    if issuer.constrains_names {
        return Err(CertError::WrongUsage("name constraints above a node key"));
    }
    Ok(())
}

/// Extended key usages, any of which fits.
fn purposes(expect: Expect) -> &'static [ObjectIdentifier] {
    match expect {
        Expect::TlsServer => &[names::SERVER_AUTH],
        Expect::TlsClient => &[names::CLIENT_AUTH],
        // what CAs give to keys that sign documents
        Expect::EvidenceSigner => &[names::DOCUMENT_SIGNING, names::EMAIL_PROTECTION, names::ANY_USAGE],
        Expect::NodeKey => &[],
    }
}

/// Checks the leaf's basicConstraints, keyUsage and extKeyUsage; TLS demands the last.
fn check_usage(leaf: &Parsed, expect: Expect) -> Result<(), CertError> {
    let usage = leaf.usage.ok_or(CertError::WrongUsage("it has no keyUsage"))?;
    if !usage.digital_signature() {
        return Err(CertError::WrongUsage("its keyUsage lacks digitalSignature"));
    }
    if expect == Expect::NodeKey {
        leaf.check_ca()?;
        return match leaf.path_length {
            Some(0) => Ok(()),
            _ => Err(CertError::WrongUsage("a node key's path length must be 0")),
        };
    }
    if leaf.info.is_ca {
        return Err(CertError::WrongUsage(CA_AS_LEAF));
    }
    let fits = match &leaf.purposes {
        Some(list) => list.iter().any(|p| purposes(expect).contains(p)),
        None => expect == Expect::EvidenceSigner,
    };
    if fits { Ok(()) } else { Err(CertError::WrongUsage(WRONG_PURPOSE)) }
}

const CA_AS_LEAF: &str = "a CA's certificate stands where an end entity's is expected";
const WRONG_PURPOSE: &str = "its extended key usage lacks this purpose";

/// webpki's view of the same: also applied to CAs that limit their purposes.
struct Purposes(&'static [ObjectIdentifier]);

impl webpki::ExtendedKeyUsageValidator for Purposes {
    fn validate(&self, iter: webpki::KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut empty = true;
        for id in iter {
            empty = false;
            let id = id?;
            if self.0.iter().any(|p| webpki::KeyPurposeId::new(p.as_bytes()) == id) {
                return Ok(());
            }
        }
        if empty { Ok(()) } else { Err(webpki::Error::EmptyEkuExtension) }
    }
}

fn moment(time: &UnixTime) -> UnixMillis {
    UnixMillis(time.as_secs().saturating_mul(1000))
}

fn translate(error: &webpki::Error) -> CertError {
    use webpki::Error as E;
    match error {
        E::CertExpired { not_after, .. } => CertError::Expired { not_after: moment(not_after) },
        E::CertNotValidYet { not_before, .. } => CertError::NotYetValid { not_before: moment(not_before) },
        E::UnknownIssuer => CertError::UnknownIssuer,
        E::InvalidSignatureForPublicKey => CertError::BadSignature,
        E::CaUsedAsEndEntity => CertError::WrongUsage(CA_AS_LEAF),
        E::EndEntityUsedAsCa => CertError::WrongUsage("a certificate in the chain is no CA"),
        E::EmptyEkuExtension => CertError::WrongUsage(WRONG_PURPOSE),
        E::PathLenConstraintViolated => {
            CertError::WrongUsage("more CAs below a CA than its path length allows")
        }
        E::NameConstraintViolation | E::CertNotValidForName(_) => CertError::NameMismatch,
        E::UnsupportedCriticalExtension => CertError::UnsupportedExtension("unknown".into()),
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => CertError::WrongCurve,
        _ => CertError::Malformed("certificate chain"),
    }
}
