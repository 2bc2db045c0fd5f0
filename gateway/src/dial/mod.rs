//! Dialling: one HTTP/2 connection to each peer gateway, mutual TLS, checked against the ledger.
//!
//! The TLS layer checks chain, dates and the name `<node-id>.xinguan.internal`; the caller's closure then
//! says whether *this* key is bound to *that* node right now. It is asked per request, not per
//! connection: a binding or a node can end while a connection lives.

mod connect;
mod pool;
#[cfg(test)]
mod tests;

use crate::listen::ExporterHandle;
use arc_swap::ArcSwap;
use bytes::Bytes;
use gw_proto::{Clock, Digest, NodeId};
use gw_sm::tls::{Profile, TlsError, TlsIdentity, Trust};
use http::{HeaderMap, StatusCode};
use std::{sync::Arc, time::Duration};

/// The suffix of every gateway's name in TLS certificates. `.internal` is reserved for private use.
pub const NAME_SUFFIX: &str = ".xinguan.internal";

/// The name that a node's TLS certificate carries.
pub fn server_name(node: &NodeId) -> String {
    format!("{node}{NAME_SUFFIX}")
}

/// The client's TLS configuration. A replacement (new own certificate, new CRL) retires pooled connections.
pub type ClientTls = Arc<ArcSwap<rustls::ClientConfig>>;

/// The TLS configuration for dialling: HTTP/2 only, dates judged by `clock`.
pub fn client_tls(
    profile: Profile,
    identity: &TlsIdentity,
    trust: &Trust,
    clock: Arc<dyn Clock>,
) -> Result<rustls::ClientConfig, TlsError> {
    let mut config = gw_sm::tls::client_config(profile, identity, trust, &[b"h2"])?;
    config.time_provider = gw_sm::tls::time_provider(clock);
    Ok(config)
}

/// Whether a TLS key (SM3 of its SubjectPublicKeyInfo) is the node's, as the verified ledger says now.
pub type Allowed = Arc<dyn Fn(&NodeId, &Digest) -> bool + Send + Sync>;

/// Whom to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// who it must be
    pub node: NodeId,
    /// host:port as the ledger lists it
    pub endpoint: String,
}

/// Whether a request may be sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Its receiver recognises a repetition (nonce, report id): sent again once if the connection dies.
    Safe,
    /// Sent again only if nothing of it left this machine.
    Never,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Post<'a> {
    /// absolute path, for example `/peer/v1/requests`
    pub path: &'a str,
    /// JSON
    pub body: Bytes,
    /// more headers, for example `traceparent`
    pub headers: HeaderMap,
    /// may it be sent twice
    pub repeat: Repeat,
    /// connect, handshake, sending and the whole answer
    pub timeout: Duration,
}

/// One answer, and the channel it came through.
#[derive(Debug, Clone)]
pub struct Answer {
    /// status
    pub status: StatusCode,
    /// headers
    pub headers: HeaderMap,
    /// the whole body
    pub body: Bytes,
    /// exporter of the very connection that carried request and answer
    pub exporter: ExporterHandle,
    /// the peer's TLS key
    pub peer_spki: Digest,
    /// the chain above it, DER, without the root: the peer's node CA certificate first
    pub peer_issuers: Vec<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The endpoint's name has no address.
    #[error(
        "{node}: cannot resolve {endpoint}; check the node's endpoint on the ledger and this box's resolver"
    )]
    Resolve {
        /// whom
        node: NodeId,
        /// where
        endpoint: String,
        /// why
        source: std::io::Error,
    },
    /// No TCP connection.
    #[error("{node}: cannot connect to {endpoint}; is it up, and is the way through the MAN open?")]
    Connect {
        /// whom
        node: NodeId,
        /// where
        endpoint: String,
        /// why
        source: std::io::Error,
    },
    /// No TLS.
    #[error("{node}: TLS handshake failed ({reason}); run `xinguan doctor` on both sides")]
    Handshake {
        /// whom
        node: NodeId,
        /// one of a few words
        reason: &'static str,
        /// why
        source: std::io::Error,
    },
    /// Valid certificate, wrong key.
    #[error("{node}: the ledger does not bind TLS key {spki} to it; has its binding reached a block?")]
    NotAllowed {
        /// whom
        node: NodeId,
        /// the key it showed
        spki: Digest,
    },
    /// HTTP broke off. The request may have been received.
    #[error("{node}: the connection broke off; the request may have been received")]
    Broken {
        /// whom
        node: NodeId,
        /// why
        source: hyper::Error,
    },
    /// Too late. The request may have been received.
    #[error("{node}: no answer in time; the request may have been received")]
    Timeout {
        /// whom
        node: NodeId,
    },
    /// An answer larger than taken.
    #[error("{node}: an answer of more than {max} bytes")]
    TooLarge {
        /// whom
        node: NodeId,
        /// bytes taken
        max: usize,
    },
    /// The request itself cannot be expressed.
    #[error("{node}: not a request: {what}")]
    BadRequest {
        /// whom
        node: NodeId,
        /// why
        what: String,
    },
    /// Shutting down.
    #[error("{node}: this gateway is stopping")]
    Stopping {
        /// whom
        node: NodeId,
    },
}

