//! The two slots of a box: look at them, write the idle one, go back, confirm.

use crate::{
    bundle::{Bundle, CHUNK, MAX_UKI, Target},
    error::UpdateError,
    folder::Folder,
    manifest::{Architecture, Manifest},
    record::{self, Content, Floor, SlotRecord},
    slot::{Entry, SlotName, Tries},
};
use gw_proto::Hex;
use gw_store::disk::Disk;
use sha2::{Digest as _, Sha256};

/// A kernel on its way: no boot loader looks at this name.
const NEW_UKI: &str = "xinguan-new.tmp";

/// The partitions of one slot.
pub struct Slot {
    /// of the root image
    pub root: Box<dyn Disk>,
    /// of the hash tree
    pub verity: Box<dyn Disk>,
}

/// All that an update touches.
pub struct Updater {
    /// slot a, slot b
    pub slots: [Slot; 2],
    /// the boot loader's folder `EFI/Linux`
    pub esp: Box<dyn Folder>,
    /// our records, on the data partition
    pub state: Box<dyn Folder>,
    /// anti-rollback floor
    pub floor: Box<dyn Floor>,
    /// which slot this system was started from, see [`crate::slot::running_slot`]
    pub running: SlotName,
    /// this box's kind
    pub architecture: Architecture,
    /// this box's ring: 0 gets releases first
    pub ring: u8,
}

/// One slot as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotStatus {
    /// which
    pub slot: SlotName,
    /// its boot entry; none: it is empty, or an update into it was interrupted
    pub entry: Option<Entry>,
    /// what is known of its content; none until it was confirmed or written
    pub record: Option<SlotRecord>,
}

/// The box as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// which slot runs
    pub running: SlotName,
    /// which slot the boot loader takes next; none: it finds no entry of ours
    pub next: Option<SlotName>,
    /// lowest anti-rollback number that opens the data
    pub floor: u64,
    /// slot a, slot b
    pub slots: [SlotStatus; 2],
}

/// How an update gets on: bytes done and bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

impl Updater {
    /// Which slot runs, which is next, what is in them.
    pub fn status(&self) -> Result<Status, UpdateError> {
        let entries = self.entries()?;
        let slot = |slot: SlotName| -> Result<SlotStatus, UpdateError> {
            let entry = best(entries.iter().filter(|e| e.slot == slot));
            Ok(SlotStatus { slot, entry, record: record::load_slot(&*self.state, slot)? })
        };
        Ok(Status {
            running: self.running,
            next: best(entries.iter()).map(|e| e.slot),
            floor: self.floor.load()?,
            slots: [slot(SlotName::A)?, slot(SlotName::B)?],
        })
    }

    /// Whether a bundle is for this box at all: its architecture, its ring.
    pub fn check_meant(&self, bundle: &Bundle) -> Result<(), UpdateError> {
        let m = &bundle.manifest;
        if m.architecture != self.architecture {
            let (found, ours) = (m.architecture.to_string(), self.architecture.to_string());
            return Err(UpdateError::Architecture { found, ours });
        }
        if self.ring > m.ring {
            return Err(UpdateError::Ring { found: m.ring, ours: self.ring });
        }
        Ok(())
    }

    /// Whether a bundle may be applied to this box now, without touching anything.
    pub fn check(&self, bundle: &Bundle) -> Result<(), UpdateError> {
        self.check_meant(bundle)?;
        let m = &bundle.manifest;
        self.check_floor(m.number)?;
        let running = self.running_entry()?;
        if running.tries != Tries::Good {
            // the idle slot may be the only one that is known to work
            return Err(UpdateError::NotAccepted { why: running.tries.to_string() });
        }
        if m.version <= running.version {
            let (found, running) = (m.version.to_string(), running.version.to_string());
            return Err(UpdateError::NotNewer { found, running });
        }
        let idle = self.slot(self.running.other());
        check_fits(&bundle.root, &*idle.root)?;
        check_fits(&bundle.verity, &*idle.verity)?;
        if bundle.uki.len > MAX_UKI {
            return Err(UpdateError::TooLarge { name: bundle.uki.name, found: bundle.uki.len, max: MAX_UKI });
        }
        Ok(())
    }

