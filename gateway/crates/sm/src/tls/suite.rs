//! TLS_SM4_GCM_SM3: the suite, its hash and key schedule, and the SM provider.

use super::{SM2SIG_SM3, TLS_SM4_GCM_SM3, group::CurveSm2, record::Sm4Gcm, signer};
use crate::cert::Sm2Sm3;
use hmac::{KeyInit as _, Mac as _};
use rustls::{
    CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite,
    crypto::{
        CryptoProvider, GetRandomFailed, SecureRandom, WebPkiSupportedAlgorithms,
        hash::{self, HashAlgorithm},
        hmac as tls_hmac,
        tls13::HkdfUsingHmac,
    },
};
use rustls_pki_types::SignatureVerificationAlgorithm;
use sm3::{Digest as _, Sm3};

/// RFC 8998 with our algorithms.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![SupportedCipherSuite::Tls13(&SM4_GCM_SM3)],
        kx_groups: vec![&CurveSm2],
        signature_verification_algorithms: VERIFICATION,
        secure_random: &OsRandom,
        key_provider: &signer::SmKeyProvider,
    }
}

static SM4_GCM_SM3: Tls13CipherSuite = Tls13CipherSuite {
    common: CipherSuiteCommon {
        suite: TLS_SM4_GCM_SM3,
        hash_provider: &TlsSm3,
        // GCM over a 128-bit block: the bound of RFC 8446 §5.5 for AES, 2^24.5 full records
        confidentiality_limit: 1 << 24,
    },
    hkdf_provider: &HkdfUsingHmac(&HmacSm3),
    aead_alg: &Sm4Gcm,
    quic: None,
};

/// Two identifiers: handshake signatures have their own (RFC 8998 §3.2.1), so one cannot pass for the other.
static HANDSHAKE: Sm2Sm3 = Sm2Sm3::with_id(signer::HANDSHAKE_ID);
static CERTIFICATE: Sm2Sm3 = Sm2Sm3::with_id(crate::sig::DEFAULT_ID);
static VERIFICATION: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[&CERTIFICATE],
    mapping: &[(SM2SIG_SM3, &[&HANDSHAKE as &dyn SignatureVerificationAlgorithm])],
};

/// The operating system's generator; rustls has no place to pass another.
#[derive(Debug)]
struct OsRandom;

impl SecureRandom for OsRandom {
    fn fill(&self, buf: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(buf).map_err(|_| GetRandomFailed)
    }
}

/// SM3 as rustls' transcript hash.
struct TlsSm3;

impl hash::Hash for TlsSm3 {
    fn start(&self) -> Box<dyn hash::Context> {
        Box::new(Running(Sm3::new()))
    }
    fn hash(&self, data: &[u8]) -> hash::Output {
        hash::Output::new(&Sm3::digest(data))
    }
    fn output_len(&self) -> usize {
        32
    }
    fn algorithm(&self) -> HashAlgorithm {
        // the first half of 0x0708; rustls uses it to tell hashes apart
        HashAlgorithm::Unknown(0x07)
    }
}

struct Running(Sm3);

impl hash::Context for Running {
    fn fork_finish(&self) -> hash::Output {
        hash::Output::new(&self.0.clone().finalize())
    }
    fn fork(&self) -> Box<dyn hash::Context> {
        Box::new(Self(self.0.clone()))
    }
    fn finish(self: Box<Self>) -> hash::Output {
        hash::Output::new(&self.0.finalize())
    }
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
}

/// HMAC with SM3 (RFC 2104, GB/T 15852.2).
pub(super) struct HmacSm3;

impl tls_hmac::Hmac for HmacSm3 {
    fn with_key(&self, key: &[u8]) -> Box<dyn tls_hmac::Key> {
        Box::new(HmacKey(hmac_sm3(key)))
    }
    fn hash_output_len(&self) -> usize {
        32
    }
}

/// HMAC takes keys of any length; the fallback is never reached and would only break the connection.
pub(super) fn hmac_sm3(key: &[u8]) -> hmac::Hmac<Sm3> {
    hmac::Hmac::<Sm3>::new_from_slice(key).unwrap_or_else(|_| hmac::Hmac::new(&Default::default()))
}

/// Wiped on drop by hmac's and sm3's `zeroize` features.
struct HmacKey(hmac::Hmac<Sm3>);

impl tls_hmac::Key for HmacKey {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> tls_hmac::Tag {
        let mut mac = self.0.clone();
        mac.update(first);
        for part in middle {
            mac.update(part);
        }
        mac.update(last);
        tls_hmac::Tag::new(&mac.finalize().into_bytes())
    }
    fn tag_len(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::vector;
    use rustls::crypto::tls13::Hkdf as _;

    /// Secrets are wiped because these types wipe themselves: stops compiling if a feature gets lost.
    #[test]
    fn secret_holders_wipe_themselves() {
        fn wipes<T: zeroize::ZeroizeOnDrop>() {}
        // Hmac<Sm3> is made of Sm3's states
        wipes::<sm3::Sm3>();
        wipes::<sm4::Sm4>();
        wipes::<crate::tls::record::Cipher>();
        wipes::<sm2::SecretKey>();
    }

    #[test]
    fn hmac_sm3_vectors() {
        for i in 1..=4 {
            let part = |name: &str| vector(&format!("hmac.{i}.{name}"));
            let key = tls_hmac::Hmac::with_key(&HmacSm3, &part("key"));
            assert_eq!(key.sign(&[&part("data")]).as_ref(), part("tag"));
            // in pieces
            let data = part("data");
            let (a, b) = data.split_at(7);
            assert_eq!(key.sign_concat(a, &[b], &[]).as_ref(), part("tag"));
        }
    }

    #[test]
    fn hkdf_vectors() {
        for i in 1..=2 {
            let part = |name: &str| vector(&format!("hkdf.{i}.{name}"));
            let expander = HkdfUsingHmac(&HmacSm3).extract_from_secret(Some(&part("salt")), &part("input"));
            let mut out = vec![0; part("output").len()];
            expander.expand_slice(&[&part("info")], &mut out).unwrap();
            assert_eq!(out, part("output"));
        }
    }

    /// HKDF (RFC 5869) over HMAC-SM3, recomputed from its definition.
    #[test]
    fn hkdf_is_as_defined() {
        let hkdf = HkdfUsingHmac(&HmacSm3);
        let mac = |key: &[u8], parts: &[&[u8]]| {
            let mut mac = hmac_sm3(key);
            parts.iter().for_each(|p| mac.update(p));
            <[u8; 32]>::from(mac.finalize().into_bytes())
        };
        let prk = mac(b"salt", &[b"input"]);
        let t1 = mac(&prk, &[b"info", &[1]]);
        let t2 = mac(&prk, &[&t1, b"info", &[2]]);
        let mut out = [0u8; 50];
        let expander = hkdf.extract_from_secret(Some(b"salt"), b"input");
        expander.expand_slice(&[b"in", b"fo"], &mut out).unwrap();
        assert_eq!(out[..32], t1);
        assert_eq!(out[32..], t2[..18]);
    }
}
