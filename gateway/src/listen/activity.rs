//! What a connection is doing, and when that has lasted too long.
//!
//! hyper bounds the reading of a head; nothing in it bounds a client that connects and says nothing, or
//! one that never reads its answer. The watchdog does: one deadline at a time, recomputed on change.

use super::{Tracked, body::Rest};
use crate::config::ListenLimits;
use hyper::rt::Executor as _;
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::{sync::Notify, time::Instant};

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// no request for too long (or none at all after the handshake)
    Idle,
    /// an exchange was not over in time: the client does not read, or a handler hangs
    Exchange,
}

struct State {
    next: u64,
    /// start of each exchange in flight, oldest first; at most `max_streams`
    running: BTreeMap<u64, Instant>,
    idle_since: Instant,
}

/// Shared between a connection's driver and its exchanges.
pub(super) struct Activity {
    state: Mutex<State>,
    changed: Notify,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let state = State { next: 0, running: BTreeMap::new(), idle_since: Instant::now() };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An exchange begins; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.running.insert(id, Instant::now());
        drop(state);
        self.changed.notify_one();
        Exchange { activity: self.clone(), id }
    }

    fn deadline(&self, limits: &ListenLimits) -> (Instant, Expired) {
        let state = self.state();
        match state.running.first_key_value() {
            Some((_, started)) => (*started + limits.exchange_timeout, Expired::Exchange),
            None if state.next == 0 => (state.idle_since + limits.header_timeout, Expired::Idle),
            None => (state.idle_since + limits.idle_timeout, Expired::Idle),
        }
    }

    /// Waits until something has lasted too long.
    pub(super) async fn expired(&self, limits: &ListenLimits) -> Expired {
        loop {
            let (at, _) = self.deadline(limits);
            tokio::select! {
                () = tokio::time::sleep_until(at) => {
                    // it may have moved while we slept
                    let (at, why) = self.deadline(limits);
                    if at <= Instant::now() {
                        return why;
                    }
                }
                () = self.changed.notified() => {}
            }
        }
    }
}

/// One exchange in flight.
pub(super) struct Exchange {
    activity: Arc<Activity>,
    id: u64,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.running.remove(&self.id);
        if state.running.is_empty() {
            state.idle_since = Instant::now();
        }
        drop(state);
        self.activity.changed.notify_one();
    }
}

/// An answer's body. Its exchange ends with it, or with the unread end of the request's body behind it.
pub(super) struct AnswerBody {
    inner: axum::body::Body,
    behind: Option<(Option<Rest>, Exchange)>,
    executor: Tracked,
}

impl AnswerBody {
    pub(super) fn new(
        inner: axum::body::Body,
        rest: Option<Rest>,
        exchange: Exchange,
        executor: Tracked,
    ) -> Self {
        Self { inner, behind: Some((rest, exchange)), executor }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some((Some(rest), exchange)) = self.behind.take() {
            self.executor.execute(async move {
                rest.drain().await;
                drop(exchange);
            });
        }
    }
}

impl http_body::Body for AnswerBody {
    type Data = bytes::Bytes;
    type Error = axum::Error;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}
