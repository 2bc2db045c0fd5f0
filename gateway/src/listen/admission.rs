//! Who may begin a handshake: counts and rates per address, bounded in memory.
//!
//! Pure apart from the clock. One IPv6 user owns a whole /64, so that is one "address".

use crate::config::ListenLimits;
use governor::{
    Quota, RateLimiter, clock::Clock as _, middleware::NoOpMiddleware, state::keyed::HashMapStateStore,
};
use gw_proto::Clock;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Addresses whose rate is remembered. A full table means a flood from thousands of networks; strangers
/// then wait until entries expire (burst ÷ rate, a few seconds). 16,384 × ~64 bytes ≈ 1 MiB.
const MAX_REMEMBERED: usize = 16_384;
/// A full table is swept at most this often: a sweep costs time in proportion to its size.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Why a connection is closed before its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// the listener is full
    Total,
    /// too many unfinished handshakes
    Handshakes,
    /// this address has enough connections
    PerAddress,
    /// this address opens them too fast
    Rate,
    /// too many addresses at once to remember another
    TableFull,
}

impl Refused {
    /// The metric's label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Handshakes => "handshakes",
            Self::PerAddress => "per-address",
            Self::Rate => "rate",
            Self::TableFull => "table-full",
        }
    }
}

/// What counts as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AddressGroup {
    V4([u8; 4]),
    V6Net([u8; 8]),
}

impl AddressGroup {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6Net([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Our clock as governor wants it.
#[derive(Clone)]
struct GovernorClock {
    clock: Arc<dyn Clock>,
    start: Instant,
}

impl governor::clock::Clock for GovernorClock {
    type Instant = Duration;
    fn now(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.start)
    }
}

type Rate =
    RateLimiter<AddressGroup, HashMapStateStore<AddressGroup>, GovernorClock, NoOpMiddleware<Duration>>;

#[derive(Default)]
struct Counts {
    total: usize,
    handshakes: usize,
    by_address: HashMap<AddressGroup, usize>,
    swept_at: Duration,
}

/// One listener's gate.
pub(crate) struct Admission {
    limits: ListenLimits,
    clock: GovernorClock,
    rate: Rate,
    counts: Mutex<Counts>,
}

impl Admission {
    pub(crate) fn new(limits: ListenLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        let clock = GovernorClock { start: clock.instant(), clock };
        let quota = Quota::per_second(limits.new_per_second).allow_burst(limits.new_burst);
        let rate = RateLimiter::new(quota, HashMapStateStore::default(), clock.clone());
        Arc::new(Self { limits, clock, rate, counts: Mutex::default() })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, or says why not. The place is given back when it is dropped.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Refused> {
        let group = AddressGroup::of(ip);
        let mut counts = self.counts();
        // rate first: an address at its connection limit must not get free attempts
        self.check_rate(&mut counts, group)?;
        if counts.total >= self.limits.max_connections {
            return Err(Refused::Total);
        }
        if counts.handshakes >= self.limits.max_handshakes {
            return Err(Refused::Handshakes);
        }
        let open = counts.by_address.get(&group).copied().unwrap_or(0);
        if open >= self.limits.per_address {
            return Err(Refused::PerAddress);
        }
        // entries are at most max_connections: one goes with its last connection
        counts.by_address.insert(group, open + 1);
        counts.total += 1;
        counts.handshakes += 1;
        drop(counts);
        Ok(Place { gate: self.clone(), group, shaking: true })
    }

    fn check_rate(&self, counts: &mut Counts, group: AddressGroup) -> Result<(), Refused> {
        if self.rate.len() >= MAX_REMEMBERED {
            let now = self.clock.now();
            if now.saturating_sub(counts.swept_at) >= SWEEP_EVERY || counts.swept_at.is_zero() {
                counts.swept_at = now.max(Duration::from_nanos(1));
                self.rate.retain_recent();
            }
            if self.rate.len() >= MAX_REMEMBERED && !counts.by_address.contains_key(&group) {
                return Err(Refused::TableFull);
            }
        }
        self.rate.check_key(&group).map_err(|_| Refused::Rate)
    }
}

/// One connection's place behind the gate.
pub(crate) struct Place {
    gate: Arc<Admission>,
    group: AddressGroup,
    shaking: bool,
}

impl Place {
    /// The handshake is finished.
    pub(crate) fn established(&mut self) {
        if std::mem::replace(&mut self.shaking, false) {
            let mut counts = self.gate.counts();
            counts.handshakes = counts.handshakes.saturating_sub(1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.established();
        let mut counts = self.gate.counts();
        counts.total = counts.total.saturating_sub(1);
        if let Some(open) = counts.by_address.get_mut(&self.group) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                counts.by_address.remove(&self.group);
            }
        }
    }
}
