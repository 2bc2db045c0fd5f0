//! Our own records on the data partition: small JSON files, replaced whole.

use crate::{
    bundle::{Bundle, Seen, Target},
    error::UpdateError,
    folder::{Folder, replace},
    manifest::Manifest,
    slot::SlotName,
};
use gw_proto::Hex;
use image_floor::{FloorError, TpmFloor};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The most bytes of a record.
const MAX_RECORD: u64 = 16 << 10;
const SEEN: &str = "seen.json";
const FLOOR: &str = "floor.json";

/// Length and SHA-256 of what was written somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// bytes
    pub len: u64,
    /// SHA-256 of them
    pub sha256: Hex<32>,
}

impl From<&Target> for Content {
    fn from(t: &Target) -> Self {
        Self { len: t.len, sha256: Hex(t.sha256) }
    }
}

/// What an update wrote into a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// its root
    pub root: Content,
    /// its hash tree
    pub verity: Content,
    /// its kernel
    pub uki: Content,
}

/// What is known of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotRecord {
    /// the release
    pub manifest: Manifest,
    /// its bytes; none for what came with the box, which is recorded when it is first confirmed
    pub written: Option<Written>,
}

impl From<&Bundle> for SlotRecord {
    fn from(b: &Bundle) -> Self {
        let written = Written { root: (&b.root).into(), verity: (&b.verity).into(), uki: (&b.uki).into() };
        Self { manifest: b.manifest.clone(), written: Some(written) }
    }
}

/// The lowest anti-rollback number that still opens this box's data.
///
/// The image keeps it in the TPM ([`ChipFloor`]), where the initrd asks for it before the data is opened; [`FileFloor`] is for
/// tests and for boxes without. It never goes down.
pub trait Floor: Send + Sync {
    /// Its value.
    fn load(&self) -> Result<u64, UpdateError>;
    /// Raises it to `number`; a lower one changes nothing.
    fn raise(&self, number: u64) -> Result<(), UpdateError>;
}

/// A floor in a file: as trustworthy as the file system it is on.
pub struct FileFloor<F>(pub F);

impl<F: Folder> Floor for FileFloor<F> {
    fn load(&self) -> Result<u64, UpdateError> {
        Ok(load(&self.0, FLOOR)?.unwrap_or(0))
    }
    fn raise(&self, number: u64) -> Result<(), UpdateError> {
        if number > self.load()? { save(&self.0, FLOOR, &number) } else { Ok(()) }
    }
}

/// A floor in the TPM.
pub struct ChipFloor(Mutex<TpmFloor>);

impl ChipFloor {
    /// Opens the chip; nothing is changed.
    pub fn open(device: &Path) -> Result<Self, UpdateError> {
        Ok(Self(Mutex::new(TpmFloor::at(device)?)))
    }
    fn chip(&self) -> MutexGuard<'_, TpmFloor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Floor for ChipFloor {
    fn load(&self) -> Result<u64, UpdateError> {
        self.chip().load()?.ok_or_else(|| FloorError::Gone.into())
    }
    fn raise(&self, number: u64) -> Result<(), UpdateError> {
        self.chip().raise(number)?;
        Ok(())
    }
}

/// The versions of metadata seen so far; zeros on a new box.
pub fn load_seen(state: &dyn Folder) -> Result<Seen, UpdateError> {
    Ok(load(state, SEEN)?.unwrap_or_default())
}

/// Keeps them.
pub fn save_seen(state: &dyn Folder, seen: &Seen) -> Result<(), UpdateError> {
    save(state, SEEN, seen)
}

fn slot_file(slot: SlotName) -> String {
    format!("slot-{slot}.json")
}

pub(crate) fn load_slot(state: &dyn Folder, slot: SlotName) -> Result<Option<SlotRecord>, UpdateError> {
    load(state, &slot_file(slot))
}

pub(crate) fn save_slot(state: &dyn Folder, slot: SlotName, record: &SlotRecord) -> Result<(), UpdateError> {
    save(state, &slot_file(slot), record)
}

pub(crate) fn remove_slot(state: &dyn Folder, slot: SlotName) -> Result<(), UpdateError> {
    state.remove(&slot_file(slot))?;
    state.sync_names()
}

fn load<T: DeserializeOwned>(state: &dyn Folder, name: &str) -> Result<Option<T>, UpdateError> {
    let damaged = |e: serde_json::Error| UpdateError::Record { name: name.to_owned(), why: e.to_string() };
    let bytes = state.read(name, MAX_RECORD)?;
    bytes.map(|b| serde_json::from_slice(&b).map_err(damaged)).transpose()
}

fn save<T: Serialize>(state: &dyn Folder, name: &str, value: &T) -> Result<(), UpdateError> {
    let unwritable = |e: serde_json::Error| UpdateError::Record { name: name.to_owned(), why: e.to_string() };
    replace(state, name, &serde_json::to_vec(value).map_err(unwritable)?)
}
