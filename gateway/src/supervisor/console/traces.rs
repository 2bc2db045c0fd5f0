//! `/console/traces`: who looked at a firm, when, why, under which authorization, and the proofs.
//!
//! The code is sent in the form's body and never stands in a URL. Every view, the next page too, is a look-up of
//! its own: recorded in the journal and in the store, with who and why, before its result is shown.

use super::{
    layout::{Tone, mark, when},
    visit::{Visit, blocking, serve},
    words::{self, Word},
};
use crate::{
    app::App,
    config::OperatorRole,
    reject::{self, Rejection},
    supervisor::{
        look::{self, Look, LookRequest, Looks},
        reconcile::{Finding, Gap},
    },
};
use axum::{
    body::Body,
    extract::State,
    http::{Request, Response},
};
use gw_policy::{AuthzState, View};
use gw_proto::{
    AuthzId, EvidenceLevel, Height, NodeId, Uscc,
    record::{Side, Trace, TraceStatus},
};
use maud::{Markup, html};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub(super) const PATH: &str = "/console/traces";
/// Looks on one page: each needs two proofs from the ledger.
const PER_PAGE: usize = 10;
/// What all proofs of one page may take together.
const PROVE_WITHIN: Duration = Duration::from_secs(5);

/// The empty form.
pub(super) async fn page(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    serve(&app, "console-traces", OperatorRole::Auditor, request, |visit| async move {
        Ok(whole(&visit, &form(&visit)))
    })
    .await
}

/// The form, filled in.
pub(super) async fn found(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    serve(&app, "console-look-up", OperatorRole::Auditor, request, |visit| async move {
        let asked = asked(&visit)?;
        let (subject, reason) = (asked.subject.clone(), asked.reason.clone());
        let looks = look::recorded(&visit.app, &visit.operator.name, asked).await?;
        let shown = shown(&visit, looks).await?;
        Ok(whole(&visit, &html! { (result(&visit, &subject, &reason, &shown)) (form(&visit)) }))
    })
    .await
}

fn asked(v: &Visit) -> Result<LookRequest, Rejection> {
    let subject = Uscc::parse(v.form.text("subject").unwrap_or_default().trim());
    // says what is wrong with the code, never the code
    let subject = subject.map_err(|e| Rejection::new(reject::BAD_SUBJECT, e.to_string()))?;
    let reason = v.form.text("reason").unwrap_or_default().trim().to_owned();
    Ok(LookRequest { subject, reason })
}

fn whole(v: &Visit, content: &Markup) -> Markup {
    v.document(PATH, v.t(words::TRACES), PATH, &[], content)
}

fn form(v: &Visit) -> Markup {
    html! {
        form method="post" action=(v.link(PATH, &[])) autocomplete="off" {
            label for="subject" { (v.t(words::SUBJECT)) }
            input id="subject" name="subject" required maxlength="18" pattern="[0-9A-Z]{18}" spellcheck="false";
            label for="reason" { (v.t(words::REASON)) }
            input id="reason" name="reason" required minlength="4" maxlength="200";
            p class="soft" { (v.t(words::RECORDED)) }
            button type="submit" { (v.t(words::LOOK_UP)) }
        }
    }
}

/// One page of looks with what the ledger proves of them.
struct Shown {
    looks: Looks,
    total: usize,
    page: usize,
    pages: usize,
    authorizations: BTreeMap<AuthzId, AuthzState>,
    proofs: BTreeMap<(Height, u32, u32), Proof>,
}

