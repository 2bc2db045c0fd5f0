//! The journal against a model, over power losses at any sync.
//!
//! Whatever the plan: what was acknowledged is there, in order, once; nothing is there that was not sent;
//! the chain holds; damage of a crash never counts as damage of durable entries.

use crate::common::*;
use futures_util::future::join_all;
use gw_journal::*;
use gw_store::{SimDisk, disk::SimPlan};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One step of a program's life.
#[derive(Debug, Clone)]
enum Step {
    /// notes sent at once, each with so many bytes of data
    Notes(Vec<usize>),
    /// intents sent at once
    Intents(usize),
    /// the oldest guard finishes
    Finish,
    /// the oldest guard is dropped
    Drop,
}

/// How a life ends, if not by the last step.
#[derive(Debug, Clone)]
struct Life {
    steps: Vec<Step>,
    plan: SimPlan,
    /// the machine goes on, only the program restarts
    restart: bool,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(prop_oneof![0usize..40, 400usize..3000], 1..6).prop_map(Step::Notes),
        2 => (1usize..4).prop_map(Step::Intents),
        2 => Just(Step::Finish),
        1 => Just(Step::Drop),
    ]
}

pub(crate) fn plan() -> impl Strategy<Value = SimPlan> {
    let never = SimPlan::default();
    prop_oneof![
        1 => Just(never),
        4 => (1u64..12).prop_map(move |n| SimPlan { freeze_at_sync: Some(n), ..never }),
        2 => (1u64..12).prop_map(move |n| SimPlan { freeze_at_write: Some(n), ..never }),
        2 => (1u64..12).prop_map(move |n| SimPlan { fail_sync: Some(n), ..never }),
        1 => (1u64..12).prop_map(move |n| SimPlan { fail_write: Some(n), ..never }),
    ]
}

fn life() -> impl Strategy<Value = Life> {
    (proptest::collection::vec(step(), 1..12), plan(), any::<bool>())
        .prop_map(|(steps, plan, restart)| Life { steps, plan, restart })
}

/// What the program sent, and what it was told.
#[derive(Default)]
struct Model {
    sent: u64,
    /// entry by index
    acknowledged: BTreeMap<u64, Entry>,
}

impl Model {
    fn next(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }
}

fn note(serial: u64, size: usize) -> Entry {
    let data = serde_json::json!({ "serial": serial, "fill": "x".repeat(size) });
    Entry::Note(Note { at: NOW, kind: "note".into(), data })
}

fn serial_of(entry: &Entry) -> Option<u64> {
    match entry {
        Entry::Note(n) => n.data["serial"].as_u64(),
        Entry::Intent(i) => i.trace_id.as_ref().unwrap().parse().ok(),
        _ => None,
    }
}

async fn run_step(journal: &Journal, step: &Step, model: &mut Model, guards: &mut Vec<IntentGuard>) -> bool {
    match step {
        Step::Notes(sizes) => {
            let entries: Vec<_> = sizes.iter().map(|s| note(model.next(), *s)).collect();
            let results = join_all(entries.iter().map(|e| journal.append(e.clone()))).await;
            let mut fine = true;
            for (result, entry) in results.into_iter().zip(entries) {
                match result {
                    Ok(receipt) => assert!(model.acknowledged.insert(receipt.index, entry).is_none()),
                    Err(_) => fine = false,
                }
            }
            fine
        }
        Step::Intents(count) => {
            let intents: Vec<_> = (0..*count).map(|_| intent(model.next())).collect();
            let results = join_all(intents.iter().map(|i| journal.record_intent(i.clone()))).await;
            let mut fine = true;
            for (result, intent) in results.into_iter().zip(intents) {
                match result {
                    Ok(guard) => {
                        model.acknowledged.insert(guard.id(), Entry::Intent(intent));
                        guards.push(guard);
                    }
                    Err(_) => fine = false,
                }
            }
            fine
        }
        Step::Finish if !guards.is_empty() => {
            let guard = guards.remove(0);
            let intent = guard.id();
            let outcome = Outcome::new(OutcomeStatus::Done, &format!("finished-{intent}"));
            match guard.finish(outcome.clone()).await {
                Ok(receipt) => {
                    let entry = Entry::Outcome(Finished { intent, at: NOW, outcome });
                    model.acknowledged.insert(receipt.index, entry);
                    true
                }
                Err(_) => false,
            }
        }
        Step::Drop if !guards.is_empty() => {
            drop(guards.remove(0));
            true
        }
        Step::Finish | Step::Drop => true,
    }
}

