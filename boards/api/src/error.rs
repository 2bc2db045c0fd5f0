//! What can be wrong with a board or one of its parts, where, and what to do.

use std::{path::PathBuf, time::Duration};

/// One thing wrong, found while a description is checked or a board is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// dotted key path in the board's description, for example `hsm.spi.bus`
    pub key: String,
    /// what is wrong
    pub what: String,
    /// what to do
    pub remedy: String,
}

impl Problem {
    /// A problem at `key`.
    pub fn new(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), remedy: remedy.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.what, self.remedy)
    }
}

/// One line per problem.
pub(crate) fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("\n  {p}")).collect()
}

/// Why a board or a part of it does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// Parts that the description promises are not there: all of them.
    #[error("board {board}: {} part(s) cannot be opened{}", problems.len(), lines(problems))]
    Open {
        /// name and revision
        board: String,
        /// each part
        problems: Vec<Problem>,
    },
    /// A part that was opened fails.
    #[error("{part}: cannot {operation}: {what}; check its wiring and its driver")]
    Part {
        /// which
        part: String,
        /// what was tried
        operation: &'static str,
        /// what the part says
        what: String,
    },
    /// Another chip than the description pins.
    #[error(
        "the signing chip says {found}, the board's description pins {pinned}; if the chip was changed on purpose, \
         pin the new one in hsm.chip, else treat the board as opened"
    )]
    WrongChip {
        /// what the chip says
        found: String,
        /// what is expected
        pinned: String,
    },
    /// The proof of serving is too old to feed the watchdog.
    #[error("the proof of serving is {late:?} too old for the watchdog; ask for readiness again")]
    ProofExpired {
        /// by how much
        late: Duration,
    },
    /// The kernel does not let the watchdog be stopped.
    #[error("{part} cannot be stopped once started (nowayout): it will reset the box unless it is fed")]
    NoWayOut {
        /// which
        part: String,
    },
    /// The tamper latch cannot be read, written or released.
    #[error(
        "cannot {operation} the tamper latch `{path}`; check the data partition; until it works the box stays closed"
    )]
    Latch {
        /// read, write, release
        operation: &'static str,
        /// the file
        path: PathBuf,
        /// what the system says
        source: std::io::Error,
    },
    /// There is nothing to release.
    #[error("no tampering is latched in `{path}`: nothing to release")]
    NotLatched {
        /// the file
        path: PathBuf,
    },
    /// An action of the tamper response failed; it is tried again.
    #[error("tamper response: {action} failed: {what}; it is tried again until it works")]
    Tamper {
        /// which
        action: &'static str,
        /// why
        what: String,
    },
}
