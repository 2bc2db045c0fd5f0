//! `GET /console/devices/{id}`: one device: what does not hold, and how it has stood over time.
//!
//! `?verdict=` chooses one of the kept verdicts, `?before=` an older part of the timeline.

use super::{
    fleet::standing,
    layout::{Tone, differing, mark, when},
    visit::{Visit, blocking, serve},
    words::{self, Word},
};
use crate::{
    app::App,
    config::OperatorRole,
    reject::{self, Rejection},
    supervisor::{
        attest::{
            enrol::Device,
            fleet::{self, Standing},
        },
        timeline::{Numbered, Run},
    },
};
use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{Request, Response},
};
use gw_attest::{Check, Outcome, Verdict};
use gw_policy::{View, view::NodeRec};
use gw_proto::{NodeId, UnixMillis};
use maud::{Markup, html};
use std::sync::Arc;

/// Verdicts on one page.
const PER_PAGE: u32 = 50;

/// A device's page.
pub(super) fn path(device: &NodeId) -> String {
    format!("/console/devices/{device}")
}

/// The page.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    device: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response<Body> {
    serve(&app, "console-device", OperatorRole::View, request, |visit| async move {
        let device = fleet::device(&device.map(|Path(device)| device).unwrap_or_default())?;
        let (app, number) = (Arc::clone(&visit.app), visit.query.number("verdict"));
        let before = visit.query.number("before");
        let found = blocking(move || find(&app, device, number, before)).await?;
        Ok(render(&visit, &found))
    })
    .await
}

/// All that the page shows.
struct Found {
    device: NodeId,
    node: Option<NodeRec>,
    /// its display name on the ledger
    institution_name: Option<String>,
    enrolled: Option<Device>,
    standing: Standing,
    since: Option<UnixMillis>,
    last_evidence: Option<UnixMillis>,
    /// the verdict that is shown in full, and whether the visitor chose it
    verdict: Option<Verdict>,
    chosen: bool,
    runs: Vec<Run>,
    /// one page and one more, to compare the last with
    page: Vec<Numbered>,
    before: Option<i64>,
}

fn find(app: &App, device: NodeId, number: Option<i64>, before: Option<i64>) -> Result<Found, Rejection> {
    app.verifier()?;
    let (store, now) = (app.supervisor_store()?, app.clock.now());
    let inside = Rejection::internal;
    let nothing = || Rejection::new(reject::NOT_FOUND, "nothing is known of such a device or verdict here");
    let enrolled = store.enrolment(&device).map_err(inside)?;
    let (node, institution_name) = listed(app, &device, enrolled.as_ref())?;
    if node.is_none() && enrolled.is_none() {
        return Err(nothing());
    }
    let newest = store.verdict(&device).map_err(inside)?;
    let mut found = Found {
        node,
        institution_name,
        standing: if enrolled.is_some() { Standing::Waiting } else { Standing::NotEnrolled },
        enrolled,
        since: None,
        last_evidence: store.last_evidence(&device).map_err(inside)?,
        verdict: None,
        chosen: number.is_some(),
        runs: store.runs(&device).map_err(inside)?,
        page: store.verdicts_before(&device, before, PER_PAGE + 1).map_err(inside)?,
        before,
        device,
    };
    if let Some((verdict, since)) = newest {
        if found.enrolled.is_some() {
            found.standing = fleet::standing(&verdict, now);
        }
        (found.since, found.verdict) = (Some(since), Some(verdict));
    }
    if let Some(number) = number {
        let chosen = store.verdict_numbered(&found.device, number).map_err(inside)?;
        found.verdict = Some(chosen.ok_or_else(nothing)?.verdict);
    }
    Ok(found)
}

/// What the ledger says of it, and the name of its institution there.
fn listed(
    app: &App,
    device: &NodeId,
    enrolled: Option<&Device>,
) -> Result<(Option<NodeRec>, Option<String>), Rejection> {
    let state = app.state.read();
    let view = View::new(&state);
    let node = view.node(device).map_err(Rejection::internal)?;
    let whose = node.as_ref().map(|n| &n.record.institution).or(enrolled.map(|d| &d.institution));
    let name = match whose {
        Some(id) => view.institution(id).map_err(Rejection::internal)?.map(|i| i.record.name),
        None => None,
    };
    Ok((node, name))
}

