//! `supervisor.database` or `[supervisor.postgresql]`: one of the two.

use super::value::Notes;
use crate::config::{Database, HostName, Postgres, PostgresHost, raw::RawPostgres};

const PORT: u64 = 5432;
/// A look of the console, evidence that comes, an operator: more wait for one another anyway.
const CONNECTIONS: u64 = 4;

/// Where the supervisor keeps things.
pub(super) fn database(
    n: &mut Notes,
    file: Option<String>,
    postgresql: Option<RawPostgres>,
) -> Option<Database> {
    match (file, postgresql) {
        (Some(_), Some(_)) => {
            n.problem(
                "supervisor.database",
                "there beside [supervisor.postgresql]",
                "keep one of them: a file of SQLite, or a PostgreSQL server",
            );
            None
        }
        (file, None) => n.path("supervisor.database", file).map(Database::Sqlite),
        (None, Some(raw)) => postgres(n, raw).map(Database::Postgres),
    }
}

fn postgres(n: &mut Notes, raw: RawPostgres) -> Option<Postgres> {
    let k = |name: &str| format!("supervisor.postgresql.{name}");
    let host = n.text(&k("host"), raw.host, 253);
    let host = host.and_then(|host| self::host(n, &k("host"), host));
    let port = n.number(&k("port"), Some(raw.port.unwrap_or(PORT)), 1, 65_535);
    let database = n.text(&k("database"), raw.database, 63);
    let user = n.text(&k("user"), raw.user, 63);
    let mut optional = |name: &str, path: Option<String>| match path {
        None => Some(None),
        Some(path) => n.path(&k(name), Some(path)).map(Some),
    };
    let password_file = optional("password_file", raw.password_file);
    let roots = optional("roots", raw.roots);
    let connections = n.size(&k("connections"), Some(raw.connections.unwrap_or(CONNECTIONS)), 1, 32);
    let (host, roots) = (host?, roots?);
    match (&host, &roots) {
        (PostgresHost::Socket(_), Some(_)) => {
            n.problem(&k("roots"), "there, and host is a Unix socket", "drop it: a socket has no TLS");
            return None;
        }
        (PostgresHost::Name(name), None) if !is_loopback(name) => {
            n.problem(
                &k("roots"),
                format!("missing, and {name} is not this box: passwords and company codes would pass in clear"),
                "give the PEM file of the roots of the server's certificate, or the folder of a Unix socket as host",
            );
            return None;
        }
        _ => {}
    }
    Some(Postgres {
        host,
        port: u16::try_from(port?).ok()?,
        database: database?,
        user: user?,
        password_file: password_file?,
        roots,
        connections: connections?,
    })
}

/// A folder, or a name or an address.
fn host(n: &mut Notes, key: &str, text: String) -> Option<PostgresHost> {
    if text.starts_with('/') {
        return Some(PostgresHost::Socket(text.into()));
    }
    n.host_name(key, &text).map(|_: HostName| PostgresHost::Name(text))
}

/// An address: what a name means is for somebody else to say.
fn is_loopback(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
