//! Four eyes: what ends or replaces a device's enrolment is proposed by one person and approved by another.
//!
//! ```text
//! open ──approve, by another person──▶ approved ──done──▶ executed
//!   ├── refuse, by another person                 └─────▶ overtaken: the device changed meanwhile
//!   ├── withdraw, by who proposed
//!   └── nobody in time: expired
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`rules`] | who may decide, and what follows |
//! | [`store`] | proposals in the database: each step once |
//! | [`execute`] | what is approved is done, also after a restart |
//!
//! Every step stands in the audit trail (`supervisor/audit.rs`), written in one with it; refused attempts too.

pub mod execute;
pub mod rules;
pub mod store;
#[cfg(test)]
#[cfg(feature = "dev")]
mod tests;

use super::attest::enrol;
use crate::{
    app::App,
    reject::{self, Rejection},
    stages::identify::IdentifiedOperator,
};
use gw_proto::UnixMillis;
use rules::{Act, Decision, Meant, No, Person, Proposal, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// A reason is a sentence.
const MAX_REASON: usize = 200;
/// How often it is looked for what expired, and for what is approved and not done.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What an operator proposes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposed {
    /// what
    pub what: Act,
    /// why
    pub reason: String,
}

/// Why it is refused or withdrawn.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// a sentence
    pub reason: String,
}

/// A text of a person.
pub fn reason(text: &str) -> Result<String, Rejection> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_REASON || text.chars().any(char::is_control) {
        let detail = format!("`reason` is a text of 1 to {MAX_REASON} bytes");
        return Err(Rejection::new(reject::MALFORMED, detail));
    }
    Ok(text.to_owned())
}

/// Who asks, as far as certificate and configuration tell.
pub fn person(app: &App, who: &IdentifiedOperator) -> Result<Person, Rejection> {
    let cert = &who.accepted().conn.cert;
    let info = gw_sm::cert::parse_cert(&cert.der).map_err(Rejection::internal)?;
    let s = info.subject;
    let parts = [("O", s.organization), ("CN", s.common_name), ("serialNumber", s.serial_number)];
    let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    let subject = parts.collect::<Vec<_>>().join(", ");
    let listed = app.config.operators.iter().find(|o| o.spki == cert.spki);
    let person = listed.map_or_else(|| who.name().to_owned(), |o| o.person().to_owned());
    Ok(Person { operator: who.name().to_owned(), person, spki: cert.spki, subject })
}

/// A proposer as the list of operators has him now, by his key.
fn listed(app: &App, was: &Person) -> Option<Person> {
    let o = app.config.operators.iter().find(|o| o.spki == was.spki)?;
    Some(Person { operator: o.name.clone(), person: o.person().to_owned(), ..was.clone() })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
) -> Result<T, Rejection> {
    tokio::task::spawn_blocking(work).await.map_err(Rejection::internal)?
}

/// What the audit has of a proposal: no whole record.
fn told(p: &Proposal) -> Value {
    let chip = match &p.what {
        Act::Decommission { .. } => None,
        Act::Enrol { record } => Some(gw_proto::sm3(&record.endorsement_certificate.0)),
    };
    json!({ "proposal": p.id, "what": p.what.name(), "device": p.what.device(), "chip": chip,
            "reason": p.reason, "proposed_by": p.by.operator })
}

/// Proposes.
pub async fn propose(app: &Arc<App>, by: Person, asked: Proposed) -> Result<Proposal, Rejection> {
    let expire = app.verifier()?.proposals_expire();
    let (reason, at) = (reason(&asked.reason)?, app.clock.now());
    let (work, what, operator) = (Arc::clone(app), asked.what.clone(), by.operator.clone());
    let meant = blocking(move || meant(&work, &operator, &what)).await?;
    let expires = at.plus(expire);
    let mut p = Proposal { id: 0, what: asked.what, reason, by, at, expires, meant, state: State::Open };
    let kept = p.clone();
    let id = app.act(&p.by.operator, "propose", told(&p), move |s| store::keep(s, &kept)).await?;
    p.id = id.map_err(|no| Rejection::new(reject::PROPOSAL_REFUSED, no.to_string()))?;
    tracing::warn!(proposal = p.id, what = p.what.name(), device = %p.what.device(), by = p.by.operator, "proposed");
    Ok(p)
}

/// The enrolment that it is about; refused where it makes no sense.
fn meant(app: &App, by: &str, what: &Act) -> Result<Option<Meant>, Rejection> {
    let known = app.supervisor_store()?.enrolment(what.device()).map_err(Rejection::internal)?;
    let known = known.map(|d| Meant { endorsement: *d.endorsement(), at: d.at });
    match what {
        Act::Decommission { .. } if known.is_none() => {
            Err(Rejection::new(reject::NOT_FOUND, "no such device is enrolled here"))
        }
        Act::Decommission { .. } => Ok(known),
        Act::Enrol { record } if enrol::takes_two(app, by, record)? => Ok(known),
        Act::Enrol { .. } => Err(Rejection::new(
            reject::PROPOSAL_REFUSED,
            "this enrolment replaces nothing and nobody ended it: one operator enrols it",
        )),
    }
}

