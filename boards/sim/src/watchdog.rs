//! A watchdog that counts on a clock parameter and notes when it would have reset the box.

use crate::lock;
use board_api::{BoardError, Watchdog, WatchdogDevice, WatchdogInfo};
use gw_proto::Clock;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

#[derive(Debug, Default)]
struct State {
    fed: Option<Instant>,
    pings: u64,
    bites: u64,
}

/// The watchdog as the world sees it.
#[derive(Clone)]
pub struct SimDog {
    clock: Arc<dyn Clock>,
    timeout: Duration,
    state: Arc<Mutex<State>>,
}

impl SimDog {
    pub(crate) fn new(clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        Self { clock, timeout, state: Arc::default() }
    }
    pub(crate) fn watchdog(&self) -> Watchdog {
        Watchdog::new(self.clone())
    }
    /// How often it would have reset the box by now. A bite ends the countdown, as a reset would.
    pub fn bites(&self) -> u64 {
        self.settle().bites
    }
    /// How often it was fed; the start counts.
    pub fn pings(&self) -> u64 {
        self.settle().pings
    }
    /// Whether it counts down now.
    pub fn is_running(&self) -> bool {
        self.settle().fed.is_some()
    }
    fn settle(&self) -> std::sync::MutexGuard<'_, State> {
        let now = self.clock.instant();
        let mut state = lock(&self.state);
        if state.fed.is_some_and(|fed| now.saturating_duration_since(fed) >= self.timeout) {
            state.fed = None;
            state.bites += 1;
        }
        state
    }
    fn feed(&self) {
        let now = self.clock.instant();
        let mut state = self.settle();
        state.fed = Some(now);
        state.pings += 1;
    }
}

impl std::fmt::Debug for SimDog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimDog({:?})", self.timeout)
    }
}

impl WatchdogDevice for SimDog {
    fn info(&self) -> WatchdogInfo {
        let bit_last_time = self.bites() > 0;
        WatchdogInfo { identity: "simulated".into(), timeout: self.timeout, bit_last_time }
    }
    fn start(&mut self) -> Result<(), BoardError> {
        self.feed();
        Ok(())
    }
    fn ping(&mut self) -> Result<(), BoardError> {
        // too late: the reset has happened, and a ping after it starts nothing
        if self.is_running() {
            self.feed();
        }
        Ok(())
    }
    fn stop(&mut self) -> Result<(), BoardError> {
        self.settle().fed = None;
        Ok(())
    }
}
