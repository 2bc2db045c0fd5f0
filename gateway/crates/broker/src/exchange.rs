//! The exchange as a state machine: no sockets, no clock, no randomness of its own.
//!
//! Time is a `Duration` since the exchange began, handed in with every call; jitter comes from a seed.
//! [`Exchange::poll`] says whom to ask now, [`Exchange::on`] takes what happened, [`Exchange::wake`] says
//! when to poll again if nothing happens. One deadline covers everything. All retries of an exchange
//! share one budget, so that a region in trouble is not asked to death by everybody at once.

use crate::{
    peer::AskError,
    plan::Plan,
    reply::check_reply,
};
use gw_proto::{
    Digest, Dimension, Height, Hex, NodeId, ReportId,
    message::SignedReply,
    record::Node,
};
use std::{collections::BTreeMap, time::Duration};

/// What every reply must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// the use
    pub report_id: ReportId,
    /// our node
    pub asker: NodeId,
    /// what may be answered
    pub dimensions: Vec<Dimension>,
    /// block of the reservation
    pub reserved_at: Height,
}

/// Bounds of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// after it every open question is a gap in the report
    pub deadline: Duration,
    /// one ask at most; shorter than the deadline, so that a retry has time left
    pub attempt: Duration,
    /// asks at the same time
    pub concurrency: usize,
    /// extra asks in percent of the planned ones, rounded down; at least one
    pub retry_percent: u32,
    /// before the first retry; doubles with every further one of the same source
    pub backoff: Duration,
    /// the longest pause
    pub backoff_most: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(8),
            attempt: Duration::from_secs(5),
            concurrency: 16,
            retry_percent: 20,
            backoff: Duration::from_millis(100),
            backoff_most: Duration::from_secs(2),
        }
    }
}

/// Ask this source now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// whom
    pub source: NodeId,
    /// which try, from 1; comes back in the event
    pub attempt: u32,
    /// for how long
    pub timeout: Duration,
}

/// What happened to an ask.
#[derive(Debug, Clone)]
pub enum Event {
    /// a reply came, unverified
    Replied {
        /// from the ask to this node
        source: NodeId,
        /// of this try
        attempt: u32,
        /// what came
        reply: Box<SignedReply>,
        /// exporter value of the connection it came over
        channel: Hex<32>,
        /// leaf hashes of the requests sent in this try
        requests: Vec<Digest>,
    },
    /// none came
    Failed {
        /// from the ask to this node
        source: NodeId,
        /// of this try
        attempt: u32,
        /// why
        error: AskError,
    },
}

/// What became of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// a verified reply
    Replied(Box<SignedReply>),
    /// it refused
    Refused {
        /// problem type's last segment
        problem: String,
    },
    /// nothing acceptable came in time; the word says why
    Missing {
        /// `unreachable`, `timeout`, `bad-reply`, `not-asked`
        reason: &'static str,
    },
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    terms: Terms,
    limits: Limits,
    lines: BTreeMap<NodeId, Line>,
    retries_left: usize,
    asks: usize,
    seed: u64,
}

#[derive(Debug)]
struct Line {
    node: Node,
    attempts: u32,
    last: Option<AskError>,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting { from: Duration },
    Asked { until: Duration },
    Settled(Outcome),
}

impl Exchange {
    /// An exchange over the plan's asked nodes. `seed` is fresh randomness, for jitter only.
    pub fn new(plan: &Plan, terms: Terms, limits: Limits, seed: u64) -> Self {
        let line = |node: &Node| {
            let state = State::Waiting { from: Duration::ZERO };
            (node.id.clone(), Line { node: node.clone(), attempts: 0, last: None, state })
        };
        let lines: BTreeMap<_, _> = plan.asked.iter().map(line).collect();
        let percent = usize::try_from(limits.retry_percent).unwrap_or(0);
        let retries_left = (lines.len().saturating_mul(percent) / 100).max(1);
        Self { terms, limits, lines, retries_left, asks: 0, seed }
    }

    /// Whom to ask now. Ends asks that ran out of time, and at the deadline everything that is open.
    pub fn poll(&mut self, now: Duration) -> Vec<Ask> {
        self.expire(now);
        let Self { lines, limits, asks, .. } = self;
        let open = lines.values().filter(|l| matches!(l.state, State::Asked { .. })).count();
        let free = limits.concurrency.max(1).saturating_sub(open);
        let left = limits.deadline.saturating_sub(now);
        lines
            .iter_mut()
            .filter(|(_, l)| matches!(l.state, State::Waiting { from } if from <= now))
            .take(if left.is_zero() { 0 } else { free })
            .map(|(source, line)| {
                let timeout = limits.attempt.min(left);
                line.attempts += 1;
                line.state = State::Asked { until: now + timeout };
                *asks += 1;
                Ask { source: source.clone(), attempt: line.attempts, timeout }
            })
            .collect()
    }

