//! A folder that loses power, and a box made of simulated parts.

use super::{Chance, Recipe, filler};
use gw_store::disk::{Disk as _, SimDisk, SimPlan};
use image_update::{
    Architecture, Entry, FileFloor, Folder, Slot, SlotName, Tries, UpdateError, Updater, Version,
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    io::Error,
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// How a file system keeps names over a power loss.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// no journal: of what was not synced, anything may have happened, a rename's halves apart
    Fat,
    /// a journal: what happened is a prefix of what was done
    Journal,
}

/// A simulated folder. Clones are handles of the same.
#[derive(Clone)]
pub(crate) struct SimFolder(Arc<Mutex<State>>);

struct State {
    kind: Kind,
    /// contents by number: what is durable, what is seen
    files: Vec<(Vec<u8>, Vec<u8>)>,
    durable: BTreeMap<String, usize>,
    seen: BTreeMap<String, usize>,
    /// changes of names since the last sync; each inner list happens as one in a journal
    pending: Vec<Vec<(String, Option<usize>)>>,
    calls: u64,
    cut_at: Option<u64>,
    off: bool,
    chance: Chance,
}

impl SimFolder {
    pub(crate) fn new(kind: Kind, files: &[(String, Vec<u8>)], seed: u64, cut_at: Option<u64>) -> Self {
        let names: BTreeMap<_, _> = files.iter().enumerate().map(|(i, (n, _))| (n.clone(), i)).collect();
        Self(Arc::new(Mutex::new(State {
            kind,
            files: files.iter().map(|(_, b)| (b.clone(), b.clone())).collect(),
            durable: names.clone(),
            seen: names,
            pending: Vec::new(),
            calls: 0,
            cut_at,
            off: false,
            chance: Chance(seed),
        })))
    }
    /// Power off, power on.
    pub(crate) fn after_power_loss(&self, cut_at: Option<u64>) -> Self {
        let mut s = self.0.lock().unwrap();
        let State { kind, files, durable, pending, chance, .. } = &mut *s;
        let whole = chance.below(pending.len() as u64 + 1) as usize;
        for (i, change) in std::mem::take(pending).into_iter().enumerate() {
            for (name, to) in change {
                let happened = if *kind == Kind::Journal { i < whole } else { chance.below(2) == 0 };
                match (happened, to) {
                    (true, Some(file)) => {
                        durable.insert(name, file);
                    }
                    (true, None) => {
                        durable.remove(&name);
                    }
                    (false, _) => {}
                }
            }
        }
        let left: Vec<_> = durable
            .iter()
            .map(|(name, file)| {
                let (kept, seen) = &files[*file];
                let torn = chance.below(seen.len() as u64 + 1) as usize;
                let bytes = match chance.below(3) {
                    _ if kept == seen => kept.clone(),
                    0 => kept.clone(),
                    1 => seen.clone(),
                    _ => seen[..torn].to_vec(),
                };
                (name.clone(), bytes)
            })
            .collect();
        let (kind, seed) = (*kind, chance.next());
        Self::new(kind, &left, seed, cut_at)
    }
    /// Counts a changing call. The power may go in it: its effect is then pending, and it fails.
    fn change(&self, act: impl FnOnce(&mut State)) -> Result<(), UpdateError> {
        let mut s = self.0.lock().unwrap();
        if s.off {
            return Err(off());
        }
        s.calls += 1;
        let cut = s.cut_at == Some(s.calls);
        if cut && s.chance.below(2) == 0 {
            s.off = true;
            return Err(off());
        }
        act(&mut s);
        s.off = cut;
        if cut { Err(off()) } else { Ok(()) }
    }
}

fn off() -> UpdateError {
    UpdateError::Folder {
        operation: "power",
        path: PathBuf::from("(simulated)"),
        source: Error::other("off"),
    }
}

impl Folder for SimFolder {
    fn list(&self) -> Result<Vec<String>, UpdateError> {
        let s = self.0.lock().unwrap();
        if s.off { Err(off()) } else { Ok(s.seen.keys().cloned().collect()) }
    }
    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, UpdateError> {
        let s = self.0.lock().unwrap();
        if s.off {
            return Err(off());
        }
        let found = s.seen.get(name).map(|f| s.files[*f].1.clone());
        assert!(found.as_ref().is_none_or(|b| b.len() as u64 <= max), "{name} is above {max}");
        Ok(found)
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), UpdateError> {
        self.change(|s| match s.seen.get(name).copied() {
            Some(file) => s.files[file].1 = bytes.to_vec(),
            None => {
                s.files.push((Vec::new(), bytes.to_vec()));
                let file = s.files.len() - 1;
                s.seen.insert(name.to_owned(), file);
                s.pending.push(vec![(name.to_owned(), Some(file))]);
            }
        })
    }
    fn sync(&self, name: &str) -> Result<(), UpdateError> {
        self.change(|s| {
            if let (Some(file), None) = (s.seen.get(name).copied(), s.cut_at.filter(|c| *c == s.calls)) {
                s.files[file].0 = s.files[file].1.clone();
            }
        })
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), UpdateError> {
        self.change(|s| {
            let file = s.seen.remove(from).unwrap();
            s.seen.insert(to.to_owned(), file);
            s.pending.push(vec![(to.to_owned(), Some(file)), (from.to_owned(), None)]);
        })
    }
    fn remove(&self, name: &str) -> Result<(), UpdateError> {
        self.change(|s| {
            if s.seen.remove(name).is_some() {
                s.pending.push(vec![(name.to_owned(), None)]);
            }
        })
    }
    fn sync_names(&self) -> Result<(), UpdateError> {
        self.change(|s| {
            if s.cut_at != Some(s.calls) {
                s.durable = s.seen.clone();
                s.pending.clear();
            }
        })
    }
}

