//! The gateway measures itself: program, configuration and its files, into its own PCR, once per boot of the chip.
//!
//! A PCR only grows, and the chip outlives this process: a restart must not measure again what is there. The
//! log says what was extended; it is written before the chip extends, so a crash in between leaves a log that
//! is too long, never one that is too short. At start the log is cut to what explains the PCR. A PCR that no
//! part of the log explains was extended by somebody else: nothing is added, and a verifier will say so.

use gw_attest::{
    AttestError, Bank,
    evidence::{
        CONFIGURATION, FILE, INVENTORY, MAX_MEASURED, Measured, Software, configuration_measurement,
        file_measurement, inventory_measurement,
    },
};
use gw_proto::{Digest, sm3};
use hsm_api::{HsmError, backend::file};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io::Read as _, path::Path};

/// The gateway's own PCR: firmware, boot loader and systemd extend others (shim, where there is one, this too).
pub const OWN_PCR: u8 = 14;
const MAX_LOG_BYTES: u64 = 1024 * 1024;
/// A program larger than this is not ours.
const MAX_PROGRAM_BYTES: u64 = 1024 * 1024 * 1024;

/// PCRs of the bank in use. Blocks while the chip works.
pub trait Pcrs: Send + Sync {
    /// What it holds.
    fn read(&self, pcr: u8) -> Result<[u8; 32], HsmError>;
    /// Adds to it.
    fn extend(&self, pcr: u8, digest: &[u8; 32]) -> Result<(), HsmError>;
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The log or the program cannot be read or written.
    #[error("{path}: cannot measure; check the file and the disk")]
    File {
        /// which
        path: String,
        /// why
        source: std::io::Error,
    },
    /// The log is not one of ours.
    #[error("{path} is no log of measurements; move it away and reset the chip (power-cycle the box)")]
    Form {
        /// which
        path: String,
    },
    /// The chip.
    #[error("the chip's PCR {OWN_PCR}")]
    Chip(#[from] HsmError),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    bank: Bank,
    measured: Vec<Measured>,
}

/// What is installed, as far as this program knows: itself.
pub fn inventory() -> Result<Vec<Software>, MeasureError> {
    let path = Path::new("/proc/self/exe");
    let program = read(path, MAX_PROGRAM_BYTES)?;
    let version = super::RELEASE.to_owned();
    Ok(vec![Software { name: "xinguan".to_owned(), version, digest: sm3(&program) }])
}

/// What this start wants to see in the PCR.
pub fn wanted(
    bank: Bank,
    inventory: &[Software],
    configuration: &Digest,
    files: &BTreeMap<String, Digest>,
) -> Result<Vec<Measured>, AttestError> {
    let one = |component: &str, digest| Measured { pcr: OWN_PCR, component: component.to_owned(), digest };
    let mut all = vec![
        one(INVENTORY, inventory_measurement(bank, inventory)?),
        one(CONFIGURATION, configuration_measurement(bank, configuration)),
    ];
    all.extend(
        files.iter().map(|(role, file)| one(&format!("{FILE}{role}"), file_measurement(bank, role, file))),
    );
    Ok(all)
}

/// Extends what is wanted and not there; gives the whole log of this boot.
pub fn extend(
    pcrs: &dyn Pcrs,
    bank: Bank,
    path: &Path,
    wanted: &[Measured],
) -> Result<Vec<Measured>, MeasureError> {
    let mut log = load(path, bank)?;
    let value = pcrs.read(OWN_PCR)?;
    let Some(length) = explained(bank, &log, &value) else {
        tracing::error!(
            pcr = OWN_PCR,
            value = hex::encode(value),
            "somebody else extended the gateway's PCR: evidence will fail until the chip is reset"
        );
        return Ok(log);
    };
    log.truncate(length);
    for one in wanted {
        if log.iter().any(|m| m == one) || log.len() >= MAX_MEASURED {
            continue;
        }
        if log.iter().any(|m| m.component == one.component) {
            tracing::warn!(
                component = one.component,
                "changed since the chip was reset: evidence will fail until the box is booted again"
            );
        }
        log.push(one.clone());
        save(path, bank, &log)?;
        pcrs.extend(OWN_PCR, &one.digest.0)?;
    }
    Ok(log)
}

/// How many entries of the log lead to this value: the most that do.
fn explained(bank: Bank, log: &[Measured], value: &[u8; 32]) -> Option<usize> {
    let mut pcr = [0; 32];
    let mut found = (pcr == *value).then_some(0);
    for (i, m) in log.iter().enumerate() {
        pcr = bank.extend(&pcr, &m.digest.0);
        if pcr == *value {
            found = Some(i + 1);
        }
    }
    found
}

/// None yet, or of another bank: empty.
fn load(path: &Path, bank: Bank) -> Result<Vec<Measured>, MeasureError> {
    let bytes = match read(path, MAX_LOG_BYTES) {
        Ok(bytes) => bytes,
        Err(MeasureError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    };
    let log: Log = serde_json::from_slice(&bytes)
        .map_err(|_| MeasureError::Form { path: path.display().to_string() })?;
    Ok(if log.bank == bank { log.measured } else { Vec::new() })
}

fn save(path: &Path, bank: Bank, log: &[Measured]) -> Result<(), MeasureError> {
    let failed = |source| MeasureError::File { path: path.display().to_string(), source };
    let text = serde_json::to_vec(&Log { bank, measured: log.to_vec() }).map_err(|e| failed(e.into()))?;
    file::replace(path, &text).map_err(failed)
}

fn read(path: &Path, max: u64) -> Result<Vec<u8>, MeasureError> {
    let failed = |source| MeasureError::File { path: path.display().to_string(), source };
    let mut out = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(max + 1).read_to_end(&mut out).map_err(failed)?;
    if u64::try_from(out.len()).unwrap_or(u64::MAX) > max {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::Hex;
    use std::sync::Mutex;

    /// A PCR that may fail to extend, as after a power loss.
    struct FakePcr {
        value: Mutex<[u8; 32]>,
        broken: bool,
    }

    impl FakePcr {
        fn new() -> Self {
            Self { value: Mutex::default(), broken: false }
        }
    }

    impl Pcrs for FakePcr {
        fn read(&self, _: u8) -> Result<[u8; 32], HsmError> {
            Ok(*self.value.lock().unwrap())
        }
        fn extend(&self, _: u8, digest: &[u8; 32]) -> Result<(), HsmError> {
            if self.broken {
                return Err(HsmError::Busy);
            }
            let mut value = self.value.lock().unwrap();
            *value = Bank::Sha256.extend(&value, digest);
            Ok(())
        }
    }

    fn of(configuration: u8) -> Vec<Measured> {
        let files = BTreeMap::from([("trust.genesis".to_owned(), Hex([configuration.min(2); 32]))]);
        wanted(Bank::Sha256, &[], &Hex([configuration; 32]), &files).unwrap()
    }

    fn replayed(log: &[Measured]) -> [u8; 32] {
        log.iter().fold([0; 32], |pcr, m| Bank::Sha256.extend(&pcr, &m.digest.0))
    }

    #[test]
    fn once_per_boot_and_the_log_explains_the_pcr() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("measured.json");
        let mut pcr = FakePcr::new();
        let start = |pcr: &FakePcr, c| extend(pcr, Bank::Sha256, &path, &of(c));
        let first = start(&pcr, 1).unwrap();
        assert_eq!(first, of(1));
        assert_eq!(replayed(&first), pcr.read(OWN_PCR).unwrap());
        assert_eq!(start(&pcr, 1).unwrap(), first, "a restart measured again");
        // another configuration in the same boot stands beside the first
        let both = start(&pcr, 2).unwrap();
        assert_eq!((both.len(), replayed(&both)), (5, pcr.read(OWN_PCR).unwrap()));
        // the chip was reset
        pcr.value = Mutex::default();
        assert_eq!(start(&pcr, 2).unwrap(), of(2));
        // the chip fails after the log was written: the next start is not misled
        pcr = FakePcr { broken: true, ..FakePcr::new() };
        assert!(start(&pcr, 3).is_err());
        pcr.broken = false;
        let after = start(&pcr, 3).unwrap();
        assert_eq!((after.clone(), replayed(&after)), (of(3), pcr.read(OWN_PCR).unwrap()));
    }

    #[test]
    fn a_pcr_that_somebody_else_extended_stays_unexplained() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("measured.json");
        let pcr = FakePcr::new();
        let log = extend(&pcr, Bank::Sha256, &path, &of(1)).unwrap();
        pcr.extend(OWN_PCR, &[7; 32]).unwrap();
        let value = pcr.read(OWN_PCR).unwrap();
        let again = extend(&pcr, Bank::Sha256, &path, &of(1)).unwrap();
        assert_eq!((again.clone(), pcr.read(OWN_PCR).unwrap()), (log, value));
        assert_ne!(replayed(&again), value);
    }

    #[test]
    fn a_log_that_is_none_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("measured.json");
        std::fs::write(&path, "[]").unwrap();
        let e = extend(&FakePcr::new(), Bank::Sha256, &path, &of(1)).unwrap_err();
        assert!(matches!(e, MeasureError::Form { .. }), "{e}");
    }
}
