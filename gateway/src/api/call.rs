//! One HTTP call: bounded body in, problem document or JSON out, the same headers on every answer.
//!
//! Every answer carries `traceparent` (W3C Trace Context), `Cache-Control: no-store`, `Content-Digest`
//! (RFC 9530, sha-256) and, where a limit counted, `RateLimit-Policy` and `RateLimit`.

use crate::{
    app::App,
    listen::{BodyError, ConnInfo, ListenerKind},
    reject::{self, Rejection},
    stages::{
        Accepted,
        limit::{Quota, header_values},
    },
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header},
};
use base64::Engine as _;
use bytes::Bytes;
use gw_proto::Budget;
use http_body_util::{BodyExt as _, Limited};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Digest as _;
use std::{future::Future, sync::Arc, time::Duration};

/// A call with its body read, before anybody is identified.
pub struct Call {
    /// what the stages need
    pub accepted: Accepted,
    /// the request's fields
    pub headers: HeaderMap,
    /// the whole body, bounded
    pub body: Bytes,
    /// the query string
    pub query: String,
}

/// An answer on its way out.
pub struct Reply {
    /// status
    pub status: StatusCode,
    /// body
    pub body: Vec<u8>,
    /// media type
    pub content_type: &'static str,
    /// what the limits counted
    pub quotas: Vec<Quota>,
}

impl Reply {
    /// 200 with a JSON body.
    pub fn json<T: Serialize>(value: &T) -> Result<Self, Rejection> {
        let body = serde_json::to_vec(value).map_err(Rejection::internal)?;
        Ok(Self { status: StatusCode::OK, body, content_type: "application/json", quotas: Vec::new() })
    }
    /// With another status.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
    /// With what the limits counted.
    pub fn quotas(mut self, quotas: Vec<Quota>) -> Self {
        self.quotas = quotas;
        self
    }
}

/// What one API allows.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// most bytes of a body
    pub body_bytes: usize,
    /// the body must be complete in this time
    pub body_time: Duration,
    /// whole time of a call
    pub budget: Duration,
}

/// Runs one call: reads the body, calls `work`, writes the answer, counts and logs it.
pub async fn run<F, Fut>(
    app: &Arc<App>,
    bounds: Bounds,
    operation: &'static str,
    request: Request<Body>,
    work: F,
) -> Response<Body>
where
    F: FnOnce(Arc<App>, Call) -> Fut,
    Fut: Future<Output = Result<Reply, Rejection>>,
{
    let trace = TraceContext::of(request.headers(), app);
    let started = app.clock.instant();
    let span = tracing::info_span!("call", op = operation, trace_id = %trace.trace_id);
    let result = async {
        let call = read(app, bounds, request, &trace).await?;
        let left = call.accepted.budget.left(&*app.clock)?;
        match tokio::time::timeout(left, work(Arc::clone(app), call)).await {
            Ok(r) => r,
            Err(_) => Err(Rejection::new(reject::TIMEOUT, "the request's budget ran out")),
        }
    };
    let result = tracing::Instrument::instrument(result, span.clone()).await;
    let took = app.clock.instant().saturating_duration_since(started);
    let _in = span.enter();
    let (outcome, response) = match result {
        Ok(reply) => ("ok", respond(reply, &trace)),
        Err(rejection) => {
            log_rejection(&rejection);
            (rejection.problem.name, refuse(&rejection, &trace))
        }
    };
    metrics::counter!("xinguan_calls_total", "op" => operation, "outcome" => outcome).increment(1);
    metrics::histogram!("xinguan_call_seconds", "op" => operation).record(took.as_secs_f64());
    tracing::info!(outcome, ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "call ended");
    response
}

fn log_rejection(r: &Rejection) {
    let cause = r.cause.as_deref().unwrap_or("");
    if r.problem.side == reject::SideAtFault::Caller {
        tracing::info!(problem = r.problem.name, detail = %r.detail, cause, "refused");
    } else {
        tracing::warn!(problem = r.problem.name, detail = %r.detail, cause, "failed");
    }
}

