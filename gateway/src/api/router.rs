//! A listener's router: its routes, as far as the table of operations has them, and what else is asked.
//!
//! A path or method that is not there gets a problem document like every other refusal. A route without a row
//! in [`operations::TABLE`] is not there: nobody has said who may call it.

use super::{
    admin, bank,
    call::{self, Bounds},
    man, operations,
};
use crate::{
    app::App,
    listen::ListenerKind,
    reject::{self, Rejection},
};
use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, State},
    http::{HeaderValue, Request, Response, header},
    middleware::{Next, from_fn_with_state},
};
use std::{sync::Arc, time::Duration};

/// What answers on a listener.
pub fn router(listener: ListenerKind, app: &Arc<App>) -> Router {
    let routes = match listener {
        ListenerKind::Bank => bank::routes(),
        ListenerKind::Man => man::routes(app),
        ListenerKind::Admin => admin::routes(app),
    };
    guarded(listener, routes, app)
}

fn guarded(listener: ListenerKind, routes: Router<Arc<App>>, app: &Arc<App>) -> Router {
    routes
        .layer(from_fn_with_state((listener, Arc::clone(app)), listed_only))
        .fallback(not_found)
        .with_state(Arc::clone(app))
}

async fn listed_only(
    State((listener, app)): State<(ListenerKind, Arc<App>)>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let Some(path) = request.extensions().get::<MatchedPath>().cloned() else {
        return next.run(request).await; // the fallback
    };
    let allowed = operations::methods(listener, path.as_str());
    if allowed.is_empty() {
        tracing::error!(path = path.as_str(), "a route without a row in the table of operations");
        not_found(State(app), request).await
    } else if allowed.contains(&request.method().as_str()) {
        next.run(request).await
    } else {
        wrong_method(&app, request, &allowed).await
    }
}

const SMALL: Bounds =
    Bounds { body_bytes: 64 * 1024, body_time: Duration::from_secs(2), budget: Duration::from_secs(5) };

async fn not_found(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, SMALL, "unknown", request, |_, _| async move {
        Err(Rejection::new(reject::NOT_FOUND, "no such path on this listener of a gateway with these roles"))
    })
    .await
}

/// 405 says what is allowed (RFC 9110 §15.5.6).
async fn wrong_method(app: &Arc<App>, request: Request<Body>, allowed: &[&str]) -> Response<Body> {
    let mut response = call::run(app, SMALL, "unknown", request, |_, _| async move {
        Err(Rejection::new(reject::METHOD, "the path is there, but not with this method"))
    })
    .await;
    if let Ok(value) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

#[cfg(test)]
#[cfg(feature = "dev")]
mod tests {
    use super::*;
    use crate::testkit::Consortium;
    use axum::routing::{delete, get};
    use http::StatusCode;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    /// Status and problem type of a stranger's request; also that the answer is one of ours.
    async fn probe(
        c: &Consortium,
        router: &Router,
        listener: ListenerKind,
        method: &str,
        path: &str,
    ) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(c.stranger(listener));
        let response = router.clone().oneshot(request).await.unwrap();
        assert!(response.headers().contains_key("traceparent"), "{method} {path}: not through call::run");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let problem = document["type"].as_str().unwrap_or_default().replace("urn:xinguan:problem:", "");
        if parts.status == StatusCode::METHOD_NOT_ALLOWED {
            assert!(parts.headers.contains_key(header::ALLOW), "{method} {path}");
        }
        (parts.status.as_u16(), problem)
    }

    #[tokio::test]
    async fn every_row_has_a_route_and_every_route_a_row() {
        let c = Consortium::new();
        let mut gateways = Vec::new();
        for node in ["bank-suzhou-1", "bureau-hangzhou-1", "pboc-shanghai-1"] {
            gateways.push(c.build(node, "").await);
        }
        for row in operations::TABLE {
            let path = row.path.replace("{id}", &"0".repeat(64));
            let mut answers = Vec::new();
            for g in &gateways {
                let router = router(row.listener, g.app());
                let (status, problem) = probe(&c, &router, row.listener, row.method, &path).await;
                answers.push(problem.clone());
                // not the others' methods
                let (wrong, _) = probe(&c, &router, row.listener, "PATCH", &path).await;
                let there = !matches!(status, 404 | 405);
                assert_eq!(wrong, if there { 405 } else { 404 }, "PATCH {path}: {status} {problem}");
            }
            assert!(answers.iter().any(|a| a != "not-found"), "{} {} has no route", row.method, row.path);
        }
        let app = gateways[0].app();
        for listener in [ListenerKind::Bank, ListenerKind::Man, ListenerKind::Admin] {
            let (status, problem) = probe(&c, &router(listener, app), listener, "GET", "/v2/reports").await;
            assert_eq!((status, problem.as_str()), (404, "not-found"));
        }
        // somebody adds a path, or a method to a path, and forgets who may call it
        let routes = bank::routes().route("/v1/everything", get(|| async { "all of it" }));
        let routes = routes.route("/v1/catalogue", delete(|| async { "gone" }));
        let bent = guarded(ListenerKind::Bank, routes, app);
        assert_eq!(probe(&c, &bent, ListenerKind::Bank, "GET", "/v1/everything").await.0, 404);
        assert_eq!(probe(&c, &bent, ListenerKind::Bank, "DELETE", "/v1/catalogue").await.0, 405);
        // a path that is no text
        let bank = router(ListenerKind::Bank, app);
        let (status, problem) = probe(&c, &bank, ListenerKind::Bank, "GET", "/v1/authorizations/%ff").await;
        assert_eq!((status, problem.as_str()), (403, "caller-not-listed"));
    }

    /// The document's paths are the table's, but for the two pages that describe the others.
    #[test]
    fn the_document_has_every_operation_of_the_bank() {
        let document = serde_json::to_value(bank::document()).unwrap();
        let mut documented = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                documented.push((method.to_uppercase(), path.clone()));
            }
        }
        let rows = operations::TABLE.iter().filter(|o| o.listener == ListenerKind::Bank);
        let rows = rows.filter(|o| !["/openapi.json", "/problems"].contains(&o.path));
        let mut rows: Vec<_> = rows.map(|o| (o.method.to_owned(), o.path.to_owned())).collect();
        documented.sort();
        rows.sort();
        assert_eq!(documented, rows);
    }

    #[tokio::test]
    async fn a_draining_gateway_refuses_work_and_shows_itself() {
        let c = Consortium::new();
        let gateway = c.build("bank-suzhou-1", "").await;
        gateway.app().begin_draining();
        let ask = |listener, method, path| {
            let router = router(listener, gateway.app());
            let c = &c;
            async move { probe(c, &router, listener, method, path).await.1 }
        };
        assert_eq!(ask(ListenerKind::Bank, "GET", "/v1/catalogue").await, "draining");
        assert_eq!(ask(ListenerKind::Admin, "GET", "/readyz").await, "caller-not-listed");
    }
}
