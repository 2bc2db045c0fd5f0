//! Which endpoint to ask what, when to commit, when to alarm, when to halt. No I/O, no clock.
//!
//! Events go in, actions come out. One block at a time is committed, in order; a few are fetched ahead.
//! Blocks come from any endpoint that has them; every *other* endpoint is asked for the header at the same
//! height, so that a second chain is seen. What it means:
//!
//! | seen | done |
//! |---|---|
//! | two quorum-signed headers at one height | halt: the chain has forked, an operator must look |
//! | a header without a quorum; a head that went back | alarm: nothing is served until that endpoint does better |
//! | a block that does not verify otherwise, or an error | the endpoint waits its turn out, another is asked |
//! | no answer for a while | another is asked too; until it answers, others come first |
//! | a block dated too far ahead of the local clock | refused; asked for again later |

mod endpoints;

use crate::{
    endpoint::RawBlock,
    error::BlockFault,
    state::{Cursor, EndpointStatus, MAX_AHEAD},
    verify::{VerifiedBlock, verify_block},
};
use endpoints::Endpoints;
use gw_proof::verify_header;
use gw_proto::{Digest, Height, UnixMillis, fisco::BlockHeader, genesis::Genesis};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// For how many blocks the follower itself remembers the hash, to compare endpoints that lag.
const REMEMBERED: usize = 256;

/// How the follower behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerOptions {
    /// a header dated farther ahead of the local clock is refused; default 10 s
    pub max_ahead: Duration,
    /// how many blocks are fetched ahead; default 4
    pub window: u64,
    /// how long an endpoint that failed is left alone; default 1 s
    pub retry_after: Duration,
    /// how long an endpoint may take for a block before another is asked for it too; default 1 s, half of what
    /// an answering gateway waits for a height
    pub patience: Duration,
}

impl Default for FollowerOptions {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { max_ahead: MAX_AHEAD, window: 4, retry_after: second, patience: second }
    }
}

/// When an event happened. The wall time is the machine's own, not lifted by the chain's: a chain that runs
/// ahead must not pull its own limit along.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// wall clock
    pub wall: UnixMillis,
    /// monotonic clock
    pub instant: Instant,
}

/// What happened. Endpoints are named by their index. Errors are texts for people.
#[derive(Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// An endpoint told its head.
    Head {
        /// which
        endpoint: usize,
        /// the height, or why not
        result: Result<Height, String>,
    },
    /// An endpoint gave a block.
    Block {
        /// which
        endpoint: usize,
        /// the height asked for
        height: Height,
        /// the block, or why not
        result: Result<Box<RawBlock>, String>,
    },
    /// An endpoint gave a header.
    Header {
        /// which
        endpoint: usize,
        /// the height asked for
        height: Height,
        /// the header, or why not
        result: Result<Box<BlockHeader>, String>,
    },
    /// The block that was to be committed is in the state.
    Committed(Cursor),
    /// The state was emptied, or the commit failed and may be tried again.
    Restarted(Cursor),
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Ask an endpoint for its head.
    AskHead {
        /// which
        endpoint: usize,
    },
    /// Ask an endpoint for a block.
    FetchBlock {
        /// which
        endpoint: usize,
        /// which block
        height: Height,
    },
    /// Ask an endpoint for a header, to compare.
    FetchHeader {
        /// which
        endpoint: usize,
        /// which block
        height: Height,
    },
    /// Apply and store this block; answer with [`Event::Committed`] or [`Event::Restarted`].
    Commit(Box<VerifiedBlock>),
    /// What is alarming has changed: the whole list.
    Alarms(Vec<Alarm>),
    /// Stop for good.
    Halt(String),
}

/// What must not happen on an honest chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// An endpoint shows a header that too few sealers signed.
    #[error("{endpoint} shows block {height} without a quorum of the pinned sealers")]
    ShortQuorum {
        /// which
        endpoint: String,
        /// which block
        height: Height,
    },
    /// An endpoint's head went back.
    #[error("{endpoint} went back from block {from} to {to}")]
    Regression {
        /// which
        endpoint: String,
        /// the highest it has had
        from: Height,
        /// what it says now
        to: Height,
    },
    /// A supervisor's digest of the state is not ours.
    #[error("supervisor {by} has another state after block {height}: one of both is wrong")]
    StateDigest {
        /// after which block
        height: Height,
        /// which supervisor
        by: String,
    },
}

