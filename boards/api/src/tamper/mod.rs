//! The case was opened: what follows, in which order, and what survives a restart.
//!
//! `input` finds the edge, `response` is the order of actions without I/O, `latch` is what a power cut must not
//! lose, [`watch()`] drives all three and calls the gateway's [`TamperSink`].
//!
//! 1. close the signer: at once, cannot fail
//! 2. write the durable record: from now on every start is closed
//! 3. zeroize session keys
//! 4. clear the storage key, if configured: the data partition is lost, on purpose
//!
//! An action that fails does not hold up the next one; it is tried again until it works. The latch is released
//! only by an operator who enrols the box again ([`LatchStore::release`]). A switch that cannot be read counts as
//! opened: a cut wire must not be the way in. Without power nobody watches: a board whose chip latches
//! by battery shows it as a level at the next start.

mod input;
mod latch;
mod response;
mod watch;

pub use input::{Cause, Detector, EdgeInput, Sample, TamperInput};
pub use latch::{FileLatch, Latch, LatchRecord, LatchStore, StorageKey};
pub use response::{Action, Response};
pub use watch::{End, Settings, TamperSink, watch};
