//! Why a board's description is not taken.

use board_api::Problem;

/// Why a description is not taken.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// No such board is built in.
    #[error("no board `{name}`; built in are: {known}; or give the path of a description")]
    Unknown {
        /// what was asked for
        name: String,
        /// all
        known: String,
    },
    /// The file cannot be read.
    #[error("{path}: cannot read the board's description; check the path and its permissions")]
    Read {
        /// which
        path: String,
        /// why
        source: std::io::Error,
    },
    /// Too large to be a description.
    #[error(
        "{path}: {found} bytes is no board description (at most {}); check the path",
        crate::MAX_FILE_BYTES
    )]
    TooLarge {
        /// which
        path: String,
        /// its size
        found: u64,
    },
    /// No TOML, or not of this form.
    #[error("{path}:{line}:{column}: {what}; {remedy}")]
    Syntax {
        /// which
        path: String,
        /// from 1
        line: usize,
        /// from 1
        column: usize,
        /// what is wrong
        what: String,
        /// what to do
        remedy: &'static str,
    },
    /// It parses, and makes no sense.
    #[error("{path}: {} problem(s){}", problems.len(), lines(problems))]
    Invalid {
        /// which
        path: String,
        /// all of them
        problems: Vec<Problem>,
    },
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("\n  {p}")).collect()
}
