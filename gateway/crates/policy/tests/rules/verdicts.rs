//! Verdicts on the ledger: which are taken, and what they come to.

use crate::common::*;
use crate::fates::{Row, row};
use gw_policy::{Fate, MapState, RefusalReason as Why, Trust, apply_block, trust_in};
use gw_proto::record::{VerdictResult::*, *};
use gw_proto::*;
use proptest::prelude::*;

const SUPERVISORS: [&str; 2] = ["pboc-1", "pboc-2"];
const BOXES: [&str; 2] = ["bank-a-1", "bureau-c-1"];
const MINUTE: u64 = 60_000;

fn judge(w: &mut World, by: &str, result: VerdictResult, judged: UnixMillis) -> Fate {
    w.one(by, Record::Verdict(verdict("bank-a-1", result, judged)))
}

pub(crate) fn verdict_rows() -> Vec<Row> {
    vec![
        row("rules 1 know no verdict", Why::RulesTooOld, |w| {
            *w = World::empty();
            w.genesis.rules = 1;
            let batch = w.govern(vec![institution("pboc"), Record::Node(listed("pboc-1"))]);
            w.apply(vec![batch]);
            judge(w, "pboc-1", Good, at(0))
        }),
        row("a node that nobody listed", Why::UnknownNode, |w| {
            let about = DeviceVerdict { node: node("nobody-1"), ..verdict("bank-a-1", Good, at(0)) };
            w.one("pboc-1", Record::Verdict(about))
        }),
        row("a key that the node does not have", Why::OtherKey, |w| {
            let about = DeviceVerdict { key: key(60).public_key().id(), ..verdict("bank-a-1", Good, at(0)) };
            w.one("pboc-1", Record::Verdict(about))
        }),
        row("its own judge", Why::VerdictOnSelf, |w| {
            w.one("pboc-1", Record::Verdict(verdict("pboc-1", Good, at(0))))
        }),
        row("a day old", Why::VerdictInvalid, |w| {
            w.time = at(DAY);
            judge(w, "pboc-1", Good, at(0))
        }),
        row("dated ahead", Why::VerdictInvalid, |w| judge(w, "pboc-1", Good, at(5 * MINUTE + 1))),
        row("an older one after a newer one", Why::VerdictOlder, |w| {
            assert_eq!(judge(w, "pboc-1", Bad, at(2)), Fate::Accepted);
            judge(w, "pboc-1", Good, at(1))
        }),
        row("another of the same moment", Why::VerdictOlder, |w| {
            assert_eq!(judge(w, "pboc-1", Bad, at(2)), Fate::Accepted);
            judge(w, "pboc-1", Good, at(2))
        }),
    ]
}

fn trust(w: &World, on: &str, now: u64) -> Trust {
    let view = w.view();
    trust_in(&view, &view.node(&node(on)).unwrap().unwrap(), at(now)).unwrap()
}

fn word(w: &World, now: u64) -> &'static str {
    trust(w, "bank-a-1", now).as_str()
}

/// A program that knows only rules 1 cannot even parse such a batch: to it the block holds nothing of ours.
#[test]
fn under_rules_1_a_batch_with_a_verdict_leaves_no_trace() {
    let mut w = World::empty();
    w.genesis.rules = 1;
    let batch = w.govern(vec![institution("pboc"), Record::Node(listed("pboc-1"))]);
    w.apply(vec![batch]);
    let records = vec![
        Record::Heartbeat(Heartbeat { seen: w.height() }),
        Record::Verdict(verdict("pboc-2", Good, at(0))),
    ];
    let batch = w.by("pboc-1", records);
    let digest = |batches| apply_block(&w.genesis, &w.state, &w.input(batches)).unwrap().state_digest;
    assert_eq!(digest(vec![batch]), digest(Vec::new()));
}

#[test]
fn a_verdict_counts_for_a_day_and_then_has_a_name_of_its_own() {
    let mut w = World::standard();
    assert_eq!(word(&w, 0), "unjudged");
    assert_eq!(judge(&mut w, "pboc-1", Good, at(0)), Fate::Accepted);
    assert_eq!([0, DAY - 1, DAY].map(|now| word(&w, now)), ["good", "good", "lapsed"]);
    assert_eq!(trust(&w, "bank-b-1", 0), Trust::Unjudged, "another gateway's verdict");
    // a supervisor's clock that goes ahead gives no longer life
    let mut w = World::standard();
    assert_eq!(judge(&mut w, "pboc-1", Good, at(5 * MINUTE)), Fate::Accepted);
    assert_eq!(word(&w, DAY), "lapsed");
}

