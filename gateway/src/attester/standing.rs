//! What the ledger says of this gateway, said once each time it changes: others act on it.

use crate::{app::App, readiness};
use gw_policy::{Trust, View};
use gw_proto::UnixMillis;
use hsm_api::backend::file;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// In the data folder: for `xinguan doctor`, which has no operator's certificate.
pub const FILE: &str = "trust.json";
/// It is written again so that its age says whether somebody looks.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// What stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// when it was read off the ledger
    pub at: UnixMillis,
    /// what it says; none where this gateway is not listed
    pub trust: Option<Trust>,
}

/// A verdict lapses without a block.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Runs until cancelled.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut heads = app.state.watch();
    let (mut said, mut written): (_, Option<Written>) = (None, None);
    loop {
        heads.mark_unchanged();
        let found = readiness::own_trust(&app, &View::new(&app.state.read()));
        let word = found.as_ref().map(Trust::as_str);
        if word != said {
            said = word;
            found.iter().for_each(say);
        }
        let now = Written { at: app.clock.now(), trust: found };
        let is_due = |w: &Written| w.trust != now.trust || now.at.since(w.at) >= WRITE_EVERY;
        if written.as_ref().is_none_or(is_due) {
            write(&app, &now).await;
            written = Some(now);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = heads.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Only the doctor reads it: a failure is said, and no more.
async fn write(app: &App, what: &Written) {
    let (path, text) = (app.config.node.data_dir.join(FILE), serde_json::to_vec(what));
    let work = move || text.map_err(std::io::Error::from).and_then(|text| file::replace(&path, &text));
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::warn!(error = %e, "{FILE} cannot be written"),
        Err(e) => tracing::warn!(error = %e, "{FILE} cannot be written"),
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
