//! Signatures on messages: SM2 with SM3, ECDSA P-256 with SHA-256, one interface.

use gw_proto::{Hex, PublicKey, Scheme, Signature};
use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use sha2::Digest as _;
use zeroize::Zeroizing;

/// The signer's identifier of GB/T 32918.2 for messages and certificates (GM/T 0009).
pub const DEFAULT_ID: &str = "1234567812345678";

/// Why a signature or a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigError {
    /// The point is not on the curve, or is the identity.
    #[error("public key is not a point of the curve")]
    BadKey,
    /// r or s out of range, or the equation does not hold.
    #[error("signature does not verify")]
    BadSignature,
    /// The private scalar is zero or not below the group order.
    #[error("private key out of range")]
    BadSecret,
}

fn sec1(point: &Hex<64>) -> [u8; 65] {
    let mut out = [4u8; 65];
    out[1..].copy_from_slice(&point.0);
    out
}

fn sm2_key(key: &PublicKey, id: &str) -> Result<sm2::dsa::VerifyingKey, SigError> {
    sm2::dsa::VerifyingKey::from_sec1_bytes(id, &sec1(&key.point)).map_err(|_| SigError::BadKey)
}

fn p256_key(key: &PublicKey) -> Result<p256::ecdsa::VerifyingKey, SigError> {
    p256::ecdsa::VerifyingKey::from_sec1_bytes(&sec1(&key.point)).map_err(|_| SigError::BadKey)
}

/// Checks that a public key is a point of its curve.
pub fn check_key(key: &PublicKey) -> Result<(), SigError> {
    match key.scheme {
        Scheme::Sm2Sm3 => sm2_key(key, DEFAULT_ID).map(drop),
        Scheme::EcdsaP256Sha256 => p256_key(key).map(drop),
    }
}

/// The 32 bytes that a signer signs: e = SM3(Z ‖ M) for SM2, SHA-256(M) for P-256.
pub fn message_digest(key: &PublicKey, message: &[u8]) -> Result<[u8; 32], SigError> {
    match key.scheme {
        Scheme::Sm2Sm3 => sm2_message_digest(key, DEFAULT_ID, message),
        Scheme::EcdsaP256Sha256 => Ok(sha2::Sha256::digest(message).into()),
    }
}

/// e = SM3(Z ‖ M) of GB/T 32918.2 §5.5 under another identifier (RFC 8998 §3.2.1 needs one).
pub fn sm2_message_digest(key: &PublicKey, id: &str, message: &[u8]) -> Result<[u8; 32], SigError> {
    // Z = SM3(ENTL ‖ ID ‖ a ‖ b ‖ xG ‖ yG ‖ xA ‖ yA), GB/T 32918.5 for the curve's constants
    const CURVE: &str = "fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc\
                         28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93\
                         32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7\
                         bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0";
    sm2_key(key, id)?;
    let bits = u16::try_from(id.len() * 8).map_err(|_| SigError::BadKey)?;
    let constants = Hex::<128>::parse(CURVE).map_err(|_| SigError::BadKey)?;
    let mut z = bits.to_be_bytes().to_vec();
    z.extend_from_slice(id.as_bytes());
    z.extend_from_slice(&constants.0);
    z.extend_from_slice(&key.point.0);
    let mut m = gw_proto::sm3(&z).0.to_vec();
    m.extend_from_slice(message);
    Ok(gw_proto::sm3(&m).0)
}

/// Checks a signature over a message.
pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), SigError> {
    let digest = message_digest(key, message)?;
    verify_digest(key, &digest, signature)
}

/// Checks a signature over the digest that [`message_digest`] gives.
pub fn verify_digest(key: &PublicKey, digest: &[u8; 32], signature: &Signature) -> Result<(), SigError> {
    match key.scheme {
        Scheme::Sm2Sm3 => {
            let sig = sm2::dsa::Signature::from_slice(&signature.0).map_err(|_| SigError::BadSignature)?;
            sm2_key(key, DEFAULT_ID)?.verify_prehash(digest, &sig).map_err(|_| SigError::BadSignature)
        }
        Scheme::EcdsaP256Sha256 => {
            let sig = p256::ecdsa::Signature::from_slice(&signature.0).map_err(|_| SigError::BadSignature)?;
            p256_key(key)?.verify_prehash(digest, &sig).map_err(|_| SigError::BadSignature)
        }
    }
}

