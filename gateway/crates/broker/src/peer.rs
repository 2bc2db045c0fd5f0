//! Asking one node of another region: the trait, what can go wrong, and a fake.

use async_trait::async_trait;
use gw_proto::{
    Digest, Height, Hex, NodeId, UnixMillis,
    message::{Evidence, Opening, Request, SignedReply, SignedRequest, Statement, VERSION},
    record::Node,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Why one ask brought no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No connection, or it broke.
    #[error("the source cannot be reached")]
    Unreachable,
    /// No answer within the ask's time.
    #[error("the source did not answer in time")]
    Timeout,
    /// The source refused; the code is a problem type.
    #[error("the source refused: {problem}")]
    Refused {
        /// problem type's last segment
        problem: String,
        /// the source said that a later try may succeed (it is behind, busy, or starting)
        may_retry: bool,
    },
    /// What came is not an acceptable reply.
    #[error("the source's reply is not acceptable: {0}")]
    BadReply(String),
    /// Our own request could not be made or signed.
    #[error("the request could not be made: {reason}")]
    NotAsked {
        /// what failed
        reason: String,
        /// the signer was busy: a later try may succeed
        may_retry: bool,
    },
}

impl AskError {
    /// Whether asking the same source again may help.
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Unreachable | Self::Timeout => true,
            Self::Refused { may_retry, .. } | Self::NotAsked { may_retry, .. } => *may_retry,
            // a source that sends nonsense sends it again
            Self::BadReply(_) => false,
        }
    }
    /// The word in a report's `missing` part.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Refused { .. } => "refused",
            Self::BadReply(_) => "bad-reply",
            Self::NotAsked { .. } => "not-asked",
        }
    }
}

/// Makes and signs the request to one source; called once per connection that is ready to carry it, so
/// that an unreachable source costs no signature. Each request has its own nonce.
#[async_trait]
pub trait RequestMaker: Send + Sync {
    /// The signed request to `audience`.
    async fn make(&self, audience: &NodeId) -> Result<SignedRequest, AskError>;
}

/// Asks another region one query within a deadline.
#[async_trait]
pub trait RegionPeer: Send + Sync {
    /// Connects to `node`, sends what `make` gives, and returns the reply with the TLS exporter value of
    /// the connection it came over (label [`gw_proto::message::EXPORTER_LABEL`], context = report id).
    /// The reply is unverified: the exchange checks it.
    async fn ask(
        &self,
        node: &Node,
        make: &dyn RequestMaker,
        timeout: Duration,
    ) -> Result<(SignedReply, Hex<32>), AskError>;
}

/// What all requests of one exchange share.
#[derive(Debug, Clone)]
pub struct RequestTemplate {
    /// height at which the asker decided
    pub height: Height,
    /// hash of that block
    pub hash: Digest,
    /// the asking node
    pub asker: NodeId,
    /// S
    pub statement: Statement,
    /// E
    pub evidence: Evidence,
    /// T
    pub opening: Opening,
}

impl RequestTemplate {
    /// The request to one source.
    pub fn request(&self, audience: &NodeId, nonce: Hex<32>, expires: UnixMillis) -> Request {
        Request {
            v: VERSION,
            height: self.height,
            hash: self.hash,
            nonce,
            expires,
            asker: self.asker.clone(),
            audience: audience.clone(),
            statement: self.statement.clone(),
            evidence: self.evidence.clone(),
            opening: self.opening.clone(),
        }
    }
}

type Script = Box<dyn FnMut(&SignedRequest) -> Result<(SignedReply, Hex<32>), AskError> + Send>;

/// A region in memory: each node answers by a script after a delay. Nodes without a script are unreachable.
#[derive(Default)]
pub struct FakePeer {
    scripts: Mutex<BTreeMap<NodeId, (Duration, Script)>>,
    asked: Mutex<Vec<NodeId>>,
}

impl FakePeer {
    /// Nobody answers yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// `node` answers by `script` after `delay`.
    pub fn answer(
        self,
        node: &NodeId,
        delay: Duration,
        script: impl FnMut(&SignedRequest) -> Result<(SignedReply, Hex<32>), AskError> + Send + 'static,
    ) -> Self {
        self.scripts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(node.clone(), (delay, Box::new(script)));
        self
    }
    /// Who was asked, in order.
    pub fn asked(&self) -> Vec<NodeId> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl RegionPeer for FakePeer {
    async fn ask(
        &self,
        node: &Node,
        make: &dyn RequestMaker,
        timeout: Duration,
    ) -> Result<(SignedReply, Hex<32>), AskError> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(node.id.clone());
        let delay = {
            let scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
            scripts.get(&node.id).map(|(delay, _)| *delay).ok_or(AskError::Unreachable)?
        };
        let request = make.make(&node.id).await?;
        if delay >= timeout {
            tokio::time::sleep(timeout).await;
            return Err(AskError::Timeout);
        }
        tokio::time::sleep(delay).await;
        let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        match scripts.get_mut(&node.id) {
            Some((_, script)) => script(&request),
            None => Err(AskError::Unreachable),
        }
    }
}
