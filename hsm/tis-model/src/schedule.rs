//! Random fault schedules, and what the driver promises under each.
//!
//! From a seed: a bus, a chip, a fault plan and some commands. The promise:
//! - each operation ends within [`Tis::deadline_us`], in modelled time;
//! - it ends in a right response or a named error, and leaves the bus free;
//! - once the faults are over, the next operation succeeds.
//!
//! "Right" depends on what can be known at this layer ([`Promise`]). SPI has no checksum, so there bent payload
//! is recognized only by the seal of the response, as the end of an HMAC session would.

use crate::{
    Fault, FaultKind, FaultPlan, Judgement, Model, ModelConfig, ModelDelay, Rng, Sealed, SealedCommand,
};
use hsm_tis::{Config, Error, I2cRegisters, RegisterBus, SpiRegisters, Tis};
use std::{collections::BTreeMap, fmt};

/// The chip's share of an operation's deadline, µs.
const BUDGET_US: u32 = 100_000;
const OPERATIONS: u64 = 3;
const MAX_FAULTS: u64 = 4;
/// Some three operations.
const SPAN: u64 = 3_000;
const BUFFER: usize = 1024;

/// Which bus the chip hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// SPI
    Spi,
    /// I2C
    I2c,
}

/// What is promised of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// The driver alone: a response that it returns is right. Holds for any faults of chip and controller, with one
    /// fault on the wire at a time; on SPI, and for stuck bits on I2C (too many for a CRC-16 to find each), outside
    /// the payload.
    Driver,
    /// Driver and seal together: a response whose seal is good is right, with any faults anywhere.
    Sealed,
}

/// One run: all that follows from a seed.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// the seed
    pub seed: u64,
    /// the bus
    pub bus: Bus,
    /// what is promised
    pub promise: Promise,
    /// the chip
    pub config: ModelConfig,
    /// what each command takes, µs
    pub execution_us: u64,
    /// the faults
    pub plan: FaultPlan,
    /// padding of each command, bytes wanted back
    pub commands: Vec<(u16, u16)>,
}

/// What came of one run or many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// runs
    pub schedules: u64,
    /// operations under faults that ended in the right response
    pub right: u64,
    /// responses that the seal showed to be none (only [`Promise::Sealed`])
    pub rejected: u64,
    /// operations that ended in an error, by its name
    pub errors: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.right += other.right;
        self.rejected += other.rejected;
        for (name, count) in &other.errors {
            *self.errors.entry(name.clone()).or_default() += count;
        }
    }
}

/// A promise was broken.
#[derive(Debug, Clone, thiserror::Error)]
#[error("seed {}: {what}\n{schedule:#?}", schedule.seed)]
pub struct Violation {
    /// under which schedule
    pub schedule: Box<Schedule>,
    /// how
    pub what: String,
}

/// Runs `count` schedules, the first with `seed`, the next with the seed after it.
///
/// # Errors
/// The first [`Violation`].
pub fn run_many(seed: u64, count: u64) -> Result<Tally, Violation> {
    let mut all = Tally::default();
    for n in 0..count {
        all.add(&Schedule::draw(seed.wrapping_add(n)).run()?);
    }
    Ok(all)
}

impl Schedule {
    /// All that follows from a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let bus = rng.pick(&[Bus::Spi, Bus::I2c], Bus::Spi);
        let promise = rng.pick(&[Promise::Driver, Promise::Driver, Promise::Sealed], Promise::Driver);
        Self {
            seed,
            bus,
            promise,
            config: draw_config(&mut rng),
            execution_us: rng.below(5_000),
            plan: draw_plan(&mut rng, bus, promise),
            commands: (0..OPERATIONS).map(|_| (short(&mut rng, 260), short(&mut rng, 600))).collect(),
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`Violation`]
    pub fn run(&self) -> Result<Tally, Violation> {
        let model = Model::new(self.config.clone(), Sealed::new(self.execution_us));
        let (delay, config) = (model.delay(), Config::default());
        let outcome = match self.bus {
            Bus::Spi => {
                let bus = SpiRegisters::new(model.spi(), model.cs(), self.config.spi_hz);
                self.drive(&model, Tis::new(bus, delay, config))
            }
            Bus::I2c => {
                let bus = I2cRegisters::new(model.i2c(), self.config.address, self.config.i2c_hz);
                self.drive(&model, Tis::new(bus, delay, config))
            }
        };
        outcome.map_err(|what| Violation { schedule: Box::new(self.clone()), what })
    }

    fn drive<B: RegisterBus>(&self, model: &Model, mut tis: Tis<B, ModelDelay>) -> Result<Tally, String> {
        let mut tally = Tally { schedules: 1, ..Tally::default() };
        model.set_faults(self.plan.clone());
        for (number, (padding, want)) in (0..).zip(&self.commands) {
            let command = SealedCommand::new(self.seed ^ number, *padding, *want);
            self.judge(&command, operate(model, &mut tis, &command)?, &mut tally)?;
        }
        model.clear_faults();
        let command = SealedCommand::new(!self.seed, 20, 40);
        match operate(model, &mut tis, &command)? {
            Ok(response) if command.is_right(&response) => Ok(tally),
            other => Err(format!("the faults are over, but the next operation gave {other:02x?}")),
        }
    }

