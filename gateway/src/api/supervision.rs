//! What a supervisor's people do with devices: ask for evidence, propose and decide, see who did what.
//!
//! | path | role | what |
//! |---|---|---|
//! | `POST /admin/v1/devices/{id}/challenge` | operator | evidence now, and the verdict on it |
//! | `GET /admin/v1/policy` | view | what evidence is judged by |
//! | `POST /admin/v1/proposals` | operator | propose to end or replace an enrolment |
//! | `GET /admin/v1/proposals` | view or operator | those that wait, and the newest others |
//! | `POST …/{id}/approval` | operator, another person | approve, and have it done |
//! | `POST …/{id}/refusal` | operator, another person | refuse, with a reason |
//! | `POST …/{id}/withdrawal` | operator, the same person | take back, with a reason |
//! | `GET /admin/v1/audit?after=N` | auditor | the audit trail, a page at a time |

use super::{
    admin::bounds,
    call::{self, Bounds, Call, Reply, parse_json},
};
use crate::{
    app::App,
    reject::{self, Rejection},
    stages::identify::{self, OperatorRole},
    supervisor::{
        attest::{
            fleet, rules,
            summons::{self, ANSWER_WITHIN},
        },
        audit,
        four_eyes::{
            self, Proposed, Why,
            rules::{Decision, Person},
        },
    },
};
use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{Request, Response},
    routing::{get, post},
};
use std::{sync::Arc, time::Duration};

/// Of a supervisor.
pub(super) fn routes() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route("/admin/v1/devices/{id}/challenge", post(challenge))
        .route("/admin/v1/policy", get(policy))
        .route("/admin/v1/proposals", get(list).post(propose))
        .route("/admin/v1/proposals/{id}/approval", post(approve))
        .route("/admin/v1/proposals/{id}/refusal", post(refuse))
        .route("/admin/v1/proposals/{id}/withdrawal", post(withdraw))
        .route("/admin/v1/audit", get(trail))
}

async fn challenge(State(app): State<Arc<App>>, id: Id, request: Request<Body>) -> Response<Body> {
    let bounds = Bounds { budget: ANSWER_WITHIN + Duration::from_secs(5), ..bounds(&app) };
    call::run(&app, bounds, "challenge-device", request, |app, call| async move {
        let who = identify::operator(&app, call.accepted, OperatorRole::Operator)?;
        let device = fleet::device(&id.map(|Path(device)| device).unwrap_or_default())?;
        Reply::json(&summons::now(&app, who.name(), &device).await?)
    })
    .await
}

async fn policy(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "policy", request, |app, call| async move {
        identify::operator(&app, call.accepted, OperatorRole::View)?;
        Reply::json(&rules::show(&app)?)
    })
    .await
}

type Id = Result<Path<String>, PathRejection>;

fn number(id: Id) -> Result<u64, Rejection> {
    let nothing = || Rejection::new(reject::NOT_FOUND, "there is no such proposal");
    id.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(nothing)
}

fn actor(app: &App, call: &Call) -> Result<Person, Rejection> {
    let who = identify::operator(app, call.accepted.clone(), OperatorRole::Operator)?;
    four_eyes::person(app, &who)
}

async fn propose(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "propose", request, |app, call| async move {
        let who = actor(&app, &call)?;
        let asked: Proposed = parse_json(&call.headers, &call.body)?;
        Reply::json(&four_eyes::propose(&app, who, asked).await?)
    })
    .await
}

async fn list(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "proposals", request, |app, call| async move {
        identify::operator_with(&app, call.accepted, &[OperatorRole::View, OperatorRole::Operator])?;
        let work = Arc::clone(&app);
        let found = tokio::task::spawn_blocking(move || four_eyes::list(&work));
        Reply::json(&found.await.map_err(Rejection::internal)??)
    })
    .await
}

async fn approve(State(app): State<Arc<App>>, id: Id, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "approve", request, |app, call| async move {
        let who = actor(&app, &call)?;
        Reply::json(&four_eyes::decide(&app, who, number(id)?, Decision::Approve).await?)
    })
    .await
}

async fn refuse(State(app): State<Arc<App>>, id: Id, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "refuse", request, |app, call| async move {
        let who = actor(&app, &call)?;
        let why: Why = parse_json(&call.headers, &call.body)?;
        Reply::json(&four_eyes::decide(&app, who, number(id)?, Decision::Refuse(why.reason)).await?)
    })
    .await
}

async fn withdraw(State(app): State<Arc<App>>, id: Id, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "withdraw", request, |app, call| async move {
        let who = actor(&app, &call)?;
        let why: Why = parse_json(&call.headers, &call.body)?;
        Reply::json(&four_eyes::decide(&app, who, number(id)?, Decision::Withdraw(why.reason)).await?)
    })
    .await
}

async fn trail(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "audit", request, |app, call| async move {
        identify::operator(&app, call.accepted, OperatorRole::Auditor)?;
        let after = form_urlencoded::parse(call.query.as_bytes()).find(|(name, _)| name == "after");
        let after = after.map_or(Ok(0), |(_, n)| n.parse());
        let after = after.map_err(|_| Rejection::new(reject::MALFORMED, "`after` is the number of a row"))?;
        let work = Arc::clone(&app);
        let found = tokio::task::spawn_blocking(move || audit::read(&work, after));
        Reply::json(&found.await.map_err(Rejection::internal)??)
    })
    .await
}
