//! SQLite: one file, one connection, every commit on the disk.

use super::{DbError, Row, Session, Value};
use rusqlite::{
    Connection, Transaction, TransactionBehavior, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Another process has the file: a backup, the same supervisor started twice.
const WAIT: Duration = Duration::from_secs(5);
/// More than we have statements.
const STATEMENTS: usize = 64;

/// A database in a file.
pub struct Sqlite(Mutex<Connection>);

impl Sqlite {
    /// Opens or makes the file.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        Self::with(Connection::open(path)?)
    }
    /// In memory, for tests.
    pub fn in_memory() -> Result<Self, DbError> {
        Self::with(Connection::open_in_memory()?)
    }
    fn with(db: Connection) -> Result<Self, DbError> {
        db.busy_timeout(WAIT)?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        db.pragma_update(None, "secure_delete", "on")?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self(Mutex::new(db)))
    }

    pub(super) fn transaction<T, E: From<DbError>>(
        &self,
        write: bool,
        work: impl FnOnce(&mut dyn Session) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut db = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = if write { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
        let tx = db.transaction_with_behavior(kind).map_err(DbError::from)?;
        let done = work(&mut Open(&tx))?;
        tx.commit().map_err(DbError::from)?;
        Ok(done)
    }
}

struct Open<'a>(&'a Transaction<'a>);

impl Session for Open<'_> {
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, DbError> {
        let changed = self.0.prepare_cached(sql)?.execute(params_from_iter(values))?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }
    fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        let mut asked = self.0.prepare_cached(sql)?;
        let columns = asked.column_count();
        let rows = asked.query_map(params_from_iter(values), |row| {
            (0..columns).map(|column| value(row.get_ref(column)?, column)).collect::<Result<_, _>>().map(Row)
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
    fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        let sql = sql.replace("{int}", "integer").replace("{id}", "integer primary key");
        Ok(self.0.execute_batch(&sql.replace("{end}", " strict"))?)
    }
}

fn value(found: ValueRef<'_>, column: usize) -> Result<Value, rusqlite::Error> {
    match found {
        ValueRef::Null => Ok(Value::Text(None)),
        ValueRef::Integer(v) => Ok(Value::Int(Some(v))),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|e| rusqlite::Error::Utf8Error(column, e))?;
            Ok(Value::Text(Some(text.to_owned())))
        }
        other => Err(rusqlite::Error::InvalidColumnType(column, String::new(), other.data_type())),
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(Some(v)) => ValueRef::Integer(*v),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Int(None) | Self::Text(None) => ValueRef::Null,
        }))
    }
}
