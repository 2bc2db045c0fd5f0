//! Catalogue of items, mapping file, and the adapter to a source's own database.
//!
//! A source answers out of a database that was there before us. This crate says *what* may be answered
//! ([`catalogue`]), *where* it stands in that database ([`mapping`]) and *reads* it ([`adapter`]): read-only,
//! with a deadline and caps, and without ever guessing. A value that does not fit its item is an error that
//! names item, query and row; it is never dropped and never rounded.
//!
//! | module | what |
//! |---|---|
//! | [`catalogue`] | six dimensions, 26 items of our own, extensions, JSON Schema, labels |
//! | [`mapping`] | the TOML file that maps a database to items, its conversions and its check |
//! | [`adapter`] | the [`SourceAdapter`] trait, SQLite behind it, a fake, a bounded blocking pool |
//! | `generate` | fictional enterprises for demo and tests (feature `generate`) |

pub mod adapter;
pub mod catalogue;
mod date;
mod error;
mod file;
#[cfg(any(test, feature = "generate"))]
pub mod generate;
pub mod mapping;

pub use adapter::{
    BlockingSource, FakeSource, FetchLimits, MAX_ITEMS, Snapshot, SourceAdapter, SqliteOptions, SqliteSource,
};
pub use catalogue::{Catalogue, Lang};
pub use error::{Blame, Problem, SourceError, problem_list};
pub use mapping::{CheckReport, Mapping};
