//! The only source of "now", and the time a request has left.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Milliseconds since 1970-01-01T00:00:00Z, never negative, below 2⁵³.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Later by `d`, saturating.
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }
    /// Time from `earlier` to `self`; zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
    /// RFC 3339 in UTC with milliseconds; for people, never for comparison.
    pub fn rfc3339(self) -> String {
        let nanos = i128::from(self.0) * 1_000_000;
        time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok())
            .unwrap_or_else(|| format!("{} ms", self.0))
    }
}

/// Wall and monotonic time as a parameter. Tests use [`FakeClock`].
pub trait Clock: Send + Sync {
    /// Wall time. Callers that need protection against a clock set back combine it with the ledger's.
    fn now(&self) -> UnixMillis;
    /// Monotonic time.
    fn instant(&self) -> Instant;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> UnixMillis {
        let d = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct FakeClock {
    start: Instant,
    now: std::sync::atomic::AtomicU64,
    origin: u64,
}

impl FakeClock {
    /// Starts at `now`.
    pub fn at(now: UnixMillis) -> Self {
        Self { start: Instant::now(), now: now.0.into(), origin: now.0 }
    }
    /// Moves forward.
    pub fn advance(&self, d: Duration) {
        let ms = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        self.now.fetch_add(ms, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(std::sync::atomic::Ordering::SeqCst))
    }
    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now().0.saturating_sub(self.origin))
    }
}

/// The time a request has left: made once at the edge, handed from stage to stage.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    deadline: Instant,
}

/// The request's time is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's time is used up")]
pub struct OutOfTime;

impl Budget {
    /// `total` from now on `clock`.
    pub fn starting(clock: &dyn Clock, total: Duration) -> Self {
        Self { deadline: clock.instant() + total }
    }
    /// What is left, or [`OutOfTime`].
    pub fn left(&self, clock: &dyn Clock) -> Result<Duration, OutOfTime> {
        match self.deadline.checked_duration_since(clock.instant()) {
            Some(d) if !d.is_zero() => Ok(d),
            _ => Err(OutOfTime),
        }
    }
    /// At most `cap` of what is left: a stage's own deadline.
    pub fn slice(&self, clock: &dyn Clock, cap: Duration) -> Result<Duration, OutOfTime> {
        Ok(self.left(clock)?.min(cap))
    }
    /// The moment it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
