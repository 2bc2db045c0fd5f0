//! A development consortium inside a test: ledger and gateways in one process, real TLS over loopback.
//!
//! What no gateway listens on can be held open by the test ([`Consortium::hold`]): a source or supervisor that
//! takes connections and never says a word.

use crate::{
    app::App,
    assemble::{self, Gateway},
    commands::client::{self, ClientArgs, Response},
    config,
    dev::{
        consortium::{self, ConsortiumArgs},
        ledger,
        statement::{AuthorizeArgs, authorize},
    },
    listen::{ConnInfo, ExporterHandle, ListenerKind, PeerCert, testkit::soon},
    readiness,
};
use gw_proto::{AuthzId, UnixMillis};
use gw_sm::{cert::certs_from_pem, tls::Profile};
use hsm_api::{Entropy as _, OsEntropy};
use std::{fs, path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) struct Consortium {
    folder: TempDir,
    base: u16,
    stop: CancellationToken,
    held: Vec<tokio::task::JoinHandle<()>>,
}

/// A port with a hundred free ones above it.
fn free_base() -> u16 {
    for _ in 0..200 {
        let mut random = [0u8; 2];
        OsEntropy.fill(&mut random).unwrap();
        let base = 20_000 + u16::from_be_bytes(random) % 40_000 / 100 * 100;
        let wanted = [0, 10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42];
        if wanted.iter().all(|p| std::net::TcpListener::bind(("127.0.0.1", base + p)).is_ok()) {
            return base;
        }
    }
    panic!("no hundred free ports on 127.0.0.1");
}

impl Consortium {
    /// Keys, certificates, configurations, databases; nothing runs.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = free_base();
        let args = ConsortiumArgs {
            second_supervisor: false,
            out: folder.path().join("c"),
            profile: "international".to_owned(),
            address: std::net::IpAddr::from([127, 0, 0, 1]),
            base_port: base,
            enterprises: 20,
            hsm: crate::dev::keystore::HsmKind::Soft,
            tpm_dir: None,
            request: None,
            seed: 1,
        };
        consortium::make(&args).unwrap();
        Self { folder, base, stop: CancellationToken::new(), held: Vec::new() }
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("c").join(name)
    }
    fn port(&self, node: &str, offset: u16) -> u16 {
        let index = consortium::MEMBERS.iter().position(|m| m.node == node).unwrap();
        self.base + 10 + 10 * u16::try_from(index).unwrap() + offset
    }
    /// The development ledger.
    pub(crate) fn start_ledger(&mut self) {
        let (folder, stop) = (self.path("."), self.stop.clone());
        self.held.push(tokio::spawn(async move { ledger::serve(&folder, stop).await.unwrap() }));
    }
    /// Takes connections on a gateway's MAN port and never answers.
    pub(crate) async fn hold(&mut self, node: &str) {
        let socket = TcpListener::bind(("127.0.0.1", self.port(node, 1))).await.unwrap();
        self.held.push(tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = socket.accept().await {
                open.push(stream);
            }
        }));
    }
    /// A gateway with its sockets bound; `more` is appended to its configuration.
    pub(crate) async fn build(&self, node: &str, more: &str) -> Gateway {
        let file = self.path(&format!("gateways/{node}/xinguan.toml"));
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\n{more}\n")).unwrap();
        assemble::build(config::load(&file).unwrap()).await.unwrap()
    }
    /// A gateway that serves and is ready.
    pub(crate) async fn start(&mut self, node: &str, more: &str) -> Arc<App> {
        let gateway = self.build(node, more).await;
        let (app, told, stop) = (Arc::clone(gateway.app()), gateway.stop_token(), self.stop.clone());
        self.held.push(tokio::spawn(async move {
            tokio::select! {
                _ = gateway.serve() => {}
                () = stop.cancelled() => told.cancel(),
            }
        }));
        self.until(&app, |app| readiness::check(app).ready).await;
        app
    }
    /// Looks again after every block until it holds.
    pub(crate) async fn until(&self, app: &App, holds: impl Fn(&App) -> bool) {
        let mut heads = app.state.watch();
        soon(async {
            while !holds(app) {
                heads.changed().await.unwrap();
            }
        })
        .await;
    }
    fn client(&self, institution: &str, who: &str) -> ClientArgs {
        let folder = self.path(&format!("clients/{institution}"));
        ClientArgs {
            cert: folder.join(format!("{who}.pem")),
            key: folder.join(format!("{who}.key")),
            roots: folder.join("gateway-root.pem"),
            timeout_s: 30,
        }
    }
    /// bank-suzhou's own system calls its gateway.
    pub(crate) fn call(&self, path: &str, body: Vec<u8>) -> impl Future<Output = Response> + Send + 'static {
        let args = self.client("bank-suzhou", "credit-system");
        let url = format!("https://127.0.0.1:{}{path}", self.port("bank-suzhou-1", 0));
        async move { client::send(&args, http::Method::POST, &url, &[], body).await.unwrap() }
    }
    /// A statement of the first enterprise for bank-suzhou over some regions, and the company's code.
    fn upload(&self, regions: &[&str]) -> (Vec<u8>, String) {
        let index = fs::read(self.path("enterprises/index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        let subject = index[0]["subject"].as_str().unwrap().to_owned();
        let out = self.path("upload.json");
        let _ = fs::remove_file(&out);
        authorize(&AuthorizeArgs {
            consortium: "yrd-dev".to_owned(),
            subject: subject.clone(),
            holder: "bank-suzhou".to_owned(),
            purposes: vec!["01".to_owned()],
            dimensions: vec!["basic".to_owned()],
            regions: regions.iter().map(ToString::to_string).collect(),
            max_uses: 3,
            from_s: -60,
            until_s: 3600,
            level: "signed".to_owned(),
            key: Some(self.path("enterprises/enterprise-1.key")),
            chain: Some(self.path("enterprises/enterprise-1.pem")),
            out: out.clone(),
            revocation: None,
        })
        .unwrap();
        (fs::read(out).unwrap(), subject)
    }
    /// Uploads a statement over these regions: the authorization's id, and the company's code.
    pub(crate) async fn authorize(&self, regions: &[&str]) -> (AuthzId, String) {
        let (upload, subject) = self.upload(regions);
        let answer = self.call("/v1/authorizations", upload).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        let state: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (serde_json::from_value(state["authorization_id"].clone()).unwrap(), subject)
    }
    /// The body of a question under it.
    pub(crate) fn query(id: &AuthzId, subject: &str) -> Vec<u8> {
        let query = serde_json::json!({
            "authorization_id": id, "subject": subject, "purpose": "01", "dimensions": ["basic"],
        });
        serde_json::to_vec(&query).unwrap()
    }
    /// A connection on a listener whose certificate nobody lists.
    pub(crate) fn stranger(&self, listener: ListenerKind) -> ConnInfo {
        let pem = fs::read(self.path("clients/bank-suzhou/stranger.pem")).unwrap();
        let der = certs_from_pem(&pem).unwrap().remove(0);
        ConnInfo {
            listener,
            peer: ([127, 0, 0, 1], 9).into(),
            cert: Arc::new(PeerCert::parse(&der).unwrap()),
            profile: Profile::International,
            exporter: ExporterHandle::fixed([1; 32]),
            connected_at: UnixMillis(0),
        }
    }
}

impl Drop for Consortium {
    fn drop(&mut self) {
        self.stop.cancel();
        self.held.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
