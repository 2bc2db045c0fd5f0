//! The exchanges over the MAN: a challenge and the evidence that answers it; once, a proof that the keys are the chip's.

use gw_attest::{Check, Verdict};
use gw_proto::{B64, Digest, Hex, NodeId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where a supervisor gives nonces.
pub const CHALLENGE_PATH: &str = "/man/v1/challenges";
/// Where it takes the evidence; `{id}` is the nonce.
pub const EVIDENCE_PATH: &str = "/man/v1/challenges/{id}/evidence";
/// Where a supervisor seals a secret to an enrolled chip.
pub const ACTIVATION_PATH: &str = "/man/v1/activations";
/// Where it takes the secret; `{id}` is the activation's.
pub const ACTIVATED_PATH: &str = "/man/v1/activations/{id}/secret";
/// Where a supervisor holds a gateway's call until evidence is wanted.
pub const SUMMONS_PATH: &str = "/man/v1/summons";
/// Channel binding of evidence; its context is the nonce. Not the replies' label: neither passes for the other.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-xinguan-attest-1";
/// The most bytes of a supervisor's answer to either.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// What a supervisor asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// to be quoted over
    pub nonce: Hex<32>,
    /// to be quoted
    pub pcrs: BTreeSet<u8>,
    /// no answer counts from then on
    pub expires: UnixMillis,
}

/// A secret that only the enrolled chip opens (TPM2_ActivateCredential).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// which
    pub id: Hex<32>,
    /// TPM2B_ID_OBJECT without its size
    pub blob: B64,
    /// TPM2B_ENCRYPTED_SECRET without its size
    pub secret: B64,
    /// no answer counts from then on
    pub expires: UnixMillis,
}

/// The end of a call that was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summons {
    /// evidence is wanted now; false: call again
    pub attest: bool,
}

/// What the chip opened.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// the secret
    pub secret: Hex<32>,
}

/// What it found: the box is told why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// of which device
    pub device: NodeId,
    /// everything holds
    pub passed: bool,
    /// when it was judged
    pub at: UnixMillis,
    /// until when others may rely on it
    pub good_until: Option<UnixMillis>,
    /// what does not hold
    pub failed: Vec<Check>,
}

impl Told {
    /// The part of a verdict that the box is told.
    pub fn of(verdict: &Verdict) -> Self {
        Self {
            device: verdict.device.clone(),
            passed: verdict.passed(),
            at: verdict.at,
            good_until: verdict.good_until,
            failed: verdict.failed().cloned().collect(),
        }
    }

    /// The failed checks by name, each with the component to blame.
    pub fn blame(&self) -> String {
        blame(&self.failed)
    }
}

/// Names of failed checks, each with its component, on one line.
pub fn blame(failed: &[Check]) -> String {
    let spell = |c: &Check| match &c.component {
        Some(component) => format!("{} [{component}]", c.name),
        None => c.name.to_string(),
    };
    failed.iter().map(spell).collect::<Vec<_>>().join(", ")
}

/// The path of the answer to an activation.
pub fn activated_path(id: &Hex<32>) -> String {
    ACTIVATED_PATH.replace("{id}", &id.to_string())
}

/// The path of the evidence for a nonce.
pub fn evidence_path(nonce: &Hex<32>) -> String {
    EVIDENCE_PATH.replace("{id}", &nonce.to_string())
}

/// The session's exporter for a nonce.
pub fn channel(
    exporter: &crate::listen::ExporterHandle,
    nonce: &Hex<32>,
) -> Result<Digest, crate::listen::ExportError> {
    exporter.export(EXPORTER_LABEL, &nonce.0).map(Hex)
}
