//! The enrolment code: a key's digest, short enough to read over the telephone.
//!
//! 80 bits of the key's id (SM3 over scheme and point) and ten check bits, in 18 characters of Crockford's base 32:
//! `XXXXXX-XXXXXX-XXXXXX`. The code is no secret and guessing one gives nothing: it says *whose* provisioning file counts, as
//! a fingerprint does. To pass another key for it takes some 2^80 trials. The check bits are the number modulo the prime
//! 1021, which finds every single wrong character and every exchange of two neighbours.

use gw_proto::PublicKey;
use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHARACTERS: usize = 18;
const CHECK: u128 = 1021;

/// The code of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(u128);

/// Why a typed code is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Other characters, or another number of them.
    #[error("a code has 18 letters and digits (no I, L, O, U), like 7K3M9Q-0XYZ12-3ABCDE")]
    Form,
    /// The check digits do not fit.
    #[error("one character is wrong, or two are exchanged: the check digits do not fit")]
    Check,
}

impl Code {
    /// The code of a key.
    pub fn of(key: &PublicKey) -> Self {
        let id = key.id().0.0;
        Self(id.iter().take(10).fold(0, |n, byte| (n << 8) | u128::from(*byte)))
    }
    /// As typed: blanks, hyphens and case do not matter; O is 0, I and L are 1.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let mut number: u128 = 0;
        let mut count = 0;
        for c in text.bytes().filter(|c| !matches!(c, b' ' | b'-')) {
            let c = match c.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            let value = ALPHABET.iter().position(|a| *a == c).ok_or(CodeError::Form)?;
            count += 1;
            if count > CHARACTERS {
                return Err(CodeError::Form);
            }
            number = (number << 5) | value as u128;
        }
        if count != CHARACTERS {
            return Err(CodeError::Form);
        }
        let (value, check) = (number >> 10, number & 1023);
        if check == value % CHECK { Ok(Self(value)) } else { Err(CodeError::Check) }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = (self.0 << 10) | (self.0 % CHECK);
        for n in 0..CHARACTERS {
            if n > 0 && n % 6 == 0 {
                f.write_str("-")?;
            }
            let value = (number >> (5 * (CHARACTERS - 1 - n))) & 31;
            let letter = usize::try_from(value).ok().and_then(|v| ALPHABET.get(v)).unwrap_or(&b'0');
            write!(f, "{}", char::from(*letter))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::{Hex, Scheme};
    use proptest::prelude::*;

    fn key(n: u8) -> PublicKey {
        PublicKey { scheme: Scheme::Sm2Sm3, point: Hex([n; 64]) }
    }

    #[test]
    fn the_first_80_bits_of_the_id() {
        let shown = Code::of(&key(3)).to_string();
        assert_eq!(shown.len(), 20);
        let bits: String = shown
            .bytes()
            .filter(|c| *c != b'-')
            .map(|c| format!("{:05b}", ALPHABET.iter().position(|a| *a == c).unwrap()))
            .collect();
        let id: String = key(3).id().0.0.iter().map(|b| format!("{b:08b}")).collect();
        assert_eq!(bits[..80], id[..80]);
        assert_ne!(Code::of(&key(3)), Code::of(&key(4)));
        assert_ne!(Code::of(&key(3)), Code::of(&PublicKey { scheme: Scheme::EcdsaP256Sha256, ..key(3) }));
    }

    proptest! {
        #[test]
        fn typed_as_people_type(n: u8) {
            let code = Code::of(&key(n));
            let shown = code.to_string();
            prop_assert_eq!(Code::parse(&shown), Ok(code));
            prop_assert_eq!(Code::parse(&shown.to_lowercase().replace('-', " ")), Ok(code));
            prop_assert_eq!(Code::parse(&shown.replace('0', "O").replace('1', "l")), Ok(code));
            prop_assert_eq!(Code::parse(&shown[1..]), Err(CodeError::Form));
            prop_assert_eq!(Code::parse(&format!("{shown}0")), Err(CodeError::Form));
        }

        #[test]
        fn one_wrong_character_and_exchanged_neighbours_are_found(n: u8, at in 0usize..18, by in 1u8..32) {
            let mut digits: Vec<u8> = Code::of(&key(n)).to_string().bytes().filter(|c| *c != b'-').collect();
            let old = digits[at];
            let value = ALPHABET.iter().position(|a| *a == old).unwrap();
            digits[at] = ALPHABET[(value + usize::from(by)) % 32];
            prop_assert_eq!(Code::parse(std::str::from_utf8(&digits).unwrap()), Err(CodeError::Check));
            digits[at] = old;
            if at < 15 && digits[at] != digits[at + 1] {
                digits.swap(at, at + 1);
                prop_assert_eq!(Code::parse(std::str::from_utf8(&digits).unwrap()), Err(CodeError::Check));
            }
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,40}") {
            let _ = Code::parse(&text);
        }
    }
}
