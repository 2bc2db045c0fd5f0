//! What is approved is done: one at a time, each part again and again until it holds, and then never again.
//!
//! A power loss between two parts leaves the proposal approved; the next look goes on where it ended.

use super::{
    blocking, load,
    rules::{Act, Meant, Proposal, State},
    step,
};
use crate::{
    app::App,
    reject::{self, Rejection},
    supervisor::attest::{decommission, enrol},
};
use gw_proto::UnixMillis;
use std::sync::Arc;

/// Does what an approved proposal says, and closes it. Another state: nothing is done.
pub async fn execute(app: &Arc<App>, id: u64) -> Result<Proposal, Rejection> {
    let _one_at_a_time = app.verifier()?.acting.lock().await;
    let work = Arc::clone(app);
    let p = blocking(move || load(&work, id)).await?;
    let State::Approved { by, at } = p.state.clone() else { return Ok(p) };
    let done = match carry_out(app, &p, &by.operator, at).await {
        Ok(()) => State::Executed { by, at, executed: app.clock.now() },
        // what the world says no to: trying again does not help
        Err(e) if e.problem.name == reject::ENROLMENT.name => State::Overtaken { by, at, why: e.detail },
        Err(e) => return Err(e),
    };
    let p = step(app, "-", done.name(), p, done).await?;
    tracing::warn!(proposal = id, device = %p.what.device(), state = p.state.name(), "carried out");
    Ok(p)
}

/// Old enrolment, then the word on the ledger, then the new one: each a no-op where it holds.
async fn carry_out(
    app: &Arc<App>,
    p: &Proposal,
    approver: &str,
    approved: UnixMillis,
) -> Result<(), Rejection> {
    let (work, kept) = (Arc::clone(app), p.clone());
    let by = format!("{}, {approver}", p.by.operator);
    let who = by.clone();
    let there = blocking(move || end(&work, &kept, &who, approved)).await?;
    if there {
        return Ok(()); // the new one was enrolled before the power was lost
    }
    if let Some(record) = decommission::withdrawal(app, p.what.device())? {
        app.submitter.submit(vec![record]).await.map_err(crate::app::ledger_rejection)?;
    }
    let Act::Enrol { record } = p.what.clone() else { return Ok(()) };
    let work = Arc::clone(app);
    blocking(move || enrol::anew(&work, &by, &record)).await
}

/// Ends the enrolment that is meant. Whether what should come after it is there already.
fn end(app: &App, p: &Proposal, by: &str, approved: UnixMillis) -> Result<bool, Rejection> {
    let (store, device) = (app.supervisor_store()?, p.what.device());
    let Some(known) = store.enrolment(device).map_err(Rejection::internal)? else { return Ok(false) };
    if p.meant == Some(Meant { endorsement: *known.endorsement(), at: known.at }) {
        store.decommission(device, by, &p.reason, app.clock.now()).map_err(Rejection::internal)?;
        return Ok(false);
    }
    let ours = matches!(&p.what, Act::Enrol { record } if known.at >= approved
        && *known.endorsement() == gw_proto::sm3(&record.endorsement_certificate.0));
    if ours {
        return Ok(true);
    }
    Err(Rejection::new(reject::ENROLMENT, "the device was enrolled anew since this was proposed"))
}
