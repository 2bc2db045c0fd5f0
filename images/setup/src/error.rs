//! What can go wrong: where, and what to do.

use std::path::PathBuf;

/// Every error leaves the configuration as it was, or as the next start completes it.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A folder or file cannot be used.
    #[error("cannot {operation} {}: {source}; the disk may be full or faulty", path.display())]
    Folder {
        /// what was tried
        operation: &'static str,
        /// on what
        path: PathBuf,
        /// why it failed
        source: std::io::Error,
    },
    /// Something has not the form it must have.
    #[error("{what}: {why}")]
    Unfit {
        /// file or field
        what: String,
        /// what is wrong, and what is expected
        why: String,
    },
    /// The gateway would not start with it.
    #[error("`xinguan check-config` refuses the configuration; nothing was changed. It says:\n{said}")]
    Judged {
        /// its own words
        said: String,
    },
    /// A provisioning file is not for this box, not now, or not from whom it must be.
    #[error("provisioning file refused, {reason}; nothing was changed")]
    Refused {
        /// which rule, and what to do
        reason: String,
    },
    /// A network is on trial already, or none is.
    #[error("network: {0}")]
    Trial(&'static str),
}

impl SetupError {
    /// Shorthand for [`SetupError::Unfit`].
    pub fn unfit(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unfit { what: what.into(), why: why.into() }
    }
    /// Shorthand for [`SetupError::Refused`].
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}
