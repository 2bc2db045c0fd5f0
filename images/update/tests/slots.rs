//! Updates on real files: what is written where, what is refused, the way back.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use common::{Recipe, manifest, sim::version, trust, verify};
use gw_store::disk::Disk as _;
use image_update::{
    Architecture, Bundle, DirFolder, Entry, FileFloor, Floor as _, Manifest, Partition, Seen, Slot, SlotName,
    Tries, UpdateError, Updater, record,
};
use std::{fs, path::Path};
use tempfile::TempDir;

const OLD: &str = "xinguan_1.0.0_a.efi";

/// A box of files: 1.0.0 came with it in slot a, slot b is empty.
fn new_box(root_bytes: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["esp", "state"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    for slot in ["a", "b"] {
        fs::write(dir.path().join(format!("root-{slot}")), vec![0; root_bytes]).unwrap();
        fs::write(dir.path().join(format!("verity-{slot}")), vec![0; 32 << 10]).unwrap();
    }
    fs::write(dir.path().join("esp").join(OLD), b"kernel").unwrap();
    fs::write(dir.path().join("esp/other.efi"), b"not ours").unwrap();
    dir
}

fn updater(dir: &Path, running: SlotName) -> Updater {
    let part = |name: String| Box::new(Partition::open(&dir.join(name)).unwrap());
    let slot = |s: SlotName| Slot { root: part(format!("root-{s}")), verity: part(format!("verity-{s}")) };
    let folder = |name| DirFolder::open(&dir.join(name)).unwrap();
    Updater {
        slots: [slot(SlotName::A), slot(SlotName::B)],
        esp: Box::new(folder("esp")),
        state: Box::new(folder("state")),
        floor: Box::new(FileFloor(folder("state"))),
        running,
        architecture: Architecture::X86_64,
        ring: 1,
    }
}

fn bundle(recipe: &Recipe) -> (TempDir, Bundle) {
    let dir = recipe.make();
    let bundle = verify(dir.path(), &trust(), Seen::default()).unwrap();
    (dir, bundle)
}

/// What systemd-bless-boot does once the system is healthy, or the loader at each try.
fn set_tries(dir: &Path, slot: SlotName, tries: Tries) {
    for file in fs::read_dir(dir.join("esp")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if let Some(entry) = Entry::parse(&name).filter(|e| e.slot == slot) {
            let new = entry.with_tries(tries).to_string();
            fs::rename(dir.join("esp").join(name), dir.join("esp").join(new)).unwrap();
        }
    }
}

#[test]
fn an_update_its_confirmation_and_the_way_back() {
    let (dir, recipe) = (new_box(2 << 20), Recipe::default());
    let (_files, bundle) = bundle(&recipe);
    let mut seen_progress = Vec::new();
    let box_a = updater(dir.path(), SlotName::A);
    box_a.confirm(&Manifest { number: 3, ..manifest("1.0.0") }).unwrap();
    let entry = box_a.apply(&bundle, &mut |done, all| seen_progress.push((done, all))).unwrap();
    assert_eq!(entry.to_string(), "xinguan_2.0.0_b+3-0.efi");
    assert_eq!(*seen_progress.last().unwrap(), (1_120_001, 1_120_001));

    let (root, verity, uki) = recipe.system();
    assert_eq!(fs::read(dir.path().join("root-b")).unwrap()[..root.len()], root);
    assert_eq!(fs::read(dir.path().join("verity-b")).unwrap()[..verity.len()], verity);
    assert_eq!(fs::read(dir.path().join("esp").join(entry.to_string())).unwrap(), uki);
    assert_eq!(
        fs::read(dir.path().join("root-a")).unwrap(),
        vec![0; 2 << 20],
        "the running slot was touched"
    );
    assert_eq!(fs::read(dir.path().join("esp").join(OLD)).unwrap(), b"kernel");
    assert!(dir.path().join("esp/other.efi").exists());
    let status = box_a.status().unwrap();
    assert_eq!((status.running, status.next, status.floor), (SlotName::A, Some(SlotName::B), 3));

    // it starts, on trial: nothing is confirmed, nothing is applied over the way back
    set_tries(dir.path(), SlotName::B, Tries::Counting { left: 2, done: 1 });
    let box_b = updater(dir.path(), SlotName::B);
    assert!(matches!(box_b.confirm(&bundle.manifest), Err(UpdateError::NotAccepted { .. })));
    assert!(matches!(box_b.check(&bundle), Err(UpdateError::NotAccepted { .. })));
    assert_eq!(box_b.status().unwrap().floor, 3);
    // healthy
    set_tries(dir.path(), SlotName::B, Tries::Good);
    assert!(matches!(box_b.confirm(&manifest("2.0.1")), Err(UpdateError::NotAccepted { .. })));

    // back, twice: the second call changes nothing
    assert_eq!(box_b.rollback().unwrap(), SlotName::A);
    let after = box_b.status().unwrap();
    assert_eq!(after.next, Some(SlotName::A));
    assert_eq!(after.slots[1].entry.unwrap().tries, Tries::Counting { left: 0, done: 1 });
    assert_eq!(box_b.rollback().unwrap(), SlotName::A);
    assert_eq!(box_b.status().unwrap(), after);
    // once confirmed, the old system could not open the data: no way back
    set_tries(dir.path(), SlotName::B, Tries::Good);
    box_b.confirm(&bundle.manifest).unwrap();
    assert_eq!(box_b.status().unwrap().floor, 5);
    assert!(matches!(box_b.rollback(), Err(UpdateError::BelowFloor { number: 3, floor: 5 })));
    // from slot a the same bundle may be applied again
    assert_eq!(updater(dir.path(), SlotName::A).apply(&bundle, &mut |_, _| ()).unwrap(), entry);
}

#[test]
fn what_was_given_up_is_not_tried_again_by_itself() {
    let dir = new_box(2 << 20);
    let (_files, bundle) = bundle(&Recipe::default());
    let u = updater(dir.path(), SlotName::A);
    u.check_untried(&bundle).unwrap();
    u.apply(&bundle, &mut |_, _| ()).unwrap();
    set_tries(dir.path(), SlotName::B, Tries::Counting { left: 1, done: 2 });
    u.check_untried(&bundle).unwrap();
    set_tries(dir.path(), SlotName::B, Tries::Counting { left: 0, done: 3 });
    assert!(matches!(u.check_untried(&bundle), Err(UpdateError::GivenUp { .. })));
    // asked for, it is
    u.apply(&bundle, &mut |_, _| ()).unwrap();
    u.check_untried(&bundle).unwrap();
}

#[test]
fn a_waiting_update_is_withdrawn() {
    let dir = new_box(2 << 20);
    let (_files, bundle) = bundle(&Recipe::default());
    let u = updater(dir.path(), SlotName::A);
    assert!(matches!(u.rollback(), Err(UpdateError::NotGood { .. })), "slot b is empty");
    u.apply(&bundle, &mut |_, _| ()).unwrap();
    assert_eq!(u.rollback().unwrap(), SlotName::A);
    let status = u.status().unwrap();
    assert_eq!(status.next, Some(SlotName::A));
    assert_eq!((status.slots[1].entry, status.slots[1].record.as_ref()), (None, None));
}

#[test]
fn a_system_that_never_becomes_healthy() {
    let dir = new_box(2 << 20);
    let (_files, bundle) = bundle(&Recipe::default());
    updater(dir.path(), SlotName::A).apply(&bundle, &mut |_, _| ()).unwrap();
    for (left, next) in [(2, SlotName::B), (1, SlotName::B), (0, SlotName::A)] {
        set_tries(dir.path(), SlotName::B, Tries::Counting { left, done: 3 - left });
        assert_eq!(updater(dir.path(), SlotName::A).status().unwrap().next, Some(next));
    }
    // and there is no way to what was given up
    let e = updater(dir.path(), SlotName::A).rollback().unwrap_err();
    assert!(matches!(e, UpdateError::NotGood { slot: SlotName::B, .. }), "{e}");
}

#[test]
fn no_way_back_to_what_changed_or_cannot_open_the_data() {
    let dir = new_box(2 << 20);
    let (_files, two) = bundle(&Recipe::default());
    updater(dir.path(), SlotName::A).apply(&two, &mut |_, _| ()).unwrap();
    set_tries(dir.path(), SlotName::B, Tries::Good);
    let mut newer = Recipe { manifest: manifest("3.0.0"), ..Recipe::default() };
    newer.manifest.number = 6;
    let (_files, three) = bundle(&newer);
    updater(dir.path(), SlotName::B).apply(&three, &mut |_, _| ()).unwrap();
    set_tries(dir.path(), SlotName::A, Tries::Good);

    let u = updater(dir.path(), SlotName::A);
    let root_b = Partition::open(&dir.path().join("root-b")).unwrap();
    let mut byte = [0];
    root_b.read_at(70_000, &mut byte).unwrap();
    root_b.write_at(70_000, &[byte[0] ^ 1]).unwrap();
    assert!(matches!(u.rollback(), Err(UpdateError::ReadBack { name: "root.img" })));
    root_b.write_at(70_000, &byte).unwrap();
    u.confirm(&three.manifest).unwrap();
    assert!(matches!(u.rollback(), Err(UpdateError::BelowFloor { number: 5, floor: 6 })));
    assert_eq!(u.status().unwrap().next, Some(SlotName::A));
}

#[test]
fn what_is_not_for_this_box() {
    let dir = new_box(1_100_000); // one byte less than the root image
    let u = updater(dir.path(), SlotName::A);
    let before = snapshot(dir.path());
    let refuse = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = Recipe { root_bytes: 1_000_000, ..Recipe::default() };
        change(&mut recipe);
        u.apply(&bundle(&recipe).1, &mut |_, _| ()).unwrap_err()
    };
    let e = refuse(&|r| r.manifest.architecture = Architecture::Arm64);
    assert!(matches!(e, UpdateError::Architecture { .. }), "{e}");
    let e = refuse(&|r| r.manifest.ring = 0);
    assert!(matches!(e, UpdateError::Ring { found: 0, ours: 1 }), "{e}");
    let e = refuse(&|r| r.root_bytes = 1_100_001);
    assert!(matches!(e, UpdateError::TooLarge { name: "root.img", found: 1_100_001, max: 1_100_000 }), "{e}");
    let e = refuse(&|r| r.verity_bytes = (32 << 10) + 1);
    assert!(matches!(e, UpdateError::TooLarge { name: "verity.img", .. }), "{e}");
    for old in ["1.0.0", "0.99.99"] {
        let e = refuse(&|r| r.manifest.version = version(old));
        assert!(matches!(e, UpdateError::NotNewer { .. }), "{e}");
    }
    FileFloor(DirFolder::open(&dir.path().join("state")).unwrap()).raise(6).unwrap();
    let e = refuse(&|_| ());
    assert!(matches!(e, UpdateError::BelowFloor { number: 5, floor: 6 }), "{e}");
    fs::remove_file(dir.path().join("state/floor.json")).unwrap();
    assert_eq!(snapshot(dir.path()), before, "a refusal changed something");
}

