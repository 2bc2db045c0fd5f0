//! A request's body: never larger, slower or longer than the listener allows.
//!
//! The listener wraps every body, so that no handler can forget it. A handler reads with [`collect`] and
//! gets a [`BodyError`] that knows its status. If it reads in another way (an extractor of axum's) and
//! answers something else, the listener still answers 408 or 413 ([`Verdict::apply`]).

use crate::config::ListenLimits;
use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc,
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

/// What the bounded body met, for the listener.
#[derive(Clone)]
pub(super) struct Verdict(Arc<AtomicU8>);

impl Verdict {
    /// Replaces an answer that hides a 408 or 413.
    pub(super) fn apply(&self, response: Response<Body>) -> Response<Body> {
        let (status, text) = match self.0.load(Ordering::Relaxed) {
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
    inner: Incoming,
    max: usize,
    seen: usize,
    chunk: Duration,
    timer: Pin<Box<Sleep>>,
    ends: Instant,
    verdict: Arc<AtomicU8>,
    failed: bool,
}

impl BoundedBody {
    pub(super) fn new(inner: Incoming, limits: &ListenLimits) -> (Self, Verdict) {
        let now = Instant::now();
        let ends = now + limits.body_timeout;
        let first = ends.min(now + limits.body_chunk_timeout);
        let verdict = Arc::new(AtomicU8::new(FINE));
        let this = Self {
            inner,
            max: limits.body_bytes,
            seen: 0,
            chunk: limits.body_chunk_timeout,
            timer: Box::pin(tokio::time::sleep_until(first)),
            ends,
            verdict: verdict.clone(),
            failed: false,
        };
        (this, Verdict(verdict))
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.failed = true;
        let mark = match error {
            BodyError::TooLarge { .. } => TOO_LARGE,
            BodyError::TooSlow => TOO_SLOW,
            BodyError::Broken => FINE,
        };
        self.verdict.store(mark, Ordering::Relaxed);
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
        let max = self.max;
        // an announced length is refused before a byte is read
        let announced = usize::try_from(self.inner.size_hint().lower()).unwrap_or(usize::MAX);
        if self.seen.saturating_add(announced) > max {
            return self.fail(BodyError::TooLarge { max });
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.seen = self.seen.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                if self.seen > max {
                    return self.fail(BodyError::TooLarge { max });
                }
                let next = self.ends.min(Instant::now() + self.chunk);
                self.timer.as_mut().reset(next);
                // a steady trickle never waits long enough for the timer below
                if Instant::now() >= self.ends {
                    return self.fail(BodyError::TooSlow);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => self.fail(BodyError::Broken),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.timer.as_mut().poll(cx) {
                Poll::Ready(()) => self.fail(BodyError::TooSlow),
                Poll::Pending => Poll::Pending,
            },
        }
    }
    fn is_end_stream(&self) -> bool {
        self.failed || self.inner.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
