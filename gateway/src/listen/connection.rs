//! One connection after its handshake: HTTP/1.1 or HTTP/2, deadlines, draining.

use super::{
    ConnInfo, SharedIo,
    activity::{Activity, AnswerBody, Expired},
    body::BoundedBody,
};
use crate::config::ListenLimits;
use axum::{Router, body::Body};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

/// After an idle connection was told to go: time for its GOAWAY to be taken.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs HTTP/2 streams; they end with the listener, not on their own.
#[derive(Clone)]
pub(crate) struct Tracked {
    pub(crate) tasks: TaskTracker,
    /// drops whatever still runs
    pub(crate) kill: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        let kill = self.kill.clone();
        self.tasks.spawn(async move { kill.run_until_cancelled(task).await.map(drop) });
    }
}

/// How a connection ended, for the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Error,
    Idle,
    Exchange,
    Killed,
}

impl End {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Error => "error",
            Self::Idle => "idle",
            Self::Exchange => "exchange-timeout",
            Self::Killed => "killed",
        }
    }
}

/// Serves one connection until it ends. `drain` asks it to finish what is in flight.
pub(super) async fn serve(
    io: SharedIo,
    info: ConnInfo,
    router: Router,
    limits: Arc<ListenLimits>,
    executor: Tracked,
    drain: CancellationToken,
) -> End {
    let kill = executor.kill.clone();
    let activity = Activity::new();
    let builder = builder(&limits, executor.clone());
    let service = {
        let (activity, limits) = (activity.clone(), limits.clone());
        hyper::service::service_fn(move |request| {
            answer(request, info.clone(), router.clone(), &limits, &activity, executor.clone())
        })
    };
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    let mut end = End::Closed;
    let mut leaving = false;
    let mut goodbye = tokio::time::Instant::now();
    loop {
        tokio::select! {
            done = connection.as_mut() => {
                return match done {
                    Err(_) if end == End::Closed => End::Error,
                    _ => end,
                };
            }
            () = drain.cancelled(), if !leaving => {
                leaving = true;
                goodbye = tokio::time::Instant::now() + limits.drain;
                connection.as_mut().graceful_shutdown();
            }
            why = activity.expired(&limits), if !leaving => {
                if why == Expired::Exchange {
                    return End::Exchange;
                }
                end = End::Idle;
                leaving = true;
                goodbye = tokio::time::Instant::now() + GOODBYE;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep_until(goodbye), if leaving => {
                return if end == End::Closed { End::Killed } else { end };
            }
            () = kill.cancelled() => return End::Killed,
        }
    }
}

fn answer(
    request: Request<Incoming>,
    info: ConnInfo,
    router: Router,
    limits: &ListenLimits,
    activity: &Arc<Activity>,
    executor: Tracked,
) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + use<> {
    let exchange = activity.begin();
    let (parts, incoming) = request.into_parts();
    let (body, verdict) = BoundedBody::new(incoming, limits);
    let mut request = Request::from_parts(parts, Body::new(body));
    request.extensions_mut().insert(info);
    async move {
        let response = verdict.apply(router.oneshot(request).await?);
        Ok(response.map(|body| AnswerBody::new(body, verdict.rest(), exchange, executor)))
    }
}

fn builder(limits: &ListenLimits, executor: Tracked) -> auto::Builder<Tracked> {
    let mut b = auto::Builder::new(executor);
    b.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.header_bytes)
        .keep_alive(true)
        .half_close(false);
    b.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        // a stream buffers at most this much before its handler reads; × max_streams bounds a connection
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024)
        // CVE-2023-44487 (rapid reset), CVE-2025-8671 (made-you-reset): few resets are normal
        .max_pending_accept_reset_streams(32)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(Some(limits.idle_timeout.min(Duration::from_secs(30))))
        .keep_alive_timeout(limits.header_timeout);
    b
}
