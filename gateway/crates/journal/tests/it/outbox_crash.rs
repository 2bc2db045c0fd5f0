//! The outbox against a model, over power losses at any sync, with clearing all the time.

use crate::common::*;
use crate::crash::plan;
use futures_util::future::join_all;
use gw_journal::*;
use gw_store::{SimDisk, disk::SimPlan};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Step {
    /// items sent at once, of these sizes
    Push(Vec<usize>),
    /// the oldest items are done, this many at once
    Done(usize),
}

#[derive(Debug, Clone)]
struct Life {
    steps: Vec<Step>,
    plan: SimPlan,
    restart: bool,
}

fn life() -> impl Strategy<Value = Life> {
    let step = prop_oneof![
        3 => proptest::collection::vec(prop_oneof![0usize..60, 300usize..2500], 1..5).prop_map(Step::Push),
        3 => (1usize..6).prop_map(Step::Done),
    ];
    (proptest::collection::vec(step, 1..14), plan(), any::<bool>()).prop_map(|(steps, plan, restart)| Life {
        steps,
        plan,
        restart,
    })
}

/// What was sent and what the outbox said.
#[derive(Default)]
struct Model {
    serial: u64,
    /// content sent, by serial number; the serial is in the content
    sent: BTreeMap<u64, Vec<u8>>,
    /// acknowledged pushes: id → serial
    pushed: BTreeMap<u64, u64>,
    /// done was asked for; acknowledged or not
    asked: BTreeSet<u64>,
    finished: BTreeSet<u64>,
    highest: u64,
}

fn options() -> OutboxOptions {
    OutboxOptions { compact_above: 600, ..outbox_options() }
}

async fn run_step(outbox: &Outbox, step: &Step, model: &mut Model) -> bool {
    let mut fine = true;
    match step {
        Step::Push(sizes) => {
            let mut contents = Vec::new();
            for size in sizes {
                model.serial += 1;
                let mut bytes = model.serial.to_be_bytes().to_vec();
                bytes.resize(8 + size, 0xab);
                model.sent.insert(model.serial, bytes.clone());
                contents.push((model.serial, bytes));
            }
            let results = join_all(contents.iter().map(|(_, b)| outbox.push("item", b))).await;
            for (result, (serial, _)) in results.into_iter().zip(contents) {
                match result {
                    Ok(id) => {
                        assert!(id > model.highest, "an id was used again");
                        model.highest = id;
                        model.pushed.insert(id, serial);
                    }
                    Err(_) => fine = false,
                }
            }
        }
        Step::Done(count) => {
            let ids: Vec<u64> = outbox.pending(*count).into_iter().map(|i| i.id).collect();
            model.asked.extend(&ids);
            let results = join_all(ids.iter().map(|id| outbox.done(*id))).await;
            for (result, id) in results.into_iter().zip(ids) {
                match result {
                    Ok(()) => {
                        model.finished.insert(id);
                    }
                    Err(_) => fine = false,
                }
            }
        }
    }
    fine
}

fn check(outbox: &Outbox, model: &mut Model) {
    let items = outbox.pending(usize::MAX);
    assert!(items.windows(2).all(|w| w[0].id < w[1].id));
    let mut serials = BTreeSet::new();
    for item in &items {
        let serial = u64::from_be_bytes(*item.bytes.first_chunk::<8>().unwrap());
        assert_eq!(model.sent.get(&serial).map(Vec::as_slice), Some(&item.bytes[..]), "never sent");
        assert!(serials.insert(serial), "twice");
        assert!(!model.finished.contains(&item.id), "item {} was done", item.id);
        if let Some(s) = model.pushed.get(&item.id) {
            assert_eq!(*s, serial, "another item under the same id");
        }
        // an item whose push was never answered may have got an id that is known only now
        model.highest = model.highest.max(item.id);
    }
    for (id, serial) in &model.pushed {
        assert!(serials.contains(serial) || model.asked.contains(id), "item {id} is lost");
    }
}

async fn run_life(disk: SimDisk, life: &Life, model: &mut Model, next: SimPlan) -> SimDisk {
    match Outbox::open(Box::new(disk.clone()), &options()) {
        Ok((outbox, _)) => {
            check(&outbox, model);
            for step in &life.steps {
                if !run_step(&outbox, step, model).await {
                    break;
                }
            }
        }
        Err(e) => assert!(matches!(e, JournalError::Disk { .. }), "{e}"),
    }
    if life.restart && !disk.is_frozen() { disk.after_restart(next) } else { disk.after_power_loss(next) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn acknowledged_items_stay_until_done(
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
            let disk = disk.after_power_loss(SimPlan::default());
            let (outbox, _) = Outbox::open(Box::new(disk), &options()).unwrap();
            check(&outbox, &mut model);
            let id = outbox.push("item", &[0; 8]).await.unwrap();
            assert!(id > model.highest);
        });
    }
}

/// Power lost at every sync of a life full of clearing.
#[tokio::test]
async fn power_lost_at_every_sync_while_clearing() {
    for n in 1..40 {
        for seed in 0..12 {
            let plan = SimPlan { freeze_at_sync: Some(n), ..SimPlan::default() };
            let steps = (0..14).flat_map(|_| [Step::Push(vec![700, 30, 900]), Step::Done(3)]).collect();
            let life = Life { steps, plan, restart: false };
            let mut model = Model::default();
            let sim = SimDisk::new(seed, plan);
            let after = run_life(sim.clone(), &life, &mut model, SimPlan::default()).await;
            assert!(sim.is_frozen(), "sync {n} was never reached");
            let (outbox, _) = Outbox::open(Box::new(after), &options()).unwrap();
            check(&outbox, &mut model);
        }
    }
}
