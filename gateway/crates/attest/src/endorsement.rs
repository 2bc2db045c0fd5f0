//! The manufacturer's word on a chip: its endorsement certificate, followed to a pinned root, offline.
//!
//! TCG EK Credential Profile 2.5, §3: such a certificate is for no name but has a critical subjectAltName with
//! the chip's make, a purpose of its own, and often an empty subject. webpki refuses it as a leaf, so the path
//! is walked here, with webpki's signature algorithms and the rules of RFC 5280 §6.1 that apply.

mod certificate;
mod credential;
mod oaep;

pub use credential::{CredentialError, Sealed, make_credential};

use certificate::Certificate;
use gw_proto::UnixMillis;
use serde::{Deserialize, Serialize};

/// Largest certificate taken, in bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;
/// Most certificates between a chip's and a root, the root included.
const MAX_PATH: usize = 4;
/// Most pinned certificates.
const MAX_PINNED: usize = 256;

/// Why an endorsement certificate is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndorsementError {
    /// Not a certificate.
    #[error("{what} is malformed: {detail}")]
    Malformed {
        /// the chip's or a pinned certificate
        what: &'static str,
        /// what the parser says
        detail: String,
    },
    /// Nothing to trust.
    #[error("no root among the manufacturers' certificates: pin at least one that signed itself")]
    NoRoot,
    /// More than are read.
    #[error("more than {MAX_PINNED} manufacturers' certificates")]
    TooMany,
    /// A critical extension that nobody here evaluates (RFC 5280 §4.2).
    #[error("`{subject}` has the critical extension {oid}, which is not known here")]
    CriticalExtension {
        /// whose
        subject: String,
        /// which
        oid: String,
    },
    /// It is no endorsement certificate.
    #[error("not an endorsement certificate: {why}")]
    NotEndorsement {
        /// what it lacks
        why: &'static str,
    },
    /// A key that no chip we can challenge has.
    #[error(
        "the endorsement key is neither P-256, P-384 nor RSA of 2048 bits: this program cannot challenge it"
    )]
    KeyKind,
    /// The path ends at somebody who is not pinned.
    #[error("no pinned manufacturer has signed `{subject}`: its issuer is `{issuer}`")]
    NotPinned {
        /// where the path ends
        subject: String,
        /// who should come next
        issuer: String,
    },
    /// The path is longer than any manufacturer's.
    #[error("more than {MAX_PATH} certificates above the chip's")]
    PathTooLong,
    /// An issuer's signature.
    #[error("the signature on `{subject}` does not verify under `{issuer}`")]
    Signature {
        /// what is signed
        subject: String,
        /// by whom, it says
        issuer: String,
    },
    /// Too early.
    #[error("`{subject}` is valid only from {} on", not_before.rfc3339())]
    NotYetValid {
        /// whose
        subject: String,
        /// first moment
        not_before: UnixMillis,
    },
    /// Too late.
    #[error("`{subject}` expired at {}", not_after.rfc3339())]
    Expired {
        /// whose
        subject: String,
        /// last moment
        not_after: UnixMillis,
    },
    /// Somebody who may not sign certificates did, or not for so many below it.
    #[error("`{subject}` may not sign what stands below it: {why}")]
    NotIssuer {
        /// who
        subject: String,
        /// basicConstraints, keyUsage, path length
        why: &'static str,
    },
}

/// An endorsement key, of a kind that chips show (profile 2.5, annex B).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndorsementKey {
    /// templates L-2 and H-3
    Ecc {
        /// which curve
        curve: Curve,
        /// x ‖ y, uncompressed without the leading 4
        point: Vec<u8>,
    },
    /// templates L-1 and H-1
    Rsa2048 {
        /// RSAPublicKey in DER (RFC 8017, A.1.1): a modulus of 2048 bits, exponent 65537
        public: Vec<u8>,
    },
}

/// Curves of endorsement keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1
    P256,
    /// secp384r1
    P384,
}

/// The make of a chip, as its manufacturer certified it (profile 2.5, §3.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Make {
    /// 2.23.133.2.1, for example `id:00001014`
    pub manufacturer: String,
    /// 2.23.133.2.2
    pub model: String,
    /// 2.23.133.2.3
    pub version: String,
}

/// A chip whose manufacturer is pinned. Only [`Manufacturers::check`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsed {
    key: EndorsementKey,
    make: Make,
    root: String,
}

impl Endorsed {
    /// The certified key.
    pub fn key(&self) -> &EndorsementKey {
        &self.key
    }
    /// The certified make.
    pub fn make(&self) -> &Make {
        &self.make
    }
    /// The pinned root that the path ends at.
    pub fn root(&self) -> &str {
        &self.root
    }
}

/// Pinned certificates: those that signed themselves are trusted, the others only lead to them.
#[derive(Debug, Clone)]
pub struct Manufacturers {
    roots: Vec<Certificate>,
    between: Vec<Certificate>,
}

impl Manufacturers {
    /// From certificates in DER.
    pub fn new<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, EndorsementError> {
        let mut this = Self { roots: Vec::new(), between: Vec::new() };
        for der in all {
            let certificate = Certificate::parse("a manufacturer's certificate", der)?;
            certificate.check_extensions()?;
            let kind = if certificate.is_self_signed() { &mut this.roots } else { &mut this.between };
            kind.push(certificate);
            if this.roots.len() + this.between.len() > MAX_PINNED {
                return Err(EndorsementError::TooMany);
            }
        }
        if this.roots.is_empty() { Err(EndorsementError::NoRoot) } else { Ok(this) }
    }

    /// Follows a chip's certificate to a root. Revocation is not looked at: everything here is offline.
    pub fn check(&self, certificate: &[u8], at: UnixMillis) -> Result<Endorsed, EndorsementError> {
        let leaf = Certificate::parse("the endorsement certificate", certificate)?;
        leaf.check_extensions()?;
        leaf.check_time(at)?;
        let make = leaf.check_endorsement()?;
        let key = leaf.endorsement_key()?;
        let root = self.climb(&leaf, at)?.name.clone();
        Ok(Endorsed { key, make, root })
    }

    /// Names lead upwards; of several of one name, the one whose key has signed.
    fn climb(&self, leaf: &Certificate, at: UnixMillis) -> Result<&Certificate, EndorsementError> {
        let mut below = leaf;
        for depth in 0..MAX_PATH {
            if let Some(root) = self.signer(&self.roots, below, depth, at)? {
                return Ok(root);
            }
            let Some(next) = self.signer(&self.between, below, depth, at)? else {
                return Err(EndorsementError::NotPinned {
                    subject: below.name.clone(),
                    issuer: below.issuer_name.clone(),
                });
            };
            below = next;
        }
        Err(EndorsementError::PathTooLong)
    }

    fn signer<'a>(
        &self,
        among: &'a [Certificate],
        below: &Certificate,
        depth: usize,
        at: UnixMillis,
    ) -> Result<Option<&'a Certificate>, EndorsementError> {
        let mut refused = None;
        for candidate in among.iter().filter(|c| c.subject == below.issuer) {
            let checked = below
                .check_signature(candidate)
                .and_then(|()| candidate.check_issuer(depth))
                .and_then(|()| candidate.check_time(at));
            match checked {
                Ok(()) => return Ok(Some(candidate)),
                Err(e) => refused = Some(e),
            }
        }
        refused.map_or(Ok(None), Err)
    }
}
