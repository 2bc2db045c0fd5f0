//! From outcomes to a report: every planned source is a part, every item keeps its sources.

use crate::{
    exchange::Outcome,
    plan::{MAX_SOURCES, Plan},
};
use gw_proto::{
    Height, InstitutionId, NodeId, UnixMillis,
    canon::CanonError,
    message::{DeliveredOutcome, Opening, ReplyStatus, SignedReply},
    record::{Node, TraceStatus},
    report::{ANSWER_VERSION, Part, PartState, Report},
};
use std::collections::BTreeMap;

/// What the broker cannot do.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The verified state could not be read.
    #[error("the plan needs the list of nodes, which could not be read")]
    State(#[from] gw_policy::StateError),
    /// A verified reply's leaf has no hash; a reply that passed its checks always has one.
    #[error("the reply of {0} has no leaf hash")]
    Leaf(NodeId),
    /// The report has no canonical form.
    #[error("the report has no canonical form")]
    Canon(#[from] CanonError),
}

/// What the report says besides parts and items.
#[derive(Debug, Clone)]
pub struct ReportHead<'a> {
    /// T: use, authorization, subject, purpose, dimensions, operator
    pub opening: &'a Opening,
    /// our institution
    pub asker: InstitutionId,
    /// our node
    pub node: NodeId,
    /// now
    pub created: UnixMillis,
    /// block of the reservation
    pub reserved_at: Height,
    /// catalogue version in force
    pub catalogue: String,
}

/// A report and the replies it is made of, both in the order of the sources' ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// the report, unsigned
    pub report: Report,
    /// the signed parts
    pub replies: Vec<SignedReply>,
}

/// Makes the report. Outcomes of nodes outside the plan are left out; a planned node without an outcome
/// stands as missing.
pub fn assemble(
    head: ReportHead<'_>,
    plan: &Plan,
    mut outcomes: BTreeMap<NodeId, Outcome>,
) -> Result<Merged, BrokerError> {
    let mut parts = Vec::new();
    let mut replies: Vec<SignedReply> = Vec::new();
    for node in &plan.asked {
        let state = match outcomes.remove(&node.id) {
            Some(Outcome::Replied(signed)) => {
                let state = match signed.reply.status {
                    ReplyStatus::Answered => PartState::Answered,
                    ReplyStatus::Empty => PartState::Empty,
                };
                replies.push(*signed);
                state
            }
            Some(Outcome::Refused { problem }) => PartState::Refused { problem },
            Some(Outcome::Missing { reason }) => PartState::Missing { reason: reason.to_owned() },
            None => PartState::Missing { reason: "not-asked".to_owned() },
        };
        parts.push(part(node, state));
    }
    let missing = |reason: &str| PartState::Missing { reason: reason.to_owned() };
    parts.extend(plan.not_trusted.iter().map(|n| part(n, missing("not-trusted"))));
    parts.extend(plan.left_out.iter().map(|n| part(n, missing("not-asked"))));
    let leaves = replies
        .iter()
        .map(|r| r.proof.leaf_hash().ok_or_else(|| BrokerError::Leaf(r.reply.source.clone())))
        .collect::<Result<Vec<_>, _>>()?;
    let t = head.opening;
    let report = Report {
        v: ANSWER_VERSION,
        report_id: t.report_id,
        authz_id: t.authz_id,
        subject: t.subject.clone(),
        purpose: t.purpose,
        dimensions: t.dimensions.clone(),
        asker: head.asker,
        node: head.node,
        operator_tag: t.operator_tag,
        created: head.created,
        reserved_at: head.reserved_at,
        catalogue: head.catalogue,
        complete: gw_proof::is_complete(&parts),
        parts,
        items: gw_proof::merge_items(replies.iter().map(|r| &r.reply)),
        replies: leaves,
    };
    Ok(Merged { report, replies })
}

fn part(node: &Node, outcome: PartState) -> Part {
    Part { source: node.id.clone(), institution: node.institution.clone(), region: node.region, outcome }
}

