//! `check-config` and `doctor` on a folder that has everything, then with one thing wrong at a time.

use super::{
    Exit, check_config,
    doctor::{self, Finding, Head, HeadSource, Patient, Status},
};
use crate::{
    config::{self, Config, EXAMPLE, Material},
    dial::{Client, DialOptions, Peer, client_tls},
    listen::testkit::*,
};
use arc_swap::ArcSwap;
use gw_proto::{Clock as _, Height, NodeId, UnixMillis};
use gw_sm::{cert::certs_to_pem, tls::Profile};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc, time::Duration};

/// The example's folder, with all the files it names.
struct Folder {
    dir: tempfile::TempDir,
    pki: Pki,
}

const GENESIS: &str = r#"{"v":1,"consortium":"yangtze-delta","engine":"development","chain":"chain0","group":"group0",
"contract":"0x0000000000000000000000000000000000001000",
"block0":"66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0","sealers":[],
"governance":{"threshold":1,"keys":[]},"rules":1}"#;

impl Folder {
    fn new() -> Self {
        let pki = Pki::new(Profile::Sm);
        let this = Self { dir: tempfile::tempdir().unwrap(), pki };
        let root = certs_to_pem([this.pki.root.der.as_slice()]).unwrap();
        for name in ["man-roots.pem", "bank-roots.pem", "admin-roots.pem", "ledger-roots.pem"] {
            this.write(name, root.as_bytes());
        }
        this.write(
            "node-ca.pem",
            certs_to_pem([this.pki.node_ca("bank-suzhou-1").0.as_slice()]).unwrap().as_bytes(),
        );
        this.write("gw.toml", EXAMPLE.as_bytes());
        this.write("genesis.json", GENESIS.as_bytes());
        for name in ["keys.json", "passphrase", "mapping.toml", "bureau.sqlite"] {
            this.write(name, b"x");
        }
        fs::create_dir(this.path("data")).unwrap();
        this
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fn check(&self) -> (Exit, String) {
        let mut out = Vec::new();
        let exit = check_config::run(&self.path("gw.toml"), &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap())
    }
    fn load(&self) -> (Config, Material) {
        let config = config::load(&self.path("gw.toml")).unwrap();
        let material = Material::load(&config).unwrap();
        (config, material)
    }
}

#[test]
fn a_complete_folder_is_good() {
    let (exit, out) = Folder::new().check();
    assert_eq!(exit, Exit::Ok, "{out}");
    assert!(
        out.ends_with("gw.toml: good; node bank-suzhou-1 of bank-suzhou (institution, source)\n"),
        "{out}"
    );
}

#[test]
fn each_bad_file_is_named_by_its_key() {
    let garbage = |f: &Folder, name: &str| {
        f.write(name, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    };
    type Spoil<'a> = &'a dyn Fn(&Folder);
    let cases: [(&str, Spoil<'_>); 9] = [
        ("trust.genesis: ", &|f| f.write("genesis.json", b"{}")),
        ("trust.man_roots: ", &|f| garbage(f, "man-roots.pem")),
        ("trust.bank_roots: ", &|f| f.write("bank-roots.pem", b"no certificate here")),
        ("trust.admin_roots: ", &|f| f.write("admin-roots.pem", &vec![b'x'; 1024 * 1024])),
        ("ledger.roots: ", &|f| fs::remove_file(f.path("ledger-roots.pem")).unwrap()),
        ("identity.node_ca_chain: ", &|f| {
            let one = f.pki.root.der.as_slice();
            f.write("node-ca.pem", certs_to_pem([one; 4]).unwrap().as_bytes());
        }),
        ("trust.man_crl[0]: ", &|f| {
            f.write("gw.toml", EXAMPLE.replacen("man_crl = []", "man_crl = [\"crl.der\"]", 1).as_bytes());
            f.write("crl.der", b"\x30\x03\x02\x01\x01");
        }),
        ("keystore.passphrase_file: ", &|f| {
            fs::set_permissions(f.path("passphrase"), fs::Permissions::from_mode(0o640)).unwrap();
        }),
        ("source.database: ", &|f| fs::remove_file(f.path("bureau.sqlite")).unwrap()),
    ];
    for (key, spoil) in cases {
        let folder = Folder::new();
        spoil(&folder);
        let (exit, out) = folder.check();
        assert_eq!(exit, Exit::BadConfig, "{key}\n{out}");
        let lines: Vec<_> = out.lines().filter(|l| l.starts_with("  ")).collect();
        assert!(lines.len() == 1 && lines[0].trim_start().starts_with(key), "{key}\n{out}");
    }
}

#[test]
fn revocation_lists_are_taken_as_der_and_as_pem() {
    let folder = Folder::new();
    let list = folder.pki.crl(&folder.pki.client("x"));
    folder.write("a.crl", &list);
    folder.write("b.crl", gw_sm::cert::crl_to_pem(&list).unwrap().as_bytes());
    let text = EXAMPLE.replacen("man_crl = []", "man_crl = [\"a.crl\", \"b.crl\"]", 1);
    folder.write("gw.toml", text.as_bytes());
    let (_, material) = folder.load();
    assert_eq!(material.man.crls.len(), 2);
    assert!(material.man.crls.iter().all(|c| c.as_ref() == list));
}

struct FixedHead(UnixMillis);

#[async_trait::async_trait]
impl HeadSource for FixedHead {
    fn name(&self) -> String {
        "https://10.200.0.11:8545".to_owned()
    }
    async fn fetch_head(&self) -> Result<Head, String> {
        Ok(Head { height: Height(7), time: self.0 })
    }
}

/// Everything real but the ledger: files, disk, a peer over TLS.
async fn examine(folder: &Folder, after: Duration) -> Vec<Finding> {
    let server = start(&folder.pki, limits(), axum::Router::new()).await;
    let clock = clock();
    let own = folder.pki.node("bank-suzhou-1");
    let tls = client_tls(Profile::Sm, &own.tls, &folder.pki.trust(), clock.clone()).unwrap();
    let options =
        DialOptions { connect_timeout: PATIENCE, handshake_timeout: PATIENCE, ..Default::default() };
    let client = Client::new(Arc::new(ArcSwap::from_pointee(tls)), Arc::new(|_, _| true), options);
    clock.advance(after);
    let (config, material) = folder.load();
    let found = doctor::examine(&Patient {
        config: &config,
        material: &material,
        clock: &*clock,
        ledgers: &[Arc::new(FixedHead(clock.now())) as Arc<dyn HeadSource>],
        staleness: Duration::from_secs(60),
        peers: &[Peer { node: NodeId::parse("gw").unwrap(), endpoint: server.address.to_string() }],
        probe: &client,
    })
    .await;
    client.stop().await;
    server.stop().await;
    found
}

fn of<'a>(found: &'a [Finding], check: &str) -> Vec<&'a Finding> {
    found.iter().filter(|f| f.check == check).collect()
}

#[tokio::test]
async fn a_healthy_gateway_has_nothing_that_fails() {
    let found = examine(&Folder::new(), Duration::ZERO).await;
    for check in ["clock", "certificate", "ledger", "disk", "peer"] {
        assert!(!of(&found, check).is_empty(), "{check} was not looked at");
    }
    // the kit's roots live 30 days: warned of
    assert!(found.iter().all(|f| f.status != Status::Fail), "{found:#?}");
    assert!(
        of(&found, "certificate")
            .iter()
            .any(|f| f.status == Status::Warn && f.what.contains("trust.man_roots"))
    );
    let peer = of(&found, "peer");
    // its certificate is made for an hour: that, too, is warned of
    assert!(peer[0].status == Status::Warn && peer[0].what.starts_with("gw at 127.0.0.1:"), "{peer:?}");
}

#[tokio::test]
async fn what_is_over_fails_with_a_remedy() {
    let found = examine(&Folder::new(), Duration::from_secs(400 * 24 * 3600)).await;
    let failed: Vec<_> = found.iter().filter(|f| f.status == Status::Fail).collect();
    for what in ["identity.node_ca_chain: ", "trust.man_roots", "trust.bank_roots", "trust.admin_roots"] {
        assert!(
            failed.iter().any(|f| f.what.starts_with(what) && f.remedy.is_some()),
            "{what} in {failed:#?}"
        );
    }
    let peer = of(&found, "peer");
    assert!(
        peer[0].status == Status::Fail && peer[0].what.contains("TLS handshake failed (expired)"),
        "{peer:?}"
    );
    let mut out = Vec::new();
    assert_eq!(doctor::report(&found, &mut out).unwrap(), Exit::CheckFailed);
}
