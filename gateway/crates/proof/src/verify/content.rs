//! Whether the report says what the replies say, and is about the use that was reserved.

use super::{Checks, Keys, Stop, fail, failed, hold};
use crate::{
    check_items, is_complete, merge_items,
    verdict::{Attestation, CheckName, Outcome},
};
use gw_proto::{
    Digest, NodeId,
    message::{ReplyStatus, SignedReply},
    report::{Answer, PartState},
};
use std::collections::BTreeMap;

/// Runs them; gives the sources whose verified replies attest that the reservation was accepted.
pub(super) fn check(answer: &Answer, keys: &Keys<'_>, checks: &mut Checks) -> Vec<Attestation> {
    let mut attested = Vec::new();
    for signed in &answer.replies {
        let source = &signed.reply.source;
        let good = "of this use, to this asker, after the reservation";
        let bound = checks.take(CheckName::ReplyBinding, Some(source), good, binding(answer, signed));
        let items = check_items(&signed.reply.items, &answer.opening.dimensions).map_err(fail);
        checks.take(CheckName::ReplyItems, Some(source), "sane, and within the dimensions", items);
        // the asker's own word shows nothing that it could not have made up
        let another = *source != answer.report.node;
        if another && bound.is_some() && keys.contains_key(source) && signature_held(checks, source) {
            attested.push(Attestation { by: source.clone(), height: signed.reply.height });
        }
    }
    checks.take(CheckName::ReplyList, None, "the given replies, no more and no fewer", reply_list(answer));
    checks.take(CheckName::Parts, None, "each answer has its reply, each gap is named", parts(answer));
    let merged = merge_items(answer.replies.iter().map(|r| &r.reply)) == answer.report.items;
    let result = hold(merged, "merging the replies gives other items than the report's");
    checks.take(CheckName::MergedItems, None, "recomputed from the replies", result);
    checks.take(CheckName::OpeningFields, None, "as in the opening", opening(answer));
    checks.take(CheckName::ReportId, None, "follows from institution and opening", report_id(answer));
    attested
}

fn signature_held(checks: &Checks, source: &NodeId) -> bool {
    let mut of = checks.0.iter().filter(|c| c.name == CheckName::ReplySignature);
    of.any(|c| c.about.as_ref() == Some(source) && c.outcome == Outcome::Ok)
}

fn binding(answer: &Answer, signed: &SignedReply) -> Result<(), Stop> {
    let (reply, report) = (&signed.reply, &answer.report);
    hold(reply.report_id == report.report_id, "the reply is of another report id")?;
    hold(reply.asker == report.node, "the reply is to another asker")?;
    hold(reply.height >= report.reserved_at, "the source's state was older than the reservation")?;
    let of_source = answer.replies.iter().filter(|r| r.reply.source == reply.source).count();
    hold(of_source == 1, "the source replies more than once")?;
    let empty = reply.status == ReplyStatus::Empty;
    hold(!empty || reply.items.is_empty(), "the reply says that it is empty, and carries items")
}

fn reply_list(answer: &Answer) -> Result<(), Stop> {
    let mut given = Vec::new();
    for signed in &answer.replies {
        match signed.proof.leaf_hash() {
            Some(hash) => given.push(hash),
            None => return failed("a reply's leaf has no hash"),
        }
    }
    let sorted = |mut v: Vec<Digest>| {
        v.sort_unstable();
        v
    };
    let same = sorted(given) == sorted(answer.report.replies.clone());
    hold(same, "the report lists other replies than the given ones")
}

fn parts(answer: &Answer) -> Result<(), Stop> {
    let report = &answer.report;
    let said: BTreeMap<&NodeId, ReplyStatus> =
        answer.replies.iter().map(|r| (&r.reply.source, r.reply.status)).collect();
    let told: BTreeMap<&NodeId, &PartState> = report.parts.iter().map(|p| (&p.source, &p.outcome)).collect();
    hold(told.len() == report.parts.len(), "a source stands twice")?;
    for (source, state) in &told {
        let fits = match state {
            PartState::Answered => said.get(source) == Some(&ReplyStatus::Answered),
            PartState::Empty => said.get(source) == Some(&ReplyStatus::Empty),
            PartState::Refused { .. } | PartState::Missing { .. } => !said.contains_key(source),
        };
        if !fits {
            return failed(format!("what is said of {source} does not agree with its reply"));
        }
    }
    if let Some(stranger) = said.keys().find(|s| !told.contains_key(*s)) {
        return failed(format!("{stranger} replied and is not among the sources asked"));
    }
    hold(report.complete == is_complete(&report.parts), "`complete` does not agree with the parts")
}

fn opening(answer: &Answer) -> Result<(), Stop> {
    let (r, t) = (&answer.report, &answer.opening);
    let other: Vec<&str> = [
        ("report id", r.report_id == t.report_id),
        ("authorization", r.authz_id == t.authz_id),
        ("subject", r.subject == t.subject),
        ("purpose", r.purpose == t.purpose),
        ("dimensions", r.dimensions == t.dimensions && t.dimensions_well_formed()),
        ("operator", r.operator_tag == t.operator_tag),
    ]
    .into_iter()
    .filter_map(|(what, same)| (!same).then_some(what))
    .collect();
    if other.is_empty() {
        Ok(())
    } else {
        failed(format!("differs from the opening in: {}", other.join(", ")))
    }
}

fn report_id(answer: &Answer) -> Result<(), Stop> {
    let derived = answer.opening.derive_report_id(&answer.report.asker).map_err(fail)?;
    hold(derived == answer.opening.report_id, "it does not follow from the institution and the opening")
}
