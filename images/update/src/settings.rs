//! Where a box keeps its slots: one TOML file that comes with the image.
//!
//! ```toml
//! esp = "/efi/EFI/Linux"                        # the boot loader's folder
//! state = "/var/lib/xinguan/update"             # our records; must exist
//! trust_root = "/usr/lib/xinguan/update-root.json"
//! release = "/usr/lib/xinguan/release.json"     # what runs, out of the verified root
//! running = "/sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
//! ring = 2                                      # 0 gets releases first
//! floor = "/dev/tpmrm0"                         # the chip that counts it; without: a file among the records
//! # sm2 = "…128 hexadecimal digits, x then y…"  # every bundle must be countersigned with it
//! [slots.a]
//! root = "/dev/disk/by-partlabel/root-a"
//! verity = "/dev/disk/by-partlabel/verity-a"
//! [slots.b]
//! root = "/dev/disk/by-partlabel/root-b"
//! verity = "/dev/disk/by-partlabel/verity-b"
//! ```

use crate::{
    Architecture, ChipFloor, DirFolder, FileFloor, Floor, Manifest, Partition, Slot, Trust, UpdateError,
    Updater, slot::running_slot,
};
use gw_proto::{Hex, PublicKey, Scheme};
use gw_store::disk::Disk;
use serde::Deserialize;
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// The most bytes of any of the files read here.
const MAX_BYTES: u64 = 256 << 10;

/// The file's content.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    esp: PathBuf,
    state: PathBuf,
    trust_root: PathBuf,
    release: PathBuf,
    running: PathBuf,
    ring: u8,
    floor: Option<PathBuf>,
    sm2: Option<Hex<64>>,
    slots: Slots,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slots {
    a: Partitions,
    b: Partitions,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partitions {
    root: PathBuf,
    verity: PathBuf,
}

impl Settings {
    /// Reads the file; unknown keys are refused.
    pub fn load(path: &Path) -> Result<Self, UpdateError> {
        let bytes = read(path)?;
        let wrong = |why: String| UpdateError::Settings { path: path.to_owned(), why };
        let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8".into()))?;
        toml::from_str(&text).map_err(|e| wrong(e.to_string()))
    }
    /// What bundles are measured against.
    pub fn trust(&self) -> Result<Trust, UpdateError> {
        let sm2 = self.sm2.map(|point| PublicKey { scheme: Scheme::Sm2Sm3, point });
        Ok(Trust { root: read(&self.trust_root)?, sm2 })
    }
    /// The release that runs.
    pub fn release(&self) -> Result<Manifest, UpdateError> {
        Manifest::parse(&read(&self.release)?)
    }
    /// The folder of records.
    pub fn state(&self) -> Result<DirFolder, UpdateError> {
        DirFolder::open(&self.state)
    }
    /// The box.
    pub fn open(&self) -> Result<Updater, UpdateError> {
        let running = running_slot(&read(&self.running)?).ok_or_else(|| UpdateError::Settings {
            path: self.running.clone(),
            why: "it names no boot entry of ours".into(),
        })?;
        Ok(Updater {
            slots: [self.slots.a.open()?, self.slots.b.open()?],
            esp: Box::new(DirFolder::open(&self.esp)?),
            state: Box::new(self.state()?),
            floor: self.floor()?,
            running,
            architecture: Architecture::OURS,
            ring: self.ring,
        })
    }
}

impl Settings {
    fn floor(&self) -> Result<Box<dyn Floor>, UpdateError> {
        let Some(path) = &self.floor else { return Ok(Box::new(FileFloor(self.state()?))) };
        Ok(Box::new(ChipFloor::open(path)?))
    }
}

impl Partitions {
    fn open(&self) -> Result<Slot, UpdateError> {
        let part = |name, path: &Path| -> Result<Box<dyn Disk>, UpdateError> {
            let found = Partition::open(path).map_err(|source| UpdateError::Partition { name, source })?;
            Ok(Box::new(found))
        };
        Ok(Slot { root: part("root.img", &self.root)?, verity: part("verity.img", &self.verity)? })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, UpdateError> {
    let wrong = |why: String| UpdateError::Settings { path: path.to_owned(), why };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| wrong(e.to_string()))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| wrong(e.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("larger than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}
