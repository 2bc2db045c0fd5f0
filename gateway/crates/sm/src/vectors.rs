//! Outside vectors: SM2, SM3, SM4 as the gateway uses them (tests/fixtures/sm/vectors.txt names each source).

use crate::{KeyPair, sig};
use gw_proto::{Hex, PublicKey, Scheme};

const FILE: &str = include_str!("../../../../tests/fixtures/sm/vectors.txt");

/// The bytes of one line.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    let line = FILE.lines().filter(|l| !l.starts_with('#')).find_map(|l| {
        let (key, value) = l.split_once(" = ")?;
        (key == name).then_some(value)
    });
    hex::decode(line.unwrap_or_else(|| panic!("no vector {name}"))).unwrap()
}

pub(crate) fn fixed<const N: usize>(name: &str) -> [u8; N] {
    vector(name).try_into().unwrap()
}

#[test]
fn sm3() {
    assert_eq!(gw_proto::sm3(b"abc").0, fixed("sm3.abc"));
    assert_eq!(gw_proto::sm3(&b"abcd".repeat(16)).0, fixed("sm3.abcd16"));
}

#[test]
fn sm4_one_block_and_a_million() {
    use sm4::{
        Sm4,
        cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _},
    };
    let cipher = Sm4::new_from_slice(&vector("sm4.key")).unwrap();
    let mut block = fixed::<16>("sm4.plain").into();
    cipher.encrypt_block(&mut block);
    assert_eq!(block[..], vector("sm4.cipher"));
    let mut back = block;
    cipher.decrypt_block(&mut back);
    assert_eq!(back[..], vector("sm4.plain"));
    for _ in 1..1_000_000 {
        cipher.encrypt_block(&mut block);
    }
    assert_eq!(block[..], vector("sm4.million"));
}

/// Signing is deterministic here, the standard's example is not: ours is checked by verifying, theirs as it stands.
#[test]
fn sm2_signature() {
    let key = KeyPair::from_secret(Scheme::Sm2Sm3, fixed("sm2.d")).unwrap();
    let point: [u8; 64] = [vector("sm2.x"), vector("sm2.y")].concat().try_into().unwrap();
    assert_eq!(*key.public_key(), PublicKey { scheme: Scheme::Sm2Sm3, point: Hex(point) });
    let digest = sig::message_digest(key.public_key(), b"message digest").unwrap();
    assert_eq!(digest, fixed("sm2.e"));
    let theirs = Hex([vector("sm2.r"), vector("sm2.s")].concat().try_into().unwrap());
    sig::verify(key.public_key(), b"message digest", &theirs).unwrap();
    let ours = key.sign(b"message digest").unwrap();
    sig::verify(key.public_key(), b"message digest", &ours).unwrap();
    // the identifier is part of it
    let other = sig::sm2_message_digest(key.public_key(), "ALICE123@YAHOO.COM", b"message digest").unwrap();
    assert!(sig::verify_digest(key.public_key(), &other, &theirs).is_err());
    // r and s in their range, no other form
    for (place, value) in [(0, [0; 32]), (0, [0xff; 32]), (32, [0; 32]), (32, [0xff; 32])] {
        let mut bad = theirs;
        bad.0[place..place + 32].copy_from_slice(&value);
        assert!(sig::verify(key.public_key(), b"message digest", &bad).is_err());
    }
}

#[test]
fn sm2_public_keys() {
    for (secret, point) in
        [("kx.da", "kx.pa"), ("kx.ra_secret", "kx.ra"), ("kx.db", "kx.pb"), ("kx.rb_secret", "kx.rb")]
    {
        let key = KeyPair::from_secret(Scheme::Sm2Sm3, fixed(secret)).unwrap();
        assert_eq!(key.public_key().point.0, fixed(point), "{secret}");
    }
}
