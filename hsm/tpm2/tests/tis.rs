//! The keystore over our own driver: a model of a chip's registers, and a simulated TPM behind it.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use common::{Dice, Simulator};
use embedded_hal::delay::DelayNs;
use gw_proto::Scheme;
use hsm_api::{HsmError, KeyPurpose, KeyStore as _, sign_message};
use hsm_conformance::Target;
use hsm_tis::{Config, I2cRegisters, SpiRegisters, Tis};
use hsm_tis_model::{Endpoint, Fault, FaultKind, FaultPlan, Model, ModelConfig, Swtpm};
use hsm_tpm2::{
    Options, Tpm2KeyStore, TpmError,
    transport::{Connect, tis::TisChip},
};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

const BOTH: [Scheme; 2] = [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256];

/// The registers' model in front of the simulator.
fn model(chip: &Simulator) -> Model {
    let (commands, control) = (Endpoint::Unix(chip.path("tpm")), Endpoint::Unix(chip.path("tpm.ctrl")));
    Model::new(ModelConfig::default(), Swtpm::connect(&commands, Some(control), 600).unwrap())
}

fn spi(model: &Model) -> Arc<dyn Connect> {
    let bus = SpiRegisters::new(model.spi(), model.cs(), 10_000_000);
    Arc::new(TisChip::new(Tis::new(bus, model.delay(), Config::default()), "spi model"))
}

fn i2c(model: &Model) -> Arc<dyn Connect> {
    let bus = I2cRegisters::new(model.i2c(), hsm_tis::DEFAULT_ADDRESS, 400_000);
    Arc::new(TisChip::new(Tis::new(bus, model.delay(), Config::default()), "i2c model"))
}

#[test]
fn it_keeps_the_promises_of_every_keystore_over_spi_and_i2c() {
    for way in [spi, i2c] {
        let chip = Simulator::start();
        let model = model(&chip);
        let options = chip.options_over(way(&model));
        let store = Tpm2KeyStore::init(options.clone()).unwrap();
        let report = hsm_conformance::run(&Target {
            store: &store,
            schemes: &BOTH,
            unsupported: &[],
            prefix: "t",
            patience: Duration::from_secs(60),
            reopen: &|| {
                store.disconnect()?;
                Ok(Arc::new(Tpm2KeyStore::open(options.clone())?))
            },
            printed: &|| vec![format!("{store:?}")],
            secrets: &Vec::new,
        });
        assert!(report.passed(), "{report}");
    }
}

/// A reset of the chip loses sessions and loaded keys, and needs a start-up: nobody notices.
#[test]
fn a_reset_chip_is_started_again() {
    let chip = Simulator::start();
    let model = model(&chip);
    let store = Tpm2KeyStore::init(chip.options_over(spi(&model))).unwrap();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    for round in 0..3u8 {
        model.reset();
        let signature = sign_message(&*key, &[round]);
        let signature = match signature {
            // the driver may find the locality gone, and says so once
            Err(HsmError::Lost(_)) => sign_message(&*key, &[round]).unwrap(),
            other => other.unwrap(),
        };
        gw_sm::verify(key.public_key(), &[round], &signature).unwrap();
    }
}

#[test]
fn a_chip_of_another_vendor_is_named() {
    let chip = Simulator::start();
    let model = model(&chip);
    let bus = SpiRegisters::new(model.spi(), model.cs(), 10_000_000);
    let config = Config { vendor: Some(0x1234), ..Config::default() };
    let way = Arc::new(TisChip::new(Tis::new(bus, model.delay(), config), "spi model"));
    let e = Tpm2KeyStore::init(chip.options_over(way)).unwrap_err();
    assert!(matches!(e, TpmError::Bus { .. }), "{e}");
    let text = HsmError::from(e).to_string();
    assert!(text.contains("1234") || text.contains("vendor"), "{text}");
}

