//! Offline verification of an answer: every check runs and is listed, none stops the others.
//!
//! What is believed beforehand is the [`TrustFile`] alone: the genesis document with its sealers, and the
//! root certificates of the network. A chain whose sealers have changed since needs a trust file of the
//! new genesis state; a header that the pinned quorum signed too is taken.

mod content;
mod inclusion;
mod signatures;
#[cfg(test)]
mod tests;

use crate::{
    ProofError,
    verdict::{Attestation, Check, CheckName, Outcome, Summary, Verdict, one_line},
};
use gw_proto::{
    B64, Height, NodeId, PublicKey, UnixMillis,
    genesis::Genesis,
    message::VERSION,
    report::{ANSWER_VERSION, Answer, PartState},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most bytes of an answer that are read.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// The most bytes of a trust file.
pub const MAX_TRUST_BYTES: usize = 256 * 1024;
/// The most replies in an answer: the broker asks no more sources.
pub const MAX_REPLIES: usize = 64;
const MAX_PARTS: usize = 4_096;
const MAX_PATH: usize = 32;
const MAX_ROOTS: usize = 16;

/// What a verifier believes before it reads an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustFile {
    /// the pinned trust root
    pub genesis: Genesis,
    /// root certificates of the network, DER
    pub roots: Vec<B64>,
}

impl TrustFile {
    /// Parses a trust file: bounded, 1 to 16 roots.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > MAX_TRUST_BYTES {
            return Err(ProofError::TrustSize { found: bytes.len(), limit: MAX_TRUST_BYTES });
        }
        let this: Self = serde_json::from_slice(bytes)
            .map_err(|e| ProofError::TrustForm { detail: one_line(&e.to_string()) })?;
        match this.roots.len() {
            1..=MAX_ROOTS => Ok(this),
            found => Err(ProofError::TrustRoots { found }),
        }
    }
}

/// Verifies an answer as it was received.
pub fn verify_answer(bytes: &[u8], trust: &TrustFile) -> Verdict {
    let mut checks = Checks::default();
    let size = if bytes.len() <= MAX_ANSWER_BYTES {
        Ok(())
    } else {
        failed(format!("{} bytes, at most {MAX_ANSWER_BYTES} are read", bytes.len()))
    };
    let answer = match checks.take(CheckName::Size, None, &format!("{} bytes", bytes.len()), size) {
        Some(()) => checks.take(CheckName::Form, None, "version 1, complete", parse(bytes)),
        None => None,
    };
    let engine = trust.genesis.engine;
    let Some(answer) = answer else {
        for name in CheckName::ALL.into_iter().skip(checks.0.len()) {
            checks.take::<()>(name, None, "", skipped("the file was not read"));
        }
        return Verdict { checks: checks.0, accepted_by: vec![], engine, summary: None };
    };
    let accepted_by = check_all(&answer, trust, &mut checks);
    Verdict { checks: checks.0, accepted_by, engine, summary: Some(summary(&answer)) }
}

fn check_all(answer: &Answer, trust: &TrustFile, checks: &mut Checks) -> Vec<Attestation> {
    let keys = signatures::check(answer, trust, checks);
    let attested = content::check(answer, &keys, checks);
    inclusion::check(answer, trust, keys.get(&answer.report.node), checks);
    let by: Vec<_> = attested.iter().map(|a| format!("{} at height {}", a.by, a.height)).collect();
    let accepted = match (by.is_empty(), answer.replies.is_empty()) {
        (false, _) => Ok(()),
        (true, true) => skipped("no source replied; inclusion alone does not show that it was accepted"),
        (true, false) => skipped("no reply of another node is verified, so nobody attests it"),
    };
    let detail = format!("attested by {}", by.join(", "));
    checks.take(CheckName::Accepted, None, &detail, accepted);
    attested
}

/// Keys of the nodes whose certificates hold.
type Keys<'a> = BTreeMap<&'a NodeId, PublicKey>;

/// Why a check does not hold.
enum Stop {
    Failed(String),
    Skipped(String),
}

fn failed<T>(detail: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(detail.into()))
}
fn skipped<T>(detail: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(detail.into()))
}
fn hold(holds: bool, otherwise: &str) -> Result<(), Stop> {
    if holds { Ok(()) } else { failed(otherwise) }
}
/// Any library error as a failed check.
fn fail(error: impl std::fmt::Display) -> Stop {
    Stop::Failed(error.to_string())
}

/// The list of checks as it grows.
#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    /// Records a result; gives its value on if it holds.
    fn take<T>(
        &mut self,
        name: CheckName,
        about: Option<&NodeId>,
        good: &str,
        result: Result<T, Stop>,
    ) -> Option<T> {
        let (outcome, detail, value) = match result {
            Ok(value) => (Outcome::Ok, good.to_owned(), Some(value)),
            Err(Stop::Failed(why)) => (Outcome::Failed, why, None),
            Err(Stop::Skipped(why)) => (Outcome::NotChecked, why, None),
        };
        self.0.push(Check { name, about: about.cloned(), outcome, detail: one_line(&detail) });
        value
    }
}

fn parse(bytes: &[u8]) -> Result<Answer, Stop> {
    let answer: Answer = serde_json::from_slice(bytes).map_err(fail)?;
    let (report, opening) = (&answer.report, &answer.opening);
    hold(answer.v == ANSWER_VERSION && report.v == ANSWER_VERSION, "unknown version of answer or report")?;
    hold(opening.v == VERSION, "unknown version of the opening")?;
    hold(answer.replies.iter().all(|r| r.reply.v == VERSION), "unknown version of a reply")?;
    hold(answer.replies.len() <= MAX_REPLIES, "more than 64 replies")?;
    hold(answer.certificates.len() <= MAX_REPLIES + 1, "more certificates than nodes can have signed")?;
    hold(report.parts.len() <= MAX_PARTS, "more than 4096 parts")?;
    let r = &answer.reservation;
    hold(r.tx_path.len() <= MAX_PATH && r.receipt_path.len() <= MAX_PATH, "a path of more than 32 hashes")?;
    Ok(answer)
}

fn summary(answer: &Answer) -> Summary {
    let r = &answer.report;
    let gap = |why: &str| one_line(why).chars().take(40).collect::<String>();
    Summary {
        report_id: r.report_id,
        asker: r.asker.clone(),
        node: r.node.clone(),
        created: r.created,
        purpose: r.purpose,
        block: Height(answer.reservation.header.number),
        block_time: UnixMillis(answer.reservation.header.timestamp),
        complete: r.complete,
        items: r.items.len(),
        conflicting: r.items.iter().filter(|i| i.conflicting).count(),
        disputed: r.items.iter().filter(|i| i.item.disputed).count(),
        replies: answer.replies.len(),
        gaps: r
            .parts
            .iter()
            .filter_map(|p| match &p.outcome {
                PartState::Answered | PartState::Empty => None,
                PartState::Refused { problem } => Some((p.source.clone(), gap(problem))),
                PartState::Missing { reason } => Some((p.source.clone(), gap(reason))),
            })
            .collect(),
    }
}
