//! The simulated board behaves as a board does, and reports what it lacks.

use board_api::{Beat, Board, ChipId, Condition, Keeper, Lamp, NotServing, Serving, Verdict};
use board_sim::{SimBoard, SimPart};
use embedded_hal::digital::InputPin as _;
use gw_proto::{UnixMillis, clock::FakeClock};
use std::{sync::Arc, time::Duration};

fn clock() -> Arc<FakeClock> {
    Arc::new(FakeClock::at(UnixMillis(1_000)))
}

#[test]
fn every_part_is_reported_there_or_absent_with_its_reason() {
    let (board, _world) = SimBoard::new(clock());
    let parts = Box::new(board.with_platform_tpm("/dev/tpmrm0")).open().unwrap();
    let expected = [
        "board: sim rev-a (simulated)",
        "serial: SIM-0001",
        "platform TPM: /dev/tpmrm0",
        "signing chip: absent: the simulated board was given none",
        "tamper switch: by edge",
        "status lights: power, serving, fault, tamper",
        "watchdog: simulated, 30 s",
        "sensors: processor, supply 3.3 V, fan 1",
        "recovery button: there",
    ];
    assert_eq!(parts.report(), expected);
    assert_eq!(parts.warnings(), ["board sim rev-a (simulated): treat its pins and limits as unproved"]);

    let (board, _world) = SimBoard::new(clock());
    let all = [
        SimPart::Serial,
        SimPart::Tamper,
        SimPart::Panel,
        SimPart::Watchdog,
        SimPart::Sensors,
        SimPart::Recovery,
    ];
    let bare = all.into_iter().fold(board, SimBoard::without);
    let parts = Box::new(bare).open().unwrap();
    let absent = parts.report().into_iter().filter(|l| l.contains(": absent: ")).count();
    assert_eq!(absent, 8, "{:?}", parts.report());
    let warnings = parts.warnings().join("\n");
    assert!(warnings.contains("opening the case goes unnoticed"), "{warnings}");
    assert!(warnings.contains("stays hung"), "{warnings}");
}

