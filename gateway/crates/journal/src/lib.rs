//! What was about to be done, what became of it, and what is still to be delivered.
//!
//! Both files here hold what exists nowhere else, so both promise the same: when a call returns, its
//! entry survives a power loss. They stand on [`gw_store::Disk`], which tests replace by a disk that
//! loses power.
//!
//! | module | what |
//! |---|---|
//! | [`journal`] | [`Journal`]: intents before effects, outcomes always, [`IntentGuard`] |
//! | [`entry`] | what an entry says |
//! | [`outbox`] | [`Outbox`]: deliveries that are tried until done |
//! | [`error`] | what can fail, where, and what to do |
//! | `frame`, `log` | the bytes: chained frames, recovery after a crash |
//! | `queue`, `worker` | the bounded queue to the one thread that owns a disk |
//!
//! The chain of SM3 hashes shows whether entries were changed, reordered or cut out of the middle. It does
//! not stop the box's owner from writing a whole new file: that is why a reservation is on the ledger
//! before data leaves its source (DESIGN "The promise").

mod core;
pub mod entry;
pub mod error;
mod frame;
pub mod journal;
mod log;
pub mod outbox;

mod queue;
mod worker;

pub use entry::{Entry, Finished, Intent, Note, Outcome, OutcomeStatus, SeenHeight};
pub use error::JournalError;
pub use journal::{
    IntentGuard, Journal, JournalHead, JournalOptions, OpenIntent, Receipt, Recovered, Stored, Verified,
    verify_chain,
};
pub use outbox::{Outbox, OutboxItem, OutboxOptions, OutboxRecovered};
