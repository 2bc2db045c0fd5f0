//! Every type of record × every kind of writer: what becomes of it.

use crate::common::*;
use gw_policy::{Fate, RefusalReason as Why};
use gw_proto::record::*;
use gw_proto::*;
use std::collections::BTreeSet;

/// The writers of the columns below; `bureau-d-1` is institution and source.
const WRITERS: [&str; 8] =
    ["governance", "bank-a-2", "bank-b-1", "bureau-c-1", "bureau-d-1", "pboc-1", "blocked-1", "stranger-1"];

/// What becomes of a record that its rightful writer would see accepted. A new record type does not compile
/// without a row.
#[rustfmt::skip]
fn expected(record: &Record) -> (usize, [char; 8]) {
    match record {
        // A accepted, W not this writer's type, P preimage needed, F foreign holder, S wrong side,
        // B writer blocked, U writer unknown             gov  bankA bankB bur-C bur-D pboc blkd stranger
        Record::Institution(_)   => (0,  ['A', 'W', 'W', 'W', 'W', 'W', 'B', 'U']),
        Record::Node(_)          => (1,  ['A', 'W', 'W', 'W', 'W', 'W', 'B', 'U']),
        Record::EvidenceRoot(_)  => (2,  ['A', 'W', 'W', 'W', 'W', 'W', 'B', 'U']),
        Record::Policy(_)        => (3,  ['A', 'W', 'W', 'W', 'W', 'W', 'B', 'U']),
        Record::Catalogue(_)     => (4,  ['A', 'W', 'W', 'W', 'W', 'W', 'B', 'U']),
        Record::Rules(_)         => (5,  ['A', 'W', 'W', 'W', 'W', 'W', 'B', 'U']),
        Record::TlsBinding(_)    => (6,  ['W', 'A', 'A', 'A', 'A', 'A', 'B', 'U']),
        Record::Authorization(_) => (7,  ['W', 'A', 'F', 'W', 'F', 'W', 'B', 'U']),
        Record::Revocation(r) if r.preimage == Some(preimage(1))
                                 => (8,  ['A', 'A', 'A', 'A', 'A', 'A', 'B', 'U']),
        Record::Revocation(r) if r.preimage.is_some()
                                 => (9,  ['P', 'A', 'P', 'P', 'P', 'A', 'B', 'U']),
        Record::Revocation(_)    => (10, ['W', 'A', 'W', 'W', 'W', 'A', 'B', 'U']),
        Record::Reservation(_)   => (11, ['W', 'A', 'F', 'W', 'F', 'W', 'B', 'U']),
        Record::Refund(_)        => (12, ['W', 'W', 'W', 'W', 'W', 'A', 'B', 'U']),
        Record::Trace(t) if t.side == Side::Asker
                                 => (13, ['W', 'A', 'S', 'S', 'S', 'W', 'B', 'U']),
        Record::Trace(_)         => (14, ['W', 'S', 'S', 'A', 'S', 'W', 'B', 'U']),
        Record::Heartbeat(_)     => (15, ['W', 'W', 'W', 'A', 'A', 'A', 'B', 'U']),
        Record::StateDigest(_)   => (16, ['W', 'W', 'W', 'W', 'W', 'A', 'B', 'U']),
        Record::Standing(_)      => (17, ['W', 'W', 'W', 'W', 'W', 'A', 'B', 'U']),
        Record::Verdict(_)       => (18, ['W', 'W', 'W', 'W', 'W', 'A', 'B', 'U']),
        Record::Reference(_)     => (19, ['A', 'W', 'W', 'W', 'W', 'W', 'B', 'U']),
    }
}
const ROWS: usize = 20;

fn samples(w: &World, t: &gw_proto::message::Opening) -> Vec<Record> {
    let authz_id = t.authz_id;
    let mut fresh = opening(&statement(1), &inst("bank-a"), 2);
    fresh.authz_id = authz_id;
    let revoke = |preimage| Record::Revocation(Revocation { authz_id, preimage });
    let report = t.report_id;
    let root = b"not parsed by apply".to_vec();
    let told = |side| trace("bank-a", report, side, "bureau-c-1", TraceStatus::Answered);
    vec![
        institution("bank-e"),
        Record::Node(Node { endpoint: "[::1]:9".into(), ..listed("bank-a-1") }),
        Record::EvidenceRoot(EvidenceRoot {
            id: sm3(&root),
            level: EvidenceLevel::Signed,
            certificate: B64(root),
            standing: Standing::Active,
        }),
        Record::Policy(policy(2)),
        Record::Catalogue(CatalogueVersion { version: "2026.2".into(), digest: Hex([1; 32]) }),
        Record::Rules(Rules { version: 1, from_height: Height(w.height().0 + 50) }),
        Record::TlsBinding(TlsBinding {
            spki: Hex([3; 32]),
            not_before: w.time,
            not_after: UnixMillis(w.time.0 + DAY),
        }),
        authorization(&statement(2)),
        revoke(Some(preimage(1))),
        revoke(Some(preimage(9))),
        revoke(None),
        reservation(&fresh, UnixMillis(w.time.0 + 1000)),
        Record::Refund(Refund { asker: inst("bank-a"), report_id: report }),
        Record::Trace(told(Side::Asker)),
        Record::Trace(told(Side::Source)),
        Record::Heartbeat(Heartbeat { seen: w.height() }),
        Record::StateDigest(StateDigest {
            height: w.height(),
            digest: w.view().head().unwrap().unwrap().state_digest,
        }),
        Record::Standing(StandingChange {
            institution: inst("bank-b"),
            standing: Standing::Blocked,
            reason: "nothing delivered in 24 h".into(),
        }),
        Record::Verdict(verdict("bank-b-1", VerdictResult::Bad, w.time)),
        Record::Reference(ReferenceManifest {
            digest: Hex([8; 32]),
            release: "1.4.2".into(),
            standing: Standing::Active,
        }),
    ]
}

#[test]
fn every_record_by_every_writer() {
    let mut world = World::standard();
    let s = statement(1);
    assert_eq!(world.one("bank-a-1", authorization(&s)), Fate::Accepted);
    let t = opening(&s, &inst("bank-a"), 1);
    let deadline = UnixMillis(world.time.0 + 60_000);
    assert_eq!(world.one("bank-a-1", reservation(&t, deadline)), Fate::Accepted);
    let mut rows = BTreeSet::new();
    for record in samples(&world, &t) {
        let (row, cells) = expected(&record);
        rows.insert(row);
        // what is decided here is what a transaction can carry
        let carried = world.clone().govern(vec![record.clone()]);
        assert_eq!(SignedBatch::parse(&carried.to_bytes().unwrap()).unwrap(), carried, "{}", record.kind());
        for (writer, cell) in WRITERS.iter().zip(cells) {
            let mut w = world.clone();
            let fate = match *writer {
                "governance" => w.govern_one(record.clone()),
                id => w.one(id, record.clone()),
            };
            let want = match cell {
                'A' => Fate::Accepted,
                'W' => Fate::Refused(Why::WriterNotAllowed),
                'P' => Fate::Refused(Why::PreimageWrong),
                'F' => Fate::Refused(Why::ForeignHolder),
                'S' => Fate::Refused(Why::WrongSide),
                'B' => Fate::Refused(Why::WriterBlocked),
                _ => Fate::Refused(Why::UnknownWriter),
            };
            assert_eq!(fate, want, "{} by {writer}", record.kind());
        }
    }
    assert_eq!(rows.len(), ROWS, "a row without a sample");
}
