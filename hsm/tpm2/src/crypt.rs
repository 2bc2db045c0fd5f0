//! The few functions that sessions need: HMAC, KDFa, KDFe, CFB (TPM 2.0 part 1, 11.4 and 21).

use aes::Aes128;
use cfb_mode::{BufDecryptor, BufEncryptor, cipher::KeyIvInit as _};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// SHA-256 of the parts.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut h = Sha256::new();
    parts.iter().for_each(|p| h.update(p));
    h.finalize().into()
}

/// HMAC-SHA-256 of the parts; a key of any length.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    // HMAC takes keys of every length (RFC 2104): the error cannot come up, zeros would not verify
    let Ok(mut mac) = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key) else {
        return Zeroizing::new([0; 32]);
    };
    parts.iter().for_each(|p| mac.update(p));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Whether two MACs are equal, in constant time.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// KDFa for 256 bits (SP 800-108 in counter mode; part 1, 11.4.10.2): one block of HMAC-SHA-256.
pub(crate) fn kdf_a(key: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> Zeroizing<[u8; 32]> {
    hmac_sha256(key, &[&1u32.to_be_bytes(), label, &[0], u, v, &256u32.to_be_bytes()])
}

/// KDFe for 256 bits (SP 800-56A; part 1, 11.4.10.3): one block of SHA-256.
pub(crate) fn kdf_e(z: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(sha256(&[&1u32.to_be_bytes(), z, label, &[0], u, v]))
}

/// Which way a parameter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToChip,
    FromChip,
}

/// Encrypts or decrypts a parameter in place with AES-128-CFB (part 1, 21.3). `key` is the session key and
/// the authorization value; the newer nonce comes first.
pub(crate) fn parameter(way: Way, key: &[u8], newer: &[u8], older: &[u8], data: &mut [u8]) {
    let material = kdf_a(key, b"CFB", newer, older);
    let Some((key, rest)) = material.split_first_chunk::<16>() else { return };
    let Some(iv) = rest.first_chunk::<16>() else { return };
    match way {
        Way::ToChip => BufEncryptor::<Aes128>::new(key.into(), iv.into()).encrypt(data),
        Way::FromChip => BufDecryptor::<Aes128>::new(key.into(), iv.into()).decrypt(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST SP 800-38A F.3.13, first two blocks: the cipher is the standard's.
    #[test]
    fn cfb_is_that_of_sp_800_38a() {
        let key: [u8; 16] = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let iv: [u8; 16] = hex("000102030405060708090a0b0c0d0e0f");
        let mut data: [u8; 32] = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        BufEncryptor::<Aes128>::new(&key.into(), &iv.into()).encrypt(&mut data);
        assert_eq!(data, hex("3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b"));
    }

    /// RFC 4231, case 2.
    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let mac = hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(*mac, hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    }

    #[test]
    fn what_is_encrypted_is_decrypted_only_with_the_same_nonces() {
        let mut data = *b"an authorization value";
        parameter(Way::ToChip, b"key", b"newer", b"older", &mut data);
        assert_ne!(&data, b"an authorization value");
        let mut other = data;
        parameter(Way::FromChip, b"key", b"older", b"newer", &mut other);
        assert_ne!(&other, b"an authorization value");
        parameter(Way::FromChip, b"key", b"newer", b"older", &mut data);
        assert_eq!(&data, b"an authorization value");
    }

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        gw_proto::Hex::<N>::parse(text).unwrap().0
    }
}
