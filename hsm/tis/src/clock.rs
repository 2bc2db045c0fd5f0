//! Time, counted: embedded-hal has delays but no clock.

use embedded_hal::delay::DelayNs;

/// A delay that remembers how much time has passed: waited, or spent in transfers.
#[derive(Debug)]
pub struct Clock<D> {
    delay: D,
    now_ns: u64,
}

impl<D: DelayNs> Clock<D> {
    /// Begins at 0.
    pub const fn new(delay: D) -> Self {
        Self { delay, now_ns: 0 }
    }

    /// Microseconds since the beginning.
    #[must_use]
    pub const fn now_us(&self) -> u64 {
        self.now_ns / 1_000
    }

    /// Waits, and counts it.
    pub fn wait_us(&mut self, us: u32) {
        self.delay.delay_us(us);
        self.count_ns(u64::from(us) * 1_000);
    }

    /// Counts what passed without waiting, such as a transfer.
    pub const fn count_ns(&mut self, ns: u64) {
        self.now_ns = self.now_ns.saturating_add(ns);
    }

    /// Gives the delay back.
    pub fn release(self) -> D {
        self.delay
    }
}
