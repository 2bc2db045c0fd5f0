//! The supervisor's openings in SQLite: deliveries, and its own look-ups. Verdicts: `attest/history.rs`.
//!
//! The one place besides an institution's own documents where a company code stands next to a report id;
//! erasure after retention deletes rows here. PostgreSQL comes with a later issue behind the same functions.

use gw_proto::{InstitutionId, NodeId, ReportId, UnixMillis, Uscc, message::Delivery, record::Side};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::{
    path::Path,
    sync::{Mutex, MutexGuard},
};

/// The most rows that one question returns.
pub const MAX_ROWS: u32 = 1_000;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said no.
    #[error("supervisor's database: {0}")]
    Sql(#[from] rusqlite::Error),
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

/// Deliveries and look-ups.
pub struct SupervisorStore {
    db: Mutex<Connection>,
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Asker => "asker",
        Side::Source => "source",
    }
}

impl SupervisorStore {
    /// Opens or makes the database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::with(Connection::open(path)?)
    }
    /// In memory, for tests.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::with(Connection::open_in_memory()?)
    }
    fn with(db: Connection) -> Result<Self, StoreError> {
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        db.pragma_update(None, "secure_delete", "on")?;
        db.execute_batch(
            "create table if not exists delivery (
               asker text not null, report_id text not null, side text not null, node text not null,
               subject text not null, authz_id text not null, received integer not null, body text not null,
               primary key (asker, report_id, side, node)) strict;
             create index if not exists delivery_subject on delivery (subject, received);
             create index if not exists delivery_use on delivery (report_id);
             create table if not exists lookup (
               at integer not null, who text not null, subject text not null, reason text not null) strict;",
        )?;
        db.execute_batch(super::attest::history::TABLES)?;
        super::attest::history::migrate(&db)?;
        db.execute_batch(super::audit::TABLE)?;
        db.execute_batch(super::four_eyes::store::TABLE)?;
        Ok(Self { db: Mutex::new(db) })
    }
    pub(super) fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
    /// Keeps a delivery; the same again is a no-op, another one for the same use is a contradiction.
    /// Returns whether it was new.
    pub fn keep(&self, d: &Delivery, received: UnixMillis) -> Result<bool, StoreError> {
        let body = serde_json::to_string(d).map_err(|e| StoreError::Row("delivery", e.to_string()))?;
        let (report, side) = (d.opening.report_id.to_string(), side_name(d.side));
        let mut db = self.db();
        let tx = db.transaction()?;
        let key = params![d.asker.as_str(), report, side, d.node.as_str()];
        let before: Option<String> = tx
            .query_row(
                "select body from delivery where asker = ?1 and report_id = ?2 and side = ?3 and node = ?4",
                key,
                |r| r.get(0),
            )
            .optional()?;
        if let Some(before) = before {
            let old: Delivery =
                serde_json::from_str(&before).map_err(|e| StoreError::Row("delivery", e.to_string()))?;
            if old.statement != d.statement || old.opening != d.opening {
                return Err(StoreError::Contradiction { node: d.node.clone(), side });
            }
            // a later answer to the same use replaces an earlier "missing"
            tx.execute(
                "update delivery set body = ?5 where asker = ?1 and report_id = ?2 and side = ?3 and node = ?4",
                params![d.asker.as_str(), report, side, d.node.as_str(), body],
            )?;
            tx.commit()?;
            return Ok(false);
        }
        tx.execute(
            "insert into delivery (asker, report_id, side, node, subject, authz_id, received, body)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                d.asker.as_str(),
                report,
                side,
                d.node.as_str(),
                d.opening.subject.expose(),
                d.opening.authz_id.to_string(),
                i64::try_from(received.0).unwrap_or(i64::MAX),
                body
            ],
        )?;
        tx.commit()?;
        Ok(true)
    }
    /// Deliveries about one subject, oldest first; the newest [`MAX_ROWS`] of them.
    pub fn about(&self, subject: &Uscc) -> Result<Vec<Delivered>, StoreError> {
        self.rows(
            "select body, received from (select body, received from delivery where subject = ?1
               order by received desc limit ?2) order by received",
            subject.expose(),
        )
    }
    /// All deliveries of one use, at most [`MAX_ROWS`].
    pub fn of_use(&self, asker: &InstitutionId, report: &ReportId) -> Result<Vec<Delivered>, StoreError> {
        let found = self.rows(
            "select body, received from delivery where report_id = ?1 order by received limit ?2",
            &report.to_string(),
        )?;
        Ok(found.into_iter().filter(|d| &d.delivery.asker == asker).collect())
    }
    fn rows(&self, sql: &str, key: &str) -> Result<Vec<Delivered>, StoreError> {
        let db = self.db();
        let mut q = db.prepare_cached(sql)?;
        let rows =
            q.query_map(params![key, MAX_ROWS], |r| Ok((r.get::<_, String>(0)?, r.get::<_, i64>(1)?)))?;
        let mut out = Vec::new();
        for row in rows {
            let (body, received) = row?;
            let delivery =
                serde_json::from_str(&body).map_err(|e| StoreError::Row("delivery", e.to_string()))?;
            out.push(Delivered { delivery, received: UnixMillis(u64::try_from(received).unwrap_or(0)) });
        }
        Ok(out)
    }
    /// Records a look-up of the supervisor's own staff, before its result is shown.
    pub fn note_lookup(
        &self,
        at: UnixMillis,
        who: &str,
        subject: &Uscc,
        reason: &str,
    ) -> Result<(), StoreError> {
        self.db().execute(
            "insert into lookup (at, who, subject, reason) values (?1, ?2, ?3, ?4)",
            params![i64::try_from(at.0).unwrap_or(i64::MAX), who, subject.expose(), reason],
        )?;
        Ok(())
    }
    /// Look-ups of one subject by the supervisor's own staff: (when, who, reason).
    pub fn lookups(&self, subject: &Uscc) -> Result<Vec<(UnixMillis, String, String)>, StoreError> {
        let db = self.db();
        let mut q =
            db.prepare_cached("select at, who, reason from lookup where subject = ?1 order by at limit ?2")?;
        let rows = q.query_map(params![subject.expose(), MAX_ROWS], |r| {
            Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?))
        })?;
        rows.map(|r| {
            let (at, who, reason) = r?;
            Ok((UnixMillis(u64::try_from(at).unwrap_or(0)), who, reason))
        })
        .collect()
    }
}
