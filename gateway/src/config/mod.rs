//! Configuration: one TOML file per gateway → the validated form below.
//!
//! Order: the file's own errors first, with line and column (`toml`), because `config` loses positions;
//! then `defaults.toml` → file by `config`; then every semantic problem at once with its key path
//! ([`Problem`]). No environment variables, no secrets: only names and paths of them.
//!
//! [`load`] decides from the text alone. What the named files hold is read by [`Material::load`].

pub mod attestation;
mod check;
pub mod keystore;
mod material;
mod raw;
#[cfg(test)]
mod tests;

pub use attestation::{Attestation, Mode, PeerPolicy, Verifier};
pub use gw_sm::tls::Profile as TlsProfile;
pub use keystore::{Backend, Keystore};
pub use material::{Material, read_certificates};

use gw_proto::{Digest, InstitutionId, NodeId, Region, Role, sm3};
use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

/// A configuration file larger than this is not one.
pub const MAX_FILE_BYTES: u64 = 256 * 1024;

const DEFAULTS: &str = include_str!("defaults.toml");

/// The example that is shipped; a test loads it.
pub const EXAMPLE: &str = include_str!("../../xinguan.example.toml");

/// One thing wrong with a configuration that parses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// dotted key path, for example `listen.man.limits.per_address`
    pub key: String,
    /// what is wrong
    pub what: String,
    /// what to do
    pub remedy: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.what, self.remedy)
    }
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: cannot read the configuration; check the path and its permissions")]
    Read {
        /// which file
        path: String,
        /// why
        source: std::io::Error,
    },
    /// Larger than any configuration.
    #[error("{path}: {found} bytes, a configuration has at most {MAX_FILE_BYTES}; is it the right file?")]
    TooLarge {
        /// which file
        path: String,
        /// its size
        found: u64,
    },
    /// Not TOML, an unknown key, or a value of the wrong type: the first such place.
    #[error("{path}:{line}:{column}: {what}; {remedy}")]
    Syntax {
        /// which file
        path: String,
        /// 1-based
        line: usize,
        /// 1-based, in characters
        column: usize,
        /// what the parser says
        what: String,
        /// what to do
        remedy: &'static str,
    },
    /// It parses, but does not make sense: all problems.
    #[error("{path}: {} problem(s)\n{}", .problems.len(), list(.problems))]
    Invalid {
        /// which file
        path: String,
        /// all of them, in the order of the sections
        problems: Vec<Problem>,
    },
    /// The defaults and the file could not be put together: a mistake of this program.
    #[error("{path}: cannot layer defaults and file: {what}; report this with the file")]
    Layer {
        /// which file
        path: String,
        /// what `config` says
        what: String,
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n")
}

/// A validated configuration. Paths are absolute or relative to the working directory, never to the file.
#[derive(Debug, Clone)]
pub struct Config {
    /// who this gateway is
    pub node: Node,
    /// the board under it; none: no tamper switch, watchdog, lights
    pub board: Option<BoardConfig>,
    /// the file by which an opened case asks the system to destroy the data partition's key; none: the key is kept
    pub clear_storage_key: Option<PathBuf>,
    /// where its keys are
    pub keystore: Keystore,
    /// what it believes before it has seen a block
    pub trust: Trust,
    /// what certifies its TLS keys
    pub identity: Identity,
    /// where it listens
    pub listen: Listeners,
    /// people and systems of the institution that may call it
    pub operators: Vec<Operator>,
    /// which ledger endpoints it follows
    pub ledger: Ledger,
    /// request quotas
    pub limits: Limits,
    /// deadlines of a query
    pub query: Query,
    /// with role source
    pub source: Option<Source>,
    /// with role supervisor
    pub supervisor: Option<Supervisor>,
    /// how it attests
    pub attestation: Attestation,
    /// logs
    pub telemetry: Telemetry,
    /// SM3 of the file's text: what evidence says of the configuration
    pub digest: Digest,
    /// settings weaker than the default: to be said loudly at start and in the audit
    pub weakened: Vec<String>,
}

/// `[node]`
#[derive(Debug, Clone)]
pub struct Node {
    /// its id on the ledger
    pub id: NodeId,
    /// whose it is
    pub institution: InstitutionId,
    /// as the ledger lists it; if given, a difference is a start error
    pub region: Option<Region>,
    /// sorted, not empty; supervisor alone
    pub roles: Vec<Role>,
    /// journal, state, outbox
    pub data_dir: PathBuf,
}

impl Node {
    /// Whether it has that role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// `[board]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoardConfig {
    /// one that this program knows, as `board/revision`
    BuiltIn(String),
    /// described by a file
    File(PathBuf),
    /// no hardware: the case is open while this file exists; only in a build with the feature `dev`
    #[cfg(feature = "dev")]
    CaseFile(PathBuf),
}

