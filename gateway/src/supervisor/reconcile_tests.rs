//! Every gap by its name, and none where both sides told the same.

use super::reconcile::*;
use Side::{Asker, Source};
use TraceStatus::{Answered, Empty, Missing, Refused};
use gw_policy::TraceState;
use gw_proto::{
    AuthzId, ConsortiumId, Digest, Dimension, EvidenceLevel, Height, Hex, InstitutionId, NodeId, Purpose,
    Region, ReportId, UnixMillis, Uscc,
    message::{Delivery, Evidence, Opening, Statement},
    record::{Side, Trace, TraceStatus},
};
use std::time::Duration;

const DEADLINE: UnixMillis = UnixMillis(1_000_000);

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn trace(side: Side, status: TraceStatus, leaves: &[u8]) -> TraceState {
    let reply_leaves: Vec<Digest> = leaves.iter().map(|l| Hex([*l; 32])).collect();
    TraceState {
        record: Trace {
            asker: InstitutionId::parse("bank-a").unwrap(),
            report_id: ReportId(Hex([1; 32])),
            side,
            source: node("bureau-c-1"),
            status,
            reply_leaf: reply_leaves.last().copied(),
        },
        node: node(if side == Asker { "bank-a-1" } else { "bureau-c-1" }),
        height: Height(9),
        tx_index: 0,
        record_index: 0,
        block_time: UnixMillis(1),
        reply_leaves,
    }
}

pub(super) fn delivery(side: Side, salt: u8) -> Delivery {
    let subject = Uscc::parse("91350100M000100Y43").unwrap();
    let asker = InstitutionId::parse("bank-a").unwrap();
    let (purpose, dimension) = (Purpose::ALL[0], Dimension::ALL[0]);
    Delivery {
        v: 1,
        node: node(if side == Asker { "bank-a-1" } else { "bureau-c-1" }),
        asker: asker.clone(),
        side,
        statement: Statement {
            v: 1,
            consortium: ConsortiumId::parse("yrd-dev").unwrap(),
            subject: subject.clone(),
            holder: asker.clone(),
            purposes: vec![purpose],
            dimensions: vec![dimension],
            regions: vec![Region::parse("330100").unwrap()],
            not_before: UnixMillis(1),
            not_after: UnixMillis(2),
            max_uses: 1,
            level: EvidenceLevel::Asserted,
            revoke_hash: Hex([2; 32]),
            salt: Hex([3; 32]),
        },
        evidence: Evidence::Asserted { document: Hex([4; 32]) },
        opening: Opening::new(
            &asker,
            AuthzId(Hex([5; 32])),
            subject,
            purpose,
            vec![dimension],
            Hex([6; 32]),
            Hex([salt; 32]),
        )
        .unwrap(),
        outcomes: Vec::new(),
    }
}

fn found(traces: &[TraceState], deliveries: &[Delivery]) -> Vec<Gap> {
    let asker = InstitutionId::parse("bank-a").unwrap();
    let of =
        UseOnChain { asker, report_id: ReportId(Hex([1; 32])), deadline: DEADLINE, traces: traces.to_vec() };
    gaps(&of, deliveries, DEADLINE).into_iter().map(|f| f.gap).collect()
}

#[test]
fn each_gap_has_its_name() {
    let source = node("bureau-c-1");
    let both = [delivery(Asker, 7), delivery(Source, 7)];
    let named = |gap: fn(NodeId) -> Gap| vec![gap(source.clone())];
    let (answered, alone) = (|leaves: &[u8]| trace(Source, Answered, leaves), &both[..1]);
    for (what, traces, deliveries, wanted) in [
        ("both told the same", vec![trace(Asker, Answered, &[1]), answered(&[1])], &both[..], vec![]),
        (
            "a lost reply was signed anew",
            vec![trace(Asker, Answered, &[2]), answered(&[1, 2])],
            &both,
            vec![],
        ),
        // in the other order on the chain: the resubmitted trace of the first came last
        (
            "the lost reply's trace came later",
            vec![trace(Asker, Answered, &[2]), answered(&[2, 1])],
            &both,
            vec![],
        ),
        ("nobody answered", vec![trace(Asker, Missing, &[])], alone, vec![]),
        ("both say refused", vec![trace(Asker, Refused, &[]), trace(Source, Refused, &[])], alone, vec![]),
        ("the asker is silent", vec![answered(&[1])], &both, vec![Gap::AskerUntraced]),
        ("nothing at all", vec![], &[], vec![Gap::AskerUntraced, Gap::AskerUndelivered]),
        (
            "the source did not deliver",
            vec![trace(Asker, Answered, &[1]), answered(&[1])],
            alone,
            named(|source| Gap::SourceUndelivered { source }),
        ),
        (
            "the source told nothing",
            vec![trace(Asker, Answered, &[1])],
            alone,
            named(|source| Gap::SourceUntraced { source }),
        ),
        (
            "the source says that it refused",
            vec![trace(Asker, Answered, &[1]), trace(Source, Refused, &[])],
            alone,
            named(|source| Gap::SourceUntraced { source }),
        ),
        (
            "the asker says missing",
            vec![trace(Asker, Missing, &[]), answered(&[1])],
            &both,
            named(|source| Gap::AskerDenies { source }),
        ),
        (
            "something and nothing",
            vec![trace(Asker, Empty, &[1]), answered(&[1])],
            &both,
            named(|source| Gap::AskerDenies { source }),
        ),
        (
            "a reply that the source did not sign",
            vec![trace(Asker, Answered, &[3]), answered(&[1, 2])],
            &both,
            named(|source| Gap::RepliesDiffer { source }),
        ),
    ] {
        assert_eq!(found(&traces, deliveries), wanted, "{what}");
    }
    let differ = [delivery(Asker, 7), delivery(Source, 8)];
    let gap = Gap::OpeningsDiffer { node: source };
    assert_eq!(found(&[trace(Asker, Answered, &[1]), answered(&[1])], &differ), [gap]);
}

#[test]
fn a_gap_is_an_alarm_after_a_day() {
    let asker = InstitutionId::parse("bank-a").unwrap();
    let of = UseOnChain { asker, report_id: ReportId(Hex([1; 32])), deadline: DEADLINE, traces: Vec::new() };
    let late = |now| gaps(&of, &[], now).iter().all(|f| f.overdue);
    assert!(!late(DEADLINE.plus(GRACE)));
    assert!(late(DEADLINE.plus(GRACE + Duration::from_millis(1))));
}
