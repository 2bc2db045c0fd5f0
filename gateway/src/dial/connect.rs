//! From an endpoint's name to an HTTP/2 connection whose peer is known.

use super::{DialError, DialOptions, Peer, server_name};
use crate::listen::{ExporterHandle, PeerCert, SharedIo, Tracked, handshake_failure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use std::{io, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A name may have several addresses; more than this are not tried.
const MAX_ADDRESSES: usize = 4;
/// A peer that vanished without a word is found out in at most these two together, even while idle:
/// a query's budget is too short to find out with the query itself.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(4);

/// One connection.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) exporter: ExporterHandle,
    pub(super) cert: Arc<PeerCert>,
    /// under which configuration it was made
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) endpoint: String,
}

/// Connects, shakes hands, starts HTTP/2. The driver runs in `executor`.
pub(super) async fn connect(
    peer: &Peer,
    tls: Arc<rustls::ClientConfig>,
    options: &DialOptions,
    executor: &Tracked,
) -> Result<Connection, DialError> {
    let tcp = tcp(peer, options).await?;
    let stream = handshake(peer, tcp, tls.clone(), options).await?;
    let cert = Arc::new(certificate(&stream).map_err(|source| failed(peer, source))?);
    let (io, exporter) = SharedIo::new(stream.into());
    let (sender, driver) = Builder::new(executor.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .max_header_list_size(16 * 1024)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|source| broken(peer, source))?;
    let node = peer.node.clone();
    hyper::rt::Executor::execute(executor, async move {
        if let Err(error) = driver.await {
            tracing::debug!(%node, %error, "connection to a peer ended");
        }
    });
    Ok(Connection { sender, exporter, cert, tls, endpoint: peer.endpoint.clone() })
}

async fn tcp(peer: &Peer, options: &DialOptions) -> Result<TcpStream, DialError> {
    let resolve =
        |source| DialError::Resolve { node: peer.node.clone(), endpoint: peer.endpoint.clone(), source };
    let addresses = timeout(options.connect_timeout, tokio::net::lookup_host(&peer.endpoint))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(resolve)?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses.take(MAX_ADDRESSES) {
        match timeout(options.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(e) => last = e,
            },
            Ok(Err(e)) => last = e,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(DialError::Connect { node: peer.node.clone(), endpoint: peer.endpoint.clone(), source: last })
}

async fn handshake(
    peer: &Peer,
    tcp: TcpStream,
    tls: Arc<rustls::ClientConfig>,
    options: &DialOptions,
) -> Result<TlsStream<TcpStream>, DialError> {
    let name = server_name(&peer.node);
    let name = ServerName::try_from(name)
        .map_err(|e| DialError::BadRequest { node: peer.node.clone(), what: e.to_string() })?;
    let stream = timeout(options.handshake_timeout, TlsConnector::from(tls).connect(name, tcp))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| failed(peer, source))?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(failed(peer, io::Error::other(rustls::Error::NoApplicationProtocol)));
    }
    Ok(stream)
}

fn certificate(stream: &TlsStream<TcpStream>) -> io::Result<PeerCert> {
    PeerCert::of_chain(stream.get_ref().1.peer_certificates())
        .ok_or_else(|| io::Error::other(rustls::Error::NoCertificatesPresented))?
        .map_err(io::Error::other)
}

fn failed(peer: &Peer, source: io::Error) -> DialError {
    DialError::Handshake { node: peer.node.clone(), reason: handshake_failure(&source), source }
}

/// In TLS 1.3 the server judges our certificate after the client is done: its refusal looks like a
/// connection that breaks off, but is a failed handshake.
pub(super) fn broken(peer: &Peer, source: hyper::Error) -> DialError {
    let mut at: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&source);
    while let Some(e) = at {
        // h2 keeps an I/O error's kind and text, not rustls' own error; a test holds the text to account
        if let Some(io) = e.downcast_ref::<io::Error>()
            && io.to_string().starts_with("received fatal alert")
        {
            let source = io::Error::new(io.kind(), io.to_string());
            return DialError::Handshake { node: peer.node.clone(), reason: "peer-alert", source };
        }
        at = e.source();
    }
    DialError::Broken { node: peer.node.clone(), source }
}
