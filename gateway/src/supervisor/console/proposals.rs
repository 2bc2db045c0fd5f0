//! `GET /console/proposals`: what waits for a second person, what became of the others; for auditors, who did what.
//!
//! It changes nothing: deciding is for `xinguan attest approve|refuse|withdraw` (decision 0034).

use super::{
    layout::{Tone, mark, when},
    visit::{Visit, blocking, serve},
    words::{self, Word},
};
use crate::{
    app::App,
    config::OperatorRole,
    reject::Rejection,
    supervisor::{
        audit::{self, Act as Done, Broken, Mark},
        four_eyes::{
            self, Proposals,
            rules::{Act, Proposal, State as Became},
        },
    },
};
use axum::{
    body::Body,
    extract::State,
    http::{Request, Response},
};
use maud::{Markup, html};
use std::sync::Arc;

pub(super) const PATH: &str = "/console/proposals";
/// Acts that are shown.
const NEWEST: u64 = 100;

/// The page.
pub(super) async fn page(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    serve(&app, "console-proposals", OperatorRole::View, request, |visit| async move {
        let app = Arc::clone(&visit.app);
        let audits = visit.operator.has(OperatorRole::Auditor);
        let (found, trail) = blocking(move || {
            let trail = if audits { Some(newest(&app)?) } else { None };
            Ok((four_eyes::list(&app)?, trail))
        })
        .await?;
        let content = html! {
            (proposals(&visit, &found))
            @if let Some(trail) = trail { (acts(&visit, &trail)) }
        };
        Ok(visit.document(PATH, visit.t(words::PROPOSALS), PATH, &[], &content))
    })
    .await
}

struct Newest {
    whole: Result<Mark, Broken>,
    acts: Vec<Done>,
}

fn newest(app: &App) -> Result<Newest, Rejection> {
    let whole = audit::check(app)?;
    let store = app.supervisor_store()?;
    let last = store.last_act().map_err(Rejection::internal)?;
    let rows = store.acts(last.saturating_sub(NEWEST)).map_err(Rejection::internal)?;
    let acts = rows.iter().rev().filter_map(|r| serde_json::from_str(&r.body).ok()).collect();
    Ok(Newest { whole, acts })
}

fn proposals(v: &Visit, found: &Proposals) -> Markup {
    let columns = [words::NUMBER, words::PROPOSED, words::DEVICE, words::STANDING, words::BY, words::REASON];
    html! {
        @if found.proposals.is_empty() {
            p { (v.t(words::NO_PROPOSALS)) }
        } @else {
            table {
                caption { (v.t(words::PROPOSALS_CAPTION)) }
                thead { tr { @for c in columns { th scope="col" { (v.t(c)) } } } }
                tbody { @for p in &found.proposals { (row(v, p)) } }
            }
        }
        p class="note" { (v.t(words::PROPOSALS_HOW)) }
    }
}

fn row(v: &Visit, p: &Proposal) -> Markup {
    let (tone, word) = became(&p.state);
    let what = match p.what {
        Act::Decommission { .. } => words::ACT_DECOMMISSION,
        Act::Enrol { .. } => words::ACT_ENROL,
    };
    html! {
        tr {
            th scope="row" { (p.id) }
            td { (v.t(what)) }
            td { a href=(v.link(&super::device::path(p.what.device()), &[])) { (p.what.device()) } }
            td {
                (mark(tone, v.t(word)))
                @match &p.state {
                    Became::Open => { div { (v.t(words::UNTIL)) " " (when(p.expires)) } }
                    Became::Approved { by, at } => { div { (by.operator) " " (when(*at)) } }
                    Became::Executed { by, executed, .. } => { div { (by.operator) " " (when(*executed)) } }
                    Became::Overtaken { by, why, .. } => { div { (by.operator) ": " (why) } }
                    Became::Refused { by, at, reason } => { div { (by.operator) " " (when(*at)) ": " (reason) } }
                    Became::Withdrawn { at, reason } => { div { (when(*at)) ": " (reason) } }
                    Became::Expired { at } => { div { (when(*at)) } }
                }
            }
            td { (p.by.operator) div { (when(p.at)) } }
            td { (p.reason) }
        }
    }
}

fn became(state: &Became) -> (Tone, Word) {
    match state {
        Became::Open => (Tone::Wait, words::STATE_OPEN),
        Became::Approved { .. } => (Tone::Wait, words::STATE_APPROVED),
        Became::Executed { .. } => (Tone::Good, words::STATE_EXECUTED),
        Became::Overtaken { .. } => (Tone::Bad, words::STATE_OVERTAKEN),
        Became::Refused { .. } => (Tone::Off, words::STATE_REFUSED),
        Became::Withdrawn { .. } => (Tone::Off, words::STATE_WITHDRAWN),
        Became::Expired { .. } => (Tone::Off, words::STATE_EXPIRED),
    }
}

fn acts(v: &Visit, trail: &Newest) -> Markup {
    let columns = [words::NUMBER, words::WHEN, words::BY, words::ACT, words::DETAIL];
    html! {
        h2 { (v.t(words::TRAIL)) }
        @match &trail.whole {
            Ok(end) => p { (mark(Tone::Good, v.t(words::TRAIL_WHOLE))) " " (end.n) " · " code { (end.chain) } },
            Err(why) => p class="note bad" role="alert" { (mark(Tone::Bad, v.t(words::TRAIL_BROKEN))) " " (why) },
        }
        table {
            caption { (v.t(words::TRAIL_CAPTION)) }
            thead { tr { @for c in columns { th scope="col" { (v.t(c)) } } } }
            tbody {
                @for a in &trail.acts {
                    tr { th scope="row" { (a.n) } td { (when(a.at)) } td { (a.by) } td { (a.act) } td { code { (a.what) } } }
                }
            }
        }
    }
}
