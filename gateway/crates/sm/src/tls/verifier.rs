//! Peers' certificates in a handshake: the rules of [`crate::cert`], told to rustls.

use super::{MAX_SIGNATURES, Profile, TlsError, Trust};
use crate::cert::{Anchors, CertError, Crl, Expect, MAX_CRLS, Rules, SignatureCache};
use gw_proto::UnixMillis;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// Verifies one side's certificates under one profile. rustls' stock verifier is not enough: it does not look at
/// keyUsage, lets an absent extKeyUsage pass, and demands a revocation list of every node CA.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    profile: Profile,
    expect: Expect,
    anchors: Anchors,
    crls: Vec<Crl>,
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
    cache: SignatureCache,
}

impl PeerVerifier {
    pub(super) fn new(
        profile: Profile,
        trust: &Trust,
        expect: Expect,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, TlsError> {
        let roots: Vec<&[u8]> = trust.roots.iter().map(|r| r.as_ref()).collect();
        let anchors = Anchors::new(&roots).map_err(TlsError::Root)?;
        if anchors.schemes().any(|s| s != profile.scheme()) {
            return Err(TlsError::Root(CertError::WrongCurve));
        }
        if trust.crls.len() > MAX_CRLS {
            let what = "revocation lists";
            let error = CertError::TooMany { what, found: trust.crls.len(), limit: MAX_CRLS };
            return Err(TlsError::Crl(error));
        }
        let crls: Result<Vec<Crl>, CertError> = trust.crls.iter().map(|c| Crl::from_der(c)).collect();
        Ok(Self {
            profile,
            expect,
            hints: anchors.subjects().map(|s| DistinguishedName::from(s.to_vec())).collect(),
            anchors,
            crls: crls.map_err(TlsError::Crl)?,
            algorithms,
            cache: SignatureCache::new(MAX_SIGNATURES),
        })
    }

    /// How many signatures it remembers as good.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.cache.len()
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let chain: Vec<&[u8]> = std::iter::once(leaf).chain(rest).map(|c| c.as_ref()).collect();
        let rules = Rules {
            anchors: &self.anchors,
            crls: &self.crls,
            at: UnixMillis(now.as_secs().saturating_mul(1000)),
            expect: self.expect,
            curve: Some(self.profile.scheme()),
            name,
            cache: Some(&self.cache),
        };
        rules.verify(&chain).map(drop).map_err(|e| Error::InvalidCertificate(explain(e)))
    }

    fn verify_handshake(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }
}

/// rustls' word for it, which decides the alert; where it has none, ours goes along.
fn explain(error: CertError) -> CertificateError {
    match error {
        CertError::Expired { .. } => CertificateError::Expired,
        CertError::NotYetValid { .. } => CertificateError::NotValidYet,
        CertError::UnknownIssuer => CertificateError::UnknownIssuer,
        CertError::BadSignature => CertificateError::BadSignature,
        CertError::Revoked => CertificateError::Revoked,
        CertError::UnknownRevocation => CertificateError::UnknownRevocationStatus,
        CertError::CrlOutOfDate { .. } => CertificateError::ExpiredRevocationList,
        CertError::NameMismatch => CertificateError::NotValidForName,
        CertError::UnsupportedExtension(_) => CertificateError::UnhandledCriticalExtension,
        CertError::Malformed(_) | CertError::Empty => CertificateError::BadEncoding,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not offered".into())
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(leaf, rest, Some(name), now).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_handshake(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf, rest, None, now).map(|()| ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_handshake(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
