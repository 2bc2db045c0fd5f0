//! The outbox: what must reach somebody, tried until it is done.
//!
//! An item is durable before [`Outbox::push`] returns, and stays until [`Outbox::done`]. After a crash it
//! is pending again, even if it was delivered just before: the receiver must take a second delivery as a
//! repetition (records and deliveries carry ids for that).

mod core;
mod place;

use crate::{error::JournalError, queue::Queue, worker::Worker};
use core::{Core, Job, Op, Published};
use gw_proto::NodeId;
use gw_store::Disk;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

const NAME: &str = "outbox";

/// The largest item.
pub const MAX_ITEM_BYTES: usize = 64 * 1024;

/// Bounds of an outbox.
#[derive(Debug, Clone)]
pub struct OutboxOptions {
    /// whose outbox it is: stands in the header
    pub owner: String,
    /// calls that may wait for the disk; more are refused as busy
    pub queue: usize,
    /// items that may be pending; more are refused as full
    pub max_items: usize,
    /// bytes of pending items, kept in memory too; the file takes at most about six times as much
    pub max_bytes: u64,
    /// finished entries of more bytes than this, and than what is pending, are cleared away
    pub compact_above: u64,
}

impl OutboxOptions {
    /// 1,024 waiting, 16,384 items, 32 MiB, cleared above 1 MiB.
    pub fn new(owner: &NodeId) -> Self {
        Self {
            owner: owner.as_str().to_owned(),
            queue: 1024,
            max_items: 16_384,
            max_bytes: 32 << 20,
            compact_above: 1 << 20,
        }
    }
}

/// What opening found. Whoever opens reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxRecovered {
    /// there was no outbox yet
    pub created: bool,
    /// items to deliver
    pub pending: usize,
    /// bytes of an unfinished write or clearing that were cut off; none of them was acknowledged
    pub dropped_bytes: u64,
}

/// Something to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxItem {
    /// counts up from 1 and is never used again
    pub id: u64,
    /// which deliverer takes it: a-z, 0-9, hyphens
    pub kind: String,
    /// what
    pub bytes: Arc<[u8]>,
}

/// A handle; clones share one outbox. The disk is released when the last handle is gone.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

struct Shared {
    worker: Worker<Core>,
    published: Arc<Published>,
    max_items: usize,
    max_bytes: u64,
}

impl Outbox {
    /// Opens or makes an outbox: checks its chain and cuts off a torn tail. Blocks.
    pub fn open(
        disk: Box<dyn Disk>,
        options: &OutboxOptions,
    ) -> Result<(Self, OutboxRecovered), JournalError> {
        let (core, recovered) = Core::open(Arc::from(disk), options)?;
        let published = core.published.clone();
        let worker = Worker::spawn(core, Queue::new(options.queue, 0))?;
        let (max_items, max_bytes) = (options.max_items, options.max_bytes);
        Ok((Self(Arc::new(Shared { worker, published, max_items, max_bytes })), recovered))
    }

    /// Adds an item and gives its id; durable when it returns.
    pub async fn push(&self, kind: &str, bytes: &[u8]) -> Result<u64, JournalError> {
        crate::entry::check_name(kind)?;
        if bytes.len() > MAX_ITEM_BYTES {
            return Err(JournalError::TooLarge { found: bytes.len(), max: MAX_ITEM_BYTES });
        }
        // base64 and the names around it; the queue needs an upper bound, not the size
        let size = bytes.len() * 4 / 3 + 512;
        self.0.send(Op::Push { kind: kind.to_owned(), bytes: bytes.into() }, size).await
    }

    /// Removes a delivered item; durable when it returns. Removing it again does nothing.
    pub async fn done(&self, id: u64) -> Result<(), JournalError> {
        self.0.send(Op::Done(id), 512).await.map(|_| ())
    }

    /// The oldest `limit` pending items. Does not touch the disk.
    pub fn pending(&self, limit: usize) -> Vec<OutboxItem> {
        self.0.published.items(limit)
    }

    /// The oldest `limit` pending items of one kind with ids above `after`: what one deliverer cannot get rid
    /// of does not stand in another's way. Does not touch the disk.
    pub fn pending_of(&self, kind: &str, after: u64, limit: usize) -> Vec<OutboxItem> {
        self.0.published.items_of(kind, after, limit)
    }

    /// Whether so much more fits now. Nothing is set aside: a push may still be refused as full.
    pub fn has_room(&self, items: usize, bytes: u64) -> bool {
        let (count, held) = self.0.published.held();
        count.saturating_add(items) <= self.0.max_items && held.saturating_add(bytes) <= self.0.max_bytes
    }

    /// How many items are pending, and a wake-up when that changes.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.0.published.watch()
    }

    /// Why the outbox is closed, if it is: a write or sync failed.
    pub fn failure(&self) -> Option<String> {
        self.0.worker.failure()
    }
}

impl Shared {
    async fn send(&self, op: Op, size: usize) -> Result<u64, JournalError> {
        let (reply, wait) = oneshot::channel();
        self.worker.push(Job { op, reply }, size)?;
        self.worker.wait(wait).await
    }
}