    /// Refuses what the boot loader has given up on this box: a stick that stays in would be tried for ever.
    pub fn check_untried(&self, bundle: &Bundle) -> Result<(), UpdateError> {
        let found = bundle.manifest.version;
        let idle = self.running.other();
        let tried =
            self.entries()?.iter().any(|e| e.slot == idle && e.version == found && e.tries.is_given_up());
        if tried { Err(UpdateError::GivenUp { found: found.to_string() }) } else { Ok(()) }
    }

    /// Writes a bundle into the idle slot and makes it the next to be tried.
    ///
    /// The order is the promise. Nothing is touched before every byte was found good; the idle slot's boot entry goes
    /// before its content; the new entry comes after all that it needs was read back from the medium. Whenever the
    /// power goes, the running system's entry and content are untouched, and no entry leads to half a system.
    pub fn apply(&self, bundle: &Bundle, progress: Progress<'_>) -> Result<Entry, UpdateError> {
        self.check(bundle)?;
        bundle.check_images()?;
        let uki = bundle.uki.read_all(MAX_UKI)?;

        let name = self.running.other();
        self.clear(name)?;
        let total = bundle.root.len.saturating_add(bundle.verity.len);
        let slot = self.slot(name);
        copy(&bundle.root, &*slot.root, &mut |done| progress(done, total))?;
        copy(&bundle.verity, &*slot.verity, &mut |done| {
            progress(bundle.root.len.saturating_add(done), total)
        })?;
        record::save_slot(&*self.state, name, &SlotRecord::from(bundle))?;
        let entry = Entry { version: bundle.manifest.version, slot: name, tries: Tries::NEW };
        self.place_uki(&bundle.uki, &uki, entry)?;
        Ok(entry)
    }

    /// Makes the way back: withdraws an update that waits for its first boot, or else leaves the running system for
    /// the one before it. Takes effect at the next boot; returns the slot that will then run.
    pub fn rollback(&self) -> Result<SlotName, UpdateError> {
        let (running, target) = (self.running_entry()?, self.running.other());
        if self.status()?.next == Some(target) {
            if running.tries.is_given_up() {
                return Ok(target); // rolled back before
            }
            self.clear(target)?;
            return Ok(self.running);
        }
        self.check_good(target)?;
        let done = match running.tries {
            Tries::Good => 1,
            Tries::Counting { left, done } => left.saturating_add(done),
        };
        let given_up = running.with_tries(Tries::Counting { left: 0, done });
        self.esp.rename(&running.to_string(), &given_up.to_string())?;
        self.esp.sync_names()?;
        Ok(target)
    }

    /// Raises the floor to the running release's number. To be called when the system has proven healthy, with the
    /// manifest out of the running, verified root.
    ///
    /// Refused while the boot loader still counts: a floor above what it may fall back to would close the data.
    pub fn confirm(&self, running: &Manifest) -> Result<(), UpdateError> {
        let entry = self.running_entry()?;
        if entry.tries != Tries::Good {
            return Err(UpdateError::NotAccepted { why: entry.tries.to_string() });
        }
        if entry.version != running.version {
            let why = format!("version {} runs, its boot entry says {}", running.version, entry.version);
            return Err(UpdateError::NotAccepted { why });
        }
        if record::load_slot(&*self.state, self.running)?.is_none() {
            let record = SlotRecord { manifest: running.clone(), written: None };
            record::save_slot(&*self.state, self.running, &record)?;
        }
        self.floor.raise(running.number)
    }

    fn slot(&self, name: SlotName) -> &Slot {
        let [a, b] = &self.slots;
        match name {
            SlotName::A => a,
            SlotName::B => b,
        }
    }
    fn entries(&self) -> Result<Vec<Entry>, UpdateError> {
        Ok(self.esp.list()?.iter().filter_map(|n| Entry::parse(n)).collect())
    }
    fn running_entry(&self) -> Result<Entry, UpdateError> {
        let entries = self.entries()?;
        let found = best(entries.iter().filter(|e| e.slot == self.running));
        found.ok_or(UpdateError::NoWayBack { slot: self.running })
    }
    fn check_floor(&self, number: u64) -> Result<(), UpdateError> {
        let floor = self.floor.load()?;
        if number < floor { Err(UpdateError::BelowFloor { number, floor }) } else { Ok(()) }
    }

