//! A challenge that only the certified chip with a given attestation key can answer: TPM2_MakeCredential in software.
//!
//! TPM 2.0 part 1, §24 (credential protection), annex C.6 (its seed by ECDH) and B.10.4 (by RSA), §11.4.10 (KDFa, KDFe). The key's
//! template (profile 2.5, L-1, L-2, H-1 or H-3) gives hash and cipher, so nothing of them is taken from the box.

use super::{Curve, EndorsementKey, oaep};
use aes::{Aes128, Aes256};
use cfb_mode::{BufEncryptor, cipher::KeyIvInit as _};
use ring::{
    agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    digest, hmac,
    rand::SystemRandom,
};
use zeroize::Zeroizing;

/// TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, both without their sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// integrity and encrypted credential
    pub blob: Vec<u8>,
    /// the ephemeral point, or the seed under the RSA key
    pub secret: Vec<u8>,
}

/// Why no credential was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The certified point is none of its curve, or the modulus none that can be used.
    #[error("the endorsement key's point is not on its curve, or its RSA key cannot be used")]
    Point,
    /// The name or the credential is longer than any.
    #[error("a name or credential of more than 64 bytes")]
    Length,
    /// The system gave no randomness.
    #[error("no randomness for an ephemeral key")]
    Randomness,
}

/// Hash and cipher of a template.
struct Suite {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    cipher_bits: u32,
}

fn suite(key: &EndorsementKey) -> Suite {
    match key {
        EndorsementKey::Rsa2048 { .. } | EndorsementKey::Ecc { curve: Curve::P256, .. } => {
            Suite { digest: &digest::SHA256, hmac: hmac::HMAC_SHA256, cipher_bits: 128 }
        }
        EndorsementKey::Ecc { curve: Curve::P384, .. } => {
            Suite { digest: &digest::SHA384, hmac: hmac::HMAC_SHA384, cipher_bits: 256 }
        }
    }
}

/// Seals a credential to an endorsement key and the name of an attestation key. Draws an ephemeral key.
pub fn make_credential(
    key: &EndorsementKey,
    name: &[u8],
    credential: &[u8],
) -> Result<Sealed, CredentialError> {
    if name.len() > 64 || credential.len() > 64 {
        return Err(CredentialError::Length);
    }
    let suite = suite(key);
    let (seed, secret) = match key {
        EndorsementKey::Ecc { curve, point } => exchange(&suite, *curve, point)?,
        EndorsementKey::Rsa2048 { public } => oaep::seed(public)?,
    };
    let bits = bits_of(suite.digest);
    let cipher_key = kdfa(&suite, &seed, b"STORAGE", name, suite.cipher_bits);
    let mut identity = Zeroizing::new(sized(credential));
    encrypt(&cipher_key, &mut identity);
    let integrity_key = kdfa(&suite, &seed, b"INTEGRITY", &[], bits);
    let integrity_key = hmac::Key::new(suite.hmac, &integrity_key);
    let integrity = hmac::sign(&integrity_key, &[&identity, name].concat());
    Ok(Sealed { blob: [&sized(integrity.as_ref())[..], &identity].concat(), secret })
}

/// The seed, and the ephemeral point that the chip finds it by.
fn exchange(
    suite: &Suite,
    curve: Curve,
    theirs: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), CredentialError> {
    let agreement = match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
    };
    let random = SystemRandom::new();
    let ours = EphemeralPrivateKey::generate(agreement, &random).map_err(|_| CredentialError::Randomness)?;
    let public = ours.compute_public_key().map_err(|_| CredentialError::Randomness)?;
    let point = public.as_ref().get(1..).unwrap_or_default();
    let (x, y) = point.split_at(point.len() / 2);
    let (their_x, _) = theirs.split_at(theirs.len() / 2);
    let theirs = UnparsedPublicKey::new(agreement, [&[4], theirs].concat());
    let seed = agree_ephemeral(ours, &theirs, |shared| kdfe(suite, shared, x, their_x));
    let seed = seed.map_err(|_| CredentialError::Point)?;
    Ok((seed, [sized(x), sized(y)].concat()))
}

/// TPM2B.
fn sized(bytes: &[u8]) -> Vec<u8> {
    // at most 64 bytes come in here
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&size.to_be_bytes()[..], bytes].concat()
}

fn bits_of(digest: &digest::Algorithm) -> u32 {
    u32::try_from(digest.output_len() * 8).unwrap_or(u32::MAX)
}

/// KDFe with the label IDENTITY, for as many bits as the hash has: one round.
fn kdfe(suite: &Suite, shared: &[u8], ours: &[u8], theirs: &[u8]) -> Zeroizing<Vec<u8>> {
    let input = Zeroizing::new([&1u32.to_be_bytes()[..], shared, b"IDENTITY\0", ours, theirs].concat());
    Zeroizing::new(digest::digest(suite.digest, &input).as_ref().to_vec())
}

/// KDFa with an empty second context, for at most as many bits as the hash has: one round.
fn kdfa(suite: &Suite, seed: &[u8], label: &[u8], context: &[u8], bits: u32) -> Zeroizing<Vec<u8>> {
    let input = [&1u32.to_be_bytes()[..], label, &[0], context, &bits.to_be_bytes()].concat();
    let tag = hmac::sign(&hmac::Key::new(suite.hmac, seed), &input);
    let length = usize::try_from(bits / 8).unwrap_or(usize::MAX);
    Zeroizing::new(tag.as_ref().iter().take(length).copied().collect())
}

/// AES in CFB mode with an initialization vector of zeros.
fn encrypt(key: &[u8], data: &mut [u8]) {
    let zeros = [0u8; 16];
    if let Ok(key) = <[u8; 16]>::try_from(key) {
        BufEncryptor::<Aes128>::new(&key.into(), &zeros.into()).encrypt(data);
    } else if let Ok(key) = <[u8; 32]>::try_from(key) {
        BufEncryptor::<Aes256>::new(&key.into(), &zeros.into()).encrypt(data);
    }
}
