//! A real PostgreSQL of the tests' own: a temporary folder, a socket and a port of loopback; ends when dropped.

use crate::config::{Postgres, PostgresHost};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

const USER: &str = "xinguan";
/// A cold disk and other builds.
const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    /// whom it runs as: PostgreSQL refuses to be root
    owner: Option<(u32, u32)>,
    child: Option<Child>,
    port: u16,
    made: AtomicU32,
}

impl Server {
    /// Started, and ready.
    pub(crate) fn start() -> Self {
        let mut server = Self::init();
        server.run();
        server
    }

    /// A new data folder, nothing running.
    pub(crate) fn init() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = (fs::metadata(folder.path()).unwrap().uid() == 0).then(unprivileged);
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (programs, made) = (programs(), AtomicU32::new(0));
        let server = Self { folder, programs, owner, child: None, port, made };
        server.done(
            "initdb",
            &["-D", &server.data(), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
        );
        server
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// For the server's eyes.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((user, group)) = self.owner {
            chown(&path, Some(user), Some(group)).unwrap();
        }
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

    fn done(&self, program: &str, arguments: &[&str]) {
        let out = self.command(program).args(arguments).output().unwrap();
        assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// Starts it, and waits for it to say that it is ready.
    pub(crate) fn run(&mut self) {
        let socket = self.folder.path().display().to_string();
        let port = self.port.to_string();
        let mut command = self.command("postgres");
        command.args(["-D", &self.data(), "-k", &socket, "-p", &port, "-h", "127.0.0.1", "-F"]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        self.child = Some(child);
        let (said, heard) = mpsc::sync_channel(1);
        // reads to the end: a full pipe would stop the server
        std::thread::spawn(move || {
            let mut all = String::new();
            for line in log.lines().map_while(Result::ok) {
                all.push_str(&line);
                all.push('\n');
                if line.contains("ready to accept connections") {
                    said.send(None).unwrap_or(());
                }
            }
            said.send(Some(all)).unwrap_or(());
        });
        let ended = heard.recv_timeout(SOON).expect("PostgreSQL did not start in a minute");
        assert_eq!(ended, None, "PostgreSQL did not start");
    }

    /// As by a crash: no word to its clients.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            self.done("pg_ctl", &["stop", "-D", &self.data(), "-m", "immediate", "-t", "30"]);
            child.wait().unwrap();
        }
    }

    /// A new, empty database, over the socket.
    pub(crate) fn fresh(&self) -> Postgres {
        let database = format!("case_{}", self.made.fetch_add(1, Ordering::Relaxed));
        let (socket, port) = (self.folder.path().display().to_string(), self.port.to_string());
        self.done("createdb", &["-h", &socket, "-p", &port, "-U", USER, "-T", "template0", &database]);
        Postgres {
            host: PostgresHost::Socket(self.folder.path().to_owned()),
            port: self.port,
            database,
            user: USER.to_owned(),
            password_file: None,
            roots: None,
            connections: 4,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
    }
}

/// The newest that is installed: Debian has them by version, outside the search path.
fn programs() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |e: &fs::DirEntry| e.file_name().to_str().and_then(|v| v.parse::<u32>().ok());
    let newest = installed.filter(|e| e.path().join("bin/postgres").exists()).max_by_key(number);
    newest.expect("no PostgreSQL server: apt-get install postgresql").path().join("bin")
}

/// User and group of `postgres`, whom its package makes, else of `nobody`.
fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = users.lines().find(|l| l.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2).map(|f| f.parse().unwrap());
        Some((fields.next()?, fields.next()?))
    };
    of("postgres").or_else(|| of("nobody")).expect("there is no user `nobody`")
}