/// `[trust]`
#[derive(Debug, Clone)]
pub struct Trust {
    /// the pinned trust root, JSON
    pub genesis: PathBuf,
    /// roots of the MAN, PEM
    pub man_roots: PathBuf,
    /// revocation lists for the MAN
    pub man_crl: Vec<PathBuf>,
    /// roots of the institution's own systems, PEM; there if the bank listener is
    pub bank_roots: Option<PathBuf>,
    /// revocation lists for them
    pub bank_crl: Vec<PathBuf>,
    /// roots of administrators, PEM
    pub admin_roots: PathBuf,
    /// revocation lists for them
    pub admin_crl: Vec<PathBuf>,
}

/// A name in a TLS certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// lower-case DNS name
    Dns(String),
    /// address
    Ip(IpAddr),
}

/// `[identity]`
#[derive(Debug, Clone)]
pub struct Identity {
    /// PEM: the node CA certificate (of the node key) first, then intermediates, without the root
    pub node_ca_chain: PathBuf,
    /// lifetime of the TLS certificates made at start; at most 24 h
    pub tls_lifetime: Duration,
    /// names besides `<node-id>.xinguan.internal`
    pub extra_names: Vec<HostName>,
}

/// `[listen]`
#[derive(Debug, Clone)]
pub struct Listeners {
    /// the institution's own systems; with role institution
    pub bank: Option<Listen>,
    /// other gateways; with role source or supervisor
    pub man: Option<Listen>,
    /// administration, health, metrics
    pub admin: Listen,
}

/// `[listen.NAME]`
#[derive(Debug, Clone)]
pub struct Listen {
    /// where
    pub address: SocketAddr,
    /// how
    pub profile: TlsProfile,
    /// bounds
    pub limits: ListenLimits,
}

/// `[listen.NAME.limits]`: see `defaults.toml` for the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenLimits {
    /// open connections
    pub max_connections: usize,
    /// open connections of one address (IPv6: of one /64)
    pub per_address: usize,
    /// connections whose handshake is not finished
    pub max_handshakes: usize,
    /// new connections of one address per second
    pub new_per_second: NonZeroU32,
    /// … and how many at once
    pub new_burst: NonZeroU32,
    /// from accept to the end of the handshake
    pub handshake_timeout: Duration,
    /// from the handshake to the first request's headers, and for each later head
    pub header_timeout: Duration,
    /// without a request in flight
    pub idle_timeout: Duration,
    /// silence inside a request's body
    pub body_chunk_timeout: Duration,
    /// the whole body
    pub body_timeout: Duration,
    /// from a request's headers to the last byte of its answer
    pub exchange_timeout: Duration,
    /// bytes of a request's body
    pub body_bytes: usize,
    /// bytes of a request's headers
    pub header_bytes: usize,
    /// headers of a request
    pub max_headers: usize,
    /// parallel requests on one connection
    pub max_streams: u32,
    /// how long a stop waits for what is in flight
    pub drain: Duration,
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperatorRole {
    /// ask for reports
    Query,
    /// upload and revoke authorizations
    Upload,
    /// read traces and the catalogue
    View,
    /// administer: drain, reload; at a supervisor enrol, propose, approve
    Operator,
    /// read the audit, and what a viewer reads; act on nothing
    Auditor,
}

impl OperatorRole {
    /// All.
    pub const ALL: [Self; 5] = [Self::Query, Self::Upload, Self::View, Self::Operator, Self::Auditor];
    /// The name in files and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Upload => "upload",
            Self::View => "view",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }
}

/// `[[operators]]`
#[derive(Debug, Clone)]
pub struct Operator {
    /// name in the local audit
    pub name: String,
    /// SM3 of the client certificate's SubjectPublicKeyInfo
    pub spki: Digest,
    /// sorted, not empty
    pub roles: Vec<OperatorRole>,
    /// who holds it, where that is said: two entries of one person are not four eyes
    pub person: Option<String>,
}

impl Operator {
    /// Whether it may do what a role may. An auditor reads what a viewer reads.
    pub fn has(&self, role: OperatorRole) -> bool {
        let reads = role == OperatorRole::View && self.roles.contains(&OperatorRole::Auditor);
        reads || self.roles.contains(&role)
    }
    /// Who holds it: the entry's own name where nothing is said.
    pub fn person(&self) -> &str {
        self.person.as_deref().unwrap_or(&self.name)
    }
}

/// One ledger endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://host:port/…` or `https://…`
    pub url: http::Uri,
    /// who runs it
    pub owner: String,
}