/// The state machine.
#[derive(Debug)]
pub struct Follower {
    genesis: Arc<Genesis>,
    options: FollowerOptions,
    position: Cursor,
    remembered: BTreeMap<u64, Digest>,
    endpoints: Endpoints,
    /// (height, endpoint) of each block that is being asked for → since when; until it is answered, also
    /// where another has given the block meanwhile
    asked: BTreeMap<(u64, usize), Instant>,
    /// height → endpoint and block, waiting for the blocks before it
    ready: BTreeMap<u64, (usize, Box<RawBlock>)>,
    /// the endpoint of the block that is being committed
    committing: Option<usize>,
    halted: bool,
    told: Vec<Alarm>,
}

impl Follower {
    /// Starts at a cursor. `names` are the endpoints, for people.
    pub fn new(
        genesis: Arc<Genesis>,
        names: Vec<String>,
        position: Cursor,
        options: FollowerOptions,
    ) -> Self {
        let remembered = BTreeMap::from([(position.height.0, position.hash)]);
        Self {
            genesis,
            options,
            position,
            remembered,
            endpoints: Endpoints::new(names),
            asked: BTreeMap::new(),
            ready: BTreeMap::new(),
            committing: None,
            halted: false,
            told: Vec::new(),
        }
    }

    /// Where it stands: after the last block that was committed.
    pub fn position(&self) -> &Cursor {
        &self.position
    }

    /// What each endpoint last said.
    pub fn status(&self) -> Vec<EndpointStatus> {
        self.endpoints.status()
    }

    /// Takes an event; says what to do now.
    pub fn on(&mut self, event: Event, at: Moment) -> Vec<Action> {
        if self.halted {
            return Vec::new();
        }
        let mut actions = Vec::new();
        match event {
            Event::Tick => actions.extend(self.endpoints.due_for_head(at.instant)),
            Event::Head { endpoint, result } => self.on_head(endpoint, result, at),
            Event::Block { endpoint, height, result } => self.on_block(endpoint, height, result, at),
            Event::Header { endpoint, height, result } => {
                self.on_header(endpoint, height, result, at, &mut actions);
            }
            Event::Committed(cursor) => self.on_committed(cursor),
            Event::Restarted(cursor) => self.restart(cursor),
        }
        self.advance(at, &mut actions);
        self.ask(at, &mut actions);
        self.tell(&mut actions);
        actions
    }

    fn on_head(&mut self, endpoint: usize, result: Result<Height, String>, at: Moment) {
        match result {
            Ok(head) => self.endpoints.saw_head(endpoint, head, self.position.height),
            Err(why) => {
                let retry_at = at.instant + self.options.retry_after;
                self.endpoints.head_failed(endpoint, why, retry_at);
            }
        }
    }

    fn fail(&mut self, endpoint: usize, why: String, at: Moment) {
        self.endpoints.failed(endpoint, why, at.instant + self.options.retry_after);
    }

    fn on_block(
        &mut self,
        endpoint: usize,
        height: Height,
        result: Result<Box<RawBlock>, String>,
        at: Moment,
    ) {
        self.asked.remove(&(height.0, endpoint));
        match result {
            Ok(_) if height <= self.position.height => {}
            Ok(block) => drop(self.ready.entry(height.0).or_insert((endpoint, block))),
            Err(why) => self.fail(endpoint, why, at),
        }
    }

    /// Compares a header with the block that we have at its height.
    fn on_header(
        &mut self,
        endpoint: usize,
        height: Height,
        result: Result<Box<BlockHeader>, String>,
        at: Moment,
        actions: &mut Vec<Action>,
    ) {
        self.endpoints.compared(endpoint);
        let header = match result {
            Ok(header) => header,
            Err(why) => return self.fail(endpoint, why, at),
        };
        let Some(ours) = self.remembered.get(&height.0).copied() else { return };
        match header.compute_hash() {
            Ok(hash) if hash == ours => self.endpoints.agreed(endpoint, height),
            Ok(_) if header.number != height.0 => {
                self.fail(endpoint, format!("gave header {} for {height}", header.number), at);
            }
            Ok(_) => match verify_header(&header, &self.position.sealers) {
                Ok(other) => self.fork(height, ours, other.hash(), actions),
                Err(e) => {
                    if e.is_short_quorum() {
                        self.endpoints.short_quorum(endpoint, height);
                    }
                    self.fail(endpoint, e.to_string(), at);
                }
            },
            Err(e) => self.fail(endpoint, e.to_string(), at),
        }
    }

    fn fork(&mut self, height: Height, ours: Digest, theirs: Digest, actions: &mut Vec<Action>) {
        let why = format!(
            "the chain has forked: a quorum signed two blocks at height {height}, {ours} and {theirs}; \
             ask the consortium's operators which is right, then restart with the right endpoints; if this box \
             took the other block, remove its ledger state first: it is rebuilt from the chain"
        );
        self.halted = true;
        self.ready.clear();
        actions.push(Action::Halt(why));
    }

