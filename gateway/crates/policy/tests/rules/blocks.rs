//! Blocks in sequence: order, time, forgetting, rules, digests, TLS keys.

use crate::common::*;
use gw_policy::{
    Alarm, ApplyError, BlockInput, Fate, RefusalReason as Why, TraceNeed, apply_block, trace_need,
};
use gw_proto::record::*;
use gw_proto::*;

fn apply_error(w: &World, input: &BlockInput) -> ApplyError {
    apply_block(&w.genesis, &w.state, input).unwrap_err()
}

#[test]
fn a_block_of_others_moves_height_and_time() {
    let mut w = World::standard();
    let before = w.view().head().unwrap().unwrap();
    w.time = at(HOUR);
    let outcome = w.apply(Vec::new());
    let head = w.view().head().unwrap().unwrap();
    assert_eq!((head.height.0, head.time), (before.height.0 + 1, at(HOUR)));
    assert_ne!(head.state_digest, before.state_digest);
    assert_eq!(outcome.state_digest, head.state_digest);
    assert_eq!(w.view().digest_at(before.height).unwrap(), Some(before.state_digest));
}

#[test]
fn time_never_goes_back() {
    let mut w = World::standard();
    let s = statement(1);
    assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
    w.time = at(30 * DAY);
    w.apply(Vec::new());
    w.time = at(0);
    let t = opening(&s, &inst("bank-a"), 1);
    assert_eq!(w.one("bank-a-1", reservation(&t, at(30 * DAY + 1))), Fate::Refused(Why::Expired));
    assert_eq!(w.view().head().unwrap().unwrap().time, at(30 * DAY));
}

#[test]
fn blocks_that_do_not_fit() {
    let w = World::standard();
    let good = w.input(Vec::new());
    let (expected, twice) = (good.height, BlockInput { height: w.height(), ..good.clone() });
    assert_eq!(apply_error(&w, &twice), ApplyError::NotNext { expected, found: w.height() });
    let skips = BlockInput { height: Height(expected.0 + 1), ..good.clone() };
    assert!(matches!(apply_error(&w, &skips), ApplyError::NotNext { .. }));
    let first = World::empty();
    assert!(matches!(apply_error(&first, &good), ApplyError::NotNext { expected: Height(1), .. }));
    let timeless = BlockInput { time: UnixMillis(1 << 60), ..good.clone() };
    assert!(matches!(apply_error(&w, &timeless), ApplyError::OutOfRange { .. }));
    let mut w2 = w.clone();
    let batch = w2.by("pboc-1", vec![Record::Heartbeat(Heartbeat { seen: w.height() })]);
    let unordered = BlockInput { batches: vec![(1, batch.clone()), (1, batch)], ..good.clone() };
    assert!(matches!(apply_error(&w, &unordered), ApplyError::TransactionOrder { .. }));
    let mut other = w.clone();
    other.genesis.chain = "chain1".into();
    assert_eq!(apply_error(&other, &good), ApplyError::OtherGenesis);
    for (threshold, key) in [(0, 1), (4, 1), (2, 0)] {
        let mut w = World::empty();
        w.genesis.governance.threshold = threshold;
        w.genesis.governance.keys[1] = w.genesis.governance.keys[key];
        assert_eq!(apply_error(&w, &w.input(Vec::new())), ApplyError::Governance);
    }
}

#[test]
fn unknown_rules_stop_the_box_when_they_come_into_force() {
    let mut w = World::standard();
    let from = Height(w.height().0 + 3);
    let unknown = gw_policy::KNOWN_RULES.iter().max().unwrap() + 1;
    assert_eq!(w.govern_one(Record::Rules(Rules { version: unknown, from_height: from })), Fate::Accepted);
    w.apply(Vec::new());
    let stop = ApplyError::UnknownRules { version: unknown, height: from };
    assert_eq!(apply_error(&w, &w.input(Vec::new())), stop);
    // unless governance takes it back in time
    let mut w = World::standard();
    for version in [unknown, 2] {
        assert_eq!(w.govern_one(Record::Rules(Rules { version, from_height: from })), Fate::Accepted);
    }
    w.apply(Vec::new());
    let mut w = World::empty();
    w.genesis.rules = 9;
    let stop = ApplyError::UnknownRules { version: 9, height: Height(1) };
    assert_eq!(apply_error(&w, &w.input(Vec::new())), stop);
}

