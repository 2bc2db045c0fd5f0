//! The case is opened under load: no signature leaves, and the box stays closed over a restart.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "helpers of tests may fail the test"
)]

use board_api::{
    Board, BoardError,
    tamper::{
        Action, Cause, End, FileLatch, Latch, LatchRecord, LatchStore, Settings, StorageKey, TamperSink,
        watch,
    },
};
use board_sim::SimBoard;
use gw_proto::{Hex, PublicKey, Scheme, Signature, UnixMillis, clock::FakeClock};
use hsm_api::{Gate, HsmError, Signer};
use std::{
    sync::{
        Arc, Barrier, Condvar, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn settings() -> Settings {
    Settings {
        debounce: Duration::from_millis(5),
        poll: Duration::from_millis(5),
        max_unreadable: 3,
        retry: Duration::from_millis(5),
        clear_storage_key: true,
        board: "sim rev-a".into(),
        serial: Some("SIM-0001".into()),
    }
}

/// What happened, in one order for all threads.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    /// the chip finished a signature
    Made(u64),
    /// a caller got it
    Left(u64),
    /// the gate is closed
    Closed,
}
type Log = Arc<Mutex<Vec<Event>>>;

/// How many callers are inside the chip, how many signatures it has made.
#[derive(Default)]
struct Flow {
    inside: usize,
    made: u64,
}

/// A chip that numbers its signatures and makes one per token of the test.
struct SlowChip {
    key: PublicKey,
    log: Log,
    flow: Arc<(Mutex<Flow>, Condvar)>,
    pace: Mutex<Receiver<()>>,
}

impl Signer for SlowChip {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }
    fn sign_digest(&self, _: &[u8; 32]) -> Result<Signature, HsmError> {
        let (flow, changed) = &*self.flow;
        flow.lock().unwrap().inside += 1;
        changed.notify_all();
        // when the test has no more tokens to give, the rest runs free
        let _ = self.pace.lock().unwrap().recv_timeout(DEADLINE);
        let mut flow = flow.lock().unwrap();
        (flow.inside, flow.made) = (flow.inside - 1, flow.made + 1);
        let number = flow.made;
        self.log.lock().unwrap().push(Event::Made(number));
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Ok(Hex(bytes))
    }
}

/// What a gateway's sink does, with notes.
struct Sink {
    gate: Arc<Gate>,
    log: Log,
    done: SyncSender<Action>,
}

impl TamperSink for Sink {
    fn close_signer(&mut self, why: &str) {
        if self.gate.closed().is_none() {
            self.gate.close(why);
            self.log.lock().unwrap().push(Event::Closed);
        }
    }
    fn record(&mut self, _: &LatchRecord) -> Result<(), BoardError> {
        self.done.send(Action::Record).unwrap();
        Ok(())
    }
    fn zeroize_session_keys(&mut self) -> Result<(), BoardError> {
        self.done.send(Action::ZeroizeSessionKeys).unwrap();
        Ok(())
    }
    fn clear_storage_key(&mut self) -> Result<(), BoardError> {
        self.done.send(Action::ClearStorageKey).unwrap();
        Ok(())
    }
    fn failed(&mut self, action: Action, error: &BoardError) {
        panic!("{action:?}: {error}");
    }
}

