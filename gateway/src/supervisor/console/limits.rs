//! `GET /console/limits`: what the consortium's limits are, and who ran into them.
//!
//! These are the limits that the chain enforces on everybody: uses of an authorization, caps by evidence level.
//! The rate limits of each gateway are its own, and are in its own metrics.

use super::{
    layout::{Tone, mark, when},
    visit::{Visit, blocking, serve},
    words::{self, Word},
};
use crate::{app::App, config::OperatorRole, reject::Rejection};
use axum::{
    body::Body,
    extract::State,
    http::{Request, Response},
};
use gw_policy::{Fate, RefusalReason, ReservationState, View};
use gw_proto::{EvidenceLevel, InstitutionId, UnixMillis, record::Policy};
use maud::{Markup, html};
use std::{collections::BTreeMap, sync::Arc};

pub(super) const PATH: &str = "/console/limits";
/// The most reservations that are read.
const MAX_READ: usize = 100_000;
/// The newest refusals that are listed.
const NEWEST: usize = 50;

/// The page.
pub(super) async fn page(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    serve(&app, "console-limits", OperatorRole::Auditor, request, |visit| async move {
        let app = Arc::clone(&visit.app);
        let found = blocking(move || find(&app)).await?;
        let content = html! { (caps(&visit, &found)) (totals(&visit, &found)) (newest(&visit, &found)) };
        Ok(visit.document(PATH, visit.t(words::LIMITS), PATH, &[], &content))
    })
    .await
}

/// How often, and when last.
#[derive(Debug, PartialEq, Eq)]
struct Tally {
    count: usize,
    last: UnixMillis,
}

struct Found {
    policy: Option<Policy>,
    examined: usize,
    complete: bool,
    totals: BTreeMap<(InstitutionId, String), Tally>,
    newest: Vec<(ReservationState, RefusalReason)>,
}

fn find(app: &App) -> Result<Found, Rejection> {
    let (policy, mut all) = {
        let state = app.state.read();
        let view = View::new(&state);
        let policy = view.policy().map_err(Rejection::internal)?;
        (policy, view.reservations(MAX_READ + 1).map_err(Rejection::internal)?)
    };
    let complete = all.len() <= MAX_READ;
    all.truncate(MAX_READ);
    let examined = all.len();
    let mut newest = refused(all);
    let totals = tally(&newest);
    newest.truncate(NEWEST);
    Ok(Found { policy, examined, complete, totals, newest })
}

/// The refused ones, newest first.
fn refused(all: Vec<ReservationState>) -> Vec<(ReservationState, RefusalReason)> {
    let reason = |r: ReservationState| match r.fate {
        Fate::Refused(why) => Some((r, why)),
        Fate::Accepted | Fate::Repeated => None,
    };
    let mut refused: Vec<_> = all.into_iter().filter_map(reason).collect();
    refused.sort_by_key(|(r, _)| std::cmp::Reverse((r.height, r.tx_index, r.record_index)));
    refused
}

fn tally(refused: &[(ReservationState, RefusalReason)]) -> BTreeMap<(InstitutionId, String), Tally> {
    let mut totals = BTreeMap::new();
    for (r, why) in refused {
        let tally = totals
            .entry((r.asker.clone(), why.to_string()))
            .or_insert(Tally { count: 0, last: r.block_time });
        tally.count += 1;
        tally.last = tally.last.max(r.block_time);
    }
    totals
}

fn caps(v: &Visit, f: &Found) -> Markup {
    let levels: [(EvidenceLevel, Word); 3] = [
        (EvidenceLevel::Signed, words::LEVEL_SIGNED),
        (EvidenceLevel::Sealed, words::LEVEL_SEALED),
        (EvidenceLevel::Asserted, words::LEVEL_ASSERTED),
    ];
    html! {
        h2 { (v.t(words::CAPS)) }
        @match &f.policy {
            None => p { (mark(Tone::Wait, v.t(words::NO_POLICY))) },
            Some(policy) => {
                table {
                    caption { (v.t(words::CAPS_CAPTION)) " " (policy.version) }
                    thead { tr {
                        @for c in [words::LEVEL, words::MOST_USES, words::PER_DAY, words::WHAT] { th scope="col" { (v.t(c)) } }
                    } }
                    tbody {
                        @for (level, word) in levels {
                            @let cap = policy.caps.of(level);
                            tr {
                                th scope="row" { (v.t(word)) }
                                td { (cap.max_uses) }
                                td { @if let Some(n) = cap.per_holder_day { (n) } @else { (v.t(words::NO_CAP)) } }
                                td { (cap.dimensions.iter().map(|d| v.lang.of(d.labels())).collect::<Vec<_>>().join(" · ")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn totals(v: &Visit, f: &Found) -> Markup {
    html! {
        h2 { (v.t(words::HIT)) }
        p class="soft" { (v.t(words::HIT_WHAT)) " " (v.t(words::EXAMINED)) ": " (f.examined) }
        @if !f.complete { p class="note" { (v.t(words::INCOMPLETE)) } }
        @if f.totals.is_empty() {
            p { (mark(Tone::Good, v.t(words::NO_HITS))) }
        } @else {
            table {
                caption { (v.t(words::BY_INSTITUTION)) }
                thead { tr {
                    @for c in [words::INSTITUTION, words::RULE, words::COUNT, words::LAST] { th scope="col" { (v.t(c)) } }
                } }
                tbody {
                    @for ((asker, why), t) in &f.totals {
                        tr { th scope="row" { (asker) } td lang="en" { (why) } td { (t.count) } td { (when(t.last)) } }
                    }
                }
            }
        }
    }
}

fn newest(v: &Visit, f: &Found) -> Markup {
    html! {
        @if !f.newest.is_empty() {
            h2 { (v.t(words::NEWEST_HITS)) }
            table {
                caption { (v.t(words::VERDICTS_CAPTION)) }
                thead { tr {
                    @for c in [words::WHEN, words::INSTITUTION, words::RULE, words::AUTHORIZATION, words::BLOCK] {
                        th scope="col" { (v.t(c)) }
                    }
                } }
                tbody {
                    @for (r, why) in &f.newest {
                        tr {
                            th scope="row" { (when(r.block_time)) }
                            td { (r.asker) " · " (r.node) }
                            td lang="en" { (why) }
                            td { code { (r.record.authz_id) } }
                            td { (r.height) }
                        }
                    }
                }
            }
        }
    }
}
