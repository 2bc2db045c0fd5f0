//! Stage 9, trace: both sides' outcomes in the journal, then on the ledger through the outbox.
//!
//! What must reach the ledger and the supervisor is durable in the outbox before the answer leaves; power
//! loss after that loses nothing. The worker in `outbox_worker.rs` carries it out.

use super::{answer::SignedReplyAndTrail, authorize::PermittedQuery, limit::Quota, merge::Merged};
use crate::{app::App, outbox_worker, reject::Rejection};
use gw_journal::OutcomeStatus;
use gw_policy::ReservationState;
use gw_proto::{
    message::{DeliveredOutcome, Delivery, ReplyStatus, SignedReply, VERSION},
    record::{Side, Trace, TraceStatus},
};

/// A query whose traces and delivery are durable.
pub struct TracedQuery {
    pub(super) permitted: PermittedQuery,
    pub(super) reservation: ReservationState,
    pub(super) merged: gw_broker::Merged,
}

/// A reply whose trace and delivery are durable.
pub struct TracedReply {
    pub(super) message: SignedReply,
    pub(super) quotas: Vec<Quota>,
}

/// The asker's side: one trace per source asked.
pub async fn asked(app: &App, merged: Merged) -> Result<TracedQuery, Rejection> {
    let Merged { permitted, trail, reservation, merged } = merged;
    let report = &merged.report;
    let outcomes = gw_broker::delivered_outcomes(report, &merged.replies);
    let traces = outcomes.iter().map(|o| Trace {
        asker: app.institution.clone(),
        report_id: report.report_id,
        side: Side::Asker,
        source: o.source.clone(),
        status: o.status,
        reply_leaf: o.reply_leaf,
    });
    let delivery = Delivery {
        v: VERSION,
        node: app.node.clone(),
        asker: app.institution.clone(),
        side: Side::Asker,
        statement: permitted.documents.statement.clone(),
        evidence: permitted.documents.evidence.clone(),
        opening: permitted.opening.clone(),
        outcomes: outcomes.clone(),
    };
    if let Err(e) = outbox_worker::keep(app, reservation.height, traces.collect(), delivery).await {
        return Err(trail.fail(e).await);
    }
    let status = if report.complete { OutcomeStatus::Done } else { OutcomeStatus::Partial };
    trail.done(status, "reported").await?;
    Ok(TracedQuery { permitted, reservation, merged })
}

/// The source's side.
pub async fn answered(app: &App, signed: SignedReplyAndTrail) -> Result<TracedReply, Rejection> {
    let SignedReplyAndTrail { permitted, trail, message } = signed;
    let (status, outcome) = match message.reply.status {
        ReplyStatus::Answered => (TraceStatus::Answered, OutcomeStatus::Done),
        ReplyStatus::Empty => (TraceStatus::Empty, OutcomeStatus::Empty),
    };
    let reply_leaf = message.proof.leaf_hash();
    let seen = message.reply.height;
    let asker = permitted.node.institution.clone();
    let trace = Trace {
        asker: asker.clone(),
        report_id: message.reply.report_id,
        side: Side::Source,
        source: app.node.clone(),
        status,
        reply_leaf,
    };
    let delivery = Delivery {
        v: VERSION,
        node: app.node.clone(),
        asker,
        side: Side::Source,
        statement: permitted.request.statement,
        evidence: permitted.request.evidence,
        opening: permitted.request.opening,
        outcomes: vec![DeliveredOutcome { source: app.node.clone(), status, reply_leaf }],
    };
    if let Err(e) = outbox_worker::keep(app, seen, vec![trace], delivery).await {
        return Err(trail.fail(e).await);
    }
    trail.done(outcome, "replied").await?;
    Ok(TracedReply { message, quotas: permitted.quotas })
}