fn render(v: &Visit, f: &Found) -> Markup {
    let path = path(&f.device);
    let content = html! {
        (summary(v, f))
        (verdict(v, f))
        (export(v, f))
        h2 { (v.t(words::TIMELINE)) }
        (runs(v, f, &path))
        (verdicts(v, f, &path))
        (enrolment(v, f))
    };
    v.document(super::fleet::PATH, &format!("{} {}", v.t(words::DEVICE), f.device), &path, &[], &content)
}

fn summary(v: &Visit, f: &Found) -> Markup {
    let (tone, word) = standing(f.standing);
    let whose =
        f.node.as_ref().map(|n| &n.record.institution).or(f.enrolled.as_ref().map(|d| &d.institution));
    let on_ledger = match &f.node {
        None => (Tone::Off, words::NOT_LISTED),
        Some(n) if n.record.standing == gw_proto::Standing::Active => (Tone::Good, words::ACTIVE),
        Some(_) => (Tone::Bad, words::BLOCKED),
    };
    html! {
        dl {
            dt { (v.t(words::STANDING)) } dd { (mark(tone, v.t(word))) }
            dt { (v.t(words::SINCE)) } dd { (moment(f.since)) }
            dt { (v.t(words::LAST_EVIDENCE)) } dd { (moment(f.last_evidence)) }
            dt { (v.t(words::INSTITUTION)) }
            dd {
                @if let Some(name) = &f.institution_name { (name) " " }
                @if let Some(id) = whose { code { (id) } }
            }
            @if let Some(n) = &f.node { dt { (v.t(words::REGION)) } dd { (n.record.region) } }
            dt { (v.t(words::LEDGER_STANDING)) } dd { (mark(on_ledger.0, v.t(on_ledger.1))) }
        }
    }
}

fn moment(at: Option<UnixMillis>) -> Markup {
    html! { @match at { Some(at) => (when(at)), None => "–" } }
}

fn verdict(v: &Visit, f: &Found) -> Markup {
    let title = if f.chosen { words::THAT_VERDICT } else { words::NEWEST_VERDICT };
    html! {
        h2 id="verdict" { (v.t(title)) }
        @match &f.verdict {
            None => p { (v.t(words::NO_VERDICT)) },
            Some(verdict) => {
                dl {
                    dt { (v.t(words::RESULT)) } dd { (passed(v, verdict.passed())) }
                    dt { (v.t(words::JUDGED)) } dd { (when(verdict.at)) }
                    @if let Some(until) = verdict.good_until {
                        dt { (v.t(words::GOOD_UNTIL)) } dd { (when(until)) }
                    }
                    dt { (v.t(words::RELEASE)) } dd { (verdict.release.as_deref().unwrap_or("–")) }
                }
                (failures(v, verdict))
                details {
                    summary { (v.t(words::ALL_CHECKS)) " (" (verdict.checks.len()) ")" }
                    (all_checks(v, verdict))
                }
            }
        }
    }
}

fn passed(v: &Visit, passed: bool) -> Markup {
    match passed {
        true => mark(Tone::Good, v.t(words::GOOD)),
        false => mark(Tone::Bad, v.t(words::BAD)),
    }
}

fn failures(v: &Visit, verdict: &Verdict) -> Markup {
    let failed: Vec<&Check> = verdict.failed().collect();
    html! {
        h3 { (v.t(words::FAILED_CHECKS)) }
        @if failed.is_empty() {
            p { (v.t(words::NOTHING_FAILED)) }
        } @else {
            table class="diff" {
                caption { (v.t(words::FAILED_CAPTION)) }
                thead { tr {
                    @for c in [words::CHECK, words::COMPONENT, words::EXPECTED, words::FOUND] {
                        th scope="col" { (v.t(c)) }
                    }
                } }
                tbody { @for check in failed { (failure(v, check)) } }
            }
        }
    }
}

fn failure(v: &Visit, check: &Check) -> Markup {
    let (expected, found) = differing(&check.expected, &check.found);
    html! {
        tr {
            th scope="row" { (mark(Tone::Bad, v.lang.of(check.name.labels()))) br; code { (check.name) } }
            td { b { (check.component.as_deref().unwrap_or("–")) } }
            td { code { (expected) } }
            td { code { (found) } }
        }
    }
}

