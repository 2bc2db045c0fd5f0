//! A request's body: never larger, slower or longer than the listener allows.
//!
//! The listener wraps every body, so that no handler can forget it. A handler reads with [`collect`] and
//! gets a [`BodyError`] that knows its status. If it reads in another way (an extractor of axum's) and
//! answers something else, the listener still answers 408 or 413 (`Verdict::apply`).

use crate::config::ListenLimits;
use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the listener takes.
    #[error("the request's body is larger than {max} bytes")]
    TooLarge {
        /// bytes taken
        max: usize,
    },
    /// Silence, or a trickle, past the deadline.
    #[error("the request's body did not arrive in time")]
    TooSlow,
    /// The connection or the stream ended, or the framing is wrong.
    #[error("the request's body ended before its end")]
    Broken,
}

impl BodyError {
    /// What the peer sees.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
    /// Finds it below an error of axum's.
    pub fn find(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut at = Some(error);
        while let Some(e) = at {
            if let Some(found) = e.downcast_ref::<Self>() {
                return Some(*found);
            }
            at = e.source();
        }
        None
    }
}

/// Reads a body that the listener bounds.
pub async fn collect(body: Body) -> Result<Bytes, BodyError> {
    use http_body_util::BodyExt as _;
    match body.collect().await {
        Ok(all) => Ok(all.to_bytes()),
        Err(e) => Err(BodyError::find(&e).unwrap_or(BodyError::Broken)),
    }
}

const FINE: u8 = 0;
const TOO_LARGE: u8 = 1;
const TOO_SLOW: u8 = 2;

#[derive(Default)]
struct Shared {
    mark: AtomicU8,
    rest: Mutex<Option<Incoming>>,
}

/// What the bounded body met, for the listener.
pub(super) struct Verdict(Arc<Shared>);

impl Verdict {
    /// What the handler left unread.
    pub(super) fn rest(&self) -> Option<Rest> {
        self.0.rest.lock().unwrap_or_else(PoisonError::into_inner).take().map(Rest)
    }

    /// Replaces an answer that hides a 408 or 413.
    pub(super) fn apply(&self, response: Response<Body>) -> Response<Body> {
        let (status, text) = match self.0.mark.load(Ordering::Relaxed) {
            TOO_LARGE => (StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large"),
            TOO_SLOW => (StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            _ => return response,
        };
        if response.status() == status {
            return response;
        }
        let code = status.as_u16();
        // RFC 9457 §4.2.1: about:blank says no more than the status
        let problem = format!(r#"{{"type":"about:blank","title":"{text}","status":{code}}}"#);
        let mut out = Response::new(Body::from(problem));
        *out.status_mut() = status;
        out.headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        out
    }
}

/// A body with a bound on bytes, on silence and on the whole.
pub(super) struct BoundedBody {
    /// there until it is dropped
    inner: Option<Incoming>,
    max: usize,
    seen: usize,
    chunk: Duration,
    timer: Pin<Box<Sleep>>,
    ends: Instant,
    shared: Arc<Shared>,
    failed: bool,
}

impl Drop for BoundedBody {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take_if(|i| !i.is_end_stream()) {
            *self.shared.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(inner);
        }
    }
}

impl BoundedBody {
    pub(super) fn new(inner: Incoming, limits: &ListenLimits) -> (Self, Verdict) {
        let now = Instant::now();
        let ends = now + limits.body_timeout;
        let first = ends.min(now + limits.body_chunk_timeout);
        let shared = Arc::new(Shared::default());
        let this = Self {
            inner: Some(inner),
            max: limits.body_bytes,
            seen: 0,
            chunk: limits.body_chunk_timeout,
            timer: Box::pin(tokio::time::sleep_until(first)),
            ends,
            shared: shared.clone(),
            failed: false,
        };
        (this, Verdict(shared))
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.failed = true;
        let mark = match error {
            BodyError::TooLarge { .. } => TOO_LARGE,
            BodyError::TooSlow => TOO_SLOW,
            BodyError::Broken => FINE,
        };
        self.shared.mark.store(mark, Ordering::Relaxed);
        Poll::Ready(Some(Err(error)))
    }
}

impl http_body::Body for BoundedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let max = this.max;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        // an announced length is refused before a byte is read
        let announced = usize::try_from(inner.size_hint().lower()).unwrap_or(usize::MAX);
        if this.seen.saturating_add(announced) > max {
            return this.fail(BodyError::TooLarge { max });
        }
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.seen = this.seen.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                if this.seen > max {
                    return this.fail(BodyError::TooLarge { max });
                }
                let next = this.ends.min(Instant::now() + this.chunk);
                this.timer.as_mut().reset(next);
                // a steady trickle never waits long enough for the timer below
                if Instant::now() >= this.ends {
                    return this.fail(BodyError::TooSlow);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => this.fail(BodyError::Broken),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match this.timer.as_mut().poll(cx) {
                Poll::Ready(()) => this.fail(BodyError::TooSlow),
                Poll::Pending => Poll::Pending,
            },
        }
    }
    fn is_end_stream(&self) -> bool {
        self.failed || self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

/// One HTTP/2 window: what a client may have sent before it hears of us.
const REST_BYTES: usize = 64 * 1024;
/// A client that has its answer and still sends is not worth more.
const REST_TIME: Duration = Duration::from_secs(1);

/// The unread end of a body: read and thrown away behind the answer.
///
/// Without it an early refusal (429, 401) resets the stream or the connection while the client still
/// sends, and some clients (curl 7.88 on HTTP/2, seen) then report that instead of the answer.
pub(super) struct Rest(Incoming);

impl Rest {
    /// Done when nothing is left, or patience is over.
    pub(super) async fn drain(self) {
        let body = http_body_util::Limited::new(self.0, REST_BYTES);
        // bounded in bytes and time; what it was does not matter any more
        let _ = tokio::time::timeout(REST_TIME, http_body_util::BodyExt::collect(body)).await;
    }
}