async fn read(
    app: &Arc<App>,
    bounds: Bounds,
    request: Request<Body>,
    trace: &TraceContext,
) -> Result<Call, Rejection> {
    let budget = Budget::starting(&*app.clock, bounds.budget);
    let (parts, body) = request.into_parts();
    let conn = parts
        .extensions
        .get::<ConnInfo>()
        .cloned()
        .ok_or_else(|| Rejection::internal("a request without its connection"))?;
    // administration goes on: whoever waits for the end wants to see health, metrics and readiness
    if app.draining() && conn.listener != ListenerKind::Admin {
        return Err(Rejection::new(reject::DRAINING, "repeat at another gateway of the institution"));
    }
    let limited = Limited::new(body, bounds.body_bytes).collect();
    let body = match tokio::time::timeout(bounds.body_time.min(bounds.budget), limited).await {
        Err(_) => {
            return Err(Rejection::new(
                reject::TOO_SLOW,
                format!("the body was not complete after {} ms", bounds.body_time.as_millis()),
            ));
        }
        Ok(Err(e)) if e.downcast_ref::<http_body_util::LengthLimitError>().is_some() => {
            return Err(Rejection::new(
                reject::TOO_LARGE,
                format!("at most {} bytes are taken here", bounds.body_bytes),
            ));
        }
        Ok(Err(e)) => return Err(body_rejection(&*e)),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    check_digest(&parts.headers, &body)?;
    let accepted = Accepted { conn, budget, trace_id: trace.trace_id.clone(), at: app.clock.now() };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    Ok(Call { accepted, headers: parts.headers, body, query })
}

/// What the listener's own bounds said of the body.
fn body_rejection(e: &(dyn std::error::Error + Send + Sync + 'static)) -> Rejection {
    match BodyError::find(e) {
        Some(found @ BodyError::TooLarge { .. }) => Rejection::new(reject::TOO_LARGE, found.to_string()),
        Some(found @ BodyError::TooSlow) => Rejection::new(reject::TOO_SLOW, found.to_string()),
        Some(BodyError::Broken) | None => Rejection::new(reject::MALFORMED, "the body broke off").because(e),
    }
}

/// Checks `Content-Digest` when it is there (RFC 9530 §2): `sha-256=:base64:`.
fn check_digest(headers: &HeaderMap, body: &[u8]) -> Result<(), Rejection> {
    let Some(field) = headers.get("content-digest") else { return Ok(()) };
    let wrong = |detail: &str| Rejection::new(reject::DIGEST_MISMATCH, detail);
    let text = field.to_str().map_err(|_| wrong("Content-Digest is not ASCII"))?;
    let found = text
        .split(',')
        .filter_map(|m| m.trim().strip_prefix("sha-256=:"))
        .find_map(|v| v.strip_suffix(':'))
        .ok_or_else(|| wrong("Content-Digest has no sha-256 member"))?;
    if found == sha256_base64(body) { Ok(()) } else { Err(wrong("sha-256 of the received body differs")) }
}

/// The value of `Content-Digest` for a body (RFC 9530 §2).
pub(crate) fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", sha256_base64(body))
}

fn sha256_base64(body: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(body))
}

/// Parses a JSON body of the documented shape. The error names line and column, never the content.
pub fn parse_json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Rejection> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if media.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Rejection::new(reject::UNSUPPORTED_MEDIA, "Content-Type is not application/json"));
    }
    // serde takes an array for a struct: such a body would be read by position, which nobody documents
    if body.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| *b != b'{') {
        return Err(Rejection::new(reject::MALFORMED, "the body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|e| {
        let text = e.to_string();
        if text.contains("social credit code")
            || text.contains("GB 32100")
            || text.contains("check character")
        {
            return Rejection::new(reject::BAD_SUBJECT, text);
        }
        // serde's text may quote a value of the body: keep only what cannot hold one
        let detail = if text.contains('`') || text.contains('"') {
            safe_detail(&text, e.line(), e.column())
        } else {
            text
        };
        Rejection::new(reject::MALFORMED, detail)
    })
}

/// Field names may be quoted back, values may not.
fn safe_detail(text: &str, line: usize, column: usize) -> String {
    for start in ["missing field `", "unknown field `", "duplicate field `", "unknown variant `"] {
        if let Some(rest) = text.strip_prefix(start) {
            let name: String = rest.chars().take_while(|c| *c != '`').take(60).collect();
            if name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '-') || c.is_ascii_digit())
                && gw_proto::Uscc::parse(&name.to_ascii_uppercase()).is_err()
            {
                return format!("{start}{name}` at line {line} column {column}");
            }
        }
    }
    format!("a value has the wrong form at line {line} column {column}")
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(v) = HeaderValue::from_str(value) {
        headers.insert(name, v);
    }
}

fn finish(
    mut response: Response<Body>,
    body: &[u8],
    quotas: &[Quota],
    trace: &TraceContext,
) -> Response<Body> {
    let headers = response.headers_mut();
    set(headers, HeaderName::from_static("traceparent"), &trace.traceparent());
    set(headers, header::CACHE_CONTROL, "no-store");
    set(headers, HeaderName::from_static("content-digest"), &content_digest(body));
    if let Some((policy, state)) = header_values(quotas) {
        set(headers, HeaderName::from_static("ratelimit-policy"), &policy);
        set(headers, HeaderName::from_static("ratelimit"), &state);
    }
    response
}

