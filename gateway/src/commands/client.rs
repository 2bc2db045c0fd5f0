//! A small mTLS client for the gateway's own APIs: what the command line uses.
//!
//! `curl` does the same in the international profile; no curl speaks RFC 8998 yet.

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use gw_proto::Scheme;
use gw_sm::{
    cert::{certs_from_pem, key_from_pem},
    tls::{Profile, TlsIdentity, Trust, client_config},
};
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// The most bytes of an answer.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Where and as whom.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// certificate chain of the caller, PEM
    #[arg(long)]
    pub cert: PathBuf,
    /// its key, PKCS#8 PEM
    #[arg(long)]
    pub key: PathBuf,
    /// roots under which the gateway's certificate counts, PEM
    #[arg(long)]
    pub roots: PathBuf,
    /// longest wait, seconds
    #[arg(long, default_value_t = 30)]
    pub timeout_s: u64,
}

/// What came back.
pub struct Response {
    /// HTTP status
    pub status: u16,
    /// header fields
    pub headers: http::HeaderMap,
    /// body
    pub body: Bytes,
}

/// One request. The profile is that of the caller's key.
pub async fn send(
    args: &ClientArgs,
    method: Method,
    url: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
) -> Result<Response> {
    let work = send_untimed(args, method, url, headers, body);
    match tokio::time::timeout(Duration::from_secs(args.timeout_s), work).await {
        Ok(r) => r,
        Err(_) => bail!("{url}: no answer within {} s", args.timeout_s),
    }
}

async fn send_untimed(
    args: &ClientArgs,
    method: Method,
    url: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
) -> Result<Response> {
    let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
    if uri.scheme_str() != Some("https") {
        bail!("{url}: only https");
    }
    let host = uri.host().with_context(|| format!("{url} has no host"))?.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(443);
    let tls = tls_config(args)?;
    let tcp = tokio::net::TcpStream::connect((host.as_str(), port))
        .await
        .with_context(|| format!("cannot connect to {host}:{port}; does the gateway run?"))?;
    let name = ServerName::try_from(host.clone()).with_context(|| format!("{host} is no host name"))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(tls))
        .connect(name, tcp)
        .await
        .with_context(|| format!("TLS handshake with {host}:{port} failed"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = async move {
        // an error shows at the request below
        let _ = connection.await;
    };
    let mut request = Request::builder()
        .method(method)
        .uri(uri.path_and_query().map_or("/", |p| p.as_str()))
        .header(header::HOST, format!("{host}:{port}"));
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(body)))?;
    let exchange = async {
        let response =
            sender.send_request(request).await.with_context(|| format!("{url}: the connection broke off"))?;
        let (parts, body) = response.into_parts();
        let body =
            Limited::new(body, MAX_ANSWER).collect().await.map_err(|e| anyhow!("{url}: answer: {e}"))?;
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body: body.to_bytes() })
    };
    tokio::pin!(driver);
    tokio::select! {
        r = exchange => r,
        () = async { driver.await; std::future::pending::<()>().await } => bail!("unreachable"),
    }
}

fn tls_config(args: &ClientArgs) -> Result<rustls::ClientConfig> {
    let read = |p: &PathBuf| std::fs::read(p).with_context(|| format!("cannot read {}", p.display()));
    let named = |p: &PathBuf, e: gw_sm::cert::CertError| anyhow!("{}: {e}", p.display());
    let chain = certs_from_pem(&read(&args.cert)?).map_err(|e| named(&args.cert, e))?;
    let text = zeroize::Zeroizing::new(
        std::fs::read_to_string(&args.key).with_context(|| format!("cannot read {}", args.key.display()))?,
    );
    let key = key_from_pem(&text).map_err(|e| named(&args.key, e))?;
    let roots = certs_from_pem(&read(&args.roots)?).map_err(|e| named(&args.roots, e))?;
    let profile = match key.public_key().scheme {
        Scheme::Sm2Sm3 => Profile::Sm,
        Scheme::EcdsaP256Sha256 => Profile::International,
    };
    let identity = TlsIdentity { chain: chain.into_iter().map(Into::into).collect(), key: Arc::new(key) };
    let trust = Trust { roots: roots.into_iter().map(Into::into).collect(), crls: Vec::new() };
    let mut config = client_config(profile, &identity, &trust, &[b"http/1.1"]).map_err(|e| {
        anyhow!("{e}: {}", std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default())
    })?;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}
