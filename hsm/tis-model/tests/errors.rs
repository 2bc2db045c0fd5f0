//! Every error by its name, and the operation after it works.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

use hsm_tis::{
    BusError, Cause, Config, Error, I2cRegisters, Locality, Register, RegisterBus, SpiRegisters, Step, Tis,
};
use hsm_tis_model::{
    FaultKind, FaultPlan, Model, ModelConfig, ModelCs, ModelDelay, ModelI2c, ModelSpi, Sealed, SealedCommand,
};

const BUDGET_US: u32 = 50_000;
/// `TPM_RC_CANCELED`
const CANCELED: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x09];

type SpiTis = Tis<SpiRegisters<ModelSpi, ModelCs>, ModelDelay>;
type I2cTis = Tis<I2cRegisters<ModelI2c>, ModelDelay>;

fn spi(model: &Model) -> SpiTis {
    Tis::new(SpiRegisters::new(model.spi(), model.cs(), 10_000_000), model.delay(), Config::default())
}

fn i2c(model: &Model) -> I2cTis {
    let bus = I2cRegisters::new(model.i2c(), hsm_tis::DEFAULT_ADDRESS, 400_000);
    Tis::new(bus, model.delay(), Config::default())
}

fn chip(config: ModelConfig) -> Model {
    Model::new(config, Sealed::new(500))
}

fn ask<B: RegisterBus>(tis: &mut Tis<B, ModelDelay>, number: u64) -> Result<(), Error> {
    let command = SealedCommand::new(number, 30, 100);
    let mut response = [0; 256];
    let size = tis.transmit(command.bytes(), &mut response, BUDGET_US)?;
    assert!(command.is_right(&response[..size]));
    Ok(())
}

/// One operation before the fault, one under it, one after.
fn fails_then_works<B: RegisterBus>(model: &Model, mut tis: Tis<B, ModelDelay>, plan: FaultPlan) -> Error {
    ask(&mut tis, 1).expect("works before");
    model.set_faults(plan);
    let begin = model.now_us();
    let error = ask(&mut tis, 2).expect_err("fails under the fault");
    assert!(model.now_us() - begin <= tis.deadline_us(BUDGET_US), "{error}");
    assert!(!model.is_selected());
    model.clear_faults();
    ask(&mut tis, 3).expect("works after");
    error
}

fn on_spi(plan: FaultPlan) -> Error {
    let model = chip(ModelConfig::default());
    fails_then_works(&model, spi(&model), plan)
}

fn on_i2c(plan: FaultPlan) -> Error {
    let model = chip(ModelConfig::default());
    fails_then_works(&model, i2c(&model), plan)
}

#[test]
fn wait_states_without_end() {
    let error = on_spi(FaultPlan::always(FaultKind::EndlessWait));
    assert!(matches!(error.cause, Cause::Bus(BusError::WaitStates { polled: 25_000 })), "{error:?}");
}

#[test]
fn controllers_fail() {
    let error = on_spi(FaultPlan::always(FaultKind::Controller));
    assert!(matches!(error.cause, Cause::Bus(BusError::Spi(_))), "{error:?}");
    let error = on_i2c(FaultPlan::always(FaultKind::Controller));
    assert!(matches!(error.cause, Cause::Bus(BusError::I2c(_))), "{error:?}");
}

#[test]
fn nobody_acknowledges() {
    let error = on_i2c(FaultPlan::always(FaultKind::Refuse));
    assert!(matches!(error.cause, Cause::Bus(BusError::NoAcknowledge { asked: 100.. })), "{error:?}");
}

#[test]
fn i2c_settings_are_not_taken() {
    let model = chip(ModelConfig::default());
    model.set_faults(FaultPlan::always(FaultKind::StuckMiso { bit: 0, high: false }));
    let mut tis = i2c(&model);
    let error = tis.open().unwrap_err();
    assert_eq!(error.cause, Cause::Bus(BusError::NotTaken { register: 0x40, wrote: 1, read: 0 }));
    model.set_faults(FaultPlan::always(FaultKind::StuckMiso { bit: 7, high: true }));
    let error = tis.open().unwrap_err();
    assert!(matches!(error.cause, Cause::Bus(BusError::Capability { .. })), "{error:?}");
    model.clear_faults();
    ask(&mut tis, 1).unwrap();
}

#[test]
fn no_chip() {
    let model = chip(ModelConfig::default());
    // select does not reach it
    model.set_faults(FaultPlan::always(FaultKind::StuckMosi { bit: 6, high: false }));
    let mut tis = spi(&model);
    assert_eq!(tis.open().unwrap_err().cause, Cause::NoChip { did_vid: u32::MAX });
    model.clear_faults();
    ask(&mut tis, 1).unwrap();
}