fn outcome(o: Outcome) -> (Tone, Word) {
    match o {
        Outcome::Ok => (Tone::Good, words::HOLDS),
        Outcome::Failed => (Tone::Bad, words::FAILED),
        Outcome::NotChecked => (Tone::Off, words::NOT_CHECKED),
    }
}

fn all_checks(v: &Visit, verdict: &Verdict) -> Markup {
    html! {
        table {
            thead { tr {
                @for c in [words::CHECK, words::RESULT, words::COMPONENT, words::EXPECTED, words::FOUND] {
                    th scope="col" { (v.t(c)) }
                }
            } }
            tbody {
                @for check in &verdict.checks {
                    @let (tone, word) = outcome(check.outcome);
                    tr {
                        th scope="row" { (v.lang.of(check.name.labels())) " " code { (check.name) } }
                        td { (mark(tone, v.t(word))) }
                        td { (check.component.as_deref().unwrap_or("")) }
                        td { code { (check.expected) } }
                        td { code { (check.found) } }
                    }
                }
            }
        }
    }
}

/// The export itself is an operation of its own, with its own role and its own line in the journal.
fn export(v: &Visit, f: &Found) -> Markup {
    let url = format!("/admin/v1/devices/{}/appraisal", f.device);
    let file = format!("{}.appraisal.json", f.device);
    html! {
        h3 { (v.t(words::EVIDENCE)) }
        @if f.last_evidence.is_none() {
            p { (v.t(words::NO_EVIDENCE)) }
        } @else if v.operator.has(OperatorRole::Auditor) {
            p { a href=(url) download=(file) { (v.t(words::EXPORT)) } }
            p class="soft" { (v.t(words::EXPORT_HOW)) }
        } @else {
            p class="soft" { (v.t(words::EXPORT_ROLE)) }
        }
    }
}

fn runs(v: &Visit, f: &Found, path: &str) -> Markup {
    html! {
        @if !f.runs.is_empty() {
            h3 { (v.t(words::RUNS)) }
            table {
                caption { (v.t(words::RUNS_CAPTION)) }
                thead { tr {
                    @for c in [words::RESULT, words::FROM, words::TO, words::VERDICTS] { th scope="col" { (v.t(c)) } }
                } }
                tbody {
                    @for run in &f.runs {
                        tr {
                            td { (passed(v, run.passed)) }
                            td { (when(run.from)) }
                            td { (when(run.to)) }
                            td { (choose(v, path, run.last, f.before)) }
                        }
                    }
                }
            }
        }
    }
}

fn choose(v: &Visit, path: &str, number: i64, before: Option<i64>) -> Markup {
    let (number, before) = (number.to_string(), before.map(|b| b.to_string()));
    let mut more = vec![("verdict", number.as_str())];
    more.extend(before.as_ref().map(|b| ("before", b.as_str())));
    html! { a href=(v.link(path, &more) + "#verdict") { (v.t(words::SHOW)) " " (number) } }
}

/// What an eye looks for in a column of verdicts.
fn differ(a: &Verdict, b: &Verdict) -> bool {
    let essence = |v: &Verdict| {
        let failed: Vec<_> = v.failed().map(|c| (c.name, c.component.clone(), c.found.clone())).collect();
        (v.release.clone(), failed)
    };
    essence(a) != essence(b)
}

fn verdicts(v: &Visit, f: &Found, path: &str) -> Markup {
    let full = usize::try_from(PER_PAGE).unwrap_or(usize::MAX);
    let older = (f.page.len() > full).then(|| f.page.get(full - 1)).flatten();
    html! {
        h3 { (v.t(words::VERDICTS)) }
        @if f.page.is_empty() {
            p { (v.t(words::NO_VERDICT)) }
        } @else {
            table {
                caption { (v.t(words::VERDICTS_CAPTION)) }
                thead { tr {
                    @for c in [words::JUDGED, words::RESULT, words::RELEASE, words::TO_BLAME, words::SHOW] {
                        th scope="col" { (v.t(c)) }
                    }
                } }
                tbody {
                    @for (i, n) in f.page.iter().take(full).enumerate() {
                        (single(v, path, n, f.page.get(i + 1), f.before))
                    }
                }
            }
        }
        p class="pager" {
            @if f.before.is_some() { a href=(v.link(path, &[])) { (v.t(words::NEWER)) } }
            @if let Some(oldest) = older {
                a href=(v.link(path, &[("before", &oldest.id.to_string())])) rel="next" { (v.t(words::OLDER)) }
            }
        }
    }
}

