//! The exchange as a state machine: no sockets, no clock, no randomness of its own.
//!
//! Time is a `Duration` since the exchange began, handed in with every call; jitter comes from a seed.
//! [`Exchange::poll`] says whom to ask now, [`Exchange::on`] takes what happened, [`Exchange::wake`] says
//! when to poll again if nothing happens. One deadline covers everything. All retries of an exchange
//! share one budget, so that a region in trouble is not asked to death by everybody at once.

use crate::{peer::AskError, plan::Plan, reply::check_reply};
use gw_proto::{Digest, Dimension, Height, Hex, NodeId, ReportId, message::SignedReply, record::Node};
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
            Event::Replied { source, attempt, .. } | Event::Failed { source, attempt, .. } => {
                (source, *attempt)
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const MS: Duration = Duration::from_millis(1);

    fn limits() -> Limits {
        Limits { deadline: 1_000 * MS, attempt: 400 * MS, concurrency: 4, ..Limits::default() }
    }

    /// How one source behaves, try by try; the last way stays.
    #[derive(Debug, Clone)]
    enum Way {
        Honest,
        Empty,
        Lie(usize),
        Unreachable,
        Refuse { may_retry: bool },
        Silent,
    }

    fn way() -> impl Strategy<Value = Way> {
        prop_oneof![
            4 => Just(Way::Honest),
            1 => Just(Way::Empty),
            1 => (0..LIES).prop_map(Way::Lie),
            2 => Just(Way::Unreachable),
            1 => any::<bool>().prop_map(|may_retry| Way::Refuse { may_retry }),
            1 => Just(Way::Silent),
        ]
    }

    fn act(ask: &Ask, way: &Way) -> Option<Event> {
        let (source, attempt) = (ask.source.clone(), ask.attempt);
        let request = gw_proto::sm3(format!("{source} {attempt}").as_bytes());
        let channel = gw_proto::sm3(format!("channel {source} {attempt}").as_bytes());
        let replied = |s: SignedReply| {
            let (source, reply) = (source.clone(), Box::new(s));
            Some(Event::Replied { source, attempt, reply, channel, requests: vec![request] })
        };
        let failed = |error| Some(Event::Failed { source: source.clone(), attempt, error });
        match way {
            Way::Honest => replied(signed(reply(&source, request, channel), &key_of(&source))),
            Way::Empty => {
                let mut r = reply(&source, request, channel);
                r.status = gw_proto::message::ReplyStatus::Empty;
                r.items.clear();
                replied(signed(r, &key_of(&source)))
            }
            Way::Lie(which) => replied(lie(&source, request, channel, *which)),
            Way::Unreachable => failed(AskError::Unreachable),
            Way::Refuse { may_retry } => {
                failed(AskError::Refused { problem: "state-behind".into(), may_retry: *may_retry })
            }
            Way::Silent => None,
        }
    }

    struct Run {
        outcomes: BTreeMap<NodeId, Outcome>,
        asks: Vec<Ask>,
        ended: Duration,
        most_open: usize,
    }

    /// Runs an exchange in simulated time; `stray` events of nobody's asking are thrown in all along.
    fn run(fleet: &[(Vec<Way>, Vec<u64>)], limits: Limits, seed: u64) -> Run {
        let mut x = Exchange::new(&plan(fleet.len()), terms(), limits, seed);
        let mut coming: Vec<(Duration, Event)> = Vec::new();
        let (mut now, mut asks, mut most_open) = (Duration::ZERO, Vec::new(), 0);
        loop {
            for ask in x.poll(now) {
                let index = fleet.iter().enumerate().position(|(i, _)| node(i).id == ask.source).unwrap();
                let (ways, delays) = &fleet[index];
                let n = ask.attempt as usize - 1;
                let way = ways.get(n).or(ways.last()).unwrap();
                let delay = delays[n % delays.len()];
                coming.extend(act(&ask, way).map(|e| (now + MS * u32::try_from(delay).unwrap(), e)));
                asks.push(ask);
            }
            most_open =
                most_open.max(x.lines.values().filter(|l| matches!(l.state, State::Asked { .. })).count());
            let stray = Ask { source: node(777).id, attempt: 1, timeout: MS };
            x.on(act(&stray, &Way::Honest).unwrap(), now);
            let Some(wake) = x.wake(now) else { break };
            assert!(wake > now || coming.iter().any(|(t, _)| *t <= now), "the exchange spins at {now:?}");
            coming.sort_by_key(|(t, _)| *t);
            match coming.first() {
                Some((t, _)) if *t <= wake => {
                    let (t, event) = coming.remove(0);
                    now = now.max(t);
                    x.on(event, now);
                }
                _ => now = wake,
            }
        }
        assert_eq!(x.asks(), asks.len());
        Run { outcomes: x.finish(), asks, ended: now, most_open }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn a_fleet_never_costs_more_than_the_budget_and_gets_nothing_in_unasked(
            fleet in proptest::collection::vec(
                (proptest::collection::vec(way(), 1..4), proptest::collection::vec(0u64..700, 1..4)), 0..14),
            seed in any::<u64>(), percent in 0u32..60,
        ) {
            let limits = Limits { retry_percent: percent, ..limits() };
            let r = run(&fleet, limits, seed);
            // the budget, the deadline, the number of asks at a time
            let extra = (fleet.len() * percent as usize / 100).max(1);
            prop_assert!(r.asks.len() <= fleet.len() + extra, "{} asks of {}", r.asks.len(), fleet.len());
            prop_assert!(r.ended <= limits.deadline);
            prop_assert!(r.most_open <= limits.concurrency);
            // every planned source once, nobody else
            let planned: BTreeSet<_> = (0..fleet.len()).map(|i| node(i).id).collect();
            prop_assert_eq!(r.outcomes.keys().cloned().collect::<BTreeSet<_>>(), planned.clone());
            prop_assert!(r.asks.iter().all(|a| planned.contains(&a.source)));
            for (i, (ways, delays)) in fleet.iter().enumerate() {
                let tries = r.asks.iter().filter(|a| a.source == node(i).id).count();
                let used: Vec<&Way> = (0..tries).map(|n| ways.get(n).or(ways.last()).unwrap()).collect();
                match &r.outcomes[&node(i).id] {
                    Outcome::Replied(s) => {
                        prop_assert_eq!(&s.reply.source, &node(i).id);
                        prop_assert!(matches!(used.last(), Some(Way::Honest | Way::Empty)));
                    }
                    Outcome::Refused { problem } => prop_assert_eq!(problem, "state-behind"),
                    Outcome::Missing { reason: "bad-reply" } => prop_assert!(matches!(used.last(), Some(Way::Lie(_)))),
                    Outcome::Missing { reason: "not-asked" } => prop_assert_eq!(tries, 0),
                    Outcome::Missing { .. } => {}
                }
                // who answers honestly and at once on the first try is never a gap
                if matches!(ways[0], Way::Honest) && delays[0] < 300 && fleet.len() <= limits.concurrency {
                    prop_assert!(matches!(r.outcomes[&node(i).id], Outcome::Replied(_)));
                }
            }
        }
    }

    #[test]
    fn one_retry_is_always_there_and_backs_off() {
        let r = run(&[(vec![Way::Unreachable, Way::Honest], vec![10])], limits(), 7);
        assert!(matches!(r.outcomes[&node(0).id], Outcome::Replied(_)));
        assert_eq!(r.asks.len(), 2);
        // 10 ms to fail, half to whole of 100 ms pause, 10 ms to answer
        assert!(r.ended >= 70 * MS && r.ended <= 121 * MS, "{:?}", r.ended);
        // jitter comes from the seed
        assert_ne!(run(&[(vec![Way::Unreachable, Way::Honest], vec![10])], limits(), 8).ended, r.ended);
    }

    #[test]
    fn no_retry_for_lies_and_refusals_without_hope() {
        for way in [Way::Lie(5), Way::Refuse { may_retry: false }] {
            assert_eq!(run(&[(vec![way], vec![10])], limits(), 7).asks.len(), 1);
        }
        assert_eq!(run(&[(vec![Way::Refuse { may_retry: true }], vec![10])], limits(), 7).asks.len(), 2);
    }

    #[test]
    fn a_silent_source_is_asked_again_and_then_missing() {
        let r = run(&[(vec![Way::Silent], vec![0])], limits(), 7);
        assert_eq!(r.outcomes[&node(0).id], Outcome::Missing { reason: "timeout" });
        let timeouts: Vec<_> = r.asks.iter().map(|a| a.timeout).collect();
        assert_eq!(timeouts[0], 400 * MS);
        assert_eq!(timeouts.len(), 2);
    }

    #[test]
    fn a_reply_after_its_attempt_or_after_the_deadline_is_too_late() {
        let mut x = Exchange::new(&plan(1), terms(), limits(), 7);
        let first = x.poll(Duration::ZERO).remove(0);
        let honest = act(&first, &Way::Honest).unwrap();
        // the first try times out; its reply comes during the second
        assert!(x.poll(400 * MS).is_empty());
        let second = x.poll(600 * MS).remove(0);
        assert_eq!(second.attempt, 2);
        x.on(honest, 650 * MS);
        assert!(!x.is_done());
        // the second's own reply comes at the deadline
        x.on(act(&second, &Way::Honest).unwrap(), 1_000 * MS);
        assert!(x.is_done());
        assert_eq!(x.finish()[&node(0).id], Outcome::Missing { reason: "timeout" });
    }

    #[test]
    fn a_peers_words_are_not_copied() {
        assert_eq!(problem_code("state-behind"), "state-behind");
        for words in ["", "Bad Thing", "\u{1b}[2J", &"x".repeat(65)] {
            assert_eq!(problem_code(words), "unknown");
        }
    }
}
