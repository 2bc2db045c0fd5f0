//! SM2 as webpki verifies with it, and a memory of signatures that held.

use super::{CertError, names};
use crate::sig;
use gw_proto::{Hex, PublicKey, Scheme};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use std::{collections::HashSet, sync::Mutex};

/// `id-ecPublicKey, curve SM2`: content of the AlgorithmIdentifier without its SEQUENCE header.
const SM2_KEY: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, // 1.2.840.10045.2.1
    0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d, // 1.2.156.10197.1.301
]);
/// SM2 with SM3, 1.2.156.10197.1.501, parameters absent.
const SM2_SIGNATURE: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(&[0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x75]);
/// The same with NULL, which some CAs write.
const SM2_SIGNATURE_NULL: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x75, 0x05, 0x00,
]);

/// Verifies SM2 signatures made under one identifier (GB/T 32918.2 §5.5).
#[derive(Debug)]
pub struct Sm2Sm3 {
    id: &'static str,
    signature: AlgorithmIdentifier,
}

impl Sm2Sm3 {
    /// For signatures under `id` where the algorithm's parameters are absent.
    pub const fn with_id(id: &'static str) -> Self {
        Self { id, signature: SM2_SIGNATURE }
    }
}

/// What certificates of a curve may be signed with; None = either curve.
pub(super) fn algorithms(curve: Option<Scheme>) -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    // GM/T 0015 and RFC 8998 §3.2.1: certificates use the default identifier
    static ABSENT: Sm2Sm3 = Sm2Sm3 { id: sig::DEFAULT_ID, signature: SM2_SIGNATURE };
    static NULL: Sm2Sm3 = Sm2Sm3 { id: sig::DEFAULT_ID, signature: SM2_SIGNATURE_NULL };
    static ALL: [&dyn SignatureVerificationAlgorithm; 3] = [&ABSENT, &NULL, webpki::ring::ECDSA_P256_SHA256];
    let (sm, international) = ALL.split_at(2);
    match curve {
        Some(Scheme::Sm2Sm3) => sm,
        Some(Scheme::EcdsaP256Sha256) => international,
        None => &ALL,
    }
}

impl SignatureVerificationAlgorithm for Sm2Sm3 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let Some((4, point)) = public_key.split_first() else { return Err(InvalidSignature) };
        let point = point.try_into().map_err(|_| InvalidSignature)?;
        let key = PublicKey { scheme: Scheme::Sm2Sm3, point: Hex(point) };
        let signature = names::signature_from_der(signature).ok_or(InvalidSignature)?;
        let digest = sig::sm2_message_digest(&key, self.id, message).map_err(|_| InvalidSignature)?;
        sig::verify_digest(&key, &digest, &signature).map_err(|_| InvalidSignature)
    }
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        SM2_KEY
    }
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

/// Remembers which (key, message, signature) held, so that the same CA certificate or revocation list costs one
/// verification, not one per handshake. Only successes are kept; bounded; the older half goes first.
#[derive(Debug)]
pub struct SignatureCache {
    capacity: usize,
    generations: Mutex<[HashSet<[u8; 32]>; 2]>,
}

impl SignatureCache {
    /// Keeps at most `capacity` results.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, generations: Mutex::default() }
    }

    /// The digest of everything that decides the result, each part behind its length.
    fn key(parts: &[&[u8]]) -> [u8; 32] {
        let mut all = Vec::with_capacity(parts.iter().map(|p| p.len() + 8).sum());
        for part in parts {
            all.extend_from_slice(&(part.len() as u64).to_be_bytes());
            all.extend_from_slice(part);
        }
        gw_proto::sm3(&all).0
    }

    /// Runs `verify` unless it held before for the same parts.
    pub(super) fn check<E>(&self, parts: &[&[u8]], verify: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let key = Self::key(parts);
        if self.contains(&key) {
            return Ok(());
        }
        verify()?;
        self.insert(key);
        Ok(())
    }

    fn contains(&self, key: &[u8; 32]) -> bool {
        // a poisoned lock costs a verification, nothing else
        self.generations.lock().is_ok_and(|g| g.iter().any(|set| set.contains(key)))
    }

    fn insert(&self, key: [u8; 32]) {
        let Ok(mut generations) = self.generations.lock() else { return };
        let [young, old] = &mut *generations;
        if young.len() >= self.capacity / 2 {
            *old = std::mem::take(young);
        }
        if self.capacity >= 2 {
            young.insert(key);
        }
    }

    /// How many results it holds.
    pub fn len(&self) -> usize {
        self.generations.lock().map_or(0, |g| g.iter().map(HashSet::len).sum())
    }

    /// Nothing kept yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An algorithm in front of a cache.
#[derive(Debug)]
pub(super) struct Cached<'a> {
    pub(super) inner: &'static dyn SignatureVerificationAlgorithm,
    pub(super) cache: &'a SignatureCache,
}

impl SignatureVerificationAlgorithm for Cached<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let (key_id, signature_id) = (self.inner.public_key_alg_id(), self.inner.signature_alg_id());
        let parts: &[&[u8]] = &[&key_id, &signature_id, public_key, message, signature];
        self.cache.check(parts, || self.inner.verify_signature(public_key, message, signature))
    }
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }
}

/// Checks signed bytes under a key, through a cache when there is one.
pub(super) fn verify_signed(
    signed: &super::parse::Signed,
    key: &PublicKey,
    cache: Option<&SignatureCache>,
) -> Result<(), CertError> {
    let (Some(cache), Some(signature)) = (cache, &signed.signature) else { return signed.verify(key) };
    let scheme: &[u8] = match signed.scheme {
        Scheme::Sm2Sm3 => b"own sm2",
        Scheme::EcdsaP256Sha256 => b"own p256",
    };
    cache.check(&[scheme, &key.point.0, &signed.digest.0, &signature.0], || signed.verify(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_successes_only_and_stays_bounded() {
        let cache = SignatureCache::new(8);
        assert_eq!(cache.check(&[b"a", b"b"], || Err(())), Err(()));
        assert!(cache.is_empty(), "a failure must not be remembered");
        for i in 0..100u8 {
            cache.check::<()>(&[b"k", &[i]], || Ok(())).unwrap();
            assert!(cache.len() <= 8, "{} kept", cache.len());
        }
        // the newest is there, the parts' borders count
        cache.check(&[b"k", &[99]], || Err("verified again")).unwrap();
        assert!(cache.check(&[b"kc"], || Err(())).is_err());
        assert!(cache.check(&[b"", b"k", &[99]], || Err(())).is_err());
    }
}
