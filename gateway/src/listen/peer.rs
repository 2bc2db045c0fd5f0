//! The certificate at the other end, as far as later stages need it.

use gw_proto::{Digest, UnixMillis};

/// A peer's end-entity certificate. Its chain was checked at the handshake; what it may do was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCert {
    /// the certificate
    pub der: Vec<u8>,
    /// SM3 of its SubjectPublicKeyInfo, DER: how ledger and configuration name it
    pub spki: Digest,
    /// subject's common name
    pub common_name: Option<String>,
    /// valid from
    pub not_before: UnixMillis,
    /// valid until
    pub not_after: UnixMillis,
    /// serial number, big-endian
    pub serial: Vec<u8>,
}

/// The certificate passed the handshake but cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the peer's certificate cannot be read: {0}")]
pub struct PeerCertError(String);

impl PeerCert {
    /// Reads a certificate.
    pub fn parse(der: &[u8]) -> Result<Self, PeerCertError> {
        use der::{Decode as _, Encode as _};
        let wrong = |e: der::Error| PeerCertError(e.to_string());
        let cert = x509_cert::Certificate::from_der(der).map_err(wrong)?;
        let tbs = cert.tbs_certificate();
        let millis = |t: &x509_cert::time::Time| {
            UnixMillis(u64::try_from(t.to_unix_duration().as_millis()).unwrap_or(u64::MAX))
        };
        Ok(Self {
            der: der.to_vec(),
            spki: gw_proto::sm3(&tbs.subject_public_key_info().to_der().map_err(wrong)?),
            common_name: None,
            not_before: millis(&tbs.validity().not_before),
            not_after: millis(&tbs.validity().not_after),
            serial: tbs.serial_number().as_bytes().to_vec(),
        })
    }
    /// Whether it is in date at `at`: asked again per request, a connection may outlive its certificate.
    pub fn is_in_date(&self, at: UnixMillis) -> bool {
        self.not_before <= at && at <= self.not_after
    }
}
