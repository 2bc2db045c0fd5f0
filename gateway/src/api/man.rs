//! `/man/v1/…` for other gateways, over the MAN listener.

use super::call::{self, Bounds, Reply, parse_json};
use crate::{
    app::App,
    man_client::{DELIVERY_PATH, QUERY_PATH},
    pipeline,
    reject::Rejection,
    stages::identify,
    supervisor::intake,
};
use axum::{
    body::Body,
    extract::State,
    http::{Request, Response},
    routing::post,
};
use gw_proto::{
    Role,
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
        router = router.route(DELIVERY_PATH, post(take_delivery));
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
