//! Power that goes in the middle: what was acknowledged is there, what was not is not half there.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use common::{Dice, Simulator, Tapped};
use gw_proto::Scheme;
use hsm_api::{KeyPurpose, KeyStore as _, sign_message};
use hsm_tpm2::Tpm2KeyStore;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// A chip whose power goes before or after a command of the test's choice.
struct Frail {
    chip: Arc<Simulator>,
    /// commands until the power goes; never if negative
    left: Arc<AtomicI64>,
    /// whether the last command is still executed
    executes: Arc<AtomicI64>,
}

impl Frail {
    fn new() -> Self {
        Self { chip: Simulator::start(), left: Arc::new(AtomicI64::new(-1)), executes: Arc::default() }
    }
    fn options(&self) -> hsm_tpm2::Options {
        let (chip, left, executes) = (self.chip.clone(), self.left.clone(), self.executes.clone());
        let way = Tapped::new(self.chip.swtpm(), move |command, pass| {
            if left.fetch_sub(1, Ordering::SeqCst) == 0 {
                if executes.load(Ordering::SeqCst) == 1 {
                    drop(pass(command));
                }
                chip.power_off();
            }
            pass(command)
        });
        self.chip.options_over(Arc::new(way))
    }
    fn cut_after(&self, commands: usize, executes: bool) {
        self.executes.store(executes.into(), Ordering::SeqCst);
        self.left.store(i64::try_from(commands).unwrap(), Ordering::SeqCst);
    }
    fn power_on(&self) {
        self.left.store(-1, Ordering::SeqCst);
        self.chip.power_off();
        self.chip.power_on();
    }
}

#[test]
fn what_was_acknowledged_survives_power_loss_anywhere() {
    let (mut dice, seed) = Dice::fresh();
    println!("seed {seed}");
    let frail = Frail::new();
    let store = Tpm2KeyStore::init(frail.options()).unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut floor = store.sealer().counter().unwrap();
    for round in 0..40 {
        frail.cut_after(dice.below(8), dice.below(2) == 1);
        let name = format!("k{round}");
        match dice.below(3) {
            0 | 1 => {
                let scheme = [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256][dice.below(2)];
                if let Ok(key) = store.create_key(&name, KeyPurpose::Node, scheme) {
                    acknowledged.insert(name, *key.public_key());
                }
            }
            _ => {
                if let Ok(value) = store.sealer().raise_counter() {
                    assert!(value > floor, "seed {seed}, round {round}");
                    floor = value;
                }
            }
        }
        frail.power_on();
        let listed: BTreeMap<_, _> =
            store.list_keys().unwrap().into_iter().map(|(name, _, key)| (name, key)).collect();
        assert_eq!(listed, acknowledged, "seed {seed}, round {round}");
        if let Some((name, public)) = listed.iter().next_back() {
            // the chip went away and came back: at most one error says so
            drop(store.chip_info());
            drop(store.read_pcrs(&[0]));
            let key = store.load_key(name, KeyPurpose::Node).unwrap();
            let signature = sign_message(&*key, b"still").unwrap();
            gw_sm::verify(public, b"still", &signature).unwrap();
        }
        drop(store.read_pcrs(&[0]));
        let counted = store.sealer().counter().unwrap();
        assert!(counted >= floor, "seed {seed}, round {round}: {counted} after {floor}");
        floor = counted;
    }
    assert!(acknowledged.len() > 3);
}

/// Init is cut at each of its commands, and done again.
#[test]
fn an_init_that_was_cut_is_done_again() {
    let mut cuts = 0;
    for commands in 0.. {
        let frail = Frail::new();
        frail.cut_after(commands, commands % 2 == 0);
        let first = Tpm2KeyStore::init(frail.options());
        let cut = first.is_err();
        frail.power_on();
        let store = match first {
            Ok(store) => store,
            Err(_) => {
                cuts += 1;
                assert!(!frail.chip.path("keys.json").exists());
                Tpm2KeyStore::init(frail.options()).unwrap()
            }
        };
        drop(store.read_pcrs(&[0]));
        store.sealer().counter().unwrap();
        let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
        sign_message(&*key, b"m").unwrap();
        if !cut {
            break;
        }
    }
    assert!(cuts > 10, "only {cuts} commands were cut");
}

/// What a crash left beside the index does no harm; a write that fails changes nothing.
#[test]
fn the_index_is_replaced_whole_or_not_at_all() {
    let chip = Simulator::start();
    let store = chip.init();
    store.create_key("one", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    std::fs::write(chip.path("keys.json.new"), "half an ind").unwrap();
    store.create_key("two", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    assert!(!chip.path("keys.json.new").exists());
    // a folder in the place of the new file cannot be removed as a file, whoever runs the test
    std::fs::create_dir(chip.path("keys.json.new")).unwrap();
    let e = store.create_key("three", KeyPurpose::Node, Scheme::Sm2Sm3).err().unwrap();
    assert!(e.to_string().contains("cannot write"), "{e}");
    assert_eq!(store.list_keys().unwrap().len(), 2);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(chip.path("keys.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
