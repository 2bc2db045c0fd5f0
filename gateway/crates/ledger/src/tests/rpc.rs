//! The real adapter over loopback: against the development ledger, and against servers that misbehave.
//!
//! In real time: sockets do not stand still with a paused clock.

use super::*;
use crate::{
    adapter::{FiscoRpc, RpcOptions},
    dev::{self, DevLedger, DevLedgerConfig, Faults, Rate, Submitters},
    driver::{FollowOptions, follow},
    endpoint::{Ledger, RawBlock},
    error::{Blame, LedgerError},
    inclusion::fetch_inclusion,
    state::Health,
    submit::{SubmitConfig, Submitter},
    tx::build_transaction,
};
use gw_policy::Fate;
use gw_proof::{SealerSet, verify_header};
use gw_proto::{clock::SystemClock, fisco::merkle_root_from_path};
use gw_sm::{
    cert::{CertKind, CertSpec, Issuer, Subject, build_cert},
    tls::{Profile, TlsIdentity, Trust, client_config, server_config},
};
use gw_store::MemDisk;
use rustls::pki_types::CertificateDer;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::AtomicUsize,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const WAIT: Duration = Duration::from_secs(20);

/// A served development ledger; the world writes the records that its endpoint is given.
struct Served {
    world: World,
    ledger: Arc<DevLedger>,
    address: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), dev::DevError>>,
}

impl Served {
    async fn start(
        tls: Option<Arc<rustls::ServerConfig>>,
        change: impl FnOnce(&mut DevLedgerConfig),
    ) -> Self {
        let names = dev::Names {
            consortium: ConsortiumId::parse("test-consortium").unwrap(),
            chain: "chain0".into(),
            group: "group0".into(),
        };
        let sealer_keys = [1u8, 2, 3, 4].map(|s| *key(s).public_key());
        let governance =
            Governance { threshold: 2, keys: [21u8, 22, 23].map(|s| *key(s).public_key()).to_vec() };
        let genesis = dev::genesis(&names, &sealer_keys, governance).unwrap();
        let mut config = DevLedgerConfig::new(genesis.clone(), Submitters::Anyone);
        config.block_interval = Duration::from_millis(20);
        change(&mut config);
        let keys = [1u8, 2, 3, 4].map(|s| fake_key(s).unwrap()).into_iter().collect();
        let ledger = DevLedger::open(config, keys, Arc::new(SystemClock), Arc::new(MemDisk::new())).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, cancel) = (listener.local_addr().unwrap(), CancellationToken::new());
        let task = tokio::spawn(dev::serve(ledger.clone(), listener, tls, cancel.clone()));
        let world = World { chain: FakeChain::new(genesis, sealers(&[1, 2, 3, 4])), nonce: 0 };
        Self { world, ledger, address, cancel, task }
    }

    fn rpc(&self) -> FiscoRpc {
        let address = format!("http://{}", self.address);
        FiscoRpc::new(&address, None, self.world.genesis(), RpcOptions::default()).unwrap()
    }

    /// A transaction that carries no batch.
    fn transaction(&self, nonce: u8, block_limit: i64) -> fisco::Transaction {
        let account = FakeSigner(fake_key(99).unwrap());
        build_transaction(self.world.genesis(), b"payload", block_limit, [nonce; 16], &account).unwrap()
    }

    async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(WAIT, self.task).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_the_development_ledger_tells_is_read() {
    let served = Served::start(None, |_| {}).await;
    let rpc = served.rpc();
    assert_eq!(rpc.endpoint(), format!("http://{}", served.address));
    assert_eq!(rpc.head().await.unwrap(), Height(0));
    let txs: Vec<_> = (1..=3).map(|n| served.transaction(n, 100)).collect();
    for tx in &txs {
        assert_eq!(rpc.submit(tx).await.unwrap(), tx.compute_hash().unwrap());
    }
    let head = rpc.head().await.unwrap();
    assert_eq!(head, served.ledger.head());
    let mut found = Vec::new();
    for h in 1..=head.0 {
        let told: RawBlock = rpc.block(Height(h)).await.unwrap();
        let kept = served.ledger.block(Height(h)).unwrap().unwrap();
        assert_eq!(told.header, kept.header);
        assert_eq!(told.transactions, kept.transactions);
        assert_eq!(told.receipts, kept.receipts);
        assert_eq!(rpc.header(Height(h)).await.unwrap(), kept.header);
        found.extend(told.transactions);
    }
    assert_eq!(found, txs);
    // block 0 has no sealers, and is told as it is
    let first = rpc.block(Height(0)).await.unwrap();
    assert_eq!(first.header.hash, fisco::write_0x(&served.world.genesis().block0.0));
    served.stop().await;
}

