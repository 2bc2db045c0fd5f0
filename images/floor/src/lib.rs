//! The anti-rollback floor: the lowest number of a release that gets this box's data.
//!
//! An NV counter of the TPM, so it never goes down: one that is removed and defined anew starts above every value that a
//! counter of this chip ever had (TPM 2.0 part 1, 37.2.4). Such a start is not zero on a chip that others have used
//! before; therefore the index carries a label, in the place of a policy, that says where counting began.
//! docs/decisions/0039 says what this holds against, and what not.

use hsm_api::{Entropy, OsEntropy, attest::MeasurementHash};
use hsm_tpm2::{
    Chip, Secret, TpmError,
    commands::storage::{self, NvIndex},
    transport::{Connect, device::DeviceFile},
};
use sha2::{Digest as _, Sha256};
use std::{path::Path, sync::Arc, time::Duration};

/// Where it lies: an index of the owner's (TCG registry: 0x0180_0000 on).
pub const INDEX: u32 = 0x0180_5846;
/// The label: this text, then the value that means zero, big-endian.
const LABEL: &[u8; 24] = b"xinguan anti-rollback at";
/// A release raises it by one where it closes a hole. More at once is a mistake, and wears the chip.
pub const MAX_STEP: u64 = 64;
/// The register of the kernel image: what opens the data asks for its value.
const KERNEL_PCR: u8 = 11;
const BUDGET: Duration = Duration::from_secs(30);
/// Another counter of the chip may be raised between two steps of defining this one.
const TRIES: u32 = 4;

/// What can go wrong with the floor.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// The chip.
    #[error("the TPM's counter against rollback: {0}")]
    Chip(#[from] TpmError),
    /// The data exists, the counter does not.
    #[error(
        "the TPM has lost its counter against rollback (index {INDEX:#010x}): it was cleared, or this disk is another box's. \
         The data stays closed. Put the disk back into its box, or reset the box"
    )]
    Gone,
    /// Something else lies there.
    #[error(
        "index {INDEX:#010x} of the TPM is not the counter against rollback; remove it with tpm2_nvundefine"
    )]
    Taken,
    /// The counter could not be made to start where its label says.
    #[error("other counters of the TPM are raised all the time; restart the box")]
    Contended,
    /// A release is older than the box allows.
    #[error(
        "this release has anti-rollback number {number}, this box's floor is {floor}: the data stays closed. Install a newer release"
    )]
    Below {
        /// of the release
        number: u64,
        /// of this box
        floor: u64,
    },
    /// Too far.
    #[error(
        "anti-rollback number {number} is more than {MAX_STEP} above the floor {floor}; this is no release of ours"
    )]
    TooFar {
        /// asked for
        number: u64,
        /// now
        floor: u64,
    },
}

/// The counter of one chip.
#[derive(Debug)]
pub struct TpmFloor(Chip);

/// The index as it lies in the chip.
enum Found {
    Nothing,
    /// without a label: an earlier start was cut off, or nobody's
    Unlabelled(NvIndex),
    Labelled {
        index: NvIndex,
        base: u64,
    },
}

impl TpmFloor {
    /// Opens the chip; nothing is changed.
    pub fn open(chip: &dyn Connect) -> Result<Self, FloorError> {
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        Ok(Self(Chip::bare(chip, entropy, BUDGET)?))
    }

    /// Opens the chip behind the kernel's resource manager.
    pub fn at(device: &Path) -> Result<Self, FloorError> {
        Self::open(&DeviceFile { path: device.to_owned(), resource_manager: true })
    }

    /// The floor; none if the box has none yet.
    pub fn load(&mut self) -> Result<Option<u64>, FloorError> {
        match self.found()? {
            Found::Labelled { index, base } if index.is_written() => {
                let value = storage::nv_counter(&mut self.0, &index)?;
                value.checked_sub(base).map(Some).ok_or(FloorError::Taken)
            }
            _ => Ok(None),
        }
    }

