//! Readiness → watchdog, lights, sensors. One thread for the hardware; the question comes from the runtime.
//!
//! A runtime that hangs asks no more, so nothing is fed and the watchdog bites. A gateway that is not ready for a
//! cause outside (ledger, drain) stands the watchdog down; one that is not for a cause inside starves it.

use crate::{app::App, readiness};
use board_api::{Beat, Condition, Keeper, NotServing, Panel, Sensor, Serving, Verdict, Watchdog};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often readiness is asked: a light's blink, and far below any watchdog's time.
const EVERY: Duration = Duration::from_millis(500);
/// Sensors are slow and change slowly: every twentieth beat.
const SENSORS_EVERY: u32 = 20;

/// What the hardware thread drives.
#[derive(Default)]
pub struct Hardware {
    /// fed by proofs
    pub watchdog: Option<Watchdog>,
    /// lights
    pub panel: Option<Panel>,
    /// temperatures, voltages, fans
    pub sensors: Vec<Sensor>,
}

type Answer = Result<Serving, NotServing>;

/// Starts the hardware's thread and asks readiness until stopped.
pub async fn run(app: Arc<App>, hardware: Hardware, stop: CancellationToken) {
    // one place: if the thread is slow, an answer is dropped rather than believed later
    let (answers, inbox) = sync_channel::<Answer>(1);
    let driven = Arc::clone(&app);
    let thread = std::thread::Builder::new().name("board".into());
    if let Err(e) = thread.spawn(move || drive(&driven, hardware, &inbox)) {
        tracing::error!(error = %e, "no thread for the board: watchdog, lights and sensors are dead");
        return;
    }
    ask_until(&app, &answers, &stop).await;
}

async fn ask_until(app: &Arc<App>, answers: &SyncSender<Answer>, stop: &CancellationToken) {
    loop {
        let question = Serving::ask(&*app.clock);
        let answer = question.answered(readiness::check(app).serving());
        if let Err(TrySendError::Disconnected(_)) = answers.try_send(answer) {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn drive(app: &App, hardware: Hardware, inbox: &Receiver<Answer>) {
    let Hardware { watchdog, mut panel, mut sensors } = hardware;
    let mut keeper = watchdog.map(Keeper::new);
    let mut beats = 0u32;
    let mut hot = false;
    while let Ok(answer) = inbox.recv() {
        if beats.is_multiple_of(SENSORS_EVERY) {
            hot = read_all(&mut sensors);
        }
        beats = beats.wrapping_add(1);
        let shown = condition(&answer, hot);
        if let Some(keeper) = &mut keeper {
            beat(keeper, answer, app);
        }
        if let Some(panel) = &mut panel
            && let Err(e) = panel.show(shown)
        {
            tracing::warn!(error = %e, "a light does not follow");
        }
    }
}

fn condition(answer: &Answer, hot: bool) -> Condition {
    match answer {
        Ok(_) if hot => Condition::Fault,
        Ok(_) => Condition::Serving,
        Err(why) if why.restart_may_help || hot => Condition::Fault,
        Err(_) => Condition::Waiting,
    }
}

fn beat(keeper: &mut Keeper, answer: Answer, app: &App) {
    match keeper.beat(answer, &*app.clock) {
        Ok(Beat::Started) => tracing::info!("the watchdog counts from now on"),
        Ok(Beat::StoodDown(why)) => {
            tracing::warn!(reasons = ?why.reasons, "not serving for a cause outside: the watchdog is stopped")
        }
        Ok(Beat::Starving(why)) => {
            tracing::error!(reasons = ?why.reasons, "not serving for a cause inside: the watchdog is not fed")
        }
        Ok(Beat::Fed | Beat::Idle(_)) => {}
        Err(e) => tracing::error!(error = %e, "the watchdog does not answer"),
    }
}

/// Reads all; true if one is out of its limits or silent.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; milli-units stay far below 2^52")]
fn read_all(sensors: &mut [Sensor]) -> bool {
    let mut out = false;
    for sensor in sensors {
        let name = sensor.name().to_owned();
        match sensor.read() {
            Ok(reading) => {
                metrics::gauge!("xinguan_board_sensor", "name" => name.clone()).set(reading.value as f64);
                if reading.verdict != Verdict::Fine {
                    out = true;
                    tracing::warn!(sensor = name, value = reading.value, verdict = ?reading.verdict, "out of its limits");
                }
            }
            Err(e) => {
                out = true;
                tracing::warn!(sensor = name, error = %e, "cannot be read");
            }
        }
    }
    out
}