/// What the asker's traces and its delivery to the supervisor say of each source; nothing of sources beyond
/// the plan's bound, which were never to be asked: a delivery stays small however many there are.
pub fn delivered_outcomes(report: &Report, replies: &[SignedReply]) -> Vec<DeliveredOutcome> {
    let leaf_of = |source: &NodeId| {
        replies.iter().find(|r| r.reply.source == *source).and_then(|r| r.proof.leaf_hash())
    };
    report
        .parts
        .iter()
        .take(MAX_SOURCES)
        .map(|p| DeliveredOutcome {
            source: p.source.clone(),
            status: match p.outcome {
                PartState::Answered => TraceStatus::Answered,
                PartState::Empty => TraceStatus::Empty,
                PartState::Refused { .. } => TraceStatus::Refused,
                PartState::Missing { .. } => TraceStatus::Missing,
            },
            reply_leaf: leaf_of(&p.source),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;
    use gw_proto::{Hex, record::TraceStatus as T};

    fn head(opening: &Opening) -> ReportHead<'_> {
        ReportHead {
            opening,
            asker: ASKER.parse().unwrap(),
            node: ASKER.parse().unwrap(),
            created: UnixMillis(5),
            reserved_at: Height(10),
            catalogue: "2026.1".into(),
        }
    }
    fn replied(i: usize, change: impl Fn(&mut gw_proto::message::Reply)) -> (NodeId, Outcome) {
        let id = node(i).id;
        let mut r = reply(&id, Hex([6; 32]), Hex([7; 32]));
        change(&mut r);
        (id.clone(), Outcome::Replied(Box::new(signed(r, &key_of(&id)))))
    }

    #[test]
    fn every_planned_source_is_a_part_and_nobody_else() {
        let t = opening();
        let outcomes = BTreeMap::from([
            replied(0, |r| r.items[0].disputed = true),
            replied(1, |r| {
                r.status = ReplyStatus::Empty;
                r.items.clear();
            }),
            (node(2).id, Outcome::Refused { problem: "stale".into() }),
            (node(3).id, Outcome::Missing { reason: "timeout" }),
            replied(99, |_| ()),
        ]);
        let m = assemble(head(&t), &plan(5), outcomes).unwrap();
        let states: Vec<_> = m.report.parts.iter().map(|p| p.outcome.clone()).collect();
        assert_eq!(
            states,
            vec![
                PartState::Answered,
                PartState::Empty,
                PartState::Refused { problem: "stale".into() },
                PartState::Missing { reason: "timeout".into() },
                PartState::Missing { reason: "not-asked".into() },
            ]
        );
        assert!(!m.report.complete);
        assert_eq!(m.replies.len(), 2);
        let leaves: Vec<_> = m.replies.iter().map(|r| r.proof.leaf_hash().unwrap()).collect();
        assert_eq!(m.report.replies, leaves);
        assert_eq!(m.report.items.len(), 1);
        assert!(m.report.items[0].item.disputed);
        assert_eq!(m.report.items[0].sources, vec![node(0).id]);

        let told = delivered_outcomes(&m.report, &m.replies);
        let status: Vec<_> = told.iter().map(|o| o.status).collect();
        assert_eq!(status, vec![T::Answered, T::Empty, T::Refused, T::Missing, T::Missing]);
        assert_eq!(told[1].reply_leaf, Some(leaves[1]));
        assert_eq!(told[2].reply_leaf, None);
    }

    #[test]
    fn complete_means_all_and_beyond_the_bound_is_named() {
        let t = opening();
        let all = |n: usize| (0..n).map(|i| replied(i, |_| ())).collect::<BTreeMap<_, _>>();
        assert!(assemble(head(&t), &plan(3), all(3)).unwrap().report.complete);
        assert!(!assemble(head(&t), &plan(0), all(0)).unwrap().report.complete);
        let many = assemble(head(&t), &plan(65), all(64)).unwrap().report;
        assert_eq!((many.parts.len(), many.complete), (65, false));
        // nor is a source forgotten whose verdict is bad
        let plan = Plan { not_trusted: vec![node(3)], ..plan(3) };
        let without = assemble(head(&t), &plan, all(3)).unwrap().report;
        assert!(!without.complete);
        let last = without.parts.last().unwrap();
        assert_eq!(last.source, node(3).id);
        assert_eq!(last.outcome, PartState::Missing { reason: "not-trusted".into() });
    }
}