    /// Makes the counter, at floor 0, if it is not there. Cut off at any step, it goes on at the next call.
    pub fn define(&mut self) -> Result<(), FloorError> {
        for _ in 0..TRIES {
            if self.define_once()? {
                return Ok(());
            }
        }
        Err(FloorError::Contended)
    }

    /// Whether the counter stands where its label says.
    fn define_once(&mut self) -> Result<bool, FloorError> {
        match self.found()? {
            Found::Nothing => {
                // only to learn where this chip's counters stand
                storage::define_counter(&mut self.0, &Secret::empty(), INDEX, &[])?;
                Ok(false)
            }
            Found::Unlabelled(index) => {
                let index = self.written(index)?;
                let stands = storage::nv_counter(&mut self.0, &index)?;
                storage::undefine(&mut self.0, &Secret::empty(), &index.entity)?;
                let base = stands.saturating_add(1);
                storage::define_counter(&mut self.0, &Secret::empty(), INDEX, &label(base))?;
                Ok(self.starts_at(base)?)
            }
            Found::Labelled { index, .. } if index.is_written() => Ok(true),
            Found::Labelled { base, .. } => Ok(self.starts_at(base)?),
        }
    }

    /// Raises the labelled counter for the first time; one that starts elsewhere is removed.
    fn starts_at(&mut self, base: u64) -> Result<bool, TpmError> {
        let index = storage::nv_public(&mut self.0, INDEX, "")?;
        let index = self.written(index)?;
        if storage::nv_counter(&mut self.0, &index)? == base {
            return Ok(true);
        }
        storage::undefine(&mut self.0, &Secret::empty(), &index.entity)?;
        Ok(false)
    }

    fn written(&mut self, index: NvIndex) -> Result<NvIndex, TpmError> {
        if index.is_written() {
            return Ok(index);
        }
        storage::nv_increment(&mut self.0, &index.entity)?;
        storage::nv_public(&mut self.0, INDEX, "")
    }

    /// Raises the floor to a release's number; a lower one changes nothing.
    pub fn raise(&mut self, number: u64) -> Result<u64, FloorError> {
        let floor = self.load()?.ok_or(FloorError::Gone)?;
        if number > floor.saturating_add(MAX_STEP) {
            return Err(FloorError::TooFar { number, floor });
        }
        for _ in floor..number {
            let index = storage::nv_public(&mut self.0, INDEX, "")?;
            storage::nv_increment(&mut self.0, &index.entity)?;
        }
        self.load()?.ok_or(FloorError::Gone)
    }

    /// Whether a release may have the data. On a box without data the counter is made; on one with data it must be there.
    pub fn check(&mut self, number: u64, has_data: bool) -> Result<u64, FloorError> {
        if !has_data {
            self.define()?;
        }
        let floor = self.load()?.ok_or(FloorError::Gone)?;
        if number < floor { Err(FloorError::Below { number, floor }) } else { Ok(floor) }
    }

    /// Until the next start the chip opens no data: the register that opens it gets a value that nobody has signed.
    pub fn spoil(&mut self) -> Result<(), FloorError> {
        let digest = Sha256::digest(b"below the anti-rollback floor").into();
        Ok(storage::pcr_extend(&mut self.0, MeasurementHash::Sha256, KERNEL_PCR, &digest)?)
    }

    fn found(&mut self) -> Result<Found, FloorError> {
        let index = match storage::nv_public(&mut self.0, INDEX, "") {
            Err(TpmError::NoIndex { .. }) => return Ok(Found::Nothing),
            other => other?,
        };
        if !index.is_counter() || index.size != 8 {
            return Err(FloorError::Taken);
        }
        if index.policy.is_empty() {
            return Ok(Found::Unlabelled(index));
        }
        let base = index.policy.strip_prefix(LABEL).and_then(|b| b.try_into().ok().map(u64::from_be_bytes));
        base.map(|base| Found::Labelled { index, base }).ok_or(FloorError::Taken)
    }
}

fn label(base: u64) -> Vec<u8> {
    [&LABEL[..], &base.to_be_bytes()].concat()
}
