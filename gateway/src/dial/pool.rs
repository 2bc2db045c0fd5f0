//! The pool: one connection per peer, made when needed, given up when it is no longer right.

use super::{
    Allowed, Answer, ClientTls, DialError, DialOptions, Peer, Post, Probed, Repeat,
    connect::{self, Connection},
    server_name,
};
use crate::listen::{PeerCert, Tracked};
use bytes::Bytes;
use gw_proto::NodeId;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) struct Pool {
    tls: ClientTls,
    allowed: Allowed,
    options: DialOptions,
    executor: Tracked,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_node: HashMap<NodeId, (u64, Arc<Entry>)>,
    /// grows with each use: the smallest number is the least recently used
    uses: u64,
}

/// One peer. The lock is held while connecting, so that one burst makes one connection.
#[derive(Default)]
struct Entry(tokio::sync::Mutex<Slot>);

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    failed: Option<(Instant, Failure)>,
}

/// What the last attempt met, for those who waited for it.
enum Failure {
    Resolve(io::ErrorKind),
    Connect(io::ErrorKind),
    Handshake(&'static str, io::ErrorKind),
}

enum Failed {
    /// nothing of it left this machine
    NotSent(DialError),
    MaybeSent(DialError),
}

impl Pool {
    pub(super) fn new(tls: ClientTls, allowed: Allowed, options: DialOptions) -> Self {
        let executor = Tracked { tasks: TaskTracker::new(), kill: CancellationToken::new() };
        Self { tls, allowed, options, executor, entries: Mutex::default() }
    }

    pub(super) async fn stop(&self) {
        self.executor.kill.cancel();
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).by_node.clear();
        self.executor.tasks.close();
        self.executor.tasks.wait().await;
    }

    pub(super) async fn post(&self, peer: &Peer, post: Post<'_>) -> Result<Answer, DialError> {
        let (pooled, connection) = self.connection(peer).await?;
        let cert = connection.cert.clone();
        let done = self.exchange(peer, connection, &post).await;
        if matches!(done, Err(Failed::NotSent(_) | Failed::MaybeSent(DialError::Broken { .. }))) {
            self.discard(peer, &cert).await;
        }
        match done {
            Ok(answer) => Ok(answer),
            Err(Failed::NotSent(_)) if pooled => self.once_more(peer, &post).await,
            Err(Failed::MaybeSent(DialError::Broken { .. } | DialError::Handshake { .. }))
                if pooled && post.repeat == Repeat::Safe =>
            {
                self.once_more(peer, &post).await
            }
            Err(Failed::NotSent(e) | Failed::MaybeSent(e)) => Err(e),
        }
    }

    /// Forgets a connection that failed: it may take hyper a moment to see that it is closed.
    async fn discard(&self, peer: &Peer, cert: &Arc<PeerCert>) {
        let entry = self.entry(&peer.node);
        let mut slot = entry.0.lock().await;
        if slot.connection.as_ref().is_some_and(|c| Arc::ptr_eq(&c.cert, cert)) {
            slot.connection = None;
        }
    }

    async fn once_more(&self, peer: &Peer, post: &Post<'_>) -> Result<Answer, DialError> {
        let (_, connection) = self.connection(peer).await?;
        self.exchange(peer, connection, post).await.map_err(|(Failed::NotSent(e) | Failed::MaybeSent(e))| e)
    }

    pub(super) async fn probe(&self, peer: &Peer) -> Result<Probed, DialError> {
        let c = connect::connect(peer, self.tls.load_full(), &self.options, &self.executor).await?;
        let allowed = (self.allowed)(&peer.node, &c.cert.spki);
        // our own certificate is judged only now: any answer shows that it was taken
        let mut sender = c.sender;
        let uri = uri(peer, "/")?;
        let request = Request::get(uri).body(Full::default()).map_err(|e| bad(peer, &e))?;
        let answered =
            tokio::time::timeout(self.options.handshake_timeout, sender.send_request(request)).await;
        match answered {
            Err(_) => return Err(DialError::Timeout { node: peer.node.clone() }),
            Ok(Err(e)) => return Err(connect::broken(peer, e)),
            Ok(Ok(_)) => {}
        }
        Ok(Probed { spki: c.cert.spki, not_after: c.cert.not_after, allowed })
    }

