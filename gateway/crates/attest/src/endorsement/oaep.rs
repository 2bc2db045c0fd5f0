//! A seed for an RSA key: OAEP with the label IDENTITY (TPM 2.0 part 1, annex B.4 and B.10.4).
//!
//! Only the public operation of the crate `rsa` is used here: what is known of its private one (RUSTSEC-2023-0071)
//! is no matter of a verifier's, which has no RSA key.

use super::CredentialError;
use ring::rand::{SecureRandom as _, SystemRandom};
use rsa::{
    PublicKey,
    oaep::EncryptingKey,
    pkcs1::DecodeRsaPublicKey as _,
    rand_core::{TryCryptoRng, TryRng},
    traits::{PublicKeyParts as _, RandomizedEncryptor as _},
};
use zeroize::Zeroizing;

/// The hash's length of both templates.
const SEED_BYTES: usize = 32;
/// Part 1, B.4: the terminating zero belongs to it.
const LABEL: &[u8] = b"IDENTITY\0";
/// Of every template: TPM2's default exponent.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// Whether an RSAPublicKey is one that the templates make: 2048 bits, exponent 65537, nothing behind it.
pub(super) fn is_2048(public: &[u8]) -> bool {
    PublicKey::from_pkcs1_der(public).is_ok_and(|key| {
        let exponent = key.e().to_be_bytes();
        let exponent = exponent.iter().skip_while(|b| **b == 0);
        exponent.eq(EXPONENT.iter()) && key.n().bit_width() == 2048
    })
}

/// A fresh seed, and the ciphertext that only the chip opens.
pub(super) fn seed(public: &[u8]) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), CredentialError> {
    let key = PublicKey::from_pkcs1_der(public).map_err(|_| CredentialError::Point)?;
    let mut seed = Zeroizing::new(vec![0; SEED_BYTES]);
    System(SystemRandom::new()).try_fill_bytes(&mut seed).map_err(|_| CredentialError::Randomness)?;
    let key = EncryptingKey::<sha2::Sha256>::new_with_label(key, LABEL);
    let secret = key.encrypt_with_rng(&mut System(SystemRandom::new()), &seed);
    Ok((seed, secret.map_err(|_| CredentialError::Point)?))
}

/// The system's randomness, as `rsa` asks for it.
struct System(SystemRandom);

#[derive(Debug, thiserror::Error)]
#[error("the system gives no randomness")]
struct NoRandomness;

impl TryRng for System {
    type Error = NoRandomness;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(dst).map_err(|_| NoRandomness)
    }
}

impl TryCryptoRng for System {}
