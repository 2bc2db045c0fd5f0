//! `GET /console/chain`: whether the ledger is healthy, as this supervisor sees it.

use super::{
    layout::{Tone, mark, when},
    visit::{Visit, blocking, serve},
    words::{self, Word},
};
use crate::{
    app::App,
    config::OperatorRole,
    readiness::{self, Readiness},
    reject::Rejection,
};
use axum::{
    body::Body,
    extract::State,
    http::{Request, Response},
};
use gw_ledger::{Cursor, EndpointStatus, Health};
use gw_policy::{View, view::Anchor};
use gw_proto::Standing;
use maud::{Markup, html};
use std::sync::Arc;

pub(super) const PATH: &str = "/console/chain";

/// The page.
pub(super) async fn page(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    serve(&app, "console-chain", OperatorRole::View, request, |visit| async move {
        let app = Arc::clone(&visit.app);
        let found = blocking(move || find(&app)).await?;
        let content = html! { (ledger(&visit, &found)) (endpoints(&visit, &found)) (members(&visit, &found)) (own(&visit, &found)) };
        Ok(visit.document(PATH, visit.t(words::CHAIN), PATH, &[], &content))
    })
    .await
}

struct Found {
    health: Health,
    cursor: Cursor,
    age_s: u64,
    bound_s: u64,
    rules: Option<u32>,
    anchor: Option<Anchor>,
    endpoints: Vec<EndpointStatus>,
    /// (all, blocked)
    institutions: (usize, Vec<String>),
    nodes: (usize, Vec<String>),
    readiness: Readiness,
    journal: (u64, String),
    outbox: usize,
}

fn find(app: &App) -> Result<Found, Rejection> {
    let inside = Rejection::internal;
    // before the guard is taken: both read the state themselves
    let (health, readiness) = (app.state.health(), readiness::check(app));
    let (age_s, bound_s) = (app.state.age().as_secs(), app.state.staleness().as_secs());
    let (cursor, endpoints, head) = (app.state.cursor(), app.state.endpoints(), app.journal.head());
    let outbox = *app.outbox.watch().borrow();
    let state = app.state.read();
    let view = View::new(&state);
    let institutions: Vec<_> = view
        .institutions()
        .map_err(inside)?
        .into_iter()
        .map(|i| (i.record.id.to_string(), i.record.standing))
        .collect();
    let nodes: Vec<_> = view
        .nodes()
        .map_err(inside)?
        .into_iter()
        .map(|n| (n.record.id.to_string(), n.record.standing))
        .collect();
    Ok(Found {
        rules: view.rules_at(cursor.height).map_err(inside)?,
        anchor: view.anchor().map_err(inside)?,
        institutions: counted(institutions),
        nodes: counted(nodes),
        journal: (head.index, head.digest.to_string()),
        health,
        cursor,
        age_s,
        bound_s,
        endpoints,
        readiness,
        outbox,
    })
}

fn counted(all: Vec<(String, Standing)>) -> (usize, Vec<String>) {
    let count = all.len();
    let blocked = all.into_iter().filter(|(_, s)| *s != Standing::Active).map(|(id, _)| id);
    (count, blocked.collect())
}

fn tone(health: &Health) -> (Tone, Word) {
    match health {
        Health::Fresh => (Tone::Good, words::FRESH),
        Health::Stale { .. } => (Tone::Wait, words::STALE),
        Health::Alarm(_) => (Tone::Bad, words::ALARM),
        Health::Halted(_) => (Tone::Bad, words::HALTED),
    }
}

