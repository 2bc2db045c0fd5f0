//! Authorization values: wiped on drop, never printed.

use crate::error::TpmError;
use zeroize::Zeroizing;

const MIN_BYTES: usize = 16;
const MAX_BYTES: usize = 32;

/// An authorization value. Empty, or 16 to 32 bytes: keys are exempt from the chip's lockout (a power loss
/// would count against it), so guessing must be hopeless.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// From the sealed configuration.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, TpmError> {
        if !(MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) {
            let what = format!("an authorization value has {MIN_BYTES} to {MAX_BYTES} bytes");
            return Err(TpmError::Input { what });
        }
        Ok(Self::trimmed(bytes))
    }

    /// No value: whoever reaches the chip may use what it guards.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A TPM cuts trailing zeros off (part 1, 19.6.5), so both sides must.
    pub(crate) fn trimmed(mut bytes: Zeroizing<Vec<u8>>) -> Self {
        let length = bytes.len() - bytes.iter().rev().take_while(|b| **b == 0).count();
        bytes.truncate(length);
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_are_refused_and_nothing_is_printed() {
        for bytes in [0, 15, 33] {
            assert!(Secret::new(vec![7; bytes].into()).is_err());
        }
        let secret = Secret::new(vec![7; 16].into()).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
    }

    #[test]
    fn trailing_zeros_go() {
        let mut bytes = vec![0; 20];
        bytes[3] = 9;
        assert_eq!(Secret::new(bytes.into()).unwrap().bytes(), [0, 0, 0, 9]);
    }
}
