//! The verified ledger state on disk, in sled 0.34; and, opened as durable, an institution's documents.
//!
//! Chosen for state of bounded size that can be rebuilt from the chain at any time. Its flush on Linux is
//! `sync_file_range`, which does not survive power loss, and its memory grows far beyond `cache_bytes`
//! with millions of entries (DESIGN "State"): neither a journal nor the subject index belongs here.
//! What cannot be rebuilt is kept by [`SledStore::open_durable`], which syncs sled's file itself.

use crate::{
    error::StoreError,
    kv::{Pair, Store, Write, check_bounds},
};
use std::{
    fs::File,
    io::ErrorKind,
    ops::Bound,
    os::unix::fs::DirBuilderExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// The page cache of a gateway's ledger state, unless configured: 64 MiB.
pub const DEFAULT_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How often sled hands its buffer to the system by itself; commits younger than this may be lost.
const FLUSH_EVERY_MS: u64 = 500;

/// A [`Store`] in a folder of its own.
pub struct SledStore {
    db: ::sled::Db,
    path: PathBuf,
    closed: AtomicBool,
    /// sled's own file, where every commit is synced
    synced: Option<File>,
}

impl SledStore {
    /// The same as [`open`](Self::open), but a commit that has returned survives a killed process and a power
    /// loss. It costs an fsync, and blocks for it: for few and small writes, off the runtime's threads.
    pub fn open_durable(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let store = Self::open(path, cache_bytes)?;
        let open = |source| StoreError::Open { path: path.to_owned(), source };
        // sled 0.34 keeps everything but values larger than a segment (512 KiB) in this one file
        let file = File::open(path.join("db")).map_err(open)?;
        file.sync_all().and_then(|()| File::open(path)?.sync_all()).map_err(open)?;
        Ok(Self { synced: Some(file), ..store })
    }

    /// Opens the folder, or makes it (mode 0700).
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        prepare_folder(path)?;
        let config = ::sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .mode(::sled::Mode::HighThroughput);
        // sled reports most damage as an error and some as a panic: both must end as "rebuild it".
        let db = match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => db,
            Ok(Err(e)) => return Err(open_error(path, e)),
            Err(_) => return Err(corrupt(path, "sled panicked while it read the folder")),
        };
        Ok(Self { db, path: path.to_owned(), closed: AtomicBool::new(false), synced: None })
    }

    /// Opens the folder; if it is damaged, empties and remakes it and says why. The caller then follows
    /// the chain from the beginning. A folder in use, or one that is no store, is never touched.
    pub fn open_or_reset(path: &Path, cache_bytes: u64) -> Result<(Self, Option<StoreError>), StoreError> {
        match Self::open(path, cache_bytes) {
            Ok(store) => Ok((store, None)),
            Err(why) if why.is_corruption() => {
                tracing::warn!(path = %path.display(), "the ledger state is damaged and is rebuilt from the chain");
                std::fs::remove_dir_all(path)
                    .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
                Ok((Self::open(path, cache_bytes)?, Some(why)))
            }
            Err(e) => Err(e),
        }
    }

    /// Hands everything to the system now; done by itself twice a second and on drop.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.check_open()?;
        self.db.flush().map(|_| ()).map_err(|e| self.fail("sync", e))
    }

    /// Where commits are durable: everything written so far is on the disk when this returns.
    fn sync(&self) -> Result<(), StoreError> {
        let Some(file) = &self.synced else { return Ok(()) };
        self.flush()?;
        file.sync_all().map_err(|e| self.fail("sync", ::sled::Error::Io(e)))
    }

    fn check_open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(StoreError::Closed { path: self.path.clone() });
        }
        Ok(())
    }

    /// A failed write: closed from now on.
    fn fail(&self, operation: &'static str, e: ::sled::Error) -> StoreError {
        self.closed.store(true, Ordering::SeqCst);
        self.describe(operation, e)
    }

    fn describe(&self, operation: &'static str, e: ::sled::Error) -> StoreError {
        match e {
            ::sled::Error::Io(source) => StoreError::Io { operation, path: self.path.clone(), source },
            other => corrupt(&self.path, &other.to_string()),
        }
    }
}

impl Store for SledStore {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check_open()?;
        let found = self.db.get(key).map_err(|e| self.describe("read", e))?;
        Ok(found.map(|v| v.to_vec()))
    }

    fn scan_after(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.check_open()?;
        let from = match after {
            Some(a) if a >= prefix => Bound::Excluded(a),
            _ => Bound::Included(prefix),
        };
        let mut out = Vec::new();
        for pair in self.db.range::<&[u8], _>((from, Bound::Unbounded)).take(limit) {
            let (key, value) = pair.map_err(|e| self.describe("read", e))?;
            if !key.starts_with(prefix) {
                break;
            }
            out.push((key.to_vec(), value.to_vec()));
        }
        Ok(out)
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        check_bounds(writes)?;
        self.check_open()?;
        let mut batch = ::sled::Batch::default();
        for w in writes {
            match &w.value {
                Some(v) => batch.insert(w.key.as_slice(), v.as_slice()),
                None => batch.remove(w.key.as_slice()),
            }
        }
        self.db.apply_batch(batch).map_err(|e| self.fail("commit", e))?;
        self.sync()
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.check_open()?;
        self.db.clear().map_err(|e| self.fail("commit", e))?;
        self.sync()
    }
}

/// Makes the folder, and refuses one that holds something else: `open_or_reset` deletes what is inside.
fn prepare_folder(path: &Path) -> Result<(), StoreError> {
    let open = |source| StoreError::Open { path: path.to_owned(), source };
    if !path.exists() {
        return std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(open);
    }
    let mut entries = std::fs::read_dir(path).map_err(open)?;
    let is_store = path.join("conf").is_file() || path.join("db").is_file();
    if !is_store && entries.next().is_some() {
        let why = "the folder holds other files; give the store an empty folder of its own";
        return Err(open(std::io::Error::new(ErrorKind::AlreadyExists, why)));
    }
    Ok(())
}

fn corrupt(path: &Path, what: &str) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), what: what.chars().take(200).collect() }
}

fn open_error(path: &Path, e: ::sled::Error) -> StoreError {
    match e {
        // sled wraps the failed flock into an error of kind Other with this text
        ::sled::Error::Io(e) if e.to_string().contains("lock") => StoreError::InUse { path: path.to_owned() },
        ::sled::Error::Io(source)
            if matches!(source.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            corrupt(path, &source.to_string())
        }
        ::sled::Error::Io(source) => StoreError::Open { path: path.to_owned(), source },
        other => corrupt(path, &other.to_string()),
    }
}
