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
    /// the rest of the chain that the peer showed, DER: of a gateway, its node CA certificate first
    pub issuers: Vec<Vec<u8>>,
    /// issuer's name in DER and serial number of each certificate of the chain, leaf first: what lists name
    pub listed_as: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The certificate passed the handshake but cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the peer's certificate cannot be read")]
pub struct PeerCertError {
    /// why
    #[from]
    source: gw_sm::cert::CertError,
}

impl PeerCert {
    /// Reads a certificate.
    pub fn parse(der: &[u8]) -> Result<Self, PeerCertError> {
        let info = gw_sm::cert::parse_cert(der)?;
        Ok(Self {
            der: der.to_vec(),
            spki: info.spki,
            common_name: info.subject.common_name,
            not_before: info.not_before,
            not_after: info.not_after,
            listed_as: vec![(info.issuer, info.serial.clone())],
            serial: info.serial,
            issuers: Vec::new(),
        })
    }
    /// Reads the leaf of a verified chain and keeps the rest; `None` without certificates.
    pub fn of_chain(
        chain: Option<&[rustls_pki_types::CertificateDer<'_>]>,
    ) -> Option<Result<Self, PeerCertError>> {
        let (leaf, rest) = chain?.split_first()?;
        Some(Self::parse(leaf).and_then(|cert| rest.iter().try_fold(cert, |cert, c| cert.issued_by(c))))
    }
    fn issued_by(mut self, der: &[u8]) -> Result<Self, PeerCertError> {
        let info = gw_sm::cert::parse_cert(der)?;
        self.listed_as.push((info.issuer, info.serial));
        self.issuers.push(der.to_vec());
        Ok(self)
    }
    /// Whether it is in date at `at`: asked again per request, a connection may outlive its certificate.
    pub fn is_in_date(&self, at: UnixMillis) -> bool {
        self.not_before <= at && at <= self.not_after
    }
}
