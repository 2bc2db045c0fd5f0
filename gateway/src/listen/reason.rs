//! Why a handshake failed, as one of a few words: a metric's label must not be the attacker's to choose.

use gw_sm::cert::CertError;
use rustls::{CertificateError, Error as Tls};
use std::io;

/// The label of a failed handshake.
pub(crate) fn handshake_failure(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|e| e.downcast_ref::<Tls>()) {
        Some(Tls::NoCertificatesPresented) => "no-certificate",
        Some(Tls::InvalidCertificate(why)) => certificate(why),
        Some(Tls::InvalidCertRevocationList(_)) => "bad-crl",
        Some(Tls::PeerIncompatible(_)) => "incompatible",
        Some(Tls::NoApplicationProtocol) => "alpn",
        Some(Tls::AlertReceived(_)) => "peer-alert",
        Some(
            Tls::InvalidMessage(_)
            | Tls::InappropriateMessage { .. }
            | Tls::InappropriateHandshakeMessage { .. },
        ) => "not-tls",
        Some(_) => "protocol",
        None => match error.kind() {
            io::ErrorKind::TimedOut => "timeout",
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => "closed",
            _ => "io",
        },
    }
}

fn certificate(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::UnknownIssuer => "unknown-issuer",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not-yet-valid",
        CertificateError::Revoked => "revoked",
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => "revocation-unknown",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "wrong-usage",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "wrong-name",
        CertificateError::BadSignature => "bad-signature",
        // what gw-sm checks beyond rustls' words
        CertificateError::Other(other) => match other.0.downcast_ref() {
            Some(CertError::WrongUsage(_)) => "wrong-usage",
            Some(CertError::WrongCurve | CertError::BadKey) => "wrong-curve",
            _ => "bad-certificate",
        },
        _ => "bad-certificate",
    }
}
