//! The follower between endpoints that a test bends: events in the order that the test chooses.

use super::*;
use crate::{
    endpoint::RawBlock,
    follower::{Action, Alarm, Event, Follower, FollowerOptions, Moment},
    state::Cursor,
};
use std::time::Instant;

/// What an endpoint does instead of the truth.
#[derive(Clone, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// refuses every call
    Down,
    /// never answers
    Silent,
    /// tells its head, then never answers
    Stalls,
    /// shows bent blocks and headers
    Bends(Bend),
}

/// An endpoint: a chain, what it claims, what it does wrong.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) chain: FakeChain,
    pub(crate) claims: Option<u64>,
    pub(crate) fault: Fault,
}

impl Peer {
    pub(crate) fn honest(chain: &FakeChain) -> Self {
        Self { chain: chain.clone(), claims: None, fault: Fault::None }
    }

    fn block(&self, height: Height) -> Result<Box<RawBlock>, String> {
        let mut block = self.chain.block(height).cloned().ok_or("there is no such block")?;
        if let Fault::Bends(bend) = &self.fault {
            bend(&mut block);
        }
        Ok(Box::new(block))
    }

    /// Its answer; `None` as long as it is silent.
    fn answer(&self, action: &Action) -> Option<Event> {
        let down = matches!(self.fault, Fault::Down);
        let refused = || Err("connection refused".to_owned());
        Some(match *action {
            _ if matches!(self.fault, Fault::Silent) => return None,
            Action::AskHead { endpoint } => {
                let head = Height(self.claims.unwrap_or(self.chain.head().0));
                Event::Head { endpoint, result: if down { refused() } else { Ok(head) } }
            }
            _ if matches!(self.fault, Fault::Stalls) => return None,
            Action::FetchBlock { endpoint, height } => {
                let result = if down { Err("connection refused".to_owned()) } else { self.block(height) };
                Event::Block { endpoint, height, result }
            }
            Action::FetchHeader { endpoint, height } => {
                let result = if down { Err("connection refused".to_owned()) } else { self.block(height) };
                Event::Header { endpoint, height, result: result.map(|b| Box::new(b.header)) }
            }
            _ => panic!("no question: {action:?}"),
        })
    }
}

/// Which endpoint is asked.
pub(crate) fn endpoint_of(action: &Action) -> usize {
    match action {
        Action::AskHead { endpoint }
        | Action::FetchBlock { endpoint, .. }
        | Action::FetchHeader { endpoint, .. } => *endpoint,
        _ => panic!("no question: {action:?}"),
    }
}

/// The follower, its endpoints, and what it has asked of whom. Commits go to `handle`.
pub(crate) struct Bench {
    pub(crate) follower: Follower,
    pub(crate) peers: Vec<Peer>,
    /// asked and not answered
    pub(crate) pending: Vec<Action>,
    /// asked before a restart and not answered
    pub(crate) stale: Vec<Action>,
    pub(crate) committing: Option<Box<VerifiedBlock>>,
    /// heights, in the order in which they were committed
    pub(crate) committed: Vec<u64>,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) halted: Option<String>,
    pub(crate) handle: StateHandle,
    pub(crate) moment: Moment,
    window: u64,
}

impl Bench {
    pub(crate) fn new(world: &World, peers: Vec<Peer>) -> Self {
        Self::with(world, peers, FollowerOptions::default())
    }

    /// Its wall clock stands at the chain's head.
    pub(crate) fn with(world: &World, peers: Vec<Peer>, options: FollowerOptions) -> Self {
        let (handle, _) = world.fresh();
        Self::on(handle, world.head_time(), peers, options)
    }

    /// Starts at the state's cursor.
    pub(crate) fn on(
        handle: StateHandle,
        wall: UnixMillis,
        peers: Vec<Peer>,
        options: FollowerOptions,
    ) -> Self {
        let names = (0..peers.len()).map(|i| format!("peer{i}")).collect();
        let follower = Follower::new(handle.genesis().clone(), names, handle.cursor(), options);
        Self {
            follower,
            peers,
            pending: Vec::new(),
            stale: Vec::new(),
            committing: None,
            committed: Vec::new(),
            alarms: Vec::new(),
            halted: None,
            handle,
            moment: Moment { wall, instant: Instant::now() },
            window: options.window.max(1),
        }
    }

    pub(crate) fn height(&self) -> u64 {
        self.follower.position().height.0
    }

    /// Takes an event, sorts what the follower wants, checks its bounds.
    pub(crate) fn event(&mut self, event: Event) {
        let halted = self.halted.is_some();
        for action in self.follower.on(event, self.moment) {
            assert!(!halted, "after the halt: {action:?}");
            match action {
                Action::Commit(block) => {
                    assert!(self.committing.is_none(), "two commits at a time");
                    assert_eq!(block.header().number().0, self.height() + 1, "out of order");
                    self.committing = Some(block);
                }
                Action::Alarms(alarms) => {
                    assert_ne!(alarms, self.alarms, "told twice");
                    self.alarms = alarms;
                }
                Action::Halt(why) => self.halted = Some(why),
                ask => self.ask(ask),
            }
        }
    }

