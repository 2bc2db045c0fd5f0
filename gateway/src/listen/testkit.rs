//! Certificates, listeners and clients for tests of what sits on this layer.

use super::{ListenerKind, Server, identity, server_tls};
use crate::config::{HostName, Listen, ListenLimits};
use arc_swap::ArcSwap;
use axum::Router;
use gw_proto::{Clock, NodeId, Scheme, UnixMillis, clock::FakeClock};
use gw_sm::{
    KeyPair,
    cert::{CertKind, CertSpec, CrlSpec, Issuer, RevokedSerial, Subject, build_cert, build_crl},
    tls::{Profile, TlsIdentity, Trust},
};
use hsm_api::{Entropy, HsmError, Signer};
use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// 2026-01-01; every certificate of the kit is valid around it.
pub(crate) const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
const DAY: u64 = 24 * 3600 * 1000;
/// Longer than any of these tests takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("did not happen in time")
}

/// Never the same bytes twice in a process.
pub(crate) struct CountingEntropy;

impl Entropy for CountingEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        for chunk in out.chunks_mut(32) {
            let n = NEXT.fetch_add(1, Ordering::SeqCst);
            let bytes = gw_proto::sm3(&n.to_be_bytes()).0;
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

/// A key in memory as a [`Signer`].
pub(crate) struct MemorySigner(pub(crate) KeyPair);

impl Signer for MemorySigner {
    fn public_key(&self) -> &gw_proto::PublicKey {
        self.0.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<gw_proto::Signature, HsmError> {
        self.0.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
    }
}

pub(crate) struct Entity {
    pub(crate) key: Arc<KeyPair>,
    pub(crate) der: Vec<u8>,
}

impl Entity {
    pub(crate) fn identity(&self) -> TlsIdentity {
        TlsIdentity { chain: vec![self.der.clone().into()], key: self.key.clone() }
    }
    fn issuer<R>(&self, f: impl FnOnce(&Issuer<'_>) -> R) -> R {
        let sign = |d: &[u8; 32]| self.key.sign_digest(d).map_err(|e| e.to_string());
        f(&Issuer { certificate: Some(&self.der), key: self.key.public_key(), sign: &sign })
    }
}

/// One root and what is under it.
pub(crate) struct Pki {
    pub(crate) profile: Profile,
    pub(crate) root: Entity,
    now: UnixMillis,
}

fn fresh(scheme: Scheme) -> KeyPair {
    KeyPair::generate(scheme, |out| CountingEntropy.fill(out)).unwrap()
}

fn serial() -> [u8; 16] {
    let mut out = [0; 16];
    CountingEntropy.fill(&mut out).unwrap();
    out[0] = 0x40 | out[0] & 0x7f;
    out
}

impl Pki {
    pub(crate) fn new(profile: Profile) -> Self {
        Self::at(profile, NOW)
    }
    /// Valid around another date, for clients with a clock of their own.
    pub(crate) fn at(profile: Profile, now: UnixMillis) -> Self {
        let key = fresh(profile.scheme());
        // each root has its own name: a stranger's is unknown, not a bad signature
        let spec = spec(CertKind::Root, &format!("root {}", hex::encode(serial())), &key, now);
        let sign = |d: &[u8; 32]| key.sign_digest(d).map_err(|e| e.to_string());
        let der =
            build_cert(&spec, &Issuer { certificate: None, key: key.public_key(), sign: &sign }).unwrap();
        Self { profile, root: Entity { key: Arc::new(key), der }, now }
    }
    pub(crate) fn trust(&self) -> Trust {
        Trust { roots: vec![self.root.der.clone().into()], crls: vec![] }
    }
    pub(crate) fn issue(&self, change: impl FnOnce(&mut CertSpec)) -> Entity {
        let key = fresh(self.profile.scheme());
        let mut spec = spec(CertKind::TlsClient, "client", &key, self.now);
        change(&mut spec);
        let der = self.root.issuer(|i| build_cert(&spec, i)).unwrap();
        Entity { key: Arc::new(key), der }
    }
    /// A client certificate.
    pub(crate) fn client(&self, name: &str) -> Entity {
        self.issue(|s| s.subject.common_name = Some(name.to_owned()))
    }
    /// A list that revokes one certificate.
    pub(crate) fn crl(&self, revoked: &Entity) -> Vec<u8> {
        let serial = gw_sm::cert::parse_cert(&revoked.der).unwrap().serial;
        let spec = CrlSpec {
            this_update: UnixMillis(NOW.0 - DAY),
            next_update: UnixMillis(NOW.0 + DAY),
            number: 1,
            revoked: vec![RevokedSerial { serial, at: UnixMillis(NOW.0 - DAY) }],
        };
        self.root.issuer(|i| build_crl(&spec, i)).unwrap()
    }
    /// The node key's certificate, and the key.
    pub(crate) fn node_ca(&self, node: &str) -> (Vec<u8>, MemorySigner) {
        let ca = self.issue(|s| {
            s.kind = CertKind::NodeCa { dns: format!("{node}.xinguan.internal") };
            s.subject.common_name = Some(node.to_owned());
            s.ips = vec![[127, 0, 0, 1].into()];
            s.not_after = UnixMillis(self.now.0 + 300 * DAY);
        });
        (ca.der, MemorySigner(Arc::try_unwrap(ca.key).unwrap()))
    }
    /// A node with a fresh TLS identity, made as at start.
    pub(crate) fn node(&self, node: &str) -> identity::MadeIdentity {
        self.node_at(node, self.now)
    }
    pub(crate) fn node_at(&self, node: &str, now: UnixMillis) -> identity::MadeIdentity {
        let (ca, signer) = self.node_ca(node);
        let request = identity::Request {
            node: &NodeId::parse(node).unwrap(),
            extra_names: &[HostName::Ip([127, 0, 0, 1].into())],
            lifetime: Duration::from_secs(3600),
            node_ca_chain: &[ca.into()],
            now,
        };
        identity::make(&request, &signer, &CountingEntropy).unwrap()
    }
}

fn spec(kind: CertKind, name: &str, key: &KeyPair, now: UnixMillis) -> CertSpec {
    CertSpec {
        kind,
        subject: Subject { common_name: Some(name.to_owned()), ..Subject::default() },
        public_key: *key.public_key(),
        not_before: UnixMillis(now.0 - DAY),
        not_after: UnixMillis(now.0 + 30 * DAY),
        serial: serial(),
        dns: vec![],
        ips: vec![],
    }
}

pub(crate) fn clock() -> Arc<FakeClock> {
    Arc::new(FakeClock::at(NOW))
}

/// Generous everywhere; a test tightens what it is about.
pub(crate) fn limits() -> ListenLimits {
    let many = NonZeroU32::new(1000).unwrap();
    ListenLimits {
        max_connections: 1000,
        per_address: 1000,
        max_handshakes: 1000,
        new_per_second: many,
        new_burst: many,
        handshake_timeout: PATIENCE,
        header_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        body_chunk_timeout: PATIENCE,
        body_timeout: PATIENCE,
        exchange_timeout: PATIENCE,
        body_bytes: 64 * 1024,
        header_bytes: 16 * 1024,
        max_headers: 64,
        max_streams: 100,
        drain: PATIENCE,
    }
}

/// A listener that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) cancel: CancellationToken,
    pub(crate) task: JoinHandle<()>,
    pub(crate) tls: super::ServerTls,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        soon(self.task).await.unwrap();
    }
}

/// Starts node `gw` with identity and client trust under `pki`, on a free port of 127.0.0.1.
pub(crate) async fn start(pki: &Pki, limits: ListenLimits, router: Router) -> Running {
    start_as(&pki.node("gw"), &pki.trust(), pki.profile, limits, router, clock()).await
}

pub(crate) async fn start_as(
    node: &identity::MadeIdentity,
    trust: &Trust,
    profile: Profile,
    limits: ListenLimits,
    router: Router,
    clock: Arc<dyn Clock>,
) -> Running {
    let tls = server_tls(profile, &node.tls, trust, clock.clone()).unwrap();
    let tls = Arc::new(ArcSwap::from_pointee(tls));
    let listen = Listen { address: ([127, 0, 0, 1], 0).into(), profile, limits };
    let server = Server::bind(ListenerKind::Bank, &listen, tls.clone(), clock).await.unwrap();
    let (address, cancel) = (server.local_addr(), CancellationToken::new());
    let task = tokio::spawn(server.serve(router, cancel.clone()));
    Running { address, cancel, task, tls }
}

/// A client's configuration with the kit's clock.
pub(crate) fn client_config(
    profile: Profile,
    identity: &TlsIdentity,
    trust: &Trust,
    alpn: &[&[u8]],
) -> rustls::ClientConfig {
    let mut config = gw_sm::tls::client_config(profile, identity, trust, alpn).unwrap();
    config.time_provider = gw_sm::tls::time_provider(clock());
    config
}

pub(crate) type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// Connects to node `gw`.
pub(crate) async fn connect(address: SocketAddr, config: rustls::ClientConfig) -> std::io::Result<Stream> {
    let tcp = TcpStream::connect(address).await?;
    let name = "gw.xinguan.internal".try_into().unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// A connected client of `pki` named `client`, speaking `alpn`.
pub(crate) async fn client(pki: &Pki, address: SocketAddr, alpn: &[u8]) -> Stream {
    let identity = pki.client("client").identity();
    soon(connect(address, client_config(pki.profile, &identity, &pki.trust(), &[alpn]))).await.unwrap()
}

/// Everything until the other side closes; a broken end counts as one.
pub(crate) async fn read_to_end(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut all = Vec::new();
    let mut buffer = [0u8; 4096];
    while let Ok(n @ 1..) = soon(stream.read(&mut buffer)).await {
        all.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}
