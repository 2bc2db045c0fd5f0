//! Handshake signatures sm2sig_sm3 with a key in memory.

use super::SM2SIG_SM3;
use crate::{KeyPair, cert, sig};
use gw_proto::Scheme;
use rustls::{
    Error, SignatureAlgorithm, SignatureScheme,
    crypto::KeyProvider,
    sign::{Signer, SigningKey},
};
use rustls_pki_types::PrivateKeyDer;
use std::sync::Arc;

/// The signer's identifier in CertificateVerify, RFC 8998 §3.2.1. Certificates have the default one.
pub(super) const HANDSHAKE_ID: &str = "TLSv1.3+GM+Cipher+Suite";

/// An SM2 key for TLS.
#[derive(Debug, Clone)]
pub(super) struct SmKey(Arc<KeyPair>);

impl SmKey {
    pub(super) fn new(key: Arc<KeyPair>) -> Self {
        Self(key)
    }
}

impl SigningKey for SmKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SM2SIG_SM3).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        // the second half of 0x0708; rustls looks at it in TLS 1.2 only
        SignatureAlgorithm::Unknown(0x08)
    }
}

impl Signer for SmKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |_| Error::General("SM2 signature failed".into());
        let digest = sig::sm2_message_digest(self.0.public_key(), HANDSHAKE_ID, message).map_err(failed)?;
        let signature = self.0.sign_digest(&digest).map_err(failed)?;
        cert::signature_to_der(&signature).map_err(|_| Error::General("SM2 signature failed".into()))
    }
    fn scheme(&self) -> SignatureScheme {
        SM2SIG_SM3
    }
}

/// Loads PKCS#8 files whose curve is SM2.
#[derive(Debug)]
pub(super) struct SmKeyProvider;

impl KeyProvider for SmKeyProvider {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        let refused = || Error::General("not an SM2 key in PKCS#8".into());
        let PrivateKeyDer::Pkcs8(der) = &key else { return Err(refused()) };
        let pair = cert::key_from_pkcs8(der.secret_pkcs8_der()).map_err(|_| refused())?;
        if pair.public_key().scheme != Scheme::Sm2Sm3 {
            return Err(refused());
        }
        Ok(Arc::new(SmKey::new(Arc::new(pair))))
    }
}