#[test]
fn one_bad_record_does_not_spoil_its_batch() {
    let mut w = World::standard();
    let (s1, s2) = (statement(1), statement(2));
    let foreign = message::Statement { holder: inst("bank-b"), ..statement(3) };
    let records =
        vec![authorization(&s1), authorization(&foreign), institution("bank-e"), authorization(&s2)];
    let batch = w.by("bank-a-1", records);
    let outcome = w.apply(vec![batch]);
    let fates: Vec<_> = outcome.fates.iter().map(|f| (f.tx, f.record, f.kind, f.fate)).collect();
    assert_eq!(
        fates,
        [
            (0, 0, "authorization", Fate::Accepted),
            (0, 1, "authorization", Fate::Refused(Why::ForeignHolder)),
            (0, 2, "institution", Fate::Refused(Why::WriterNotAllowed)),
            (0, 3, "authorization", Fate::Accepted),
        ]
    );
}

/// Two gateways of one bank race for the last use: the chain's order decides, in one block or in two.
#[test]
fn two_reservations_for_the_last_use() {
    let s = message::Statement { max_uses: 1, ..statement(1) };
    let mut w = World::standard();
    assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
    let t = [1, 2].map(|salt| opening(&s, &inst("bank-a"), salt));
    let first = w.by("bank-a-1", vec![reservation(&t[0], at(1000))]);
    let second = w.by("bank-a-2", vec![reservation(&t[1], at(1000))]);
    let expected = [Fate::Accepted, Fate::Refused(Why::UsedUp)];
    for (batches, winner) in [([first.clone(), second.clone()], 0), ([second, first], 1)] {
        let mut one_block = w.clone();
        let fates = one_block.apply(batches.to_vec()).fates;
        assert_eq!([fates[0].fate, fates[1].fate], expected);
        let mut two_blocks = w.clone();
        assert_eq!(batches.map(|b| two_blocks.single(b)), expected);
        for w in [one_block, two_blocks] {
            let stored = w.view().reservations_of(&t[0].authz_id).unwrap();
            assert_eq!(stored.len(), 2);
            assert_eq!(stored[0].record.report_id, t[winner].report_id);
            assert_eq!((stored[0].accepted(), stored[1].fate), (true, expected[1]));
            assert_eq!(w.view().authorization(&t[0].authz_id).unwrap().unwrap().spent, 1);
        }
    }
}

/// Another institution writes the same report id first: it takes nothing away.
#[test]
fn a_squatted_report_id() {
    let mut w = World::standard();
    let s = statement(1);
    let own = message::Statement { holder: inst("bank-b"), ..statement(2) };
    assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
    assert_eq!(w.one("bank-b-1", authorization(&own)), Fate::Accepted);
    let t = opening(&s, &inst("bank-a"), 1);
    let mut squat = opening(&own, &inst("bank-b"), 1);
    squat.report_id = t.report_id;
    assert_eq!(w.one("bank-b-1", reservation(&squat, at(1000))), Fate::Accepted);
    assert_eq!(w.one("bank-a-1", reservation(&t, at(1000))), Fate::Accepted);
    assert_eq!(w.view().reservation(&inst("bank-a"), &t.report_id).unwrap().unwrap().asker, inst("bank-a"));
}

#[test]
fn repeats_spend_nothing() {
    let mut w = World::standard();
    let s = statement(1);
    assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
    let t = opening(&s, &inst("bank-a"), 1);
    let batch = w.by("bank-a-1", vec![reservation(&t, at(1000))]);
    let outcome = w.apply(vec![batch.clone(), batch.clone()]);
    assert_eq!([outcome.fates[0].fate, outcome.fates[1].fate], [Fate::Accepted, Fate::Repeated]);
    // the same batch later, the same report in another node's batch with a later deadline
    assert_eq!(w.single(batch), Fate::Repeated);
    assert_eq!(w.one("bank-a-2", reservation(&t, at(2000))), Fate::Repeated);
    assert_eq!(w.one("bank-a-2", authorization(&s)), Fate::Repeated);
    let stored = w.view().reservation(&inst("bank-a"), &t.report_id).unwrap().unwrap();
    assert_eq!(stored.record.deadline, at(1000));
    assert_eq!(w.view().authorization(&t.authz_id).unwrap().unwrap().spent, 1);
}

