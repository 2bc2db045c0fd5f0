//! HTTP/1.1 over TCP or TLS: deadlines, a cap on connections, a graceful stop.

use super::{
    Client, DevError, DevLedger, NAME,
    rpc::{self, MAX_BODY},
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::{Body as _, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The most bytes of a request's headers.
const MAX_HEADERS: usize = 16 * 1024;
/// Pause after the system could not hand out a connection (too many open files), or a block failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves the ledger on `listener` and makes its blocks until `cancel`; then lets open requests finish. With
/// `tls`, which must ask for client certificates if submitters are listed by certificate.
pub async fn serve(
    ledger: Arc<DevLedger>,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    cancel: CancellationToken,
) -> Result<(), DevError> {
    let address = listener.local_addr().map_err(DevError::Accept)?;
    tracing::warn!(%address, tls = tls.is_some(), "development ledger: serving; never for real data");
    let acceptor = tls.map(TlsAcceptor::from);
    let places = Arc::new(Semaphore::new(ledger.config().connections));
    let drained = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut blocks = JoinSet::new();
    blocks.spawn(produce(ledger.clone(), drained.clone()));
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Err(e) => {
                    tracing::warn!(error = %e, "development ledger: cannot accept a connection");
                    sleep(PAUSE).await;
                }
                Ok((stream, peer)) => match places.clone().try_acquire_owned() {
                    Err(_) => tracing::warn!(%peer, "development ledger: too many connections, one refused"),
                    Ok(place) => {
                        let connection = connect(ledger.clone(), acceptor.clone(), stream, peer, cancel.clone());
                        connections.spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                },
            },
        }
    }
    drop(listener);
    let drain = async { while connections.join_next().await.is_some() {} };
    if timeout(ledger.config().drain_wait, drain).await.is_err() {
        tracing::warn!("development ledger: connections were still open at the stop");
    }
    connections.shutdown().await;
    drained.cancel(); // blocks are made until the last request has its answer
    while blocks.join_next().await.is_some() {}
    tracing::info!("development ledger: stopped");
    Ok(())
}

/// Makes blocks at the configured pace while transactions wait. Of several servers of one ledger, one does.
async fn produce(ledger: Arc<DevLedger>, stop: CancellationToken) {
    let _one = tokio::select! {
        () = stop.cancelled() => return,
        one = ledger.producer.lock() => one,
    };
    let (mut last, mut failing) = (None::<Instant>, false);
    loop {
        let turn = async {
            while ledger.waiting() == 0 {
                ledger.work.notified().await;
            }
            if let Some(last) = last {
                let pace = ledger.config().block_interval;
                sleep_until(last + if failing { pace.max(PAUSE) } else { pace }).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = turn => {}
        }
        let maker = ledger.clone();
        match tokio::task::spawn_blocking(move || maker.make_block()).await {
            Ok(Ok(_)) => failing = false,
            Ok(Err(e)) => {
                if !failing {
                    tracing::error!(error = &e as &dyn std::error::Error, "development ledger: no block");
                }
                failing = true;
            }
            Err(_) => return, // the runtime is stopping
        }
        last = Some(Instant::now());
    }
}

async fn connect(
    ledger: Arc<DevLedger>,
    acceptor: Option<TlsAcceptor>,
    stream: TcpStream,
    peer: SocketAddr,
    cancel: CancellationToken,
) {
    if let Err(e) = stream.set_nodelay(true) {
        tracing::debug!(%peer, error = %e, "development ledger: connection");
        return;
    }
    let Some(acceptor) = acceptor else {
        return speak(ledger, stream, Client::plain(peer.ip()), cancel).await;
    };
    match timeout(ledger.config().read_wait, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let client = match leaf {
                Some(leaf) => Client::with_certificate(peer.ip(), leaf),
                None => Client::plain(peer.ip()),
            };
            speak(ledger, stream, client, cancel).await;
        }
        Ok(Err(e)) => tracing::info!(%peer, error = %e, "development ledger: TLS handshake failed"),
        Err(_) => tracing::info!(%peer, "development ledger: TLS handshake took too long"),
    }
}

async fn speak<S>(ledger: Arc<DevLedger>, stream: S, client: Client, cancel: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let client = Arc::new(client);
    let wait = ledger.config().read_wait;
    let service = service_fn(move |request| {
        let (ledger, client) = (ledger.clone(), client.clone());
        async move { Ok::<_, Infallible>(respond(&ledger, &client, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(wait) // runs while a kept connection is idle, too
        .max_buf_size(MAX_HEADERS)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(error = %e, "development ledger: connection ended");
    }
}

async fn respond(
    ledger: &Arc<DevLedger>,
    client: &Client,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "this is a development ledger; POST JSON-RPC 2.0 to it\n",
        );
    }
    let announced = usize::try_from(request.body().size_hint().lower()).unwrap_or(usize::MAX);
    if announced > MAX_BODY {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"); // before any of it is read
    }
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    match timeout(ledger.config().read_wait, body).await {
        Err(_) => plain(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
        Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
            plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n")
        }
        Ok(Err(_)) => plain(StatusCode::BAD_REQUEST, "the body could not be read\n"),
        Ok(Ok(body)) => {
            let answer = rpc::answer(ledger, client, &body.to_bytes()).await;
            named(Response::new(Full::new(Bytes::from(answer))), "application/json")
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = named(Response::new(Full::new(Bytes::from_static(text.as_bytes()))), "text/plain");
    *response.status_mut() = status;
    if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
        // the rest of the body is not read: this connection cannot go on
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    response
}

fn named(mut response: Response<Full<Bytes>>, kind: &'static str) -> Response<Full<Bytes>> {
    let headers = response.headers_mut();
    headers.insert(header::SERVER, header::HeaderValue::from_static(NAME));
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
