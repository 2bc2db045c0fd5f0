//! Random histories: what holds whatever is written, in whatever order, however often.

use crate::common::*;
use gw_policy::{
    AccessRequest, At, BlockOutcome, Fate, MapState, Refusal, RefusalReason as Why, Uses, View, apply_block,
    decide_authorization,
};
use gw_proto::message::Statement;
use gw_proto::record::*;
use gw_proto::*;
use proptest::prelude::*;

const WRITERS: [&str; 6] = ["bank-a-1", "bank-a-2", "bank-b-1", "bureau-c-1", "bureau-d-1", "pboc-1"];
const AUTHZS: u8 = 4;
const SALTS: u8 = 4;

/// One batch of a history. Indices are small, so that histories meet themselves.
#[derive(Debug, Clone)]
enum Step {
    Authorize { by: usize, s: u8 },
    Reserve { by: usize, s: u8, salt: u8, deadline: u64 },
    Refund { by: usize, s: u8, salt: u8 },
    Revoke { by: usize, s: u8, preimage: Option<u8> },
    Trace { by: usize, s: u8, salt: u8, side: Side, status: TraceStatus },
    Standing { by: usize, of: &'static str, standing: Standing },
    Bind { by: usize, spki: u8 },
    Member { by: usize, what: u8 },
    Govern { cap: u32 },
    Repeat { of: prop::sample::Index },
    Later { ms: u64 },
    NextBlock,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let by = || 0..WRITERS.len();
    // mostly banks, or little would be granted
    let bank = || prop_oneof![5 => 0..3usize, 1 => by()];
    let boss = || prop_oneof![3 => Just(5usize), 1 => by()];
    let standing = || prop_oneof![Just(Standing::Active), Just(Standing::Blocked)];
    let side = || prop_oneof![Just(Side::Asker), Just(Side::Source)];
    let status = || {
        use TraceStatus::*;
        prop_oneof![Just(Answered), Just(Empty), Just(Refused), Just(Missing)]
    };
    let of = || prop_oneof![Just("bank-a"), Just("bank-b"), Just("bureau-c"), Just("pboc")];
    let (s, salt) = (|| 0..AUTHZS, || 0..SALTS);
    let step = prop_oneof![
        6 => (bank(), s()).prop_map(|(by, s)| Step::Authorize { by, s }),
        10 => (bank(), s(), salt(), 0..700_000u64)
            .prop_map(|(by, s, salt, deadline)| Step::Reserve { by, s, salt, deadline }),
        2 => (boss(), s(), salt()).prop_map(|(by, s, salt)| Step::Refund { by, s, salt }),
        1 => (by(), s(), prop::option::of(0..AUTHZS))
            .prop_map(|(by, s, preimage)| Step::Revoke { by, s, preimage }),
        2 => (by(), s(), salt(), side(), status())
            .prop_map(|(by, s, salt, side, status)| Step::Trace { by, s, salt, side, status }),
        1 => (boss(), of(), standing()).prop_map(|(by, of, standing)| Step::Standing { by, of, standing }),
        1 => (by(), 0..12u8).prop_map(|(by, spki)| Step::Bind { by, spki }),
        2 => (by(), 0..7u8).prop_map(|(by, what)| Step::Member { by, what }),
        1 => (0..4u32).prop_map(|cap| Step::Govern { cap }),
        4 => any::<prop::sample::Index>().prop_map(|of| Step::Repeat { of }),
        2 => prop_oneof![0..10_000u64, 0..20 * DAY].prop_map(|ms| Step::Later { ms }),
        6 => Just(Step::NextBlock),
    ];
    prop::collection::vec(step, 1..60)
}

/// Statement `s` is bank A's for even `s`, bank B's for odd; 1 to 2 uses; the last one ends after a day.
fn stated(s: u8) -> Statement {
    Statement {
        holder: inst(if s.is_multiple_of(2) { "bank-a" } else { "bank-b" }),
        max_uses: u32::from(s / 2) + 1,
        not_after: at(if s + 1 == AUTHZS { DAY } else { 50 * DAY }),
        ..statement(s)
    }
}
fn report(s: u8, salt: u8, asker: &str) -> message::Opening {
    opening(&stated(s), &inst(asker), salt)
}

/// What only governance may write.
fn member_record(w: &World, what: u8) -> Record {
    let root = vec![1, 2, 3];
    match what {
        0 => institution("bank-e"),
        1 => Record::Node(Node { key: *key(60).public_key(), ..listed("bank-a-1") }),
        2 => Record::EvidenceRoot(EvidenceRoot {
            id: sm3(&root),
            level: EvidenceLevel::Signed,
            certificate: B64(root),
            standing: Standing::Active,
        }),
        3 => Record::Policy(policy(w.view().policy().unwrap().unwrap().version + 1)),
        4 => Record::Catalogue(CatalogueVersion { version: "9".into(), digest: Hex([9; 32]) }),
        5 => Record::Reference(ReferenceManifest {
            digest: Hex([9; 32]),
            release: "9".into(),
            standing: Standing::Active,
        }),
        _ => Record::Rules(Rules { version: 2, from_height: Height(w.height().0 + 9) }),
    }
}

fn record_of(w: &World, step: &Step) -> Option<(Option<usize>, Record)> {
    let asker = |s: u8| stated(s).holder;
    let named = |by: usize| NODES.iter().find(|n| n.0 == WRITERS[by]).unwrap().1;
    Some(match *step {
        Step::Authorize { by, s } => (Some(by), authorization(&stated(s))),
        Step::Reserve { by, s, salt, deadline } => {
            let t = report(s, salt, named(by));
            (Some(by), reservation(&t, UnixMillis(w.time.0 + deadline)))
        }
        Step::Refund { by, s, salt } => {
            let report_id = report(s, salt, asker(s).as_str()).report_id;
            (Some(by), Record::Refund(Refund { asker: asker(s), report_id }))
        }
        Step::Revoke { by, s, preimage: p } => {
            let authz_id = Authorization::of(&stated(s)).unwrap().id;
            (Some(by), Record::Revocation(Revocation { authz_id, preimage: p.map(preimage) }))
        }
        Step::Trace { by, s, salt, side, status } => {
            let report_id = report(s, salt, asker(s).as_str()).report_id;
            (Some(by), Record::Trace(trace(asker(s).as_str(), report_id, side, "bureau-c-1", status)))
        }
        Step::Standing { by, of, standing } => {
            let r = StandingChange { institution: inst(of), standing, reason: "history".into() };
            (Some(by), Record::Standing(r))
        }
        Step::Bind { by, spki } => {
            let not_after = UnixMillis(w.time.0 + HOUR);
            (
                Some(by),
                Record::TlsBinding(TlsBinding { spki: Hex([spki; 32]), not_before: w.time, not_after }),
            )
        }
        Step::Member { by, what } => (Some(by), member_record(w, what)),
        Step::Govern { cap } => {
            let mut p = policy(w.view().policy().unwrap().unwrap().version + 1);
            p.caps.asserted.max_uses = cap;
            (None, Record::Policy(p))
        }
        Step::Repeat { .. } | Step::Later { .. } | Step::NextBlock => return None,
    })
}

struct History {
    w: World,
    outcomes: Vec<BlockOutcome>,
    sent: Vec<SignedBatch>,
}

/// Plays a history; `each` looks at every block, with the state before it.
fn play(steps: &[Step], mut each: impl FnMut(&World, &MapState, &BlockOutcome)) -> History {
    let mut h = History { w: World::standard(), outcomes: Vec::new(), sent: Vec::new() };
    let mut open = Vec::new();
    for step in steps.iter().chain([&Step::NextBlock]) {
        match step {
            Step::Later { ms } => h.w.time = UnixMillis(h.w.time.0 + ms),
            Step::Repeat { of } if !h.sent.is_empty() => open.push(of.get(&h.sent).clone()),
            Step::NextBlock => {
                let before = h.w.state.clone();
                let outcome = h.w.apply(std::mem::take(&mut open));
                each(&h.w, &before, &outcome);
                h.outcomes.push(outcome);
            }
            _ => {
                let Some((by, record)) = record_of(&h.w, step) else { continue };
                let batch = match by {
                    Some(by) => h.w.by(WRITERS[by], vec![record]),
                    None => h.w.govern(vec![record]),
                };
                h.sent.push(batch.clone());
                open.push(batch);
            }
        }
    }
    h
}

fn check_uses(w: &World) {
    for s in 0..AUTHZS {
        let id = Authorization::of(&stated(s)).unwrap().id;
        let Some(state) = w.view().authorization(&id).unwrap() else { continue };
        let all = w.view().reservations_of(&id).unwrap();
        let live = all.iter().filter(|r| r.accepted() && r.refunded.is_none()).count();
        assert_eq!(state.spent as usize, live, "spent = accepted and not given back");
        assert!(state.spent <= state.record.max_uses, "overspent");
        assert!(all.iter().all(|r| r.asker == state.record.holder));
        if let Some(revoked) = state.revoked {
            let late = all.iter().filter(|r| r.accepted() && r.height > revoked).count();
            assert_eq!(late, 0, "a use after the revocation");
        }
    }
}

fn check_revoked_is_never_granted(w: &World) {
    for s in 0..AUTHZS {
        let (s, id) = (stated(s), Authorization::of(&stated(s)).unwrap().id);
        let revoked = w.view().authorization(&id).unwrap().is_some_and(|a| a.revoked.is_some());
        for salt in 0..SALTS {
            let t = opening(&s, &s.holder, salt);
            let reserved = Uses::ReservedBy { asker: s.holder.clone(), report_id: t.report_id };
            let source = At::Source { region: region("330100") };
            for (uses, place) in
                [(Uses::Available, At::Asker), (reserved.clone(), At::Asker), (reserved, source)]
            {
                let evidence = asserted();
                let request = AccessRequest {
                    statement: &s,
                    evidence: &evidence,
                    opening: &t,
                    asker: &s.holder,
                    uses,
                    at: place,
                };
                let decision = decide_authorization(&w.view(), &request, w.time, w.time);
                assert!(!(revoked && decision.is_ok()), "granted after the revocation");
                if let (Ok(permit), At::Source { .. }) = (&decision, place) {
                    let kept = w.view().reservation(permit.asker(), &permit.report_id()).unwrap().unwrap();
                    assert!(kept.accepted() && kept.refunded.is_none());
                }
                assert!(!matches!(decision, Err(Refusal::State(_))));
            }
        }
    }
}

/// Everything that only governance writes, apart from the standing that supervisors change.
fn governed(view: &View<'_>) -> String {
    let mut institutions = view.institutions().unwrap();
    for i in &mut institutions {
        (i.record.standing, i.height, i.reason) = (Standing::Active, Height(0), None);
    }
    format!(
        "{institutions:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        view.nodes().unwrap(),
        view.all_evidence_roots().unwrap(),
        view.policy().unwrap(),
        view.catalogue().unwrap(),
        view.rules().unwrap(),
        view.references().unwrap(),
    )
}

fn check_members(w: &World, before: &MapState) {
    let batches = &w.blocks.last().unwrap().batches;
    if batches.iter().all(|(_, b)| b.batch.writer != Writer::Governance) {
        assert_eq!(governed(&View::new(before)), governed(&w.view()));
    }
    // standing changes only by a supervisor
    let by_supervisor = |b: &SignedBatch| b.batch.writer == Writer::Node(node("pboc-1"));
    if batches.iter().all(|(_, b)| b.batch.writer != Writer::Governance && !by_supervisor(b)) {
        let listed = View::new(before).institutions().unwrap();
        assert_eq!(listed, w.view().institutions().unwrap());
    }
}

fn rebuild(w: &World) -> (MapState, Vec<BlockOutcome>) {
    let mut state = MapState::default();
    let mut outcomes = Vec::new();
    for block in &w.blocks {
        let outcome = apply_block(&w.genesis, &state, block).unwrap();
        state.commit(&outcome.changes);
        outcomes.push(outcome);
    }
    (state, outcomes)
}

/// What the state says, without where it stands and without ids that are remembered.
fn meaning(w: &World) -> String {
    let mut out = governed(&w.view());
    for s in 0..AUTHZS {
        let id = Authorization::of(&stated(s)).unwrap().id;
        out += &format!("{:?}", w.view().authorization(&id).unwrap());
        for r in w.view().reservations_of(&id).unwrap() {
            out += &format!("{r:?} {:?}", w.view().traces(&r.asker, &r.record.report_id).unwrap());
        }
    }
    for writer in WRITERS {
        out += &format!("{:?}", w.view().bindings_of(&node(writer)).unwrap());
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Uses are never overspent, revoked is never granted, only governance changes members.
    #[test]
    fn what_holds_after_every_block(steps in steps()) {
        play(&steps, |w, before, _| {
            check_uses(w);
            check_revoked_is_never_granted(w);
            check_members(w, before);
        });
    }

    /// The same blocks give the same state, fates and digests, from genesis or from any prefix.
    #[test]
    fn a_rebuild_is_equal(steps in steps(), cut in any::<prop::sample::Index>()) {
        let h = play(&steps, |_, _, _| {});
        let (state, outcomes) = rebuild(&h.w);
        prop_assert_eq!(&state, &h.w.state);
        let tail = &outcomes[outcomes.len() - h.outcomes.len()..];
        prop_assert_eq!(tail, &h.outcomes[..]);
        // stop after any block, go on later
        let mut prefix = h.w.clone();
        prefix.blocks.truncate(cut.index(h.w.blocks.len()) + 1);
        let (mut state, done) = rebuild(&prefix);
        for block in &h.w.blocks[done.len()..] {
            let outcome = apply_block(&h.w.genesis, &state, block).unwrap();
            state.commit(&outcome.changes);
        }
        prop_assert_eq!(&state, &h.w.state);
    }

    /// Whatever was decided and comes again changes nothing: all of a prefix, in any order.
    #[test]
    fn repeats_change_nothing(steps in steps(), order in any::<u64>()) {
        let mut h = play(&steps, |_, _, _| {});
        // what was never decided, for its writer was blocked then, may be decided now
        let mut decided = Vec::new();
        for (block, outcome) in h.w.blocks.iter().rev().zip(h.outcomes.iter().rev()) {
            for (tx, batch) in &block.batches {
                let fate = outcome.fates.iter().find(|f| f.tx == *tx).unwrap().fate;
                if fate != Fate::Refused(Why::WriterBlocked) {
                    decided.push(batch.clone());
                }
            }
        }
        decided.sort_by_key(|b| sm3(&[&b.batch.nonce.0[..], &order.to_be_bytes()].concat()));
        let before = meaning(&h.w);
        let outcome = h.w.apply(decided);
        for f in &outcome.fates {
            prop_assert!(
                matches!(f.fate, Fate::Repeated | Fate::Refused(Why::WriterBlocked)),
                "{:?}", f
            );
        }
        prop_assert_eq!(before, meaning(&h.w));
    }

    /// Only the order on the chain matters: the same batches in one block or in a block each, at one time.
    #[test]
    fn blocks_are_only_wrapping(steps in steps()) {
        let steps: Vec<_> = steps
            .into_iter()
            .filter(|s| !matches!(s, Step::Later { .. } | Step::NextBlock | Step::Member { .. } | Step::Govern { .. }))
            .collect();
        let one = play(&steps, |_, _, _| {});
        let mut each = World::standard();
        let mut fates = Vec::new();
        for (_, batch) in &one.w.blocks.last().unwrap().batches {
            fates.extend(each.apply(vec![batch.clone()]).fates.into_iter().map(|f| f.fate));
        }
        let together: Vec<_> = one.outcomes[0].fates.iter().map(|f| f.fate).collect();
        prop_assert_eq!(fates, together);
        for s in 0..AUTHZS {
            let id = Authorization::of(&stated(s)).unwrap().id;
            let spent = |w: &World| w.view().authorization(&id).unwrap().map(|a| (a.spent, a.revoked.is_some()));
            prop_assert_eq!(spent(&one.w), spent(&each));
        }
    }

    /// However two gateways of one bank interleave, the last use goes to exactly one of them.
    #[test]
    fn the_last_use_goes_to_one(order in any::<[bool; 6]>(), split in any::<[bool; 6]>(), uses in 1..4u32) {
        let s = Statement { max_uses: uses, ..statement(1) };
        let mut w = World::standard();
        prop_assert_eq!(w.one("bank-a-1", authorization(&s)), Fate::Accepted);
        let (mut accepted, mut open) = (0, Vec::new());
        for (i, (first, cut)) in (0u8..).zip(order.into_iter().zip(split)) {
            let t = opening(&s, &inst("bank-a"), i);
            open.push(w.by(if first { "bank-a-1" } else { "bank-a-2" }, vec![reservation(&t, at(1000))]));
            if cut || i == 5 {
                let fates = w.apply(std::mem::take(&mut open)).fates;
                accepted += fates.iter().filter(|f| f.fate == Fate::Accepted).count();
                let rest = fates.iter().filter(|f| f.fate != Fate::Accepted);
                prop_assert!(rest.into_iter().all(|f| f.fate == Fate::Refused(Why::UsedUp)));
            }
        }
        prop_assert_eq!(accepted, uses as usize);
    }
}
