//! What only a server does: it goes away and comes back, it is slow, it wants a password or TLS.

use super::*;
use crate::{
    config::{Database, Postgres as Settings},
    supervisor::{
        db::{Db, test_server::Server},
        store::{StoreError, SupervisorStore},
        suite::{fresh, node, verdict},
    },
};
use std::{path::PathBuf, process::Command};

fn open(settings: &Settings, limits: Limits) -> Result<SupervisorStore, StoreError> {
    SupervisorStore::with(Db::Postgres(Box::new(Postgres::new(settings, limits)?)))
}

fn short() -> Limits {
    Limits { statement: Duration::from_millis(500), lock: Duration::from_millis(200), ..Limits::default() }
}

fn refused(result: Result<SupervisorStore, StoreError>) -> String {
    result.err().expect("it was opened").to_string()
}

/// Runs a statement, whatever it answers.
fn ask(store: &SupervisorStore, sql: &str) -> Result<(), StoreError> {
    store.db().read(|s| s.rows(sql, &[]).map(drop).map_err(StoreError::from))
}

#[test]
fn a_server_that_was_away_is_found_again() {
    let mut server = Server::start().unwrap();
    let settings = fresh(&server, "test");
    let store = open(&settings, Limits::default()).unwrap();
    let keep = |at| store.keep_verdict(&verdict("bank-a-1", at, true, None), None);
    keep(1).unwrap();
    server.stop().unwrap();
    let away = keep(2).unwrap_err().to_string();
    assert!(away.contains("cannot connect to PostgreSQL xinguan@"), "{away}");
    server.run().unwrap();
    keep(3).unwrap();
    // also the connections that nobody has used since
    server.stop().unwrap();
    server.run().unwrap();
    keep(4).unwrap();
    let all = store.verdicts_before(&node("bank-a-1"), None, 9).unwrap();
    let kept: Vec<u64> = all.iter().map(|n| n.verdict.at.0).collect();
    assert_eq!(kept, [4, 3, 1]);
    assert_eq!(store.check_history(&node("bank-a-1"), None).unwrap(), Ok(()));
}

#[test]
fn nothing_is_waited_for_without_end() {
    let server = Server::start().unwrap();
    let settings = Settings { connections: 1, ..fresh(&server, "test") };
    let limits = Limits { turn: Duration::from_millis(100), ..short() };
    let store = open(&settings, limits).unwrap();
    let slow = ask(&store, "select 1::bigint from pg_sleep(60)").unwrap_err().to_string();
    assert!(slow.contains("statement timeout") && slow.contains("57014"), "{slow}");
    // another process of ours stands in the middle of a change
    let other = open(&settings, Limits::default()).unwrap();
    other
        .db()
        .write(|_| {
            let locked = store.keep_verdict(&verdict("bank-a-1", 1, true, None), None);
            let locked = locked.unwrap_err().to_string();
            assert!(locked.contains("lock timeout") && locked.contains("55P03"), "{locked}");
            ask(&store, "select 1::bigint")
        })
        .unwrap();
    // all connections are taken
    store
        .db()
        .read(|_| {
            let busy = ask(&store, "select 1::bigint").unwrap_err().to_string();
            assert!(busy.contains("all 1 connections") && busy.contains("connections, or find"), "{busy}");
            Ok::<_, StoreError>(())
        })
        .unwrap();
    store.keep_verdict(&verdict("bank-a-1", 1, true, None), None).unwrap();
}

#[test]
fn a_look_changes_nothing_and_a_failed_change_leaves_nothing() {
    let server = Server::start().unwrap();
    let store = open(&fresh(&server, "test"), Limits::default()).unwrap();
    let insert = "insert into lookup (at, who, subject, reason) values (1, 'a', 'b', 'c')";
    let looked = store.db().read(|s| s.execute(insert, &[]).map(drop)).unwrap_err().to_string();
    assert!(looked.contains("read-only"), "{looked}");
    let failed = store.db().write(|s| {
        s.execute(insert, &[])?;
        s.execute("insert into nothing values (1)", &[]).map(drop)
    });
    assert!(failed.unwrap_err().to_string().contains("42P01"));
    let count = store.db().read(|s| s.row("select count(*) from lookup", &[])).unwrap();
    assert_eq!(count.unwrap().int(0).unwrap(), 0);
}

/// A dead server that the kernel still answers for.
#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings {
        host: PostgresHost::Name("127.0.0.1".to_owned()),
        port: silent.local_addr().unwrap().port(),
        database: "x".to_owned(),
        user: "x".to_owned(),
        password_file: None,
        roots: None,
        connections: 1,
    };
    let limits = Limits { connect: Duration::from_millis(200), ..Limits::default() };
    let late = refused(open(&settings, limits));
    assert!(late.contains("did not answer within"), "{late}");
}