    fn ask(&mut self, ask: Action) {
        if let Action::FetchBlock { endpoint, height } = ask {
            assert!(height.0 > self.height() && height.0 <= self.height() + self.window, "asks for {height}");
            let same = |a: &Action| matches!(a, Action::FetchBlock { endpoint: e, height: h } if (*e, *h) == (endpoint, height));
            assert!(!self.pending.iter().any(same), "asks peer{endpoint} twice for {height}");
        }
        self.pending.push(ask);
    }

    /// (endpoint, height) of the blocks that are being asked for.
    pub(crate) fn fetches(&self) -> Vec<(usize, u64)> {
        let of = |a: &Action| match a {
            Action::FetchBlock { endpoint, height } => Some((*endpoint, height.0)),
            _ => None,
        };
        self.pending.iter().filter_map(of).collect()
    }

    /// Lets the endpoint answer the question at `index`, if it does.
    pub(crate) fn answer(&mut self, index: usize) -> bool {
        let answer = self.peers[endpoint_of(&self.pending[index])].answer(&self.pending[index]);
        if let Some(event) = answer {
            self.pending.remove(index);
            self.event(event);
            return true;
        }
        false
    }

    /// Lets a question from before a restart be answered.
    pub(crate) fn answer_stale(&mut self) -> bool {
        let answer = |a: &Action| self.peers[endpoint_of(a)].answer(a);
        let Some((i, event)) = self.stale.iter().enumerate().find_map(|(i, a)| Some((i, answer(a)?))) else {
            return false;
        };
        self.stale.remove(i);
        self.event(event);
        true
    }

    /// Commits what is to be committed.
    pub(crate) fn commit(&mut self) -> bool {
        let Some(block) = self.committing.take() else { return false };
        self.handle.commit(&block).unwrap();
        self.committed.push(block.header().number().0);
        self.event(Event::Committed(self.handle.cursor()));
        true
    }

    /// One answer or commit; false if nothing happens by itself any more.
    pub(crate) fn step(&mut self) -> bool {
        (0..self.pending.len()).any(|i| self.answer(i)) || self.answer_stale() || self.commit()
    }

    /// Until nothing happens by itself any more. A follower that asks without end is caught.
    pub(crate) fn settle(&mut self) {
        let steps = (0..2_000).take_while(|_| self.halted.is_none() && self.step()).count();
        assert!(steps < 2_000, "asks without end: {:?}", self.pending);
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        let by = Duration::from_millis(ms);
        self.moment = Moment { wall: self.moment.wall.plus(by), instant: self.moment.instant + by };
    }

    /// Time passes, then the follower's clock ticks and all that follows from it happens.
    pub(crate) fn tick(&mut self, ms: u64) {
        self.pass(ms);
        self.event(Event::Tick);
        self.settle();
    }

    /// What the driver does with an endpoint that is silent for too long.
    pub(crate) fn time_out(&mut self, endpoint: usize) {
        let (over, rest) =
            std::mem::take(&mut self.pending).into_iter().partition(|a| endpoint_of(a) == endpoint);
        self.pending = rest;
        let over: Vec<Action> = over;
        for action in over {
            let why = || "no answer".to_owned();
            self.event(match action {
                Action::FetchBlock { endpoint, height } => {
                    Event::Block { endpoint, height, result: Err(why()) }
                }
                Action::FetchHeader { endpoint, height } => {
                    Event::Header { endpoint, height, result: Err(why()) }
                }
                _ => Event::Head { endpoint, result: Err(why()) },
            });
        }
    }

    /// The state is emptied, as after damage.
    pub(crate) fn restart(&mut self) {
        self.committing = None;
        self.stale.append(&mut self.pending);
        let cursor = self.handle.rebuild().unwrap();
        self.committed.clear();
        self.event(Event::Restarted(cursor));
    }

    pub(crate) fn error_of(&self, endpoint: usize) -> String {
        self.follower.status()[endpoint].error.clone().unwrap_or_default()
    }

    /// What was committed is this chain's beginning, each block once.
    pub(crate) fn assert_prefix_of(&self, chain: &FakeChain) {
        let cursor: Cursor = self.handle.cursor();
        assert_eq!(self.committed, (1..=cursor.height.0).collect::<Vec<_>>());
        for h in 1..=cursor.height.0 {
            let ours = self.handle.hash_at(Height(h)).unwrap().unwrap();
            assert_eq!(fisco::write_0x(&ours.0), chain.block(Height(h)).unwrap().header.hash, "block {h}");
        }
    }
}
