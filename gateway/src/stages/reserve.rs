//! Stage 6, reserve: the chain's order decides who gets the last use.
//!
//! Reserved = spent. The reservation must stand in a block that this gateway itself has verified before any
//! source is asked. A replay by Idempotency-Key finds its own reservation and spends nothing.

use super::record::{RecordedQuery, Trail};
use crate::{
    app::{App, ledger_rejection},
    outbox_worker,
    reject::{self, Rejection},
    stages::authorize::PermittedQuery,
};
use gw_ledger::LedgerError;
use gw_policy::{Fate, RefusalReason, ReservationState, View};
use gw_proto::{UnixMillis, record::Reservation};
use std::time::Duration;

/// A query whose use stands on the chain.
pub struct ReservedQuery {
    pub(super) permitted: PermittedQuery,
    pub(super) trail: Trail,
    pub(super) reservation: ReservationState,
}

/// Reserves one use, or finds it reserved.
pub async fn one_use(app: &App, recorded: RecordedQuery) -> Result<ReservedQuery, Rejection> {
    let RecordedQuery { permitted, trail } = recorded;
    match reserve(app, &permitted).await {
        Ok(reservation) => Ok(ReservedQuery { permitted, trail, reservation }),
        Err(e) => Err(trail.fail(e).await),
    }
}

async fn reserve(app: &App, permitted: &PermittedQuery) -> Result<ReservationState, Rejection> {
    if permitted.replay {
        let state = app.state.read();
        return View::new(&state)
            .reservation(&app.institution, &permitted.opening.report_id)
            .map_err(Rejection::internal)?
            .ok_or_else(|| Rejection::internal("a replay without its reservation"));
    }
    // before a use is spent: an outbox without room would refuse the answer afterwards
    outbox_worker::check_room(app)?;
    let record = Reservation {
        report_id: permitted.opening.report_id,
        authz_id: permitted.opening.authz_id,
        commitment: permitted.opening.commitment().map_err(Rejection::internal)?,
        deadline: deadline(app)?,
    };
    let budget = permitted.accepted().budget;
    // what follows needs time too: keep a part of the budget for the sources
    let wait = budget.left(&*app.clock)?.mul_f32(0.6);
    let decided = match app.submitter.reserve(record, wait).await {
        Ok(state) => match state.fate {
            Fate::Accepted | Fate::Repeated => return Ok(state),
            Fate::Refused(reason) => reason,
        },
        Err(LedgerError::RecordRefused(reason)) => reason,
        Err(e) => return Err(ledger_rejection(e)),
    };
    Err(match decided {
        RefusalReason::UsedUp => Rejection::new(reject::AUTHZ_USED, "another reservation took the last use"),
        RefusalReason::Revoked => {
            Rejection::new(reject::AUTHZ_REVOKED, "it was revoked before the reservation's block")
        }
        reason => Rejection::new(reject::RESERVATION_REFUSED, reason.to_string()),
    })
}

/// As late as policy allows, counted from the newest verified block, which the reservation's block follows.
fn deadline(app: &App) -> Result<UnixMillis, Rejection> {
    let state = app.state.read();
    let policy = View::new(&state).policy().map_err(Rejection::internal)?;
    let policy = policy.ok_or_else(|| Rejection::new(reject::STALE, "no policy on the ledger yet"))?;
    Ok(state.cursor().time.plus(Duration::from_millis(policy.reservation_ms)))
}
