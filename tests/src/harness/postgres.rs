//! A real PostgreSQL of the test's own: a temporary folder, a socket and a port of loopback; ends with the value.
//!
//! Also a file of the gateway's own tests, which include it by path: it uses nothing of either crate.

use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use tempfile::TempDir;

/// Its first user, who may do everything and is asked for no password on the socket.
pub const USER: &str = "xinguan";
/// A cold disk and other builds.
const SOON: Duration = Duration::from_secs(60);

/// A data folder, and its server if it runs.
pub struct Server {
    // under /tmp: a socket's name has at most 107 bytes
    folder: TempDir,
    programs: PathBuf,
    /// whom it runs as: PostgreSQL refuses to be root
    owner: Option<(u32, u32)>,
    child: Option<Child>,
    port: u16,
}

impl Server {
    /// Started, and ready.
    pub fn start() -> Result<Self> {
        let mut server = Self::init()?;
        server.run()?;
        Ok(server)
    }

    /// A new data folder, nothing running.
    pub fn init() -> Result<Self> {
        let folder = TempDir::with_prefix("xinguan-postgresql-")?;
        let mut owner = None;
        if fs::metadata(folder.path())?.uid() == 0 {
            let (user, group) = unprivileged()?;
            chown(folder.path(), Some(user), Some(group))?;
            owner = Some((user, group));
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = Self { folder, programs: programs()?, owner, child: None, port };
        let (data, trusting) = (server.data(), ["-A", "trust", "-E", "UTF8", "--locale=C", "-N"]);
        server.done("initdb", &[&["-D", &data, "-U", USER], &trusting[..]].concat())?;
        Ok(server)
    }

    /// The folder of its socket.
    pub fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// Of its socket's name, and on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file of its folder; the data are in `data/`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file that the server reads, and nobody else.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if let Some((user, group)) = self.owner {
            chown(&path, Some(user), Some(group))?;
        }
        Ok(())
    }

    fn data(&self) -> String {
        self.path("data").display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    fn done(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let out = self.command(program).args(arguments).output();
        let out = out.with_context(|| format!("cannot run {program}"))?;
        ensure!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
        Ok(())
    }

    /// Starts it, and waits for it to say that it is ready.
    pub fn run(&mut self) -> Result<()> {
        let (socket, port) = (self.folder.path().display().to_string(), self.port.to_string());
        let mut command = self.command("postgres");
        // -F: the machine does not lose power in a test
        command.args(["-D", &self.data(), "-k", &socket, "-p", &port, "-h", "127.0.0.1", "-F"]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let log = child.stderr.take();
        self.child = Some(child);
        let log = log.context("its log is no pipe")?;
        let (said, heard) = mpsc::sync_channel(2);
        std::thread::spawn(move || listen(log, &said));
        let ended = heard.recv_timeout(SOON).context("PostgreSQL was not ready in a minute")?;
        ensure!(ended.is_none(), "PostgreSQL did not start: {}", ended.unwrap_or_default());
        Ok(())
    }

    /// As by a crash: no word to its clients.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            self.done("pg_ctl", &["stop", "-D", &self.data(), "-m", "immediate", "-t", "30"])?;
            child.wait()?;
        }
        Ok(())
    }

    /// Runs a statement as its first user would.
    pub fn ask(&self, database: &str, sql: &str) -> Result<()> {
        let (socket, port) = (self.folder.path().display().to_string(), self.port.to_string());
        self.done(
            "psql",
            &[
                "-X",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                &socket,
                "-p",
                &port,
                "-U",
                USER,
                "-d",
                database,
                "-c",
                sql,
            ],
        )
    }

    /// Makes an empty database.
    pub fn create(&self, database: &str) -> Result<()> {
        let (socket, port) = (self.folder.path().display().to_string(), self.port.to_string());
        self.done("createdb", &["-h", &socket, "-p", &port, "-U", USER, "-T", "template0", database])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nobody can be told any more
        let _ = self.stop();
    }
}

/// Reads to the end, since a full pipe would stop the server: `None` when it is ready, all it said when it ended.
fn listen(log: ChildStderr, said: &mpsc::SyncSender<Option<String>>) {
    let mut all = String::new();
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        all.push_str(&line);
        all.push('\n');
        if line.contains("ready to accept connections") {
            let _ = said.try_send(None);
        }
    }
    let _ = said.try_send(Some(all));
}

/// The newest that is installed: Debian has them by version, outside the search path.
fn programs() -> Result<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |e: &fs::DirEntry| e.file_name().to_str().and_then(|v| v.parse::<u32>().ok());
    let newest = installed.filter(|e| e.path().join("bin/postgres").exists()).max_by_key(number);
    let newest = newest.context("no PostgreSQL server (apt package postgresql; scripts/test installs it)")?;
    Ok(newest.path().join("bin"))
}

/// User and group of `postgres`, whom its package makes, else of `nobody`.
fn unprivileged() -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let of = |name: &str| {
        let line = users.lines().find(|l| l.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    of("postgres").or_else(|| of("nobody")).context("there is no user `nobody`")
}
