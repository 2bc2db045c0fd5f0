//! SQLite: one file, one connection that writes, every commit on the disk.

use super::{DbError, Row, Session, Value};
use rusqlite::{
    Connection, Transaction, TransactionBehavior, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Another process has the file: a backup, the same supervisor started twice.
const WAIT: Duration = Duration::from_secs(5);
/// More than we have statements.
const STATEMENTS: usize = 64;

/// Looks that go on beside one another, and beside a change: nobody waits for another's disk.
const READERS: usize = 2;

/// A database in a file.
pub struct Sqlite {
    writer: Mutex<Connection>,
    /// none for a database in memory, which is its connection's own
    readers: Vec<Mutex<Connection>>,
}

impl Sqlite {
    /// Opens or makes the file.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let writer = Self::writer(Connection::open(path)?)?;
        let reader = || {
            let db = Connection::open(path)?;
            db.busy_timeout(WAIT)?;
            db.pragma_update(None, "query_only", "on")?;
            db.set_prepared_statement_cache_capacity(STATEMENTS);
            Ok(Mutex::new(db))
        };
        let readers = (0..READERS).map(|_| reader()).collect::<Result<_, DbError>>()?;
        Ok(Self { writer, readers })
    }
    /// In memory, for tests.
    pub fn in_memory() -> Result<Self, DbError> {
        Ok(Self { writer: Self::writer(Connection::open_in_memory()?)?, readers: Vec::new() })
    }
    fn writer(db: Connection) -> Result<Mutex<Connection>, DbError> {
        db.busy_timeout(WAIT)?;
        // readers see the last change that was completed
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        db.pragma_update(None, "secure_delete", "on")?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Mutex::new(db))
    }

    /// A reader that is free, else the first.
    fn reader(&self) -> MutexGuard<'_, Connection> {
        let free = self.readers.iter().find_map(|reader| reader.try_lock().ok());
        let first = self.readers.first().unwrap_or(&self.writer);
        free.unwrap_or_else(|| first.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn transaction<T, E: From<DbError>>(
        &self,
        write: bool,
        work: impl FnOnce(&mut dyn Session) -> Result<T, E>,
    ) -> Result<T, E> {
        let (mut db, kind) = if write {
            (self.writer.lock().unwrap_or_else(PoisonError::into_inner), TransactionBehavior::Immediate)
        } else {
            (self.reader(), TransactionBehavior::Deferred)
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::db::values;

    #[test]
    fn looks_go_on_beside_a_change_and_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let db = Sqlite::open(&folder.path().join("db")).unwrap();
        let count = || {
            let row = db.transaction(false, |s| s.row("select count(*) from t", &[])).unwrap().unwrap();
            row.int(0).unwrap()
        };
        db.transaction(true, |s| s.batch("create table t (a {int}){end}")).unwrap();
        db.transaction(true, |s| {
            s.execute("insert into t values (?1)", values![1_i64])?;
            // by another connection, while this one has not ended
            assert_eq!(count(), 0);
            Ok::<_, DbError>(())
        })
        .unwrap();
        assert_eq!(count(), 1);
        let failed = db.transaction(true, |s| {
            s.execute("insert into t values (?1)", values![2_i64])?;
            s.execute("insert into nothing values (1)", &[])
        });
        assert!(failed.is_err() && count() == 1, "half a change is none");
        let looked = db.transaction(false, |s| s.execute("delete from t", &[])).unwrap_err().to_string();
        assert!(looked.contains("readonly"), "{looked}");
    }
}