fn ledger(v: &Visit, f: &Found) -> Markup {
    let (tone, word) = tone(&f.health);
    html! {
        dl {
            dt { (v.t(words::STANDING)) }
            dd {
                (mark(tone, v.t(word)))
                @if f.health != Health::Fresh { " " span lang="en" { (f.health) } }
            }
            dt { (v.t(words::HEIGHT)) } dd { (f.cursor.height) }
            dt { (v.t(words::BLOCK_HASH)) } dd { code { (f.cursor.hash) } }
            dt { (v.t(words::BLOCK_TIME)) }
            dd { (when(f.cursor.time)) " (" (v.t(words::AGE)) " " (f.age_s) " s, " (v.t(words::AT_MOST)) " " (f.bound_s) " s)" }
            dt { (v.t(words::STATE_DIGEST)) } dd { code { (f.cursor.state_digest) } }
            dt { (v.t(words::ANCHOR)) }
            dd {
                @match &f.anchor {
                    None => (v.t(words::NONE)),
                    Some(a) => { (v.t(words::HEIGHT)) " " (a.height) ", " (a.by) ": " code { (a.digest) } }
                }
            }
            dt { (v.t(words::RULES)) } dd { @if let Some(r) = f.rules { (r) } @else { "–" } }
        }
    }
}

fn endpoints(v: &Visit, f: &Found) -> Markup {
    html! {
        h2 { (v.t(words::ENDPOINTS)) }
        table {
            caption { (v.t(words::ENDPOINTS_CAPTION)) }
            thead { tr {
                @for c in [words::ENDPOINT, words::STANDING, words::CLAIMED_HEAD, words::AGREES, words::LAST_ERROR] {
                    th scope="col" { (v.t(c)) }
                }
            } }
            tbody {
                @for e in &f.endpoints {
                    tr {
                        th scope="row" { (e.endpoint) }
                        td {
                            @if e.error.is_none() { (mark(Tone::Good, v.t(words::ANSWERS))) }
                            @else { (mark(Tone::Bad, v.t(words::FAILS))) }
                        }
                        td { @if let Some(head) = e.head { (head) } @else { "–" } }
                        td { (e.agrees) }
                        td lang="en" { (e.error.as_deref().unwrap_or("–")) }
                    }
                }
            }
        }
    }
}

fn members(v: &Visit, f: &Found) -> Markup {
    let one = |word: Word, (count, blocked): &(usize, Vec<String>)| {
        html! {
            dt { (v.t(word)) }
            dd {
                (count) ", " (v.t(words::BLOCKED)) " " (blocked.len())
                @if !blocked.is_empty() { ": " (mark(Tone::Bad, &blocked.join(", "))) }
            }
        }
    };
    html! {
        h2 { (v.t(words::MEMBERS)) }
        dl { (one(words::INSTITUTIONS, &f.institutions)) (one(words::GATEWAYS, &f.nodes)) }
    }
}

fn own(v: &Visit, f: &Found) -> Markup {
    html! {
        h2 { (v.t(words::THIS_SUPERVISOR)) }
        dl {
            dt { (v.t(words::READY)) }
            dd {
                @if f.readiness.ready { (mark(Tone::Good, v.t(words::YES))) }
                @else {
                    (mark(Tone::Bad, v.t(words::NO)))
                    ul lang="en" { @for reason in &f.readiness.reasons { li { (reason) } } }
                }
            }
            dt { (v.t(words::JOURNAL)) } dd { (f.journal.0) " · " code { (f.journal.1) } }
            dt { (v.t(words::OUTBOX)) } dd { (f.outbox) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_ledger_is_shown_as_well() {
        let stale = Health::Stale { age: std::time::Duration::ZERO, why: "old".to_owned() };
        for health in [stale, Health::Alarm(Vec::new()), Health::Halted("x".to_owned())] {
            assert!(tone(&health).0 != Tone::Good, "{health}");
        }
        assert_eq!(tone(&Health::Fresh).0, Tone::Good);
    }

    #[test]
    fn blocked_members_are_named() {
        let all = vec![("a".to_owned(), Standing::Active), ("b".to_owned(), Standing::Blocked)];
        assert_eq!(counted(all), (2, vec!["b".to_owned()]));
    }
}
