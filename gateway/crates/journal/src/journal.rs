//! The journal: intents before effects, outcomes always.
//!
//! One thread owns the disk. Callers wait for the sync that covers their entry; all that arrive meanwhile
//! share the next one (group commit).

use crate::{
    core::{self, Core, Job, NAME, Op, Published, Target},
    entry::{Entry, Finished, Intent, Outcome, SeenHeight},
    error::JournalError,
    frame::Reader,
    log::{Head, MAX_BATCH_BYTES},
    queue::Queue,
    worker::Worker,
};
use gw_proto::{Clock, Digest, Height, NodeId, UnixMillis};
use gw_store::Disk;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::oneshot;

/// The most entries that one call of [`Journal::entries`] gives.
pub const MAX_READ: usize = 1024;

/// Bounds of a journal.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// whose journal it is: stands in the header and so in every hash
    pub owner: String,
    /// entries that may wait for the disk; more are refused as busy
    pub queue: usize,
    /// intents that may be open at once; each has a reserved place for its outcome
    pub max_open: usize,
    /// size from which on intents and notes are refused; outcomes are still written
    pub max_bytes: u64,
}

impl JournalOptions {
    /// 1,024 waiting, 1,024 open, 4 GiB.
    pub fn new(owner: &NodeId) -> Self {
        Self { owner: owner.as_str().to_owned(), queue: 1024, max_open: 1024, max_bytes: 4 << 30 }
    }
}

/// The journal's last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalHead {
    /// its index; 0 if there is none
    pub index: u64,
    /// the chain's hash after it
    pub digest: Digest,
}

impl From<Head> for JournalHead {
    fn from(h: Head) -> Self {
        Self { index: h.index, digest: h.digest }
    }
}

/// An entry is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// the entry
    pub index: u64,
    /// the chain's head after it
    pub head: JournalHead,
}

/// What opening found. Whoever opens reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// there was no journal yet
    pub created: bool,
    /// entries it holds
    pub entries: u64,
    /// bytes of an unfinished write that were cut off; none of them was acknowledged
    pub dropped_bytes: u64,
    /// where they began
    pub dropped_at: Option<u64>,
    /// intents without outcome, oldest first; close each with [`Journal::close_intent`]
    pub open_intents: Vec<OpenIntent>,
    /// further ones that are not listed
    pub more_open: usize,
    /// the highest block noted
    pub seen: Option<SeenHeight>,
}

/// An intent that a crash left without outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIntent {
    /// its index
    pub index: u64,
    /// what it said; none if a newer release wrote it
    pub intent: Option<Intent>,
}

/// An entry as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// counted from 1
    pub index: u64,
    /// the chain's hash after it
    pub digest: Digest,
    /// what it says
    pub entry: Entry,
}

/// What [`verify_chain`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// whose journal it is
    pub owner: String,
    /// its last entry
    pub head: JournalHead,
    /// bytes of an unfinished write at the end
    pub torn_bytes: u64,
    /// intents without outcome
    pub open_intents: usize,
}

/// Checks a journal's header and whole chain without changing it. Blocks.
pub fn verify_chain(disk: &dyn Disk) -> Result<Verified, JournalError> {
    core::verify(disk)
}

/// A handle; clones share one journal. The disk is released when the last handle and guard are gone.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    worker: Worker<Core>,
    published: Arc<Published>,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    next_ticket: AtomicU64,
}

impl Journal {
    /// Opens or makes a journal: checks the whole chain and cuts off a torn tail. Blocks.
    pub fn open(
        disk: Box<dyn Disk>,
        options: &JournalOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovered), JournalError> {
        let disk: Arc<dyn Disk> = Arc::from(disk);
        let (core, recovered) = Core::open(disk.clone(), options)?;
        let published = core.published.clone();
        let worker = Worker::spawn(core, Queue::new(options.queue, options.max_open))?;
        let shared = Shared { worker, published, disk, clock, next_ticket: AtomicU64::new(1) };
        Ok((Self(Arc::new(shared)), recovered))
    }

    /// Records an entry; durable when it returns. Intents need [`Journal::record_intent`].
    pub async fn append(&self, entry: Entry) -> Result<Receipt, JournalError> {
        let seen = if let Entry::SeenHeight(s) = &entry { Some(*s) } else { None };
        match entry {
            Entry::Intent(_) => Err(JournalError::NeedsGuard),
            Entry::Outcome(Finished { intent, at, outcome }) => {
                let size = outcome_size(at, &outcome)?;
                self.0.send(Op::Outcome { of: Target::Index(intent), at, outcome }, size).await
            }
            other => {
                let (kind, payload) = other.encode()?;
                let size = size_of(&payload);
                self.0.send(Op::Plain { kind, payload, seen }, size).await
            }
        }
    }

    /// Records what is about to be done; durable when it returns. From the first moment on its outcome
    /// follows: if this future or the guard is dropped, `abandoned` is recorded.
    pub async fn record_intent(&self, intent: Intent) -> Result<IntentGuard, JournalError> {
        let (_, payload) = Entry::Intent(intent).encode()?;
        let ticket = self.0.next_ticket.fetch_add(1, Ordering::Relaxed);
        let (reply, wait) = oneshot::channel();
        let size = size_of(&payload);
        let job = Job { op: Op::Intent { ticket, payload }, reply: Some(reply) };
        self.0.worker.push_and_reserve(job, size)?;
        // the guard exists before the wait: whoever stops waiting leaves an outcome
        let mut guard = IntentGuard { shared: self.0.clone(), ticket, index: 0, open: true };
        let receipt = self.0.worker.wait(wait).await?;
        guard.index = receipt.index;
        Ok(guard)
    }

