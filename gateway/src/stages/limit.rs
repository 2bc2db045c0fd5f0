//! Stage 3, limit: refused before anything costs.
//!
//! GCRA (the `governor` crate) over institution, operator, subject and authorization. Limits serve abuse
//! control and are no business model. Every answer says where the caller stands:
//! `RateLimit-Policy: "operator";q=30;w=60` and `RateLimit: "operator";r=29;t=2`
//! (draft-ietf-httpapi-ratelimit-headers), a refusal adds `Retry-After` in whole seconds.
//! State is bounded: idle keys are dropped, and at most [`MAX_KEYS`] are held per dimension; a new key
//! beyond that is refused as busy rather than let through unlimited.

use crate::reject::{self, Rejection};
use governor::{
    Quota as GovernorQuota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use std::{num::NonZeroU32, time::Duration};

/// The most keys held per dimension.
pub const MAX_KEYS: usize = 100_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// the asking institution (at a source)
    Institution,
    /// the operator (at the institution)
    Operator,
    /// the enterprise asked about
    Subject,
    /// one authorization
    Authorization,
}

impl Dimension {
    /// The policy's name in the header fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Institution => "institution",
            Self::Operator => "operator",
            Self::Subject => "subject",
            Self::Authorization => "authorization",
        }
    }
}

/// Where a caller stands under one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// which limit
    pub dimension: Dimension,
    /// requests per window
    pub quota: u32,
    /// the window, s
    pub window: u32,
    /// requests that may follow at once
    pub remaining: u32,
    /// s until one more is allowed, or until the quota is whole again
    pub reset: u64,
}

/// Requests per minute, and how many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// sustained rate
    pub per_minute: NonZeroU32,
    /// at once
    pub burst: NonZeroU32,
}

type Keyed =
    RateLimiter<[u8; 32], DefaultKeyedStateStore<[u8; 32]>, DefaultClock, StateInformationMiddleware>;

struct Limit {
    dimension: Dimension,
    rate: Rate,
    limiter: Keyed,
}

impl Limit {
    fn new(dimension: Dimension, rate: Rate) -> Self {
        let quota = GovernorQuota::per_minute(rate.per_minute).allow_burst(rate.burst);
        let limiter = RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        Self { dimension, rate, limiter }
    }

    fn check(&self, key: &[u8; 32]) -> Result<Quota, Rejection> {
        if self.limiter.len() >= MAX_KEYS {
            self.limiter.retain_recent();
            if self.limiter.len() >= MAX_KEYS {
                return Err(Rejection::new(reject::BUSY, "too many different callers at once"));
            }
        }
        let quota = |remaining, reset| Quota {
            dimension: self.dimension,
            quota: self.rate.burst.get(),
            window: window(self.rate),
            remaining,
            reset,
        };
        match self.limiter.check_key(key) {
            Ok(state) => {
                Ok(quota(state.remaining_burst_capacity(), 60 / u64::from(self.rate.per_minute.get())))
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let mut r = Rejection::new(
                    reject::QUOTA,
                    format!("the limit by {} is used up", self.dimension.as_str()),
                );
                r.retry_after = Some(Duration::from_secs(seconds.max(1)));
                r.limits = vec![quota(0, seconds.max(1))];
                Err(r)
            }
        }
    }
}

/// Seconds in which the burst is earned anew: the `w` of the policy field.
fn window(rate: Rate) -> u32 {
    (rate.burst.get().saturating_mul(60) / rate.per_minute.get()).max(1)
}

/// All four limits of one gateway.
pub struct Limits {
    institution: Limit,
    operator: Limit,
    subject: Limit,
    authorization: Limit,
}

/// The rates of the four limits.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// by asking institution
    pub institution: Rate,
    /// by operator
    pub operator: Rate,
    /// by subject
    pub subject: Rate,
    /// by authorization
    pub authorization: Rate,
}

impl Limits {
    /// Fresh limiters.
    pub fn new(rates: Rates) -> Self {
        Self {
            institution: Limit::new(Dimension::Institution, rates.institution),
            operator: Limit::new(Dimension::Operator, rates.operator),
            subject: Limit::new(Dimension::Subject, rates.subject),
            authorization: Limit::new(Dimension::Authorization, rates.authorization),
        }
    }

    /// Counts one request under one limit. `key` is a digest of who or what is counted.
    pub fn check(&self, dimension: Dimension, key: &[u8; 32]) -> Result<Quota, Rejection> {
        match dimension {
            Dimension::Institution => self.institution.check(key),
            Dimension::Operator => self.operator.check(key),
            Dimension::Subject => self.subject.check(key),
            Dimension::Authorization => self.authorization.check(key),
        }
    }

    /// Forgets idle keys; called now and then.
    pub fn sweep(&self) {
        for l in [&self.institution, &self.operator, &self.subject, &self.authorization] {
            l.limiter.retain_recent();
            l.limiter.shrink_to_fit();
        }
    }
}

/// The two header values for what was counted: (RateLimit-Policy, RateLimit).
pub fn header_values(quotas: &[Quota]) -> Option<(String, String)> {
    if quotas.is_empty() {
        return None;
    }
    let policy: Vec<String> =
        quotas.iter().map(|q| format!("\"{}\";q={};w={}", q.dimension.as_str(), q.quota, q.window)).collect();
    let state: Vec<String> = quotas
        .iter()
        .map(|q| format!("\"{}\";r={};t={}", q.dimension.as_str(), q.remaining, q.reset))
        .collect();
    Some((policy.join(", "), state.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_minute: u32, burst: u32) -> Rate {
        Rate { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    #[test]
    fn a_burst_passes_then_429_with_retry_after() {
        let r = rate(6, 3);
        let l = Limits::new(Rates { institution: r, operator: r, subject: r, authorization: r });
        let key = [1; 32];
        for left in [2, 1, 0] {
            assert_eq!(l.check(Dimension::Operator, &key).unwrap().remaining, left);
        }
        let refused = l.check(Dimension::Operator, &key).unwrap_err();
        assert_eq!(refused.problem.name, "quota-exceeded");
        let after = refused.retry_after.unwrap().as_secs();
        assert!((1..=10).contains(&after), "{after}");
        // another key and another dimension are not touched
        assert!(l.check(Dimension::Operator, &[2; 32]).is_ok());
        assert!(l.check(Dimension::Subject, &key).is_ok());
    }

    #[test]
    fn fields_are_structured() {
        let q = Quota { dimension: Dimension::Operator, quota: 3, window: 30, remaining: 2, reset: 10 };
        let (policy, state) = header_values(&[q]).unwrap();
        assert_eq!(policy, "\"operator\";q=3;w=30");
        assert_eq!(state, "\"operator\";r=2;t=10");
        assert!(header_values(&[]).is_none());
    }
}
