//! Replaying the logs: what the PCRs must hold if the logged digests, and only those, were extended.

use crate::{
    error::{AttestError, one_line},
    event_type,
    eventlog::{self, BootLog},
    evidence::Measured,
    hash::Bank,
};
use std::collections::BTreeMap;

/// One extended digest, from either log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// into this PCR
    pub pcr: u8,
    /// what was extended
    pub digest: [u8; 32],
    /// what the log calls it: for people
    pub title: String,
    /// the firmware's event type is none that this verifier knows
    pub unknown_type: bool,
    /// the event's data are not what was measured, although its type says so
    pub lying: bool,
    /// the name that the gateway's own log gives it
    pub component: Option<String>,
}

/// Result of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    bank: Bank,
    pcrs: BTreeMap<u8, [u8; 32]>,
    steps: Vec<Step>,
}

impl Replay {
    /// Both logs, the firmware's first: an operating system measures after its firmware.
    pub fn of(bank: Bank, boot_log: Option<&[u8]>, own: &[Measured]) -> Result<Self, AttestError> {
        let mut this = Self { bank, pcrs: BTreeMap::new(), steps: Vec::new() };
        if let Some(bytes) = boot_log {
            this.firmware(&eventlog::parse_boot_log(bytes, bank)?);
        }
        for m in own {
            if m.pcr > 15 {
                return Err(AttestError::ResettablePcr { what: "the gateway's log", pcr: m.pcr });
            }
            this.extend(Step {
                pcr: m.pcr,
                digest: m.digest.0,
                title: one_line(&m.component),
                unknown_type: false,
                lying: false,
                component: Some(m.component.clone()),
            });
        }
        Ok(this)
    }

    fn firmware(&mut self, log: &BootLog<'_>) {
        let mut first = [0; 32];
        if let Some(last) = first.last_mut() {
            *last = log.startup_locality;
        }
        self.pcrs.insert(0, first);
        for e in &log.events {
            self.extend(Step {
                pcr: e.pcr,
                digest: e.digest,
                title: event_type::describe(e),
                unknown_type: event_type::type_name(e.kind).is_none(),
                lying: event_type::is_lying(e, self.bank),
                component: None,
            });
        }
    }

    fn extend(&mut self, step: Step) {
        let value = self.pcrs.entry(step.pcr).or_insert([0; 32]);
        *value = self.bank.extend(value, &step.digest);
        self.steps.push(step);
    }

    /// What the PCR must hold; zeros if nothing was extended.
    pub fn pcr(&self, pcr: u8) -> [u8; 32] {
        self.pcrs.get(&pcr).copied().unwrap_or_default()
    }

    /// All steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Those of one PCR.
    pub fn steps_of(&self, pcr: u8) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |s| s.pcr == pcr)
    }
}
