//! POST over HTTP/1.1 to one endpoint: a few kept connections, bounded answers.

use super::RpcOptions;
use crate::error::{LedgerError, clip};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    task::AbortHandle,
};

/// A kept connection; the task that moves its bytes ends with it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) struct Connections {
    name: String,
    host: String,
    port: u16,
    authority: String,
    tls: Option<(tokio_rustls::TlsConnector, ServerName<'static>)>,
    options: RpcOptions,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Connections {
    pub(super) fn new(
        address: &str,
        tls: Option<Arc<rustls::ClientConfig>>,
        options: &RpcOptions,
    ) -> Result<Self, LedgerError> {
        let wrong = |what| LedgerError::Config { endpoint: clip(address), what };
        let uri: Uri = address.parse().map_err(|_| wrong("must be http://host:port or https://host:port"))?;
        let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
            return Err(wrong("must name host and port"));
        };
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("must have no path"));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let tls = match (uri.scheme_str(), tls) {
            (Some("http"), None) => None,
            (Some("http"), Some(_)) => return Err(wrong("has TLS settings but is http://; write https://")),
            (Some("https"), Some(config)) => {
                let server = ServerName::try_from(bare.to_owned())
                    .map_err(|_| wrong("must name a host that a certificate can name"))?;
                Some((tokio_rustls::TlsConnector::from(config), server))
            }
            (Some("https"), None) => return Err(wrong("is https:// but has no TLS settings")),
            _ => return Err(wrong("must start with http:// or https://")),
        };
        Ok(Self {
            name: format!("{}://{host}:{port}", if tls.is_some() { "https" } else { "http" }),
            host: bare.to_owned(),
            port,
            authority: format!("{host}:{port}"),
            tls,
            options: *options,
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(options.connections.max(1)),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Sends a body, reads the answer's.
    pub(super) async fn post(&self, method: &'static str, body: Vec<u8>) -> Result<Bytes, LedgerError> {
        let broken = |what: String| LedgerError::Transport { endpoint: self.name.clone(), method, what };
        let _permit = self.permits.acquire().await.map_err(|e| broken(e.to_string()))?;
        let body = Bytes::from(body);
        // a kept connection may have been closed by the other side meanwhile: then once more on a new one
        if let Some(mut kept) = self.take_idle()
            && kept.sender.ready().await.is_ok()
            && let Ok(answer) = kept.sender.send_request(self.request(&body, &broken)?).await
        {
            return self.read(method, kept, answer).await;
        }
        let mut fresh = self.connect().await?;
        let answer = fresh.sender.send_request(self.request(&body, &broken)?).await;
        let answer = answer.map_err(|e| broken(clip(&e.to_string())))?;
        self.read(method, fresh, answer).await
    }

    fn request(
        &self,
        body: &Bytes,
        broken: &impl Fn(String) -> LedgerError,
    ) -> Result<Request<Full<Bytes>>, LedgerError> {
        Request::post("/")
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))
            .map_err(|e| broken(e.to_string()))
    }

    async fn read(
        &self,
        method: &'static str,
        connection: Connection,
        answer: http::Response<hyper::body::Incoming>,
    ) -> Result<Bytes, LedgerError> {
        let broken = |what: String| LedgerError::Transport { endpoint: self.name.clone(), method, what };
        if answer.status() != http::StatusCode::OK {
            return Err(broken(format!("HTTP status {}", answer.status().as_u16())));
        }
        let max = self.options.max_answer;
        let body = Limited::new(answer.into_body(), max).collect().await.map_err(|e| {
            if e.downcast_ref::<LengthLimitError>().is_some() {
                LedgerError::TooLarge { endpoint: self.name.clone(), method, max }
            } else {
                broken(clip(&e.to_string()))
            }
        })?;
        self.keep(connection);
        Ok(body.to_bytes())
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: Connection) {
        if !connection.sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }

    async fn connect(&self) -> Result<Connection, LedgerError> {
        let refused = |source| LedgerError::Connect { endpoint: self.name.clone(), source };
        let connected = tokio::time::timeout(self.options.connect_timeout, self.connect_untimed());
        connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(refused)
    }

    async fn connect_untimed(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => handshake(stream).await,
            Some((connector, server)) => handshake(connector.connect(server.clone(), stream).await?).await,
        }
    }
}

async fn handshake<S>(stream: S) -> io::Result<Connection>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // ends with the connection, or with `Connection`'s drop
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a ledger endpoint ended");
        }
    });
    Ok(Connection { sender, task: task.abort_handle() })
}
