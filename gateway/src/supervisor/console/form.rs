//! Queries and forms: pairs of text, bounded; and whether a form comes from our own page.

use crate::reject::{self, Rejection};
use axum::http::{HeaderMap, Uri, header};

/// More fields than any form of ours has.
const MAX_FIELDS: usize = 16;

/// What a query or a form says.
#[derive(Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// `application/x-www-form-urlencoded`, as the WHATWG URL standard parses it. Never fails; what is too much is dropped.
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().take(MAX_FIELDS).collect())
    }
    /// A form's body, whose media type must say that it is one.
    pub(super) fn of_body(headers: &HeaderMap, body: &[u8]) -> Result<Self, Rejection> {
        let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if media.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
            return Err(Rejection::new(reject::MALFORMED, "the body is not a form of this console"));
        }
        Ok(Self::parse(body))
    }
    /// The first value of a name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// The same as a number; what is none counts as absent.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).and_then(|v| v.parse().ok())
    }
}

/// Whether a browser sent this from a page of the same origin.
///
/// A client certificate is shown to us whoever made the browser send a form, so mutual TLS alone does not
/// stop cross-site request forgery. Every current browser says where a request comes from (Fetch Metadata,
/// `Sec-Fetch-Site`); an older one at least names the page's origin (RFC 6454 §7). Neither: not from our page.
pub(super) fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    // HTTP/2 has :authority, HTTP/1.1 has Host
    let here = uri.authority().map(|a| a.as_str()).or_else(|| text("host"));
    let from = text("origin").and_then(|o| o.strip_prefix("https://"));
    from.is_some() && from == here
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn same(headers: &[(&'static str, &'static str)], uri: &'static str) -> bool {
        let pairs = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        is_same_origin(&pairs.collect(), &Uri::from_static(uri))
    }

    #[test]
    fn only_our_own_pages_forms_count() {
        let (here, path) = (("host", "box:9443"), "/console/traces");
        assert!(same(&[("sec-fetch-site", "same-origin")], path));
        assert!(same(&[here, ("origin", "https://box:9443")], path));
        assert!(same(&[("origin", "https://box:9443")], "https://box:9443/console/traces"), "HTTP/2");
        for foreign in ["cross-site", "same-site", "none", ""] {
            // whatever Origin says
            assert!(!same(&[here, ("origin", "https://box:9443"), ("sec-fetch-site", foreign)], path));
        }
        for origin in ["https://box:9444", "https://box", "http://box:9443", "null", "https://box:9443.evil"]
        {
            assert!(!same(&[here, ("origin", origin)], path), "{origin}");
        }
        assert!(!same(&[here], path), "says nothing");
        assert!(!same(&[("origin", "https://")], path), "no host at all");
    }

    #[test]
    fn fields_are_bounded_and_a_name_counts_once() {
        let many = "a=1&".repeat(100);
        assert_eq!(Fields::parse(many.as_bytes()).0.len(), MAX_FIELDS);
        let f = Fields::parse("page=2&page=3&q=%E8%8B%8F%E5%B7%9E+x&bad=%FF&n=-1".as_bytes());
        assert_eq!((f.number::<usize>("page"), f.text("q")), (Some(2), Some("苏州 x")));
        assert_eq!((f.number::<usize>("n"), f.number::<i64>("q"), f.text("none")), (None, None, None));
        assert!(Fields::of_body(&HeaderMap::new(), b"a=1").is_err());
    }
}