fn single(v: &Visit, path: &str, n: &Numbered, older: Option<&Numbered>, before: Option<i64>) -> Markup {
    let changed = older.is_some_and(|o| differ(&n.verdict, &o.verdict));
    html! {
        tr {
            th scope="row" { (when(n.verdict.at)) }
            td { (passed(v, n.verdict.passed())) @if changed { " " b { (v.t(words::CHANGED)) } } }
            td { (n.verdict.release.as_deref().unwrap_or("–")) }
            td {
                @for check in n.verdict.failed() {
                    code { (check.name) } @if let Some(c) = &check.component { " " (c) } " "
                }
            }
            td { (choose(v, path, n.id, before)) }
        }
    }
}

fn enrolment(v: &Visit, f: &Found) -> Markup {
    html! {
        @if let Some(d) = &f.enrolled {
            h2 { (v.t(words::ENROLMENT)) }
            dl {
                dt { (v.t(words::ENROLLED_AT)) } dd { (when(d.at)) }
                dt { (v.t(words::ENROLLED_BY)) } dd { (d.by) }
                dt { (v.t(words::ENDORSEMENT)) } dd { code { (d.endorsement()) } }
                dt { (v.t(words::CONFIGURATIONS)) }
                dd { @for c in &d.enrolled.configurations { div { code { (c) } } } }
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "dev")]
mod tests {
    use super::*;
    use crate::{
        supervisor::{
            attest::fleet::{Fleet, Line},
            console::{form::Fields, words::Lang},
        },
        testkit::Consortium,
    };
    use gw_attest::CheckName;

    const HOSTILE: &str = "<script>alert('x')</script>\"><img src=x onerror=y>";

    fn hostile(device: &NodeId) -> Verdict {
        let text = || HOSTILE.to_owned();
        let component = Some(text());
        let (outcome, expected, found) = (Outcome::Failed, text(), text() + "!");
        let check = Check { name: CheckName::Component, outcome, component, expected, found };
        Verdict {
            device: device.clone(),
            release: Some(text()),
            at: UnixMillis(1),
            good_until: None,
            counters: None,
            checks: vec![check],
        }
    }

    /// A gateway chooses its release's name, its events' descriptions, its software's names.
    #[tokio::test]
    async fn what_a_gateway_says_of_itself_stays_text() {
        let c = Consortium::new();
        let gateway = c.build("pboc-shanghai-1", "").await;
        let device = NodeId::parse("bank-suzhou-1").unwrap();
        let visit = Visit {
            app: Arc::clone(gateway.app()),
            operator: gateway.app().config.operators[0].clone(),
            lang: Lang::Zh,
            query: Fields::default(),
            form: Fields::default(),
        };
        let verdict = hostile(&device);
        let line = Line {
            device: device.clone(),
            institution: gateway.app().institution.clone(),
            standing: Standing::Bad,
            since: None,
            last_evidence: None,
            release: verdict.release.clone(),
            failed: verdict.checks.clone(),
            ledger: None,
            agrees: None,
        };
        let fleet = Fleet { at: UnixMillis(1), devices: vec![line] };
        let page = |verdict: &Verdict| Numbered { id: 1, verdict: verdict.clone() };
        let found = Found {
            node: None,
            institution_name: Some(HOSTILE.to_owned()),
            enrolled: None,
            standing: Standing::Bad,
            since: None,
            last_evidence: None,
            chosen: false,
            runs: Vec::new(),
            page: vec![page(&verdict)],
            before: None,
            verdict: Some(verdict),
            device,
        };
        for shown in [super::super::fleet::render(&visit, fleet), render(&visit, &found)] {
            let shown = shown.into_string();
            assert!(shown.contains("&lt;script&gt;alert"), "{shown}");
            assert!(!shown.contains("<script") && !shown.contains("<img"), "{shown}");
        }
    }
}