    fn judge(&self, command: &SealedCommand, result: Outcome, tally: &mut Tally) -> Result<(), String> {
        let response = match result {
            Ok(response) => response,
            Err(e) => {
                *tally.errors.entry(name_of(&e)).or_default() += 1;
                return Ok(());
            }
        };
        match (command.judge(&response), self.promise) {
            (Judgement::Right, _) => tally.right += 1,
            (Judgement::Rejected, Promise::Sealed) => tally.rejected += 1,
            (judgement, promise) => {
                return Err(format!("a response is {judgement:?} against {promise:?}: {response:02x?}"));
            }
        }
        Ok(())
    }
}

type Outcome = Result<Vec<u8>, Error>;

/// One operation; checks deadline and bus.
fn operate<B: RegisterBus>(
    model: &Model,
    tis: &mut Tis<B, ModelDelay>,
    command: &SealedCommand,
) -> Result<Outcome, String> {
    let mut buffer = vec![0; BUFFER];
    let begin = model.now_us();
    let result = tis.transmit(command.bytes(), &mut buffer, BUDGET_US);
    let (took, deadline) = (model.now_us() - begin, tis.deadline_us(BUDGET_US));
    if took > deadline {
        return Err(format!("{result:?} took {took} µs, more than {deadline}"));
    }
    if model.is_selected() {
        return Err(format!("{result:?}, and the chip is still selected"));
    }
    Ok(result.map(|size| {
        buffer.truncate(size);
        buffer
    }))
}

/// Step and cause without their values: `Send: Bus WaitStates`.
fn name_of(e: &Error) -> String {
    let cause = format!("{:?}", e.cause).replace('(', " ");
    let name = cause.split(" {").next().unwrap_or_default();
    format!("{:?}: {}", e.step, name.trim_end_matches(')'))
}

fn draw_config(rng: &mut Rng) -> ModelConfig {
    ModelConfig {
        localities: rng.pick(&[1, 5], 5),
        wait_states: rng.pick(&[0, 0, 1, 2, 9], 0),
        burst: u8::try_from(1 + rng.below(64)).unwrap_or(64),
        vary: rng.one_in(2).then(|| rng.next()),
        locality_us: rng.below(1_000),
        ready_us: rng.below(2_000),
        settle_us: rng.pick(&[0, 0, 5, 150], 0),
        reset_us: rng.below(20_000),
        cancel_us: rng.one_in(2).then_some(500),
        guard_us: rng.pick(&[0, 10, 250], 0),
        spi_hz: rng.pick(&[1_000_000, 10_000_000, 24_000_000], 1_000_000),
        i2c_hz: rng.pick(&[100_000, 400_000, 1_000_000], 100_000),
        idle: rng.pick(&[0x00, 0xff], 0xff),
        ..ModelConfig::default()
    }
}

fn draw_plan(rng: &mut Rng, bus: Bus, promise: Promise) -> FaultPlan {
    let mut faults: Vec<Fault> = (0..rng.below(MAX_FAULTS + 1)).map(|_| draw_fault(rng)).collect();
    if promise == Promise::Sealed {
        return FaultPlan::new(faults);
    }
    let mut on_wire = 0;
    faults.retain(|f| {
        on_wire += u32::from(f.kind.is_on_wire());
        !f.kind.is_on_wire() || on_wire == 1
    });
    let stuck = |f: &Fault| matches!(f.kind, FaultKind::StuckMiso { .. } | FaultKind::StuckMosi { .. });
    let spare = bus == Bus::Spi || faults.iter().any(stuck);
    let plan = FaultPlan::new(faults);
    if spare { plan.sparing_payload() } else { plan }
}

fn draw_fault(rng: &mut Rng) -> Fault {
    let (bit, high) = (rng.byte() & 7, rng.one_in(2));
    let kinds = [
        FaultKind::StuckMiso { bit, high },
        FaultKind::StuckMosi { bit, high },
        FaultKind::FlipMiso { bit },
        FaultKind::FlipMiso { bit },
        FaultKind::FlipMosi { bit },
        FaultKind::FlipMosi { bit },
        FaultKind::Glitch,
        FaultKind::Short,
        FaultKind::Controller,
        FaultKind::Refuse,
        FaultKind::EndlessWait,
        FaultKind::LoseLocality,
        FaultKind::Reset,
        FaultKind::NeverReady,
        FaultKind::NeverDone,
        FaultKind::NoBurst,
        FaultKind::StatusInvalid,
    ];
    let from = rng.below(SPAN);
    let until = if rng.one_in(4) { u64::MAX } else { from + 1 + rng.below(SPAN) };
    Fault { from, until, kind: rng.pick(&kinds, FaultKind::Reset) }
}

/// Often small, sometimes up to `most`.
fn short(rng: &mut Rng, most: u16) -> u16 {
    let bound = if rng.one_in(2) { 20 } else { u64::from(most) };
    u16::try_from(rng.below(bound)).unwrap_or(0)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: u64 = self.errors.values().sum();
        writeln!(
            f,
            "{} schedules: {} right responses, {} rejected by their seal, {failed} errors",
            self.schedules, self.right, self.rejected
        )?;
        self.errors.iter().try_for_each(|(name, count)| writeln!(f, "{count:>9}  {name}"))
    }
}
