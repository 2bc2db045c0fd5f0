//! A source's SQLite file: read-only, one snapshot per question, stopped at the deadline.
//!
//! Four locks on the same door: the file is opened read-only, `query_only` is on, an authorizer allows
//! nothing but SELECT and reading, and each statement is checked to be one SELECT with one parameter. The
//! subject is a checked [`Uscc`] and only ever *bound*. Sorting spills to memory, not to a temporary file.
//!
//! A file that is replaced by another (a nightly export moved into place) is opened anew at the next question.
//! A file in WAL mode needs its `-shm` file readable and writable by the gateway, or none at all.

use super::{FetchLimits, Meter, Snapshot, SourceAdapter};
use crate::{
    Mapping, SourceError,
    catalogue::ItemProblem,
    mapping::{CheckReport, Query, check_database},
};
use gw_proto::{Clock, Dimension, Uscc, report::Item};
use rusqlite::{
    Connection, OpenFlags,
    config::DbConfig,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
};
use std::{
    collections::HashSet,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Instructions of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS: i32 = 1000;
/// How long a read waits for a writer of the database, at most.
const WRITER_WAIT: Duration = Duration::from_secs(1);

/// How a source is opened.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// the file
    pub path: PathBuf,
    /// most connections, 1 to 64; four serve two cores
    pub connections: usize,
}

/// A source behind SQLite.
pub struct SqliteSource {
    options: SqliteOptions,
    mapping: Mapping,
    clock: Arc<dyn Clock>,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Handle>,
    lent: usize,
}

/// Device, inode: tells a replaced file from the one that is open.
type FileId = (u64, u64);

struct Handle {
    conn: Connection,
    file: FileId,
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl std::fmt::Debug for SqliteSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteSource").field("path", &self.options.path).finish_non_exhaustive()
    }
}

impl SqliteSource {
    /// Opens the file and checks the mapping against it. Refuses to start with problems; the report's warnings
    /// are for the log.
    pub fn open(
        options: SqliteOptions,
        mapping: Mapping,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, CheckReport), SourceError> {
        let options = SqliteOptions { connections: options.connections.clamp(1, 64), ..options };
        let source = Self { options, mapping, clock, pool: Mutex::default() };
        let report = source.check()?;
        if report.is_ok() {
            Ok((source, report))
        } else {
            Err(SourceError::Mapping { problems: report.problems })
        }
    }

    /// How many read at once: what [`super::BlockingSource`] should be given.
    pub fn connections(&self) -> usize {
        self.options.connections
    }

    fn lend(&self) -> Result<Lent<'_>, SourceError> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.lent >= self.options.connections {
            return Err(SourceError::Busy { limit: self.options.connections });
        }
        pool.lent += 1;
        let idle = pool.idle.pop();
        drop(pool);
        let mut lent = Lent { source: self, handle: None };
        let same = idle.filter(|h| file_id(&self.options.path).is_ok_and(|id| id == h.file));
        lent.handle = Some(match same {
            Some(handle) => handle,
            None => Handle::open(&self.options.path, &self.clock)?,
        });
        Ok(lent)
    }

    fn with_connection<T>(
        &self,
        deadline: Option<Instant>,
        read: impl FnOnce(&Connection) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let mut lent = self.lend()?;
        let Some(handle) = &lent.handle else { return Err(SourceError::Ended) };
        *handle.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        let left = deadline.map_or(WRITER_WAIT, |d| d.saturating_duration_since(self.clock.instant()));
        let failed = |source| SourceError::Open { path: self.options.path.clone(), source };
        handle.conn.busy_timeout(left.min(WRITER_WAIT)).map_err(failed)?;
        let result = read(&handle.conn);
        if matches!(result, Err(SourceError::Query { .. } | SourceError::Open { .. })) {
            lent.handle = None; // whatever it was, the next question starts with a fresh connection
        }
        result
    }

    fn passed(&self, limits: &FetchLimits) -> bool {
        self.clock.instant() >= limits.deadline
    }

    fn read_query(
        &self,
        conn: &Connection,
        query: &Query,
        subject: &Uscc,
        dimensions: &[Dimension],
        reading: &mut Reading<'_>,
    ) -> Result<(), SourceError> {
        let failed = |e| query.failed(e);
        let mut statement = conn.prepare_cached(&query.sql).map_err(failed)?;
        let mut rows = statement.query(&[(":subject", subject.expose())]).map_err(failed)?;
        let mut number = 0;
        while let Some(row) = rows.next().map_err(failed)? {
            number += 1;
            let place = || format!("query `{}`", query.name);
            if number > reading.meter.limits.max_rows {
                let limit = reading.meter.limits.max_rows;
                return Err(SourceError::TooMuch { place: place(), unit: "rows", limit });
            }
            if self.passed(reading.meter.limits) {
                return Err(SourceError::Deadline { place: place() });
            }
            for item in query.read_row(self.mapping.catalogue(), dimensions, row, number)? {
                reading.meter.add(&item)?;
                if !reading.seen.insert((item.id.clone(), item.key.clone())) {
                    return Err(query.not_an_item(number, ItemProblem::Repeated { id: item.id }));
                }
                reading.items.push(item);
            }
        }
        Ok(())
    }
}

