//! Secrets bound to the platform's state, and a counter that only goes up.

use crate::HsmError;
use zeroize::Zeroizing;

/// The state that a secret is sealed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealTo {
    /// PCRs that must have the values they have now
    pub pcrs: Vec<u8>,
    /// it opens only while the counter is at most this: a raised counter shuts out older releases
    pub floor: Option<u64>,
}

/// Seals to a platform state; counts against rollback.
pub trait Sealer: Send + Sync {
    /// Seals at most 128 bytes. The result is useless on another device or in another state.
    fn seal(&self, secret: &[u8], to: &SealTo) -> Result<Vec<u8>, HsmError>;
    /// Opens what was sealed, if the state is the one that was sealed to.
    fn unseal(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, HsmError>;
    /// The counter's value.
    fn counter(&self) -> Result<u64, HsmError>;
    /// Raises the counter by one and gives its new value. After an error the value is unknown: read it.
    fn raise_counter(&self) -> Result<u64, HsmError>;
}