/// Where the power goes: in the n-th such call.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cut {
    pub(crate) root_write: Option<u64>,
    pub(crate) root_sync: Option<u64>,
    pub(crate) verity_write: Option<u64>,
    pub(crate) verity_sync: Option<u64>,
    pub(crate) esp: Option<u64>,
    pub(crate) state: Option<u64>,
}

impl Cut {
    /// The n-th call of one of the six kinds.
    pub(crate) fn of(kind: u64, n: u64) -> Self {
        let mut cut = Self::default();
        let place = match kind {
            0 => &mut cut.root_write,
            1 => &mut cut.root_sync,
            2 => &mut cut.verity_write,
            3 => &mut cut.verity_sync,
            4 => &mut cut.esp,
            _ => &mut cut.state,
        };
        *place = Some(n);
        cut
    }
    fn root(&self) -> SimPlan {
        SimPlan { freeze_at_write: self.root_write, freeze_at_sync: self.root_sync, ..SimPlan::default() }
    }
    fn verity(&self) -> SimPlan {
        SimPlan { freeze_at_write: self.verity_write, freeze_at_sync: self.verity_sync, ..SimPlan::default() }
    }
}

/// A box: `a` runs, `b` holds what ran before.
pub(crate) struct Machine {
    pub(crate) running: SlotName,
    pub(crate) disks: [(SimDisk, SimDisk); 2],
    pub(crate) esp: SimFolder,
    pub(crate) state: SimFolder,
}

pub(crate) const SLOT_BYTES: usize = 1_300_000;
pub(crate) const TREE_BYTES: usize = 30_000;

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

impl Machine {
    /// Version 1.0.0 runs in slot a; 0.9.0 is good in slot b.
    pub(crate) fn new(seed: u64, cut: Cut) -> Self {
        let mut entries = Vec::new();
        let mut slot = |name, v: &str, cut: Cut| {
            let recipe = Recipe { manifest: super::manifest(v), ..Recipe::default() };
            let (mut root, mut verity, uki) = recipe.system();
            let entry = Entry { version: version(v), slot: name, tries: Tries::Good };
            entries.push((entry.to_string(), uki));
            root.extend(filler("rest", SLOT_BYTES - root.len()));
            verity.extend(filler("rest", TREE_BYTES - verity.len()));
            (
                SimDisk::with_content(root, seed ^ 1, cut.root()),
                SimDisk::with_content(verity, seed ^ 2, cut.verity()),
            )
        };
        let disks = [slot(SlotName::A, "1.0.0", Cut::default()), slot(SlotName::B, "0.9.0", cut)];
        Self {
            running: SlotName::A,
            disks,
            esp: SimFolder::new(Kind::Fat, &entries, seed ^ 3, cut.esp),
            state: SimFolder::new(Kind::Journal, &[], seed ^ 4, cut.state),
        }
    }
    pub(crate) fn after_power_loss(&self, cut: Cut) -> Self {
        let slot = |s: SlotName| {
            let (root, verity) = &self.disks[s as usize];
            // only the idle slot is ever written
            let cut = if s == self.running { Cut::default() } else { cut };
            (root.after_power_loss(cut.root()), verity.after_power_loss(cut.verity()))
        };
        Self {
            running: self.running,
            disks: [slot(SlotName::A), slot(SlotName::B)],
            esp: self.esp.after_power_loss(cut.esp),
            state: self.state.after_power_loss(cut.state),
        }
    }
    pub(crate) fn updater(&self) -> Updater {
        let slot = |s: SlotName| {
            let (root, verity) = self.disks[s as usize].clone();
            Slot { root: Box::new(root), verity: Box::new(verity) }
        };
        Updater {
            slots: [slot(SlotName::A), slot(SlotName::B)],
            esp: Box::new(self.esp.clone()),
            state: Box::new(self.state.clone()),
            floor: Box::new(FileFloor(self.state.clone())),
            running: self.running,
            architecture: Architecture::X86_64,
            ring: 1,
        }
    }
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.esp.list().unwrap().iter().filter_map(|n| Entry::parse(n)).collect()
    }
    /// What the boot loader would start. Every entry must lead to a whole system: half a one fails the test.
    pub(crate) fn boot(&self, context: &str) -> Entry {
        for entry in self.entries() {
            self.check_whole(&entry, context);
        }
        let best = self.entries().into_iter().max_by_key(Entry::rank);
        best.unwrap_or_else(|| panic!("{context}: nothing to boot"))
    }
    fn check_whole(&self, entry: &Entry, context: &str) {
        let uki = self.esp.read(&entry.to_string(), u64::MAX).unwrap().unwrap();
        let head = uki.split(|b| *b == b'\n').next().unwrap();
        let head: Vec<_> = std::str::from_utf8(head).unwrap().split(' ').collect();
        let [root_len, root, verity_len, verity] = head[..] else {
            panic!("{context}: {entry}: torn kernel")
        };
        let (root_disk, verity_disk) = &self.disks[entry.slot as usize];
        for (disk, len, digest) in [(root_disk, root_len, root), (verity_disk, verity_len, verity)] {
            let mut bytes = vec![0; len.parse().unwrap()];
            disk.read_at(0, &mut bytes).unwrap();
            assert_eq!(
                hex::encode(Sha256::digest(&bytes)),
                digest,
                "{context}: {entry} leads to half a system"
            );
        }
        let recipe = Recipe { manifest: super::manifest(&entry.version.to_string()), ..Recipe::default() };
        assert_eq!(recipe.system().2, uki, "{context}: {entry}: torn kernel");
    }
}
