//! The international profile: rustls' ring provider, cut to TLS 1.3 and P-256 certificates.

use crate::{KeyPair, cert};
use rustls::{
    Error, SignatureScheme,
    crypto::{
        CryptoProvider, KeyProvider, WebPkiSupportedAlgorithms,
        ring::{self, cipher_suite, kx_group},
    },
    sign::SigningKey,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
        signature_verification_algorithms: VERIFICATION,
        secure_random: ring::default_provider().secure_random,
        key_provider: &P256KeyProvider,
    }
}

static VERIFICATION: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::ring::ECDSA_P256_SHA256],
    mapping: &[(SignatureScheme::ECDSA_NISTP256_SHA256, &[webpki::ring::ECDSA_P256_SHA256])],
};

/// A P-256 key for TLS, signing by ring.
pub(super) fn signing_key(key: &KeyPair) -> Result<Arc<dyn SigningKey>, Error> {
    let refused = |_| Error::General("not a P-256 key".into());
    let pkcs8 = cert::key_to_pkcs8(key).map_err(refused)?;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_bytes()));
    // refuses P-384 as well: the verifiers of this profile would not take it
    let key = ring::sign::any_ecdsa_type(&der)?;
    match key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]) {
        Some(_) => Ok(key),
        None => Err(Error::General("not a P-256 key".into())),
    }
}

/// Loads PKCS#8 files whose curve is P-256.
#[derive(Debug)]
struct P256KeyProvider;

impl KeyProvider for P256KeyProvider {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        let refused = || Error::General("not a P-256 key in PKCS#8".into());
        let PrivateKeyDer::Pkcs8(der) = &key else { return Err(refused()) };
        let pair = cert::key_from_pkcs8(der.secret_pkcs8_der()).map_err(|_| refused())?;
        signing_key(&pair)
    }
}
