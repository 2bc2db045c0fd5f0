//! `/admin/v1/…`, health, readiness and metrics, over the admin listener.
//!
//! | path | role | what |
//! |---|---|---|
//! | `GET /healthz` | any listed operator | the process lives |
//! | `GET /readyz` | any listed operator | it can serve; else 503 with every reason |
//! | `GET /metrics` | any listed operator | Prometheus text |
//! | `GET /admin/v1/status` | view | node, height, freshness, journal, outbox, signer |
//! | `GET /admin/v1/verdicts/{id}` | view | each supervisor's word on a gateway, as the ledger has it |
//! | `POST /admin/v1/looks` | auditor | who looked at a firm (supervisor) |
//! | `GET /admin/v1/reconciliation` | auditor | uses with gaps (supervisor) |
//! | `POST /admin/v1/enrolments` | operator | enrol a device, or approve its configuration (supervisor) |
//! | `GET /admin/v1/devices` | view | each device's verdict, and what is to blame (supervisor) |
//! | `GET /admin/v1/devices/{id}/appraisal` | auditor | what its newest verdict rests on (supervisor) |
//! | `/admin/v1/proposals…`, `…/audit`, `…/policy`, `…/devices/{id}/challenge` | by path | [`supervision`] |
//! | `POST /admin/v1/drain` | operator | take no new requests |
//! | `GET /console/…` | by page | the supervisor's web console, `supervisor/console/` |

use super::{
    call::{self, Bounds, Call, Reply, parse_json},
    supervision,
};
use crate::{
    app::App,
    attester::Enrolment,
    readiness,
    reject::Rejection,
    stages::identify::{self, IdentifiedOperator, OperatorRole},
    supervisor::{
        attest::{enrol as enrolment, fleet},
        console,
        look::{self, LookRequest},
    },
};
use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{Request, Response, StatusCode},
    routing::{get, post},
};
use gw_proto::Role;
use std::{sync::Arc, time::Duration};

/// Only the operations of this gateway's roles exist.
pub(super) fn routes(app: &App) -> axum::Router<Arc<App>> {
    let mut router = axum::Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .route("/admin/v1/status", get(status))
        .route("/admin/v1/verdicts/{id}", get(verdicts))
        .route("/admin/v1/drain", post(drain));
    if app.has(Role::Supervisor) {
        router = router
            .route("/admin/v1/looks", post(looks))
            .route("/admin/v1/reconciliation", get(reconciliation))
            .route("/admin/v1/enrolments", post(enrol))
            .route("/admin/v1/devices", get(devices))
            .route("/admin/v1/devices/{id}/appraisal", get(appraisal))
            .merge(supervision::routes())
            .merge(console::routes());
    }
    router
}

pub(super) fn bounds(app: &App) -> Bounds {
    let l = &app.config.listen.admin.limits;
    Bounds { body_bytes: 64 * 1024, body_time: l.body_timeout, budget: Duration::from_secs(20) }
}

/// Any operator of the configuration, whatever its roles.
fn anyone(app: &App, call: Call) -> Result<IdentifiedOperator, Rejection> {
    let spki = call.accepted.conn.cert.spki;
    let roles =
        app.config.operators.iter().find(|o| o.spki == spki).map(|o| o.roles.as_slice()).unwrap_or_default();
    let role = roles.first().copied().unwrap_or(OperatorRole::View);
    identify::operator(app, call.accepted, role)
}

async fn health(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "health", request, |app, call| async move {
        anyone(&app, call)?;
        Reply::json(
            &serde_json::json!({ "status": "alive", "node": app.node, "version": env!("CARGO_PKG_VERSION") }),
        )
    })
    .await
}

async fn ready(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "ready", request, |app, call| async move {
        anyone(&app, call)?;
        let found = readiness::check(&app);
        let status = if found.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Ok(Reply::json(&found)?.status(status))
    })
    .await
}

async fn show_metrics(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "metrics", request, |app, call| async move {
        anyone(&app, call)?;
        readiness::gauges(&app);
        Ok(Reply {
            status: StatusCode::OK,
            body: app.metrics.render().into_bytes(),
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            quotas: Vec::new(),
        })
    })
    .await
}

async fn status(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "status", request, |app, call| async move {
        identify::operator(&app, call.accepted, OperatorRole::View)?;
        Reply::json(&readiness::status(&app))
    })
    .await
}

async fn verdicts(
    State(app): State<Arc<App>>,
    node: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response<Body> {
    call::run(&app, bounds(&app), "verdicts", request, |app, call| async move {
        identify::operator(&app, call.accepted, OperatorRole::View)?;
        let node = fleet::device(&node.map(|Path(node)| node).unwrap_or_default())?;
        Reply::json(&fleet::on_ledger(&app, &node)?)
    })
    .await
}

async fn drain(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "drain", request, |app, call| async move {
        let who = identify::operator(&app, call.accepted, OperatorRole::Operator)?;
        app.audit(who.name(), "drain", serde_json::Value::Null).await?;
        app.begin_draining();
        Reply::json(&serde_json::json!({ "draining": true }))
    })
    .await
}

async fn looks(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "looks", request, |app, call| async move {
        let who = identify::operator(&app, call.accepted.clone(), OperatorRole::Auditor)?;
        let asked: LookRequest = parse_json(&call.headers, &call.body)?;
        Reply::json(&look::recorded(&app, who.name(), asked).await?)
    })
    .await
}

async fn reconciliation(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "reconciliation", request, |app, call| async move {
        identify::operator(&app, call.accepted, OperatorRole::Auditor)?;
        let work = Arc::clone(&app);
        let found = tokio::task::spawn_blocking(move || look::reconciliation(&work, 200))
            .await
            .map_err(Rejection::internal)??;
        Reply::json(&found)
    })
    .await
}

async fn enrol(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "enrol", request, |app, call| async move {
        let who = identify::operator(&app, call.accepted.clone(), OperatorRole::Operator)?;
        let record: Enrolment = parse_json(&call.headers, &call.body)?;
        let new = enrolment::enrol(&app, who.name(), record).await?;
        Reply::json(&serde_json::json!({ "enrolled": true, "new": new }))
    })
    .await
}

async fn devices(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "devices", request, |app, call| async move {
        identify::operator(&app, call.accepted, OperatorRole::View)?;
        let work = Arc::clone(&app);
        let found =
            tokio::task::spawn_blocking(move || fleet::show(&work)).await.map_err(Rejection::internal)??;
        Reply::json(&found)
    })
    .await
}

async fn appraisal(
    State(app): State<Arc<App>>,
    device: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response<Body> {
    call::run(&app, bounds(&app), "appraisal", request, |app, call| async move {
        let who = identify::operator(&app, call.accepted, OperatorRole::Auditor)?;
        let device = fleet::device(&device.map(|Path(device)| device).unwrap_or_default())?;
        app.audit(who.name(), "appraisal", serde_json::json!({ "device": &device })).await?;
        let work = Arc::clone(&app);
        let found = tokio::task::spawn_blocking(move || fleet::export(&work, &device))
            .await
            .map_err(Rejection::internal)??;
        Reply::json(&found)
    })
    .await
}
