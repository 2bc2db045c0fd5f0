//! What can go wrong between a question and a snapshot. No message carries a subject or a value.

use crate::{catalogue::ItemProblem, mapping::ValueProblem};
use std::path::PathBuf;

/// Whose fault an error is, for the table that turns errors into answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// who asked: too much, or too little time
    Caller,
    /// the database or what stands in it
    Database,
    /// the configuration of this source
    Configuration,
}

/// One thing that is wrong in a file, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// line, query or item
    pub place: String,
    /// what is wrong
    pub what: String,
    /// what to do
    pub remedy: String,
}

impl Problem {
    pub(crate) fn new(place: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), remedy: remedy.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.what, self.remedy)
    }
}

/// One line per problem.
pub fn problem_list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Why there is no snapshot, no mapping or no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file could not be read.
    #[error("cannot read {path}: check that it exists and that the gateway may read it", path = path.display())]
    File {
        /// which
        path: PathBuf,
        /// why
        source: std::io::Error,
    },
    /// The file with extra items is refused.
    #[error("the catalogue extension has {count} problem(s):\n{list}", count = problems.len(), list = problem_list(problems))]
    Extension {
        /// all of them
        problems: Vec<Problem>,
    },
    /// The mapping file is refused.
    #[error("the mapping has {count} problem(s):\n{list}", count = problems.len(), list = problem_list(problems))]
    Mapping {
        /// all of them
        problems: Vec<Problem>,
    },
    /// The database could not be opened.
    #[error("cannot open the database {path} read-only: check path, permissions and that it is SQLite", path = path.display())]
    Open {
        /// which
        path: PathBuf,
        /// why
        source: rusqlite::Error,
    },
    /// Every connection, or every place in the queue, is taken.
    #[error("the source is busy: {limit} reads are under way; ask again later")]
    Busy {
        /// how many may be
        limit: usize,
    },
    /// The caller's time was used up first.
    #[error("the deadline passed while reading {place}; the read was stopped")]
    Deadline {
        /// how far it came
        place: String,
    },
    /// The database refused a query.
    #[error("query `{query}` failed; run `check-config` against the database")]
    Query {
        /// its name in the mapping
        query: String,
        /// why
        source: rusqlite::Error,
    },
    /// A value in the database does not fit its item.
    #[error("query `{query}`, row {row}, {place}: {problem}")]
    Value {
        /// its name in the mapping
        query: String,
        /// 1-based, in the query's own order
        row: usize,
        /// the item or the column's part in it
        place: String,
        /// what is wrong, without the value
        problem: ValueProblem,
    },
    /// A value was converted but its item does not allow it.
    #[error("query `{query}`, row {row}: {problem}")]
    Item {
        /// its name in the mapping
        query: String,
        /// 1-based
        row: usize,
        /// what is wrong, without the value
        problem: ItemProblem,
    },
    /// More than the caller allows; nothing is cut off silently.
    #[error("{place} yields more than {limit} {unit}; narrow the query or raise the limit")]
    TooMuch {
        /// where
        place: String,
        /// rows, items or bytes
        unit: &'static str,
        /// how many are allowed
        limit: usize,
    },
    /// The blocking task that read was ended.
    #[error("the reading task ended early: the gateway is stopping, or there is a bug in the adapter")]
    Ended,
}

impl SourceError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Busy { .. } | Self::Deadline { .. } | Self::TooMuch { .. } => Blame::Caller,
            Self::File { .. } | Self::Extension { .. } | Self::Mapping { .. } => Blame::Configuration,
            Self::Open { .. } | Self::Query { .. } | Self::Value { .. } | Self::Item { .. } | Self::Ended => {
                Blame::Database
            }
        }
    }
    /// The same question may be answered a little later.
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Deadline { .. } | Self::Open { .. } | Self::Ended)
    }
}
