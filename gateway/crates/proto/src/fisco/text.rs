//! Hex fields with `0x`, their bounds, and what can be wrong with a block's parts.

use super::input::SkipReason;
use crate::{bytes::Hex, canon::Digest};

/// Why a header, a transaction or a receipt is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FiscoError {
    /// A field that should be hexadecimal is not.
    #[error("{field}: not hexadecimal of an even number of digits")]
    NotHex {
        /// the field's name
        field: &'static str,
    },
    /// A field that starts with 0x in FISCO's JSON does not.
    #[error("{field}: does not start with 0x")]
    NoPrefix {
        /// the field's name
        field: &'static str,
    },
    /// A field of a fixed size has another one.
    #[error("{field}: {found} bytes, expected {expected}")]
    Size {
        /// the field's name
        field: &'static str,
        /// bytes expected
        expected: usize,
        /// bytes found
        found: usize,
    },
    /// A field or a list is larger than what is taken.
    #[error("{field}: {found}, at most {max} are taken")]
    TooLarge {
        /// the field's name
        field: &'static str,
        /// the bound
        max: usize,
        /// what was found
        found: usize,
    },
    /// A value that this field cannot have in a block that FISCO made.
    #[error("{field}: {rule}")]
    Value {
        /// the field's name
        field: &'static str,
        /// what it must be
        rule: &'static str,
    },
    /// A transaction or receipt of a version whose hash is not known here.
    #[error("{what} of version {found}: only version 0 is supported; give the records a group of their own")]
    Version {
        /// transaction or receipt
        what: &'static str,
        /// the version found
        found: u32,
    },
    /// A transaction that carries no record of ours: to be skipped, not refused.
    #[error("not a record of ours: {0}")]
    Skip(#[from] SkipReason),
}

/// Bytes of a hex field with `0x`, at most `max`. Case does not matter: what counts is the bytes.
pub fn parse_0x(field: &'static str, text: &str, max: usize) -> Result<Vec<u8>, FiscoError> {
    let digits = text.strip_prefix("0x").ok_or(FiscoError::NoPrefix { field })?;
    parse_hex(field, digits, max)
}

/// Bytes of a hex field without `0x`, at most `max`.
pub(super) fn parse_hex(field: &'static str, digits: &str, max: usize) -> Result<Vec<u8>, FiscoError> {
    if digits.len() / 2 > max {
        return Err(FiscoError::TooLarge { field, max, found: digits.len() / 2 });
    }
    hex::decode(digits).map_err(|_| FiscoError::NotHex { field })
}

/// Exactly `N` bytes of a hex field with `0x`.
pub fn parse_fixed<const N: usize>(field: &'static str, text: &str) -> Result<Hex<N>, FiscoError> {
    let bytes = parse_0x(field, text, N)?;
    let found = bytes.len();
    <[u8; N]>::try_from(bytes).map(Hex).map_err(|_| FiscoError::Size { field, expected: N, found })
}

/// A hash field with `0x`.
pub fn parse_digest(field: &'static str, text: &str) -> Result<Digest, FiscoError> {
    parse_fixed(field, text)
}

/// Bytes as FISCO's JSON shows them: `0x` and lower-case hex digits.
pub fn write_0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
