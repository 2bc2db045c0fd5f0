//! The unified social credit code of an enterprise (GB 32100-2015).

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// A checked code of 18 characters. `Debug` hides it, there is no `Display`; [`Uscc::expose`] is for wire and store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uscc([u8; 18]);

/// Why a code is refused. Never carries the code itself: messages reach logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsccError {
    /// Not 18 characters.
    #[error("a unified social credit code has 18 characters, found {found}")]
    Length {
        /// characters found
        found: usize,
    },
    /// A character outside the alphabet (no I, O, S, V, Z; no lower case).
    #[error(
        "character {position} is not in the alphabet of GB 32100 (digits and capitals without I, O, S, V, Z)"
    )]
    Character {
        /// 1-based position
        position: usize,
    },
    /// The last character is not the check character.
    #[error("the check character (position 18) does not match: mistyped code?")]
    Check,
}

fn value_of(c: u8) -> Option<u32> {
    ALPHABET.iter().position(|&a| a == c).and_then(|p| u32::try_from(p).ok())
}

/// The check character of the first 17 characters: (31 − Σ Cᵢ·3^(i−1) mod 31) mod 31.
pub fn check_character(first17: &[u8; 17]) -> Result<u8, UsccError> {
    let (mut sum, mut weight) = (0u32, 1u32);
    for (i, &c) in first17.iter().enumerate() {
        let v = value_of(c).ok_or(UsccError::Character { position: i + 1 })?;
        sum = (sum + v * weight) % 31;
        weight = weight * 3 % 31;
    }
    let check = (31 - sum) % 31;
    usize::try_from(check).ok().and_then(|i| ALPHABET.get(i)).copied().ok_or(UsccError::Check)
}

impl Uscc {
    /// Parses and checks a code.
    pub fn parse(s: &str) -> Result<Self, UsccError> {
        let b: [u8; 18] =
            s.as_bytes().try_into().map_err(|_| UsccError::Length { found: s.chars().count() })?;
        let [first17 @ .., last] = &b;
        let expected = check_character(first17)?;
        if value_of(*last).is_none() {
            return Err(UsccError::Character { position: 18 });
        }
        if *last != expected {
            return Err(UsccError::Check);
        }
        Ok(Self(b))
    }
    /// The plain code: for the wire, the database and the canonical form only.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for Uscc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Uscc(hidden)")
    }
}
impl std::str::FromStr for Uscc {
    type Err = UsccError;
    fn from_str(s: &str) -> Result<Self, UsccError> {
        Self::parse(s)
    }
}
impl Serialize for Uscc {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.expose())
    }
}
impl<'de> Deserialize<'de> for Uscc {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&s).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_example() {
        // GB 32100: 91350100M000100Y4 has the check character 3
        assert_eq!(check_character(b"91350100M000100Y4").unwrap(), b'3');
        assert!(Uscc::parse("91350100M000100Y43").is_ok());
        assert_eq!(Uscc::parse("91350100M000100Y44"), Err(UsccError::Check));
        assert_eq!(Uscc::parse("91350100M000100I43"), Err(UsccError::Character { position: 16 }));
        assert_eq!(Uscc::parse("91350100M000100Y4"), Err(UsccError::Length { found: 17 }));
        assert_eq!(Uscc::parse(""), Err(UsccError::Length { found: 0 }));
    }

    #[test]
    fn a_code_never_prints() {
        let u = Uscc::parse("91350100M000100Y43").unwrap();
        assert!(!format!("{u:?}").contains("9135"));
    }

    proptest::proptest! {
        #[test]
        fn parsing_is_total(s in ".{0,40}") {
            if let Ok(u) = Uscc::parse(&s) {
                proptest::prop_assert_eq!(u.expose(), s);
            }
        }
        /// GB 32100's weights detect every single mistyped character.
        #[test]
        fn one_wrong_character_is_found(code in proptest::array::uniform17(0usize..31), at in 0usize..18, by in 1usize..31) {
            let first = code.map(|i| ALPHABET[i]);
            let mut full = first.to_vec();
            full.push(check_character(&first).unwrap());
            let was = value_of(full[at]).unwrap() as usize;
            full[at] = ALPHABET[(was + by) % 31];
            proptest::prop_assert!(Uscc::parse(std::str::from_utf8(&full).unwrap()).is_err());
        }
    }
}
