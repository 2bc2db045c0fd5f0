//! What can fail in the development keystore, where, and what to do.

use hsm_api::{HsmError, selftest::SelfTestError};
use std::path::PathBuf;

/// Why the keystore cannot be opened, made or written. Never carries key material or the passphrase.
#[derive(Debug, thiserror::Error)]
pub enum SoftError {
    /// A file cannot be read or written.
    #[error(
        "cannot {operation} `{path}`; check that it exists and belongs to this user, and that the disk is not full"
    )]
    Io {
        /// read, write, lock …
        operation: &'static str,
        /// which
        path: PathBuf,
        /// what the system says
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("`{path}` can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    Exposed {
        /// which
        path: PathBuf,
        /// its mode
        mode: u32,
    },
    /// A keystore is there already.
    #[error("`{path}` exists already; open it, or delete it if its keys are not needed")]
    Exists {
        /// which
        path: PathBuf,
    },
    /// Another process is writing it.
    #[error("`{path}` is being written by another process; try again")]
    Locked {
        /// which
        path: PathBuf,
    },
    /// Too short, too long, or not text.
    #[error("the passphrase in `{path}` is not usable: {rule}")]
    Passphrase {
        /// the file
        path: PathBuf,
        /// what is expected
        rule: &'static str,
    },
    /// The file is no keystore of this kind.
    #[error("`{path}` is not a development keystore: {what}")]
    Format {
        /// which
        path: PathBuf,
        /// what is wrong
        what: String,
    },
    /// The seal does not open.
    #[error("`{path}` does not open: the passphrase is wrong, or the file was changed")]
    Seal {
        /// which
        path: PathBuf,
    },
    /// A known answer came out wrong, or there are no random bytes to try with.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    /// No random bytes.
    #[error("no random bytes")]
    Entropy {
        /// what the source says
        source: HsmError,
    },
}

impl From<SoftError> for HsmError {
    fn from(e: SoftError) -> Self {
        let text = std::error::Error::source(&e).map_or_else(|| e.to_string(), |s| format!("{e}: {s}"));
        match e {
            SoftError::SelfTest(inner) => inner.into(),
            SoftError::Locked { .. } => Self::Busy,
            _ => Self::Device(text),
        }
    }
}
