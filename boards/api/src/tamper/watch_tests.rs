//! The response under failures, restarts and a stop.

use super::*;
use crate::{hal::DynInput, tamper::FileLatch};
use embedded_hal_mock::eh1::digital::{Mock, State, Transaction};
use gw_proto::{UnixMillis, clock::FakeClock};
use proptest::prelude::*;
use std::{cell::RefCell, sync::mpsc::sync_channel};

/// Notes each call; each entry of `fails` makes that action fail once.
#[derive(Default)]
struct FakeSink {
    calls: Vec<String>,
    fails: Vec<Action>,
}

impl FakeSink {
    fn call(&mut self, action: Action, note: &str) -> Result<(), BoardError> {
        self.calls.push(format!("{}{note}", action.as_str()));
        match self.fails.iter().position(|a| *a == action) {
            Some(i) => {
                self.fails.remove(i);
                Err(BoardError::Tamper { action: action.as_str(), what: "made to fail".into() })
            }
            None => Ok(()),
        }
    }
}

impl TamperSink for FakeSink {
    fn close_signer(&mut self, _: &str) {
        self.calls.push("close the signer".into());
    }
    fn record(&mut self, record: &LatchRecord) -> Result<(), BoardError> {
        self.call(Action::Record, &format!(" ({:?})", record.storage_key))
    }
    fn zeroize_session_keys(&mut self) -> Result<(), BoardError> {
        self.call(Action::ZeroizeSessionKeys, "")
    }
    fn clear_storage_key(&mut self) -> Result<(), BoardError> {
        self.call(Action::ClearStorageKey, "")
    }
    fn failed(&mut self, action: Action, _: &BoardError) {
        self.calls.push(format!("failed: {}", action.as_str()));
    }
}

fn settings() -> Settings {
    Settings {
        debounce: Duration::ZERO,
        poll: Duration::from_millis(1),
        max_unreadable: 2,
        retry: Duration::from_millis(1),
        clear_storage_key: true,
        board: "sim rev-a".into(),
        serial: None,
    }
}

fn open_case() -> TamperInput {
    TamperInput::Polled(DynInput::new(Always(true)))
}

struct Always(bool);
impl embedded_hal::digital::ErrorType for Always {
    type Error = std::convert::Infallible;
}
impl embedded_hal::digital::InputPin for Always {
    fn is_high(&mut self) -> Result<bool, Self::Error> {
        Ok(self.0)
    }
    fn is_low(&mut self) -> Result<bool, Self::Error> {
        Ok(!self.0)
    }
}

fn clock() -> FakeClock {
    FakeClock::at(UnixMillis(5_000))
}

#[test]
fn actions_come_in_order_and_the_latch_stays() {
    let dir = tempfile::tempdir().unwrap();
    let latch = FileLatch::at(dir.path().join("t"));
    let (_keep, stop) = sync_channel(1);
    let mut sink = FakeSink::default();
    assert_eq!(watch(open_case(), &settings(), &latch, &mut sink, &clock(), &stop), End::Latched);
    let expected = [
        "close the signer", // at the edge
        "close the signer", // as the first action
        "write the record (ToClear)",
        "zeroize session keys",
        "clear the storage key",
        "write the record (Cleared)",
    ];
    assert_eq!(sink.calls, expected);
    let Latch::Closed(record) = latch.load() else { panic!("not latched") };
    assert_eq!((record.cause, record.at), (Cause::CaseOpened, UnixMillis(5_000)));

    // a restart with the case closed again: closed before anything, nothing is cleared twice
    let mut sink = FakeSink::default();
    let input = TamperInput::Polled(DynInput::new(Always(false)));
    assert_eq!(watch(input, &settings(), &latch, &mut sink, &clock(), &stop), End::Latched);
    assert_eq!(sink.calls, ["close the signer", "write the record (Cleared)", "zeroize session keys"]);
}

#[test]
fn a_full_disk_does_not_hold_up_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let latch = FileLatch::at(dir.path().join("missing/t")); // cannot be written
    let (keep, stop) = sync_channel(1);
    drop(keep); // told to stop after the first pass
    let mut sink = FakeSink::default();
    let end = watch(open_case(), &settings(), &latch, &mut sink, &clock(), &stop);
    assert_eq!(end, End::Stopped { pending: vec![Action::Record] });
    let expected = [
        "close the signer",
        "close the signer",
        "failed: write the record",
        "zeroize session keys",
        "clear the storage key",
    ];
    assert_eq!(sink.calls, expected);
}

