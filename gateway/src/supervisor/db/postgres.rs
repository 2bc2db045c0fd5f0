//! PostgreSQL 12 or later: a bounded number of connections, each wait with a deadline, anew after it was away.
//!
//! Callers block, as with SQLite; the connections live on a thread of their own. Writers take one advisory lock of the
//! server first, so that also another process cannot come between a look at the log's end and what is put there.

use super::{DbError, Row, Session, Value, tls::Tls};
use crate::config::{Postgres as Settings, PostgresHost};
use bytes::BytesMut;
use hsm_api::backend::read_secret_line;
use std::{
    future::Future,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::AbortHandle, time::timeout};
use tokio_postgres::{
    Client, NoTls, Socket,
    config::SslMode,
    tls::MakeTlsConnect,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

/// The lock that writers take: "xinguan" in ASCII. Another program on the same database must not take it.
const WRITERS: i64 = 0x0078_696e_6775_616e;
/// A look: one state of everything, and nothing is changed.
const READ: &str = "begin isolation level repeatable read read only";
/// Not serializable: its state would be that of before the wait for the lock.
const WRITE: &str = "begin isolation level read committed read write";

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// until a connection stands, TLS and login included
    pub connect: Duration,
    /// one statement at the server
    pub statement: Duration,
    /// another's lock
    pub lock: Duration,
    /// a free connection of ours
    pub turn: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let [connect, statement, lock, turn] = [5, 10, 5, 5].map(Duration::from_secs);
        Self { connect, statement, lock, turn }
    }
}

/// A database at a server.
pub struct Postgres {
    login: tokio_postgres::Config,
    tls: Option<Tls>,
    /// user, host, database: for errors
    at: String,
    limits: Limits,
    connections: usize,
    pool: Mutex<Pool>,
    returned: Condvar,
    /// taken at the end only
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Pool {
    taken: usize,
    idle: Vec<Connection>,
}

/// Ends with it, also if the server says nothing any more.
struct Connection {
    client: Arc<Client>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // dropping it would wait, which a thread of another runtime must not
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Postgres {
    /// Reads password and roots; the first use connects.
    pub fn new(settings: &Settings, limits: Limits) -> Result<Self, DbError> {
        let host = match &settings.host {
            PostgresHost::Socket(folder) => folder.display().to_string(),
            PostgresHost::Name(name) => name.clone(),
        };
        let at = format!("PostgreSQL {}@{host}:{}/{}", settings.user, settings.port, settings.database);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgresql")
            .enable_all()
            .build()
            .map_err(|e| DbError::Connect { at: at.clone(), why: e.to_string() })?;
        Ok(Self {
            login: login(settings, &limits)?,
            tls: settings.roots.as_deref().map(Tls::new).transpose()?,
            at,
            limits,
            connections: settings.connections,
            pool: Mutex::default(),
            returned: Condvar::new(),
            runtime: Some(runtime),
        })
    }

    pub(super) fn transaction<T, E: From<DbError>>(
        &self,
        write: bool,
        work: impl FnOnce(&mut dyn Session) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut open = self.begin(write)?;
        match work(&mut open) {
            Ok(done) => {
                open.simple("commit")?;
                open.keep();
                Ok(done)
            }
            Err(e) => {
                // a connection that cannot roll back is dropped, and the server rolls back
                if !open.late && open.simple("rollback").is_ok() {
                    open.keep();
                }
                Err(e)
            }
        }
    }

    /// On a connection of before if it still stands, else on a new one.
    fn begin(&self, write: bool) -> Result<Open<'_>, DbError> {
        let mut turn = self.turn()?;
        while let Some(connection) = turn.idle.take().filter(|c| !c.client.is_closed()) {
            let mut open = Open { connection: Some(connection), late: false, turn };
            match open.start(write) {
                Ok(()) => return Ok(open),
                Err(e) if open.stands() => return Err(e),
                // the server went away meanwhile
                Err(_) => turn = open.turn,
            }
            turn.idle = self.pool().idle.pop();
        }
        let mut open = Open { connection: Some(self.connect()?), late: false, turn };
        open.start(write)?;
        Ok(open)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> Result<Turn<'_>, DbError> {
        let deadline = Instant::now() + self.limits.turn;
        let mut pool = self.pool();
        while pool.taken >= self.connections {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (at, connections) = (self.at.clone(), self.connections);
                return Err(DbError::Busy { at, connections, seconds: self.limits.turn.as_secs() });
            }
            pool = self.returned.wait_timeout(pool, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        pool.taken += 1;
        let idle = pool.idle.pop();
        Ok(Turn { of: self, idle })
    }

    fn connect(&self) -> Result<Connection, DbError> {
        let login = self.login.clone();
        let made = match self.tls.clone() {
            None => self.wait(self.limits.connect, connect(login, NoTls)),
            Some(tls) => self.wait(self.limits.connect, connect(login, tls)),
        };
        made.map_err(|e| match e {
            DbError::Postgres { at, why } => DbError::Connect { at, why },
            other => other,
        })
    }

    /// Runs there, waits here. Also a thread of another runtime may wait like this.
    fn wait<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, tokio_postgres::Error>> + Send + 'static,
    ) -> Result<T, DbError> {
        let late = || DbError::Late { at: self.at.clone(), seconds: deadline.as_secs() };
        let runtime = self.runtime.as_ref().ok_or_else(late)?;
        let (answer, answered) = mpsc::sync_channel(1);
        let task = runtime.spawn(async move {
            // whoever asked may have gone
            answer.send(timeout(deadline, work).await).unwrap_or(());
        });
        // the thread there could be stuck: a little more than its own deadline
        match answered.recv_timeout(deadline + Duration::from_secs(1)) {
            Ok(Ok(done)) => done.map_err(|e| DbError::Postgres { at: self.at.clone(), why: said(&e) }),
            Ok(Err(_)) => Err(late()),
            Err(_) => {
                task.abort();
                Err(late())
            }
        }
    }
}

/// Everything that a connection begins with.
fn login(settings: &Settings, limits: &Limits) -> Result<tokio_postgres::Config, DbError> {
    let mut login = tokio_postgres::Config::new();
    match &settings.host {
        PostgresHost::Socket(folder) => login.host_path(folder),
        PostgresHost::Name(name) => login.host(name),
    };
    login.port(settings.port).dbname(&settings.database).user(&settings.user);
    login.application_name("xinguan supervisor");
    login.ssl_mode(if settings.roots.is_some() { SslMode::Require } else { SslMode::Disable });
    login.connect_timeout(limits.connect);
    if let Some(file) = &settings.password_file {
        // the library keeps a copy of it for the next connection
        login.password(read_secret_line(file)?.as_bytes());
    }
    login.options(format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=60000 \
         -c synchronous_commit=on -c client_encoding=UTF8",
        limits.statement.as_millis(),
        limits.lock.as_millis(),
    ));
    Ok(login)
}

