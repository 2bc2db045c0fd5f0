//! What the ledger says of this gateway, said once each time it changes: others act on it.

use crate::{app::App, readiness};
use gw_policy::{Trust, View};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// A verdict lapses without a block.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Runs until cancelled.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut heads = app.state.watch();
    let mut said = None;
    loop {
        heads.mark_unchanged();
        let found = readiness::own_trust(&app, &View::new(&app.state.read()));
        let word = found.as_ref().map(Trust::as_str);
        if word != said {
            said = word;
            found.iter().for_each(say);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = heads.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

fn say(trust: &Trust) {
    let good = matches!(trust, Trust::Good { .. });
    metrics::gauge!("xinguan_trusted").set(if good { 1.0 } else { 0.0 });
    match trust {
        Trust::Good { .. } => tracing::info!(%trust, "the ledger's verdict on this gateway"),
        Trust::Unjudged => tracing::warn!(%trust, "the ledger's verdict on this gateway"),
        Trust::Bad { .. } | Trust::Silent { .. } | Trust::Lapsed { .. } => tracing::error!(
            %trust,
            "the ledger's verdict on this gateway: others neither ask nor answer it; what failed is in /admin/v1/status"
        ),
    }
}