fn respond(reply: Reply, trace: &TraceContext) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body.clone()));
    *response.status_mut() = reply.status;
    set(response.headers_mut(), header::CONTENT_TYPE, reply.content_type);
    finish(response, &reply.body, &reply.quotas, trace)
}

fn refuse(r: &Rejection, trace: &TraceContext) -> Response<Body> {
    let body = serde_json::to_vec(&r.document(&trace.trace_id)).unwrap_or_default();
    let mut response = Response::new(Body::from(body.clone()));
    *response.status_mut() =
        StatusCode::from_u16(r.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    set(response.headers_mut(), header::CONTENT_TYPE, "application/problem+json");
    if let Some(after) = r.retry_after {
        set(response.headers_mut(), header::RETRY_AFTER, &after.as_secs().max(1).to_string());
    }
    finish(response, &body, &r.limits, trace)
}

/// W3C Trace Context, level 1: `00-<trace id>-<parent id>-<flags>`.
pub struct TraceContext {
    /// 32 hex digits
    pub trace_id: String,
    span_id: String,
}

impl TraceContext {
    /// Continues the caller's trace, or begins one.
    pub fn of(headers: &HeaderMap, app: &App) -> Self {
        let mut fresh = [0u8; 24];
        // a trace id carries no secret: without randomness it is all zeros but for the time
        if app.entropy.fill(&mut fresh).is_err() {
            fresh[..8].copy_from_slice(&app.clock.now().0.to_be_bytes());
        }
        let given = headers.get("traceparent").and_then(|v| v.to_str().ok()).and_then(parse_traceparent);
        let (trace, span) = fresh.split_at(16);
        Self { trace_id: given.unwrap_or_else(|| hex::encode(trace)), span_id: hex::encode(span) }
    }
    /// The field for the answer and for requests made on its behalf.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
}

fn parse_traceparent(text: &str) -> Option<String> {
    let mut parts = text.split('-');
    let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
    let hex_of =
        |s: &str, n: usize| s.len() == n && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let nonzero = |s: &str| s.bytes().any(|b| b != b'0');
    (hex_of(version, 2)
        && version != "ff"
        && hex_of(trace, 32)
        && nonzero(trace)
        && hex_of(parent, 16)
        && nonzero(parent))
    .then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_is_taken_only_when_whole() {
        let ok = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(parse_traceparent(ok).unwrap(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert!(parse_traceparent(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_body_never_comes_back() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct T {
            #[expect(dead_code, reason = "only parsed")]
            subject: gw_proto::Uscc,
        }
        let mut h = HeaderMap::new();
        h.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let code = "91350100M000100Y43";
        for body in [
            format!("{{\"subject\": \"{code}\", \"x\": \"{code}\"}}"),
            format!("{{\"{code}\": 1}}"),
            format!("{{\"{}\": 1}}", code.to_ascii_lowercase()),
            "{\"subject\": \"91350100M000100Y44\"}".to_owned(),
            // the right code, but by position: no object, so no request
            "[\"91350100M000100Y43\"]".to_owned(),
            format!("\"{code}\""),
        ] {
            let r = parse_json::<T>(&h, body.as_bytes()).unwrap_err();
            assert!(!r.detail.to_ascii_uppercase().contains("91350100"), "{}", r.detail);
        }
        let r = parse_json::<T>(&h, b"{\"subject\": \"91350100M000100Y44\"}").unwrap_err();
        assert_eq!(r.problem.name, "subject-code-invalid");
        for deep in ["[".repeat(10_000), format!("{{\"a\":{}", "[".repeat(10_000))] {
            let refused = parse_json::<serde_json::Value>(&h, deep.as_bytes()).unwrap_err();
            assert_eq!(refused.problem.name, "malformed-request");
        }
    }

    #[test]
    fn content_digest() {
        let mut h = HeaderMap::new();
        assert!(check_digest(&h, b"x").is_ok());
        // RFC 9530 §2: {"hello": "world"} followed by a newline
        h.insert(
            "content-digest",
            HeaderValue::from_static("sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"),
        );
        assert!(check_digest(&h, b"{\"hello\": \"world\"}\n").is_ok());
        assert_eq!(check_digest(&h, b"{}").unwrap_err().problem.name, "content-digest-mismatch");
    }
}
