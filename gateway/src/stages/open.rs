//! Source side: open a request and believe no word of it yet.
//!
//! The TLS peer's node signed it, for us, for this moment, once. Then our own state must reach the height
//! at which the asker decided, and have the same block there.

use super::{
    Accepted,
    limit::Quota,
    limit_stage::{AdmittedNode, AdmittedRequest},
};
use crate::{
    app::App,
    reject::{self, Rejection},
};
use gw_proto::{
    Digest,
    merkle::LeafKind,
    message::{Request, SignedRequest, VERSION},
    record::Node,
};
use std::time::Duration;

/// The farthest ahead that a request may expire: bounds what must be remembered of nonces.
pub const MAX_LIFETIME: Duration = Duration::from_secs(60);

/// A request whose signature, audience and freshness hold.
pub struct Opened {
    admitted: AdmittedNode,
    request: Request,
    leaf: Digest,
}

impl Opened {
    /// what is asked
    pub fn request(&self) -> &Request {
        &self.request
    }
    /// whose node asks
    pub(super) fn asker(&self) -> &gw_proto::InstitutionId {
        &self.admitted.node().institution
    }
    pub(super) fn take_quotas(&mut self) -> Vec<Quota> {
        std::mem::take(&mut self.admitted.quotas)
    }
    pub(super) fn into_parts(self) -> (Accepted, Node, Request, Digest) {
        let accepted = self.admitted.accepted().clone();
        let node = self.admitted.node().clone();
        (accepted, node, self.request, self.leaf)
    }
}

/// Checks who signed it, for whom, when, and that it was not seen before.
pub fn request(app: &App, admitted: AdmittedNode, signed: SignedRequest) -> Result<Opened, Rejection> {
    let SignedRequest { request, proof } = signed;
    let bad = |detail: &str| Rejection::new(reject::SIGNATURE, detail);
    if request.v != VERSION {
        return Err(Rejection::new(reject::MALFORMED, format!("request version {} is not known", request.v)));
    }
    if request.asker != admitted.node().id {
        return Err(bad("`asker` is not the node that this connection belongs to"));
    }
    if request.audience != app.node {
        return Err(bad("the request is meant for another source"));
    }
    let now = app.clock.now();
    if request.expires <= now || request.expires.since(now) > MAX_LIFETIME {
        return Err(Rejection::new(
            reject::REPLAYED,
            "the request has expired, or expires more than 60 s ahead",
        ));
    }
    let digest = request.digest().map_err(|e| Rejection::new(reject::MALFORMED, e.to_string()))?;
    gw_proof::verify_leaf(&proof, &admitted.node().key, LeafKind::Request, app.node.as_str(), &digest)
        .map_err(|e| bad("the leaf, its path, its root or the signature does not verify").because(e))?;
    let leaf = proof.leaf_hash().ok_or_else(|| bad("the leaf has no hash"))?;
    // last, so that only a request that its asker really signed takes a place
    app.nonces.claim(&admitted.node().id, &request.nonce, request.expires, now)?;
    Ok(Opened { admitted, request, leaf })
}

/// A request at whose height our own verified state stands.
pub struct CaughtUp {
    admitted: AdmittedRequest,
}

impl CaughtUp {
    pub(super) fn into_admitted(self) -> AdmittedRequest {
        self.admitted
    }
}

/// Waits up to the configured 2 s for the asker's height, then compares the block's hash.
pub async fn reach_height(app: &App, admitted: AdmittedRequest) -> Result<CaughtUp, Rejection> {
    let request = admitted.opened.request();
    let (height, hash) = (request.height, request.hash);
    let budget = admitted.opened.admitted.accepted().budget;
    let wait = budget.slice(&*app.clock, app.config.query.source_wait_height)?;
    if !app.state.wait_height(height, wait).await {
        return Err(Rejection::new(
            reject::BEHIND,
            format!("this source is at height {}, the asker decided at {height}", app.state.cursor().height),
        ));
    }
    let ours = app.state.hash_at(height).map_err(Rejection::internal)?;
    if ours.is_some_and(|h| h != hash) {
        tracing::error!(%height, "asker and source have different blocks at one height");
        return Err(Rejection::new(
            reject::LEDGER_ALARM,
            "asker and source have different blocks at this height",
        ));
    }
    Ok(CaughtUp { admitted })
}