#[test]
fn an_unreadable_latch_closes_and_keeps_the_storage_key() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t"), "?").unwrap();
    let latch = FileLatch::at(dir.path().join("t"));
    let (_keep, stop) = sync_channel(1);
    let mut sink = FakeSink::default();
    let input = TamperInput::Polled(DynInput::new(Always(false)));
    assert_eq!(watch(input, &settings(), &latch, &mut sink, &clock(), &stop), End::Latched);
    assert_eq!(sink.calls, ["close the signer", "zeroize session keys"]);
}

#[test]
fn a_switch_that_cannot_be_read_is_forgiven_twice() {
    let broken = embedded_hal_mock::eh1::MockError::Io(std::io::ErrorKind::NotConnected);
    let reads: Vec<_> = (0..3).map(|_| Transaction::get(State::High).with_error(broken.clone())).collect();
    let mut pin = Mock::new(&reads);
    let dir = tempfile::tempdir().unwrap();
    let latch = FileLatch::at(dir.path().join("t"));
    let (_keep, stop) = sync_channel(1);
    let mut sink = FakeSink::default();
    let input = TamperInput::Polled(DynInput::new(pin.clone()));
    assert_eq!(watch(input, &settings(), &latch, &mut sink, &clock(), &stop), End::Latched);
    pin.done();
    let Latch::Closed(record) = latch.load() else { panic!("not latched") };
    assert_eq!(record.cause, Cause::SwitchLost);
}

#[test]
fn a_closed_case_is_watched_until_told_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let latch = FileLatch::at(dir.path().join("t"));
    let (keep, stop) = sync_channel(1);
    keep.send(()).unwrap();
    let mut sink = FakeSink::default();
    let input = TamperInput::Polled(DynInput::new(Always(false)));
    let end = watch(input, &settings(), &latch, &mut sink, &clock(), &stop);
    assert_eq!(end, End::Stopped { pending: vec![] });
    assert!(sink.calls.is_empty() && latch.load() == Latch::Open);
}

/// A latch that loses power at the n-th write: that write and all later ones never happened.
struct CutLatch {
    kept: RefCell<Option<LatchRecord>>,
    writes_left: RefCell<u32>,
}
impl LatchStore for CutLatch {
    fn load(&self) -> Latch {
        self.kept.borrow().clone().map_or(Latch::Open, Latch::Closed)
    }
    fn save(&self, record: &LatchRecord) -> Result<(), BoardError> {
        if *self.writes_left.borrow() == 0 {
            return Err(BoardError::Tamper { action: "write the record", what: "no power".into() });
        }
        *self.writes_left.borrow_mut() -= 1;
        *self.kept.borrow_mut() = Some(record.clone());
        Ok(())
    }
    fn release(&self, _: &str, _: UnixMillis) -> Result<(), BoardError> {
        unreachable!("nobody releases here")
    }
}

proptest! {
    // whatever fails and wherever power is cut: the signer is closed first, and after the last start everything is done
    #[test]
    fn failures_and_power_cuts_leave_nothing_undone(
        fails in prop::collection::vec(0usize..3, 0..8), cut_after in 0u32..3, clear in any::<bool>()
    ) {
        let kinds = [Action::Record, Action::ZeroizeSessionKeys, Action::ClearStorageKey];
        let mut first = FakeSink { fails: fails.iter().map(|i| kinds[*i]).collect(), ..FakeSink::default() };
        let settings = Settings { clear_storage_key: clear, ..settings() };
        let latch = CutLatch { kept: RefCell::new(None), writes_left: RefCell::new(cut_after) };
        let mut response = Response::begin(compose(Cause::CaseOpened, &settings, &clock()));
        one_pass(&mut response, "test", &latch, &mut first);
        prop_assert_eq!(&first.calls[0], "close the signer");

        // power comes back, the case is still open, nothing fails any more
        *latch.writes_left.borrow_mut() = u32::MAX;
        let (_keep, stop) = sync_channel(1);
        let mut second = FakeSink::default();
        let end = watch(open_case(), &settings, &latch, &mut second, &clock(), &stop);
        prop_assert_eq!(end, End::Latched);
        prop_assert_eq!(&second.calls[0], "close the signer");
        let Latch::Closed(record) = latch.load() else { return Err(TestCaseError::fail("not latched")) };
        let expected = if clear { StorageKey::Cleared } else { StorageKey::Kept };
        prop_assert_eq!(record.storage_key, expected);
        let cleared = |s: &FakeSink| s.calls.iter().any(|c| c == "clear the storage key");
        prop_assert_eq!(cleared(&first) || cleared(&second), clear);
    }
}
