//! `GET /console/`: the fleet at a glance, trouble first.

use super::{
    layout::{Tone, mark, when},
    visit::{Visit, blocking, serve},
    words::{self, Word},
};
use crate::{
    app::App,
    config::OperatorRole,
    supervisor::attest::fleet::{self, Fleet, Line, Standing},
};
use axum::{
    body::Body,
    extract::State,
    http::{Request, Response},
};
use maud::{Markup, html};
use std::sync::Arc;

pub(super) const PATH: &str = "/console/";
/// Devices on one page.
const PER_PAGE: usize = 50;
/// Failed checks named on one line.
const NAMED: usize = 3;

/// In the order of urgency.
const STANDINGS: [Standing; 4] = [Standing::Bad, Standing::Waiting, Standing::NotEnrolled, Standing::Good];

/// The page.
pub(super) async fn page(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    serve(&app, "console-fleet", OperatorRole::View, request, |visit| async move {
        let app = Arc::clone(&visit.app);
        let fleet = blocking(move || fleet::show(&app)).await?;
        Ok(render(&visit, fleet))
    })
    .await
}

/// How a standing is shown.
pub(super) fn standing(s: Standing) -> (Tone, Word) {
    match s {
        Standing::Good => (Tone::Good, words::GOOD),
        Standing::Bad => (Tone::Bad, words::BAD),
        Standing::Waiting => (Tone::Wait, words::WAITING),
        Standing::NotEnrolled => (Tone::Off, words::NOT_ENROLLED),
    }
}

fn code(s: Standing) -> &'static str {
    match s {
        Standing::Good => "good",
        Standing::Bad => "bad",
        Standing::Waiting => "waiting",
        Standing::NotEnrolled => "not-enrolled",
    }
}

fn rank(s: Standing) -> usize {
    STANDINGS.iter().position(|o| *o == s).unwrap_or(STANDINGS.len())
}

pub(super) fn render(v: &Visit, mut fleet: Fleet) -> Markup {
    fleet.devices.sort_by(|a, b| (rank(a.standing), &a.device).cmp(&(rank(b.standing), &b.device)));
    let only = v.query.text("standing").and_then(|asked| STANDINGS.into_iter().find(|s| code(*s) == asked));
    let shown: Vec<&Line> = fleet.devices.iter().filter(|l| only.is_none_or(|s| s == l.standing)).collect();
    let pages = shown.len().div_ceil(PER_PAGE).max(1);
    let page = v.query.number::<usize>("page").unwrap_or(1).clamp(1, pages);
    let filter: Vec<(&str, &str)> = only.map(|s| ("standing", code(s))).into_iter().collect();
    let lines: Vec<&Line> = shown.into_iter().skip((page - 1) * PER_PAGE).take(PER_PAGE).collect();
    let content = html! {
        (counts(v, &fleet.devices, only))
        (table(v, &lines))
        (pager(v, &filter, page, pages))
    };
    let number = page.to_string();
    let more = [&filter[..], &[("page", number.as_str())]].concat();
    v.document(PATH, v.t(words::FLEET), PATH, &more, &content)
}

fn counts(v: &Visit, all: &[Line], only: Option<Standing>) -> Markup {
    let count = |s: Standing| all.iter().filter(|l| l.standing == s).count();
    html! {
        ul class="counts" {
            li {
                a href=(v.link(PATH, &[])) aria-current=[only.is_none().then_some("true")] {
                    b { (all.len()) } (v.t(words::TOTAL))
                }
            }
            @for s in STANDINGS {
                @let (tone, word) = standing(s);
                li {
                    a href=(v.link(PATH, &[("standing", code(s))])) aria-current=[(only == Some(s)).then_some("true")] {
                        b { (count(s)) } (mark(tone, v.t(word)))
                    }
                }
            }
        }
    }
}

fn table(v: &Visit, lines: &[&Line]) -> Markup {
    let columns = [
        words::DEVICE,
        words::INSTITUTION,
        words::STANDING,
        words::SINCE,
        words::LAST_EVIDENCE,
        words::RELEASE,
        words::TO_BLAME,
    ];
    html! {
        @if lines.is_empty() {
            p { (v.t(words::NO_DEVICES)) }
        } @else {
            table {
                caption { (v.t(words::FLEET_CAPTION)) }
                thead { tr { @for c in columns { th scope="col" { (v.t(c)) } } } }
                tbody { @for l in lines { (row(v, l)) } }
            }
        }
    }
}

fn row(v: &Visit, l: &Line) -> Markup {
    let (tone, word) = standing(l.standing);
    html! {
        tr {
            th scope="row" { a href=(v.link(&super::device::path(&l.device), &[])) { (l.device) } }
            td { (l.institution) }
            td { (mark(tone, v.t(word))) }
            td { @if let Some(at) = l.since { (when(at)) } }
            td { @if let Some(at) = l.last_evidence { (when(at)) } }
            td { (l.release.as_deref().unwrap_or("–")) }
            td {
                @for check in l.failed.iter().take(NAMED) {
                    div {
                        (v.lang.of(check.name.labels()))
                        @if let Some(component) = &check.component { ": " b { (component) } }
                        " " code { (check.name) }
                    }
                }
                @if l.failed.len() > NAMED { div { "+ " (l.failed.len() - NAMED) } }
            }
        }
    }
}

fn pager(v: &Visit, filter: &[(&str, &str)], page: usize, pages: usize) -> Markup {
    let to = |n: usize| v.link(PATH, &[filter, &[("page", n.to_string().as_str())]].concat());
    html! {
        @if pages > 1 {
            p class="pager" {
                @if page > 1 { a href=(to(page - 1)) rel="prev" { (v.t(words::PREVIOUS)) } }
                span { (v.t(words::PAGE)) " " (page) " / " (pages) }
                @if page < pages { a href=(to(page + 1)) rel="next" { (v.t(words::NEXT)) } }
            }
        }
    }
}
