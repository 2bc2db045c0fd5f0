//! `[attestation]` and `[supervisor.attestation]`: giving evidence, judging it.

use gw_attest::{Bank, decide::Policy};
use std::{path::PathBuf, time::Duration};

/// Banks that are accepted: SM3 where a chip has it.
pub const BANKS: [Bank; 2] = [Bank::Sm3, Bank::Sha256];

/// `[attestation]`
#[derive(Debug, Clone)]
pub struct Attestation {
    /// between two rounds
    pub interval: Duration,
    /// the firmware's event log
    pub event_log: Option<PathBuf>,
}

/// `[supervisor.attestation]`
#[derive(Debug, Clone)]
pub struct Verifier {
    /// folder of signed reference manifests
    pub manifests: PathBuf,
    /// whose manifests count, JSON
    pub makers: PathBuf,
    /// what is asked for
    pub policy: Policy,
}
