//! What the follower knows of each endpoint: head, agreement, alarms, when to ask again.

use super::{Action, Alarm};
use crate::state::EndpointStatus;
use gw_proto::Height;
use std::{collections::BTreeSet, time::Instant};

/// An endpoint's head went back.
#[derive(Debug, Clone, Copy)]
struct Regression {
    from: Height,
    to: Height,
    /// Ends when it has this height and shows our block there: all that we hold and all that it has left. A
    /// claim that nobody could check cannot alarm for ever. `None`: nobody has the block that we hold; ends
    /// when somebody does.
    until: Option<Height>,
}

#[derive(Debug)]
struct Endpoint {
    name: String,
    head: Option<Height>,
    /// the highest head it has told; it may not go back
    highest: Height,
    /// the newest height at which it showed the block that we have
    agrees: Height,
    asking_head: bool,
    comparing: bool,
    retry_at: Option<Instant>,
    short_quorum: Option<Height>,
    regression: Option<Regression>,
    error: Option<String>,
    /// whether `error` came of asking for the head: the next head that it tells then ends it
    error_of_head: bool,
}

#[derive(Debug)]
pub(super) struct Endpoints {
    all: Vec<Endpoint>,
    preferred: usize,
}

impl Endpoint {
    fn new(name: String) -> Self {
        Self {
            name,
            head: None,
            highest: Height(0),
            agrees: Height(0),
            asking_head: false,
            comparing: false,
            retry_at: None,
            short_quorum: None,
            regression: None,
            error: None,
            error_of_head: false,
        }
    }

    fn may_ask(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|t| t <= now)
    }

    /// It tells a lower head than before: what it showed counts for nothing any more.
    fn went_back(&mut self, head: Height, position: Height) {
        if self.head.is_none_or(|before| head < before) {
            self.agrees = Height(0);
        }
        let now = head.max(position);
        let until = self.regression.and_then(|r| r.until).map_or(now, |before| before.min(now));
        self.regression = Some(Regression { from: self.highest, to: head, until: Some(until) });
    }

    /// Whether an alarm of this endpoint ends if it shows our block at this height.
    fn is_doubted_at(&self, height: Height) -> bool {
        let ends = |at: Option<Height>| at.is_some_and(|h| h <= height);
        ends(self.short_quorum) || ends(self.regression.and_then(|r| r.until))
    }

    fn alarm(&self) -> Option<Alarm> {
        let endpoint = self.name.clone();
        match (self.short_quorum, self.regression) {
            (Some(height), _) => Some(Alarm::ShortQuorum { endpoint, height }),
            (None, Some(Regression { from, to, .. })) => Some(Alarm::Regression { endpoint, from, to }),
            (None, None) => None,
        }
    }
}

