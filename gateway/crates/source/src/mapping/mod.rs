//! The mapping file: where each item stands in a source's own database.
//!
//! ```toml
//! version = 1
//! catalogue = "2026.1"                    # the catalogue it was written for
//!
//! [[query]]
//! name = "registration"
//! table = "ent_registration"              # one row per enterprise and key …
//! subject = "uscc"                        # … found by this column
//! as_of = { column = "updated_at" }       # from = "date" is the default
//! [query.items]
//! "basic.name" = { column = "ent_name" }
//! "basic.registered-capital" = { column = "capital", from = "wan-yuan" }
//! "basic.status" = { column = "state", codes = { "1" = "active", "2" = "revoked" } }
//!
//! [[query]]
//! name = "loans"
//! sql = "SELECT no, rate, class, day FROM loan WHERE uscc = :subject AND balance > 0"
//! key = { column = "no" }                 # tells the occurrences of a repeatable item apart
//! as_of = { column = "day", from = "unix-seconds" }
//! [query.items]
//! "financing.loan-rate" = { column = "rate", from = "percent" }
//! ```
//!
//! | `from` | of | takes |
//! |---|---|---|
//! | `text` `integer` `code` | text, integer, code | trimmed text; whole number; text or number looked up in `codes` |
//! | `fen` `yuan` `wan-yuan` | money | whole fen; decimal yuan; decimal 万元; exact, or an error |
//! | `basis-points` `percent` `ratio` | rate | 435; 4.35; 0.0435 |
//! | `date` | date, as_of | 2026-06-30, 20260630, 2026/6/30, 2026.6.30, 2026年6月30日, and those followed by a time |
//! | `unix-seconds` `unix-millis` | date, as_of | the day at UTC+8 |
//! | `year-end` `month-end` | as_of | 2025 → 2025-12-31; 202602 → 2026-02-28 |
//! | `year` `month` `reference` | key | 2025; 202602 or 2026-02; text or number |
//!
//! A value that does not fit is an error of the whole answer: a report that silently lacks what the database
//! holds would be worse. NULL means that the database holds nothing: the item is left out, unless
//! `null = "refuse"`. An empty text is refused unless `empty = "absent"`.

mod check;
mod convert;
mod raw;

use crate::{
    Catalogue, Problem, SourceError,
    catalogue::{ItemProblem, KeyKind},
    file::read_bounded,
};
use gw_proto::{
    Dimension,
    report::{Item, Value},
};
use rusqlite::types::ValueRef;
use std::{collections::BTreeMap, path::Path};

pub use check::CheckReport;
pub(crate) use check::check_database;
pub use convert::{Conversion, ValueProblem};

/// The most bytes of a mapping file.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The most queries of a mapping.
pub const MAX_QUERIES: usize = 64;

/// A mapping that agrees with a catalogue. Whether it agrees with the database, `check` says.
#[derive(Debug, Clone)]
pub struct Mapping {
    catalogue: Catalogue,
    queries: Vec<Query>,
    warnings: Vec<Problem>,
}

/// One statement and the items in its rows.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) sql: String,
    pub(crate) as_of: Column,
    pub(crate) key: Option<(Column, KeyKind)>,
    pub(crate) items: Vec<ItemColumn>,
}

/// A column of the result and how it is read.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) from: Conversion,
}

/// One item and its column.
#[derive(Debug, Clone)]
pub(crate) struct ItemColumn {
    pub(crate) id: String,
    pub(crate) line: usize,
    pub(crate) dimension: Dimension,
    pub(crate) column: Column,
    pub(crate) codes: BTreeMap<String, String>,
    pub(crate) refuse_null: bool,
    pub(crate) empty_is_absent: bool,
}

impl Mapping {
    /// Reads and checks a mapping file against a catalogue.
    pub fn load(path: &Path, catalogue: &Catalogue) -> Result<Self, SourceError> {
        let text = read_bounded(path, MAX_FILE_BYTES)?;
        Self::parse(&text, catalogue).map_err(|problems| SourceError::Mapping { problems })
    }
    /// Checks a mapping's text against a catalogue: a syntax error by itself, everything else at once.
    pub fn parse(text: &str, catalogue: &Catalogue) -> Result<Self, Vec<Problem>> {
        raw::parse(text, catalogue)
    }
    /// What is not wrong but worth knowing: items that the mapping leaves out.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
    /// The catalogue it agrees with.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }
    pub(crate) fn queries(&self) -> &[Query] {
        &self.queries
    }
}

impl Query {
    /// It holds something of one of the dimensions.
    pub(crate) fn concerns(&self, dimensions: &[Dimension]) -> bool {
        self.items.iter().any(|i| dimensions.contains(&i.dimension))
    }

    /// The items of one row, of the wanted dimensions, each valid by the catalogue.
    pub(crate) fn read_row(
        &self,
        catalogue: &Catalogue,
        dimensions: &[Dimension],
        row: &rusqlite::Row<'_>,
        number: usize,
    ) -> Result<Vec<Item>, SourceError> {
        let cell = |column: &Column| row.get_ref(column.name.as_str()).map_err(|e| self.failed(e));
        let refused = |place: &str, problem| SourceError::Value {
            query: self.name.clone(),
            row: number,
            place: place.to_owned(),
            problem,
        };
        let mut out = Vec::new();
        for item in self.items.iter().filter(|i| dimensions.contains(&i.dimension)) {
            let value = item.value(cell(&item.column)?).map_err(|p| refused(&item.id, p))?;
            let Some(value) = value else { continue };
            // only now: a row that holds nothing of what is asked needs no date and no key
            let as_of =
                convert::part(cell(&self.as_of)?, self.as_of.from).map_err(|p| refused("as_of", p))?;
            let key = match &self.key {
                Some((column, _)) => {
                    Some(convert::part(cell(column)?, column.from).map_err(|p| refused("key", p))?)
                }
                None => None,
            };
            let item =
                Item { id: item.id.clone(), dimension: item.dimension, value, as_of, key, disputed: false };
            catalogue.validate(&item).map_err(|problem| self.not_an_item(number, problem))?;
            out.push(item);
        }
        Ok(out)
    }

    pub(crate) fn not_an_item(&self, row: usize, problem: ItemProblem) -> SourceError {
        SourceError::Item { query: self.name.clone(), row, problem }
    }

    /// A failure of the database: SQLite's words name tables and columns, never a bound value.
    pub(crate) fn failed(&self, source: rusqlite::Error) -> SourceError {
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => {
                SourceError::Deadline { place: format!("query `{}`", self.name) }
            }
            _ => SourceError::Query { query: self.name.clone(), source },
        }
    }
}

impl ItemColumn {
    /// The value of a cell; none where the database holds nothing.
    pub(crate) fn value(&self, raw: ValueRef<'_>) -> Result<Option<Value>, ValueProblem> {
        match convert::value(raw, self.column.from, &self.codes) {
            Err(ValueProblem::Null) if !self.refuse_null => Ok(None),
            Err(ValueProblem::Empty) if self.empty_is_absent => Ok(None),
            other => other.map(Some),
        }
    }
}
