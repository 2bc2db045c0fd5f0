//! The hardware watchdog: fed by proofs of serving, never by a timer.
//!
//! A timer thread keeps a dead gateway alive. So a ping needs a [`Serving`], a `Serving` needs the answer to a
//! readiness question, it is used up by one ping, and it expires counted from when the question was *asked*.
//!
//! A box that cannot serve for a cause outside (ledger out of reach, not enrolled, told to stop) gains nothing from a
//! reset every minute, and nobody could look at it. [`Keeper`] then stops the countdown, which needs running
//! code that has just asked for readiness and got a named reason; a hung gateway can't. Causes inside the box
//! leave it unfed.

use crate::BoardError;
use gw_proto::clock::Clock;
use std::time::{Duration, Instant};

/// Why the gateway does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotServing {
    /// each reason, as readiness gives it
    pub reasons: Vec<String>,
    /// a restart may help: the cause lies inside the box
    pub restart_may_help: bool,
}

/// Proof that the gateway served a moment ago: feeds the watchdog once.
///
/// It cannot be made without a question, nor used twice:
///
/// ```compile_fail,E0451
/// let forged = board_api::Serving { until: std::time::Instant::now() };
/// ```
/// ```compile_fail,E0382
/// fn feed_twice(dog: &mut board_api::Watchdog, proof: board_api::Serving, clock: &dyn gw_proto::Clock) {
///     dog.feed(proof, clock).ok();
///     dog.feed(proof, clock).ok();
/// }
/// ```
#[derive(Debug)]
pub struct Serving {
    until: Instant,
}

/// A readiness question that is on its way.
#[derive(Debug)]
pub struct Question {
    asked: Instant,
}

impl Serving {
    /// How long a proof counts, from the question on.
    pub const LIFE: Duration = Duration::from_secs(5);

    /// Call before readiness is looked at: time spent on a slow answer counts.
    pub fn ask(clock: &dyn Clock) -> Question {
        Question { asked: clock.instant() }
    }
}

impl Question {
    /// Turns readiness' answer into a proof.
    pub fn answered(self, answer: Result<(), NotServing>) -> Result<Serving, NotServing> {
        answer.map(|()| Serving { until: self.asked + Serving::LIFE })
    }
}

/// What a watchdog says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogInfo {
    /// the driver's name for it
    pub identity: String,
    /// unfed for that long, it resets the box
    pub timeout: Duration,
    /// it was the cause of the last start
    pub bit_last_time: bool,
}

impl std::fmt::Display for WatchdogInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = if self.bit_last_time { ", CAUSED THE LAST RESET" } else { "" };
        write!(f, "{}, {} s{last}", self.identity, self.timeout.as_secs())
    }
}

/// A watchdog's driver. Only [`Watchdog`] calls it.
pub trait WatchdogDevice: Send {
    /// What it is.
    fn info(&self) -> WatchdogInfo;
    /// Starts the countdown; from now on it must be pinged.
    fn start(&mut self) -> Result<(), BoardError>;
    /// Restarts the countdown.
    fn ping(&mut self) -> Result<(), BoardError>;
    /// Stops the countdown, or [`BoardError::NoWayOut`].
    fn stop(&mut self) -> Result<(), BoardError>;
}

/// A board's watchdog. Its driver is private: the one way to a ping is [`Watchdog::feed`].
pub struct Watchdog {
    device: Box<dyn WatchdogDevice>,
    running: bool,
}