fn refused(e: LedgerError, wanted: i64) -> LedgerError {
    assert!(matches!(e, LedgerError::Refused { code, .. } if code == wanted), "{e}");
    e
}

#[tokio::test]
async fn refusals_are_told_by_their_code() {
    let served = Served::start(None, |c| c.rate = Rate { per_second: 1, burst: 3 }).await;
    let rpc = served.rpc();
    refused(rpc.block(Height(7)).await.unwrap_err(), 3006);
    refused(rpc.header(Height(7)).await.unwrap_err(), 3006);
    let mut other = served.world.genesis().clone();
    other.group = "group1".into();
    let address = format!("http://{}", served.address);
    let stranger = FiscoRpc::new(&address, None, &other, RpcOptions::default()).unwrap();
    let e = refused(stranger.head().await.unwrap_err(), -32000);
    assert!(e.to_string().contains("its group is `group0`"), "{e}");
    // the same transaction again is no error: the chain has it
    let tx = served.transaction(1, 100);
    let hash = rpc.submit(&tx).await.unwrap();
    assert_eq!(rpc.submit(&tx).await.unwrap(), hash);
    assert_eq!(served.ledger.head(), Height(1));
    let e = refused(rpc.submit(&served.transaction(2, 9_000)).await.unwrap_err(), 10001);
    assert_eq!((e.may_retry(), e.blame()), (false, Blame::Upstream));
    let e = refused(rpc.submit(&served.transaction(3, 100)).await.unwrap_err(), 10002);
    assert!(e.may_retry(), "a rate passes");
    served.stop().await;
}

/// Everything together: governance's first batch, a follower, a submitter, a proof.
#[tokio::test]
async fn records_go_onto_the_chain_and_come_back_verified() {
    let mut served = Served::start(None, |_| {}).await;
    let ledgers: Vec<Arc<dyn Ledger>> = vec![Arc::new(served.rpc()), Arc::new(served.rpc())];
    let genesis = served.world.genesis().clone();
    let store = Arc::new(MemStore::new());
    let handle = StateHandle::open(store, genesis.clone(), Arc::new(SystemClock), Height(0)).unwrap();
    let cancel = CancellationToken::new();
    let options = FollowOptions { poll: Duration::from_millis(20), ..FollowOptions::default() };
    let following = follow(ledgers.clone(), handle.clone(), Arc::new(SystemClock), options, cancel.clone());
    let following = tokio::spawn(following);
    let (submitter, task) = Submitter::new(
        SubmitConfig::new(node_id("source-1")),
        ledgers.clone(),
        handle.clone(),
        Arc::new(FakeSigner(fake_key(32).unwrap())),
        Arc::new(FakeSigner(fake_key(98).unwrap())),
        Counter::new(),
    )
    .unwrap();
    tokio::spawn(task.run(cancel.clone()));
    let first = served.world.bootstrap();
    let batch = SignedBatch::parse(&first.payload(&genesis).unwrap()).unwrap();
    let recorded = submitter.record_batch(batch, WAIT).await.unwrap();
    assert!(recorded.fates.iter().all(|f| *f == Fate::Accepted), "{:?}", recorded.fates);
    let beat = |seen| Record::Heartbeat(Heartbeat { seen: Height(seen) });
    let recorded = submitter.record(vec![beat(0), beat(1)], WAIT).await.unwrap();
    assert_eq!(recorded.fates, [Fate::Accepted, Fate::Accepted]);
    assert_eq!(handle.health(), Health::Fresh);
    assert_eq!(handle.cursor().height, served.ledger.head());
    let rpc = served.rpc();
    let proof = fetch_inclusion(&rpc, &handle, recorded.height, recorded.tx_index, 1).await.unwrap();
    let header = verify_header(&proof.header, &SealerSet::of_genesis(&genesis).unwrap()).unwrap();
    assert_eq!(header.hash(), recorded.hash);
    let leaf = proof.transaction.compute_hash().unwrap();
    assert_eq!(leaf, recorded.tx_hash);
    let (index, count) = (proof.index as usize, proof.count as usize);
    assert_eq!(merkle_root_from_path(leaf, index, count, &proof.tx_path), Some(header.txs_root()));
    // it lies from now on: the next block is not taken
    let omit: dev::Change<dev::Block> = Arc::new(|b| b.transactions.clear());
    served.ledger.set_faults(Faults { serving: Some(omit), ..Faults::default() });
    let at = handle.cursor().height;
    submitter.submit(vec![beat(2)]).await.unwrap();
    eventually("a refusal", || handle.endpoints().iter().all(|e| e.error.is_some())).await;
    assert_eq!(handle.cursor().height, at);
    served.ledger.set_faults(Faults::default());
    assert!(handle.wait_height(Height(at.0 + 1), WAIT).await);
    cancel.cancel();
    following.await.unwrap().unwrap();
    served.stop().await;
}