/// What was refused stays refused for its batch: a copy of it does not succeed when the time has come.
#[test]
fn a_refused_record_cannot_be_played_again() {
    let mut w = World::standard();
    let s = statement(1);
    let t = opening(&s, &inst("bank-a"), 1);
    let early = w.by("bank-a-1", vec![reservation(&t, at(1000))]);
    assert_eq!(w.single(early.clone()), Fate::Refused(Why::UnknownAuthorization));
    assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
    assert_eq!(w.single(early), Fate::Repeated);
    assert!(w.view().reservation(&inst("bank-a"), &t.report_id).unwrap().is_none());
    // its writer may ask again, in a new batch
    assert_eq!(w.one("bank-a-1", reservation(&t, at(1000))), Fate::Accepted);
}

/// A copy of a batch whose signature was broken does not get in the way of the good one.
#[test]
fn a_bad_copy_does_not_poison_the_good_one() {
    let mut w = World::standard();
    let good = w.by("bank-a-1", vec![authorization(&statement(1))]);
    let mut bad = good.clone();
    bad.signatures[0].signature.0[0] ^= 1;
    assert_eq!(w.single(bad), Fate::Refused(Why::BadSignature));
    assert_eq!(w.single(good), Fate::Accepted);
}

#[test]
fn a_refund_gives_one_use_back_once() {
    let mut w = World::standard();
    let s = message::Statement { max_uses: 1, ..statement(1) };
    assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
    let t = [1, 2, 3].map(|salt| opening(&s, &inst("bank-a"), salt));
    assert_eq!(w.one("bank-a-1", reservation(&t[0], at(1000))), Fate::Accepted);
    let refund = Record::Refund(Refund { asker: inst("bank-a"), report_id: t[0].report_id });
    assert_eq!(w.one("pboc-1", refund.clone()), Fate::Accepted);
    assert_eq!(w.one("pboc-1", refund), Fate::Repeated);
    assert_eq!(w.one("bank-a-1", reservation(&t[1], at(1000))), Fate::Accepted);
    assert_eq!(w.one("bank-a-1", reservation(&t[2], at(1000))), Fate::Refused(Why::UsedUp));
    // the refunded report does not come back to life
    assert_eq!(w.one("bank-a-1", reservation(&t[0], at(1000))), Fate::Repeated);
    let refunded = w.view().reservation(&inst("bank-a"), &t[0].report_id).unwrap().unwrap();
    assert!(refunded.accepted() && refunded.refunded.is_some());
}

#[test]
fn traces_of_both_sides() {
    let mut w = World::standard();
    let s = statement(1);
    assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
    let t = opening(&s, &inst("bank-a"), 1);
    assert_eq!(w.one("bank-a-1", reservation(&t, at(1000))), Fate::Accepted);
    let mut tell = |by, side, source, status, leaf: Option<u8>| {
        let mut r = trace("bank-a", t.report_id, side, source, status);
        r.reply_leaf = leaf.map(|l| Hex([l; 32]));
        w.one(by, Record::Trace(r))
    };
    use {Side::*, TraceStatus::*};
    assert_eq!(tell("bank-a-1", Asker, "bureau-c-1", Missing, None), Fate::Accepted);
    assert_eq!(tell("bureau-c-1", Source, "bureau-c-1", Answered, Some(1)), Fate::Accepted);
    assert_eq!(tell("bureau-c-1", Source, "bureau-c-1", Answered, Some(1)), Fate::Repeated);
    // re-asked: the other node of the bank tells, and the source signed anew
    assert_eq!(tell("bureau-c-1", Source, "bureau-c-1", Answered, Some(2)), Fate::Accepted);
    assert_eq!(tell("bank-a-2", Asker, "bureau-c-1", Answered, Some(2)), Fate::Accepted);
    assert_eq!(tell("bureau-d-1", Source, "bureau-d-1", Refused, None), Fate::Accepted);
    let told = w.view().traces(&inst("bank-a"), &t.report_id).unwrap();
    let told: Vec<_> = told.iter().map(|t| (t.record.side, t.record.status, t.reply_leaves.len())).collect();
    assert_eq!(told, [(Asker, Answered, 1), (Source, Answered, 2), (Source, Refused, 0)]);
}