#[test]
fn a_signing_chip_on_any_bus_is_handed_on_with_its_pinned_id() {
    use embedded_hal::spi::{ErrorKind, ErrorType, SpiBus};
    struct Echo;
    impl ErrorType for Echo {
        type Error = ErrorKind;
    }
    impl SpiBus<u8> for Echo {
        fn read(&mut self, _: &mut [u8]) -> Result<(), ErrorKind> {
            Err(ErrorKind::Overrun)
        }
        fn write(&mut self, _: &[u8]) -> Result<(), ErrorKind> {
            Ok(())
        }
        fn transfer(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), ErrorKind> {
            read.copy_from_slice(write);
            Ok(())
        }
        fn transfer_in_place(&mut self, _: &mut [u8]) -> Result<(), ErrorKind> {
            Ok(())
        }
        fn flush(&mut self) -> Result<(), ErrorKind> {
            Ok(())
        }
    }
    struct NoPin;
    impl embedded_hal::digital::ErrorType for NoPin {
        type Error = std::convert::Infallible;
    }
    impl embedded_hal::digital::OutputPin for NoPin {
        fn set_low(&mut self) -> Result<(), Self::Error> {
            Ok(())
        }
        fn set_high(&mut self) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    struct NoDelay;
    impl embedded_hal::delay::DelayNs for NoDelay {
        fn delay_ns(&mut self, _: u32) {}
    }

    let (board, _world) = SimBoard::new(clock());
    let chip = ChipId { vendor: 0x1b4e, device: None };
    let parts = Box::new(board.with_spi(Echo, NoPin, NoDelay).with_chip(chip)).open().unwrap();
    assert!(
        parts
            .report()
            .contains(&"signing chip: SPI, chip select by GPIO, vendor 0x1b4e, no reset line".to_owned())
    );
    let board_api::HsmPort::Spi { mut bus, .. } = parts.hsm.unwrap().port else { panic!("not SPI") };
    let mut read = [0; 2];
    bus.transfer(&mut read, &[1, 2]).unwrap();
    assert_eq!(read, [1, 2]);
    let error = bus.read(&mut read).unwrap_err();
    assert_eq!(embedded_hal::spi::Error::kind(&error), ErrorKind::Overrun);

    let (board, _world) = SimBoard::new(clock());
    let parts = Box::new(board.with_spi(Echo, NoPin, NoDelay)).open().unwrap();
    assert!(parts.warnings().iter().any(|w| w.contains("an exchanged chip goes unnoticed")));
}

#[test]
fn lights_sensors_and_the_button_are_in_the_tests_hand() {
    let (board, world) = SimBoard::new(clock());
    let mut parts = Box::new(board).open().unwrap();
    let panel = parts.panel.as_mut().unwrap();
    panel.show(Condition::Starting).unwrap();
    panel.show(Condition::Starting).unwrap();
    panel.show(Condition::Tampered).unwrap();
    assert_eq!(world.lamps.changes(Lamp::Serving), [true, false]);
    assert!(world.lamps.is_lit(Lamp::Tamper) && !world.lamps.is_lit(Lamp::Serving));

    let processor = &mut parts.sensors[0];
    assert_eq!(processor.read().unwrap().verdict, Verdict::Fine);
    assert!(world.sensors.set("processor", 95_001));
    assert_eq!(processor.read().unwrap().verdict, Verdict::TooHigh);
    assert!(world.sensors.break_off("processor"));
    let error = processor.read().unwrap_err().to_string();
    assert!(error.starts_with("sensor processor: cannot read a number"), "{error}");
    assert!(!world.sensors.set("humidity", 1), "no such sensor");

    let button = parts.recovery.as_mut().unwrap();
    assert!(!button.is_high().unwrap());
    world.recovery.press(true);
    assert!(button.is_high().unwrap());
}

#[test]
fn a_gateway_that_stops_answering_is_bitten_and_one_that_waits_for_the_ledger_is_not() {
    let clock = clock();
    let (board, world) = SimBoard::new(clock.clone());
    let mut keeper = Keeper::new(Box::new(board).open().unwrap().watchdog.unwrap());
    let mut beat = |answer: Result<(), NotServing>| {
        keeper.beat(Serving::ask(&*clock).answered(answer), &*clock).unwrap()
    };
    let ledger = NotServing { reasons: vec!["ledger: stale".into()], restart_may_help: false };
    let journal = NotServing { reasons: vec!["journal: closed".into()], restart_may_help: true };

    assert_eq!(beat(Ok(())), Beat::Started);
    for _ in 0..100 {
        clock.advance(Duration::from_secs(2));
        assert_eq!(beat(Ok(())), Beat::Fed);
    }
    assert_eq!((world.dog.bites(), world.dog.pings()), (0, 101));

    // the ledger is out of reach for an hour: nothing that a reset would help
    assert!(matches!(beat(Err(ledger)), Beat::StoodDown(_)));
    clock.advance(Duration::from_secs(3600));
    assert_eq!((world.dog.bites(), world.dog.is_running()), (0, false));

    // it serves again, then its journal fails: asked every two seconds, not fed, bitten after the time-out
    assert_eq!(beat(Ok(())), Beat::Started);
    for _ in 0..14 {
        clock.advance(Duration::from_secs(2));
        assert!(matches!(beat(Err(journal.clone())), Beat::Starving(_)));
    }
    assert_eq!(world.dog.bites(), 0);
    clock.advance(Duration::from_secs(2));
    assert_eq!(world.dog.bites(), 1);
}

#[test]
fn a_hung_gateway_is_bitten() {
    let clock = clock();
    let (board, world) = SimBoard::new(clock.clone());
    let mut keeper = Keeper::new(Box::new(board).open().unwrap().watchdog.unwrap());
    keeper.beat(Serving::ask(&*clock).answered(Ok(())), &*clock).unwrap();
    let question = Serving::ask(&*clock); // readiness hangs in a lock …
    clock.advance(SimBoard::WATCHDOG_TIMEOUT - Duration::from_secs(1));
    // … and answers "fine" just before the time-out: too old to count
    keeper.beat(question.answered(Ok(())), &*clock).unwrap_err();
    clock.advance(Duration::from_secs(1));
    assert_eq!(world.dog.bites(), 1);
}
