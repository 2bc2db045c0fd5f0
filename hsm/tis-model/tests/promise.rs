//! What the driver promises, under every single fault of one operation and under random schedules.

use hsm_tis::{Config, DEFAULT_ADDRESS, I2cRegisters, SpiRegisters, Tis};
use hsm_tis_model::{
    FaultKind, FaultPlan, Model, ModelConfig, Sealed, SealedCommand, minimum_spi_bytes,
    schedule::{Bus, Promise, Schedule, Tally, run_many},
};
use std::{collections::hash_map::RandomState, hash::BuildHasher as _};

/// A thousand; `soak --count 100000` for more.
const SCHEDULES: u64 = 1_000;

#[test]
fn random_schedules() {
    let seed = RandomState::new().hash_one(0);
    println!("seed {seed}");
    let tally = run_many(seed, SCHEDULES).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{tally}");
    assert_eq!(tally.schedules, SCHEDULES);
    assert!(
        tally.right > SCHEDULES && tally.errors.len() > 20,
        "faults that hit, and some that miss: {tally}"
    );
}

fn single(bus: Bus, at: u64, kind: FaultKind) -> Schedule {
    let plan = FaultPlan::at(at, kind);
    Schedule {
        seed: 0,
        bus,
        promise: Promise::Driver,
        config: ModelConfig { wait_states: 1, ..ModelConfig::default() },
        execution_us: 200,
        plan: if bus == Bus::Spi { plan.sparing_payload() } else { plan },
        commands: vec![(10, 40)],
    }
}

/// Each bit of each byte flipped once, both ways; a glitch, a lost rest and a reset at each byte.
#[test]
fn every_single_fault() {
    for bus in [Bus::Spi, Bus::I2c] {
        let mut all = Tally::default();
        for at in 0..420 {
            let flips = (0..8).flat_map(|bit| [FaultKind::FlipMiso { bit }, FaultKind::FlipMosi { bit }]);
            let others = [FaultKind::Glitch, FaultKind::Short, FaultKind::Reset, FaultKind::LoseLocality];
            for kind in flips.chain(others) {
                let tally = single(bus, at, kind).run().unwrap_or_else(|broken| panic!("{broken}"));
                all.add(&tally);
            }
        }
        println!("{bus:?}: {all}");
        assert!(all.right > 0 && all.errors.values().sum::<u64>() > 0);
    }
}

/// Why payload is spared on SPI: a bent bit there is not noticed by the driver, only by the seal.
#[test]
fn spi_cannot_notice_bent_payload() {
    let mut unnoticed = 0;
    for at in 0..420 {
        let mut schedule = single(Bus::Spi, at, FaultKind::FlipMiso { bit: 3 });
        schedule.plan = FaultPlan::at(at, FaultKind::FlipMiso { bit: 3 });
        unnoticed += u32::from(schedule.run().is_err());
        schedule.promise = Promise::Sealed;
        schedule.run().unwrap_or_else(|broken| panic!("{broken}"));
    }
    assert!(unnoticed > 20, "{unnoticed}");
}

/// How many single flips make the chip execute a command that lost a byte. (Bursts of 1: each byte has a header,
/// and a bent header loses it.)
fn shortened(code: [u8; 4]) -> usize {
    let mut command = vec![0x80, 0x01, 0, 0, 0, 0x21];
    command.extend(code);
    command.resize(0x21, 0xee);
    let lost = |at| {
        let (send, executed) = std::sync::mpsc::sync_channel(4);
        let processor = move |c: &[u8]| {
            let _ = send.try_send(c.len());
            vec![0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0]
        };
        let config = ModelConfig { wait_states: 0, burst: 1, ready_us: 0, ..ModelConfig::default() };
        let model = Model::new(config, processor);
        let bus = SpiRegisters::new(model.spi(), model.cs(), 10_000_000);
        let mut tis = Tis::new(bus, model.delay(), Config::default());
        assert!(tis.open().is_ok());
        model.set_faults(FaultPlan::at(at, FaultKind::FlipMosi { bit: 4 }).sparing_payload());
        let _ = tis.transmit(&command, &mut [0; 16], 10_000);
        executed.try_iter().any(|length| length != command.len())
    };
    (0..200).filter(|at| lost(*at)).count()
}

/// The one single fault beside payload that nobody can notice on SPI, and why it spares the TCG's commands.
#[test]
fn a_lost_size_byte() {
    assert!(shortened([0x20, 0, 0, 1]) > 0, "0x20 is the size without that byte");
    assert_eq!(shortened([0, 0, 0x01, 0x7b]), 0);
}

/// Without faults each operation succeeds, on whatever chip.
#[test]
fn healthy() {
    for seed in 0..200 {
        let mut schedule = Schedule::draw(seed);
        schedule.plan = FaultPlan::default();
        let tally = schedule.run().unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!((tally.right, tally.errors.len()), (3, 0), "{schedule:?}");
    }
}

/// No I2C start is early, no FIFO byte beyond the burst count: each would be made good, but costs time.
#[test]
fn guard_times_and_bursts_are_kept() {
    for guard_us in [0, 20, 250] {
        let config = ModelConfig { guard_us, vary: Some(u64::from(guard_us)), ..ModelConfig::default() };
        let model = Model::new(config, Sealed::new(100));
        let bus = I2cRegisters::new(model.i2c(), DEFAULT_ADDRESS, 400_000);
        let mut tis = Tis::new(bus, model.delay(), Config::default());
        let size = tis.transmit(SealedCommand::new(1, 100, 200).bytes(), &mut [0; 256], 10_000);
        assert!(size.is_ok(), "{size:?}");
        let counters = model.counters();
        assert_eq!((counters.early, counters.refused, counters.overruns), (0, 0, 0), "guard time {guard_us}");
    }
}

/// Bytes per command, exactly: more than these is a step back. (README of `hsm-tis`.)
#[test]
fn bytes_on_the_bus() {
    for (padding, want, bytes, minimum) in [(0, 16, 141, 123), (100, 64, 313, 279)] {
        let config = ModelConfig { wait_states: 0, burst: 64, ready_us: 0, ..ModelConfig::default() };
        let model = Model::new(config, Sealed::new(100));
        let bus = SpiRegisters::new(model.spi(), model.cs(), 10_000_000);
        let mut tis = Tis::new(bus, model.delay(), Config::default());
        tis.open().unwrap();
        let command = SealedCommand::new(1, padding, want);
        model.reset_counters();
        tis.transmit(command.bytes(), &mut [0; 256], 10_000).unwrap();
        let counters = model.counters();
        let fewest = minimum_spi_bytes(command.bytes().len() as u64, command.answer_size() as u64);
        assert_eq!((counters.bytes, fewest), (bytes, minimum));
        assert_eq!((counters.overruns, counters.commands), (0, 1));
    }
}
