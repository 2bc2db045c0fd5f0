//! The switch: by edge or by polling, debounced, and what counts as opened.

use crate::{BoardError, hal::DynInput};
use embedded_hal::digital::InputPin;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// A switch whose edges the kernel catches, debounced there.
pub trait EdgeInput: Send {
    /// Whether the case is open now.
    fn is_open(&mut self) -> Result<bool, BoardError>;
    /// Waits at most `timeout`; true if the case was opened since the last call, even if it is closed again.
    fn wait_opened(&mut self, timeout: Duration) -> Result<bool, BoardError>;
}

/// The board's tamper switch.
pub enum TamperInput {
    /// asked now and then; high means open
    Polled(DynInput),
    /// by interrupt
    Edge(Box<dyn EdgeInput>),
}

impl TamperInput {
    /// For the report at start.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Polled(_) => "polled",
            Self::Edge(_) => "by edge",
        }
    }
    /// Reads the level now.
    pub(super) fn level(&mut self) -> Sample {
        let open = match self {
            Self::Polled(pin) => pin.is_high().map_err(|e| e.to_string()),
            Self::Edge(input) => input.is_open().map_err(|e| e.to_string()),
        };
        match open {
            Ok(true) => Sample::Open,
            Ok(false) => Sample::Closed,
            Err(_) => Sample::Unreadable,
        }
    }
}

impl std::fmt::Debug for TamperInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TamperInput({})", self.describe())
    }
}

/// What was seen of the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// closed
    Closed,
    /// open at this moment
    Open,
    /// an edge that the kernel debounced: it was open since the last look
    Edge,
    /// the line could not be read
    Unreadable,
}

/// Why the box is treated as tampered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// the switch opened
    CaseOpened,
    /// the switch could not be read any more
    SwitchLost,
}

impl Cause {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CaseOpened => "the case was opened",
            Self::SwitchLost => "the tamper switch cannot be read",
        }
    }
}

/// Turns samples into a cause, once.
#[derive(Debug)]
pub struct Detector {
    debounce: Duration,
    max_unreadable: u32,
    open_since: Option<Instant>,
    unreadable: u32,
}

impl Detector {
    /// `debounce`: how long a polled level must stay open; `max_unreadable`: failed reads in a row that are forgiven.
    pub fn new(debounce: Duration, max_unreadable: u32) -> Self {
        Self { debounce, max_unreadable, open_since: None, unreadable: 0 }
    }
    /// One look at `at`. An unreadable moment does not restart the debouncing: it is no proof of a closed case.
    pub fn observe(&mut self, sample: Sample, at: Instant) -> Option<Cause> {
        match sample {
            Sample::Unreadable => {
                self.unreadable = self.unreadable.saturating_add(1);
                return (self.unreadable > self.max_unreadable).then_some(Cause::SwitchLost);
            }
            Sample::Edge => return Some(Cause::CaseOpened),
            Sample::Closed => self.open_since = None,
            Sample::Open => {
                let since = *self.open_since.get_or_insert(at);
                if at.saturating_duration_since(since) >= self.debounce {
                    return Some(Cause::CaseOpened);
                }
            }
        }
        self.unreadable = 0;
        None
    }
    /// A level is being debounced: look again soon.
    pub fn is_pending(&self) -> bool {
        self.open_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> impl Strategy<Value = Sample> {
        prop_oneof![
            3 => Just(Sample::Closed), 3 => Just(Sample::Open), 1 => Just(Sample::Unreadable)
        ]
    }

    /// The rule in one sentence, written the slow way.
    fn model(seen: &[(Sample, u64)], debounce: u64, forgiven: usize) -> Option<Cause> {
        let tail = seen.iter().rev().take_while(|(s, _)| *s == Sample::Unreadable).count();
        if tail > forgiven {
            return Some(Cause::SwitchLost);
        }
        let (last, now) = *seen.last()?;
        let run = seen.iter().rev().take_while(|(s, _)| *s != Sample::Closed);
        let first_open = run.filter(|(s, _)| *s == Sample::Open).last()?.1;
        (last == Sample::Open && now - first_open >= debounce).then_some(Cause::CaseOpened)
    }

    proptest! {
        #[test]
        fn agrees_with_the_rule(
            steps in prop::collection::vec((sample(), 0u64..60), 1..60), debounce in 0u64..100, forgiven in 0u32..6
        ) {
            let start = Instant::now();
            let mut detector = Detector::new(Duration::from_millis(debounce), forgiven);
            let (mut seen, mut at) = (Vec::new(), 0);
            for (sample, wait) in steps {
                at += wait;
                seen.push((sample, at));
                let found = detector.observe(sample, start + Duration::from_millis(at));
                prop_assert_eq!(found, model(&seen, debounce, forgiven as usize));
                if found.is_some() {
                    break;
                }
            }
        }
    }

    #[test]
    fn an_edge_needs_no_second_look() {
        let mut d = Detector::new(Duration::from_secs(1), 0);
        assert_eq!(d.observe(Sample::Edge, Instant::now()), Some(Cause::CaseOpened));
    }
}
