//! What can fail in a journal or an outbox, where, and what to do.

use gw_store::StoreError;

/// Why a journal or an outbox did not do it. The fault is always on this side, never a peer's.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk beneath failed while opening or reading.
    #[error("the disk under the {log} failed")]
    Disk {
        /// journal or outbox
        log: &'static str,
        /// what the disk says
        source: StoreError,
    },
    /// The file is something else.
    #[error("this file is no {log}; check the path in the configuration, and do not delete the file")]
    NotOurs {
        /// journal or outbox
        log: &'static str,
    },
    /// Written by a newer release.
    #[error(
        "the {log} has format version {found}, this release knows {known}; start the newer release again"
    )]
    Version {
        /// journal or outbox
        log: &'static str,
        /// version found
        found: u32,
        /// version this program writes
        known: u32,
    },
    /// Written by another node.
    #[error("the {log} belongs to `{found}`, this node is `{wanted}`; check the path in the configuration")]
    Owner {
        /// journal or outbox
        log: &'static str,
        /// whose it is
        found: String,
        /// who opens it
        wanted: String,
    },
    /// The chain of hashes does not hold at an entry that was durable once.
    #[error(
        "the {log} is damaged at byte {offset}: {what}; keep a copy for the supervisor, then restore the file or start a new one"
    )]
    Broken {
        /// journal or outbox
        log: &'static str,
        /// first byte that is not as written
        offset: u64,
        /// what was expected
        what: &'static str,
    },
    /// The queue to the disk is full, or too many intents are open.
    #[error("the {log} is busy; try again later")]
    Busy {
        /// journal or outbox
        log: &'static str,
    },
    /// An entry above its bound.
    #[error("an entry of {found} bytes, at most {max} are taken")]
    TooLarge {
        /// bytes found
        found: usize,
        /// bytes allowed
        max: usize,
    },
    /// The file has reached its configured size, or the outbox its configured content.
    #[error(
        "the {log} is full ({found} of {max} {unit}); raise its bound in the configuration or find out why it does not drain"
    )]
    Full {
        /// journal or outbox
        log: &'static str,
        /// how much it would hold
        found: u64,
        /// how much it may hold
        max: u64,
        /// bytes or items
        unit: &'static str,
    },
    /// A write or sync failed earlier, or the log was shut. Whether the entry is recorded is unknown.
    #[error("the {log} is closed ({why}); restart the gateway, which recovers it")]
    Closed {
        /// journal or outbox
        log: &'static str,
        /// the first failure
        why: String,
    },
    /// An outcome for an intent that is not open.
    #[error("no intent {index} is open: it never was, or its outcome is recorded already")]
    NoSuchIntent {
        /// which
        index: u64,
    },
    /// An intent without a guard would stay without an outcome.
    #[error("an intent is recorded with `record_intent`, so that its outcome follows")]
    NeedsGuard,
    /// An entry that has no canonical form, or a kind that is no short name.
    #[error("the entry cannot be written: {0}")]
    Encode(String),
}

impl JournalError {
    /// Whether the same call may succeed later without an operator.
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}
