//! The case was opened: no signature leaves, it is recorded, the program ends with its keys.

use super::storage_key;
use crate::{app::App, commands::Exit};
use board_api::{
    BoardError,
    tamper::{Action, LatchRecord, Settings, TamperInput, TamperSink},
};
use std::{
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often a switch that reports edges is asked whether to stop, and how long a failed action waits.
const RETRY: Duration = Duration::from_secs(1);
/// Failed reads in a row that are forgiven: some hundred milliseconds of a bad contact.
const MAX_UNREADABLE: u32 = 5;
/// How long the journal may take: the latch is already on disk.
const JOURNAL: Duration = Duration::from_secs(2);

/// What watching needs.
pub struct Watch {
    /// the switch
    pub input: TamperInput,
    /// debounce and poll interval
    pub timing: (Duration, Duration),
    /// board and revision
    pub board: String,
    /// serial number
    pub serial: Option<String>,
}

/// Stops watching when dropped.
pub struct Watching {
    _stop: SyncSender<()>,
}

/// Watches on a thread of its own. `opened` is cancelled once the keys are to be dropped.
pub fn start(app: &Arc<App>, watch: Watch, opened: CancellationToken) -> std::io::Result<Watching> {
    let (stop, stopped) = sync_channel(1);
    let runtime = tokio::runtime::Handle::current();
    let app = Arc::clone(app);
    let clears = app.config.clear_storage_key.as_deref().map(storage_key::Request::at);
    let clear_storage_key = clears.is_some();
    let mut sink = Sink { app: Arc::clone(&app), runtime, opened: opened.clone(), clears };
    let (debounce, poll) = watch.timing;
    let settings = Settings {
        debounce,
        poll,
        max_unreadable: MAX_UNREADABLE,
        retry: RETRY,
        clear_storage_key,
        board: watch.board,
        serial: watch.serial,
    };
    let latch = super::latch(&app.config.node.data_dir);
    let fail_closed = EndIfPanicking(opened);
    std::thread::Builder::new().name("tamper".into()).spawn(move || {
        let _guard = fail_closed;
        let end = board_api::tamper::watch(watch.input, &settings, &latch, &mut sink, &*app.clock, &stopped);
        tracing::info!(end = ?end, "the tamper switch is not watched any more");
    })?;
    Ok(Watching { _stop: stop })
}

/// Nobody watches the switch any more: the program ends, as if the case had been opened.
struct EndIfPanicking(CancellationToken);

impl Drop for EndIfPanicking {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

/// How the program ends after it.
pub const EXIT: Exit = Exit::Tampered;

struct Sink {
    app: Arc<App>,
    runtime: tokio::runtime::Handle,
    opened: CancellationToken,
    clears: Option<storage_key::Request>,
}

impl TamperSink for Sink {
    fn close_signer(&mut self, why: &str) {
        self.app.gate.close(why);
        self.app.signer.close(why);
        tracing::error!(why, "TAMPER: the signer is closed");
    }

    fn record(&mut self, record: &LatchRecord) -> Result<(), BoardError> {
        let failed = |what: String| BoardError::Part {
            part: "journal".into(),
            operation: "record the tampering",
            what,
        };
        let data = serde_json::to_value(record).map_err(|e| failed(e.to_string()))?;
        // a timer is made inside the runtime, which this thread is not part of
        let note = async { tokio::time::timeout(JOURNAL, self.app.journal_note("tamper", data)).await };
        let done = self.runtime.block_on(note).map_err(|_| failed("no answer in time".into()))?;
        done.map_err(|e| failed(e.detail))
    }

    /// The program ends without draining: its TLS keys, tickets and connections go with it, answers in flight too.
    fn zeroize_session_keys(&mut self) -> Result<(), BoardError> {
        // the program may be gone before the next action: the request is placed now, and waited for then
        if let Some(Err(e)) = self.clears.as_ref().map(storage_key::Request::place) {
            self.failed(Action::ClearStorageKey, &e);
        }
        self.opened.cancel();
        Ok(())
    }

    fn clear_storage_key(&mut self) -> Result<(), BoardError> {
        self.clears.as_ref().map_or(Ok(()), storage_key::Request::carry_out)
    }

    fn failed(&mut self, action: Action, error: &BoardError) {
        tracing::error!(action = action.as_str(), error = %error, "tamper response: tried again");
    }
}