    /// Takes a slot's boot entries away, for certain, before its content changes.
    fn clear(&self, slot: SlotName) -> Result<(), UpdateError> {
        for name in self.esp.list()? {
            if name == NEW_UKI || Entry::parse(&name).is_some_and(|e| e.slot == slot) {
                self.esp.remove(&name)?;
            }
        }
        self.esp.sync_names()?;
        record::remove_slot(&*self.state, slot)
    }

    /// The last step: content first, under a name that is no boot entry, read back; then the name.
    fn place_uki(&self, target: &Target, bytes: &[u8], entry: Entry) -> Result<(), UpdateError> {
        self.esp.write(NEW_UKI, bytes)?;
        self.esp.sync(NEW_UKI)?;
        let back = self.esp.read(NEW_UKI, target.len)?.unwrap_or_default();
        if <[u8; 32]>::from(Sha256::digest(&back)) != target.sha256 {
            return Err(UpdateError::ReadBack { name: target.name });
        }
        self.esp.rename(NEW_UKI, &entry.to_string())?;
        self.esp.sync_names()
    }

    /// Good is what was healthy once, may still open the data, and has not changed since it was written.
    fn check_good(&self, name: SlotName) -> Result<(), UpdateError> {
        let not = |why: String| UpdateError::NotGood { slot: name, why };
        let entries = self.entries()?;
        let Some(entry) = best(entries.iter().filter(|e| e.slot == name)) else {
            return Err(not("it has no boot entry".into()));
        };
        if entry.tries != Tries::Good {
            return Err(not(entry.tries.to_string()));
        }
        let Some(record) = record::load_slot(&*self.state, name)? else {
            // never confirmed, never written by an update: only as long as nothing is ruled out
            let known = self.floor.load()? == 0;
            return if known { Ok(()) } else { Err(not("its anti-rollback number is not known".into())) };
        };
        self.check_floor(record.manifest.number)?;
        // what came with the box is checked by its boot (verity, signatures)
        let Some(written) = record.written else { return Ok(()) };
        let slot = self.slot(name);
        check_content("root.img", &written.root, &*slot.root)?;
        check_content("verity.img", &written.verity, &*slot.verity)?;
        let uki = self.esp.read(&entry.to_string(), written.uki.len)?.unwrap_or_default();
        if Sha256::digest(&uki)[..] != written.uki.sha256.0[..] {
            return Err(not("its kernel is not the one that was written".into()));
        }
        Ok(())
    }
}

/// The entry that the boot loader would take.
fn best<'a>(entries: impl Iterator<Item = &'a Entry>) -> Option<Entry> {
    entries.max_by_key(|e| e.rank()).copied()
}

fn check_fits(target: &Target, place: &dyn Disk) -> Result<(), UpdateError> {
    let max = place.len().map_err(|source| UpdateError::Partition { name: target.name, source })?;
    if target.len > max {
        return Err(UpdateError::TooLarge { name: target.name, found: target.len, max });
    }
    Ok(())
}

/// Writes a target, makes it durable, and reads it back from the medium.
fn copy(target: &Target, place: &dyn Disk, done: &mut dyn FnMut(u64)) -> Result<(), UpdateError> {
    let failed = |source| UpdateError::Partition { name: target.name, source };
    let mut at = 0u64;
    target.read_chunks(|part| {
        place.write_at(at, part).map_err(failed)?;
        at = at.saturating_add(part.len() as u64);
        done(at);
        Ok(())
    })?;
    place.sync().map_err(failed)?;
    check_content(target.name, &Content::from(target), place)
}

/// Reads a place and compares it with what should be there.
fn check_content(name: &'static str, content: &Content, place: &dyn Disk) -> Result<(), UpdateError> {
    let (mut hash, mut at, mut buffer) = (Sha256::new(), 0u64, vec![0; CHUNK]);
    while at < content.len {
        let want = usize::try_from(content.len - at).unwrap_or(CHUNK).min(CHUNK);
        let part = buffer.get_mut(..want).unwrap_or_default();
        place.read_at(at, part).map_err(|source| UpdateError::Partition { name, source })?;
        hash.update(&*part);
        at = at.saturating_add(want as u64);
    }
    if Hex::<32>(hash.finalize().into()) != content.sha256 {
        return Err(UpdateError::ReadBack { name });
    }
    Ok(())
}
