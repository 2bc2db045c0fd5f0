//! The supervisor's database: SQLite by default, PostgreSQL when configured, one set of statements for both.
//!
//! | file | what |
//! |---|---|
//! | [`sqlite`] | a file of this box |
//! | [`postgres`] | a server: bounded connections, deadlines, anew after it was away |
//! | [`tls`] | the way to that server |
//! | [`schema`] | tables, and what makes an older database a present one |
//!
//! Parameters are written `?1`. What a caller does happens in one transaction, of which there are two kinds: [`Db::read`]
//! sees one state of all tables; [`Db::write`] is alone, among all processes that have this database.

pub mod postgres;
pub mod schema;
pub mod sqlite;
#[cfg(test)]
#[path = "../../../../tests/src/harness/postgres.rs"]
#[expect(unreachable_pub, dead_code, reason = "a file of the black-box tests, which need more of it")]
pub(crate) mod test_server;
pub mod tls;

use gw_proto::{Digest, UnixMillis};
use hsm_api::backend::SecretError;
use postgres::Postgres;
use sqlite::Sqlite;

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// SQLite said no.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No connection.
    #[error(
        "cannot connect to {at}: {why}; check that the server runs, [supervisor.postgresql], and the server's pg_hba.conf"
    )]
    Connect {
        /// user, host, database
        at: String,
        /// what the library or the server says
        why: String,
    },
    /// PostgreSQL said no.
    #[error("{at}: {why}")]
    Postgres {
        /// user, host, database
        at: String,
        /// what it says, with its SQLSTATE
        why: String,
    },
    /// The server is there and does not answer.
    #[error("{at} did not answer within {seconds} s; look at the server's load, locks and disk")]
    Late {
        /// user, host, database
        at: String,
        /// how long was waited
        seconds: u64,
    },
    /// Everybody waits.
    #[error(
        "all {connections} connections to {at} were in use for {seconds} s; raise supervisor.postgresql.connections, or find what is slow"
    )]
    Busy {
        /// user, host, database
        at: String,
        /// as configured
        connections: usize,
        /// how long was waited
        seconds: u64,
    },
    /// The file with the password.
    #[error("supervisor.postgresql.password_file: {0}")]
    Password(#[from] SecretError),
    /// The server's roots, or a provider that cannot do TLS 1.3.
    #[error("supervisor.postgresql.roots: {0}")]
    Tls(String),
    /// A later program's.
    #[error(
        "the database has schema {found}, this program knows {known}: a newer program wrote it; start that one"
    )]
    Newer {
        /// in the database
        found: i64,
        /// in this program
        known: i64,
    },
    /// Another kind of column, or none.
    #[error("column {column} of an answer is not {expected}")]
    Column {
        /// from 0
        column: usize,
        /// what was asked for
        expected: &'static str,
    },
}

/// What goes in, and comes out. All our columns are one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// 64 bits
    Int(Option<i64>),
    /// UTF-8
    Text(Option<String>),
}

macro_rules! from {
    ($($type:ty, $value:ident => $made:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        })*
    };
}

from! {
    i64, v => Self::Int(Some(v));
    u32, v => Self::Int(Some(v.into()));
    Option<i64>, v => Self::Int(v);
    bool, v => Self::Int(Some(v.into()));
    u64, v => Self::Int(Some(i64::try_from(v).unwrap_or(i64::MAX)));
    UnixMillis, v => Self::from(v.0);
    Option<UnixMillis>, v => Self::Int(v.map(|at| i64::try_from(at.0).unwrap_or(i64::MAX)));
    &str, v => Self::Text(Some(v.to_owned()));
    String, v => Self::Text(Some(v));
    &String, v => Self::Text(Some(v.clone()));
    Option<String>, v => Self::Text(v);
    Digest, v => Self::Text(Some(v.to_string()));
}

/// `values![a, b]`: parameters ?1, ?2 of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::supervisor::db::Value::from($value)),*] };
}
pub(crate) use values;

/// One row of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Vec<Value>);

impl Row {
    /// An integer, or null.
    pub fn maybe_int(&self, column: usize) -> Result<Option<i64>, DbError> {
        match self.0.get(column) {
            Some(Value::Int(v)) => Ok(*v),
            Some(Value::Text(None)) => Ok(None),
            _ => Err(DbError::Column { column, expected: "an integer" }),
        }
    }
    /// A text, or null.
    pub fn maybe_text(&self, column: usize) -> Result<Option<&str>, DbError> {
        match self.0.get(column) {
            Some(Value::Text(v)) => Ok(v.as_deref()),
            Some(Value::Int(None)) => Ok(None),
            _ => Err(DbError::Column { column, expected: "a text" }),
        }
    }
    /// An integer.
    pub fn int(&self, column: usize) -> Result<i64, DbError> {
        self.maybe_int(column)?.ok_or(DbError::Column { column, expected: "an integer" })
    }
    /// A text.
    pub fn text(&self, column: usize) -> Result<&str, DbError> {
        self.maybe_text(column)?.ok_or(DbError::Column { column, expected: "a text" })
    }
    /// A number that is never below zero.
    pub fn number(&self, column: usize) -> Result<u64, DbError> {
        u64::try_from(self.int(column)?).map_err(|_| DbError::Column { column, expected: "a number" })
    }
    /// A time.
    pub fn time(&self, column: usize) -> Result<UnixMillis, DbError> {
        self.number(column).map(UnixMillis)
    }
    /// A time, or null.
    pub fn maybe_time(&self, column: usize) -> Result<Option<UnixMillis>, DbError> {
        Ok(self.maybe_int(column)?.map(|at| UnixMillis(u64::try_from(at).unwrap_or(0))))
    }
}

/// One transaction.
pub trait Session {
    /// Changes rows; how many.
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, DbError>;
    /// Asks for rows. Whoever asks bounds their number.
    fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, DbError>;
    /// Makes tables. `{int}`, `{id}` and `{end}` stand for the backend's own words (`schema.rs`).
    fn batch(&mut self, sql: &str) -> Result<(), DbError>;

    /// The first row, if there is one.
    fn row(&mut self, sql: &str, values: &[Value]) -> Result<Option<Row>, DbError> {
        Ok(self.rows(sql, values)?.into_iter().next())
    }
}

/// Either.
pub enum Db {
    /// the default
    Sqlite(Sqlite),
    /// with `[supervisor.postgresql]`
    Postgres(Box<Postgres>),
}

impl Db {
    /// Looks, at one state of all tables. Blocks for a disk or a network.
    pub fn read<T, E: From<DbError>>(
        &self,
        work: impl FnOnce(&mut dyn Session) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(db) => db.transaction(false, work),
            Self::Postgres(db) => db.transaction(false, work),
        }
    }

    /// Changes, alone: whoever else writes waits, in this process or another. When it returns, the change is on
    /// the disk. After an error nothing of it is there; only a connection lost at the very end leaves that open.
    pub fn write<T, E: From<DbError>>(
        &self,
        work: impl FnOnce(&mut dyn Session) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(db) => db.transaction(true, work),
            Self::Postgres(db) => db.transaction(true, work),
        }
    }
}
