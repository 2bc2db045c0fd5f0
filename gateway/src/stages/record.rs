//! Stage 5, record intent: durable before any effect.
//!
//! The guard lives in the stage types from here on. A stage that fails says why through `Trail::fail`;
//! a guard that is dropped without a word still leaves "abandoned" in the journal.

use super::{
    Accepted,
    authorize::{PermittedQuery, PermittedRequest},
};
use crate::{
    app::App,
    reject::{self, Rejection},
};
use gw_journal::{Intent, IntentGuard, Outcome, OutcomeStatus};
use gw_proto::{message::Opening, record::Node};

/// The journal's open entry of one query.
pub struct Trail {
    guard: IntentGuard,
}

impl Trail {
    async fn begin(
        app: &App,
        accepted: &Accepted,
        kind: &str,
        peer: Option<&Node>,
        opening: &Opening,
    ) -> Result<Self, Rejection> {
        let intent = Intent {
            asker: Some(peer.map_or_else(|| app.institution.clone(), |n| n.institution.clone())),
            peer: peer.map(|n| n.id.clone()),
            authz_id: Some(opening.authz_id),
            report_id: Some(opening.report_id),
            subject_tag: Some(app.tags.subject(&opening.subject)),
            operator_tag: Some(opening.operator_tag),
            purpose: Some(opening.purpose),
            dimensions: opening.dimensions.clone(),
            height: Some(app.state.cursor().height),
            trace_id: Some(accepted.trace_id.clone()),
            ..Intent::new(kind, app.clock.now())
        };
        match app.journal.record_intent(intent).await {
            Ok(guard) => Ok(Self { guard }),
            Err(e) if e.may_retry() => {
                Err(Rejection::new(reject::BUSY, "the journal's queue is full").because(e))
            }
            Err(e) => Err(Rejection::internal(e)),
        }
    }
    /// Ends it well.
    pub(super) async fn done(self, status: OutcomeStatus, code: &str) -> Result<(), Rejection> {
        self.guard.finish(Outcome::new(status, code)).await.map(|_| ()).map_err(Rejection::internal)
    }
    /// Ends it with a refusal, which is handed on.
    pub(super) async fn fail(self, rejection: Rejection) -> Rejection {
        let status = match rejection.problem.side {
            reject::SideAtFault::Caller => OutcomeStatus::Refused,
            reject::SideAtFault::Gateway | reject::SideAtFault::Upstream => OutcomeStatus::Failed,
        };
        if let Err(e) = self.guard.finish(Outcome::new(status, rejection.problem.name)).await {
            tracing::error!(error = %e, "the outcome of a refused query could not be recorded");
        }
        rejection
    }
}

/// An operator's query whose intent is durable.
pub struct RecordedQuery {
    pub(super) permitted: PermittedQuery,
    pub(super) trail: Trail,
}

/// A gateway's request whose intent is durable.
pub struct RecordedRequest {
    pub(super) permitted: PermittedRequest,
    pub(super) trail: Trail,
}

/// Before a use is reserved.
pub async fn intent_to_ask(app: &App, permitted: PermittedQuery) -> Result<RecordedQuery, Rejection> {
    let trail = Trail::begin(app, permitted.accepted(), "query", None, &permitted.opening).await?;
    Ok(RecordedQuery { permitted, trail })
}

/// Before the database is asked.
pub async fn intent_to_answer(app: &App, permitted: PermittedRequest) -> Result<RecordedRequest, Rejection> {
    let (node, opening) = (Some(&permitted.node), &permitted.request.opening);
    let trail = Trail::begin(app, &permitted.accepted, "answer", node, opening).await?;
    Ok(RecordedRequest { permitted, trail })
}
