//! Revocation lists: parsed once, signature checked against the issuer at hand, fail-closed.

use super::{
    CertError, MAX_CRL, SHORT_LIVED, SignatureCache, algs, bound,
    parse::{Parsed, Signed, millis},
};
use der::{Decode as _, Encode as _};
use gw_proto::UnixMillis;
use std::collections::HashSet;
use x509_cert::crl::CertificateList;

/// A revocation list; its signature is checked when it is used.
#[derive(Debug, Clone)]
pub struct Crl {
    issuer: Vec<u8>,
    this_update: UnixMillis,
    next_update: UnixMillis,
    revoked: HashSet<Vec<u8>>,
    signed: Signed,
}

const MALFORMED: CertError = CertError::Malformed("revocation list");

impl Crl {
    /// Parses a complete, direct list. Lists that are partial, indirect or without next update are refused: a gap
    /// would look like "not revoked".
    pub fn from_der(der: &[u8]) -> Result<Self, CertError> {
        bound("revocation list", der.len(), MAX_CRL)?;
        let list =
            CertificateList::<x509_cert::certificate::Rfc5280>::from_der(der).map_err(|_| MALFORMED)?;
        let tbs = &list.tbs_cert_list;
        let of_list = tbs.crl_extensions.iter().flatten();
        let of_lines =
            tbs.revoked_certificates.iter().flatten().flat_map(|r| &r.crl_entry_extensions).flatten();
        if let Some(e) = of_list.chain(of_lines).find(|e| e.critical) {
            return Err(CertError::UnsupportedExtension(e.extn_id.to_string()));
        }
        if tbs.signature != list.signature_algorithm {
            return Err(MALFORMED);
        }
        let revoked = tbs.revoked_certificates.iter().flatten().map(|r| plain(r.serial_number.as_bytes()));
        Ok(Self {
            issuer: tbs.issuer.to_der().map_err(|_| MALFORMED)?,
            this_update: millis(tbs.this_update),
            next_update: millis(tbs.next_update.ok_or(MALFORMED)?),
            revoked: revoked.collect(),
            signed: Signed::from_der(der, "revocation list")?,
        })
    }

    /// When the next list is due.
    pub fn next_update(&self) -> UnixMillis {
        self.next_update
    }

    /// Whose list it is: the Name in DER, as in [`super::CertInfo`].
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// Whether it names a certificate's serial number (big-endian, as in [`super::CertInfo`]).
    pub fn lists(&self, serial: &[u8]) -> bool {
        self.revoked.contains(&plain(serial))
    }

    /// How many certificates it revokes.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Revokes nothing.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    /// In date: a list that is not says nothing of who is *not* revoked.
    pub fn is_current(&self, at: UnixMillis) -> bool {
        self.this_update <= at && at < self.next_update
    }
}

fn plain(serial: &[u8]) -> Vec<u8> {
    serial.iter().copied().skip_while(|b| *b == 0).collect()
}

/// Decides whether `cert`, issued by `issuer`, is known not to be revoked.
pub(super) fn check_revocation(
    crls: &[Crl],
    cert: &Parsed,
    issuer: &Parsed,
    at: UnixMillis,
    cache: Option<&SignatureCache>,
) -> Result<(), CertError> {
    let by_issuer = crls.iter().filter(|c| c.issuer == issuer.subject);
    let valid: Vec<&Crl> = by_issuer
        .filter(|c| algs::verify_signed(&c.signed, &issuer.info.public_key, cache).is_ok())
        .filter(|_| issuer.usage.is_some_and(|u| u.crl_sign()))
        .collect();
    // also by a list that is out of date: revocation is for good
    if valid.iter().any(|c| c.revoked.contains(&cert.info.serial)) {
        return Err(CertError::Revoked);
    }
    if valid.iter().any(|c| c.is_current(at)) {
        return Ok(());
    }
    match valid.iter().map(|c| c.next_update).max() {
        Some(next_update) => Err(CertError::CrlOutOfDate { next_update }),
        None if needs_no_list(cert, issuer) => Ok(()),
        None => Err(CertError::UnknownRevocation),
    }
}

/// A node key certifies TLS keys for a day and publishes no list (RFC 9608 noRevAvail). Its own certificate is under
/// a list, so a node is still shut out at once.
fn needs_no_list(cert: &Parsed, issuer: &Parsed) -> bool {
    let life = cert.info.not_after.0.saturating_sub(cert.info.not_before.0);
    cert.no_revocation && !cert.info.is_ca && issuer.path_length == Some(0) && life <= SHORT_LIVED
}
