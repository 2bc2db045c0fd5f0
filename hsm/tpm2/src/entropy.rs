//! The chip's random source.

use crate::{commands::management, store::Shared};
use hsm_api::{Entropy, HsmError};
use std::sync::Arc;

/// GetRandom, encrypted on the bus.
pub(crate) struct TpmEntropy(pub(crate) Arc<Shared>);

impl Entropy for TpmEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
        Ok(self.0.device.with(|open| management::random(&mut open.chip, out))?)
    }
}