/// The connection stands, and nothing comes over it: as when a firewall forgets it.
#[test]
fn a_connection_that_says_nothing_is_given_up() {
    let server = Server::start().unwrap();
    let store = open(&fresh(&server, "test"), short()).unwrap();
    let signal = |name: &str, process: i64| {
        let line = format!("kill -{name} {process}");
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    };
    let mut process = 0;
    let stuck = store.db().read(|s| {
        process = s.row("select pg_backend_pid()::bigint", &[])?.unwrap().int(0)?;
        signal("STOP", process);
        s.rows("select 1::bigint", &[])
    });
    let stuck = stuck.unwrap_err().to_string();
    assert!(stuck.contains("did not answer within 2 s"), "{stuck}");
    // the next has another connection
    ask(&store, "select 1::bigint").unwrap();
    signal("CONT", process);
}

/// Certificates by a program that we did not write.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn make() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        for ca in ["ca", "other"] {
            let more = ["-subj", "/CN=ca", "-keyout", &format!("{ca}.key"), "-out", &format!("{ca}.pem")];
            this.openssl(&[&["req", "-x509"], &new[..], &more].concat());
        }
        let more = [
            "-subj",
            "/CN=db",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=CA:FALSE",
        ];
        let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "db.key", "-out", "db.pem"];
        this.openssl(&[&["req", "-x509"], &new[..], &more, &signed].concat());
        this
    }
    fn openssl(&self, arguments: &[&str]) {
        let out = Command::new("openssl").args(arguments).current_dir(self.0.path()).output();
        let out = out.expect("apt-get install openssl");
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Over TLS, by password.
fn protected(certificates: &Certificates, password: &str) -> (Server, Settings) {
    let mut server = Server::init().unwrap();
    for name in ["db.pem", "db.key"] {
        server.write(name, &std::fs::read(certificates.path(name)).unwrap()).unwrap();
    }
    server
        .write("data/pg_hba.conf", b"local all all trust\nhostssl all guarded 127.0.0.1/32 scram-sha-256\n")
        .unwrap();
    let folder = server.path("").display().to_string();
    let config = std::fs::read_to_string(server.path("data/postgresql.conf")).unwrap();
    let ssl =
        format!("{config}\nssl = on\nssl_cert_file = '{folder}db.pem'\nssl_key_file = '{folder}db.key'\n");
    server.write("data/postgresql.conf", ssl.as_bytes()).unwrap();
    server.run().unwrap();
    let socket = fresh(&server, "test");
    let store = open(&socket, Limits::default()).unwrap();
    let role = format!("create role guarded login superuser password '{password}'");
    store.db().write(|s| s.batch(&role)).unwrap();
    let host = PostgresHost::Name("127.0.0.1".to_owned());
    let (user, roots) = ("guarded".to_owned(), Some(certificates.path("ca.pem")));
    (server, Settings { host, user, roots, ..socket })
}

#[test]
fn by_tls_and_password_and_neither_may_be_wrong() {
    let certificates = Certificates::make();
    let (server, settings) = protected(&certificates, "correct horse");
    let secret = |name: &str, line: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = server.path(name);
        std::fs::write(&path, line).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Some(path)
    };
    let good = Settings { password_file: secret("good", "correct horse\n"), ..settings };
    let store = open(&good, Limits::default()).unwrap();
    store.keep_verdict(&verdict("bank-a-1", 1, true, None), None).unwrap();
    let sql = "select case when ssl then version end from pg_stat_ssl where pid = pg_backend_pid()";
    let row = store.db().read(|s| s.row(sql, &[])).unwrap().unwrap();
    assert_eq!(row.maybe_text(0).unwrap(), Some("TLSv1.3"), "as the server sees it");

    let wrong = Settings { password_file: secret("wrong", "battery staple"), ..good.clone() };
    let told = refused(open(&wrong, Limits::default()));
    assert!(told.contains("28P01") && told.contains("pg_hba.conf"), "{told}");
    assert!(!told.contains("battery"), "the password is in it: {told}");
    let clear = Settings { roots: None, ..good.clone() };
    assert!(
        refused(open(&clear, Limits::default())).contains("28000"),
        "the server takes no clear connection"
    );
    let other = Settings { roots: Some(certificates.path("other.pem")), ..good.clone() };
    let told = refused(open(&other, Limits::default()));
    assert!(told.contains("certificate"), "{told}");
    let open_file = Settings { password_file: Some(certificates.path("ca.pem")), ..good };
    assert!(refused(open(&open_file, Limits::default())).contains("chmod 600"));
}

/// Threads of another runtime may use it and let it go: a gateway's do.
#[test]
fn it_blocks_and_does_not_panic_inside_a_runtime() {
    let server = Server::start().unwrap();
    let settings = fresh(&server, "test");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        let store = SupervisorStore::connect(&Database::Postgres(settings)).unwrap();
        store.keep_verdict(&verdict("bank-a-1", 1, true, None), None).unwrap();
        drop(store);
    });
}
