//! X.509 certificates under SM2 and P-256: parse, build, verify, revoke.
//!
//! ```text
//! root (self-signed)
//! ├── intermediate            path length 1
//! │   └── node CA             path length 0, may name only its own hosts; its key is the node key
//! │       └── TLS end entity  at most a day, key in memory
//! └── evidence signer         an enterprise or an e-seal service
//! ```
//! Chains of end entities go through webpki. A node key's certificate is a CA's, which webpki refuses as a leaf:
//! [`verify`] walks that chain itself, with stricter rules.

mod algs;
mod build;
mod crl;
mod names;
#[cfg(test)]
mod openssl_tests;
mod parse;
mod pem;
mod request;
#[cfg(test)]
mod tests;
mod verify;

pub use algs::{SignatureCache, Sm2Sm3};
pub use build::{CertKind, CertSpec, CrlSpec, Issuer, RevokedSerial, build_cert, build_crl};
pub use crl::Crl;
pub use names::{signature_from_der, signature_to_der};
pub use parse::parse_cert;
pub use pem::{
    certs_from_pem, certs_to_pem, crl_to_pem, crls_from_pem, key_from_pem, key_to_pem, public_key_from_pem,
};
pub(crate) use pem::{key_from_pkcs8, key_to_pkcs8};
pub use request::{build_request, parse_request, request_from_pem, request_to_pem};
pub use verify::{Anchors, Expect, Rules, verify_chain};

use gw_proto::{Digest, PublicKey, UnixMillis};

/// Largest certificate taken, in bytes.
pub const MAX_CERT: usize = 8 * 1024;
/// Most certificates in a chain that a peer sends, its root included.
pub const MAX_CHAIN: usize = 4;
/// Most trusted roots of one verifier.
pub const MAX_ROOTS: usize = 64;
/// Largest revocation list taken, in bytes.
pub const MAX_CRL: usize = 1024 * 1024;
/// Most revocation lists of one verifier.
pub const MAX_CRLS: usize = 64;
/// Longest life of an end entity that may say of itself that nobody lists its revocation (RFC 9608), in
/// milliseconds: a day, and an hour for clocks.
pub const SHORT_LIVED: u64 = 25 * 60 * 60 * 1000;

/// Whom a certificate names. Debug hides the serial number: it may be a company code.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// commonName, 2.5.4.3
    pub common_name: Option<String>,
    /// organizationName, 2.5.4.10
    pub organization: Option<String>,
    /// serialNumber, 2.5.4.5: an enterprise's company code in evidence certificates
    pub serial_number: Option<String>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = self.serial_number.as_ref().map(|_| "hidden");
        f.debug_struct("Subject")
            .field("common_name", &self.common_name)
            .field("organization", &self.organization)
            .field("serial_number", &hidden)
            .finish()
    }
}

/// What a certificate says. Nothing of it is proved: see [`verify_chain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertInfo {
    /// the key it certifies
    pub public_key: PublicKey,
    /// whom it names
    pub subject: Subject,
    /// who issued it: the Name in DER, to be compared as bytes
    pub issuer: Vec<u8>,
    /// SM3 of the SubjectPublicKeyInfo in DER
    pub spki: Digest,
    /// first second of its validity
    pub not_before: UnixMillis,
    /// last second of its validity
    pub not_after: UnixMillis,
    /// serial number, big-endian without leading zeros
    pub serial: Vec<u8>,
    /// basicConstraints cA
    pub is_ca: bool,
    /// dNSName entries of subjectAltName
    pub dns: Vec<String>,
}

/// A certificate whose chain, validity and usage hold. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCert(CertInfo);

impl VerifiedCert {
    /// What it says, without the proof.
    pub fn into_info(self) -> CertInfo {
        self.0
    }
}

impl std::ops::Deref for VerifiedCert {
    type Target = CertInfo;
    fn deref(&self) -> &CertInfo {
        &self.0
    }
}

/// Why a certificate, chain, revocation list or key file is refused, or cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertError {
    /// Above a size bound, before anything was allocated.
    #[error("{what} is too large: {found} bytes, at most {limit}")]
    TooLarge {
        /// what was measured
        what: &'static str,
        /// its size
        found: usize,
        /// the bound
        limit: usize,
    },
    /// Above a count.
    #[error("too many {what}: {found}, at most {limit}")]
    TooMany {
        /// what was counted
        what: &'static str,
        /// how many there were
        found: usize,
        /// the bound
        limit: usize,
    },
    /// No certificate at all.
    #[error("no certificate given")]
    Empty,
    /// Not the expected DER or PEM.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A critical extension that we do not know, so may not ignore (RFC 5280 §4.2).
    #[error("critical extension {0} is not supported")]
    UnsupportedExtension(String),
    /// Neither SM2 nor P-256, or not the curve of this profile.
    #[error("key or signature algorithm is not the expected one (SM2 with SM3, or ECDSA P-256 with SHA-256)")]
    WrongCurve,
    /// The public key is not a point of its curve.
    #[error("the certified key is not a point of its curve")]
    BadKey,
    /// Signature by the named issuer does not hold.
    #[error("a signature in the chain does not verify")]
    BadSignature,
    /// No chain to a trusted root.
    #[error("issuer unknown: no chain to a trusted root; add the root or the missing intermediate")]
    UnknownIssuer,
    /// Past its validity.
    #[error("certificate expired at {}", not_after.rfc3339())]
    Expired {
        /// last second of its validity
        not_after: UnixMillis,
    },
    /// Before its validity.
    #[error("certificate not valid before {}", not_before.rfc3339())]
    NotYetValid {
        /// first second of its validity
        not_before: UnixMillis,
    },
    /// Made for something else.
    #[error("certificate is not made for this use: {0}")]
    WrongUsage(&'static str),
    /// Does not carry the expected name, or a CA above may not certify it.
    #[error("certificate is not valid for this name")]
    NameMismatch,
    /// Listed in a revocation list.
    #[error("certificate revoked")]
    Revoked,
    /// Revocation lists are configured, none speaks for this certificate's issuer.
    #[error("revocation status unknown: no revocation list of the certificate's issuer")]
    UnknownRevocation,
    /// The issuer's revocation list is too old, or of the future.
    #[error("revocation list is out of date: next update was due at {}", next_update.rfc3339())]
    CrlOutOfDate {
        /// when the next one was due
        next_update: UnixMillis,
    },
    /// The issuer given is not the one whose key signs.
    #[error("the issuer's certificate does not certify the signing key, or is no CA")]
    WrongIssuer,
    /// A value that cannot be built into a certificate.
    #[error("cannot build: {0}")]
    Build(&'static str),
    /// The signer failed.
    #[error("signer failed: {0}")]
    Signer(String),
}

/// Checks a size bound.
fn bound(what: &'static str, found: usize, limit: usize) -> Result<(), CertError> {
    if found > limit { Err(CertError::TooLarge { what, found, limit }) } else { Ok(()) }
}

/// Checks a count.
fn count(what: &'static str, found: usize, limit: usize) -> Result<(), CertError> {
    if found > limit { Err(CertError::TooMany { what, found, limit }) } else { Ok(()) }
}