async fn connect<T>(login: tokio_postgres::Config, tls: T) -> Result<Connection, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = login.connect(tls).await?;
    let task = tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::warn!(error = %said(&e), "a connection to PostgreSQL ended");
        }
    });
    Ok(Connection { client: Arc::new(client), task: task.abort_handle() })
}

/// The server's words and SQLSTATE, without the detail: that may hold values of a row.
fn said(e: &tokio_postgres::Error) -> String {
    match e.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => crate::assemble::chain(e),
    }
}

/// The right to one connection, given back when dropped.
struct Turn<'a> {
    of: &'a Postgres,
    idle: Option<Connection>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut pool = self.of.pool();
        pool.taken = pool.taken.saturating_sub(1);
        pool.idle.extend(self.idle.take());
        self.of.returned.notify_one();
    }
}

struct Open<'a> {
    /// gone after [`Open::keep`]
    connection: Option<Connection>,
    /// it did not answer in time: nothing more is asked of it
    late: bool,
    turn: Turn<'a>,
}

impl Open<'_> {
    fn start(&mut self, write: bool) -> Result<(), DbError> {
        if write {
            self.simple(WRITE)?;
            return self.rows("select 1::bigint from pg_advisory_xact_lock(?1)", &[WRITERS.into()]).map(drop);
        }
        self.simple(READ)
    }
    fn keep(&mut self) {
        self.turn.idle = self.connection.take();
    }
    fn stands(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| !c.client.is_closed())
    }
    fn client(&self) -> Result<Arc<Client>, DbError> {
        let none = || DbError::Postgres { at: self.turn.of.at.clone(), why: "no connection".to_owned() };
        self.connection.as_ref().map(|c| Arc::clone(&c.client)).ok_or_else(none)
    }
    fn wait<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>> + Send + 'static,
    ) -> Result<T, DbError> {
        // the server's own limit comes first, and says more
        let done = self.turn.of.wait(self.turn.of.limits.statement + Duration::from_secs(2), work);
        self.late |= matches!(done, Err(DbError::Late { .. }));
        done
    }
    fn simple(&mut self, sql: &str) -> Result<(), DbError> {
        let (client, sql) = (self.client()?, sql.to_owned());
        self.wait(async move { client.batch_execute(&sql).await })
    }
}

/// As PostgreSQL counts parameters. No statement of ours has a question mark of another meaning.
fn numbered(sql: &str) -> String {
    sql.replace('?', "$")
}

fn typed(values: &[Value]) -> Vec<(Value, Type)> {
    let typed = |v: &Value| match v {
        Value::Int(_) => (v.clone(), Type::INT8),
        Value::Text(_) => (v.clone(), Type::TEXT),
    };
    values.iter().map(typed).collect()
}

fn borrowed(values: &[(Value, Type)]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    values.iter().map(|(value, of)| (value as &(dyn ToSql + Sync), of.clone())).collect()
}

impl Session for Open<'_> {
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, DbError> {
        let (client, sql, values) = (self.client()?, numbered(sql), typed(values));
        self.wait(async move { client.execute_typed(&sql, &borrowed(&values)).await })
    }
    fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        let (client, sql, values) = (self.client()?, numbered(sql), typed(values));
        let found = self.wait(async move { client.query_typed(&sql, &borrowed(&values)).await })?;
        found.iter().map(row).collect()
    }
    fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        let id = "bigint generated always as identity primary key";
        self.simple(&sql.replace("{int}", "bigint").replace("{id}", id).replace("{end}", ""))
    }
}

fn row(row: &tokio_postgres::Row) -> Result<Row, DbError> {
    let value = |(column, of): (usize, &tokio_postgres::Column)| {
        let wrong = |_| DbError::Column { column, expected: "an integer or a text" };
        match *of.type_() {
            Type::INT8 => row.try_get(column).map(Value::Int).map_err(wrong),
            _ => row.try_get(column).map(Value::Text).map_err(wrong),
        }
    };
    row.columns().iter().enumerate().map(value).collect::<Result<_, _>>().map(Row)
}

impl ToSql for Value {
    fn to_sql(
        &self,
        of: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Int(v) => v.to_sql(of, out),
            Self::Text(v) => v.to_sql(of, out),
        }
    }
    fn accepts(of: &Type) -> bool {
        *of == Type::INT8 || *of == Type::TEXT
    }
    to_sql_checked!();
}

#[cfg(test)]
#[path = "postgres_tests.rs"]
mod tests;