    /// Records the outcome of an intent that a crash left open.
    pub async fn close_intent(&self, index: u64, outcome: Outcome) -> Result<Receipt, JournalError> {
        self.append(Entry::Outcome(Finished { intent: index, at: self.0.clock.now(), outcome })).await
    }

    /// The last durable entry.
    pub fn head(&self) -> JournalHead {
        self.0.published.view().head.into()
    }

    /// The highest block noted.
    pub fn highest_seen(&self) -> Option<SeenHeight> {
        self.0.published.view().seen
    }

    /// Its height.
    pub fn highest_seen_height(&self) -> Option<Height> {
        self.highest_seen().map(|s| s.height)
    }

    /// Durable intents that have no durable outcome yet.
    pub fn open_intents(&self) -> usize {
        self.0.published.view().open
    }

    /// Why the journal is closed, if it is: a write or sync failed.
    pub fn failure(&self) -> Option<String> {
        self.0.worker.failure()
    }

    /// At most `limit` entries, and at most [`MAX_READ`], from `index` on (1 is the first), each checked
    /// against the one before. Blocks: call it off the async runtime.
    pub fn entries(&self, index: u64, limit: usize) -> Result<Vec<Stored>, JournalError> {
        let index = index.max(1);
        let (layout, head, end, (mut next, mut at)) = {
            let view = self.0.published.view();
            (view.layout, view.head, view.end, view.mark_before(index))
        };
        let mut reader = Reader::new(&*self.0.disk, end);
        let mut prev = None;
        let mut out = Vec::new();
        while next <= head.index && out.len() < limit.min(MAX_READ) {
            let frame = reader.frame(at).map_err(|e| layout.disk_error(e))?;
            let good = frame.filter(|f| f.index == next && prev.is_none_or(|p| p == f.prev));
            let Some(frame) = good else {
                let what = "an entry that was durable is not there any more";
                return Err(JournalError::Broken { log: NAME, offset: at, what });
            };
            at += frame.size();
            next += 1;
            prev = Some(frame.hash);
            if frame.index >= index {
                let entry = Entry::decode(frame.kind, frame.payload);
                out.push(Stored { index: frame.index, digest: frame.hash, entry });
            }
        }
        Ok(out)
    }
}

impl Shared {
    async fn send(&self, op: Op, size: usize) -> Result<Receipt, JournalError> {
        let (reply, wait) = oneshot::channel();
        self.worker.push(Job { op, reply: Some(reply) }, size)?;
        self.worker.wait(wait).await
    }
}

/// An intent whose outcome is still to come. Dropped without [`IntentGuard::finish`], it records `abandoned`.
#[must_use = "dropping the guard records the outcome `abandoned`"]
pub struct IntentGuard {
    shared: Arc<Shared>,
    ticket: u64,
    index: u64,
    open: bool,
}

impl IntentGuard {
    /// The intent's index in the journal: its id.
    pub fn id(&self) -> u64 {
        self.index
    }
    /// Records the outcome; durable when it returns. Once it is sent, dropping this future loses nothing.
    pub async fn finish(mut self, outcome: Outcome) -> Result<Receipt, JournalError> {
        let at = self.shared.clock.now();
        // checked first: an outcome that cannot be written leaves the guard open, and its drop records one
        let size = outcome_size(at, &outcome)?;
        let (reply, wait) = oneshot::channel();
        let op = Op::Outcome { of: Target::Ticket(self.ticket), at, outcome };
        self.open = false;
        self.shared.worker.push_reserved(Job { op, reply: Some(reply) }, size)?;
        self.shared.worker.wait(wait).await
    }
}

impl std::fmt::Debug for IntentGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IntentGuard({})", self.index)
    }
}

impl Drop for IntentGuard {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (at, outcome) = (self.shared.clock.now(), Outcome::abandoned("dropped"));
        let job = Job { op: Op::Outcome { of: Target::Ticket(self.ticket), at, outcome }, reply: None };
        // refused only if the thread has died: the intent is then reported open when the journal is reopened
        if self.shared.worker.push_reserved(job, MIN_SIZE).is_err() {
            tracing::error!(intent = self.index, "the journal is closed: an intent stays without outcome");
        }
    }
}

/// More than any entry without data takes.
const MIN_SIZE: usize = 1024;

fn size_of(payload: &[u8]) -> usize {
    usize::try_from(core::frame_size(payload)).unwrap_or(MAX_BATCH_BYTES)
}

/// The size with the longest index, so that it fits whatever the intent's index is.
fn outcome_size(at: UnixMillis, outcome: &Outcome) -> Result<usize, JournalError> {
    let intent = gw_proto::canon::MAX_SAFE_INTEGER.unsigned_abs();
    let (_, payload) = Entry::Outcome(Finished { intent, at, outcome: outcome.clone() }).encode()?;
    Ok(size_of(&payload))
}
