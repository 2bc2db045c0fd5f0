//! Ways to a chip: a simulator's socket, a device file, our own TIS driver.

pub mod device;
pub mod swtpm;
pub mod tis;

use crate::error::TpmError;
use std::{sync::Arc, time::Duration};

/// An open way to one chip. One command at a time.
pub trait Transport: Send {
    /// Sends a whole command and waits for the whole response; gives its length. After an error the way is
    /// not used again.
    fn transmit(&mut self, command: &[u8], response: &mut [u8], budget: Duration) -> Result<usize, TpmError>;
    /// Asks the chip, from another thread, to stop what it is doing; none if there is no way to.
    fn canceller(&self) -> Option<Arc<dyn Cancel>>;
}

/// Stops the command that a chip is working on. The command then ends with `cancelled`, or as if nothing
/// had been asked, if it was nearly done.
pub trait Cancel: Send + Sync {
    /// Asks the chip to stop.
    fn cancel(&self) -> Result<(), TpmError>;
}

/// Opens ways to one chip: at the start, and again after it went away.
pub trait Connect: Send + Sync {
    /// Opens a way.
    fn connect(&self, budget: Duration) -> Result<Box<dyn Transport>, TpmError>;
    /// Path or address, for messages.
    fn place(&self) -> String;
    /// A resource manager gives us handles of our own: what others loaded is not ours to flush.
    fn is_shared(&self) -> bool;
}

/// The length that a response's header says.
pub(crate) fn response_length(header: &[u8]) -> Option<usize> {
    let bytes = header.get(2..6)?.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*bytes)).ok()
}