    /// A live, allowed connection; and whether it was there before.
    async fn connection(&self, peer: &Peer) -> Result<(bool, Connection), DialError> {
        if self.executor.kill.is_cancelled() {
            return Err(DialError::Stopping { node: peer.node.clone() });
        }
        let asked = Instant::now();
        let entry = self.entry(&peer.node);
        let mut slot = entry.0.lock().await;
        let tls = self.tls.load_full();
        if let Some(c) = &slot.connection
            && !c.sender.is_closed()
            && Arc::ptr_eq(&c.tls, &tls)
            && c.endpoint == peer.endpoint
            && (self.allowed)(&peer.node, &c.cert.spki)
        {
            return Ok((true, c.clone()));
        }
        slot.connection = None;
        // those who queued behind a failing attempt share its outcome: a peer that is down must cost
        // each of them one timeout, not one after another
        if let Some((at, failure)) = &slot.failed
            && *at >= asked
        {
            return Err(failure.again(peer));
        }
        match connect::connect(peer, tls, &self.options, &self.executor).await {
            Ok(c) if (self.allowed)(&peer.node, &c.cert.spki) => {
                slot.connection = Some(c.clone());
                slot.failed = None;
                Ok((false, c))
            }
            Ok(c) => Err(DialError::NotAllowed { node: peer.node.clone(), spki: c.cert.spki }),
            Err(e) => {
                slot.failed = Failure::of(&e).map(|f| (Instant::now(), f));
                Err(e)
            }
        }
    }

    fn entry(&self, node: &NodeId) -> Arc<Entry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let now = entries.uses;
        if let Some((used, entry)) = entries.by_node.get_mut(node) {
            *used = now;
            return entry.clone();
        }
        if entries.by_node.len() >= self.options.max_peers {
            let oldest = entries.by_node.iter().min_by_key(|(_, (used, _))| *used).map(|(n, _)| n.clone());
            if let Some(oldest) = oldest {
                entries.by_node.remove(&oldest);
            }
        }
        let entry = Arc::new(Entry::default());
        entries.by_node.insert(node.clone(), (now, entry.clone()));
        entry
    }

    async fn exchange(&self, peer: &Peer, c: Connection, post: &Post<'_>) -> Result<Answer, Failed> {
        let request = request(peer, post).map_err(Failed::NotSent)?;
        let mut sender = c.sender;
        if let Err(e) = sender.ready().await {
            return Err(Failed::NotSent(connect::broken(peer, e)));
        }
        let response = sender.try_send_request(request).await.map_err(|mut e| {
            let unsent = e.take_message().is_some();
            let error = connect::broken(peer, e.into_error());
            if unsent { Failed::NotSent(error) } else { Failed::MaybeSent(error) }
        })?;
        let (parts, body) = response.into_parts();
        let max = self.options.answer_bytes;
        let body = Limited::new(body, max).collect().await.map_err(|e| {
            Failed::MaybeSent(match e.downcast::<hyper::Error>() {
                Ok(e) => connect::broken(peer, *e),
                Err(e) => {
                    debug_assert!(e.is::<LengthLimitError>());
                    DialError::TooLarge { node: peer.node.clone(), max }
                }
            })
        })?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
            exporter: c.exporter,
            peer_spki: c.cert.spki,
            peer_issuers: c.cert.issuers.clone(),
        })
    }
}

fn bad(peer: &Peer, what: &dyn std::fmt::Display) -> DialError {
    DialError::BadRequest { node: peer.node.clone(), what: what.to_string() }
}

fn uri(peer: &Peer, path: &str) -> Result<Uri, DialError> {
    Uri::builder()
        .scheme("https")
        .authority(server_name(&peer.node))
        .path_and_query(path)
        .build()
        .map_err(|e| bad(peer, &e))
}

fn request(peer: &Peer, post: &Post<'_>) -> Result<Request<Full<Bytes>>, DialError> {
    let mut request = Request::post(uri(peer, post.path)?)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(post.body.clone()))
        .map_err(|e| bad(peer, &e))?;
    request.headers_mut().extend(post.headers.clone());
    Ok(request)
}

impl Failure {
    fn of(error: &DialError) -> Option<Self> {
        match error {
            DialError::Resolve { source, .. } => Some(Self::Resolve(source.kind())),
            DialError::Connect { source, .. } => Some(Self::Connect(source.kind())),
            DialError::Handshake { reason, source, .. } => Some(Self::Handshake(reason, source.kind())),
            _ => None,
        }
    }
    fn again(&self, peer: &Peer) -> DialError {
        let (node, endpoint) = (peer.node.clone(), peer.endpoint.clone());
        match self {
            Self::Resolve(kind) => DialError::Resolve { node, endpoint, source: (*kind).into() },
            Self::Connect(kind) => DialError::Connect { node, endpoint, source: (*kind).into() },
            Self::Handshake(reason, kind) => DialError::Handshake { node, reason, source: (*kind).into() },
        }
    }
}