fn certificate(root: &TlsIdentity, kind: CertKind, seed: u8) -> TlsIdentity {
    let key = Arc::new(KeyPair::from_secret(Profile::International.scheme(), [seed; 32]).unwrap());
    let now = SystemClock.now();
    let spec = CertSpec {
        subject: Subject { common_name: Some("test".into()), organization: None, serial_number: None },
        public_key: *key.public_key(),
        not_before: UnixMillis(now.0 - 3_600_000),
        not_after: UnixMillis(now.0 + 3_600_000),
        serial: [seed; 16],
        dns: Vec::new(),
        ips: if kind == CertKind::TlsServerClient { vec![Ipv4Addr::LOCALHOST.into()] } else { Vec::new() },
        kind,
    };
    let issuer_key = if spec.kind == CertKind::Root { &key } else { &root.key };
    let sign = |d: &[u8; 32]| issuer_key.sign_digest(d).map_err(|e| e.to_string());
    let certificate = root.chain.first().map(|c| c.as_ref());
    let issuer = Issuer { certificate, key: issuer_key.public_key(), sign: &sign };
    let der = build_cert(&spec, &issuer).unwrap();
    TlsIdentity { chain: vec![CertificateDer::from(der)], key }
}

fn root(seed: u8) -> TlsIdentity {
    let nothing = TlsIdentity {
        chain: Vec::new(),
        key: Arc::new(KeyPair::from_secret(Profile::International.scheme(), [1; 32]).unwrap()),
    };
    certificate(&nothing, CertKind::Root, seed)
}

fn trust(root: &TlsIdentity) -> Trust {
    Trust { roots: root.chain.clone(), crls: Vec::new() }
}

#[tokio::test]
async fn over_tls_only_the_right_ledger_is_spoken_to() {
    let (ours, theirs) = (root(51), root(52));
    let server = certificate(&ours, CertKind::TlsServerClient, 53);
    let server = server_config(Profile::International, &server, &trust(&ours), &[b"http/1.1"]).unwrap();
    let served = Served::start(Some(Arc::new(server)), |_| {}).await;
    let own = certificate(&ours, CertKind::TlsClient, 54);
    let address = format!("https://{}", served.address);
    let rpc = |trusted: &TlsIdentity| {
        let tls = client_config(Profile::International, &own, &trust(trusted), &[b"http/1.1"]).unwrap();
        FiscoRpc::new(&address, Some(Arc::new(tls)), served.world.genesis(), RpcOptions::default()).unwrap()
    };
    let right = rpc(&ours);
    right.submit(&served.transaction(1, 100)).await.unwrap();
    assert_eq!(right.head().await.unwrap(), Height(1));
    let wrong = rpc(&theirs).head().await.unwrap_err();
    assert!(matches!(wrong, LedgerError::Connect { .. }), "{wrong}");
    assert!(wrong.to_string().contains("certificate"), "{wrong}");
    let plain = served.rpc().head().await.unwrap_err();
    assert!(matches!(plain, LedgerError::Transport { .. }), "{plain}");
    drop(right);
    served.stop().await;
}

