//! The accept loop: address limits, handshake under a deadline, then the connection's own task.

use super::{
    ConnInfo, ListenerKind, PeerCert, ServerTls, SharedIo,
    admission::{Admission, Place},
    connection::{self, Tracked},
    handshake_failure,
};
use crate::config::{Listen, ListenLimits};
use axum::Router;
use gw_proto::Clock;
use gw_sm::tls::Profile;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The system is out of file descriptors or memory: wait this long for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a listener does not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {listener}; is the port taken or the address not of this machine?")]
pub struct ListenError {
    /// which listener
    pub listener: &'static str,
    /// where
    pub address: SocketAddr,
    /// why
    pub source: io::Error,
}

/// A bound listener.
pub struct Server {
    socket: TcpListener,
    local: SocketAddr,
    ctx: Ctx,
}

#[derive(Clone)]
struct Ctx {
    kind: ListenerKind,
    profile: Profile,
    limits: Arc<ListenLimits>,
    tls: ServerTls,
    clock: Arc<dyn Clock>,
}

impl Server {
    /// Binds. Nothing is accepted before [`Server::serve`].
    pub async fn bind(
        kind: ListenerKind,
        listen: &Listen,
        tls: ServerTls,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError { listener: kind.as_str(), address: listen.address, source };
        let socket = TcpListener::bind(listen.address).await.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        let ctx = Ctx { kind, profile: listen.profile, limits: Arc::new(listen.limits.clone()), tls, clock };
        Ok(Self { socket, local, ctx })
    }

    /// Where it listens: with the real port, if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves until `cancel`; then stops accepting, finishes what is in flight for at most `drain`, and
    /// returns when nothing of it runs any more.
    pub async fn serve(self, router: Router, cancel: CancellationToken) {
        let Self { socket, ctx, .. } = self;
        let gate = Admission::new((*ctx.limits).clone(), ctx.clock.clone());
        let executor = Tracked { tasks: TaskTracker::new(), kill: CancellationToken::new() };
        loop {
            let accepted = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match gate.admit(peer.ip()) {
                    Ok(place) => {
                        let (ctx, router) = (ctx.clone(), router.clone());
                        let (inner, drain) = (executor.clone(), cancel.clone());
                        executor
                            .tasks
                            .spawn(async move { one(ctx, stream, peer, place, router, inner, drain).await });
                    }
                    Err(why) => {
                        metrics::counter!("xinguan_connections_refused_total",
                            "listener" => ctx.kind.as_str(), "reason" => why.as_str())
                        .increment(1);
                    }
                },
                Err(error) => {
                    if accept_error_is_ours(&error) {
                        tracing::warn!(listener = ctx.kind.as_str(), %error, "cannot accept; is the limit of open files too low?");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        drop(socket);
        executor.tasks.close();
        if tokio::time::timeout(ctx.limits.drain, executor.tasks.wait()).await.is_err() {
            tracing::warn!(
                listener = ctx.kind.as_str(),
                tasks = executor.tasks.len(),
                "draining took too long: dropped"
            );
            executor.kill.cancel();
            executor.tasks.wait().await;
        }
    }
}

fn accept_error_is_ours(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
    )
}

async fn one(
    ctx: Ctx,
    stream: TcpStream,
    peer: SocketAddr,
    mut place: Place,
    router: Router,
    executor: Tracked,
    drain: CancellationToken,
) {
    let listener = ctx.kind.as_str();
    let shaken = tokio::select! {
        // nothing is in flight yet: a stop need not wait for a handshake
        () = drain.cancelled() => return,
        shaken = tokio::time::timeout(ctx.limits.handshake_timeout, handshake(&ctx, stream, peer)) => {
            shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
    };
    let (io, info) = match shaken {
        Ok(ready) => ready,
        Err(error) => {
            let reason = handshake_failure(&error);
            metrics::counter!("xinguan_handshakes_failed_total", "listener" => listener, "reason" => reason)
                .increment(1);
            tracing::debug!(listener, %peer, reason, %error, "handshake failed");
            return;
        }
    };
    place.established();
    metrics::counter!("xinguan_connections_total", "listener" => listener).increment(1);
    let open = metrics::gauge!("xinguan_connections_open", "listener" => listener);
    open.increment(1.0);
    // what its streams still do ends with the connection
    let executor = Tracked { tasks: executor.tasks, kill: executor.kill.child_token() };
    let streams = executor.kill.clone().drop_guard();
    let end = connection::serve(io, info, router, ctx.limits.clone(), executor, drain).await;
    drop(streams);
    open.decrement(1.0);
    metrics::counter!("xinguan_connections_ended_total", "listener" => listener, "how" => end.as_str())
        .increment(1);
}

async fn handshake(ctx: &Ctx, stream: TcpStream, peer: SocketAddr) -> io::Result<(SharedIo, ConnInfo)> {
    // answers are written whole; waiting for more would only add latency
    stream.set_nodelay(true)?;
    let started = ctx.clock.instant();
    let stream = TlsAcceptor::from(ctx.tls.load_full()).accept(stream).await?;
    let cert = PeerCert::of_chain(stream.get_ref().1.peer_certificates())
        .ok_or_else(|| io::Error::other(rustls::Error::NoCertificatesPresented))?
        .map_err(io::Error::other)?;
    metrics::histogram!("xinguan_handshake_seconds", "listener" => ctx.kind.as_str())
        .record(ctx.clock.instant().saturating_duration_since(started).as_secs_f64());
    let (io, exporter) = SharedIo::new(stream.into());
    let info = ConnInfo {
        listener: ctx.kind,
        peer,
        cert: Arc::new(cert),
        profile: ctx.profile,
        exporter,
        connected_at: ctx.clock.now(),
    };
    Ok((io, info))
}