/// One question's state.
struct Reading<'l> {
    meter: Meter<'l>,
    seen: HashSet<(String, Option<String>)>,
    items: Vec<Item>,
}

impl SourceAdapter for SqliteSource {
    fn fetch(
        &self,
        subject: &Uscc,
        dimensions: &[Dimension],
        limits: &FetchLimits,
    ) -> Result<Snapshot, SourceError> {
        if self.passed(limits) {
            return Err(SourceError::Deadline { place: "nothing yet".to_owned() });
        }
        self.with_connection(Some(limits.deadline), |conn| {
            let failed = |source| SourceError::Query { query: "begin".to_owned(), source };
            // one transaction: all queries see the same moment, even while the bureau writes
            let transaction = conn.unchecked_transaction().map_err(failed)?;
            let as_of = self.clock.now();
            let mut reading = Reading { meter: Meter::new(limits), seen: HashSet::new(), items: Vec::new() };
            for query in self.mapping.queries().iter().filter(|q| q.concerns(dimensions)) {
                self.read_query(&transaction, query, subject, dimensions, &mut reading)?;
            }
            let mut items = reading.items;
            let catalogue = self.mapping.catalogue();
            items.sort_by_cached_key(|i| (catalogue.position(&i.id), i.key.clone()));
            Ok(Snapshot { as_of, items })
        })
    }

    fn check(&self) -> Result<CheckReport, SourceError> {
        self.with_connection(None, |conn| Ok(check_database(conn, &self.mapping)))
    }
}

/// Gives its connection, or its place, back on every way out.
struct Lent<'s> {
    source: &'s SqliteSource,
    handle: Option<Handle>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.source.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.lent = pool.lent.saturating_sub(1);
        pool.idle.extend(self.handle.take());
    }
}

fn file_id(path: &Path) -> std::io::Result<FileId> {
    std::fs::metadata(path).map(|m| (m.dev(), m.ino()))
}

impl Handle {
    fn open(path: &Path, clock: &Arc<dyn Clock>) -> Result<Self, SourceError> {
        let file = file_id(path).map_err(|source| SourceError::File { path: path.to_owned(), source })?;
        let deadline = Arc::new(Mutex::new(None));
        let conn = prepare(path, clock, &deadline)
            .map_err(|source| SourceError::Open { path: path.to_owned(), source })?;
        Ok(Self { conn, file, deadline })
    }
}

fn prepare(
    path: &Path,
    clock: &Arc<dyn Clock>,
    deadline: &Arc<Mutex<Option<Instant>>>,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags)?;
    // a mistyped column in double quotes would otherwise be read as a string
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, 4 * 1024 * 1024)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    conn.set_prepared_statement_cache_capacity(crate::mapping::MAX_QUERIES + 4);
    let (clock, deadline) = (clock.clone(), deadline.clone());
    let passed = move || {
        let deadline = *deadline.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.is_some_and(|d| clock.instant() >= d)
    };
    conn.progress_handler(STEPS, Some(passed))?;
    conn.authorizer(Some(only_reading))?;
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?; // it is SQLite at all
    Ok(conn)
}

fn only_reading(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Recursive
        | AuthAction::Transaction { .. } => Authorization::Allow,
        AuthAction::Function { function_name } if function_name != "load_extension" => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