#[test]
fn bad_acts_at_once_and_until_any_supervisor_finds_it_good_later() {
    let mut w = World::standard();
    assert_eq!(judge(&mut w, "pboc-1", Good, at(1)), Fate::Accepted);
    assert_eq!(judge(&mut w, "pboc-2", Bad, at(2)), Fate::Accepted);
    let bad = Trust::Bad { by: node("pboc-2"), judged: at(2) };
    assert_eq!(trust(&w, "bank-a-1", 2), bad);
    // good as of the same moment is not later
    assert_eq!(judge(&mut w, "pboc-1", Good, at(2)), Fate::Accepted);
    assert_eq!(trust(&w, "bank-a-1", 2), bad);
    assert_eq!(judge(&mut w, "pboc-1", Good, at(3)), Fate::Accepted);
    assert_eq!(word(&w, 3), "good");
    // the one that found it good is gone: the other's word stands again
    let gone = Node { standing: Standing::Blocked, ..listed("pboc-1") };
    assert_eq!(w.govern_one(Record::Node(gone)), Fate::Accepted);
    assert_eq!(trust(&w, "bank-a-1", 3), bad);
}

#[test]
fn silence_takes_back_ones_own_word_only() {
    let mut w = World::standard();
    assert_eq!(judge(&mut w, "pboc-1", Good, at(1)), Fate::Accepted);
    assert_eq!(judge(&mut w, "pboc-2", Silent, at(2)), Fate::Accepted);
    assert_eq!(word(&w, 2), "good");
    assert_eq!(judge(&mut w, "pboc-1", Silent, at(3)), Fate::Accepted);
    assert_eq!(trust(&w, "bank-a-1", 3), Trust::Silent { by: node("pboc-1"), judged: at(3) });
    assert_eq!(judge(&mut w, "pboc-2", Bad, at(4)), Fate::Accepted);
    assert_eq!(word(&w, 4), "bad");
}

/// A new key, of the gateway or of the supervisor, begins without a past.
#[test]
fn verdicts_go_with_the_keys() {
    for changed in ["bank-a-1", "pboc-1"] {
        let mut w = World::standard();
        assert_eq!(judge(&mut w, "pboc-1", Bad, at(9)), Fate::Accepted);
        let rekeyed = Node { key: *key(60).public_key(), ..listed(changed) };
        assert_eq!(w.govern_one(Record::Node(rekeyed)), Fate::Accepted);
        assert_eq!(word(&w, 9), "unjudged", "{changed}");
    }
    // and the new supervisor's key may judge as of an earlier moment
    let mut w = World::standard();
    assert_eq!(judge(&mut w, "pboc-1", Bad, at(9)), Fate::Accepted);
    let rekeyed = Node { key: *key(60).public_key(), ..listed("pboc-1") };
    assert_eq!(w.govern_one(Record::Node(rekeyed)), Fate::Accepted);
    w.keys.insert(node("pboc-1"), key(60));
    assert_eq!(judge(&mut w, "pboc-1", Good, at(1)), Fate::Accepted);
    assert_eq!(word(&w, 9), "good");
}

#[test]
fn the_same_record_again_is_a_repetition() {
    let mut w = World::standard();
    assert_eq!(judge(&mut w, "pboc-1", Good, at(1)), Fate::Accepted);
    let before = w.view().verdicts_on(&node("bank-a-1")).unwrap();
    assert_eq!(judge(&mut w, "pboc-1", Good, at(1)), Fate::Repeated);
    assert_eq!(w.view().verdicts_on(&node("bank-a-1")).unwrap(), before);
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Judge { by: usize, on: usize, result: VerdictResult, ago: u64 },
    Standing { of: usize, standing: Standing },
    Later { ms: u64 },
    Repeat { of: prop::sample::Index },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let result = || prop_oneof![3 => Just(Good), 2 => Just(Bad), 1 => Just(Silent)];
    let ago = || prop_oneof![4 => 0..3u64, 1 => 0..2 * DAY];
    let step = prop_oneof![
        8 => (0..2usize, 0..2usize, result(), ago())
            .prop_map(|(by, on, result, ago)| Step::Judge { by, on, result, ago }),
        1 => (0..2usize, prop_oneof![3 => Just(Standing::Active), 1 => Just(Standing::Blocked)])
            .prop_map(|(of, standing)| Step::Standing { of, standing }),
        3 => prop_oneof![3 => 1..10u64, 1 => 0..DAY].prop_map(|ms| Step::Later { ms }),
        2 => any::<prop::sample::Index>().prop_map(|of| Step::Repeat { of }),
    ];
    prop::collection::vec(step, 1..40)
}