/// A key pair in memory: TLS keys, enterprises in tests, the development keystore. Zeroed on drop.
pub struct KeyPair {
    secret: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl KeyPair {
    /// From a private scalar, big-endian.
    pub fn from_secret(scheme: Scheme, secret: [u8; 32]) -> Result<Self, SigError> {
        let secret = Zeroizing::new(secret);
        let mut point = [0u8; 64];
        match scheme {
            Scheme::Sm2Sm3 => {
                let k = sm2::SecretKey::from_slice(&*secret).map_err(|_| SigError::BadSecret)?;
                let sec1 = sm2::elliptic_curve::sec1::ToSec1Point::to_sec1_point(&k.public_key(), false);
                point.copy_from_slice(sec1.as_bytes().get(1..65).ok_or(SigError::BadSecret)?);
            }
            Scheme::EcdsaP256Sha256 => {
                let k = p256::SecretKey::from_slice(&*secret).map_err(|_| SigError::BadSecret)?;
                let sec1 = p256::elliptic_curve::sec1::ToSec1Point::to_sec1_point(&k.public_key(), false);
                point.copy_from_slice(sec1.as_bytes().get(1..65).ok_or(SigError::BadSecret)?);
            }
        }
        Ok(Self { secret, public: PublicKey { scheme, point: Hex(point) } })
    }
    /// A fresh key from `fill`, which gives random bytes.
    pub fn generate<E>(scheme: Scheme, mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Zeroizing::new([0u8; 32]);
        loop {
            fill(&mut *secret)?;
            // fails with probability below 2^-31 per try
            if let Ok(k) = Self::from_secret(scheme, *secret) {
                return Ok(k);
            }
        }
    }
    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }
    /// The private scalar, for sealing into a keystore only.
    pub fn secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.secret
    }
    /// Signs a digest.
    pub fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, SigError> {
        let bytes = match self.public.scheme {
            Scheme::Sm2Sm3 => {
                let k = sm2::dsa::SigningKey::from_slice(DEFAULT_ID, &*self.secret)
                    .map_err(|_| SigError::BadSecret)?;
                let s: sm2::dsa::Signature = k.sign_prehash(digest).map_err(|_| SigError::BadSecret)?;
                <[u8; 64]>::from(s.to_bytes())
            }
            Scheme::EcdsaP256Sha256 => {
                let k =
                    p256::ecdsa::SigningKey::from_slice(&*self.secret).map_err(|_| SigError::BadSecret)?;
                let s: p256::ecdsa::Signature = k.sign_prehash(digest).map_err(|_| SigError::BadSecret)?;
                s.to_bytes().into()
            }
        };
        Ok(Hex(bytes))
    }
    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, SigError> {
        self.sign_digest(&message_digest(&self.public, message)?)
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPair(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_sign_and_refuse() {
        for scheme in [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256] {
            let k = KeyPair::from_secret(scheme, [7; 32]).unwrap();
            let s = k.sign(b"message").unwrap();
            verify(k.public_key(), b"message", &s).unwrap();
            assert_eq!(verify(k.public_key(), b"Message", &s), Err(SigError::BadSignature));
            let other = KeyPair::from_secret(scheme, [8; 32]).unwrap();
            assert_eq!(verify(other.public_key(), b"message", &s), Err(SigError::BadSignature));
            let mut off = *k.public_key();
            off.point.0[63] ^= 1;
            assert_eq!(verify(&off, b"message", &s), Err(SigError::BadKey));
        }
        assert!(KeyPair::from_secret(Scheme::Sm2Sm3, [0; 32]).is_err());
        assert!(KeyPair::from_secret(Scheme::Sm2Sm3, [0xff; 32]).is_err());
    }

    /// A real sealer's signature: FISCO BCOS 3.3, block 2 (tests/fixtures/fisco).
    #[test]
    fn a_real_fisco_signature() {
        let key = PublicKey {
            scheme: Scheme::Sm2Sm3,
            point: Hex::parse("0055dcaf073a332aa1ad90ff53ef028680d24f9bf2fcbc07ec4bbd4879413f75118a570bcf8001c4526fdb8c1319e51ae63444431ec8ab839465c05e178e7c49").unwrap(),
        };
        let hash =
            Hex::<32>::parse("2fbafbf71395bb07d1d6e142a06fa3cd9436aee3e91b5b9e6ffc5c47133c3738").unwrap();
        let sig = Hex::parse("bc1c559adb2723b31b6f75d4f7bd06b204563d238ebc53774b0a621d586482573ae320a6dcca9bd03a2a6af0d8c368cdd660c56b27c8af0c154947f3e6252074").unwrap();
        verify(&key, &hash.0, &sig).unwrap();
    }
}
