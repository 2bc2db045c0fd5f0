//! The driver: looks at the switch, runs the response, calls the gateway's sink.

use super::{
    Action, Cause, Detector, Latch, LatchRecord, LatchStore, Response, Sample, StorageKey, TamperInput,
};
use crate::BoardError;
use gw_proto::clock::Clock;
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

/// What the gateway does when the case was opened.
pub trait TamperSink {
    /// Closes every signer; returns when no signature leaves any more. Cannot fail, must not wait for the chip.
    fn close_signer(&mut self, why: &str);
    /// Notes it in the gateway's journal, beside the latch that is already written.
    fn record(&mut self, record: &LatchRecord) -> Result<(), BoardError>;
    /// Wipes TLS keys, tickets and other session secrets.
    fn zeroize_session_keys(&mut self) -> Result<(), BoardError>;
    /// Destroys what opens the data partition. May be called twice.
    fn clear_storage_key(&mut self) -> Result<(), BoardError>;
    /// An action failed and will be tried again: log it.
    fn failed(&mut self, action: Action, error: &BoardError);
}

/// How the switch is watched, and for which box.
#[derive(Debug, Clone)]
pub struct Settings {
    /// how long a polled switch must stay open
    pub debounce: Duration,
    /// how often a polled switch is looked at; for edges, how long a stop may take
    pub poll: Duration,
    /// failed reads in a row that are forgiven
    pub max_unreadable: u32,
    /// a failed action is tried again after this
    pub retry: Duration,
    /// whether the storage key is cleared
    pub clear_storage_key: bool,
    /// board and revision, for the record
    pub board: String,
    /// serial number, for the record
    pub serial: Option<String>,
}

/// Why watching ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// told to stop; what was still pending is done at the next start
    Stopped {
        /// actions that are left
        pending: Vec<Action>,
    },
    /// the box is closed, every action is done
    Latched,
}

/// Watches until tampering or stop. Blocks: give it a thread. A message on `stop`, or its end, stops it.
///
/// A latch from before is honoured first: the signer is closed and interrupted actions are finished. Call
/// it before anything is signed, and ask [`LatchStore::load`] before opening the keystore at all.
pub fn watch(
    mut input: TamperInput,
    settings: &Settings,
    latch: &dyn LatchStore,
    sink: &mut dyn TamperSink,
    clock: &dyn Clock,
    stop: &Receiver<()>,
) -> End {
    let (response, why) = match latch.load() {
        Latch::Closed(record) => {
            let why = record.cause.as_str().to_owned();
            (Response::resume(Some(record)), why)
        }
        Latch::Unreadable(what) => {
            (Response::resume(None), format!("the tamper latch is unreadable: {what}"))
        }
        Latch::Open => {
            let Some(cause) = wait_for_cause(&mut input, settings, clock, stop) else {
                return End::Stopped { pending: Vec::new() };
            };
            // before anything that can fail or wait, even before the record is composed
            sink.close_signer(cause.as_str());
            (Response::begin(compose(cause, settings, clock)), cause.as_str().to_owned())
        }
    };
    respond(response, &why, settings, latch, sink, stop)
}

fn compose(cause: Cause, settings: &Settings, clock: &dyn Clock) -> LatchRecord {
    LatchRecord {
        cause,
        at: clock.now(),
        board: settings.board.clone(),
        serial: settings.serial.clone(),
        storage_key: if settings.clear_storage_key { StorageKey::ToClear } else { StorageKey::Kept },
        released: None,
    }
}

fn wait_for_cause(
    input: &mut TamperInput,
    settings: &Settings,
    clock: &dyn Clock,
    stop: &Receiver<()>,
) -> Option<Cause> {
    let mut detector = Detector::new(settings.debounce, settings.max_unreadable);
    // the level at start counts: a case that was opened while the power was off may still be open
    let mut sample = input.level();
    loop {
        if let Some(cause) = detector.observe(sample, clock.instant()) {
            return Some(cause);
        }
        let wait = if detector.is_pending() { settings.poll.min(settings.debounce) } else { settings.poll };
        sample = look(input, wait, stop)?;
    }
}

/// One sample after at most `wait`; `None` to stop.
fn look(input: &mut TamperInput, wait: Duration, stop: &Receiver<()>) -> Option<Sample> {
    let TamperInput::Edge(edge) = input else {
        return (!stopped_within(stop, wait)).then(|| input.level());
    };
    let seen = edge.wait_opened(wait);
    // an edge that was seen is acted upon even when told to stop
    match seen {
        Ok(true) => Some(Sample::Edge),
        // a driver that fails at once must not make this a busy loop
        Err(_) => (!stopped_within(stop, wait)).then_some(Sample::Unreadable),
        Ok(false) => (!stopped_within(stop, Duration::ZERO)).then(|| input.level()),
    }
}

fn stopped_within(stop: &Receiver<()>, wait: Duration) -> bool {
    !matches!(stop.recv_timeout(wait), Err(RecvTimeoutError::Timeout))
}

fn respond(
    mut response: Response,
    why: &str,
    settings: &Settings,
    latch: &dyn LatchStore,
    sink: &mut dyn TamperSink,
    stop: &Receiver<()>,
) -> End {
    loop {
        one_pass(&mut response, why, latch, sink);
        if response.is_complete() {
            return End::Latched;
        }
        if stopped_within(stop, settings.retry) {
            return End::Stopped { pending: response.pending().to_vec() };
        }
    }
}

/// Tries every pending action once, those that follow from another one too.
fn one_pass(response: &mut Response, why: &str, latch: &dyn LatchStore, sink: &mut dyn TamperSink) {
    let mut failed = Vec::new();
    while let Some(action) = response.pending().iter().copied().find(|a| !failed.contains(a)) {
        let done = match (action, response.record()) {
            (Action::CloseSigner, _) => {
                sink.close_signer(why);
                Ok(())
            }
            (Action::Record, Some(record)) => latch.save(record).and_then(|()| sink.record(record)),
            (Action::Record, None) => Ok(()),
            (Action::ZeroizeSessionKeys, _) => sink.zeroize_session_keys(),
            (Action::ClearStorageKey, _) => sink.clear_storage_key(),
        };
        match done {
            Ok(()) => response.finished(action),
            Err(error) => {
                sink.failed(action, &error);
                failed.push(action);
            }
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