    /// Takes what happened. An event of a node that was not asked, or of an earlier try, changes nothing.
    pub fn on(&mut self, event: Event, now: Duration) {
        self.expire(now);
        let (source, attempt) = match &event {
            Event::Replied { source, attempt, .. } | Event::Failed { source, attempt, .. } => (source, *attempt),
        };
        let Some(line) = self.lines.get_mut(source) else { return };
        if line.attempts != attempt || !matches!(line.state, State::Asked { .. }) {
            return;
        }
        match event {
            Event::Failed { source, error, .. } => self.failed(&source, error, now),
            Event::Replied { source, reply, channel, requests, .. } => {
                match check_reply(&self.terms, &line.node, &reply, &channel, &requests) {
                    Ok(()) => line.state = State::Settled(Outcome::Replied(reply)),
                    Err(fault) => self.failed(&source, AskError::BadReply(fault.to_string()), now),
                }
            }
        }
    }

    /// When to poll again if no event comes; `None` when everything is settled. A source that only waits
    /// for a free slot needs no timer: the slot's own end is one.
    pub fn wake(&self, now: Duration) -> Option<Duration> {
        if self.is_done() {
            return None;
        }
        let next = |l: &Line| match l.state {
            State::Waiting { from } => Some(from).filter(|f| *f > now),
            State::Asked { until } => Some(until),
            State::Settled(_) => None,
        };
        let first = self.lines.values().filter_map(next).min();
        Some(first.map_or(self.limits.deadline, |t| t.min(self.limits.deadline)))
    }

    /// Sources without a reply, and what went wrong last: for the log.
    pub fn failures(&self) -> impl Iterator<Item = (&NodeId, &AskError)> {
        self.lines
            .iter()
            .filter(|(_, l)| !matches!(l.state, State::Settled(Outcome::Replied(_))))
            .filter_map(|(id, l)| Some((id, l.last.as_ref()?)))
    }

    /// Every source is settled.
    pub fn is_done(&self) -> bool {
        self.lines.values().all(|l| matches!(l.state, State::Settled(_)))
    }

    /// Asks made so far.
    pub fn asks(&self) -> usize {
        self.asks
    }

    /// The planned node of that id.
    pub fn node(&self, source: &NodeId) -> Option<&Node> {
        self.lines.get(source).map(|l| &l.node)
    }

    /// What became of each planned source; what is still open is missing.
    pub fn finish(self) -> BTreeMap<NodeId, Outcome> {
        self.lines.into_iter().map(|(id, line)| (id, line.into_outcome())).collect()
    }

    fn expire(&mut self, now: Duration) {
        let late = now >= self.limits.deadline;
        let overdue: Vec<NodeId> = self
            .lines
            .iter()
            .filter(|(_, l)| matches!(l.state, State::Asked { until } if until <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for source in overdue {
            self.failed(&source, AskError::Timeout, now);
        }
        if late {
            for line in self.lines.values_mut() {
                if !matches!(line.state, State::Settled(_)) {
                    line.state = State::Settled(line.missing());
                }
            }
        }
    }

    fn failed(&mut self, source: &NodeId, error: AskError, now: Duration) {
        let Some(attempts) = self.lines.get(source).map(|l| l.attempts) else { return };
        let from = now + self.pause(attempts);
        let again = error.may_retry() && self.retries_left > 0 && from < self.limits.deadline;
        let Some(line) = self.lines.get_mut(source) else { return };
        line.state = if again {
            self.retries_left -= 1;
            State::Waiting { from }
        } else if let AskError::Refused { problem, .. } = &error {
            State::Settled(Outcome::Refused { problem: problem_code(problem) })
        } else {
            State::Settled(Outcome::Missing { reason: error.reason() })
        };
        line.last = Some(error);
    }

    /// Exponential with jitter: between half and the whole of `backoff` · 2^(attempts − 1).
    fn pause(&mut self, attempts: u32) -> Duration {
        let doubled = self.limits.backoff.saturating_mul(1 << attempts.saturating_sub(1).min(10));
        let whole = doubled.min(self.limits.backoff_most);
        let permille = u32::try_from(self.draw() % 501).unwrap_or(0);
        whole / 2 + (whole * permille) / 1000
    }

    /// SplitMix64: enough to spread retries, not a source of secrets.
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Line {
    fn missing(&self) -> Outcome {
        match &self.last {
            Some(AskError::Refused { problem, .. }) => Outcome::Refused { problem: problem_code(problem) },
            Some(error) => Outcome::Missing { reason: error.reason() },
            None if self.attempts == 0 => Outcome::Missing { reason: "not-asked" },
            None => Outcome::Missing { reason: "timeout" },
        }
    }
    fn into_outcome(self) -> Outcome {
        match self.state {
            State::Settled(outcome) => outcome,
            _ => self.missing(),
        }
    }
}

/// A peer's words do not get into a signed report: only a code of our own form does.
fn problem_code(problem: &str) -> String {
    let code = (1..=64).contains(&problem.len())
        && problem.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if code { problem.to_owned() } else { "unknown".to_owned() }
}
