//! A source of a test's own: real keys, real address, answers as the test wants.

use super::{
    consortium::Profile,
    thief::Thief,
    wire::{Shared, runtime, tls_profile},
};
use anyhow::{Result, anyhow};
use bytes::Bytes;
use gw_proto::{
    Hex, ReportId,
    merkle::LeafKind,
    message::{Reply, ReplyStatus, SignedReply, SignedRequest, VERSION},
    report::{Item, Value},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::TlsAcceptor;

/// What one request came with: the message, and the channel it came over.
pub struct Asked {
    /// what the asker sent
    pub request: SignedRequest,
    stream: Shared,
}

impl Asked {
    /// The channel binding that an honest reply over this connection has.
    pub fn channel(&self, report: &ReportId) -> Result<Hex<32>> {
        self.stream.channel(report)
    }
}

/// Makes the body of the answer to a request; an error ends the connection.
pub type Answer = Box<dyn FnMut(&Thief, &Asked) -> Result<Vec<u8>> + Send>;

/// A running source of a test's own; ends when it is dropped.
pub struct Impostor {
    // dropped first: what its tasks hold must not be the last of it, a thief has a runtime of its own
    _runtime: Runtime,
    answer: Arc<Mutex<Answer>>,
    _thief: Arc<Thief>,
}

impl Impostor {
    /// Listens where the real source did, with its node's keys.
    pub fn start(profile: Profile, thief: Thief, at: SocketAddr, answer: Answer) -> Result<Self> {
        let (identity, trust) = thief.tls();
        let tls = gw_sm::tls::server_config(tls_profile(profile), identity, trust, &[b"h2"])
            .map_err(|e| anyhow!("{e}"))?;
        let runtime = runtime()?;
        let listener = runtime.block_on(TcpListener::bind(at))?;
        let (thief, answer) = (Arc::new(thief), Arc::new(Mutex::new(answer)));
        runtime.spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), thief.clone(), answer.clone()));
        Ok(Self { _runtime: runtime, answer, _thief: thief })
    }

    /// Answers otherwise from now on.
    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, thief: Arc<Thief>, answer: Arc<Mutex<Answer>>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, thief, answer) = (tls.clone(), thief.clone(), answer.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let stream = Shared::new(stream.into());
            let io = TokioIo::new(stream.clone());
            let service =
                service_fn(move |request| respond(request, thief.clone(), answer.clone(), stream.clone()));
            // the asker ends it
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service)
                .await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    thief: Arc<Thief>,
    answer: Arc<Mutex<Answer>>,
    stream: Shared,
) -> Result<Response<Full<Bytes>>> {
    let body = Limited::new(request.into_body(), 1 << 20).collect().await.map_err(|e| anyhow!("{e}"))?;
    let asked = Asked { request: serde_json::from_slice(&body.to_bytes())?, stream };
    // signing blocks for a moment: the only work of this runtime's thread
    let body = (*answer.lock().unwrap_or_else(PoisonError::into_inner))(&thief, &asked)?;
    let body = Full::new(Bytes::from(body));
    Ok(Response::builder().header("content-type", "application/json").body(body)?)
}

/// The reply that an honest source would give, with one item.
pub fn honest(thief: &Thief, asked: &Asked) -> Result<Reply> {
    let request = &asked.request.request;
    let report_id = request.opening.report_id;
    Ok(Reply {
        v: VERSION,
        report_id,
        request_leaf: asked.request.proof.leaf_hash().unwrap_or(Hex([0; 32])),
        source: thief.node.clone(),
        asker: request.asker.clone(),
        height: request.height,
        hash: request.hash,
        channel: asked.channel(&report_id)?,
        status: ReplyStatus::Answered,
        catalogue: "2026.1".to_owned(),
        as_of: super::agreement::now(),
        items: vec![Item {
            id: "basic.name".to_owned(),
            dimension: gw_proto::Dimension::Basic,
            value: Value::Text("冒充者".to_owned()),
            as_of: "2026-01-01".to_owned(),
            key: None,
            disputed: false,
        }],
    })
}

/// Signs a reply for its asker.
pub fn signed(thief: &Thief, reply: Reply) -> Result<SignedReply> {
    let proof = thief.sign(LeafKind::Reply, reply.asker.as_str(), reply.digest()?)?;
    Ok(SignedReply { reply, proof })
}