enum Proof {
    /// fetched and verified here: header, transaction, receipt, both paths
    Verified,
    /// no endpoint gave one
    No(&'static str),
    /// not asked any more
    Late,
}

async fn shown(v: &Visit, mut looks: Looks) -> Result<Shown, Rejection> {
    let total = looks.looks.len();
    let pages = total.div_ceil(PER_PAGE).max(1);
    let page = v.form.number::<usize>("page").unwrap_or(1).clamp(1, pages);
    looks.looks.reverse(); // the newest first
    looks.looks = looks.looks.into_iter().skip((page - 1) * PER_PAGE).take(PER_PAGE).collect();
    let ids: Vec<AuthzId> = looks.looks.iter().map(|l| l.authz_id).collect();
    let app = Arc::clone(&v.app);
    let authorizations = blocking(move || authorizations(&app, &ids)).await?;
    let of_uses = looks.looks.iter().filter_map(|l| l.proof.as_ref());
    let of_uses = of_uses.map(|p| (p.height, p.tx_index, p.record_index));
    let of_authorizations = authorizations.values().map(|a| (a.accepted_at, a.tx_index, a.record_index));
    let places: Vec<_> = of_uses.chain(of_authorizations).collect();
    let proofs = prove(&v.app, places).await;
    Ok(Shown { looks, total, page, pages, authorizations, proofs })
}

fn authorizations(app: &App, ids: &[AuthzId]) -> Result<BTreeMap<AuthzId, AuthzState>, Rejection> {
    let state = app.state.read();
    let view = View::new(&state);
    let mut found = BTreeMap::new();
    for id in ids {
        if let Some(a) = view.authorization(id).map_err(Rejection::internal)? {
            found.insert(*id, a);
        }
    }
    Ok(found)
}

/// Proofs of records' places on the chain, as many as are got in time.
async fn prove(app: &App, places: Vec<(Height, u32, u32)>) -> BTreeMap<(Height, u32, u32), Proof> {
    let began = app.clock.instant();
    let mut proofs = BTreeMap::new();
    for place @ (height, tx, record) in places {
        if proofs.contains_key(&place) {
            continue;
        }
        let left = PROVE_WITHIN.saturating_sub(app.clock.instant().saturating_duration_since(began));
        let proof = match tokio::time::timeout(left, app.inclusion(height, tx, record)).await {
            Ok(Ok(_)) => Proof::Verified,
            Ok(Err(e)) => Proof::No(e.problem.name),
            Err(_) => Proof::Late,
        };
        proofs.insert(place, proof);
    }
    proofs
}

fn result(v: &Visit, subject: &Uscc, reason: &str, s: &Shown) -> Markup {
    html! {
        section aria-labelledby="result" {
            h2 id="result" { (v.t(words::LOOKS_AT)) " " code { (subject.expose()) } }
            p {
                (v.t(words::COUNT)) " " b { (s.total) } " · " (v.t(words::HEIGHT)) " " (s.looks.height)
                " · " (v.t(words::REASON)) ": " (reason)
            }
            @if !s.looks.complete { p class="note" { (v.t(words::INCOMPLETE)) } }
            @if s.looks.looks.is_empty() { p { (v.t(words::NOBODY)) } }
            @for l in &s.looks.looks { (one(v, l, s)) }
            (pager(v, subject, reason, s))
            (lookups(v, &s.looks))
        }
    }
}

/// The next page is another form of the same: the code stays in bodies.
fn pager(v: &Visit, subject: &Uscc, reason: &str, s: &Shown) -> Markup {
    let to = |page: usize, word: Word| {
        html! {
            form class="inline" method="post" action=(v.link(PATH, &[])) {
                input type="hidden" name="subject" value=(subject.expose());
                input type="hidden" name="reason" value=(reason);
                input type="hidden" name="page" value=(page);
                button type="submit" { (v.t(word)) }
            }
        }
    };
    html! {
        @if s.pages > 1 {
            div class="pager" {
                @if s.page > 1 { (to(s.page - 1, words::PREVIOUS)) }
                span { (v.t(words::PAGE)) " " (s.page) " / " (s.pages) }
                @if s.page < s.pages { (to(s.page + 1, words::NEXT)) }
            }
        }
    }
}

fn one(v: &Visit, l: &Look, s: &Shown) -> Markup {
    html! {
        article {
            h3 { (when(l.reserved)) " · " (l.asker_name) " (" (l.asker) ")" }
            dl {
                dt { (v.t(words::WHO)) } dd { (l.asker) " · " (v.t(words::OPERATOR_TAG)) " " code { (l.operator_tag) } }
                dt { (v.t(words::WHY)) } dd { (l.purpose.code()) " " (v.lang.of(l.purpose.labels())) }
                dt { (v.t(words::WHAT)) }
                dd { (l.dimensions.iter().map(|d| v.lang.of(d.labels())).collect::<Vec<_>>().join(" · ")) }
                dt { (v.t(words::USE)) } dd { code { (l.report_id) } }
                dt { (v.t(words::AUTHORIZATION)) } dd { (authorization(v, l, s)) }
                dt { (v.t(words::PROOF)) } dd { (proof(v, l, s)) }
                dt { (v.t(words::TOLD)) } dd { (told(v, l)) }
                dt { (v.t(words::DELIVERED)) }
                dd { @for (of, node) in &l.delivered_by { div { (v.t(side(*of))) " " (node) } } }
                dt { (v.t(words::GAPS)) }
                dd {
                    @if l.gaps.is_empty() { (mark(Tone::Good, v.t(words::NONE))) }
                    @for gap in &l.gaps { div { (finding(v, gap)) } }
                }
            }
        }
    }
}

fn authorization(v: &Visit, l: &Look, s: &Shown) -> Markup {
    html! {
        code { (l.authz_id) } " · " (v.t(level(l.level)))
        @match s.authorizations.get(&l.authz_id) {
            None => div class="soft" { (v.t(words::FORGOTTEN)) },
            Some(a) => {
                div { (v.t(words::IN_FORCE)) " " (when(a.record.not_before)) " – " (when(a.record.not_after)) }
                div { (v.t(words::USES)) " " (a.spent) " / " (a.record.max_uses) }
                @if let Some(height) = a.revoked {
                    div { (mark(Tone::Bad, v.t(words::REVOKED))) " " (v.t(words::BLOCK)) " " (height) }
                }
                div {
                    (place(v, a.accepted_at, a.tx_index, a.record_index)) " · "
                    (included(v, s.proofs.get(&(a.accepted_at, a.tx_index, a.record_index))))
                }
            }
        }
    }
}

fn place(v: &Visit, height: Height, tx: u32, record: u32) -> Markup {
    html! {
        (v.t(words::BLOCK)) " " (height) ", " (v.t(words::TRANSACTION)) " " (tx) ", " (v.t(words::RECORD)) " " (record)
    }
}

fn proof(v: &Visit, l: &Look, s: &Shown) -> Markup {
    html! {
        @match &l.proof {
            None => span class="soft" { (v.t(words::FORGOTTEN)) },
            Some(p) => {
                div { (place(v, p.height, p.tx_index, p.record_index)) }
                @if let Some(hash) = &p.block { div { (v.t(words::BLOCK_HASH)) " " code { (hash) } } }
                div {
                    @if p.commitment_matches {
                        (mark(Tone::Good, v.t(words::COMMITMENT_MATCHES)))
                    } @else {
                        (mark(Tone::Bad, v.t(words::COMMITMENT_DIFFERS)))
                    }
                }
                div { (included(v, s.proofs.get(&(p.height, p.tx_index, p.record_index)))) }
            }
        }
    }
}

fn included(v: &Visit, proof: Option<&Proof>) -> Markup {
    match proof {
        Some(Proof::Verified) => mark(Tone::Good, v.t(words::INCLUDED)),
        Some(Proof::No(why)) => html! { (mark(Tone::Bad, v.t(words::NOT_INCLUDED))) " " code { (why) } },
        Some(Proof::Late) | None => mark(Tone::Wait, v.t(words::PROOF_LATE)),
    }
}

fn told(v: &Visit, l: &Look) -> Markup {
    let one = |t: &Trace| {
        html! {
            div {
                (v.t(side(t.side))) " → " (t.source) ": " (v.t(status(t.status)))
                @if let Some(leaf) = &t.reply_leaf { " · " (v.t(words::REPLY_LEAF)) " " code { (leaf) } }
            }
        }
    };
    html! {
        @if l.traces.is_empty() { (v.t(words::NONE)) }
        @for t in &l.traces { (one(t)) }
    }
}

fn finding(v: &Visit, f: &Finding) -> Markup {
    let (word, node) = gap(&f.gap);
    let (tone, late) = if f.overdue { (Tone::Bad, words::OVERDUE) } else { (Tone::Wait, words::NOT_YET_DUE) };
    html! { (mark(tone, v.t(word))) @if let Some(node) = node { " " (node) } " (" (v.t(late)) ")" }
}

fn lookups(v: &Visit, looks: &Looks) -> Markup {
    html! {
        h3 { (v.t(words::OWN_LOOKUPS)) }
        table {
            caption { (v.t(words::OWN_CAPTION)) }
            thead { tr { @for c in [words::WHEN, words::WHO, words::REASON] { th scope="col" { (v.t(c)) } } } }
            tbody {
                @for (at, who, why) in looks.lookups.iter().rev().take(100) {
                    tr { td { (when(*at)) } td { (who) } td { (why) } }
                }
            }
        }
    }
}

fn side(s: Side) -> Word {
    match s {
        Side::Asker => words::ASKER,
        Side::Source => words::SOURCE,
    }
}

fn level(l: EvidenceLevel) -> Word {
    match l {
        EvidenceLevel::Signed => words::LEVEL_SIGNED,
        EvidenceLevel::Sealed => words::LEVEL_SEALED,
        EvidenceLevel::Asserted => words::LEVEL_ASSERTED,
    }
}

fn status(s: TraceStatus) -> Word {
    match s {
        TraceStatus::Answered => words::ANSWERED,
        TraceStatus::Empty => words::EMPTY,
        TraceStatus::Refused => words::SOURCE_REFUSED,
        TraceStatus::Missing => words::MISSING,
    }
}

fn gap(g: &Gap) -> (Word, Option<&NodeId>) {
    match g {
        Gap::AskerUntraced => (words::GAP_ASKER_UNTRACED, None),
        Gap::AskerUndelivered => (words::GAP_ASKER_UNDELIVERED, None),
        Gap::SourceUndelivered { source } => (words::GAP_SOURCE_UNDELIVERED, Some(source)),
        Gap::SourceUntraced { source } => (words::GAP_SOURCE_UNTRACED, Some(source)),
        Gap::AskerDenies { source } => (words::GAP_ASKER_DENIES, Some(source)),
        Gap::RepliesDiffer { source } => (words::GAP_REPLIES_DIFFER, Some(source)),
        Gap::OpeningsDiffer { node } => (words::GAP_OPENINGS_DIFFER, Some(node)),
    }
}