/// What an outbox asks before it writes a trace again is what apply then decides.
#[test]
fn a_trace_is_needed_until_the_chain_knows_as_much() {
    use {Side::*, TraceStatus::*};
    let mut w = World::standard();
    let s = statement(1);
    assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
    let t = opening(&s, &inst("bank-a"), 1);
    let made = |status, leaf: Option<u8>| {
        let mut r = trace("bank-a", t.report_id, Asker, "bureau-c-1", status);
        r.reply_leaf = leaf.map(|l| Hex([l; 32]));
        r
    };
    assert_eq!(trace_need(&w.view(), &made(Answered, Some(1))).unwrap(), TraceNeed::Unknown);
    assert_eq!(w.one("bank-a-1", reservation(&t, at(1000))), Fate::Accepted);
    // in this order: told again, a source that is away at a repetition, a reply signed anew
    for (status, leaf, wanted) in [
        (Missing, None, TraceNeed::Open),
        (Missing, None, TraceNeed::Settled),
        (Answered, Some(1), TraceNeed::Open),
        (Answered, Some(1), TraceNeed::Settled),
        (Missing, None, TraceNeed::Settled),
        (Refused, None, TraceNeed::Settled),
        (Empty, Some(7), TraceNeed::Settled),
        (Answered, Some(2), TraceNeed::Open),
        (Answered, Some(1), TraceNeed::Settled),
    ] {
        let r = made(status, leaf);
        assert_eq!(trace_need(&w.view(), &r).unwrap(), wanted, "{status:?} {leaf:?}");
        let fate = w.one("bank-a-1", Record::Trace(r));
        assert_eq!(fate == Fate::Accepted, wanted == TraceNeed::Open, "{status:?} {leaf:?}: {fate:?}");
    }
    // the chain takes eight leaves of one source; the ninth is not tried for ever
    for leaf in 3..=8 {
        assert_eq!(w.one("bank-a-1", Record::Trace(made(Answered, Some(leaf)))), Fate::Accepted);
    }
    assert_eq!(trace_need(&w.view(), &made(Answered, Some(9))).unwrap(), TraceNeed::Settled);
}

#[test]
fn a_supervisors_digest_is_compared() {
    let mut w = World::standard();
    let head = w.view().head().unwrap().unwrap();
    let by = |w: &mut World, digest| {
        let record = Record::StateDigest(StateDigest { height: head.height, digest });
        let batch = w.by("pboc-1", vec![record]);
        w.apply(vec![batch])
    };
    let wrong = by(&mut w, Hex([0; 32]));
    let alarm = Alarm::DigestMismatch {
        height: head.height,
        ours: head.state_digest,
        theirs: Hex([0; 32]),
        by: node("pboc-1"),
    };
    assert_eq!((wrong.fates[0].fate, wrong.alarms), (Fate::Accepted, vec![alarm]));
    assert!(w.view().anchor().unwrap().is_none());
    let right = by(&mut w, head.state_digest);
    assert_eq!((right.fates[0].fate, right.alarms), (Fate::Accepted, vec![]));
    assert_eq!(w.view().anchor().unwrap().unwrap().height, head.height);
}

fn bind(w: &mut World, by: &str, spki: u8, hours: u64) -> Fate {
    let not_after = UnixMillis(w.time.0 + hours * HOUR);
    w.one(by, Record::TlsBinding(TlsBinding { spki: Hex([spki; 32]), not_before: w.time, not_after }))
}
fn bound(w: &World, id: &str, spki: u8) -> bool {
    w.view().node_with_tls(&node(id), &Hex([spki; 32]), w.time).unwrap().is_some()
}

