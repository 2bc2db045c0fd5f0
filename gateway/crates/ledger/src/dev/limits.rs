//! How often one client may submit: GCRA, a bounded number of clients.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The most clients that are remembered. One beyond is refused until another has been quiet.
const MAX_CLIENTS: usize = 1024;

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// submissions a second, at least 1
    pub per_second: u32,
    /// submissions at once, at least 1
    pub burst: u32,
}

/// For each client the theoretical arrival time of its next submission.
pub(super) struct Limits {
    rate: Rate,
    arrivals: HashMap<String, Instant>,
}

impl Limits {
    pub(super) fn new(rate: Rate) -> Self {
        let rate = Rate { per_second: rate.per_second.max(1), burst: rate.burst.max(1) };
        Self { rate, arrivals: HashMap::new() }
    }

    /// Counts one submission, or says how long to wait.
    pub(super) fn admit(&mut self, client: &str, now: Instant) -> Result<(), Duration> {
        let step = Duration::from_secs(1) / self.rate.per_second;
        let slack = step * (self.rate.burst - 1);
        if !self.arrivals.contains_key(client) && self.arrivals.len() >= MAX_CLIENTS {
            self.arrivals.retain(|_, arrival| *arrival > now);
            if self.arrivals.len() >= MAX_CLIENTS {
                return Err(step);
            }
        }
        let arrival = self.arrivals.get(client).copied().unwrap_or(now).max(now);
        let ahead = arrival.saturating_duration_since(now);
        if ahead > slack {
            return Err(ahead - slack);
        }
        self.arrivals.insert(client.to_owned(), arrival + step);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut l = Limits::new(Rate { per_second: 10, burst: 3 });
        let t = Instant::now();
        for _ in 0..3 {
            l.admit("a", t).unwrap();
        }
        assert_eq!(l.admit("a", t), Err(Duration::from_millis(100)));
        l.admit("b", t).unwrap();
        l.admit("a", t + Duration::from_millis(100)).unwrap();
        assert!(l.admit("a", t + Duration::from_millis(100)).is_err());
        // quiet for long: the burst again, not more
        let later = t + Duration::from_secs(60);
        assert_eq!((0..10).filter(|_| l.admit("a", later).is_ok()).count(), 3);
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let mut l = Limits::new(Rate { per_second: 1, burst: 1 });
        let t = Instant::now();
        for i in 0..MAX_CLIENTS {
            l.admit(&format!("c{i}"), t).unwrap();
        }
        assert!(l.admit("one more", t).is_err());
        l.admit("one more", t + Duration::from_secs(2)).unwrap();
        assert!(l.arrivals.len() <= MAX_CLIENTS);
    }

    proptest::proptest! {
        /// Over any pattern, no more than burst + elapsed × rate pass.
        #[test]
        fn never_above_the_rate(gaps in proptest::collection::vec(0u64..300, 1..100)) {
            let mut l = Limits::new(Rate { per_second: 10, burst: 5 });
            let start = Instant::now();
            let (mut at, mut passed) = (0u64, 0u64);
            for gap in gaps {
                at += gap;
                if l.admit("c", start + Duration::from_millis(at)).is_ok() {
                    passed += 1;
                }
                proptest::prop_assert!(passed <= 5 + at / 100);
            }
        }
    }
}
