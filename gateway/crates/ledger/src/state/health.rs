//! Whether the state may be served.

use crate::follower::Alarm;
use gw_proto::Height;
use std::time::{Duration, Instant};

/// Whether the state may be served, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Serve.
    Fresh,
    /// Too old, or not yet where it must be. It may become fresh by itself.
    Stale {
        /// of the newest verified header
        age: Duration,
        /// for people
        why: String,
    },
    /// Something that must not happen on an honest chain. Ends when the endpoint in question shows the chain.
    Alarm(Vec<Alarm>),
    /// Ended; an operator must look, then restart.
    Halted(String),
}

impl Health {
    /// Whether requests may be decided on this state.
    pub fn may_serve(&self) -> bool {
        *self == Self::Fresh
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fresh => f.write_str("fresh"),
            Self::Stale { why, .. } => write!(f, "stale: {why}"),
            Self::Alarm(alarms) => {
                f.write_str("alarm")?;
                alarms.iter().try_for_each(|a| write!(f, "; {a}"))
            }
            Self::Halted(why) => write!(f, "halted: {why}"),
        }
    }
}

/// What one endpoint last said; for health pages, metrics and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// which
    pub endpoint: String,
    /// the head it last claimed
    pub head: Option<Height>,
    /// the newest height at which it showed the same block as we have
    pub agrees: Height,
    /// its last error, until it does better
    pub error: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) alarms: Vec<Alarm>,
    /// a supervisor's digest that is not ours: after which block, and which supervisor
    pub(super) digest_mismatch: Option<(Height, String)>,
    pub(super) halted: Option<String>,
    pub(super) endpoints: Vec<EndpointStatus>,
    /// when the chain's time last moved on here
    pub(super) progress: Instant,
}

impl Condition {
    pub(super) fn new(progress: Instant) -> Self {
        Self { alarms: Vec::new(), digest_mismatch: None, halted: None, endpoints: Vec::new(), progress }
    }
}