#[test]
fn tls_keys_overlap_and_are_bounded() {
    let mut w = World::standard();
    assert_eq!(bind(&mut w, "bank-a-1", 100, 1), Fate::Accepted);
    w.time = at(HOUR);
    assert!(!bound(&w, "bank-a-1", 100), "over");
    for spki in 1..=8 {
        assert_eq!(bind(&mut w, "bank-a-1", spki, 24), Fate::Accepted);
    }
    assert!((1..=8).all(|spki| bound(&w, "bank-a-1", spki)));
    assert_eq!(bind(&mut w, "bank-a-1", 9, 24), Fate::Accepted);
    assert!(!bound(&w, "bank-a-1", 1), "the oldest gives way");
    assert!((2..=9).all(|spki| bound(&w, "bank-a-1", spki)));
    assert_eq!(w.view().bindings_of(&node("bank-a-1")).unwrap().len(), 8);
    // renewing one makes it the newest
    assert_eq!(bind(&mut w, "bank-a-1", 2, 24), Fate::Accepted);
    assert_eq!(bind(&mut w, "bank-a-1", 10, 24), Fate::Accepted);
    assert!(bound(&w, "bank-a-1", 2) && !bound(&w, "bank-a-1", 3));
}

#[test]
fn who_has_a_tls_key() {
    let mut w = World::standard();
    let key = Hex([7; 32]);
    assert!(w.view().node_by_tls(&key, w.time).unwrap().is_none(), "valid but unlisted is nobody");
    assert_eq!(bind(&mut w, "bank-a-1", 7, 24), Fate::Accepted);
    let found = w.view().node_by_tls(&key, w.time).unwrap().unwrap();
    assert_eq!((found.0.record.id, found.1.spki), (node("bank-a-1"), key));
    // another node claims the same key: by the key alone nobody has it, by key and name the right one still
    assert_eq!(bind(&mut w, "bank-b-1", 7, 24), Fate::Accepted);
    assert!(w.view().node_by_tls(&key, w.time).unwrap().is_none());
    assert!(bound(&w, "bank-a-1", 7));
    // blocking the claimant clears it up
    let record = Node { standing: Standing::Blocked, ..listed("bank-b-1") };
    assert_eq!(w.govern_one(Record::Node(record)), Fate::Accepted);
    assert_eq!(w.view().node_by_tls(&key, w.time).unwrap().unwrap().0.record.id, node("bank-a-1"));
}

/// A node key that is replaced takes the TLS keys that it signed with it.
#[test]
fn a_new_node_key_ends_the_old_ones_bindings() {
    let mut w = World::standard();
    assert_eq!(bind(&mut w, "bank-a-1", 7, 24), Fate::Accepted);
    let same = Node { endpoint: "10.0.0.1:8443".into(), ..listed("bank-a-1") };
    assert_eq!(w.govern_one(Record::Node(same)), Fate::Accepted);
    assert!(bound(&w, "bank-a-1", 7));
    let replaced = Node { key: *key(30).public_key(), ..listed("bank-a-1") };
    assert_eq!(w.govern_one(Record::Node(replaced.clone())), Fate::Accepted);
    assert!(!bound(&w, "bank-a-1", 7));
    assert_eq!(bind(&mut w, "bank-a-1", 8, 24), Fate::Refused(Why::SignatureKey));
    let by_key = |k| w.view().node_by_key(&k).unwrap().map(|n| n.record.id);
    assert_eq!(by_key(replaced.key.id()), Some(node("bank-a-1")));
    assert_eq!(by_key(listed("bank-a-1").key.id()), None);
}

