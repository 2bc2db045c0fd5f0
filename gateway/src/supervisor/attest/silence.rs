//! No evidence within the interval is a verdict of its own.
//!
//! Counted from this start at the earliest: a verifier that was away has heard nobody, and blames nobody for it.

use super::{Verifier, appraise, enrol::Device, history::Latest};
use crate::{app::App, supervisor::store::StoreError};
use gw_attest::{CheckName, Verdict, decide_silence};
use gw_proto::UnixMillis;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Looks at least this often.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Runs until cancelled; ends at once where nobody verifies.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let Some(verifier) = &app.verifier else { return };
    let started = app.clock.now();
    let every = LOOK_EVERY.min(Duration::from_millis(verifier.policy.get().interval_ms) / 2);
    loop {
        let work = Arc::clone(&app);
        // a database: off the runtime's threads
        match tokio::task::spawn_blocking(move || sweep(&work, started)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!(error = %e, "silence could not be looked for"),
            Err(e) => tracing::error!(error = %e, "the look for silence ended"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

fn sweep(app: &App, started: UnixMillis) -> Result<(), StoreError> {
    let (Some(verifier), Some(store)) = (&app.verifier, &app.supervisor) else { return Ok(()) };
    for (device, latest) in store.fleet()? {
        // what came before it was decommissioned and enrolled again does not count
        let heard = latest.as_ref().and_then(|l| l.last_evidence).unwrap_or(device.at);
        let last = heard.max(device.at).max(started);
        if let Some(verdict) = fell_silent(verifier, &device, last, latest.as_ref(), app.clock.now()) {
            store.keep_verdict(&verdict, None)?;
            verifier.announcements.note(&verdict.device);
            appraise::report(&verdict);
        }
    }
    Ok(())
}

/// The verdict, once for each silence.
fn fell_silent(
    verifier: &Verifier,
    device: &Device,
    last: UnixMillis,
    newest: Option<&Latest>,
    now: UnixMillis,
) -> Option<Verdict> {
    let said = newest.is_some_and(|l| l.failed.iter().any(|c| c.name == CheckName::Silence));
    if said {
        return None;
    }
    decide_silence(&device.enrolled.device, last, &verifier.policy, now)
}
