//! Institutions, nodes, regions, and digests with a meaning.

use crate::{bytes::Hex, canon};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a valid {kind}: {rule}")]
pub struct NameError {
    kind: &'static str,
    found: String,
    rule: &'static str,
}

const SLUG_RULE: &str = "2 to 40 of a-z, 0-9 and single hyphens, starting with a letter";

fn is_slug(s: &str) -> bool {
    (2..=40).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && s.starts_with(|c: char| c.is_ascii_lowercase())
        && !s.ends_with('-')
        && !s.contains("--")
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);
        impl $name {
            /// Parses a name of 2 to 40 of a-z, 0-9 and single hyphens.
            pub fn parse(s: &str) -> Result<Self, NameError> {
                if is_slug(s) {
                    Ok(Self(s.to_owned()))
                } else {
                    Err(NameError { kind: $kind, found: s.chars().take(48).collect(), rule: SLUG_RULE })
                }
            }
            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(s: &str) -> Result<Self, NameError> {
                Self::parse(s)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let s = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::parse(&s).map_err(D::Error::custom)
            }
        }
    };
}

slug!(
    /// A member of the consortium: bank, bureau, regulator.
    InstitutionId, "institution id");
slug!(
    /// One gateway. Its certificates carry it as common name.
    NodeId, "node id");
slug!(
    /// The consortium that an authorization is for.
    ConsortiumId, "consortium id");

/// A region: six digits of GB/T 2260, for example 320500 (苏州).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region([u8; 6]);

impl Region {
    /// Parses six digits, the first not zero.
    pub fn parse(s: &str) -> Result<Self, NameError> {
        match <[u8; 6]>::try_from(s.as_bytes()) {
            Ok(b) if b.iter().all(u8::is_ascii_digit) && b.first() != Some(&b'0') => Ok(Self(b)),
            _ => Err(NameError {
                kind: "region",
                found: s.chars().take(48).collect(),
                rule: "six digits of GB/T 2260, for example 320500",
            }),
        }
    }
    /// The six digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("000000")
    }
}
impl std::fmt::Display for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
impl std::str::FromStr for Region {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        Self::parse(s)
    }
}
impl Serialize for Region {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&s).map_err(D::Error::custom)
    }
}

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub canon::Digest);
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }
        impl std::str::FromStr for $name {
            type Err = crate::bytes::TextError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Hex::parse(s).map(Self)
            }
        }
    };
}

digest_id!(
    /// authz_id = H(holder ‖ C_a): nobody else can claim it.
    AuthzId);
digest_id!(
    /// One use of an authorization. Unique per writing institution.
    ReportId);
digest_id!(
    /// H(domain ‖ public key): names a key.
    KeyId);
digest_id!(
    /// A commitment (C_a or C_r): opened only to those who must see.
    Commitment);

/// A block's number.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct Height(pub u64);

impl std::fmt::Display for Height {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_strict() {
        for ok in ["bank-suzhou", "a1", "node0"] {
            assert!(NodeId::parse(ok).is_ok(), "{ok}");
        }
        for bad in ["", "a", "-a", "A1", "a--b", "a-", "a_b", "1a", "信关", &"a".repeat(41)] {
            assert!(NodeId::parse(bad).is_err(), "{bad}");
        }
        assert!(Region::parse("320500").is_ok());
        for bad in ["32050", "3205000", "032050", "32050a"] {
            assert!(Region::parse(bad).is_err(), "{bad}");
        }
    }
}
