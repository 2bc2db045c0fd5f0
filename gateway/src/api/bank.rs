//! `/v1/…` for the institution's own systems.
//!
//! The document at `/openapi.json` is generated from these functions.

use super::{
    call::{self, Bounds, Call, Reply, parse_json},
    dto::{
        AnswerShape, AuthorizationState, AuthorizationUpload, ProblemShape, ReportRequest, RevocationRequest,
        UseList, UseState,
    },
};
use crate::{
    app::App,
    documents::{Authorized, IdempotencyScope},
    pipeline,
    reject::{self, Rejection},
    stages::{
        Accepted,
        authorize::{self, Query},
        identify::{self, OperatorRole},
    },
};
use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, Request, Response, StatusCode},
};
use gw_policy::View;
use gw_proto::{
    AuthzId,
    record::{Authorization, Record, Revocation},
};
use std::{sync::Arc, time::Duration};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The OpenAPI document's frame; paths come from the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Xinguan bank API",
        version = "1",
        description = "For the internal systems of an institution. Mutual TLS 1.3; the client certificate's key is listed as an operator in the gateway's configuration. Every refusal is an RFC 9457 document of a type that /problems lists.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemShape))
)]
struct Document;

fn documented() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(upload_authorization))
        .routes(routes!(show_authorization))
        .routes(routes!(revoke_authorization))
        .routes(routes!(ask_report))
        .routes(routes!(list_traces))
        .routes(routes!(show_catalogue))
        .routes(routes!(show_catalogue_schema))
}

/// The OpenAPI 3.1 document.
pub fn document() -> utoipa::openapi::OpenApi {
    documented().into_openapi()
}

/// The routes.
pub(super) fn routes() -> axum::Router<Arc<App>> {
    let (router, document) = documented().split_for_parts();
    router
        .route("/openapi.json", axum::routing::get(move |s, r| show_document(s, r, document.clone())))
        .route("/problems", axum::routing::get(show_problems))
}

fn bounds(app: &App) -> Bounds {
    let l = app.config.listen.bank.as_ref().map(|l| &l.limits);
    Bounds {
        body_bytes: l.map_or(64 * 1024, |l| l.body_bytes),
        body_time: l.map_or(Duration::from_secs(5), |l| l.body_timeout),
        budget: app.config.query.budget,
    }
}

fn operator(
    app: &App,
    accepted: Accepted,
    role: OperatorRole,
) -> Result<identify::IdentifiedOperator, Rejection> {
    identify::operator(app, accepted, role)
}

/// Upload an enterprise's authorization.
///
/// Checks form, holder, evidence and caps, writes the AUTHORIZATION record (a commitment, no code) and waits
/// until a verified block accepts it. The same statement again is not an error.
#[utoipa::path(post, path = "/v1/authorizations", operation_id = "uploadAuthorization",
    request_body = AuthorizationUpload,
    responses(
        (status = 201, description = "accepted by the ledger", body = AuthorizationState),
        (status = "4XX", description = "refused", body = ProblemShape, content_type = "application/problem+json"),
        (status = "5XX", description = "failed", body = ProblemShape, content_type = "application/problem+json")))]
async fn upload_authorization(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "upload-authorization", request, |app, call| async move {
        operator(&app, call.accepted.clone(), OperatorRole::Upload)?;
        let upload: AuthorizationUpload = parse_json(&call.headers, &call.body)?;
        authorize::check_upload(&app, &upload.statement, &upload.evidence)?;
        let record = Authorization::of(&upload.statement).map_err(Rejection::internal)?;
        let id = record.id;
        let documents = Authorized { statement: upload.statement, evidence: upload.evidence };
        let work = Arc::clone(&app);
        // waits for the disk: off the runtime's threads
        tokio::task::spawn_blocking(move || work.documents.keep(&id, &documents))
            .await
            .map_err(Rejection::internal)?
            .map_err(Rejection::internal)?;
        if authorization_state(&app, &id)?.is_none() {
            app.write_record(Record::Authorization(record), &call.accepted.budget).await?;
        }
        let state = authorization_state(&app, &id)?.ok_or_else(|| {
            Rejection::new(reject::LEDGER_DOWN, "the record stands in a block but not in the state")
        })?;
        Ok(Reply::json(&state)?.status(StatusCode::CREATED))
    })
    .await
}