/// Signs until the gate refuses.
fn sign_on(signer: &dyn Signer, log: &Log, started: &Barrier) -> u64 {
    started.wait();
    loop {
        match signer.sign_digest(&[0; 32]) {
            Ok(signature) => {
                let number = u64::from_be_bytes(signature.0[..8].try_into().unwrap());
                log.lock().unwrap().push(Event::Left(number));
            }
            Err(HsmError::Closed(why)) => {
                assert_eq!(why, "the case was opened");
                return 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Eight threads sign; the case opens; every one of them is refused, and what the chip made after the gate
/// closed has not left.
fn under_load(polled: bool) {
    const THREADS: usize = 8;
    const BEFORE: u64 = 160;
    let clock = Arc::new(FakeClock::at(UnixMillis(7_000)));
    let (board, world) = SimBoard::new(clock.clone());
    let board = if polled { board.with_polled_tamper() } else { board };
    let input = Box::new(board).open().unwrap().tamper.unwrap();

    let (log, gate): (Log, _) = (Log::default(), Gate::open());
    let (tokens, pace) = sync_channel(256);
    let flow: Arc<(Mutex<Flow>, Condvar)> = Arc::default();
    let chip = SlowChip {
        key: PublicKey { scheme: Scheme::Sm2Sm3, point: Hex([1; 64]) },
        log: log.clone(),
        flow: flow.clone(),
        pace: Mutex::new(pace),
    };
    let signer = Arc::new(gate.guard(Arc::new(chip)));
    let started = Arc::new(Barrier::new(THREADS + 1));
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (signer, log, started) = (signer.clone(), log.clone(), started.clone());
            thread::spawn(move || sign_on(&*signer, &log, &started))
        })
        .collect();

    let dir = tempfile::tempdir().unwrap();
    let latch = FileLatch::at(dir.path().join("tamper.json"));
    let (done, actions) = sync_channel(16);
    let (stop, stopped) = sync_channel::<()>(1);
    let watcher = {
        let mut sink = Sink { gate: gate.clone(), log: log.clone(), done };
        let (latch, clock) = (latch.clone(), clock.clone());
        thread::spawn(move || {
            // the clock stands still: a polled switch is not debounced by waiting here
            let settings = Settings { debounce: Duration::ZERO, ..settings() };
            watch(input, &settings, &latch, &mut sink, &*clock, &stopped)
        })
    };

    started.wait();
    (0..BEFORE).for_each(|_| tokens.send(()).unwrap());
    // the case opens while the chip works for every one of them
    let busy = |f: &mut Flow| f.made < BEFORE || f.inside < THREADS;
    let waited = flow.1.wait_timeout_while(flow.0.lock().unwrap(), DEADLINE, busy).unwrap().1;
    assert!(!waited.timed_out(), "the load was never there");
    world.case.open();
    world.case.close(); // shut again at once: an edge is an edge; a polled switch may have missed it
    if polled {
        world.case.open();
    }
    assert_eq!(actions.recv_timeout(DEADLINE), Ok(Action::Record));
    drop(tokens); // signatures in flight finish now, after the gate has closed
    let refused: u64 = workers.into_iter().map(|w| w.join().unwrap()).sum();
    assert_eq!(refused, 8, "every thread was refused");
    assert_eq!(watcher.join().unwrap(), End::Latched);
    drop(stop);

    let log = log.lock().unwrap();
    let closed = log.iter().position(|e| *e == Event::Closed).expect("the gate was closed");
    let left = log.iter().filter(|e| matches!(e, Event::Left(_))).count();
    assert_eq!(left, 160, "all that were made before the edge, and no other");
    let late = log[closed..].iter().filter(|e| matches!(e, Event::Made(_))).count();
    assert_eq!(late, THREADS, "those in flight were made after the edge, and dropped");
    let rest: Vec<_> = actions.iter().collect();
    assert_eq!(rest, [Action::ZeroizeSessionKeys, Action::ClearStorageKey, Action::Record]);
    let Latch::Closed(record) = latch.load() else { panic!("not latched") };
    assert_eq!((record.cause, record.storage_key), (Cause::CaseOpened, StorageKey::Cleared));
    assert_eq!((record.at, record.serial.as_deref()), (UnixMillis(7_000), Some("SIM-0001")));
}

#[test]
fn no_signature_leaves_after_the_edge() {
    under_load(false);
}

#[test]
fn no_signature_leaves_after_a_polled_switch_opened() {
    under_load(true);
}

/// Notes what it is asked to do.
#[derive(Default)]
struct Notes(Vec<&'static str>, Option<String>);
impl TamperSink for Notes {
    fn close_signer(&mut self, why: &str) {
        self.1 = Some(why.to_owned());
    }
    fn record(&mut self, _: &LatchRecord) -> Result<(), BoardError> {
        self.0.push("record");
        Ok(())
    }
    fn zeroize_session_keys(&mut self) -> Result<(), BoardError> {
        self.0.push("zeroize");
        Ok(())
    }
    fn clear_storage_key(&mut self) -> Result<(), BoardError> {
        self.0.push("clear");
        Ok(())
    }
    fn failed(&mut self, _: Action, _: &BoardError) {}
}

#[test]
fn a_restart_stays_closed_until_an_operator_releases_it_with_the_case_shut() {
    let dir = tempfile::tempdir().unwrap();
    let latch = FileLatch::at(dir.path().join("tamper.json"));
    let clock = Arc::new(FakeClock::at(UnixMillis(7_000)));
    let settings = Settings { debounce: Duration::ZERO, clear_storage_key: false, ..settings() };
    let start = |open_at_start: bool| {
        let (board, world) = SimBoard::new(clock.clone());
        if open_at_start {
            world.case.open();
        }
        let input = Box::new(board).open().unwrap().tamper.unwrap();
        let (stop, stopped) = sync_channel(1);
        stop.send(()).unwrap(); // look once, then stop
        let mut sink = Notes::default();
        let end = watch(input, &settings, &latch, &mut sink, &*clock, &stopped);
        (end, sink.1)
    };
    let opened = Some("the case was opened".to_owned());
    assert_eq!(start(false), (End::Stopped { pending: vec![] }, None));
    assert_eq!(start(true), (End::Latched, opened.clone()), "opened while the power was off, still open");
    assert_eq!(start(false), (End::Latched, opened.clone()), "shut again: no way out");
    latch.release("operator-7", UnixMillis(8_000)).unwrap();
    assert_eq!(start(true), (End::Latched, opened), "released with the case still open");
    latch.release("operator-7", UnixMillis(9_000)).unwrap();
    assert_eq!(start(false), (End::Stopped { pending: vec![] }, None));
}

#[test]
fn a_cut_wire_is_an_opened_case() {
    for polled in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let latch = FileLatch::at(dir.path().join("tamper.json"));
        let clock = Arc::new(FakeClock::at(UnixMillis(7_000)));
        let (board, world) = SimBoard::new(clock.clone());
        let board = if polled { board.with_polled_tamper() } else { board };
        let input = Box::new(board).open().unwrap().tamper.unwrap();
        world.case.cut_wire();
        let (_stop, stopped) = sync_channel(1);
        let mut sink = Notes::default();
        assert_eq!(watch(input, &settings(), &latch, &mut sink, &*clock, &stopped), End::Latched);
        assert_eq!(sink.1.as_deref(), Some("the tamper switch cannot be read"));
    }
}