#[test]
fn addresses_say_what_is_wrong_with_them() {
    let world = World::new();
    for (address, what) in [
        ("127.0.0.1:20200", "must"),
        ("http://127.0.0.1", "must name host and port"),
        ("http://127.0.0.1:1/rpc", "must have no path"),
        ("http://127.0.0.1:1/?a=b", "must have no path"),
        ("https://127.0.0.1:1", "no TLS settings"),
        ("ftp://127.0.0.1:1", "must start with http"),
        ("", "must be http"),
    ] {
        let error = FiscoRpc::new(address, None, world.genesis(), RpcOptions::default()).err().unwrap();
        assert!(matches!(error, LedgerError::Config { .. }), "{address}");
        assert!(error.to_string().contains(what), "{address}: {error}");
    }
    FiscoRpc::new("http://[::1]:20200", None, world.genesis(), RpcOptions::default()).unwrap();
}

/// A server that answers whatever it is asked with the same bytes, then does what the test says.
struct Odd {
    rpc: FiscoRpc,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// waits for the next request on the connection
    KeepOpen,
    Close,
    /// says nothing more and keeps the connection open
    Hang,
    /// a byte now and then, without end
    Drip,
    /// zeroes without end, as fast as they are read
    Flood,
}

fn patience() -> RpcOptions {
    RpcOptions {
        call_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(500),
        max_answer: 4096,
        connections: 2,
    }
}

async fn odd(bytes: impl Into<Vec<u8>>, then: Then) -> Odd {
    odd_with(bytes, then, patience()).await
}

async fn odd_with(bytes: impl Into<Vec<u8>>, then: Then, options: RpcOptions) -> Odd {
    let bytes: Arc<[u8]> = bytes.into().into();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            connections.spawn(speak(stream, bytes.clone(), then));
        }
    });
    let rpc = FiscoRpc::new(&address, None, World::new().genesis(), options).unwrap();
    Odd { rpc, accepted, task }
}

async fn speak(mut stream: TcpStream, bytes: Arc<[u8]>, then: Then) {
    while read_request(&mut stream).await && stream.write_all(&bytes).await.is_ok() {
        match then {
            Then::KeepOpen => {}
            Then::Close => return,
            Then::Hang => std::future::pending().await,
            Then::Drip => {
                let mut pace = tokio::time::interval(Duration::from_millis(10));
                while stream.write_all(b"0").await.is_ok() {
                    pace.tick().await;
                }
            }
            Then::Flood => while stream.write_all(&[b'0'; 4096]).await.is_ok() {},
        }
    }
}

/// Up to the end of a body of JSON; false at the connection's end.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    let mut chunk = [0u8; 1024];
    loop {
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => read.extend_from_slice(&chunk[..n]),
            _ => return false,
        }
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        if body.len() >= length.trim().parse::<usize>().unwrap() {
            return true;
        }
    }
}

