//! Stage 10, answer: bytes, signature, proofs.
//!
//! To an operator: the report, signed for that operator's tag, with everything that `xinguan verify` needs.
//! To a gateway: the reply, bound to the request's leaf, the TLS channel and our height. A reply is signed
//! before it is traced (the trace names its leaf) and leaves after.

use super::{
    limit::Quota,
    record::Trail,
    release::Released,
    trace::{TracedQuery, TracedReply},
};
use crate::{
    app::App,
    reject::{self, Rejection},
    stages::authorize::PermittedRequest,
};
use gw_proto::{
    NodeId,
    merkle::LeafKind,
    message::{EXPORTER_LABEL, Reply, ReplyStatus, SignedReply, VERSION},
    report::{ANSWER_VERSION, Answer, NodeCertificates},
};
use std::collections::BTreeSet;

/// What leaves, and what the limits counted.
pub struct Answered<T> {
    message: T,
    quotas: Vec<Quota>,
}

impl<T> Answered<T> {
    /// what leaves
    pub fn message(&self) -> &T {
        &self.message
    }
    /// what the limits counted
    pub fn quotas(&self) -> &[Quota] {
        &self.quotas
    }
}

/// A signed reply that is not traced yet, and so cannot leave.
pub struct SignedReplyAndTrail {
    pub(super) permitted: PermittedRequest,
    pub(super) trail: Trail,
    pub(super) message: SignedReply,
}

fn signing_rejection(e: crate::signing::SigningError) -> Rejection {
    if e.may_retry() {
        Rejection::new(reject::BUSY, "the signing device is busy").because(e)
    } else {
        Rejection::internal(e)
    }
}

/// Signs the report and gathers its proofs.
pub async fn to_operator(app: &App, traced: TracedQuery) -> Result<Answered<Answer>, Rejection> {
    let TracedQuery { permitted, reservation: r, merged } = traced;
    let (report, replies) = (merged.report, merged.replies);
    let deadline = permitted.accepted().budget.deadline();
    let digest = report.digest().map_err(Rejection::internal)?;
    let audience = report.operator_tag.to_string();
    let proof = app.signer.sign(LeafKind::Report, &audience, digest, deadline).await.map_err(signing_rejection)?;
    let reservation = app.inclusion(r.height, r.tx_index, r.record_index).await?;
    let mut signers: BTreeSet<&NodeId> = replies.iter().map(|r| &r.reply.source).collect();
    signers.insert(&app.node);
    let certificates = signers
        .into_iter()
        .filter_map(|node| app.certificates.find(node).map(|chain| NodeCertificates { node: node.clone(), chain }))
        .collect();
    let message = Answer {
        v: ANSWER_VERSION,
        report,
        proof,
        replies,
        reservation,
        opening: permitted.opening,
        certificates,
    };
    Ok(Answered { message, quotas: permitted.quotas })
}

/// Makes and signs the reply for this connection.
pub async fn sign_reply(app: &App, released: Released) -> Result<SignedReplyAndTrail, Rejection> {
    let Released { permitted, trail, snapshot, height, hash } = released;
    let reply = match build_reply(app, &permitted, &snapshot, height, hash) {
        Ok(reply) => reply,
        Err(e) => return Err(trail.fail(e).await),
    };
    let deadline = permitted.accepted.budget.deadline();
    let signed = match reply.digest() {
        Ok(digest) => app
            .signer
            .sign(LeafKind::Reply, permitted.node.id.as_str(), digest, deadline)
            .await
            .map_err(signing_rejection),
        Err(e) => Err(Rejection::internal(e)),
    };
    match signed {
        Ok(proof) => Ok(SignedReplyAndTrail { permitted, trail, message: SignedReply { reply, proof } }),
        Err(e) => Err(trail.fail(e).await),
    }
}

fn build_reply(
    app: &App,
    permitted: &PermittedRequest,
    snapshot: &gw_source::Snapshot,
    height: gw_proto::Height,
    hash: gw_proto::Digest,
) -> Result<Reply, Rejection> {
    let report_id = permitted.request.opening.report_id;
    let channel = permitted
        .accepted
        .conn
        .exporter
        .export(EXPORTER_LABEL, &report_id.0.0)
        .map_err(Rejection::internal)?;
    let status = if snapshot.items.is_empty() { ReplyStatus::Empty } else { ReplyStatus::Answered };
    Ok(Reply {
        v: VERSION,
        report_id,
        request_leaf: permitted.request_leaf,
        source: app.node.clone(),
        asker: permitted.node.id.clone(),
        height,
        hash,
        channel: gw_proto::Hex(channel),
        status,
        catalogue: app.catalogue.version().to_owned(),
        as_of: snapshot.as_of,
        items: snapshot.items.clone(),
    })
}

/// What was traced may leave.
pub fn to_gateway(traced: TracedReply) -> Answered<SignedReply> {
    Answered { message: traced.message, quotas: traced.quotas }
}