#[test]
fn sources_are_found_by_region() {
    let mut w = World::standard();
    let found = |w: &World| {
        let regions = [region("330100"), region("340100"), region("320500")];
        let nodes = w.view().sources_in(&regions).unwrap();
        nodes.into_iter().map(|n| n.record.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(&w), ["bureau-c-1", "bureau-d-1"]);
    let record = StandingChange {
        institution: inst("bureau-c"),
        standing: Standing::Blocked,
        reason: "claims what it has not".into(),
    };
    assert_eq!(w.one("pboc-1", Record::Standing(record)), Fate::Accepted);
    assert_eq!(found(&w), ["bureau-d-1"]);
    assert!(w.view().institution(&inst("bureau-c")).unwrap().unwrap().reason.is_some());
    // governance admits it again
    assert_eq!(w.govern_one(institution("bureau-c")), Fate::Accepted);
    assert_eq!(found(&w), ["bureau-c-1", "bureau-d-1"]);
}

/// The state does not grow for ever: ids go with their batches, uses long after their authorization.
#[test]
fn what_is_over_is_forgotten() {
    let mut w = World::standard();
    for _ in 0..200 {
        w.apply(Vec::new());
    }
    let digests = |w: &World| usize::try_from(w.height().0).unwrap();
    let empty = w.state.len() - digests(&w);
    let s = message::Statement { max_uses: 5, ..statement(1) };
    assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
    for salt in 1..=5 {
        let t = opening(&s, &inst("bank-a"), salt);
        assert_eq!(w.one("bank-a-1", reservation(&t, at(1000))), Fate::Accepted);
        let r = trace("bank-a", t.report_id, Side::Source, "bureau-c-1", TraceStatus::Empty);
        assert_eq!(w.one("bureau-c-1", Record::Trace(r)), Fate::Accepted);
    }
    w.time = at(30 * DAY + 89 * DAY);
    for _ in 0..200 {
        w.apply(Vec::new());
    }
    let kept = w.state.len() - digests(&w);
    assert_eq!(
        kept,
        empty + 1 + 1 + 5 * 3,
        "authorization, its expiry, and uses: ids and day count are gone"
    );
    w.time = at(30 * DAY + 90 * DAY);
    w.apply(Vec::new());
    assert_eq!(w.state.len() - digests(&w), empty);
}

#[test]
fn forgetting_takes_a_bounded_number_per_block() {
    let mut w = World::standard();
    let mut p = policy(2);
    p.caps.asserted.max_uses = 400;
    assert_eq!(w.govern_one(Record::Policy(p)), Fate::Accepted);
    let s = message::Statement { max_uses: 400, ..statement(1) };
    assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
    let id = Authorization::of(&s).unwrap().id;
    for round in 0..8u8 {
        let records = (0..50u8).map(|i| {
            let mut t = opening(&s, &inst("bank-a"), i);
            t.operator_tag = Hex([round; 32]);
            t.report_id = t.derive_report_id(&inst("bank-a")).unwrap();
            reservation(&t, at(1000))
        });
        let batch = w.by("bank-a-1", records.collect());
        assert!(w.apply(vec![batch]).fates.iter().all(|f| f.fate == Fate::Accepted));
    }
    w.time = at(200 * DAY);
    w.apply(Vec::new());
    let left = w.view().reservations_of(&id).unwrap().len();
    assert!((1..400).contains(&left), "{left}");
    w.apply(Vec::new());
    assert!(w.view().authorization(&id).unwrap().is_none());
    assert!(w.view().reservations_of(&id).unwrap().is_empty());
}

/// The cap counts per holder and UTC day of the block's time.
#[test]
fn the_day_cap_starts_anew() {
    let mut w = World::standard();
    let grant = |w: &mut World, by: &str, holder: &str, salt| {
        let s = message::Statement { holder: inst(holder), salt: Hex([salt; 32]), ..statement(1) };
        w.one(by, authorization(&s))
    };
    assert!((1..4).all(|salt| grant(&mut w, "bank-a-1", "bank-a", salt) == Fate::Accepted));
    // the bank's other gateway shares the cap, another bank does not
    assert_eq!(grant(&mut w, "bank-a-2", "bank-a", 4), Fate::Refused(Why::DayCap));
    assert_eq!(grant(&mut w, "bank-b-1", "bank-b", 4), Fate::Accepted);
    let midnight = (w.time.0 / DAY + 1) * DAY;
    w.time = UnixMillis(midnight - 1);
    assert_eq!(grant(&mut w, "bank-a-1", "bank-a", 5), Fate::Refused(Why::DayCap));
    w.time = UnixMillis(midnight);
    assert_eq!(grant(&mut w, "bank-a-1", "bank-a", 6), Fate::Accepted);
}
