//! Power cuts: at every write and every sync, then at random, again and again.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail the test")]

mod common;

use common::{
    Chance, Recipe,
    sim::{Cut, Machine, version},
    trust, verify,
};
use image_update::{Bundle, Entry, Folder as _, Seen, SlotName, Tries};
use proptest::prelude::*;
use tempfile::TempDir;

fn bundle() -> (TempDir, Bundle) {
    let dir = Recipe::default().make();
    let bundle = verify(dir.path(), &trust(), Seen::default()).unwrap();
    (dir, bundle)
}

/// What must hold after any power loss: the old system is there, and what is chosen is whole.
fn check(machine: &Machine, context: &str) {
    let chosen = machine.boot(context);
    let old = Entry { version: version("1.0.0"), slot: SlotName::A, tries: Tries::Good };
    assert!(machine.entries().contains(&old), "{context}: the running system's entry is gone");
    assert!(chosen == old || chosen.version == version("2.0.0"), "{context}: {chosen}");
    machine.updater().status().unwrap();
}

/// A second attempt completes, and survives a power loss right after it.
fn complete(machine: &Machine, bundle: &Bundle, context: &str) {
    let entry =
        machine.updater().apply(bundle, &mut |_, _| ()).unwrap_or_else(|e| panic!("{context}: {e:?}"));
    let machine = machine.after_power_loss(Cut::default());
    assert_eq!(machine.boot(context), entry, "{context}");
    assert_eq!((entry.version, entry.tries), (version("2.0.0"), Tries::NEW));
    let status = machine.updater().status().unwrap();
    assert_eq!(status.next, Some(SlotName::B), "{context}");
    assert_eq!(status.slots[1].record.as_ref().unwrap().manifest, bundle.manifest, "{context}");
}

#[test]
fn cut_at_every_write_and_every_sync() {
    let (_dir, bundle) = bundle();
    let mut points = 0;
    for kind in 0..6 {
        for n in 1.. {
            let mut hit = false;
            for seed in 0..8 {
                let context = format!("kind {kind}, call {n}, seed {seed}");
                let machine = Machine::new(seed, Cut::of(kind, n));
                hit = machine.updater().apply(&bundle, &mut |_, _| ()).is_err();
                let machine = machine.after_power_loss(Cut::default());
                check(&machine, &context);
                if hit {
                    complete(&machine, &bundle, &context);
                }
            }
            if !hit {
                break;
            }
            points += 1;
        }
    }
    println!("{points} points of interruption, 8 seeds each");
    assert!(points >= 17, "only {points} points were tried");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// The seed of a failing case is printed; it makes everything else.
    #[test]
    fn cut_again_and_again(seed in any::<u64>()) {
        let (_dir, bundle) = bundle();
        let mut chance = Chance(seed);
        let mut cut = || Cut::of(chance.below(6), 1 + chance.below(6));
        let mut machine = Machine::new(seed, cut());
        for round in 0..5 {
            let _ = machine.updater().apply(&bundle, &mut |_, _| ());
            machine = machine.after_power_loss(cut());
            check(&machine, &format!("seed {seed}, round {round}"));
        }
        complete(&machine.after_power_loss(Cut::default()), &bundle, &format!("seed {seed}"));
    }
}

/// 2.0.0 was applied, started and found good: it runs from slot b.
fn after_update(bundle: &Bundle, seed: u64, cut: Cut) -> Machine {
    let machine = Machine::new(seed, Cut::default());
    let entry = machine.updater().apply(bundle, &mut |_, _| ()).unwrap();
    machine.esp.rename(&entry.to_string(), &entry.with_tries(Tries::Good).to_string()).unwrap();
    machine.esp.sync_names().unwrap();
    let mut machine = machine.after_power_loss(cut);
    machine.running = SlotName::B;
    machine
}

#[test]
fn cut_in_a_rollback() {
    let (_dir, bundle) = bundle();
    for n in 1.. {
        let mut hit = false;
        for seed in 0..16 {
            let context = format!("call {n}, seed {seed}");
            let machine = after_update(&bundle, seed, Cut { esp: Some(n), ..Cut::default() });
            hit = machine.updater().rollback().is_err();
            let machine = machine.after_power_loss(Cut::default());
            machine.boot(&context);
            if !hit {
                assert_eq!(machine.boot(&context).version, version("1.0.0"), "{context}");
            }
        }
        if !hit {
            assert!(n > 2, "no point was tried");
            return;
        }
    }
}

#[test]
fn cut_in_a_confirmation() {
    let (_dir, bundle) = bundle();
    for n in 1.. {
        let mut hit = false;
        for seed in 0..16 {
            let machine = after_update(&bundle, seed, Cut { state: Some(n), ..Cut::default() });
            hit = machine.updater().confirm(&bundle.manifest).is_err();
            let machine = machine.after_power_loss(Cut::default());
            let floor = machine.updater().status().unwrap().floor;
            assert!(floor == 5 || (hit && floor == 0), "call {n}, seed {seed}: {floor}");
            machine.updater().confirm(&bundle.manifest).unwrap();
            assert_eq!(machine.updater().status().unwrap().floor, 5);
        }
        if !hit {
            assert!(n > 3, "no point was tried");
            return;
        }
    }
}
