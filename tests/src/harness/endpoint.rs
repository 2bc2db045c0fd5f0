//! A ledger endpoint between a gateway and the real ledger, which a test lets lie.
//!
//! Plain HTTP on loopback, one JSON-RPC call at a time and connection; upstream it is a client like any other.

use super::{
    consortium::Consortium,
    thief::first_cert,
    wire::{Connection, runtime},
};
use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use gw_sm::{
    cert::{certs_from_pem, key_from_pem},
    tls::{TlsIdentity, Trust},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{net::TcpListener, runtime::Runtime};

/// Changes an answer; gets the request.
pub type Lie = Box<dyn FnMut(&Value, &mut Value) -> Result<()> + Send>;

/// A running endpoint; ends when it is dropped.
pub struct Endpoint {
    shared: Arc<Inner>,
    _runtime: Runtime,
}

struct Inner {
    lie: Mutex<Option<Lie>>,
    deaf_to: Mutex<Option<&'static str>>,
    calls: AtomicU64,
    profile: super::consortium::Profile,
    identity: TlsIdentity,
    trust: Trust,
    ledger: SocketAddr,
}

impl Endpoint {
    /// Listens; tells the truth at first.
    pub fn start(c: &Consortium, at: SocketAddr) -> Result<Self> {
        let key = std::fs::read_to_string(c.file("ledger/tls.key"))?;
        let key = key_from_pem(&key).map_err(|e| anyhow!("{e}"))?;
        let chain = certs_from_pem(&std::fs::read(c.file("ledger/tls.pem"))?).map_err(|e| anyhow!("{e}"))?;
        let root = first_cert(&c.file("pki/man-root.pem"))?;
        let shared = Arc::new(Inner {
            lie: Mutex::new(None),
            deaf_to: Mutex::new(None),
            calls: AtomicU64::new(0),
            profile: c.profile(),
            identity: TlsIdentity { chain: chain.into_iter().map(Into::into).collect(), key: Arc::new(key) },
            trust: Trust { roots: vec![root.into()], crls: Vec::new() },
            ledger: c.ledger_address(),
        });
        let runtime = runtime()?;
        let listener = runtime.block_on(TcpListener::bind(at))?;
        runtime.spawn(accept(listener, shared.clone()));
        Ok(Self { shared, _runtime: runtime })
    }

    /// From now on answers are changed so; `None`: the truth again.
    pub fn lie(&self, lie: Option<Lie>) {
        *self.shared.lie.lock().unwrap_or_else(PoisonError::into_inner) = lie;
    }

    /// From now on calls of this method are not handed on: their connection breaks off.
    pub fn deaf_to(&self, method: Option<&'static str>) {
        *self.shared.deaf_to.lock().unwrap_or_else(PoisonError::into_inner) = method;
    }

    /// How many calls it has had.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Inner>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let upstream = Arc::new(tokio::sync::Mutex::new(None::<Connection>));
            let service = service_fn(move |request| respond(request, shared.clone(), upstream.clone()));
            // the gateway ends it
            let _ =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service).await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    shared: Arc<Inner>,
    upstream: Arc<tokio::sync::Mutex<Option<Connection>>>,
) -> Result<Response<Full<Bytes>>> {
    let body = Limited::new(request.into_body(), 4 << 20).collect().await.map_err(|e| anyhow!("{e}"))?;
    let body = body.to_bytes().to_vec();
    shared.calls.fetch_add(1, Ordering::Relaxed);
    let asked: Value = serde_json::from_slice(&body)?;
    let deaf_to = *shared.deaf_to.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(asked.get("method").and_then(Value::as_str) != deaf_to, "not handed on");
    let mut upstream = upstream.lock().await;
    let mut connection = match upstream.take() {
        Some(c) => c,
        None => Connection::open(shared.profile, &shared.identity, &shared.trust, shared.ledger).await?,
    };
    let reply = connection.post("/", body).await?;
    *upstream = Some(connection);
    let mut answer = reply.json()?;
    if let Some(lie) = &mut *shared.lie.lock().unwrap_or_else(PoisonError::into_inner) {
        lie(&asked, &mut answer)?;
    }
    let body = Full::new(Bytes::from(answer.to_string()));
    Ok(Response::builder().header("content-type", "application/json").body(body)?)
}
