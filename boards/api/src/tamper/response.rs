//! The response: which actions are left, in order. No I/O.

use super::{LatchRecord, StorageKey};

/// One step of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// no signature leaves any more
    CloseSigner,
    /// the latch and the gateway's own journal
    Record,
    /// TLS keys and tickets in memory
    ZeroizeSessionKeys,
    /// what opens the data partition
    ClearStorageKey,
}

impl Action {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CloseSigner => "close the signer",
            Self::Record => "write the record",
            Self::ZeroizeSessionKeys => "zeroize session keys",
            Self::ClearStorageKey => "clear the storage key",
        }
    }
}

/// What is still to be done, and the record as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pending: Vec<Action>,
    record: Option<LatchRecord>,
}

impl Response {
    /// The edge was seen just now.
    pub fn begin(record: LatchRecord) -> Self {
        let mut pending = vec![Action::CloseSigner, Action::Record, Action::ZeroizeSessionKeys];
        if record.storage_key == StorageKey::ToClear {
            pending.push(Action::ClearStorageKey);
        }
        Self { pending, record: Some(record) }
    }
    /// The box starts with a latch. `None`: the latch is there and unreadable; what it says about
    /// the storage key is unknown, so the key is kept.
    pub fn resume(record: Option<LatchRecord>) -> Self {
        let mut pending = vec![Action::CloseSigner];
        if record.is_some() {
            // power may have failed between the latch and the journal; each start of a closed box is noted there
            pending.push(Action::Record);
        }
        pending.push(Action::ZeroizeSessionKeys);
        if record.as_ref().is_some_and(|r| r.storage_key == StorageKey::ToClear) {
            pending.push(Action::ClearStorageKey);
        }
        Self { pending, record }
    }
    /// In this order.
    pub fn pending(&self) -> &[Action] {
        &self.pending
    }
    /// The record as it should stand in the latch.
    pub fn record(&self) -> Option<&LatchRecord> {
        self.record.as_ref()
    }
    /// `action` worked.
    pub fn finished(&mut self, action: Action) {
        self.pending.retain(|a| *a != action);
        if action == Action::ClearStorageKey
            && let Some(record) = &mut self.record
        {
            record.storage_key = StorageKey::Cleared;
            // the latch says "to clear" until it is told otherwise; clearing twice is harmless
            if !self.pending.contains(&Action::Record) {
                self.pending.push(Action::Record);
            }
        }
    }
    /// Nothing is left.
    pub fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }
}
