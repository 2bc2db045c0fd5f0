//! Over sockets: HTTP/1.1, mutual TLS in both profiles, deadlines, the cap, the graceful stop.

use super::*;
use gw_sm::{
    cert::{CertKind, CertSpec, Issuer, Subject, build_cert},
    tls::{Profile, TlsIdentity, Trust, client_config, server_config},
};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), DevError>>,
}

async fn start(ledger: &Arc<DevLedger>, tls: Option<Arc<rustls::ServerConfig>>) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, cancel) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(serve(ledger.clone(), listener, tls, cancel.clone()));
    Server { address, cancel, task }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
    async fn stop(self) {
        self.cancel.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Everything up to the peer's close; a reset ends it, too.
async fn read_to_close(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut out = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut out)).await.expect("the peer closes");
    String::from_utf8(out).unwrap()
}

/// One response of a connection that stays open: its head, and its body by Content-Length.
async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> (String, String) {
    let mut out = Vec::new();
    loop {
        let mut byte = [0u8; 1];
        let n = timeout(PATIENCE, stream.read(&mut byte)).await.expect("an answer in time").unwrap();
        assert_eq!(n, 1, "closed after {:?}", String::from_utf8_lossy(&out));
        out.push(byte[0]);
        if out.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(out).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    timeout(PATIENCE, stream.read_exact(&mut body)).await.expect("a body in time").unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn request(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: ledger\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn call(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    write(stream, &request(&body)).await;
    let (head, body) = read_response(stream).await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains(&format!("server: {NAME}\r\n")), "{head}");
    serde_json::from_str(&body).unwrap()
}

fn send_params(tx: &Transaction) -> Value {
    json!(["group0", "", format!("0x{}", hex::encode(tars::encode_transaction(tx).unwrap())), true])
}

#[tokio::test]
async fn a_transaction_is_answered_with_its_receipt() {
    let mut b = Bench::new();
    let server = start(&b.ledger, None).await;
    let mut stream = server.connect().await;
    assert_eq!(call(&mut stream, "getBlockNumber", json!(["group0", ""])).await["result"], json!(0));
    for number in 1..=3 {
        let tx = b.tx();
        let answer = call(&mut stream, "sendTransaction", send_params(&tx)).await;
        assert_eq!(answer["result"]["status"], json!(0), "{answer}");
        assert_eq!(answer["result"]["blockNumber"], json!(number));
        assert_eq!(answer["result"]["transactionHash"], json!(tx.hash));
        assert!(answer["result"]["txReceiptProof"].is_array());
    }
    assert_eq!(b.verify_all().len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_a_request_is_refused() {
    let b = Bench::new();
    let server = start(&b.ledger, None).await;
    let mut stream = server.connect().await;
    write(&mut stream, "GET / HTTP/1.1\r\nHost: ledger\r\n\r\n").await;
    let (head, body) = read_response(&mut stream).await;
    assert!(head.starts_with("http/1.1 405 ") && head.contains(NAME), "{head}");
    assert!(body.contains("development ledger"));
    write(&mut stream, &request("no json")).await; // the connection goes on
    assert!(read_response(&mut stream).await.1.contains("-32700"));
    let mut stream = server.connect().await;
    write(&mut stream, "POST / HTTP/1.1\r\nHost: ledger\r\nContent-Length: 99999999\r\n\r\n").await;
    let head = read_to_close(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 413 ") && head.contains("connection: close"), "{head}");
    let mut stream = server.connect().await;
    write(&mut stream, "POST / HTTP/1.1\r\nHost: ledger\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    write(&mut stream, &format!("21001\r\n{}\r\n", " ".repeat(0x21001))).await; // larger, not announced
    assert!(read_to_close(&mut stream).await.starts_with("HTTP/1.1 413 "));
    let mut stream = server.connect().await;
    write(&mut stream, &format!("POST / HTTP/1.1\r\nHost: ledger\r\nX: {}\r\n\r\n", "x".repeat(70_000)))
        .await;
    assert!(!read_to_close(&mut stream).await.starts_with("HTTP/1.1 200"));
    server.stop().await;
}

#[tokio::test]
async fn slow_headers_and_slow_bodies_end() {
    let mut c = config();
    c.read_wait = Duration::from_millis(100);
    let b = Bench::with(c);
    let server = start(&b.ledger, None).await;
    let mut silent = server.connect().await;
    let mut headers = server.connect().await;
    write(&mut headers, "POST / HTTP/1.1\r\nHost:").await;
    let mut body = server.connect().await;
    write(&mut body, "POST / HTTP/1.1\r\nHost: ledger\r\nContent-Length: 100\r\n\r\n{").await;
    assert_eq!(read_to_close(&mut silent).await, "");
    assert!(!read_to_close(&mut headers).await.starts_with("HTTP/1.1 200"));
    assert!(read_to_close(&mut body).await.starts_with("HTTP/1.1 408 "));
    server.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed() {
    let mut c = config();
    c.connections = 1;
    let b = Bench::with(c);
    let server = start(&b.ledger, None).await;
    let mut first = server.connect().await;
    call(&mut first, "getBlockNumber", json!(["group0", ""])).await;
    let mut second = server.connect().await;
    assert_eq!(read_to_close(&mut second).await, "");
    call(&mut first, "getBlockNumber", json!(["group0", ""])).await;
    drop(first);
    server.stop().await;
}

/// A request that waits for its block when the stop comes still gets its receipt.
#[tokio::test]
async fn a_stop_lets_open_requests_finish() {
    let mut c = config();
    c.block_interval = Duration::from_millis(400);
    let mut b = Bench::with(c);
    let server = start(&b.ledger, None).await;
    let mut stream = server.connect().await;
    let tx = b.tx();
    call(&mut stream, "sendTransaction", send_params(&tx)).await;
    let tx = b.tx();
    let cancel = server.cancel.clone();
    let params = send_params(&tx);
    let ledger = b.ledger.clone();
    let stop = async {
        timeout(PATIENCE, async {
            while ledger.waiting() == 0 && ledger.head() == Height(1) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        cancel.cancel();
    };
    let (answer, ()) = tokio::join!(call(&mut stream, "sendTransaction", params), stop);
    assert_eq!(answer["result"]["blockNumber"], json!(2), "{answer}");
    let address = server.address;
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

/// Two servers of one ledger; when the one that makes blocks stops, the other goes on.
#[tokio::test]
async fn two_servers_share_a_ledger() {
    let mut b = Bench::new();
    let (one, two) = (start(&b.ledger, None).await, start(&b.ledger, None).await);
    let tx = b.tx();
    call(&mut one.connect().await, "sendTransaction", send_params(&tx)).await;
    one.stop().await;
    let tx = b.tx();
    let answer = call(&mut two.connect().await, "sendTransaction", send_params(&tx)).await;
    assert_eq!(answer["result"]["blockNumber"], json!(2), "{answer}");
    two.stop().await;
}

struct Pki {
    profile: Profile,
    root: KeyPair,
    root_der: Vec<u8>,
}

impl Pki {
    fn new(profile: Profile) -> Self {
        let root = KeyPair::from_secret(profile.scheme(), [51; 32]).unwrap();
        let spec = spec(CertKind::Root, "root", &root, 1);
        let sign = |d: &[u8; 32]| root.sign_digest(d).map_err(|e| e.to_string());
        let issuer = Issuer { certificate: None, key: root.public_key(), sign: &sign };
        let root_der = build_cert(&spec, &issuer).unwrap();
        Self { profile, root, root_der }
    }
    fn identity(&self, kind: CertKind, name: &str, seed: u8) -> TlsIdentity {
        let key = KeyPair::from_secret(self.profile.scheme(), [seed; 32]).unwrap();
        let sign = |d: &[u8; 32]| self.root.sign_digest(d).map_err(|e| e.to_string());
        let issuer = Issuer { certificate: Some(&self.root_der), key: self.root.public_key(), sign: &sign };
        let leaf = build_cert(&spec(kind, name, &key, seed), &issuer).unwrap();
        TlsIdentity { chain: vec![CertificateDer::from(leaf)], key: Arc::new(key) }
    }
    fn trust(&self) -> Trust {
        Trust { roots: vec![CertificateDer::from(self.root_der.clone())], crls: Vec::new() }
    }
    fn server(&self) -> Arc<rustls::ServerConfig> {
        let own = self.identity(CertKind::TlsServerClient, "ledger", 52);
        Arc::new(server_config(self.profile, &own, &self.trust(), &[b"http/1.1"]).unwrap())
    }
    async fn connect(&self, server: &Server, own: &TlsIdentity) -> impl AsyncRead + AsyncWrite + Unpin {
        let config = client_config(self.profile, own, &self.trust(), &[b"http/1.1"]).unwrap();
        let name = ServerName::try_from("ledger.example").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await.unwrap()
    }
}

fn spec(kind: CertKind, name: &str, key: &KeyPair, serial: u8) -> CertSpec {
    let now = gw_proto::clock::SystemClock.now(); // rustls checks validity by the machine's clock
    CertSpec {
        subject: Subject { common_name: Some(name.into()), organization: None, serial_number: None },
        public_key: *key.public_key(),
        not_before: UnixMillis(now.0 - 3_600_000),
        not_after: UnixMillis(now.0 + 12 * 3_600_000),
        serial: [serial; 16],
        dns: if kind == CertKind::TlsServerClient { vec!["ledger.example".into()] } else { Vec::new() },
        ips: Vec::new(),
        kind,
    }
}

#[tokio::test]
async fn over_mutual_tls_a_listed_client_submits_and_another_only_reads() {
    for profile in [Profile::Sm, Profile::International] {
        let pki = Pki::new(profile);
        let (listed, other) = (
            pki.identity(CertKind::TlsClient, "node-a", 53),
            pki.identity(CertKind::TlsClient, "node-b", 54),
        );
        let by_key = pki.identity(CertKind::TlsClient, "node-c", 55);
        let spki = gw_sm::cert::parse_cert(&by_key.chain[0]).unwrap().spki;
        let mut c = config();
        c.submitters = Submitters::Listed(vec![ListedClient::Name("node-a".into()), ListedClient::Key(spki)]);
        let mut b = Bench::with(c);
        let server = start(&b.ledger, Some(pki.server())).await;
        for (who, number) in [(&listed, 1), (&by_key, 2)] {
            let mut stream = pki.connect(&server, who).await;
            let tx = b.tx();
            let answer = call(&mut stream, "sendTransaction", send_params(&tx)).await;
            assert_eq!(answer["result"]["blockNumber"], json!(number), "{answer}");
        }
        let mut stream = pki.connect(&server, &other).await;
        let tx = b.tx();
        let answer = call(&mut stream, "sendTransaction", send_params(&tx)).await;
        assert_eq!(answer["error"]["code"], json!(-32003), "{answer}");
        assert_eq!(call(&mut stream, "getBlockNumber", json!(["group0", ""])).await["result"], json!(2));
        drop(stream);
        // plain HTTP is no way around it
        let mut plain = server.connect().await;
        write(&mut plain, &request("{}")).await;
        assert!(!read_to_close(&mut plain).await.contains("jsonrpc"));
        server.stop().await;
    }
}