#[test]
fn damaged_targets_change_nothing() {
    for name in ["root.img", "verity.img", "uki.efi"] {
        let dir = new_box(2 << 20);
        let before = snapshot(dir.path());
        let (files, bundle) = bundle(&Recipe::default());
        let path = common::find(files.path(), "targets", name);
        let good = fs::read(&path).unwrap();
        let (mut flipped, last) = (good.clone(), good.len() - 1);
        flipped[last] ^= 1;
        let longer = [&good[..], b"x"].concat();
        for bad in [&flipped[..], &longer, &good[..last], b""] {
            fs::write(&path, bad).unwrap();
            let e = updater(dir.path(), SlotName::A).apply(&bundle, &mut |_, _| ()).unwrap_err();
            assert!(matches!(e, UpdateError::TargetDamaged { name: n, .. } if n == name), "{name}: {e}");
        }
        fs::remove_file(&path).unwrap();
        assert!(updater(dir.path(), SlotName::A).apply(&bundle, &mut |_, _| ()).is_err());
        assert_eq!(snapshot(dir.path()), before, "{name}");
    }
}

#[test]
fn without_its_own_entry_a_box_is_left_alone() {
    let dir = new_box(2 << 20);
    fs::remove_file(dir.path().join("esp").join(OLD)).unwrap();
    let (_files, bundle) = bundle(&Recipe::default());
    let u = updater(dir.path(), SlotName::A);
    assert!(matches!(u.apply(&bundle, &mut |_, _| ()), Err(UpdateError::NoWayBack { slot: SlotName::A })));
    assert!(matches!(u.rollback(), Err(UpdateError::NoWayBack { .. })));
}

#[test]
fn seen_versions_are_kept() {
    let dir = new_box(1 << 20);
    let state = DirFolder::open(&dir.path().join("state")).unwrap();
    assert_eq!(record::load_seen(&state).unwrap(), Seen::default());
    let seen = Recipe::default().versions;
    record::save_seen(&state, &seen).unwrap();
    assert_eq!(record::load_seen(&state).unwrap(), seen);
    fs::write(dir.path().join("state/seen.json"), b"{").unwrap();
    assert!(matches!(record::load_seen(&state), Err(UpdateError::Record { .. })));
}

/// Every file of a box.
fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for folder in ["", "esp", "state"] {
        for file in fs::read_dir(dir.join(folder)).unwrap().map(|f| f.unwrap().path()) {
            if file.is_file() {
                out.push((file.display().to_string(), fs::read(&file).unwrap()));
            }
        }
    }
    out.sort();
    out
}
