//! The supervisor's store: deliveries of openings, and its own look-ups. Enrolments and verdicts: `attest/`;
//! proposals: `four_eyes/`; what people did: `audit.rs`.
//!
//! The one place besides an institution's own documents where a company code stands next to a report id;
//! erasure after retention deletes rows here. In SQLite or PostgreSQL ([`db`](super::db)).

use super::db::{
    Db, DbError, Row, Session,
    postgres::{Limits, Postgres},
    schema,
    sqlite::Sqlite,
    values,
};
use crate::config::Database;
use gw_proto::{
    Digest, Hex, InstitutionId, NodeId, ReportId, UnixMillis, Uscc, message::Delivery, record::Side,
};
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;

/// The most rows that one question returns.
pub const MAX_ROWS: u32 = 1_000;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no, or nothing.
    #[error("supervisor's database: {0}")]
    Db(#[from] DbError),
    /// A row is not what was written.
    #[error("supervisor's database: row of {0} cannot be read back: {1}")]
    Row(&'static str, String),
    /// The same side delivered something else before.
    #[error("{node} delivered another {side} opening of this report before")]
    Contradiction {
        /// who
        node: NodeId,
        /// which side
        side: &'static str,
    },
}

/// A delivery as it is kept.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// what came
    pub delivery: Delivery,
    /// when
    pub received: UnixMillis,
}

/// Deliveries, look-ups, enrolments, verdicts, proposals, the audit trail.
pub struct SupervisorStore {
    db: Db,
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Asker => "asker",
        Side::Source => "source",
    }
}

/// As it is kept.
pub(super) fn text<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Row(what, e.to_string()))
}

/// What was kept.
pub(super) fn value<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Row(what, e.to_string()))
}

/// A digest that was kept.
pub(super) fn digest(text: &str) -> Result<Digest, StoreError> {
    Hex::parse(text).map_err(|e| StoreError::Row("a digest", e.to_string()))
}

fn delivered(row: &Row) -> Result<Delivered, StoreError> {
    Ok(Delivered { delivery: value("delivery", row.text(0)?)?, received: row.time(1)? })
}

/// Records a look-up of the supervisor's own staff, before its result is shown.
pub fn note_lookup(
    s: &mut dyn Session,
    at: UnixMillis,
    who: &str,
    subject: &Uscc,
    reason: &str,
) -> Result<(), StoreError> {
    s.execute(
        "insert into lookup (at, who, subject, reason) values (?1, ?2, ?3, ?4)",
        values![at, who, subject.expose(), reason],
    )?;
    Ok(())
}

impl SupervisorStore {
    /// Opens what is configured, and makes the tables or brings them up to date. Blocks.
    pub fn connect(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite(path) => Self::open(path),
            Database::Postgres(settings) => {
                Self::with(Db::Postgres(Box::new(Postgres::new(settings, Limits::default())?)))
            }
        }
    }
    /// Opens or makes an SQLite file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::with(Db::Sqlite(Sqlite::open(path)?))
    }
    /// In memory, for tests.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::with(Db::Sqlite(Sqlite::in_memory()?))
    }
    pub(super) fn with(db: Db) -> Result<Self, StoreError> {
        schema::migrate(&db)?;
        Ok(Self { db })
    }
    pub(super) fn db(&self) -> &Db {
        &self.db
    }
    /// Keeps a delivery; the same again is a no-op, another one for the same use is a contradiction.
    /// Returns whether it was new.
    pub fn keep(&self, d: &Delivery, received: UnixMillis) -> Result<bool, StoreError> {
        let body = text("delivery", d)?;
        let (report, side) = (d.opening.report_id.to_string(), side_name(d.side));
        self.db.write(|s| {
            let before = s.row(
                "select body from delivery where asker = ?1 and report_id = ?2 and side = ?3 and node = ?4",
                values![d.asker.as_str(), &report, side, d.node.as_str()],
            )?;
            if let Some(before) = before {
                let old: Delivery = value("delivery", before.text(0)?)?;
                if old.statement != d.statement || old.opening != d.opening {
                    return Err(StoreError::Contradiction { node: d.node.clone(), side });
                }
                // a later answer to the same use replaces an earlier "missing"
                s.execute(
                    "update delivery set body = ?5
                       where asker = ?1 and report_id = ?2 and side = ?3 and node = ?4",
                    values![d.asker.as_str(), &report, side, d.node.as_str(), body],
                )?;
                return Ok(false);
            }
            s.execute(
                "insert into delivery (asker, report_id, side, node, subject, authz_id, received, body)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                values![
                    d.asker.as_str(),
                    &report,
                    side,
                    d.node.as_str(),
                    d.opening.subject.expose(),
                    d.opening.authz_id.to_string(),
                    received,
                    body,
                ],
            )?;
            Ok(true)
        })
    }
    /// Deliveries about one subject, oldest first; the newest [`MAX_ROWS`] of them.
    pub fn about(&self, subject: &Uscc) -> Result<Vec<Delivered>, StoreError> {
        self.deliveries(
            "select d.body, d.received from (select body, received from delivery where subject = ?1
               order by received desc limit ?2) d order by d.received",
            subject.expose(),
        )
    }
    /// All deliveries of one use, at most [`MAX_ROWS`].
    pub fn of_use(&self, asker: &InstitutionId, report: &ReportId) -> Result<Vec<Delivered>, StoreError> {
        let found = self.deliveries(
            "select body, received from delivery where report_id = ?1 order by received limit ?2",
            &report.to_string(),
        )?;
        Ok(found.into_iter().filter(|d| &d.delivery.asker == asker).collect())
    }
    fn deliveries(&self, sql: &str, key: &str) -> Result<Vec<Delivered>, StoreError> {
        self.db.read(|s| s.rows(sql, values![key, MAX_ROWS]))?.iter().map(delivered).collect()
    }
    /// Look-ups of one subject by the supervisor's own staff: (when, who, reason).
    pub fn lookups(&self, subject: &Uscc) -> Result<Vec<(UnixMillis, String, String)>, StoreError> {
        let sql = "select at, who, reason from lookup where subject = ?1 order by at limit ?2";
        let rows = self.db.read(|s| s.rows(sql, values![subject.expose(), MAX_ROWS]))?;
        let lookup = |row: &Row| Ok((row.time(0)?, row.text(1)?.to_owned(), row.text(2)?.to_owned()));
        rows.iter().map(lookup).collect()
    }
}