fn authorization_state(app: &App, id: &AuthzId) -> Result<Option<AuthorizationState>, Rejection> {
    let state = app.state.read();
    let view = View::new(&state);
    let found = view.authorization(id).map_err(Rejection::internal)?;
    Ok(found.filter(|a| a.record.holder == app.institution).map(|a| AuthorizationState {
        authorization_id: *id,
        level: a.record.level,
        not_before: a.record.not_before,
        not_after: a.record.not_after,
        max_uses: a.record.max_uses,
        uses_spent: a.spent,
        revoked: a.revoked.is_some(),
        accepted_at: a.accepted_at,
    }))
}

/// The id in a path; one that is no text at all (`%ff`) is no id either.
type IdInPath = Result<Path<String>, PathRejection>;

fn id_of(path: IdInPath) -> Result<AuthzId, Rejection> {
    parse_id(&path.map(|Path(id)| id).unwrap_or_default())
}

fn parse_id(text: &str) -> Result<AuthzId, Rejection> {
    text.parse()
        .map_err(|_| Rejection::new(reject::NOT_FOUND, "an authorization id has 64 lower-case hex digits"))
}

/// Where an authorization of this institution stands.
#[utoipa::path(get, path = "/v1/authorizations/{id}", operation_id = "showAuthorization",
    params(("id" = String, Path, description = "authorization id, 64 hex digits")),
    responses(
        (status = 200, description = "as the verified ledger has it", body = AuthorizationState),
        (status = "4XX", description = "refused", body = ProblemShape, content_type = "application/problem+json")))]
async fn show_authorization(
    State(app): State<Arc<App>>,
    id: IdInPath,
    request: Request<Body>,
) -> Response<Body> {
    call::run(&app, bounds(&app), "show-authorization", request, |app, call| async move {
        operator(&app, call.accepted, OperatorRole::View)?;
        let found = authorization_state(&app, &id_of(id)?)?;
        Reply::json(
            &found.ok_or_else(|| {
                Rejection::new(reject::NOT_FOUND, "no such authorization of this institution")
            })?,
        )
    })
    .await
}

/// End an authorization of this institution.
#[utoipa::path(post, path = "/v1/authorizations/{id}/revocation", operation_id = "revokeAuthorization",
    params(("id" = String, Path, description = "authorization id, 64 hex digits")),
    request_body = RevocationRequest,
    responses(
        (status = 200, description = "revoked in a verified block", body = AuthorizationState),
        (status = "4XX", description = "refused", body = ProblemShape, content_type = "application/problem+json"),
        (status = "5XX", description = "failed", body = ProblemShape, content_type = "application/problem+json")))]
async fn revoke_authorization(
    State(app): State<Arc<App>>,
    id: IdInPath,
    request: Request<Body>,
) -> Response<Body> {
    call::run(&app, bounds(&app), "revoke-authorization", request, |app, call| async move {
        operator(&app, call.accepted.clone(), OperatorRole::Upload)?;
        let id = id_of(id)?;
        let wanted: RevocationRequest = parse_json(&call.headers, &call.body)?;
        let missing = || Rejection::new(reject::AUTHZ_MISSING, "no such authorization of this institution");
        let found = authorization_state(&app, &id)?.ok_or_else(missing)?;
        if !found.revoked {
            let record = Record::Revocation(Revocation { authz_id: id, preimage: wanted.preimage });
            app.write_record(record, &call.accepted.budget).await?;
        }
        Reply::json(&authorization_state(&app, &id)?.ok_or_else(missing)?)
    })
    .await
}

/// Ask for a report across regions.
///
/// Spends one use. With an `Idempotency-Key` (1 to 200 visible ASCII characters, 10 minutes) a repetition
/// gets the same use's report, never a second use. A source that is missing is named in the report.
#[utoipa::path(post, path = "/v1/reports", operation_id = "askReport",
    request_body = ReportRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 200 visible ASCII characters")),
    responses(
        (status = 200, description = "the report, its signature and proofs", body = AnswerShape),
        (status = "4XX", description = "refused", body = ProblemShape, content_type = "application/problem+json"),
        (status = "5XX", description = "failed", body = ProblemShape, content_type = "application/problem+json")))]
async fn ask_report(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "ask-report", request, |app, call| async move {
        // before anything of the request is read, and before a key is claimed: a stranger learns nothing and
        // cannot block another operator's key
        let who = operator(&app, call.accepted.clone(), OperatorRole::Query)?;
        let key = idempotency_key(&call.headers)?;
        let query = parse_query(&call, key.as_deref())?;
        let scope = key.map(|key| IdempotencyScope::new(&app.institution, who.name(), &key));
        let work = Arc::clone(&app);
        let query = async move {
            let running =
                || Rejection::new(reject::IDEMPOTENCY_RUNNING, "a request with this key has not ended yet");
            // held until the query has ended, not until its caller hangs up
            let _claim = scope.map(|s| work.documents.claim(s).ok_or_else(running)).transpose()?;
            pipeline::ask(&work, call.accepted, query).await
        };
        let answered = app.to_the_end(query).await?;
        Ok(Reply::json(answered.message())?.quotas(answered.quotas().to_vec()))
    })
    .await
}

