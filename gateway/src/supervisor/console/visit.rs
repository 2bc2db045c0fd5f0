//! One visit to a page: who looks, in which language, what is asked; the answer's headers; refusals as pages.

use super::{
    form::{self, Fields},
    layout::{self, Frame},
    words::{self, Lang, Word},
};
use crate::{
    api::call::{self, Bounds, Call, Reply},
    app::App,
    config::Operator,
    reject::{self, Rejection},
    stages::identify::{self, OperatorRole},
};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header},
};
use base64::Engine as _;
use http_body_util::BodyExt as _;
use maud::{Markup, html};
use sha2::Digest as _;
use std::{future::Future, sync::Arc, sync::LazyLock, time::Duration};

const HTML: &str = "text/html; charset=utf-8";
/// A form holds a code, a reason, a few numbers.
const MAX_FORM_BYTES: usize = 8 * 1024;

/// Nothing is fetched but the page; its one style sheet is known by its digest; nobody frames it.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = sha2::Sha256::digest(layout::STYLE.as_bytes());
    let digest = base64::engine::general_purpose::STANDARD.encode(digest);
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
});

/// A known operator at a page.
pub(super) struct Visit {
    pub(super) app: Arc<App>,
    pub(super) operator: Operator,
    pub(super) lang: Lang,
    pub(super) query: Fields,
    pub(super) form: Fields,
}

impl Visit {
    /// Of a call whose operator holds `role`.
    fn new(
        app: Arc<App>,
        call: Call,
        role: OperatorRole,
        lang: Lang,
        posted: bool,
    ) -> Result<Self, Rejection> {
        let who = identify::operator(&app, call.accepted, role)?;
        let operator = app.config.operators.iter().find(|o| o.name == who.name()).cloned();
        let operator = operator.ok_or_else(|| Rejection::internal("an operator without a row"))?;
        let query = Fields::parse(call.query.as_bytes());
        let form = if posted { Fields::of_body(&call.headers, &call.body)? } else { Fields::default() };
        Ok(Self { app, operator, lang, query, form })
    }
    /// In this visit's language.
    pub(super) fn t(&self, word: Word) -> &'static str {
        self.lang.of(word)
    }
    /// A path with the language and more in its query.
    pub(super) fn link(&self, path: &str, more: &[(&str, &str)]) -> String {
        link(self.lang, path, more)
    }
    /// The whole page. `more` is what the query needs beside the language, to show the same again.
    pub(super) fn document(
        &self,
        here: &str,
        title: &str,
        path: &str,
        more: &[(&str, &str)],
        content: &Markup,
    ) -> Markup {
        let frame = Frame {
            lang: self.lang,
            operator: Some(&self.operator),
            node: self.app.node.as_str(),
            now: self.app.clock.now(),
            here,
            other: link(self.lang.other(), path, more),
        };
        layout::document(&frame, title, content)
    }
}

/// A path with a language and more in its query.
pub(super) fn link(lang: Lang, path: &str, more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::for_suffix(format!("{path}?"), path.len() + 1);
    let query = query.append_pair("lang", lang.code()).extend_pairs(more);
    query.finish()
}

/// Work that blocks (SQLite, the state), off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
) -> Result<T, Rejection> {
    tokio::task::spawn_blocking(work).await.map_err(Rejection::internal)?
}

fn bounds(app: &App) -> Bounds {
    let l = &app.config.listen.admin.limits;
    Bounds { body_bytes: MAX_FORM_BYTES, body_time: l.body_timeout, budget: Duration::from_secs(20) }
}

/// What a request's head says of how it is to be answered.
struct Asked {
    lang: Lang,
    by_a_browser: bool,
    posted: bool,
    is_ours: bool,
}

impl Asked {
    fn of(request: &Request<Body>) -> Self {
        let field = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
        let posted = request.method() == Method::POST;
        Self {
            lang: Lang::choose(query.text("lang"), field(header::ACCEPT_LANGUAGE)),
            by_a_browser: field(header::ACCEPT).contains("text/html"),
            posted,
            is_ours: !posted || form::is_same_origin(request.headers(), request.uri()),
        }
    }
}