#[test]
fn another_vendor() {
    let model = chip(ModelConfig::default());
    let bus = SpiRegisters::new(model.spi(), model.cs(), 10_000_000);
    let mut tis = Tis::new(bus, model.delay(), Config { vendor: Some(0x1014), ..Config::default() });
    ask(&mut tis, 1).unwrap();
    model.exchange(0x1050, 1);
    model.reset();
    let error = ask(&mut tis, 2).unwrap_err();
    assert_eq!(
        error,
        Error { step: Step::Open, cause: Cause::WrongVendor { expected: 0x1014, found: 0x1050 } }
    );
    model.exchange(0x1014, 1);
    ask(&mut tis, 3).unwrap();
}

#[test]
fn access_never_valid() {
    let model = chip(ModelConfig::default());
    model.set_faults(FaultPlan::always(FaultKind::StuckMiso { bit: 7, high: false }));
    let mut tis = spi(&model);
    assert_eq!(tis.open().unwrap_err().cause, Cause::AccessNotValid { access: 0x01 });
    model.clear_faults();
    ask(&mut tis, 1).unwrap();
}

#[test]
fn locality_refused() {
    let model = chip(ModelConfig { locality_us: 900_000, ..ModelConfig::default() });
    let error = spi(&model).open().unwrap_err();
    let (locality, access) = (Locality::Zero, 0x83);
    assert_eq!(error, Error { step: Step::Open, cause: Cause::LocalityRefused { locality, access } });
}

#[test]
fn locality_lost_in_each_step() {
    let mut steps = Vec::new();
    for at in 0..250 {
        let model = chip(ModelConfig::default());
        let mut tis = spi(&model);
        ask(&mut tis, 1).unwrap();
        model.set_faults(FaultPlan::at(at, FaultKind::LoseLocality));
        match ask(&mut tis, 2) {
            // before the command nothing is lost: the driver asks for the locality again
            Ok(()) => {}
            Err(e) => {
                assert!(
                    matches!(e.cause, Cause::LocalityLost { locality: Locality::Zero, .. }),
                    "{at}: {e:?}"
                );
                steps.push(e.step);
            }
        }
        model.clear_faults();
        ask(&mut tis, 3).unwrap();
    }
    steps.dedup();
    assert_eq!(steps, [Step::Send, Step::Execute, Step::Receive]);
}

#[test]
fn reset_in_each_step() {
    let mut steps = Vec::new();
    for at in 0..250 {
        let model = chip(ModelConfig::default());
        let mut tis = i2c(&model);
        ask(&mut tis, 1).unwrap();
        model.set_faults(FaultPlan::at(at, FaultKind::Reset));
        steps.extend(ask(&mut tis, 2).err().map(|e| (e.step, e.may_have_run())));
        model.clear_faults();
        ask(&mut tis, 3).unwrap();
    }
    steps.dedup();
    assert_eq!(steps, [(Step::Send, false), (Step::Execute, true), (Step::Receive, true)]);
}

#[test]
fn impossible_bits() {
    // without wait states: the bit would end them early
    let model = chip(ModelConfig { wait_states: 0, ..ModelConfig::default() });
    let stuck = FaultPlan::always(FaultKind::StuckMiso { bit: 0, high: true }).sparing_payload();
    let error = fails_then_works(&model, spi(&model), stuck);
    assert!(matches!(error.cause, Cause::Garbage { register: Register::Sts, value: 0x85 }), "{error:?}");
}

#[test]
fn never_ready() {
    let error = on_spi(FaultPlan::always(FaultKind::NeverReady));
    assert_eq!(error, Error { step: Step::Ready, cause: Cause::NotReady { sts: 0x84 } });
}

#[test]
fn status_never_valid() {
    let model = chip(ModelConfig { settle_us: 300_000, ..ModelConfig::default() });
    let error = ask(&mut spi(&model), 1).unwrap_err();
    assert_eq!(error, Error { step: Step::Send, cause: Cause::StatusNotValid { sts: 0x0c } });
}

#[test]
fn no_burst() {
    let error = on_spi(FaultPlan::always(FaultKind::NoBurst));
    assert_eq!(error, Error { step: Step::Send, cause: Cause::NoBurst { sts: 0xc4 } });
}

#[test]
fn no_response() {
    let error = on_spi(FaultPlan::always(FaultKind::NeverDone));
    assert_eq!(
        error,
        Error { step: Step::Execute, cause: Cause::NoResponse { budget_us: BUDGET_US, sts: 0x84 } }
    );
    assert!(error.may_have_run());
}

/// A bus so slow that no step is late by itself.
#[test]
fn the_operation_as_a_whole() {
    let model = chip(ModelConfig { i2c_hz: 700, burst: 1, ..ModelConfig::default() });
    let bus = I2cRegisters::new(model.i2c(), hsm_tis::DEFAULT_ADDRESS, 700);
    let mut tis = Tis::new(bus, model.delay(), Config::default());
    let begin = model.now_us();
    assert_eq!(ask(&mut tis, 1).unwrap_err().cause, Cause::Deadline);
    assert!(model.now_us() - begin <= tis.deadline_us(BUDGET_US));
}