    fn on_committed(&mut self, cursor: Cursor) {
        if let Some(endpoint) = self.committing.take() {
            self.endpoints.agreed(endpoint, cursor.height);
        }
        self.remembered.insert(cursor.height.0, cursor.hash);
        while self.remembered.len() > REMEMBERED {
            self.remembered.pop_first();
        }
        self.position = cursor;
    }

    fn restart(&mut self, cursor: Cursor) {
        self.committing = None;
        self.asked.clear();
        self.ready.clear();
        self.remembered = BTreeMap::from([(cursor.height.0, cursor.hash)]);
        self.endpoints.restart();
        self.position = cursor;
    }

    /// Verifies the next block if it is there, and hands it out.
    fn advance(&mut self, at: Moment, actions: &mut Vec<Action>) {
        if self.halted || self.committing.is_some() {
            return;
        }
        self.ready = self.ready.split_off(&self.position.height.0.saturating_add(1));
        let Some(entry) = self.ready.first_entry() else { return };
        if entry.key().checked_sub(1) != Some(self.position.height.0) {
            return;
        }
        let (endpoint, block) = entry.remove();
        match self.check(&block, at) {
            Ok(verified) => {
                self.committing = Some(endpoint);
                actions.push(Action::Commit(Box::new(verified)));
            }
            Err(fault) => self.refuse(endpoint, fault, at, actions),
        }
    }

    fn check(&self, block: &RawBlock, at: Moment) -> Result<VerifiedBlock, BlockFault> {
        let p = &self.position;
        let verified = verify_block(&self.genesis, p.height, &p.hash, &p.sealers, block)?;
        let time = verified.header().time();
        if time > at.wall.plus(self.options.max_ahead) {
            let height = verified.header().number();
            let max = self.options.max_ahead;
            return Err(BlockFault::DatedAhead { height, time, now: at.wall, max });
        }
        Ok(verified)
    }

    fn refuse(&mut self, endpoint: usize, fault: BlockFault, at: Moment, actions: &mut Vec<Action>) {
        let next = Height(self.position.height.0.saturating_add(1));
        match &fault {
            // its header is signed by a quorum: somewhere below, the chain has two blocks at one height
            BlockFault::Parent { expected, found, .. } => {
                return self.fork(self.position.height, *expected, *found, actions);
            }
            BlockFault::Header(e) if e.is_short_quorum() => self.endpoints.short_quorum(endpoint, next),
            _ => {}
        }
        // what else it gave ahead is as doubtful
        self.ready.retain(|_, (from, _)| *from != endpoint);
        self.fail(endpoint, fault.to_string(), at);
    }

    /// Asks for the next blocks, and for headers to compare.
    fn ask(&mut self, at: Moment, actions: &mut Vec<Action>) {
        if self.halted {
            return;
        }
        let first = self.position.height.0.saturating_add(1);
        for height in first..first.saturating_add(self.options.window.max(1)) {
            let under_way = height == first && self.committing.is_some();
            if under_way || self.ready.contains_key(&height) || self.is_expected(height, at.instant) {
                continue;
            }
            let owing = self.owing(at.instant);
            let Some(endpoint) = self.endpoints.choose(Height(height), at.instant, &owing) else { break };
            if self.asked.contains_key(&(height, endpoint)) {
                continue;
            }
            self.asked.insert((height, endpoint), at.instant);
            actions.push(Action::FetchBlock { endpoint, height: Height(height) });
        }
        let known: Vec<Height> = self.remembered.keys().map(|h| Height(*h)).collect();
        actions.extend(self.endpoints.due_for_comparison(&known, at.instant));
    }

    fn is_overdue(&self, since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) >= self.options.patience
    }

    /// Whether somebody has been asked for this block, and not too long ago.
    fn is_expected(&self, height: u64, now: Instant) -> bool {
        self.asked.range((height, 0)..=(height, usize::MAX)).any(|(_, since)| !self.is_overdue(*since, now))
    }

    /// The endpoints that have not answered for too long.
    fn owing(&self, now: Instant) -> BTreeSet<usize> {
        let overdue = self.asked.iter().filter(|(_, since)| self.is_overdue(**since, now));
        overdue.map(|((_, endpoint), _)| *endpoint).collect()
    }

    fn tell(&mut self, actions: &mut Vec<Action>) {
        let alarms = self.endpoints.alarms();
        if alarms != self.told {
            self.told.clone_from(&alarms);
            actions.push(Action::Alarms(alarms));
        }
    }
}
