//! The audit trail: what a supervisor's people did, each row linked to the one before.
//!
//! A row taken out of the middle, or changed, breaks the links; one taken off the end is missed by the journal,
//! which notes number and link of each row. Rows are kept for good: people act seldom.

use super::{
    db::{self, Session, values},
    store::{StoreError, SupervisorStore, digest, text},
};
use crate::{app::App, reject::Rejection};
use gw_journal::{Entry, Journal, JournalError};
use gw_proto::{
    Digest, Hex, UnixMillis,
    canon::{domain, domain_digest},
    sm3,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// The most rows of one answer.
pub const MAX_ROWS: u32 = 500;
/// Entries of the journal that are looked through, from its end, for the last noted row.
const LOOK_BACK: u64 = 100_000;
/// … so many at a time.
const CHUNK: u64 = 500;

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// counted from 1, without gaps
    pub n: u64,
    /// when
    pub at: UnixMillis,
    /// the operator's name; `-` where nobody acted
    pub by: String,
    /// what: `propose`, `approve`, `enrol`, `look-up` …
    pub act: String,
    /// on what, why
    pub what: Value,
}

/// One row, as it is kept and exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// an [`Act`] in JSON: these very bytes are linked
    pub body: String,
    /// H(the link before ‖ SM3(body)); the first follows 32 zero bytes
    pub chain: Digest,
}

/// A place in the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// how many rows
    pub n: u64,
    /// the link of the last
    pub chain: Digest,
}

impl Mark {
    /// Before the first row.
    pub const START: Self = Self { n: 0, chain: Hex([0; 32]) };
}

/// Rows, and how far the journal says that they go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trail {
    /// in order
    pub rows: Vec<Row>,
    /// the newest that the journal has noted
    pub noted: Option<Mark>,
}

/// Where a trail is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Not a row of ours.
    #[error("row {0} of the audit trail cannot be read")]
    Form(u64),
    /// A row is missing, or there twice.
    #[error("row {wanted} of the audit trail is missing: {found} stands in its place")]
    Missing {
        /// expected
        wanted: u64,
        /// there
        found: u64,
    },
    /// A row was changed, or one before it.
    #[error("row {0} of the audit trail is not the one that was written")]
    Link(u64),
    /// The end is missing.
    #[error("the audit trail ends with row {kept}, the journal has noted row {noted}")]
    Short {
        /// rows that are there
        kept: u64,
        /// rows that were
        noted: u64,
    },
}

fn link(before: &Digest, body: &str) -> Digest {
    domain_digest(domain::AUDIT, &[before.0, sm3(body.as_bytes()).0].concat())
}

/// Follows rows from a place on; the place after the last.
pub fn follow(from: Mark, rows: &[Row]) -> Result<Mark, Broken> {
    let mut at = from;
    for row in rows {
        let wanted = at.n + 1;
        let act: Act = serde_json::from_str(&row.body).map_err(|_| Broken::Form(wanted))?;
        if act.n != wanted {
            return Err(Broken::Missing { wanted, found: act.n });
        }
        if link(&at.chain, &row.body) != row.chain {
            return Err(Broken::Link(wanted));
        }
        at = Mark { n: wanted, chain: row.chain };
    }
    Ok(at)
}

impl Trail {
    /// Checks a whole trail: its links, and its end against the journal's.
    pub fn check(&self) -> Result<Mark, Broken> {
        let end = follow(Mark::START, &self.rows)?;
        let Some(noted) = self.noted else { return Ok(end) };
        let Some(before) = noted.n.checked_sub(1) else { return Ok(end) };
        let row = usize::try_from(before).ok().and_then(|i| self.rows.get(i));
        match row {
            None => Err(Broken::Short { kept: end.n, noted: noted.n }),
            Some(row) if row.chain != noted.chain => Err(Broken::Link(noted.n)),
            Some(_) => Ok(end),
        }
    }
}

/// A row to be added.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// when
    pub at: UnixMillis,
    /// by whom
    pub by: &'a str,
    /// what
    pub act: &'a str,
    /// on what, why
    pub what: &'a Value,
}

