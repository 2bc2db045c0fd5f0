//! Known answers, tried each time a keystore is opened. If one is wrong the keystore stays closed.

use crate::{Entropy, HsmError};
use gw_proto::{Hex, PublicKey, Scheme, Signature};
use gw_sm::KeyPair;
use sm4::{
    Sm4,
    cipher::{Block, BlockCipherEncrypt as _, KeyInit as _},
};

/// Why a keystore stays closed.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// A known answer came out wrong: this program or this machine computes wrongly.
    #[error("the self test failed ({what}); do not use this machine, and reinstall the program")]
    WrongAnswer {
        /// which
        what: &'static str,
    },
    /// No random bytes.
    #[error("no random bytes")]
    Entropy {
        /// what the source says
        source: HsmError,
    },
}

impl From<SelfTestError> for HsmError {
    fn from(e: SelfTestError) -> Self {
        match e {
            SelfTestError::WrongAnswer { .. } => Self::Closed(e.to_string()),
            SelfTestError::Entropy { source } => Self::Closed(format!("no random bytes: {source}")),
        }
    }
}

/// A signature that others made, and a message it covers.
#[derive(Debug, Clone)]
pub struct KnownSignature {
    /// scheme and x ‖ y
    pub scheme: Scheme,
    /// 128 hex digits
    pub point: String,
    /// what is signed
    pub message: String,
    /// r ‖ s, 128 hex digits
    pub signature: String,
}

/// What must come out. A parameter, so that a test can show that each wrong answer is noticed.
#[derive(Debug, Clone)]
pub struct Vectors {
    /// SM3 of `abc`
    pub sm3_abc: String,
    /// SM4 of the standard's block under the same bytes as key
    pub sm4_block: String,
    /// must verify
    pub signatures: Vec<KnownSignature>,
}

impl Vectors {
    /// The standards' own.
    pub fn standard() -> Self {
        Self {
            // GB/T 32905-2016 appendix A.1
            sm3_abc: "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0".to_owned(),
            // GB/T 32907-2016 appendix A.1
            sm4_block: "681edf34d206965e86b3e94f536e4246".to_owned(),
            signatures: vec![
                // GB/T 32918.5-2017 appendix A.2, identifier 1234567812345678
                KnownSignature {
                    scheme: Scheme::Sm2Sm3,
                    point: "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020\
                            ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
                        .to_owned(),
                    message: "message digest".to_owned(),
                    signature: "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3\
                                b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
                        .to_owned(),
                },
                // RFC 6979 appendix A.2.5, SHA-256, message "sample"
                KnownSignature {
                    scheme: Scheme::EcdsaP256Sha256,
                    point: "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6\
                            7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
                        .to_owned(),
                    message: "sample".to_owned(),
                    signature: "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
                                f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
                        .to_owned(),
                },
            ],
        }
    }
}

/// Runs all known answers, a signature of each scheme there and back, and two draws of randomness.
pub fn run(vectors: &Vectors, entropy: &dyn Entropy) -> Result<(), SelfTestError> {
    let ensure = |holds: bool, what| if holds { Ok(()) } else { Err(SelfTestError::WrongAnswer { what }) };
    ensure(gw_proto::sm3(b"abc").to_string() == vectors.sm3_abc, "SM3 of a known text")?;
    ensure(sm4_of_the_standard() == vectors.sm4_block, "SM4 of a known block")?;
    for known in &vectors.signatures {
        ensure(verifies(known) == Some(true), "a known signature")?;
        let changed = KnownSignature { message: format!("{}!", known.message), ..known.clone() };
        ensure(verifies(&changed) == Some(false), "a known signature on another message")?;
    }
    for scheme in [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256] {
        ensure(signs_and_verifies(scheme) == Some(true), "signing and verifying")?;
    }
    ensure(draws_differ(entropy)?, "two draws of random bytes")
}

fn sm4_of_the_standard() -> String {
    const TEXT: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10";
    let mut block = Block::<Sm4>::from(TEXT);
    Sm4::new(&TEXT.into()).encrypt_block(&mut block);
    Hex::<16>(block.into()).to_string()
}

/// None if a value has not the right form.
fn verifies(known: &KnownSignature) -> Option<bool> {
    let key = PublicKey { scheme: known.scheme, point: Hex::parse(&known.point).ok()? };
    let signature: Signature = Hex::parse(&known.signature).ok()?;
    Some(gw_sm::verify(&key, known.message.as_bytes(), &signature).is_ok())
}

fn signs_and_verifies(scheme: Scheme) -> Option<bool> {
    let key = KeyPair::from_secret(scheme, [0x5a; 32]).ok()?;
    let good = key.sign(b"self test").ok()?;
    let mut bad = good;
    if let Some(last) = bad.0.last_mut() {
        *last ^= 1;
    }
    let accepts = |signature| gw_sm::verify(key.public_key(), b"self test", signature).is_ok();
    Some(accepts(&good) && !accepts(&bad))
}

fn draws_differ(entropy: &dyn Entropy) -> Result<bool, SelfTestError> {
    let (mut a, mut b) = ([0u8; 32], [0u8; 32]);
    for out in [&mut a, &mut b] {
        entropy.fill(out).map_err(|source| SelfTestError::Entropy { source })?;
    }
    Ok(a != b && a != [0; 32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsEntropy;

    #[test]
    fn the_standards_answers_come_out() {
        run(&Vectors::standard(), &OsEntropy).unwrap();
    }

    fn fails(vectors: &Vectors, entropy: &dyn Entropy, with: &str) {
        let e = run(vectors, entropy).unwrap_err();
        assert!(matches!(e, SelfTestError::WrongAnswer { what } if what == with), "{e}");
        assert!(matches!(HsmError::from(e), HsmError::Closed(_)));
    }

    #[test]
    fn each_wrong_answer_closes_it() {
        let mut v = Vectors::standard();
        v.sm3_abc.replace_range(0..1, "0");
        fails(&v, &OsEntropy, "SM3 of a known text");
        let mut v = Vectors::standard();
        v.sm4_block.replace_range(0..1, "0");
        fails(&v, &OsEntropy, "SM4 of a known block");
        for i in 0..2 {
            for spoil in [
                |k: &mut KnownSignature| k.signature.replace_range(127..128, "0"),
                |k: &mut KnownSignature| k.signature.truncate(10),
                |k: &mut KnownSignature| k.message.push('.'),
                |k: &mut KnownSignature| k.point.replace_range(127..128, "0"),
            ] {
                let mut v = Vectors::standard();
                spoil(&mut v.signatures[i]);
                fails(&v, &OsEntropy, "a known signature");
            }
        }
    }

    struct Stuck(u8);
    impl Entropy for Stuck {
        fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
            out.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn randomness_that_repeats_closes_it() {
        for value in [0, 7] {
            fails(&Vectors::standard(), &Stuck(value), "two draws of random bytes");
        }
    }
}