impl Watchdog {
    /// Over a driver, not started.
    pub fn new(device: impl WatchdogDevice + 'static) -> Self {
        Self { device: Box::new(device), running: false }
    }
    /// What it is.
    pub fn info(&self) -> WatchdogInfo {
        self.device.info()
    }
    /// Whether it counts down.
    pub fn is_running(&self) -> bool {
        self.running
    }
    /// Uses up a proof; the first one starts the countdown. Refuses an expired one.
    pub fn feed(&mut self, proof: Serving, clock: &dyn Clock) -> Result<(), BoardError> {
        let late = clock.instant().saturating_duration_since(proof.until);
        if !late.is_zero() {
            return Err(BoardError::ProofExpired { late });
        }
        if self.running {
            return self.device.ping();
        }
        self.device.start()?;
        self.running = true;
        Ok(())
    }
    /// Stops the countdown, knowing why. See [`Keeper`].
    pub fn stand_down(&mut self, _because: &NotServing) -> Result<(), BoardError> {
        if self.running {
            self.device.stop()?;
            self.running = false;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watchdog({}, running: {})", self.info(), self.running)
    }
}

/// What a beat did.
#[derive(Debug, PartialEq, Eq)]
pub enum Beat {
    /// the countdown was started: log it
    Started,
    /// fed
    Fed,
    /// not serving for a cause outside: the countdown was stopped; log the reasons
    StoodDown(NotServing),
    /// not serving for a cause inside: not fed, the box will be reset unless it recovers; log the reasons
    Starving(NotServing),
    /// not serving, and no countdown runs
    Idle(NotServing),
}

/// Turns readiness answers into feeding, standing down or starving. Beat it every second or two.
#[derive(Debug)]
pub struct Keeper {
    dog: Watchdog,
}

impl Keeper {
    /// Keeps `dog`.
    pub fn new(dog: Watchdog) -> Self {
        Self { dog }
    }
    /// One answer of readiness, asked through [`Serving::ask`].
    pub fn beat(
        &mut self,
        answer: Result<Serving, NotServing>,
        clock: &dyn Clock,
    ) -> Result<Beat, BoardError> {
        match answer {
            Ok(proof) => {
                let was_running = self.dog.is_running();
                self.dog.feed(proof, clock)?;
                Ok(if was_running { Beat::Fed } else { Beat::Started })
            }
            Err(why) if !self.dog.is_running() => Ok(Beat::Idle(why)),
            Err(why) if why.restart_may_help => Ok(Beat::Starving(why)),
            Err(why) => {
                self.dog.stand_down(&why)?;
                Ok(Beat::StoodDown(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::{UnixMillis, clock::FakeClock};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<Vec<&'static str>>>);
    struct Fake(Calls, bool);

    impl Fake {
        fn note(&self, call: &'static str) -> Result<(), BoardError> {
            self.0.0.lock().unwrap().push(call);
            Ok(())
        }
    }
    impl WatchdogDevice for Fake {
        fn info(&self) -> WatchdogInfo {
            WatchdogInfo { identity: "fake".into(), timeout: Duration::from_secs(30), bit_last_time: false }
        }
        fn start(&mut self) -> Result<(), BoardError> {
            self.note("start")
        }
        fn ping(&mut self) -> Result<(), BoardError> {
            self.note("ping")
        }
        fn stop(&mut self) -> Result<(), BoardError> {
            if self.1 {
                return Err(BoardError::NoWayOut { part: "fake".into() });
            }
            self.note("stop")
        }
    }

    fn outside() -> NotServing {
        NotServing { reasons: vec!["ledger: stale".into()], restart_may_help: false }
    }
    fn inside() -> NotServing {
        NotServing { reasons: vec!["journal: closed".into()], restart_may_help: true }
    }
    fn yes(clock: &FakeClock) -> Result<Serving, NotServing> {
        Serving::ask(clock).answered(Ok(()))
    }

    #[test]
    fn the_countdown_starts_with_the_first_proof_and_each_proof_is_one_ping() {
        let (calls, clock) = (Calls::default(), FakeClock::at(UnixMillis(1_000)));
        let mut keeper = Keeper::new(Watchdog::new(Fake(calls.clone(), false)));
        assert_eq!(keeper.beat(Err(inside()), &clock).unwrap(), Beat::Idle(inside()));
        assert_eq!(keeper.beat(yes(&clock), &clock).unwrap(), Beat::Started);
        assert_eq!(keeper.beat(yes(&clock), &clock).unwrap(), Beat::Fed);
        assert_eq!(keeper.beat(Err(inside()), &clock).unwrap(), Beat::Starving(inside()));
        assert_eq!(keeper.beat(Err(outside()), &clock).unwrap(), Beat::StoodDown(outside()));
        assert_eq!(keeper.beat(Err(outside()), &clock).unwrap(), Beat::Idle(outside()));
        assert_eq!(keeper.beat(yes(&clock), &clock).unwrap(), Beat::Started);
        assert_eq!(*calls.0.lock().unwrap(), ["start", "ping", "stop", "start"]);
    }

    #[test]
    fn a_proof_expires_from_when_it_was_asked_for() {
        let (calls, clock) = (Calls::default(), FakeClock::at(UnixMillis(1_000)));
        let mut dog = Watchdog::new(Fake(calls.clone(), false));
        dog.feed(yes(&clock).unwrap(), &clock).unwrap();
        let question = Serving::ask(&clock);
        clock.advance(Serving::LIFE);
        dog.feed(question.answered(Ok(())).unwrap(), &clock).unwrap();
        let question = Serving::ask(&clock);
        clock.advance(Serving::LIFE + Duration::from_millis(7)); // readiness hung
        let late = dog.feed(question.answered(Ok(())).unwrap(), &clock).unwrap_err();
        assert!(matches!(late, BoardError::ProofExpired { late } if late == Duration::from_millis(7)));
        assert_eq!(*calls.0.lock().unwrap(), ["start", "ping"]);
    }

    #[test]
    fn a_watchdog_without_a_way_out_says_so_and_keeps_running() {
        let clock = FakeClock::at(UnixMillis(1_000));
        let mut dog = Watchdog::new(Fake(Calls::default(), true));
        dog.stand_down(&outside()).unwrap(); // not running: nothing to stop
        dog.feed(yes(&clock).unwrap(), &clock).unwrap();
        let error = dog.stand_down(&outside()).unwrap_err();
        assert!(error.to_string().contains("nowayout"), "{error}");
        assert!(dog.is_running());
    }
}
