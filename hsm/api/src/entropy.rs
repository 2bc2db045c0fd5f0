//! The operating system's randomness: the one place of the workspace that draws it.

use crate::{Entropy, HsmError};

/// `getrandom(2)`: blocks until the kernel's pool is seeded, never gives less than asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
        getrandom::fill(out)
            .map_err(|e| HsmError::Device(format!("the operating system gives no random bytes: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_fill_the_buffer_and_differ() {
        let (mut a, mut b) = ([0u8; 32], [0u8; 32]);
        OsEntropy.fill(&mut a).unwrap();
        OsEntropy.fill(&mut b).unwrap();
        assert_ne!(a, [0; 32]);
        assert_ne!(a, b);
        OsEntropy.fill(&mut []).unwrap();
    }
}
