//! TLS and HTTP as any program could speak them: a client connection, and a stream that exports key material.

use super::{caller::Reply, consortium::Profile};
use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use gw_proto::{Hex, ReportId, message::EXPORTER_LABEL};
use gw_sm::tls::{self, TlsIdentity, Trust};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    runtime::Runtime,
};
use tokio_rustls::{TlsConnector, TlsStream};

/// One exchange.
const LIMIT: Duration = Duration::from_secs(30);

/// The profile as gw-sm names it.
pub fn tls_profile(profile: Profile) -> tls::Profile {
    match profile {
        Profile::Sm => tls::Profile::Sm,
        Profile::International => tls::Profile::International,
    }
}

/// A runtime for one test's own sockets.
pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// A stream that HTTP owns and whose key material can still be exported.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<TlsStream<TcpStream>>>);

impl Shared {
    /// Over a stream after its handshake.
    pub fn new(stream: TlsStream<TcpStream>) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }
    fn lock(&self) -> MutexGuard<'_, TlsStream<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The channel binding of a reply over this connection (PROTOCOL.md).
    pub fn channel(&self, report: &ReportId) -> Result<Hex<32>> {
        self.export(EXPORTER_LABEL, &report.0.0)
    }
    /// Key material of the session under any label.
    pub fn export(&self, label: &[u8], context: &[u8]) -> Result<Hex<32>> {
        let stream = self.lock();
        let context = Some(context);
        let exported = match &*stream {
            TlsStream::Client(s) => s.get_ref().1.export_keying_material([0u8; 32], label, context),
            TlsStream::Server(s) => s.get_ref().1.export_keying_material([0u8; 32], label, context),
        };
        Ok(Hex(exported?))
    }
}

impl AsyncRead for Shared {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}

/// An HTTP/1.1 connection over mutual TLS.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    stream: Shared,
}

impl Connection {
    /// Connects as `identity`.
    pub async fn open(
        profile: Profile,
        identity: &TlsIdentity,
        trust: &Trust,
        to: SocketAddr,
    ) -> Result<Self> {
        let mut config = tls::client_config(tls_profile(profile), identity, trust, &[b"http/1.1"])
            .map_err(|e| anyhow!("{e}: {:?}", std::error::Error::source(&e)))?;
        config.resumption = rustls::client::Resumption::disabled();
        let work = async {
            let tcp = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
            let name = ServerName::from(to.ip());
            let stream =
                TlsConnector::from(Arc::new(config)).connect(name, tcp).await.context("TLS handshake")?;
            let stream = Shared::new(stream.into());
            let (sender, driver) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream.clone())).await?;
            // an error shows at the request
            tokio::spawn(async move { drop(driver.await) });
            Ok(Self { sender, stream })
        };
        tokio::time::timeout(LIMIT, work).await.map_err(|_| anyhow!("no connection in {LIMIT:?}"))?
    }

    /// The channel binding of a reply over this connection.
    pub fn channel(&self, report: &ReportId) -> Result<Hex<32>> {
        self.stream.channel(report)
    }

    /// Key material of the session under any label.
    pub fn export(&self, label: &[u8], context: &[u8]) -> Result<Hex<32>> {
        self.stream.export(label, context)
    }

    /// POST of JSON.
    pub async fn post(&mut self, path: &str, body: Vec<u8>) -> Result<Reply> {
        let request = http::Request::post(path).header("content-type", "application/json");
        self.send(request, body).await
    }

    /// GET.
    pub async fn get(&mut self, path: &str) -> Result<Reply> {
        self.send(http::Request::get(path), Vec::new()).await
    }

    async fn send(&mut self, request: http::request::Builder, body: Vec<u8>) -> Result<Reply> {
        let request = request.header("host", "gateway").body(Full::new(Bytes::from(body)))?;
        let work = async {
            // the answer before may be read and its end not yet seen
            self.sender.ready().await?;
            let (parts, body) = self.sender.send_request(request).await?.into_parts();
            let text = |v: &http::HeaderValue| v.to_str().unwrap_or_default().to_owned();
            let headers = parts.headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect();
            let body = body.collect().await?.to_bytes().to_vec();
            Ok(Reply { status: parts.status.as_u16(), headers, body })
        };
        tokio::time::timeout(LIMIT, work).await.map_err(|_| anyhow!("no answer in {LIMIT:?}"))?
    }
}
