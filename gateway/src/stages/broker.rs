//! Stage 7, broker: ask every source of the authorization's regions, in parallel, with one deadline.
//!
//! The exchange itself (retry budget, which replies are believed) is `gw-broker`, a state machine without
//! sockets; here it meets the ledger's list, the signer and the network.

use super::{authorize::PermittedQuery, record::Trail, reserve::ReservedQuery, trust};
use crate::{app::App, man_client::ManClient, reject::Rejection};
use async_trait::async_trait;
use gw_broker::{AskError, Limits, Outcome, Plan, RequestMaker, RequestTemplate, Terms};
use gw_policy::{ReservationState, View};
use gw_proto::{Hex, NodeId, merkle::LeafKind, message::SignedRequest};
use std::{collections::BTreeMap, time::Duration};

/// A query and what became of each source, with its open journal entry.
pub struct Gathered {
    pub(super) permitted: PermittedQuery,
    pub(super) trail: Trail,
    pub(super) reservation: ReservationState,
    pub(super) plan: Plan,
    pub(super) outcomes: BTreeMap<NodeId, Outcome>,
}

/// What answering, merging and signing need after the sources.
const RESERVE: Duration = Duration::from_millis(1_000);

/// Asks; never fails because a source does: what is missing is said in the report.
pub async fn ask_sources(app: &App, reserved: ReservedQuery) -> Result<Gathered, Rejection> {
    let ReservedQuery { permitted, trail, reservation } = reserved;
    match ask(app, &permitted, &reservation).await {
        Ok((plan, outcomes)) => Ok(Gathered { permitted, trail, reservation, plan, outcomes }),
        Err(e) => Err(trail.fail(e).await),
    }
}

async fn ask(
    app: &App,
    permitted: &PermittedQuery,
    reservation: &ReservationState,
) -> Result<(Plan, BTreeMap<NodeId, Outcome>), Rejection> {
    // no time left: nobody is asked, but the use is spent, and what became of it must be traced
    let left = permitted.accepted().budget.left(&*app.clock).unwrap_or_default();
    let deadline = left.saturating_sub(RESERVE).max(left / 2);
    let plan = plan(app, permitted)?;
    let terms = Terms {
        report_id: permitted.permit.report_id(),
        asker: app.node.clone(),
        dimensions: permitted.permit.dimensions().to_vec(),
        reserved_at: reservation.height,
    };
    let limits = Limits { deadline, attempt: deadline.mul_f32(0.6), ..Limits::default() };
    let maker = Maker { app, permitted, reservation, deadline };
    let peers = ManClient::new(app, permitted.opening.report_id, &permitted.accepted().trace_id);
    let mut seed = [0u8; 8];
    app.entropy.fill(&mut seed).map_err(Rejection::internal)?;
    let outcomes = gw_broker::exchange(&peers, &maker, &plan, terms, limits, u64::from_be_bytes(seed)).await;
    Ok((plan, outcomes))
}

fn plan(app: &App, permitted: &PermittedQuery) -> Result<Plan, Rejection> {
    let state = app.state.read();
    let view = View::new(&state);
    // a gateway that is both asks its own source half like any other: over the MAN listener
    let all = view.sources_in(permitted.permit.regions()).map_err(Rejection::internal)?;
    let (asked, not_trusted) = trust::sources(app, &view, all)?;
    Ok(Plan { not_trusted, ..Plan::over(asked) })
}

/// Makes one signed request per source: fresh nonce, our height, short life.
struct Maker<'a> {
    app: &'a App,
    permitted: &'a PermittedQuery,
    reservation: &'a ReservationState,
    deadline: Duration,
}

#[async_trait]
impl RequestMaker for Maker<'_> {
    async fn make(&self, audience: &NodeId) -> Result<SignedRequest, AskError> {
        let failed = |reason: String, may_retry| AskError::NotAsked { reason, may_retry };
        let mut nonce = [0u8; 32];
        self.app.entropy.fill(&mut nonce).map_err(|e| failed(e.to_string(), false))?;
        // the source must at least have reached the block of the reservation
        let at = self.permitted.at;
        let hash = self.app.state.hash_at(self.reservation.height).ok().flatten();
        let (height, hash) = match hash {
            Some(hash) if self.reservation.height > at.height => (self.reservation.height, hash),
            _ => (at.height, at.hash),
        };
        let template = RequestTemplate {
            height,
            hash,
            asker: self.app.node.clone(),
            statement: self.permitted.documents.statement.clone(),
            evidence: self.permitted.documents.evidence.clone(),
            opening: self.permitted.opening.clone(),
        };
        let expires = self.app.clock.now().plus(self.deadline.min(super::open::MAX_LIFETIME / 2));
        let request = template.request(audience, Hex(nonce), expires);
        let digest = request.digest().map_err(|e| failed(e.to_string(), false))?;
        let until = self.app.clock.instant() + self.deadline;
        let proof = self
            .app
            .signer
            .sign(LeafKind::Request, audience.as_str(), digest, until)
            .await
            .map_err(|e| failed(e.to_string(), e.may_retry()))?;
        Ok(SignedRequest { request, proof })
    }
}