/// `[ledger]`
#[derive(Debug, Clone)]
pub struct Ledger {
    /// at least two of different owners, unless said otherwise
    pub endpoints: Vec<Endpoint>,
    /// how often the head is asked for
    pub poll: Duration,
    /// TLS profile of `https` endpoints
    pub profile: TlsProfile,
    /// roots for `https` endpoints, PEM
    pub roots: Option<PathBuf>,
}

/// A GCRA quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// sustained
    pub per_minute: NonZeroU32,
    /// at once
    pub burst: NonZeroU32,
}

/// `[limits]`
#[derive(Debug, Clone)]
pub struct Limits {
    /// all of one institution's requests
    pub institution: Quota,
    /// one operator's
    pub operator: Quota,
    /// about one enterprise
    pub subject: Quota,
    /// under one authorization
    pub authorization: Quota,
}

/// `[query]`
#[derive(Debug, Clone)]
pub struct Query {
    /// the whole query
    pub budget: Duration,
    /// how long a source waits to reach the asker's height
    pub source_wait_height: Duration,
    /// how long a repeated `Idempotency-Key` finds its answer
    pub idempotency_window: Duration,
}

/// `[source]`
#[derive(Debug, Clone)]
pub struct Source {
    /// mapping of the catalogue to the database
    pub mapping: PathBuf,
    /// the SQLite file
    pub database: PathBuf,
    /// parallel queries on it
    pub max_parallel: usize,
}

/// `[supervisor]`
#[derive(Debug, Clone)]
pub struct Supervisor {
    /// where deliveries, enrolments and verdicts are kept
    pub database: Database,
    /// how it judges evidence; none: it does not
    pub attestation: Option<Verifier>,
}

/// Where a supervisor keeps what it must not lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// `supervisor.database`: a file
    Sqlite(PathBuf),
    /// `[supervisor.postgresql]`: a server
    Postgres(Postgres),
}

/// `[supervisor.postgresql]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// where it is
    pub host: PostgresHost,
    /// its port; on a socket part of the file's name
    pub port: u16,
    /// which of its databases
    pub database: String,
    /// as whom
    pub user: String,
    /// a file whose first line is the password; none: the server knows us by the socket
    pub password_file: Option<PathBuf>,
    /// PEM: under which its certificate lies; none: no TLS, on a socket or loopback only
    pub roots: Option<PathBuf>,
    /// at once, at most
    pub connections: usize,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresHost {
    /// the folder of its Unix socket
    Socket(PathBuf),
    /// a name or an address
    Name(String),
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// one JSON object per line
    Json,
    /// for a terminal
    Text,
}

/// `[telemetry]`
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// for everything
    pub level: tracing::level_filters::LevelFilter,
    /// for single targets (module paths)
    pub targets: Vec<(String, tracing::level_filters::LevelFilter)>,
    /// how
    pub format: LogFormat,
}

/// Reads and validates a configuration file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = read(path)?;
    let base = path.parent().unwrap_or(Path::new(""));
    parse(&text, &path.display().to_string(), base)
}

/// Validates a configuration's text. `name` stands in messages; relative paths count from `base`.
pub fn parse(text: &str, name: &str, base: &Path) -> Result<Config, ConfigError> {
    let written: raw::Raw = toml::from_str(text).map_err(|e| syntax(text, name, &e))?;
    let layered =
        layer(text).map_err(|e| ConfigError::Layer { path: name.to_owned(), what: e.to_string() })?;
    check::check(&written, &layered, base, sm3(text.as_bytes()))
        .map_err(|problems| ConfigError::Invalid { path: name.to_owned(), problems })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.display().to_string(), source };
    let found = std::fs::metadata(path).map_err(failed)?.len();
    if found > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.display().to_string(), found });
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn layer(text: &str) -> Result<raw::Raw, config::ConfigError> {
    config::Config::builder()
        .add_source(config::File::from_str(DEFAULTS, config::FileFormat::Toml))
        .add_source(config::File::from_str(text, config::FileFormat::Toml))
        .build()?
        .try_deserialize()
}

fn syntax(text: &str, name: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |s| s.start.min(text.len()));
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let what = error.message().lines().collect::<Vec<_>>().join(" ");
    let remedy = if what.starts_with("unknown field") {
        "remove or correct the key; xinguan.example.toml lists all"
    } else if what.starts_with("invalid type") || what.starts_with("invalid value") {
        "give a value of the expected type; xinguan.example.toml shows one"
    } else {
        "correct the TOML at this place"
    };
    ConfigError::Syntax { path: name.to_owned(), line, column, what, remedy }
}
