//! Which module, which token, which PIN, and what the vendor's SM2 looks like.

use crate::error::Pkcs11Error;
use hsm_api::backend::Limits;
use std::{ffi::c_ulong, path::PathBuf};

/// CKM_VENDOR_DEFINED: numbers from here on belong to vendors.
const VENDOR: c_ulong = 0x8000_0000;
/// CKM_EC_KEY_PAIR_GEN: some vendors make SM2 keys with it, by the curve's parameters.
pub(crate) const EC_KEY_PAIR_GEN: c_ulong = 0x1040;
/// SM2's object identifier 1.2.156.10197.1.301 in DER.
const SM2_CURVE: [u8; 10] = [0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d];
/// CKK_EC.
const KEY_TYPE_EC: c_ulong = 3;

/// How a token is found among those the module shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenName {
    /// CKA token label: what the operator gave it
    Label(String),
    /// serial number: what its maker gave it
    Serial(String),
}

impl std::fmt::Display for TokenName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Label(l) => write!(f, "token labelled `{l}`"),
            Self::Serial(s) => write!(f, "token with serial number `{s}`"),
        }
    }
}

/// The vendor's numbers for SM2. The token gets the 32-byte e = SM3(Z ‖ M) and answers r ‖ s, 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sm2Mechanisms {
    /// CKM_… that signs e without hashing it; 0x80000000 or above
    pub sign: c_ulong,
    /// CKM_… that makes a key pair; 0x80000000 or above, or 0x1040 (CKM_EC_KEY_PAIR_GEN)
    pub generate: c_ulong,
    /// CKK_… of SM2 keys; 3 (CKK_EC), or 0x80000000 or above
    pub key_type: c_ulong,
    /// CKA_EC_PARAMS in DER; [`Sm2Mechanisms::default_curve`] unless the vendor says otherwise
    pub curve: Vec<u8>,
}

impl Sm2Mechanisms {
    /// The curve by its object identifier, keys of type CKK_EC.
    pub fn new(sign: c_ulong, generate: c_ulong) -> Self {
        Self { sign, generate, key_type: KEY_TYPE_EC, curve: Self::default_curve() }
    }
    /// 1.2.156.10197.1.301, the curve of GB/T 32918.5, as a named curve.
    pub fn default_curve() -> Vec<u8> {
        SM2_CURVE.to_vec()
    }
}

/// How a PKCS#11 keystore is reached and used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Options {
    /// the vendor's shared library
    pub module: PathBuf,
    /// the token in it
    pub token: TokenName,
    /// a file of mode 600 whose first line is the user PIN
    pub pin_file: PathBuf,
    /// sessions and waiting; the token's own limit of sessions must not be below
    pub limits: Limits,
    /// log in although a wrong PIN was given before; for one start, after the PIN file was corrected
    pub login_after_wrong_pin: bool,
    /// none: SM2 is refused
    pub sm2: Option<Sm2Mechanisms>,
}

impl Pkcs11Options {
    /// With the default limits, and without SM2.
    pub fn new(module: PathBuf, token: TokenName, pin_file: PathBuf) -> Self {
        Self { module, token, pin_file, limits: Limits::default(), login_after_wrong_pin: false, sm2: None }
    }

    /// What cannot be meant.
    pub(crate) fn check(&self) -> Result<(), Pkcs11Error> {
        let wrong = |what: String| Err(Pkcs11Error::Options { what });
        if !(1..=64).contains(&self.limits.sessions) {
            return wrong(format!("{} sessions; 1 to 64 are possible", self.limits.sessions));
        }
        let (TokenName::Label(name) | TokenName::Serial(name)) = &self.token;
        if name.trim().is_empty() || name.len() > 32 {
            return wrong("a token's label or serial number has 1 to 32 bytes".to_owned());
        }
        let Some(sm2) = &self.sm2 else { return Ok(()) };
        if sm2.sign < VENDOR {
            return wrong(format!(
                "SM2 signing mechanism {:#x} is not a vendor's (0x80000000 or above)",
                sm2.sign
            ));
        }
        if sm2.generate < VENDOR && sm2.generate != EC_KEY_PAIR_GEN {
            return wrong(format!("SM2 key mechanism {:#x} is neither a vendor's nor 0x1040", sm2.generate));
        }
        if sm2.key_type < VENDOR && sm2.key_type != KEY_TYPE_EC {
            return wrong(format!("SM2 key type {:#x} is neither a vendor's nor 3 (CKK_EC)", sm2.key_type));
        }
        if sm2.curve.is_empty() || sm2.curve.len() > 1024 {
            return wrong("SM2 curve parameters are empty or longer than 1,024 bytes".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Pkcs11Options {
        Pkcs11Options::new("m.so".into(), TokenName::Label("t".into()), "pin".into())
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        options().check().unwrap();
        let sm2 = Sm2Mechanisms::new(VENDOR + 1, EC_KEY_PAIR_GEN);
        Pkcs11Options { sm2: Some(sm2.clone()), ..options() }.check().unwrap();
        for bad in [
            Pkcs11Options { limits: Limits { sessions: 0, ..Limits::default() }, ..options() },
            Pkcs11Options { limits: Limits { sessions: 65, ..Limits::default() }, ..options() },
            Pkcs11Options { token: TokenName::Label(" ".into()), ..options() },
            Pkcs11Options { token: TokenName::Serial("x".repeat(33)), ..options() },
            Pkcs11Options { sm2: Some(Sm2Mechanisms { sign: 0x1041, ..sm2.clone() }), ..options() },
            Pkcs11Options { sm2: Some(Sm2Mechanisms { generate: 0x1041, ..sm2.clone() }), ..options() },
            Pkcs11Options { sm2: Some(Sm2Mechanisms { key_type: 0, ..sm2.clone() }), ..options() },
            Pkcs11Options { sm2: Some(Sm2Mechanisms { curve: Vec::new(), ..sm2.clone() }), ..options() },
        ] {
            assert!(matches!(bad.check(), Err(Pkcs11Error::Options { .. })), "{bad:?}");
        }
    }
}
