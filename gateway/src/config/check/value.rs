//! Single values: from what is written to a type, or a noted problem.

use super::super::{Endpoint, HostName, Problem, TlsProfile, raw::RawEndpoint};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};
use tracing::level_filters::LevelFilter;

/// Collects problems and weakened settings.
pub(super) struct Notes<'a> {
    base: &'a Path,
    problems: Vec<Problem>,
    weakened: Vec<String>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(base: &'a Path) -> Self {
        Self { base, problems: Vec::new(), weakened: Vec::new() }
    }
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<String>) {
        (self.problems, self.weakened)
    }
    pub(super) fn problem(&mut self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), what: what.into(), remedy: remedy.into() });
    }
    pub(super) fn weak(&mut self, what: impl Into<String>) {
        self.weakened.push(what.into());
    }

    fn given<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.problem(key, "missing", "add it; xinguan.example.toml explains it");
        }
        value
    }
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        value: Option<String>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.given(key, value)?;
        parse(&text).map_err(|e| self.problem(key, e.to_string(), "correct it")).ok()
    }
    pub(super) fn text(&mut self, key: &str, value: Option<String>, max: usize) -> Option<String> {
        let text = self.given(key, value)?;
        if text.is_empty() || text.chars().count() > max || text.chars().any(char::is_control) {
            self.problem(
                key,
                "empty, too long or with control characters",
                format!("give 1 to {max} characters"),
            );
            return None;
        }
        Some(text)
    }
    pub(super) fn path(&mut self, key: &str, value: Option<String>) -> Option<PathBuf> {
        let text = self.given(key, value)?;
        if text.is_empty() || text.contains('\0') {
            self.problem(key, "not a path", "give a path, absolute or relative to this file");
            return None;
        }
        Some(self.base.join(text))
    }
    pub(super) fn paths(&mut self, key: &str, values: Option<Vec<String>>) -> Option<Vec<PathBuf>> {
        let values = values.unwrap_or_default();
        if values.len() > 32 {
            self.problem(key, format!("{} files", values.len()), "list at most 32");
            return None;
        }
        values.into_iter().enumerate().map(|(i, p)| self.path(&format!("{key}[{i}]"), Some(p))).collect()
    }
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &str,
        value: Option<String>,
        known: &[(&str, T)],
    ) -> Option<T> {
        let text = self.given(key, value)?;
        let found = known.iter().find(|(name, _)| *name == text).map(|(_, v)| *v);
        if found.is_none() {
            self.problem(key, format!("unknown value `{}`", clip(&text)), one_of(known));
        }
        found
    }
    pub(super) fn words<T: Copy + Ord>(
        &mut self,
        key: &str,
        values: Option<Vec<String>>,
        known: &[(&str, T)],
    ) -> Option<Vec<T>> {
        let values = self.given(key, values)?;
        if values.is_empty() {
            self.problem(key, "empty", one_of(known));
            return None;
        }
        let mut set = BTreeSet::new();
        let mut good = true;
        for (i, value) in values.into_iter().enumerate() {
            let key = format!("{key}[{i}]");
            match self.word(&key, Some(value), known) {
                None => good = false,
                Some(v) if !set.insert(v) => {
                    self.problem(&key, "listed twice", "drop one");
                    good = false;
                }
                Some(_) => {}
            }
        }
        good.then(|| set.into_iter().collect())
    }
    pub(super) fn number(&mut self, key: &str, value: Option<u64>, min: u64, max: u64) -> Option<u64> {
        let v = self.given(key, value)?;
        if !(min..=max).contains(&v) {
            self.problem(key, format!("{v} is out of range"), format!("give {min} to {max}"));
            return None;
        }
        Some(v)
    }
    pub(super) fn size(&mut self, key: &str, value: Option<u64>, min: u64, max: u64) -> Option<usize> {
        self.number(key, value, min, max).and_then(|v| usize::try_from(v).ok())
    }
    pub(super) fn count(&mut self, key: &str, value: Option<u64>, max: u32) -> Option<NonZeroU32> {
        let v = self.number(key, value, 1, u64::from(max))?;
        u32::try_from(v).ok().and_then(NonZeroU32::new)
    }
    pub(super) fn millis(&mut self, key: &str, value: Option<u64>, min: u64, max: u64) -> Option<Duration> {
        self.number(key, value, min, max).map(Duration::from_millis)
    }
    pub(super) fn socket_address(&mut self, key: &str, value: Option<String>) -> Option<SocketAddr> {
        let text = self.given(key, value)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.problem(
                key,
                format!("`{}` is not address:port", clip(&text)),
                "give a numeric address, for example 10.0.0.5:8443 or [2001:db8::5]:8443",
            );
        }
        parsed
    }
    pub(super) fn profile(&mut self, key: &str, value: Option<String>) -> Option<TlsProfile> {
        self.word(key, value, &[("sm", TlsProfile::Sm), ("international", TlsProfile::International)])
    }
    pub(super) fn level(&mut self, key: &str, value: Option<String>) -> Option<LevelFilter> {
        let known = [
            ("off", LevelFilter::OFF),
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
        ];
        self.word(key, value, &known)
    }
    pub(super) fn host_name(&mut self, key: &str, text: &str) -> Option<HostName> {
        if let Ok(ip) = text.parse() {
            return Some(HostName::Ip(ip));
        }
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            return Some(HostName::Dns(text.to_owned()));
        }
        self.problem(
            key,
            format!("`{}` is neither an address nor a lower-case DNS name", clip(text)),
            "correct it; wildcards are not taken",
        );
        None
    }
}

/// The ledger's endpoints.
pub(super) fn endpoints(n: &mut Notes<'_>, raw: Vec<RawEndpoint>) -> Option<Vec<Endpoint>> {
    const KEY: &str = "ledger.endpoints";
    if raw.is_empty() || raw.len() > 16 {
        n.problem(KEY, format!("{} entries", raw.len()), "list 1 to 16 as { url = \"…\", owner = \"…\" }");
        return None;
    }
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let (url_key, owner_key) = (format!("{KEY}[{i}].url"), format!("{KEY}[{i}].owner"));
        let url = n.parsed(&url_key, raw.url, parse_url);
        let owner = n.text(&owner_key, raw.owner, 64);
        if let Some(url) = &url
            && !seen.insert(url.to_string())
        {
            n.problem(&url_key, "listed twice", "drop one: asking the same endpoint twice proves nothing");
        }
        all.push((|| Some(Endpoint { url: url?, owner: owner? }))());
    }
    all.into_iter().collect()
}

fn parse_url(text: &str) -> Result<http::Uri, String> {
    if text.contains('@') {
        // the text may hold a password: it is not repeated
        return Err("user information in a URL".to_owned());
    }
    let wrong = || format!("`{}` is not http://host:port or https://host:port", clip(text));
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    let scheme_ok = matches!(uri.scheme_str(), Some("http" | "https"));
    if scheme_ok && uri.query().is_none() && uri.port_u16().is_some() { Ok(uri) } else { Err(wrong()) }
}

/// Whether a URL stays on this machine.
pub(super) fn is_loopback(url: &http::Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn one_of<T>(known: &[(&str, T)]) -> String {
    format!("use one of: {}", known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
}

pub(super) fn clip(text: &str) -> String {
    text.chars().take(48).collect()
}