impl DialError {
    /// The metric's label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "resolve",
            Self::Connect { .. } => "connect",
            Self::Handshake { .. } => "handshake",
            Self::NotAllowed { .. } => "not-allowed",
            Self::Broken { .. } => "broken",
            Self::Timeout { .. } => "timeout",
            Self::TooLarge { .. } => "too-large",
            Self::BadRequest { .. } => "bad-request",
            Self::Stopping { .. } => "stopping",
        }
    }
    /// Whether nothing of the request can have reached the peer.
    pub fn surely_not_sent(&self) -> bool {
        !matches!(self, Self::Broken { .. } | Self::Timeout { .. } | Self::TooLarge { .. })
    }
    /// Whether the same call may succeed later.
    pub fn may_retry(&self) -> bool {
        !matches!(self, Self::TooLarge { .. } | Self::BadRequest { .. } | Self::Stopping { .. })
    }
}

/// Bounds of dialling.
#[derive(Debug, Clone)]
pub struct DialOptions {
    /// one TCP connection
    pub connect_timeout: Duration,
    /// one TLS handshake
    pub handshake_timeout: Duration,
    /// bytes of an answer
    pub answer_bytes: usize,
    /// peers with a pooled connection; the least recently used goes first
    pub max_peers: usize,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            // the MAN's round trip is milliseconds: a second says "down", the query can still ask others
            connect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(2),
            // 4,096 items of at most a few hundred bytes (proto::message::Reply)
            answer_bytes: 4 * 1024 * 1024,
            // more than the consortium has
            max_peers: 1024,
        }
    }
}

/// What a probe saw.
#[derive(Debug, Clone)]
pub struct Probed {
    /// the peer's TLS key
    pub spki: Digest,
    /// valid until
    pub not_after: gw_proto::UnixMillis,
    /// whether the closure allows it
    pub allowed: bool,
}

/// Calls other gateways. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<pool::Pool>,
}

impl Client {
    /// A client without connections; they are made on first use.
    pub fn new(tls: ClientTls, allowed: Allowed, options: DialOptions) -> Self {
        Self { inner: Arc::new(pool::Pool::new(tls, allowed, options)) }
    }

    /// Sends JSON and reads the whole answer.
    pub async fn post_json(&self, peer: &Peer, post: Post<'_>) -> Result<Answer, DialError> {
        let timeout = post.timeout;
        let done = tokio::time::timeout(timeout, self.inner.post(peer, post))
            .await
            .unwrap_or_else(|_| Err(DialError::Timeout { node: peer.node.clone() }));
        let how = done.as_ref().map_or_else(DialError::as_str, |_| "answered");
        metrics::counter!("xinguan_dialled_total", "how" => how).increment(1);
        done
    }

    /// Connects and shakes hands once, outside the pool: for `doctor`.
    pub async fn probe(&self, peer: &Peer) -> Result<Probed, DialError> {
        self.inner.probe(peer).await
    }

    /// Closes all connections; what is in flight breaks off. Later calls fail.
    pub async fn stop(&self) {
        self.inner.stop().await;
    }
}
