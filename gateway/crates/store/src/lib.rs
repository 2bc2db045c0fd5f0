//! Ordered keys and values, and the five calls on a file beneath an append-only log.
//!
//! | module | what |
//! |---|---|
//! | [`kv`] | the [`Store`] trait: read, scan, atomic commit |
//! | [`sled`] | [`SledStore`]: the verified ledger state on disk |
//! | [`mem`] | [`MemStore`]: the same in memory, for tests |
//! | [`disk`] | the [`Disk`] trait, [`FileDisk`], [`MemDisk`], and [`SimDisk`], which loses power when told |
//! | [`error`] | what can fail, where, and what to do |
//!
//! Two traits because two promises differ. A [`Store`] holds what can be made again from the chain: a
//! commit is atomic, but the last commits may be lost with the power. A [`Disk`] holds what exists nowhere
//! else (journal, outbox): what `sync` has returned for survives.
//!
//! After a failed write or sync either stays closed until it is opened again: what is on the disk is
//! then unknown, and a second `fsync` that succeeds proves nothing about the first.

pub mod disk;
pub mod error;
pub mod kv;
pub mod mem;
pub mod sled;

pub use disk::{Disk, FileDisk, MemDisk, SimDisk};
pub use error::StoreError;
pub use kv::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Pair, Store, Write};
pub use mem::MemStore;
pub use sled::SledStore;