/// On a bus that is slower still, not even opening gets done.
#[test]
fn opening_as_a_whole() {
    let model = chip(ModelConfig { i2c_hz: 100, ..ModelConfig::default() });
    let bus = I2cRegisters::new(model.i2c(), hsm_tis::DEFAULT_ADDRESS, 100);
    let mut tis = Tis::new(bus, model.delay(), Config::default());
    assert_eq!(tis.open().unwrap_err(), Error { step: Step::Open, cause: Cause::Deadline });
}

fn cancelled(model: &Model, at_look: u32) -> Result<Vec<u8>, Error> {
    let mut response = vec![0; 256];
    let mut looks = 0;
    let size =
        spi(model).transmit_unless(SealedCommand::new(1, 0, 8).bytes(), &mut response, 10_000_000, || {
            looks += 1;
            looks > at_look
        })?;
    response.truncate(size);
    Ok(response)
}

#[test]
fn a_cancelled_command() {
    let slow =
        |cancel_us| Model::new(ModelConfig { cancel_us, ..ModelConfig::default() }, Sealed::new(5_000_000));
    let model = slow(Some(1_000));
    assert_eq!(cancelled(&model, 5).unwrap(), CANCELED);
    assert!(model.now_us() < 100_000);
    ask(&mut spi(&model), 2).expect_err("too slow for its budget");
    // a chip that does not listen
    let error = cancelled(&slow(None), 5).unwrap_err();
    assert_eq!(error, Error { step: Step::Execute, cause: Cause::CancelNotAnswered { sts: 0x84 } });
    // too late to stop
    let model = Model::new(ModelConfig::default(), Sealed::new(2_000));
    assert!(SealedCommand::new(1, 0, 8).is_right(&cancelled(&model, 3).unwrap()));
}

/// What a processor answers that does not keep to the header's size.
fn answered(response: &'static [u8]) -> Error {
    let model = Model::new(ModelConfig::default(), move |_: &[u8]| response.to_vec());
    spi(&model).transmit(SealedCommand::new(1, 0, 8).bytes(), &mut [0; 32], BUDGET_US).unwrap_err()
}

#[test]
fn responses_that_are_none() {
    let cause = |response| {
        let error = answered(response);
        assert_eq!(error.step, Step::Receive);
        error.cause
    };
    let header = [0x40, 1, 0, 0, 0, 10, 0, 0, 0, 0];
    assert_eq!(cause(&[0x40, 1, 0, 0, 0, 10, 0, 0, 0, 0]), Cause::ResponseHeader { header });
    let header = [0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0];
    assert_eq!(cause(&[0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0]), Cause::ResponseHeader { header });
    assert_eq!(
        cause(&[0x80, 1, 0, 0, 0, 33, 0, 0, 0, 0]),
        Cause::ResponseTooLarge { size: 33, capacity: 32 }
    );
    assert_eq!(cause(&[0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 1]), Cause::ResponseCutShort { got: 11, size: 12 });
    assert_eq!(cause(&[0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0, 1]), Cause::ResponseTooLong { size: 10 });
    assert_eq!(cause(&[0x80, 1, 0, 0, 0]), Cause::ResponseCutShort { got: 5, size: 10 });
}

/// Sizes changed on the way in: the chip wants less, or more, than there is.
#[test]
fn commands_that_arrive_changed() {
    let cause = |at, bit| {
        let model = chip(ModelConfig { wait_states: 0, ..ModelConfig::default() });
        let mut tis = spi(&model);
        ask(&mut tis, 1).unwrap();
        model.set_faults(FaultPlan::at(at, FaultKind::FlipMosi { bit }));
        let error = tis.transmit(SealedCommand::new(2, 30, 100).bytes(), &mut [0; 256], BUDGET_US).err();
        model.clear_faults();
        ask(&mut tis, 3).unwrap();
        error.map(|e| (e.step, e.cause))
    };
    let some = |bit, wanted| (0..100).any(|at| cause(at, bit) == Some((Step::Send, wanted)));
    // the size is 0x3a
    assert!(some(4, Cause::CommandCutShort { length: 58 }));
    assert!(some(6, Cause::CommandIncomplete { length: 58 }));
}

/// On I2C the checksums notice a stuck bit that neither state nor header depends on.
#[test]
fn checksums() {
    let cause = |number| {
        let model = chip(ModelConfig { burst: 64, ..ModelConfig::default() });
        let mut tis = i2c(&model);
        ask(&mut tis, 1).unwrap();
        model.set_faults(FaultPlan::always(FaultKind::StuckMiso { bit: 2, high: false }));
        // a response of 0x40 bytes, so that its size is not bent
        let command = SealedCommand::new(number, 0, 38);
        let error = tis.transmit(command.bytes(), &mut [0; 256], BUDGET_US).unwrap_err();
        model.clear_faults();
        ask(&mut tis, 3).unwrap();
        error
    };
    let (mut commands, mut responses) = (0, 0);
    for error in (0..40).map(cause) {
        match (error.step, error.cause) {
            (Step::Send, Cause::CommandChecksum { host, chip }) if host != chip => commands += 1,
            (Step::Receive, Cause::ResponseChecksum { host, chip }) if host != chip => responses += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(commands > 0 && responses > 0, "{commands} commands, {responses} responses");
}
