//! TLS 1.3 in two profiles, always mutual: SM (RFC 8998) and international.
//!
//! | | SM | international |
//! |---|---|---|
//! | cipher suite | TLS_SM4_GCM_SM3 | AES-256-GCM, AES-128-GCM, ChaCha20-Poly1305 |
//! | group | curveSM2 | X25519, P-256 |
//! | certificates | SM2 with SM3 | ECDSA P-256 with SHA-256 |
//!
//! One configuration serves one profile: rustls picks suite, group and signature scheme independently, so a provider
//! with both would mix them.
//!
//! A resumed session shows the certificate of its first handshake, which rustls does not verify again: whoever uses a
//! connection judges the certificate per request. Two things are as in the libraries below: SM4 uses table look-ups
//! (RustCrypto's sm4, no constant time), and rustls keeps copies of resumption secrets that it does not wipe.

mod group;
mod international;
mod record;
mod sessions;
mod signer;
mod suite;
#[cfg(test)]
mod tests;
mod verifier;

pub use sessions::Sessions;

use crate::{
    KeyPair,
    cert::{self, CertError, Expect, MAX_CHAIN},
};
use gw_proto::{Clock, Scheme};
use rustls::{
    ClientConfig, ServerConfig,
    client::{Resumption, Tls12Resumption},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
    time_provider::{DefaultTimeProvider, TimeProvider},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use verifier::PeerVerifier;

/// The TLS suite SM4-GCM with SM3, RFC 8998 §2.
pub const TLS_SM4_GCM_SM3: rustls::CipherSuite = rustls::CipherSuite::Unknown(0x00c6);
/// The group curveSM2, RFC 8998 §2.
pub const CURVE_SM2: rustls::NamedGroup = rustls::NamedGroup::Unknown(41);
/// The signature scheme sm2sig_sm3, RFC 8998 §2.
pub const SM2SIG_SM3: rustls::SignatureScheme = rustls::SignatureScheme::Unknown(0x0708);

/// Sessions that a configuration remembers for resumption, on either side. Each takes a few kilobytes: the peer's
/// chain is in it.
pub const MAX_SESSIONS: usize = 1024;
/// Signatures that a configuration remembers as good: CA certificates, revocation lists, some leaves.
const MAX_SIGNATURES: usize = 2048;

/// A set of algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// SM2, SM3, SM4
    Sm,
    /// P-256, SHA-256, AES-GCM and company
    International,
}

impl Profile {
    /// The scheme of its certificates.
    pub fn scheme(self) -> Scheme {
        match self {
            Self::Sm => Scheme::Sm2Sm3,
            Self::International => Scheme::EcdsaP256Sha256,
        }
    }
}

/// What we show: chain, leaf first, and the leaf's key.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    /// leaf, then its issuers; the root may be left out
    pub chain: Vec<CertificateDer<'static>>,
    /// the leaf's key
    pub key: Arc<KeyPair>,
}

