//! One HTTP request to a gateway, as whoever holds a certificate.
//!
//! The international profile goes through `curl`, a program that we did not write; no curl speaks RFC 8998,
//! so the SM profile goes through `xinguan call`.

use super::{consortium::Profile, process};
use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use serde_json::Value;
use sha2::Digest as _;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Who calls: certificate and key files, and the roots under which it believes the gateway.
#[derive(Debug, Clone)]
pub struct Caller {
    /// certificate chain and key, PEM; none: it shows no certificate
    pub identity: Option<(PathBuf, PathBuf)>,
    /// roots of the gateway
    pub roots: PathBuf,
}

impl Caller {
    /// With `NAME.pem` and `NAME.key` of a folder.
    pub fn of(folder: &Path, name: &str, roots: &Path) -> Self {
        let identity = Some((folder.join(format!("{name}.pem")), folder.join(format!("{name}.key"))));
        Self { identity, roots: roots.to_owned() }
    }
    /// Without a certificate.
    pub fn nobody(roots: &Path) -> Self {
        Self { identity: None, roots: roots.to_owned() }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Ask {
    method: String,
    path: String,
    headers: Vec<String>,
    body: Option<Vec<u8>>,
    more: Vec<String>,
}

impl Ask {
    /// Any method; a body as it is.
    pub fn new(method: &str, path: &str, body: Option<Vec<u8>>) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body, more: Vec::new() }
    }
    /// GET.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path, None)
    }
    /// POST of JSON.
    pub fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path, Some(body.to_string().into_bytes()))
            .header("Content-Type", "application/json")
    }
    /// POST of bytes, said to be JSON.
    pub fn post_bytes(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path, Some(body.into())).header("Content-Type", "application/json")
    }
    /// Its path and query.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// With one more header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}"));
        self
    }
    /// With one more argument for curl, for example `--limit-rate`.
    pub fn curl(mut self, arguments: &[&str]) -> Self {
        self.more.extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// an HTTP answer
    Answer(Reply),
    /// none: the handshake failed, nobody listens …; what the client says
    None(String),
}

impl Outcome {
    /// The answer, or an error that says what the client said.
    pub fn answer(self) -> Result<Reply> {
        match self {
            Self::Answer(reply) => Ok(reply),
            Self::None(why) => bail!("no HTTP answer: {}", why.trim()),
        }
    }
}

/// An HTTP answer. Its `Content-Digest`, where there is one, was checked.
#[derive(Debug, Clone)]
pub struct Reply {
    /// status
    pub status: u16,
    /// header fields, names in lower case
    pub headers: Vec<(String, String)>,
    /// body
    pub body: Vec<u8>,
}

impl Reply {
    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            format!("HTTP {}, no JSON: {}", self.status, String::from_utf8_lossy(&self.body))
        })
    }
    /// It succeeded with this status; its JSON.
    pub fn success(&self, status: u16) -> Result<Value> {
        ensure!(
            self.status == status,
            "HTTP {} instead of {status}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        self.json()
    }
    /// It is a refusal of exactly this problem type, in every particular of RFC 9457.
    pub fn refused(&self, problem: &str) -> Result<Value> {
        let shown = String::from_utf8_lossy(&self.body).into_owned();
        let found = self.json()?;
        let uri = format!("urn:xinguan:problem:{problem}");
        ensure!(found["type"] == uri.as_str(), "expected {problem}: HTTP {} {shown}", self.status);
        ensure!(self.header("content-type") == Some("application/problem+json"), "media type of {shown}");
        ensure!(found["status"] == self.status, "status {} is not the document's: {shown}", self.status);
        for member in ["title", "title_zh", "detail", "remedy"] {
            ensure!(found[member].as_str().is_some_and(|t| !t.is_empty()), "no `{member}` in {shown}");
        }
        let instance = found["instance"].as_str().unwrap_or_default();
        let trace = self.header("traceparent").and_then(|t| t.split('-').nth(1)).unwrap_or_default();
        ensure!(instance == format!("urn:xinguan:trace:{trace}"), "instance {instance}, trace {trace}");
        Ok(found)
    }

    fn parse(raw: &[u8]) -> Result<Self> {
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n").map(|at| (at, at + 4));
        let end = end.or_else(|| raw.windows(2).position(|w| w == b"\n\n").map(|at| (at, at + 2)));
        let (head_end, body_start) = end.context("no end of the head")?;
        let head = String::from_utf8_lossy(raw.get(..head_end).unwrap_or_default()).into_owned();
        let body = raw.get(body_start..).unwrap_or_default();
        let mut lines = head.lines();
        let status_line = lines.next().context("an empty head")?;
        let status: u16 = status_line.split(' ').nth(1).context("no status")?.parse()?;
        if status < 200 {
            return Self::parse(body); // 100 Continue
        }
        let headers = lines
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_owned()))
            .collect();
        let reply = Self { status, headers, body: body.to_vec() };
        reply.check_digest()?;
        Ok(reply)
    }

    /// RFC 9530, whenever the field is there.
    fn check_digest(&self) -> Result<()> {
        let Some(field) = self.header("content-digest") else { return Ok(()) };
        let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(&self.body));
        ensure!(field == format!("sha-256=:{digest}:"), "Content-Digest {field} is not that of the body");
        Ok(())
    }
}

/// Sends it; `scratch` is a folder for the body's file.
pub fn send(profile: Profile, caller: &Caller, url: &str, ask: &Ask, scratch: &Path) -> Result<Outcome> {
    // files of parallel requests must not meet
    let file = tempfile::Builder::new().prefix("body").tempfile_in(scratch)?;
    if let Some(body) = &ask.body {
        std::fs::write(file.path(), body)?;
    }
    let mut command = match profile {
        Profile::International => curl(caller, url, ask, file.path()),
        Profile::Sm => call(caller, url, ask, file.path())?,
    };
    let out = command
        .stdin(Stdio::null())
        .output()
        .context("cannot run the client; is curl installed? (apt package curl; scripts/test installs it)")?;
    if out.stdout.starts_with(b"HTTP") {
        return Ok(Outcome::Answer(Reply::parse(&out.stdout)?));
    }
    Ok(Outcome::None(process::text(&out)))
}

fn curl(caller: &Caller, url: &str, ask: &Ask, body: &Path) -> Command {
    let mut c = Command::new("curl");
    c.args(["-q", "-sS", "-i", "--max-time", "30", "-X", &ask.method]).arg("--cacert").arg(&caller.roots);
    if let Some((cert, key)) = &caller.identity {
        c.arg("--cert").arg(cert).arg("--key").arg(key);
    }
    for header in &ask.headers {
        c.arg("-H").arg(header);
    }
    if ask.body.is_some() {
        c.arg("--data-binary").arg(format!("@{}", body.display()));
    }
    c.args(&ask.more).arg(url);
    c
}

fn call(caller: &Caller, url: &str, ask: &Ask, body: &Path) -> Result<Command> {
    ensure!(ask.more.is_empty(), "`xinguan call` takes no arguments of curl");
    let (cert, key) = caller.identity.as_ref().context("`xinguan call` always shows a certificate")?;
    let mut c = Command::new(process::binary()?);
    c.args(["call", "--include", "--method", &ask.method]).arg("--roots").arg(&caller.roots);
    c.arg("--cert").arg(cert).arg("--key").arg(key);
    for header in &ask.headers {
        c.arg("--header").arg(header);
    }
    if ask.body.is_some() {
        c.arg("--data").arg(format!("@{}", body.display()));
    }
    c.arg(url);
    Ok(c)
}
