//! What can fail in a store or on a disk, where, and what to do.

use std::path::PathBuf;

/// Why a store or a disk did not do it. The fault is always on this side, never a peer's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or folder cannot be opened or created.
    #[error(
        "cannot open `{path}`; check that its folder exists, that the disk is writable and not full, and that this user owns it"
    )]
    Open {
        /// which
        path: PathBuf,
        /// what the system says
        source: std::io::Error,
    },
    /// Another process, or another part of this one, has it open.
    #[error("`{path}` is in use; stop the other process that has it open")]
    InUse {
        /// which
        path: PathBuf,
    },
    /// Its content is damaged.
    #[error(
        "the store in `{path}` is damaged ({what}); it holds nothing that the chain does not: delete that folder and start again to rebuild it"
    )]
    Corrupt {
        /// which
        path: PathBuf,
        /// what was found
        what: String,
    },
    /// A read, write or sync failed. After a write or sync it is closed.
    #[error(
        "{operation} failed on `{path}`; check the disk's free space and health, then restart the gateway"
    )]
    Io {
        /// read, write, resize, sync, commit
        operation: &'static str,
        /// where
        path: PathBuf,
        /// what the system says
        source: std::io::Error,
    },
    /// An earlier write or sync failed; what is on the disk is unknown until it is opened again.
    #[error("`{path}` is closed since a failed write or sync; restart the gateway to open it again")]
    Closed {
        /// which
        path: PathBuf,
    },
    /// A read past the end, or a position that no file can have.
    #[error("`{path}` has no bytes {at}+{len}: it ends at {end}")]
    OutOfRange {
        /// which
        path: PathBuf,
        /// position asked for
        at: u64,
        /// bytes asked for
        len: u64,
        /// where it ends
        end: u64,
    },
    /// A key, a value or a file above its bound.
    #[error("{what} of {found} bytes, at most {max} are taken")]
    TooLarge {
        /// key, value, file
        what: &'static str,
        /// bytes found
        found: u64,
        /// bytes allowed
        max: u64,
    },
}

impl StoreError {
    /// Whether the same call on the same handle may succeed later. A failed write is never repeated.
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }
    /// Whether making the store again from the chain is the remedy.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}