/// Whom we believe.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// root certificates, at least one
    pub roots: Vec<CertificateDer<'static>>,
    /// revocation lists. None: revocation is not checked. Else each certificate of a peer's chain must be covered by
    /// a list in date, except a node's day-long TLS certificate (RFC 9608)
    pub crls: Vec<CertificateRevocationListDer<'static>>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Our own chain.
    #[error("own TLS certificate refused")]
    Identity(#[source] CertError),
    /// Chain and key do not belong together.
    #[error("the TLS key is not the one that the certificate names")]
    KeyMismatch,
    /// A trusted root.
    #[error("trusted root refused")]
    Root(#[source] CertError),
    /// A revocation list.
    #[error("revocation list refused")]
    Crl(#[source] CertError),
    /// rustls refused.
    #[error("TLS configuration refused")]
    Rustls(#[from] rustls::Error),
}

/// The provider of a profile. Loading keys by it takes PKCS#8.
pub fn provider(profile: Profile) -> Arc<CryptoProvider> {
    static SM: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(suite::provider()));
    static INTERNATIONAL: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(international::provider()));
    match profile {
        Profile::Sm => SM.clone(),
        Profile::International => INTERNATIONAL.clone(),
    }
}

/// A server: TLS 1.3 only, client certificate demanded, resumption from memory, no early data.
pub fn server_config(
    profile: Profile,
    identity: &TlsIdentity,
    trust: &Trust,
    alpn: &[&[u8]],
) -> Result<ServerConfig, TlsError> {
    let provider = provider(profile);
    let verifier = verifier(profile, trust, Expect::TlsClient, &provider)?;
    let own = Arc::new(SingleCertAndKey::from(certified_key(profile, identity)?));
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(DefaultTimeProvider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(own);
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    // tickets hold only a handle: no ticket keys to protect, none to share
    config.session_storage = Arc::new(Sessions::new(MAX_SESSIONS));
    config.max_early_data_size = 0;
    Ok(config)
}

/// A client: TLS 1.3 only, own certificate, server's name checked, resumption from memory, no early data.
pub fn client_config(
    profile: Profile,
    identity: &TlsIdentity,
    trust: &Trust,
    alpn: &[&[u8]],
) -> Result<ClientConfig, TlsError> {
    let provider = provider(profile);
    let verifier = verifier(profile, trust, Expect::TlsServer, &provider)?;
    let own = Arc::new(SingleCertAndKey::from(certified_key(profile, identity)?));
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(DefaultTimeProvider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(own);
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    config.resumption =
        Resumption::in_memory_sessions(MAX_SESSIONS).tls12_resumption(Tls12Resumption::Disabled);
    config.enable_early_data = false;
    Ok(config)
}

/// How a client of this profile checks servers, for a configuration put together elsewhere.
pub fn server_verifier(
    profile: Profile,
    trust: &Trust,
) -> Result<Arc<dyn rustls::client::danger::ServerCertVerifier>, TlsError> {
    Ok(verifier(profile, trust, Expect::TlsServer, &provider(profile))?)
}

/// Our clock as rustls wants it, for a configuration's `time_provider`.
pub fn time_provider(clock: Arc<dyn Clock>) -> Arc<dyn TimeProvider> {
    struct OfClock(Arc<dyn Clock>);
    impl std::fmt::Debug for OfClock {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("OfClock")
        }
    }
    impl TimeProvider for OfClock {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().0)))
        }
    }
    Arc::new(OfClock(clock))
}

fn verifier(
    profile: Profile,
    trust: &Trust,
    expect: Expect,
    provider: &CryptoProvider,
) -> Result<Arc<PeerVerifier>, TlsError> {
    let algorithms: WebPkiSupportedAlgorithms = provider.signature_verification_algorithms;
    Ok(Arc::new(PeerVerifier::new(profile, trust, expect, algorithms)?))
}

/// Checks our own chain as far as a peer's settings do not matter: sizes, curve, key, usage.
fn certified_key(profile: Profile, identity: &TlsIdentity) -> Result<CertifiedKey, TlsError> {
    let chain = &identity.chain;
    if chain.is_empty() {
        return Err(TlsError::Identity(CertError::Empty));
    }
    if chain.len() > MAX_CHAIN {
        let what = "certificates in a chain";
        let error = CertError::TooMany { what, found: chain.len(), limit: MAX_CHAIN };
        return Err(TlsError::Identity(error));
    }
    for (place, der) in chain.iter().enumerate() {
        let info = cert::parse_cert(der).map_err(TlsError::Identity)?;
        if info.public_key.scheme != profile.scheme() {
            return Err(TlsError::Identity(CertError::WrongCurve));
        }
        if place == 0 && info.public_key != *identity.key.public_key() {
            return Err(TlsError::KeyMismatch);
        }
        if place == 0 && info.is_ca {
            let what = "a CA's certificate stands where an end entity's is expected";
            return Err(TlsError::Identity(CertError::WrongUsage(what)));
        }
    }
    let key: Arc<dyn SigningKey> = match profile {
        Profile::Sm => Arc::new(signer::SmKey::new(identity.key.clone())),
        Profile::International => international::signing_key(&identity.key)?,
    };
    Ok(CertifiedKey::new(chain.clone(), key))
}
