//! Stage 5, record intent: durable before any effect.
//!
//! The guard lives in the stage types from here on. A stage that fails says why through [`Trail::fail`];
//! a guard that is dropped without a word still leaves "abandoned" in the journal.

use super::{
    Accepted,
    authorize::{PermittedQuery, PermittedRequest},
};
use crate::{
    app::App,
    reject::{self, Rejection},
};
use gw_journal::{Intent, IntentGuard, Outcome};
use gw_proto::message::Opening;

/// The journal's open entry of one query.
pub struct Trail {
    guard: IntentGuard,
}

impl Trail {
    async fn begin(app: &App, accepted: &Accepted, kind: &str, peer: &str, opening: &Opening) -> Result<Self, Rejection> {
        let intent = Intent {
            at: app.clock.now(),
            kind: kind.to_owned(),
            trace_id: accepted.trace_id.clone(),
            peer: peer.to_owned(),
            authz_id: opening.authz_id,
            report_id: opening.report_id,
            subject_tag: app.tags.subject(&opening.subject),
            operator_tag: opening.operator_tag,
            purpose: opening.purpose,
            dimensions: opening.dimensions.clone(),
        };
        match app.journal.record_intent(intent).await {
            Ok(guard) => Ok(Self { guard }),
            Err(e) if e.is_busy() => Err(Rejection::new(reject::BUSY, "the journal's queue is full").because(e)),
            Err(e) => Err(Rejection::internal(e)),
        }
    }
    /// Ends it well.
    pub(super) async fn done(self, app: &App, status: &str) -> Result<(), Rejection> {
        let outcome = Outcome { at: app.clock.now(), status: status.to_owned(), detail: String::new() };
        self.guard.finish(outcome).await.map(|_| ()).map_err(Rejection::internal)
    }
    /// Ends it with a refusal, which is handed on.
    pub(super) async fn fail(self, app: &App, rejection: Rejection) -> Rejection {
        let outcome = Outcome {
            at: app.clock.now(),
            status: "refused".to_owned(),
            detail: rejection.problem.name.to_owned(),
        };
        if let Err(e) = self.guard.finish(outcome).await {
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
    let trail = Trail::begin(app, permitted.accepted(), "ask", permitted.identified.name(), &permitted.opening).await?;
    Ok(RecordedQuery { permitted, trail })
}

/// Before the database is asked.
pub async fn intent_to_answer(app: &App, permitted: PermittedRequest) -> Result<RecordedRequest, Rejection> {
    let (peer, opening) = (permitted.node.id.as_str(), &permitted.request.opening);
    let trail = Trail::begin(app, &permitted.accepted, "answer", peer, opening).await?;
    Ok(RecordedRequest { permitted, trail })
}
