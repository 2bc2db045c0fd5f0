//! `/man/v1/…` for other gateways, over the MAN listener.

use super::call::{self, Bounds, Reply, parse_json};
use crate::{
    app::App,
    attester::wire::{
        ACTIVATED_PATH, ACTIVATION_PATH, CHALLENGE_PATH, EVIDENCE_PATH, Opened, SUMMONS_PATH, Told,
    },
    man_client::{DELIVERY_PATH, QUERY_PATH},
    pipeline,
    reject::{self, Rejection},
    stages::identify,
    supervisor::{
        attest::{self, summons::HOLD},
        intake,
    },
};
use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{Request, Response},
    routing::post,
};
use gw_attest::evidence::MAX_BUNDLE_BYTES;
use gw_proto::{
    Hex, Role,
    message::{Delivery, MAX_REQUEST_BYTES, SignedRequest},
};
use std::{sync::Arc, time::Duration};

/// Only the operations of this gateway's roles exist.
pub(super) fn routes(app: &App) -> axum::Router<Arc<App>> {
    let mut router = axum::Router::new();
    if app.has(Role::Source) {
        router = router.route(QUERY_PATH, post(answer_query));
    }
    if app.has(Role::Supervisor) {
        router = router
            .route(DELIVERY_PATH, post(take_delivery))
            .route(ACTIVATION_PATH, post(activation))
            .route(ACTIVATED_PATH, post(activated))
            .route(CHALLENGE_PATH, post(challenge))
            .route(SUMMONS_PATH, post(summons))
            .route(EVIDENCE_PATH, post(take_evidence));
    }
    router
}

fn bounds(app: &App) -> Bounds {
    let body_time = app.config.listen.man.as_ref().map_or(Duration::from_secs(5), |l| l.limits.body_timeout);
    Bounds { body_bytes: MAX_REQUEST_BYTES, body_time, budget: app.config.query.budget }
}

async fn answer_query(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "answer-query", request, |app, call| async move {
        // before its body is parsed; the pipeline's own first stage does it again
        identify::node(&app, call.accepted.clone())?;
        let signed: SignedRequest = parse_json(&call.headers, &call.body)?;
        let answered = pipeline::respond(&app, call.accepted, signed).await?;
        Ok(Reply::json(answered.message())?.quotas(answered.quotas().to_vec()))
    })
    .await
}

async fn take_delivery(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "take-delivery", request, |app, call| async move {
        let from = identify::node(&app, call.accepted)?;
        let delivery: Delivery = parse_json(&call.headers, &call.body)?;
        let work = Arc::clone(&app);
        // SQLite with fsync: off the runtime's threads
        let new = tokio::task::spawn_blocking(move || intake::accept(&work, &from, &delivery))
            .await
            .map_err(Rejection::internal)??;
        Reply::json(&serde_json::json!({ "kept": true, "new": new }))
    })
    .await
}

async fn challenge(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "challenge", request, |app, call| async move {
        let node = identify::node(&app, call.accepted)?;
        let work = Arc::clone(&app);
        // it reads SQLite: off the runtime's threads
        let asked = tokio::task::spawn_blocking(move || attest::challenge(&work, &node))
            .await
            .map_err(Rejection::internal)??;
        Reply::json(&asked)
    })
    .await
}

async fn summons(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    // the listener cuts an exchange off after its own time
    let most = app.config.listen.man.as_ref().map_or(HOLD, |l| l.limits.exchange_timeout / 2);
    let bounds = Bounds { budget: HOLD + Duration::from_secs(5), ..bounds(&app) };
    call::run(&app, bounds, "summons", request, |app, call| async move {
        let node = identify::node(&app, call.accepted)?;
        Reply::json(&attest::summons::hold(&app, &node, most).await?)
    })
    .await
}

async fn activation(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "activation", request, |app, call| async move {
        let node = identify::node(&app, call.accepted)?;
        let work = Arc::clone(&app);
        let asked = tokio::task::spawn_blocking(move || attest::activate::ask(&work, &node))
            .await
            .map_err(Rejection::internal)??;
        Reply::json(&asked)
    })
    .await
}

async fn activated(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response<Body> {
    call::run(&app, bounds(&app), "activated", request, |app, call| async move {
        let node = identify::node(&app, call.accepted)?;
        let id = number(id)?;
        let opened: Opened = parse_json(&call.headers, &call.body)?;
        let work = Arc::clone(&app);
        tokio::task::spawn_blocking(move || attest::activate::answer(&work, &node, &id, &opened.secret))
            .await
            .map_err(Rejection::internal)??;
        Reply::json(&serde_json::json!({ "activated": true }))
    })
    .await
}

/// A nonce or number out of a path.
fn number(text: Result<Path<String>, PathRejection>) -> Result<Hex<32>, Rejection> {
    Hex::parse(&text.map(|Path(text)| text).unwrap_or_default())
        .map_err(|_| Rejection::new(reject::MALFORMED, "a nonce has 64 lower-case hex digits"))
}

async fn take_evidence(
    State(app): State<Arc<App>>,
    nonce: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response<Body> {
    let bounds = Bounds { body_bytes: MAX_BUNDLE_BYTES, ..bounds(&app) };
    call::run(&app, bounds, "take-evidence", request, |app, call| async move {
        let node = identify::node(&app, call.accepted)?;
        let nonce = number(nonce)?;
        let work = Arc::clone(&app);
        let verdict =
            tokio::task::spawn_blocking(move || attest::appraise::appraise(&work, &node, &nonce, &call.body))
                .await
                .map_err(Rejection::internal)??;
        Reply::json(&Told::of(&verdict))
    })
    .await
}
