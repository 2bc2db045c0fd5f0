//! Calls to other gateways over the MAN: queries to sources, deliveries to supervisors.
//!
//! Each call goes to the endpoint and the TLS key that the verified ledger lists for that node.

use crate::{
    app::App,
    dial::{DialError, Peer, Post, Repeat},
};
use async_trait::async_trait;
use bytes::Bytes;
use gw_broker::{AskError, RegionPeer, RequestMaker};
use gw_proto::{
    Hex, ReportId,
    message::{Delivery, EXPORTER_LABEL, MAX_REPLY_BYTES, SignedReply},
    record::Node,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::time::Duration;

/// Path of a query on the MAN listener.
pub const QUERY_PATH: &str = "/man/v1/queries";
/// Path of a delivery on a supervisor's MAN listener.
pub const DELIVERY_PATH: &str = "/man/v1/deliveries";

/// The network behind one exchange.
pub struct ManClient<'a> {
    app: &'a App,
    report_id: ReportId,
    headers: HeaderMap,
}

impl<'a> ManClient<'a> {
    /// For one use, on behalf of one trace.
    pub fn new(app: &'a App, report_id: ReportId, trace_id: &str) -> Self {
        Self { app, report_id, headers: trace_headers(app, trace_id) }
    }
}

fn trace_headers(app: &App, trace_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut span = [0u8; 8];
    if app.entropy.fill(&mut span).is_ok()
        && let Ok(v) = HeaderValue::from_str(&format!("00-{trace_id}-{}-01", hex::encode(span)))
    {
        headers.insert("traceparent", v);
    }
    headers
}

/// Whom to call.
pub(crate) fn peer(node: &Node) -> Peer {
    Peer { node: node.id.clone(), endpoint: node.endpoint.clone() }
}

fn ask_error(e: &DialError) -> AskError {
    tracing::warn!(error = %e, "a source could not be asked");
    match e {
        DialError::Timeout { .. } => AskError::Timeout,
        DialError::TooLarge { .. } => AskError::BadReply("larger than 1 MiB".to_owned()),
        _ => AskError::Unreachable,
    }
}

/// The problem type and whether a later try may help, of a refusal's document.
pub(crate) fn refused(status: StatusCode, body: &[u8]) -> AskError {
    let name = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|v| v.get("type").and_then(|t| t.as_str()).map(str::to_owned))
        .and_then(|t| t.strip_prefix("urn:xinguan:problem:").map(str::to_owned));
    // only names of our own table are handed on: a peer's text goes into no report
    match name.as_deref().and_then(crate::reject::find) {
        Some(p) => AskError::Refused { problem: p.name.to_owned(), may_retry: p.may_retry },
        None => AskError::BadReply(format!("HTTP status {}", status.as_u16())),
    }
}

#[async_trait]
impl RegionPeer for ManClient<'_> {
    async fn ask(
        &self,
        node: &Node,
        make: &dyn RequestMaker,
        timeout: Duration,
    ) -> Result<(SignedReply, Hex<32>), AskError> {
        let request = make.make(&node.id).await?;
        let body = serde_json::to_vec(&request)
            .map_err(|e| AskError::NotAsked { reason: e.to_string(), may_retry: false })?;
        let post = Post {
            path: QUERY_PATH,
            body: Bytes::from(body),
            headers: self.headers.clone(),
            // the nonce is single-use: a repetition would be refused as a replay
            repeat: Repeat::Never,
            timeout,
        };
        let answer = self.app.peers.post_json(&peer(node), post).await.map_err(|e| ask_error(&e))?;
        if answer.status != StatusCode::OK {
            return Err(refused(answer.status, &answer.body));
        }
        if answer.body.len() > MAX_REPLY_BYTES {
            return Err(AskError::BadReply("larger than 1 MiB".to_owned()));
        }
        let reply: SignedReply = serde_json::from_slice(&answer.body)
            .map_err(|_| AskError::BadReply("not JSON of the expected shape".to_owned()))?;
        let channel = answer
            .exporter
            .export(EXPORTER_LABEL, &self.report_id.0.0)
            .map_err(|e| AskError::BadReply(format!("no channel binding: {e}")))?;
        self.app
            .certificates
            .learn(&node.id, answer.peer_issuers.iter().map(|c| gw_proto::B64(c.clone())).collect());
        Ok((reply, Hex(channel)))
    }
}

/// Why a supervisor has not taken a delivery.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// No answer came, or not one of a supervisor.
    #[error("not reached: {0}")]
    NotReached(String),
    /// It answered, and did not take it.
    #[error("refused: {problem}")]
    Refused {
        /// problem type's last segment
        problem: String,
        /// whether it may take it later
        may_retry: bool,
    },
}

/// Hands a delivery to one supervisor. `Ok`: it has it (also from before).
pub async fn deliver(
    app: &App,
    supervisor: &Node,
    delivery: &Delivery,
    timeout: Duration,
) -> Result<(), DeliverError> {
    let not_reached = |e: &dyn std::fmt::Display| DeliverError::NotReached(e.to_string());
    let body = serde_json::to_vec(delivery).map_err(|e| not_reached(&e))?;
    let post = Post {
        path: DELIVERY_PATH,
        body: Bytes::from(body),
        headers: HeaderMap::new(),
        repeat: Repeat::Safe,
        timeout,
    };
    let answer = app.peers.post_json(&peer(supervisor), post).await.map_err(|e| not_reached(&e))?;
    if answer.status.is_success() {
        return Ok(());
    }
    match refused(answer.status, &answer.body) {
        AskError::Refused { problem, may_retry } => Err(DeliverError::Refused { problem, may_retry }),
        other => Err(not_reached(&other)),
    }
}
