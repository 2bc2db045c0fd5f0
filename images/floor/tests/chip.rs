//! The floor on a simulated chip: never down, never lost in a cut, never another's.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may fail the test")]

use hsm_api::OsEntropy;
use hsm_tpm2::{
    Chip, Secret,
    commands::storage,
    transport::swtpm::{Address, Swtpm},
};
use image_floor::{FloorError, INDEX, MAX_STEP, TpmFloor};
use std::{
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc::channel},
    time::{Duration, Instant},
};

struct Simulator {
    folder: tempfile::TempDir,
    child: Child,
}

impl Simulator {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(folder.path());
        Self { folder, child }
    }
    fn at(&self) -> Swtpm {
        Swtpm { server: Address::Unix(self.folder.path().join("tpm")), control: None }
    }
    fn floor(&self) -> TpmFloor {
        TpmFloor::open(&self.at()).unwrap()
    }
    fn chip(&self) -> Chip {
        Chip::bare(&self.at(), Arc::new(OsEntropy), Duration::from_secs(30)).unwrap()
    }
    fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_file(self.folder.path().join("tpm")).unwrap();
        self.child = spawn(self.folder.path());
    }
}

fn spawn(folder: &std::path::Path) -> Child {
    let socket = folder.join("tpm");
    let child = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init"])
        .arg("--tpmstate")
        .arg(format!("dir={}", folder.display()))
        .arg("--server")
        .arg(format!("type=unixio,path={}", socket.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("swtpm does not start: apt-get install swtpm");
    let (began, (_keep, never)) = (Instant::now(), channel::<()>());
    // it takes one connection at a time and stays when that ends
    while UnixStream::connect(&socket).is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "swtpm does not listen");
        let _ = never.recv_timeout(Duration::from_millis(10));
    }
    child
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_is_raised_and_outlives_the_power() {
    let mut sim = Simulator::start();
    let mut floor = sim.floor();
    assert_eq!(floor.load().unwrap(), None);
    assert_eq!(floor.check(1, false).unwrap(), 0, "a new box");
    assert_eq!(floor.raise(3).unwrap(), 3);
    assert_eq!(floor.raise(1).unwrap(), 3, "never down");
    assert_eq!(floor.check(3, true).unwrap(), 3);
    assert!(matches!(floor.check(2, true), Err(FloorError::Below { number: 2, floor: 3 })));
    assert!(matches!(floor.raise(4 + MAX_STEP), Err(FloorError::TooFar { .. })));
    drop(floor);
    sim.restart();
    assert!(
        matches!(sim.floor().check(2, false), Err(FloorError::Below { .. })),
        "nor by a box without data"
    );
    assert_eq!(sim.floor().check(4, true).unwrap(), 3);
}

#[test]
fn a_chip_that_others_used_starts_at_zero_all_the_same() {
    let sim = Simulator::start();
    let mut chip = sim.chip();
    storage::define_counter(&mut chip, &Secret::empty(), 0x0150_0001, &[]).unwrap();
    for _ in 0..7 {
        // its name changes with the first
        let other = storage::nv_public(&mut chip, 0x0150_0001, "").unwrap();
        storage::nv_increment(&mut chip, &other.entity).unwrap();
    }
    drop(chip);
    assert_eq!(sim.floor().check(1, false).unwrap(), 0);
    assert_eq!(sim.floor().raise(1).unwrap(), 1);
}

#[test]
fn removed_it_is_missed_and_defined_anew_it_is_not_lower() {
    let sim = Simulator::start();
    sim.floor().define().unwrap();
    assert_eq!(sim.floor().raise(5).unwrap(), 5);
    let mut chip = sim.chip();
    let index = storage::nv_public(&mut chip, INDEX, "").unwrap();
    let label = index.policy.clone();
    storage::undefine(&mut chip, &Secret::empty(), &index.entity).unwrap();
    drop(chip);
    assert!(matches!(sim.floor().check(9, true), Err(FloorError::Gone)));
    let mut chip = sim.chip();
    storage::define_counter(&mut chip, &Secret::empty(), INDEX, &label).unwrap();
    let again = storage::nv_public(&mut chip, INDEX, "").unwrap();
    storage::nv_increment(&mut chip, &again.entity).unwrap();
    drop(chip);
    assert_eq!(sim.floor().load().unwrap(), Some(6), "the same label: above what it was");
}

#[test]
fn a_start_that_was_cut_off_goes_on() {
    // after each of the steps: defined without label, raised, with label
    for step in 0..3 {
        let sim = Simulator::start();
        let mut chip = sim.chip();
        storage::define_counter(&mut chip, &Secret::empty(), INDEX, &[]).unwrap();
        if step > 0 {
            let index = storage::nv_public(&mut chip, INDEX, "").unwrap();
            storage::nv_increment(&mut chip, &index.entity).unwrap();
        }
        if step > 1 {
            let index = storage::nv_public(&mut chip, INDEX, "").unwrap();
            let base = storage::nv_counter(&mut chip, &index).unwrap() + 1;
            storage::undefine(&mut chip, &Secret::empty(), &index.entity).unwrap();
            let label = [&b"xinguan anti-rollback at"[..], &base.to_be_bytes()].concat();
            storage::define_counter(&mut chip, &Secret::empty(), INDEX, &label).unwrap();
        }
        drop(chip);
        assert_eq!(sim.floor().load().unwrap(), None, "step {step}");
        assert_eq!(sim.floor().check(0, false).unwrap(), 0, "step {step}");
    }
}

#[test]
fn what_lies_there_and_is_not_ours_is_left() {
    let sim = Simulator::start();
    let mut chip = sim.chip();
    storage::define_counter(&mut chip, &Secret::empty(), INDEX, &[7; 32]).unwrap();
    drop(chip);
    assert!(matches!(sim.floor().check(9, false), Err(FloorError::Taken)));
}

#[test]
fn a_spoiled_register_has_another_value() {
    let sim = Simulator::start();
    let read =
        || storage::pcr_read(&mut sim.chip(), hsm_api::attest::MeasurementHash::Sha256, &[11]).unwrap();
    let before = read();
    sim.floor().spoil().unwrap();
    assert_ne!(read(), before);
}
