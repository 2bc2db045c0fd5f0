//! Byte strings as text: fixed hex, bounded hex, base64.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Exactly `N` bytes, in JSON as `2N` lower-case hex digits. Upper case is refused: one value, one text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

/// Why a byte string in text form is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Wrong number of digits.
    #[error("expected {expected} hex digits, found {found}")]
    Length {
        /// digits expected
        expected: usize,
        /// digits found
        found: usize,
    },
    /// A character that is not a lower-case hex digit.
    #[error("not lower-case hexadecimal")]
    NotHex,
    /// Not standard base64 with padding.
    #[error("not standard base64 with padding")]
    NotBase64,
}

fn parse_hex_into(text: &str, out: &mut [u8]) -> Result<(), TextError> {
    if text.len() != out.len() * 2 {
        return Err(TextError::Length { expected: out.len() * 2, found: text.len() });
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(TextError::NotHex);
    }
    hex::decode_to_slice(text, out).map_err(|_| TextError::NotHex)
}

impl<const N: usize> Hex<N> {
    /// Parses exactly `2N` lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let mut out = [0u8; N];
        parse_hex_into(text, &mut out)?;
        Ok(Self(out))
    }
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> std::fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl<const N: usize> std::fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl<const N: usize> std::str::FromStr for Hex<N> {
    type Err = TextError;
    fn from_str(s: &str) -> Result<Self, TextError> {
        Self::parse(s)
    }
}
impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(self.0))
    }
}
impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// Any number of bytes as lower-case hex. The message that holds it bounds its size.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HexBytes(pub Vec<u8>);

impl std::fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}
impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(&self.0))
    }
}
impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let mut out = vec![0u8; text.len() / 2];
        parse_hex_into(&text, &mut out).map_err(D::Error::custom)?;
        Ok(Self(out))
    }
}

/// Any number of bytes as standard base64 with padding (RFC 4648 §4): certificates, documents.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct B64(pub Vec<u8>);

impl std::fmt::Debug for B64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "B64({} bytes)", self.0.len())
    }
}
impl Serialize for B64 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        s.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}
impl<'de> Deserialize<'de> for B64 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        base64::engine::general_purpose::STANDARD
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|_| D::Error::custom(TextError::NotBase64))
    }
}
