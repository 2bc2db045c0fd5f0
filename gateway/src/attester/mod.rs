//! The attester (RFC 9334): what this box says of itself to each supervisor on the ledger, at an interval.
//!
//! It dials out; nothing listens for it. A round with a supervisor: ask for a nonce, quote over it and the TLS
//! channel, certify the node key, send the bundle, keep what the supervisor answers. A keystore that cannot
//! attest says so once, by name, and nothing is sent.
//!
//! | file | what |
//! |---|---|
//! | [`measure`] | extends the gateway's own PCR at start, once per boot of the chip, with a log |
//! | [`files`] | which files the configuration names |
//! | [`evidence`] | the bundle |
//! | [`rounds`] | when whom, and what they said |
//! | [`summons`] | a call held open at each supervisor, for evidence at any moment |
//! | [`standing`] | what the ledger says of this gateway, said when it changes |
//! | [`wire`] | the two exchanges over the MAN |

pub mod evidence;
pub mod files;
pub mod measure;
pub mod rounds;
pub mod standing;
pub mod summons;
pub mod wire;

pub use evidence::{Chip, bank};
pub use measure::Pcrs;
pub use rounds::run;

use crate::config::Config;
use gw_attest::evidence::{Measured, Software};
use gw_proto::{B64, Digest, InstitutionId, NodeId, PublicKey, UnixMillis};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use wire::Told;

/// The release that evidence names.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Whether this gateway attests, and with what.
pub enum Attester {
    /// it does not: why
    Off(String),
    /// it does
    On(Box<Ready>),
}

/// All that evidence is made of, besides a challenge.
pub struct Ready {
    /// the chip
    pub chip: Arc<Chip>,
    /// the gateway's own log
    pub measured: Vec<Measured>,
    /// installed software
    pub inventory: Vec<Software>,
    /// SM3 of the configuration file
    pub configuration: Digest,
    /// SM3 of each file that it names, by role
    pub files: BTreeMap<String, Digest>,
    /// the firmware's event log
    pub boot_log: Option<PathBuf>,
    last: Mutex<BTreeMap<NodeId, Last>>,
    wanted: Mutex<BTreeSet<NodeId>>,
    wake: tokio::sync::Notify,
}

/// The end of the last round with one supervisor.
#[derive(Debug, Clone, Serialize)]
pub struct Last {
    /// when
    pub at: UnixMillis,
    /// its verdict, if it gave one
    pub verdict: Option<Told>,
    /// why there is none
    pub error: Option<String>,
}

/// What an operator of the supervisor is given to enrol this box by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// the device
    pub device: NodeId,
    /// whose
    pub institution: InstitutionId,
    /// the node key
    pub node_key: PublicKey,
    /// TPMT_PUBLIC of the attestation key
    pub attestation_key: B64,
    /// of the endorsement key, DER
    pub endorsement_certificate: B64,
    /// approved with it: SM3 of the configuration file
    pub configuration: Digest,
    /// likewise: SM3 of each file that it names, by role
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Digest>,
}

impl Attester {
    /// Measures, and says once whether this gateway attests. Blocks.
    pub fn start(config: &Config, chip: Result<Chip, String>) -> Self {
        let ready = chip.and_then(|chip| ready(config, chip));
        match ready {
            Ok(ready) => {
                tracing::info!(bank = %ready.chip.bank, "this gateway attests");
                Self::On(Box::new(ready))
            }
            Err(why) => {
                tracing::warn!(why, "this gateway does not attest");
                Self::Off(why)
            }
        }
    }

    /// For `/admin/v1/status`. `node_key`: as the keystore has it.
    pub fn status(&self, config: &Config, node_key: &PublicKey) -> serde_json::Value {
        match self {
            Self::Off(why) => serde_json::json!({ "attests": false, "why": why }),
            Self::On(ready) => serde_json::json!({
                "attests": true,
                "supervisors": &*ready.last(),
                "enrolment": ready.enrolment(config, *node_key),
            }),
        }
    }
}

fn ready(config: &Config, chip: Chip) -> Result<Ready, String> {
    let inventory = measure::inventory().map_err(|e| e.to_string())?;
    let files = files::digests(config).map_err(|e| crate::assemble::chain(&e))?;
    let wanted = measure::wanted(chip.bank, &inventory, &config.digest, &files).map_err(|e| e.to_string())?;
    let log = config.node.data_dir.join("measured.json");
    let measured =
        measure::extend(&*chip.pcrs, chip.bank, &log, &wanted).map_err(|e| crate::assemble::chain(&e))?;
    if let Err(why) = &chip.endorsement {
        tracing::warn!(why, "the chip shows no endorsement certificate: it cannot be enrolled");
    }
    Ok(Ready {
        chip: Arc::new(chip),
        measured,
        inventory,
        configuration: config.digest,
        files,
        boot_log: config.attestation.event_log.clone(),
        last: Mutex::default(),
        wanted: Mutex::default(),
        wake: tokio::sync::Notify::new(),
    })
}

impl Ready {
    fn last(&self) -> MutexGuard<'_, BTreeMap<NodeId, Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This supervisor wants evidence now.
    fn want(&self, supervisor: NodeId) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(supervisor);
        self.wake.notify_one();
    }

    /// Whether it did; asked once.
    fn is_wanted(&self, supervisor: &NodeId) -> bool {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(supervisor)
    }

    fn enrolment(&self, config: &Config, node_key: PublicKey) -> Option<Enrolment> {
        Some(Enrolment {
            device: config.node.id.clone(),
            institution: config.node.institution.clone(),
            node_key,
            attestation_key: B64(self.chip.attestor.attestation_key().public_area),
            endorsement_certificate: B64(self.chip.endorsement.clone().ok()?),
            configuration: self.configuration,
            files: self.files.clone(),
        })
    }
}
