//! Stage 8, merge: signed parts → one report that hides no hole.

use super::{broker::Gathered, record::Trail};
use crate::{app::App, reject::Rejection, stages::authorize::PermittedQuery};
use gw_broker::{Merged as Report, ReportHead};
use gw_policy::ReservationState;

/// A query with its report and the replies it is made of.
pub struct Merged {
    pub(super) permitted: PermittedQuery,
    pub(super) trail: Trail,
    pub(super) reservation: ReservationState,
    pub(super) merged: Report,
}

/// Every asked source has its part; every item its provenance.
pub async fn into_report(app: &App, gathered: Gathered) -> Result<Merged, Rejection> {
    let Gathered { permitted, trail, reservation, plan, outcomes } = gathered;
    let head = ReportHead {
        opening: &permitted.opening,
        asker: app.institution.clone(),
        node: app.node.clone(),
        created: app.clock.now(),
        reserved_at: reservation.height,
        catalogue: app.catalogue.version().to_owned(),
    };
    match gw_broker::assemble(head, &plan, outcomes) {
        Ok(merged) => Ok(Merged { permitted, trail, reservation, merged }),
        Err(e) => Err(trail.fail(Rejection::internal(e)).await),
    }
}