impl Told<'_> {
    /// Alone: the last link is read, and the next one written.
    fn add(&self, s: &mut dyn Session) -> Result<Mark, StoreError> {
        let before = match s.row("select n, chain from audit order by n desc limit 1", &[])? {
            None => Mark::START,
            Some(row) => Mark { n: row.number(0)?, chain: digest(row.text(1)?)? },
        };
        let n = before.n + 1;
        let (by, act, what) = (self.by.to_owned(), self.act.to_owned(), self.what.clone());
        let body = text("audit", &Act { n, at: self.at, by, act, what })?;
        let chain = link(&before.chain, &body);
        s.execute("insert into audit (n, body, chain) values (?1, ?2, ?3)", values![n, body, chain])?;
        Ok(Mark { n, chain })
    }
}

impl SupervisorStore {
    /// Adds a row and does what it tells of: both, or neither. What `work` refuses without an error is on record too.
    pub fn act<T>(
        &self,
        told: Told<'_>,
        work: impl FnOnce(&mut dyn Session) -> Result<T, StoreError>,
    ) -> Result<(T, Mark), StoreError> {
        self.db().write(|s| {
            let mark = told.add(s)?;
            Ok((work(s)?, mark))
        })
    }

    /// At most [`MAX_ROWS`] rows after the n-th.
    pub fn acts(&self, after: u64) -> Result<Vec<Row>, StoreError> {
        let sql = "select body, chain from audit where n > ?1 order by n limit ?2";
        let rows = self.db().read(|s| s.rows(sql, values![after, MAX_ROWS]))?;
        let row = |r: &db::Row| Ok(Row { body: r.text(0)?.to_owned(), chain: digest(r.text(1)?)? });
        rows.iter().map(row).collect()
    }

    /// The number of the last row.
    pub fn last_act(&self) -> Result<u64, StoreError> {
        let found = self.db().read(|s| s.row("select coalesce(max(n), 0) from audit", &[]))?;
        Ok(found.map(|row| row.number(0)).transpose()?.unwrap_or(0))
    }
}

impl App {
    /// Records what one of this gateway's people does, before it is done: in the journal, and at a supervisor in
    /// the audit trail first.
    pub async fn audit(self: &Arc<Self>, by: &str, act: &'static str, what: Value) -> Result<(), Rejection> {
        let mut note = json!({ "by": by, "what": &what });
        if self.supervisor.is_some() {
            let ((), mark) = self.in_store(by, act, what, |_| Ok(())).await?;
            if let Some(note) = note.as_object_mut() {
                note.insert("audit".to_owned(), json!(mark));
            }
        }
        self.journal_note(act, note).await
    }