/// Runs a life; gives the disk as the next one finds it.
async fn run_life(disk: SimDisk, life: &Life, model: &mut Model, next_plan: SimPlan) -> SimDisk {
    match open(disk.clone()) {
        Ok((journal, found)) => {
            check(&journal, &found, model);
            let mut guards = Vec::new();
            for step in &life.steps {
                if !run_step(&journal, step, model, &mut guards).await {
                    break;
                }
            }
        }
        // a plan may strike while the journal is opened; it must not be mistaken for damage
        Err(e) => assert!(matches!(e, JournalError::Disk { .. }), "{e}"),
    }
    if life.restart && !disk.is_frozen() {
        disk.after_restart(next_plan)
    } else {
        disk.after_power_loss(next_plan)
    }
}

fn check(journal: &Journal, found: &Recovered, model: &Model) {
    let all = journal.entries(1, usize::MAX).unwrap();
    assert_eq!(all.len() as u64, found.entries);
    assert_eq!(found.dropped_at.is_some(), found.dropped_bytes > 0);
    for (index, entry) in &model.acknowledged {
        let stored = &all[usize::try_from(*index).unwrap() - 1];
        assert_eq!(&stored.entry, entry, "acknowledged, and not there");
    }
    let serials: Vec<u64> = all.iter().filter_map(|e| serial_of(&e.entry)).collect();
    assert!(serials.windows(2).all(|w| w[0] < w[1]), "out of order or twice: {serials:?}");
    assert!(serials.iter().all(|s| *s <= model.sent), "never sent");

    let mut open = BTreeMap::new();
    for stored in &all {
        match &stored.entry {
            Entry::Intent(i) => assert!(open.insert(stored.index, i.clone()).is_none()),
            Entry::Outcome(f) => assert!(open.remove(&f.intent).is_some(), "two outcomes of {}", f.intent),
            _ => {}
        }
    }
    let reported: BTreeMap<_, _> =
        found.open_intents.iter().map(|o| (o.index, o.intent.clone().unwrap())).collect();
    assert_eq!(reported, open);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn acknowledged_entries_survive_and_nothing_is_invented(
        seed in any::<u64>(),
        lives in proptest::collection::vec(life(), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::default();
            let mut disk = SimDisk::new(seed, lives[0].plan);
            for (i, life) in lives.iter().enumerate() {
                let next = lives.get(i + 1).map_or(SimPlan::default(), |l| l.plan);
                disk = run_life(disk, life, &mut model, next).await;
            }
            // whatever the last life left, a power loss later and without further failures it opens
            let disk = disk.after_power_loss(SimPlan::default());
            let (journal, found) = open(disk.clone()).unwrap();
            check(&journal, &found, &model);
            let head = journal.head();
            drop(journal);
            let verified = verify_chain(&disk).unwrap();
            assert_eq!((verified.head, verified.torn_bytes), (head, 0));
            assert_eq!(verified.open_intents, found.open_intents.len());
        });
    }
}

/// The plan of the brief, one by one: power lost in the n-th sync, for every n and many seeds.
#[tokio::test]
async fn power_lost_at_every_sync() {
    let mut torn = 0;
    for n in 1..14 {
        for seed in 0..40 {
            let plan = SimPlan { freeze_at_sync: Some(n), ..SimPlan::default() };
            let sim = SimDisk::new(seed, plan);
            let mut model = Model::default();
            let steps = vec![Step::Notes(vec![10, 900, 2000]); 12];
            let life = Life { steps, plan, restart: false };
            let after = run_life(sim.clone(), &life, &mut model, SimPlan::default()).await;
            assert!(sim.is_frozen());
            let (journal, found) = open(after).unwrap();
            check(&journal, &found, &model);
            torn += u32::from(found.dropped_bytes > 0);
            // and it goes on
            journal.append(note(model.next(), 5)).await.unwrap();
        }
    }
    assert!(torn > 20, "the simulation tears: {torn}");
}

/// As on Linux after a failed fsync: the system shows what it never wrote. Opening makes it durable before
/// anything is acknowledged behind it.
#[tokio::test]
async fn entries_behind_a_failed_sync_survive() {
    for seed in 0..200 {
        let plan = SimPlan { fail_sync: Some(4), ..SimPlan::default() };
        let sim = SimDisk::new(seed, plan);
        let (journal, _) = open(sim.clone()).unwrap();
        let mut n = 0;
        while journal.append(note(n, 700)).await.is_ok() {
            n += 1;
        }
        drop(journal);
        let restarted = sim.after_restart(SimPlan::default());
        let (journal, _) = open(restarted.clone()).unwrap();
        let receipt = journal.append(note(99, 1)).await.unwrap();
        drop(journal);
        let (journal, found) = open(restarted.after_power_loss(SimPlan::default())).unwrap();
        assert_eq!(journal.head(), receipt.head, "seed {seed}: {found:?}");
    }
}
