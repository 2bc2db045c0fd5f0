//! A small deterministic generator (SplitMix64): for data, never for secrets.

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(super) struct Stream(u64);

impl Stream {
    /// The stream of a seed and what it is for.
    pub(super) fn of(seed: u64, purpose: &[u64]) -> Self {
        let mut s = Self(seed);
        for p in purpose {
            s = Self(s.next() ^ p.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        }
        s
    }
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// From `low` to `high`, both included. The bias of the remainder does not matter here.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(self.next() % span)
    }
    /// True in `percent` of cases.
    pub(super) fn chance(&mut self, percent: i64) -> bool {
        self.between(0, 99) < percent
    }
    /// One of a list that is not empty.
    pub(super) fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        let count = u64::try_from(from.len()).unwrap_or(1).max(1);
        let at = usize::try_from(self.next() % count).unwrap_or(0);
        from.get(at).copied().unwrap_or_default()
    }
    /// Small numbers more often than large ones: each decade is as likely as the next.
    pub(super) fn decades(&mut self, from: i64, decades: i64) -> i64 {
        let scale = (0..self.between(0, decades - 1)).fold(from, |n, _| n * 10);
        self.between(scale, scale * 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_its_known_numbers() {
        // first outputs for seed 1234567, as published with the algorithm (Rosetta Code, "Pseudo-random
        // numbers/Splitmix64")
        let mut s = Stream(1_234_567);
        assert_eq!(s.next(), 6_457_827_717_110_365_317);
        assert_eq!(s.next(), 3_203_168_211_198_807_973);
        assert_eq!(s.next(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut s = Stream::of(1, &[2]);
        for _ in 0..1000 {
            assert!((-3..=3).contains(&s.between(-3, 3)));
            assert!((100..=100_000).contains(&s.decades(100, 3)));
        }
        assert_eq!(s.between(5, 5), 5);
        assert!(!s.chance(0) && s.chance(100));
    }
}