fn parse_query(call: &Call, key: Option<&str>) -> Result<Query, Rejection> {
    let asked: ReportRequest = parse_json(&call.headers, &call.body)?;
    let mut dimensions = asked.dimensions;
    dimensions.sort_unstable();
    dimensions.dedup();
    if dimensions.is_empty() {
        return Err(Rejection::new(reject::MALFORMED, "`dimensions` is empty: name at least one"));
    }
    Ok(Query {
        authorization_id: asked.authorization_id,
        subject: asked.subject,
        purpose: asked.purpose,
        dimensions,
        idempotency: key.map(|k| (k.to_owned(), gw_proto::sm3(&call.body))),
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Rejection> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let wrong =
        || Rejection::new(reject::MALFORMED, "Idempotency-Key must be 1 to 200 visible ASCII characters");
    let text = value.to_str().map_err(|_| wrong())?.trim();
    // the draft has a quoted string; a bare token is what most clients send: both name the same key
    let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    if text.is_empty() || text.len() > 200 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong());
    }
    Ok(Some(text.to_owned()))
}

/// Uses of one authorization of this institution, with what both sides told the ledger.
#[utoipa::path(get, path = "/v1/traces", operation_id = "listTraces",
    params(("authorization_id" = String, Query, description = "authorization id, 64 hex digits")),
    responses(
        (status = 200, description = "in chain order", body = UseList),
        (status = "4XX", description = "refused", body = ProblemShape, content_type = "application/problem+json")))]
async fn list_traces(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "list-traces", request, |app, call| async move {
        operator(&app, call.accepted, OperatorRole::View)?;
        let id = call
            .query
            .split('&')
            .find_map(|p| p.strip_prefix("authorization_id="))
            .ok_or_else(|| Rejection::new(reject::MALFORMED, "the query needs authorization_id="))?;
        let id = parse_id(id)?;
        if authorization_state(&app, &id)?.is_none() {
            return Err(Rejection::new(reject::NOT_FOUND, "no such authorization of this institution"));
        }
        let state = app.state.read();
        let view = View::new(&state);
        let mut uses = Vec::new();
        for r in view.reservations_of(&id).map_err(Rejection::internal)? {
            let traces = view.traces(&app.institution, &r.record.report_id).map_err(Rejection::internal)?;
            let traces = traces.into_iter().map(|t| t.record).collect();
            uses.push(UseState {
                report_id: r.record.report_id,
                authorization_id: id,
                height: r.height,
                reserved: r.block_time,
                accepted: r.accepted(),
                refunded: r.refunded.is_some(),
                traces,
            });
        }
        let height = state.cursor().height;
        drop(state);
        Reply::json(&UseList { uses, height })
    })
    .await
}

/// The catalogue of dimensions and items in force here.
#[utoipa::path(get, path = "/v1/catalogue", operation_id = "showCatalogue",
    responses((status = 200, description = "dimensions, items, types, grades, labels", body = Object)))]
async fn show_catalogue(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "show-catalogue", request, |app, call| async move {
        operator(&app, call.accepted, OperatorRole::View)?;
        Reply::json(app.catalogue.document())
    })
    .await
}

/// JSON Schema of a report's items as the catalogue in force here defines them.
#[utoipa::path(get, path = "/v1/catalogue/schema", operation_id = "showCatalogueSchema",
    responses((status = 200, description = "JSON Schema (2020-12) of items", body = Object)))]
async fn show_catalogue_schema(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "show-catalogue-schema", request, |app, call| async move {
        operator(&app, call.accepted, OperatorRole::View)?;
        Reply::json(&app.catalogue.items_schema())
    })
    .await
}

async fn show_document(
    State(app): State<Arc<App>>,
    request: Request<Body>,
    page: utoipa::openapi::OpenApi,
) -> Response<Body> {
    call::run(&app, bounds(&app), "openapi", request, |_, _| async move { Reply::json(&page) }).await
}

async fn show_problems(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    call::run(&app, bounds(&app), "problems", request, |_, _| async move { Reply::json(&reject::TABLE) })
        .await
}