/// Runs one visit: identifies, checks that a form is ours, and answers with the page that `work` makes.
pub(super) async fn serve<F, Fut>(
    app: &Arc<App>,
    operation: &'static str,
    role: OperatorRole,
    request: Request<Body>,
    work: F,
) -> Response<Body>
where
    F: FnOnce(Visit) -> Fut,
    Fut: Future<Output = Result<Markup, Rejection>>,
{
    let Asked { lang, by_a_browser, posted, is_ours } = Asked::of(&request);
    let response = call::run(app, bounds(app), operation, request, |app, call| async move {
        // who it is comes first: a stranger learns nothing of what else is asked for
        identify::operator(&app, call.accepted.clone(), role)?;
        if !is_ours {
            return Err(Rejection::new(
                reject::CROSS_SITE,
                "the form does not come from this console's own page",
            ));
        }
        let page = work(Visit::new(app, call, role, lang, posted)?).await?;
        let (status, body) = (StatusCode::OK, page.into_string().into_bytes());
        Ok(Reply { status, body, content_type: HTML, quotas: Vec::new() })
    })
    .await;
    let response = if by_a_browser { for_people(app, lang, response).await } else { response };
    protected(response)
}

fn protected(mut response: Response<Body>) -> Response<Body> {
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    };
    set("content-security-policy", &POLICY);
    set("x-content-type-options", "nosniff");
    set("cross-origin-opener-policy", "same-origin");
    set("cross-origin-resource-policy", "same-origin");
    // not `no-referrer`: under it a browser hides the form's origin from us too
    set("referrer-policy", "same-origin");
    response
}

/// A problem document as a page; anything else as it is.
async fn for_people(app: &App, lang: Lang, response: Response<Body>) -> Response<Body> {
    let problem = HeaderValue::from_static("application/problem+json");
    if response.headers().get(header::CONTENT_TYPE) != Some(&problem) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let document = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap_or_default();
    let frame = Frame {
        lang,
        operator: None,
        node: app.node.as_str(),
        now: app.clock.now(),
        here: "",
        other: link(lang.other(), "/console/", &[]),
    };
    let page = layout::document(&frame, lang.of(words::REFUSED), &refusal(lang, &document)).into_string();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(HTML));
    if let Ok(digest) = HeaderValue::from_str(&call::content_digest(page.as_bytes())) {
        parts.headers.insert("content-digest", digest);
    }
    Response::from_parts(parts, Body::from(page))
}

fn refusal(lang: Lang, document: &serde_json::Value) -> Markup {
    let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let title = match lang {
        Lang::Zh => text("title_zh"),
        Lang::En => text("title"),
    };
    html! {
        div class="note bad" role="alert" {
            h2 { (title) }
            dl {
                dt { (lang.of(words::DETAIL)) } dd lang="en" { (text("detail")) }
                dt { (lang.of(words::REMEDY)) } dd lang="en" { (text("remedy")) }
                dt { (lang.of(words::INCIDENT)) } dd { code { (text("instance")) } }
            }
        }
        p { a href=(link(lang, "/console/", &[])) { (lang.of(words::FLEET)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_carry_the_language_and_cannot_be_broken_out_of() {
        let made = link(Lang::En, "/console/", &[("standing", "a&b=\"<")]);
        assert_eq!(made, "/console/?lang=en&standing=a%26b%3D%22%3C");
    }

    #[test]
    fn a_refusal_says_its_piece_and_escapes_it() {
        let document = serde_json::json!({
            "title": "No", "title_zh": "不行", "detail": "<script>alert(1)</script>", "remedy": "r", "instance": "i",
        });
        let shown = refusal(Lang::Zh, &document).into_string();
        assert!(shown.contains("不行") && shown.contains("&lt;script&gt;") && !shown.contains("<script"));
    }
}