    /// The same of what changes the supervisor's database: row and change are there together or not at all. The
    /// journal has the intent before, and the row's place after.
    pub async fn act<T: Send + 'static>(
        self: &Arc<Self>,
        by: &str,
        act: &'static str,
        what: Value,
        work: impl FnOnce(&mut dyn Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Rejection> {
        self.supervisor_store()?;
        self.journal_note(act, json!({ "by": by, "what": &what })).await?;
        let (done, mark) = self.in_store(by, act, what, work).await?;
        self.journal_note("audit", json!({ "audit": mark })).await?;
        Ok(done)
    }

    async fn in_store<T: Send + 'static>(
        self: &Arc<Self>,
        by: &str,
        act: &'static str,
        what: Value,
        work: impl FnOnce(&mut dyn Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(T, Mark), Rejection> {
        let (app, by) = (Arc::clone(self), by.to_owned());
        let written = tokio::task::spawn_blocking(move || {
            let told = Told { at: app.clock.now(), by: &by, act, what: &what };
            app.supervisor_store()?.act(told, work).map_err(Rejection::internal)
        });
        written.await.map_err(Rejection::internal)?
    }
}

/// The newest row that the journal has noted. Blocks.
pub fn noted(journal: &Journal) -> Result<Option<Mark>, JournalError> {
    let end = journal.head().index;
    let mut before = end + 1;
    while before > 1 && end - (before - 1) < LOOK_BACK {
        let from = before.saturating_sub(CHUNK).max(1);
        let limit = usize::try_from(before - from).unwrap_or(0);
        let entries = journal.entries(from, limit)?;
        // two acts at once may be noted in either order
        let newest = entries.iter().filter_map(|e| mark_of(&e.entry)).max_by_key(|m| m.n);
        if newest.is_some() {
            return Ok(newest);
        }
        before = from;
    }
    Ok(None)
}

fn mark_of(entry: &Entry) -> Option<Mark> {
    match entry {
        Entry::Note(note) => serde_json::from_value(note.data.get("audit")?.clone()).ok(),
        _ => None,
    }
}

/// The rows after the n-th, and how far the journal says that they go. Blocks.
pub fn read(app: &App, after: u64) -> Result<Trail, Rejection> {
    // first: what is noted after this look is not missed
    let noted = noted(&app.journal).map_err(Rejection::internal)?;
    let rows = app.supervisor_store()?.acts(after).map_err(Rejection::internal)?;
    Ok(Trail { rows, noted })
}

/// Checks the whole trail, a page at a time. Blocks.
pub fn check(app: &App) -> Result<Result<Mark, Broken>, Rejection> {
    let (mut at, mut noted_row) = (Mark::START, None);
    let noted = noted(&app.journal).map_err(Rejection::internal)?;
    loop {
        let rows = app.supervisor_store()?.acts(at.n).map_err(Rejection::internal)?;
        if rows.is_empty() {
            break;
        }
        let before = at.n;
        at = match follow(at, &rows) {
            Ok(at) => at,
            Err(broken) => return Ok(Err(broken)),
        };
        let wanted = noted.and_then(|m| m.n.checked_sub(before + 1)).and_then(|i| usize::try_from(i).ok());
        noted_row = wanted.and_then(|i| rows.get(i)).map(|r| r.chain).or(noted_row);
    }
    Ok(match noted {
        Some(noted) if noted.n > at.n => Err(Broken::Short { kept: at.n, noted: noted.n }),
        Some(noted) if noted_row != Some(noted.chain) => Err(Broken::Link(noted.n)),
        _ => Ok(at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(n: u64) -> (SupervisorStore, Trail) {
        let store = SupervisorStore::in_memory().unwrap();
        let mut noted = None;
        for i in 1..=n {
            let what = json!({ "device": format!("bank-{i}") });
            let told = Told { at: UnixMillis(i), by: "op", act: "enrol", what: &what };
            noted = Some(store.act(told, |_| Ok(())).unwrap().1);
        }
        let rows = store.acts(0).unwrap();
        (store, Trail { rows, noted })
    }

    #[test]
    fn what_was_written_holds_and_goes_on_after_reopening() {
        let (store, trail) = written(5);
        let end = trail.check().unwrap();
        assert_eq!((end.n, Some(end), store.last_act().unwrap()), (5, trail.noted, 5));
        // page by page
        let first = follow(Mark::START, &trail.rows[..2]).unwrap();
        assert_eq!(follow(first, &store.acts(2).unwrap()).unwrap(), end);
        assert_eq!(written(0).1.check().unwrap(), Mark::START);
        let act: Act = serde_json::from_str(&trail.rows[1].body).unwrap();
        assert_eq!((act.n, act.by.as_str(), act.what["device"].as_str()), (2, "op", Some("bank-2")));
    }

    #[test]
    fn a_row_removed_changed_moved_or_added_shows() {
        let (_, whole) = written(5);
        let bent = |bend: fn(&mut Trail)| {
            let mut trail = whole.clone();
            bend(&mut trail);
            trail.check().unwrap_err()
        };
        assert_eq!(bent(|t| drop(t.rows.remove(0))), Broken::Missing { wanted: 1, found: 2 });
        assert_eq!(bent(|t| drop(t.rows.remove(2))), Broken::Missing { wanted: 3, found: 4 });
        assert_eq!(bent(|t| drop(t.rows.pop())), Broken::Short { kept: 4, noted: 5 });
        assert_eq!(bent(|t| t.rows.clear()), Broken::Short { kept: 0, noted: 5 });
        assert_eq!(bent(|t| t.rows.swap(1, 2)), Broken::Missing { wanted: 2, found: 3 });
        assert_eq!(bent(|t| t.rows[3].body = t.rows[3].body.replace("\"op\"", "\"ot\"")), Broken::Link(4));
        assert_eq!(bent(|t| t.rows[3].body.clear()), Broken::Form(4));
        // all later links made anew: the journal has another one
        let remade = bent(|t| {
            t.rows[3].body = t.rows[3].body.replace("\"op\"", "\"ot\"");
            let mut before = t.rows[2].chain;
            for row in &mut t.rows[3..] {
                row.chain = link(&before, &row.body);
                before = row.chain;
            }
        });
        assert_eq!(remade, Broken::Link(5));
        // a row behind the noted one is no fault: it is written first
        let (mut trail, noted) = (written(6).1, whole.noted);
        trail.noted = noted;
        assert_eq!(trail.check().unwrap().n, 6);
    }
}