/// Bits flip anywhere on the bus, chips reset, transfers end early: a right signature or a named error, and
/// the next one works.
#[test]
fn faults_on_the_bus_are_named_and_pass() {
    let (mut dice, seed) = Dice::fresh();
    println!("seed {seed}");
    let chip = Simulator::start();
    let model = model(&chip);
    let options = Options { budget: Duration::from_secs(5), ..chip.options_over(spi(&model)) };
    let store = Tpm2KeyStore::init(options).unwrap();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    let mut failures = 0;
    for round in 0..200u32 {
        let faults = (0..=dice.below(3))
            .map(|_| {
                let from = u64::try_from(dice.below(700)).unwrap();
                let bit = u8::try_from(dice.below(8)).unwrap();
                let kinds = [
                    FaultKind::FlipMiso { bit },
                    FaultKind::FlipMosi { bit },
                    FaultKind::Glitch,
                    FaultKind::Short,
                    FaultKind::LoseLocality,
                    FaultKind::Reset,
                ];
                Fault { from, until: from + 1, kind: kinds[dice.below(kinds.len())] }
            })
            .collect();
        model.set_faults(FaultPlan::new(faults));
        let message = round.to_be_bytes();
        match sign_message(&*key, &message) {
            Ok(signature) => gw_sm::verify(key.public_key(), &message, &signature).unwrap(),
            Err(e) => {
                failures += 1;
                assert!(!e.to_string().is_empty());
            }
        }
        model.clear_faults();
        let signature = sign_message(&*key, &message).unwrap_or_else(|e| panic!("seed {seed}, {round}: {e}"));
        gw_sm::verify(key.public_key(), &message, &signature).unwrap();
    }
    println!("{failures} of 200 schedules failed, each named");
    assert!(failures > 30, "the faults did not reach the chip");
}

/// Cancels what the keystore does when the driver has waited so many times.
struct Impatient<D> {
    delay: D,
    patience: Arc<Patience>,
}

#[derive(Default)]
struct Patience {
    waits_left: AtomicU32,
    store: OnceLock<Tpm2KeyStore>,
}

impl<D: DelayNs> DelayNs for Impatient<D> {
    fn delay_ns(&mut self, ns: u32) {
        self.delay.delay_ns(ns);
        let left = &self.patience.waits_left;
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) == Ok(1) {
            self.patience.store.get().unwrap().cancel().unwrap();
        }
    }
}

/// Whenever somebody loses patience: a right signature or `Cancelled`, and the next one works.
#[test]
fn a_cancelled_signature_ends_by_name() {
    let chip = Simulator::start();
    let (commands, control) = (Endpoint::Unix(chip.path("tpm")), Endpoint::Unix(chip.path("tpm.ctrl")));
    // slow enough to be looked at many times
    let device = Swtpm::connect(&commands, Some(control), 100_000).unwrap();
    let model = Model::new(ModelConfig::default(), device);
    let patience = Arc::new(Patience::default());
    let delay = Impatient { delay: model.delay(), patience: Arc::clone(&patience) };
    let bus = SpiRegisters::new(model.spi(), model.cs(), 10_000_000);
    let way = Arc::new(TisChip::new(Tis::new(bus, delay, Config::default()), "spi model"));
    let store = Tpm2KeyStore::init(chip.options_over(way)).unwrap();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    patience.store.set(store).unwrap();
    let (mut cancelled, mut signed) = (0, 0);
    for waits in 1..80u32 {
        patience.waits_left.store(waits, Ordering::SeqCst);
        match sign_message(&*key, b"cancelled?") {
            Ok(signature) => {
                signed += 1;
                gw_sm::verify(key.public_key(), b"cancelled?", &signature).unwrap();
            }
            Err(HsmError::Cancelled) => cancelled += 1,
            Err(e) => panic!("after {waits} waits: {e}"),
        }
        patience.waits_left.store(0, Ordering::SeqCst);
        let signature = sign_message(&*key, b"the next").unwrap();
        gw_sm::verify(key.public_key(), b"the next", &signature).unwrap();
    }
    println!("{cancelled} cancelled, {signed} signed all the same");
    assert!(cancelled > 10, "cancelling never reached the chip");
}
