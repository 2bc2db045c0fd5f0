//! THE request path, top to bottom.
//!
//! One line per stage, in real order; each consumes the previous stage's type and returns a stronger one.
//! No stage can be skipped: the next one's argument can only be made by the one before (tests/compile_fail).
//! Cheap refusals come first. From [`record::intent_to_ask`] on, every exit leaves an outcome in the journal.

use crate::{
    app::App,
    reject::Rejection,
    stages::{
        Accepted, answer, authorize, broker, fetch, identify, limit_stage as limit, merge, open, record,
        release, reserve, trace, trust,
    },
};
use gw_proto::{
    message::{SignedReply, SignedRequest},
    report::Answer,
};

/// A bank's operator asks for a report; the answer carries its proofs.
pub async fn ask(
    app: &App,
    accepted: Accepted,
    query: authorize::Query,
) -> Result<answer::Answered<Answer>, Rejection> {
    let identified = identify::operator(app, accepted, identify::OperatorRole::Query)?;
    let admitted = limit::operator(app, identified, &query)?;
    let permitted = authorize::at_asker(app, admitted, query)?;
    let recorded = record::intent_to_ask(app, permitted).await?;
    let reserved = reserve::one_use(app, recorded).await?;
    let gathered = broker::ask_sources(app, reserved).await?;
    let merged = merge::into_report(app, gathered).await?;
    let traced = trace::asked(app, merged).await?;
    answer::to_operator(app, traced).await
}

/// Another gateway asks this source; it trusts no word of the asker and runs the stages on its own state.
pub async fn respond(
    app: &App,
    accepted: Accepted,
    request: SignedRequest,
) -> Result<answer::Answered<SignedReply>, Rejection> {
    let identified = identify::node(app, accepted)?;
    let trusted = trust::asker(app, identified)?;
    let admitted = limit::institution(app, trusted)?;
    let opened = open::request(app, admitted, request)?;
    let admitted = limit::subject(app, opened)?;
    let caught_up = open::reach_height(app, admitted).await?;
    let permitted = authorize::at_source(app, caught_up)?;
    let recorded = record::intent_to_answer(app, permitted).await?;
    let fetched = fetch::snapshot(app, recorded).await?;
    let released = release::once_more(app, fetched).await?;
    let signed = answer::sign_reply(app, released).await?;
    let traced = trace::answered(app, signed).await?;
    Ok(answer::to_gateway(traced))
}