fn http(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn result(value: &str) -> String {
    http(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{value}}}"#))
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_cut() {
    let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n{}", "0".repeat(8192));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n";
    let to_the_close = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    for head in [&announced, chunked, to_the_close] {
        let server = odd(head, Then::Flood).await;
        let error = server.rpc.head().await.unwrap_err();
        assert!(
            matches!(error, LedgerError::TooLarge { max: 4096, method: "getBlockNumber", .. }),
            "{error}"
        );
        assert!(error.to_string().contains("larger than 4096 bytes"), "{error}");
    }
    // as much as that is taken
    let padded = format!("{}7", " ".repeat(4096 - 38));
    let server = odd(result(&padded), Then::KeepOpen).await;
    assert_eq!(server.rpc.head().await.unwrap(), Height(7));
}

#[tokio::test]
async fn headers_without_end_are_cut() {
    for (head, then) in [("HTTP/1.1 200 OK\r\nX: ", Then::Flood), ("HTTP/1.1 200 OK\r\nX: ", Then::Drip)] {
        let server = odd(head, then).await;
        let error = server.rpc.head().await.unwrap_err();
        let named = matches!(error, LedgerError::Transport { .. } | LedgerError::Timeout { .. });
        assert!(named, "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_deep_is_refused() {
    let options = RpcOptions { max_answer: 1 << 20, ..patience() };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!("{}0{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    for value in [deep, nested] {
        let server = odd_with(result(&value), Then::KeepOpen, options).await;
        for error in [
            server.rpc.head().await.unwrap_err(),
            server.rpc.header(Height(1)).await.unwrap_err(),
            server.rpc.block(Height(1)).await.map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, LedgerError::Answer { .. }), "{error}");
            assert!(error.to_string().len() < 400, "{error}");
        }
        // beside what is read, and inside a block
        let beside = format!(r#"{{"jsonrpc":"2.0","id":1,"result":7,"more":{value}}}"#);
        let server = odd_with(http(&beside), Then::KeepOpen, options).await;
        drop(server.rpc.head().await); // one or the other, without an overflow
        let inside = format!(r#"{{"number":1,"more":{value}}}"#);
        let server = odd_with(result(&inside), Then::KeepOpen, options).await;
        let error = server.rpc.block(Height(1)).await.unwrap_err();
        assert!(error.to_string().contains("recursion limit"), "{error}");
    }
}

/// Two bytes of JSON can become 32 of memory: their number is bounded, not only their size.
#[tokio::test]
async fn an_answer_of_too_many_values_is_refused() {
    let options = RpcOptions { max_answer: 16 << 20, call_timeout: WAIT, ..patience() };
    let many = format!("[0{}]", ",0".repeat(1 << 20));
    let server = odd_with(result(&format!(r#"{{"junk":{many}}}"#)), Then::KeepOpen, options).await;
    let error = server.rpc.block(Height(1)).await.unwrap_err();
    assert!(error.to_string().contains("more than 1048576 values"), "{error}");
    // commas in a text are none
    let text = format!(r#""{}\",""#, ",".repeat(2 << 20));
    let server = odd_with(result(&text), Then::KeepOpen, options).await;
    let error = server.rpc.head().await.unwrap_err();
    assert!(error.to_string().contains("invalid type: string"), "{error}");
    assert!(error.to_string().len() < 400, "clipped");
}

#[tokio::test]
async fn a_slow_answer_is_given_up_by_a_deadline() {
    let body = "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{";
    for (bytes, then) in [("", Then::Hang), (body, Then::Hang), (body, Then::Drip)] {
        let server = odd(bytes, then).await;
        let within = tokio::time::timeout(WAIT, server.rpc.head()).await;
        let error = within.expect("a deadline of its own").unwrap_err();
        assert!(matches!(error, LedgerError::Timeout { method: "getBlockNumber", .. }), "{error}");
        assert!(error.to_string().contains("no answer within 500 ms") && error.may_retry(), "{error}");
    }
}

#[tokio::test]
async fn odd_answers_are_named() {
    let odd_ones = [
        (http("no JSON"), "unexpected answer"),
        (http("7"), "unexpected answer"),
        (http(r#"{"jsonrpc":"2.0","id":2,"result":7}"#), "id is not that of the call"),
        (http(r#"{"jsonrpc":"2.0","result":7}"#), "id is not that of the call"),
        (http(r#"{"jsonrpc":"2.0","id":1}"#), "neither result nor error"),
        (http(r#"{"jsonrpc":"2.0","id":1,"result":null}"#), "neither result nor error"),
        (result(r#""7""#), "invalid type"),
        (result("-1"), "unexpected answer"),
        (result("1e99"), "unexpected answer"),
        (http(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"a\nb"}}"#), "error -32603: a b"),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".into(), "HTTP status 500"),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".into(), "HTTP status 302"),
        ("SSH-2.0-OpenSSH\r\n\r\n".into(), "getBlockNumber: "),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".into(), "getBlockNumber: "),
        (String::new(), "getBlockNumber: "),
    ];
    for (bytes, what) in odd_ones {
        let server = odd(bytes.clone(), Then::Close).await;
        let error = server.rpc.head().await.unwrap_err();
        assert!(error.to_string().contains(what), "{bytes}: {error}");
        assert_eq!(error.blame(), Blame::Upstream, "{bytes}");
    }
    let long = format!(r#"{{"id":1,"error":{{"code":1,"message":"{}"}}}}"#, "x".repeat(3_000));
    let error = odd(http(&long), Then::Close).await.rpc.head().await.unwrap_err();
    assert!(error.to_string().len() < 400, "clipped: {error}");
}

#[tokio::test]
async fn a_submission_is_believed_only_for_its_own_hash() {
    let world = World::standard();
    let tx = world.chain.block(Height(1)).unwrap().transactions[0].clone();
    let sent = |hash: &str| result(&format!(r#"{{"transactionHash":"{hash}"}}"#));
    let server = odd(sent(&tx.hash), Then::Close).await;
    assert_eq!(server.rpc.submit(&tx).await.unwrap(), tx.compute_hash().unwrap());
    for hash in [format!("0x{}", "00".repeat(32)), String::new(), tx.hash[2..].to_owned()] {
        let error = odd(sent(&hash), Then::Close).await.rpc.submit(&tx).await.unwrap_err();
        assert!(error.to_string().contains("another transaction"), "{hash}: {error}");
    }
    for code in [10000, 10004, 10005, 10011] {
        let known = http(&format!(r#"{{"id":1,"error":{{"code":{code},"message":""}}}}"#));
        assert!(odd(known, Then::Close).await.rpc.submit(&tx).await.is_ok(), "{code}");
    }
}

/// The other side closes what was kept: the call goes over a new connection instead of failing.
#[tokio::test]
async fn a_kept_connection_that_ended_costs_nothing() {
    let server = odd(http(r#"{"id":null,"error":{"code":1,"message":"no"}}"#), Then::Close).await;
    for _ in 0..20 {
        refused(server.rpc.head().await.unwrap_err(), 1);
    }
    assert_eq!(server.accepted.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn connections_are_kept_and_bounded() {
    let answer = http(r#"{"id":null,"error":{"code":1,"message":"no"}}"#);
    let server = odd(answer, Then::KeepOpen).await;
    for _ in 0..5 {
        assert!(server.rpc.head().await.is_err());
    }
    assert_eq!(server.accepted.load(Ordering::SeqCst), 1, "one call at a time needs one connection");
    let many = (0..20).map(|_| server.rpc.head());
    futures_util::future::join_all(many).await;
    assert_eq!(server.accepted.load(Ordering::SeqCst), 2);
    // nobody listens
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let rpc = FiscoRpc::new(&address, None, World::new().genesis(), patience()).unwrap();
    let error = rpc.head().await.unwrap_err();
    assert!(matches!(error, LedgerError::Connect { .. }) && error.may_retry(), "{error}");
}

/// An endpoint cannot make this box ask for anything but receipts by hash, nor for more than a block has.
#[tokio::test]
async fn a_block_of_odd_hashes_is_refused_before_its_receipts_are_asked_for() {
    let world = World::standard();
    let mut block = world.chain.block(Height(1)).unwrap().clone();
    block.transactions[0].hash = "0x12".into();
    let mut value = serde_json::to_value(&block.header).unwrap();
    value["transactions"] = serde_json::to_value(&block.transactions).unwrap();
    let options = RpcOptions { max_answer: 1 << 20, ..patience() };
    let server = odd_with(result(&value.to_string()), Then::KeepOpen, options).await;
    let error = server.rpc.block(Height(1)).await.unwrap_err();
    assert!(matches!(error, LedgerError::Answer { method: "getBlockByNumber", .. }), "{error}");
}
