//! What is done now and then: the height floor noted, idle limiter keys and old snapshots forgotten.

use crate::app::App;
use gw_journal::{Entry, SeenHeight};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(30);

/// Runs until cancelled.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut noted = app.journal.highest_seen_height();
    loop {
        let cursor = app.state.cursor();
        if noted.is_none_or(|n| cursor.height > n) {
            // never serve below this height again, not even after the state was lost
            let seen = SeenHeight { at: app.clock.now(), height: cursor.height, hash: cursor.hash, time: cursor.time };
            match app.journal.append(Entry::SeenHeight(seen)).await {
                Ok(_) => noted = Some(cursor.height),
                Err(e) => tracing::error!(error = %e, "the height could not be noted in the journal"),
            }
        }
        app.limits.sweep();
        app.snapshots.sweep(app.clock.now());
        if let Err(e) = app.documents.sweep(app.clock.now()) {
            tracing::error!(error = %e, "old idempotency keys could not be forgotten");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