/// What has been accepted so far, told in another way than the state tells it.
#[derive(Default)]
struct Told {
    /// by, on, result, judged, the chain's time then
    all: Vec<(usize, usize, VerdictResult, u64, u64)>,
    blocked: [bool; 2],
}

impl Told {
    fn newest(&self, by: usize, on: usize) -> Option<&(usize, usize, VerdictResult, u64, u64)> {
        self.all.iter().filter(|(b, o, ..)| (*b, *o) == (by, on)).max_by_key(|t| t.3)
    }
    /// The word for a gateway.
    fn word(&self, on: usize, now: u64) -> &'static str {
        let words: Vec<_> =
            (0..2).filter(|by| !self.blocked[*by]).filter_map(|by| self.newest(by, on)).collect();
        let stands: Vec<_> = words.iter().filter(|(.., judged, time)| now < judged.min(time) + DAY).collect();
        let bad = stands.iter().filter(|t| t.2 == Bad).map(|t| t.3).max();
        let good = stands.iter().filter(|t| t.2 == Good).map(|t| t.3).max();
        match (good, bad) {
            (Some(_), None) => "good",
            (Some(good), Some(bad)) if good > bad => "good",
            (_, Some(_)) => "bad",
            _ if stands.iter().any(|t| t.2 == Silent) => "silent",
            _ if words.is_empty() => "unjudged",
            _ => "lapsed",
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is judged, repeated, blocked, in whatever order: the word is the one that the accepted
    /// verdicts give, and a rebuild from genesis gives the same state.
    #[test]
    fn the_word_is_what_the_accepted_verdicts_say(steps in steps()) {
        let mut w = World::standard();
        let (mut told, mut sent, mut now) = (Told::default(), Vec::new(), 1u64);
        for step in steps {
            w.time = at(now);
            match step {
                Step::Judge { by, on, result, ago } => {
                    let judged = now.saturating_sub(ago).max(1);
                    let newer = told.newest(by, on).is_none_or(|t| t.3 < judged);
                    let record = Record::Verdict(verdict(BOXES[on], result, at(judged)));
                    let batch = w.by(SUPERVISORS[by], vec![record]);
                    sent.push(batch.clone());
                    let fate = w.single(batch);
                    let taken = newer && !told.blocked[by] && judged + DAY > now;
                    prop_assert_eq!(fate == Fate::Accepted, taken, "{:?}", fate);
                    if taken {
                        told.all.push((by, on, result, judged, now));
                    }
                }
                Step::Standing { of, standing } => {
                    let listed = Node { standing, ..listed(SUPERVISORS[of]) };
                    prop_assert_eq!(w.govern_one(Record::Node(listed)), Fate::Accepted);
                    told.blocked[of] = standing == Standing::Blocked;
                }
                Step::Later { ms } => now += ms,
                Step::Repeat { of } if !sent.is_empty() => {
                    // once more, as whoever holds a copy can
                    let before: Vec<_> = BOXES.map(|b| w.view().verdicts_on(&node(b)).unwrap()).into();
                    let again = of.get(&sent).clone();
                    let blocked_then = w.single(again);
                    let after: Vec<_> = BOXES.map(|b| w.view().verdicts_on(&node(b)).unwrap()).into();
                    // a batch whose writer was blocked was never decided: only that may still have an effect
                    if blocked_then != Fate::Accepted {
                        prop_assert_eq!(before, after);
                    } else {
                        return Ok(());
                    }
                }
                Step::Repeat { .. } => {}
            }
            for (on, name) in BOXES.iter().enumerate() {
                prop_assert_eq!(trust(&w, name, now).as_str(), told.word(on, now), "{}", name);
            }
        }
        let mut rebuilt = MapState::default();
        for block in &w.blocks {
            let outcome = apply_block(&w.genesis, &rebuilt, block).unwrap();
            rebuilt.commit(&outcome.changes);
        }
        prop_assert_eq!(&rebuilt, &w.state);
    }
}
