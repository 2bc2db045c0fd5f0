//! Stage 8, merge: signed parts → one report that hides no hole.

use super::{
    broker::{Asked, Gathered},
    record::Trail,
};
use crate::{app::App, reject::Rejection};
use gw_proto::report::{ANSWER_VERSION, PartState, Report};

/// A query with its report.
pub struct Merged {
    pub(super) asked: Asked,
    pub(super) trail: Trail,
    pub(super) report: Report,
}

/// Every asked source has its part; every item its provenance.
pub fn into_report(app: &App, gathered: Gathered) -> Result<Merged, Rejection> {
    let Gathered { asked, trail } = gathered;
    let opening = &asked.permitted.opening;
    let complete = asked.parts.iter().all(|p| matches!(p.outcome, PartState::Answered | PartState::Empty));
    let report = Report {
        v: ANSWER_VERSION,
        report_id: opening.report_id,
        authz_id: opening.authz_id,
        subject: opening.subject.clone(),
        purpose: opening.purpose,
        dimensions: opening.dimensions.clone(),
        asker: app.institution.clone(),
        node: app.node.clone(),
        operator_tag: opening.operator_tag,
        created: app.clock.now(),
        reserved_at: asked.reservation.height,
        catalogue: app.catalogue.version().to_owned(),
        complete,
        parts: asked.parts.clone(),
        items: gw_proof::merge_items(asked.replies.iter().map(|r| &r.reply)),
        replies: asked.replies.iter().filter_map(|r| r.proof.leaf_hash()).collect(),
    };
    Ok(Merged { asked, trail, report })
}