fn load(app: &App, id: u64) -> Result<Proposal, Rejection> {
    let found = app.supervisor_store()?.proposal(id).map_err(Rejection::internal)?;
    found.ok_or_else(|| Rejection::new(reject::NOT_FOUND, "there is no such proposal"))
}

/// Approves (and does what was proposed), refuses or withdraws.
pub async fn decide(app: &Arc<App>, by: Person, id: u64, decision: Decision) -> Result<Proposal, Rejection> {
    app.verifier()?;
    let decision = match decision {
        Decision::Approve => Decision::Approve,
        Decision::Refuse(why) => Decision::Refuse(reason(&why)?),
        Decision::Withdraw(why) => Decision::Withdraw(reason(&why)?),
    };
    let work = Arc::clone(app);
    let p = blocking(move || load(&work, id)).await?;
    let (name, at) = (decision.name(), app.clock.now());
    let state = match rules::decide(&p, listed(app, &p.by).as_ref(), decision, &by, at) {
        Ok(state) => state,
        Err(no) => {
            let what = json!({ "tried": name, "why": no.to_string(), "of": told(&p) });
            app.audit(&by.operator, "denied", what).await?;
            let problem = match no {
                No::Closed(_) => reject::PROPOSAL_CLOSED,
                No::Same(_) => reject::SECOND_OPERATOR,
                No::NotYours => reject::PROPOSAL_REFUSED,
            };
            return Err(Rejection::new(problem, no.to_string()));
        }
    };
    let p = step(app, &by.operator, name, p, state).await?;
    tracing::warn!(proposal = id, decision = name, by = by.operator, "decided");
    if !matches!(p.state, State::Approved { .. }) {
        return Ok(p);
    }
    match execute::execute(app, id).await {
        Ok(p) => Ok(p),
        Err(e) => {
            tracing::warn!(proposal = id, error = %e, cause = e.cause, "approved, not done yet: tried again");
            Ok(p)
        }
    }
}

/// Takes a step, and its row of the audit trail with it; refused where somebody was faster.
async fn step(
    app: &Arc<App>,
    by: &str,
    act: &'static str,
    p: Proposal,
    to: State,
) -> Result<Proposal, Rejection> {
    let next = Proposal { state: to, ..p.clone() };
    let (what, to) = (json!({ "of": told(&p), "becomes": &next.state }), next.state.clone());
    let id = p.id;
    if app.act(by, act, what, move |s| store::step(s, &p, &to)).await? {
        return Ok(next);
    }
    let work = Arc::clone(app);
    let became = blocking(move || load(&work, id)).await?.state;
    Err(Rejection::new(reject::PROPOSAL_CLOSED, No::Closed(became.name()).to_string()))
}

/// Proposals, those that wait first. What is over stands as expired although nothing wrote it yet.
#[derive(Debug, Serialize)]
pub struct Proposals {
    /// when this was
    pub at: UnixMillis,
    /// which
    pub proposals: Vec<Proposal>,
}

/// All that wait, and the newest others. Blocks.
pub fn list(app: &App) -> Result<Proposals, Rejection> {
    app.verifier()?;
    let at = app.clock.now();
    let mut proposals = app.supervisor_store()?.proposals().map_err(Rejection::internal)?;
    for p in &mut proposals {
        if let Some(state) = rules::expired(p, at) {
            p.state = state;
        }
    }
    Ok(Proposals { at, proposals })
}

/// Runs until cancelled; ends at once where nobody verifies. First the audit trail is checked.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    if app.verifier.is_none() {
        return;
    }
    check_trail(&app).await;
    loop {
        if let Err(e) = sweep(&app).await {
            tracing::error!(error = %e, cause = e.cause, "proposals could not be looked through");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn check_trail(app: &Arc<App>) {
    let work = Arc::clone(app);
    let broken = match blocking(move || super::audit::check(&work)).await {
        Ok(Ok(_)) => 0.0,
        Ok(Err(why)) => {
            tracing::error!(%why, "the audit trail was REWRITTEN");
            1.0
        }
        Err(e) => return tracing::error!(error = %e, cause = e.cause, "the audit trail could not be read"),
    };
    metrics::gauge!("xinguan_audit_trail_broken").set(broken);
}

/// What is over is closed, what is approved is done.
async fn sweep(app: &Arc<App>) -> Result<(), Rejection> {
    let work = Arc::clone(app);
    let all = blocking(move || work.supervisor_store()?.proposals().map_err(Rejection::internal)).await?;
    let open = all.iter().filter(|p| !p.state.is_final()).count();
    metrics::gauge!("xinguan_proposals_open").set(f64::from(u32::try_from(open).unwrap_or(u32::MAX)));
    for p in all.into_iter().filter(|p| !p.state.is_final()) {
        let id = p.id;
        let done = match rules::expired(&p, app.clock.now()) {
            Some(state) => step(app, "-", "expire", p, state).await.map(drop),
            None if matches!(p.state, State::Approved { .. }) => execute::execute(app, id).await.map(drop),
            None => Ok(()),
        };
        if let Err(e) = done {
            tracing::warn!(proposal = id, error = %e, cause = e.cause, "a proposal waits");
        }
    }
    Ok(())
}
