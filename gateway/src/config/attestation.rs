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
    /// whom this gateway trades with
    pub peers: PeerPolicy,
}

/// What the ledger's verdicts on gateways mean here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerPolicy {
    /// what a verdict that is not good does
    pub mode: Mode,
    /// while enforcing: trade with a gateway whose last verdict is older than 24 h
    pub allow_lapsed: bool,
    /// while enforcing: trade with a gateway that nobody has judged
    pub allow_unjudged: bool,
}

/// How far a policy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// counted
    Observe,
    /// counted and logged
    Warn,
    /// refused
    Enforce,
}

/// `[supervisor.attestation]`
#[derive(Debug, Clone)]
pub struct Verifier {
    /// folder of signed reference manifests
    pub manifests: PathBuf,
    /// whose manifests count, JSON
    pub makers: PathBuf,
    /// PEM: whose chips may be enrolled; none: whatever the operator brings
    pub manufacturers: Option<PathBuf>,
    /// what is asked for
    pub policy: Policy,
    /// a proposal that nobody decides on is over after
    pub proposals_expire: Duration,
}