impl Endpoints {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { all: names.into_iter().map(Endpoint::new).collect(), preferred: 0 }
    }

    pub(super) fn status(&self) -> Vec<EndpointStatus> {
        let status = |e: &Endpoint| EndpointStatus {
            endpoint: e.name.clone(),
            head: e.head,
            agrees: e.agrees,
            error: e.error.clone(),
        };
        self.all.iter().map(status).collect()
    }

    pub(super) fn alarms(&self) -> Vec<Alarm> {
        self.all.iter().filter_map(Endpoint::alarm).collect()
    }

    /// Whom to ask for the head now. Failed ones are asked too, once their wait is over.
    pub(super) fn due_for_head(&mut self, now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        for (endpoint, e) in self.all.iter_mut().enumerate() {
            if !e.asking_head && e.may_ask(now) {
                e.asking_head = true;
                out.push(Action::AskHead { endpoint });
            }
        }
        out
    }

    pub(super) fn saw_head(&mut self, endpoint: usize, head: Height, position: Height) {
        // right after a start: if nobody has the block that we hold, the chain itself went back
        let others_below =
            self.all.iter().enumerate().all(|(i, e)| i == endpoint || e.head.is_none_or(|h| h < position));
        let Some(e) = self.all.get_mut(endpoint) else { return };
        e.asking_head = false;
        if std::mem::take(&mut e.error_of_head) {
            e.error = None;
        }
        if head < e.highest {
            e.went_back(head, position);
        } else if others_below && head < position {
            e.regression = Some(Regression { from: position, to: head, until: None });
        } else if e.regression.is_some_and(|r| r.until.is_none()) {
            e.regression = None;
        }
        e.head = Some(head);
        e.highest = e.highest.max(head);
    }

    /// It told no head.
    pub(super) fn head_failed(&mut self, endpoint: usize, why: String, retry_at: Instant) {
        if let Some(e) = self.all.get_mut(endpoint) {
            e.asking_head = false;
            e.error_of_head = true;
        }
        self.failed(endpoint, why, retry_at);
    }

    /// It gave something wrong, or nothing: the others come first, and it is left alone for a while.
    pub(super) fn failed(&mut self, endpoint: usize, why: String, retry_at: Instant) {
        if let Some(e) = self.all.get_mut(endpoint) {
            e.error = Some(why);
            e.retry_at = Some(retry_at);
        }
        if self.preferred == endpoint {
            self.preferred = (self.preferred + 1) % self.all.len().max(1);
        }
    }

    pub(super) fn agreed(&mut self, endpoint: usize, height: Height) {
        if let Some(e) = self.all.get_mut(endpoint) {
            e.agrees = e.agrees.max(height);
            e.error = None;
            e.error_of_head = false;
            // what it showed before, at this height or below, it shows no longer
            if e.short_quorum.is_some_and(|h| h <= height) {
                e.short_quorum = None;
            }
            let ends = |r: &Regression| r.until.is_some_and(|h| h <= height && e.head >= Some(h));
            if e.regression.as_ref().is_some_and(ends) {
                e.regression = None;
                e.highest = e.head.unwrap_or(Height(0));
            }
        }
    }

    /// The state starts anew: what was agreed on is open again.
    pub(super) fn restart(&mut self) {
        for e in &mut self.all {
            e.agrees = Height(0);
        }
    }

    pub(super) fn compared(&mut self, endpoint: usize) {
        if let Some(e) = self.all.get_mut(endpoint) {
            e.comparing = false;
        }
    }

    pub(super) fn short_quorum(&mut self, endpoint: usize, height: Height) {
        if let Some(e) = self.all.get_mut(endpoint) {
            e.short_quorum = Some(e.short_quorum.map_or(height, |h| h.max(height)));
        }
    }

    /// Whom to ask for a block: the preferred one, or the next that has it and is not left alone. One that
    /// owes answers comes into question only while there is no other: its head is only a claim.
    pub(super) fn choose(&self, height: Height, now: Instant, owing: &BTreeSet<usize>) -> Option<usize> {
        let n = self.all.len();
        let mut order = (0..n).map(|i| (self.preferred + i) % n).filter_map(|i| Some((i, self.all.get(i)?)));
        let has = |e: &Endpoint| e.head.is_some_and(|h| h >= height) && e.may_ask(now);
        let prompt = |i: usize, e: &Endpoint| e.head.is_some() && e.may_ask(now) && !owing.contains(&i);
        let alone = !self.all.iter().enumerate().any(|(i, e)| prompt(i, e));
        order.find(|(i, e)| has(e) && (alone || prompt(*i, e))).map(|(i, _)| i)
    }

    /// Whom to ask for a header: at the highest height that it has and that we still remember, unless it has
    /// shown that block already.
    pub(super) fn due_for_comparison(&mut self, known: &[Height], now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        for (endpoint, e) in self.all.iter_mut().enumerate() {
            let Some(head) = e.head else { continue };
            let Some(height) = known.iter().rev().find(|h| **h <= head && h.0 > 0).copied() else { continue };
            if (height > e.agrees || e.is_doubted_at(height)) && !e.comparing && e.may_ask(now) {
                e.comparing = true;
                out.push(Action::FetchHeader { endpoint, height });
            }
        }
        out
    }
}
