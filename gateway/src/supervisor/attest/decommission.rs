//! The end of a device's enrolment: for another chip, another owner, or good. Recorded, and its verdict taken back.

use crate::{
    app::App,
    reject::{self, Rejection},
};
use gw_policy::View;
use gw_proto::{
    NodeId,
    record::{DeviceVerdict, Record, VerdictResult},
};
use serde::Deserialize;
use std::sync::Arc;

/// A reason is a sentence.
const MAX_REASON: usize = 200;

/// What an operator says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decommission {
    /// why
    pub reason: String,
}

/// Ends it. The supervisor's word on the ledger, if it is good, does not outlive the enrolment.
pub async fn run(app: &Arc<App>, by: &str, device: &NodeId, asked: &Decommission) -> Result<(), Rejection> {
    app.verifier()?;
    let reason = asked.reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
        return Err(Rejection::new(
            reject::MALFORMED,
            format!("`reason` is a text of 1 to {MAX_REASON} bytes"),
        ));
    }
    let note = serde_json::json!({ "by": by, "device": device, "reason": reason });
    app.journal_note("decommission", note).await?;
    let (work, who, id, why) = (Arc::clone(app), by.to_owned(), device.clone(), reason.to_owned());
    let gone = tokio::task::spawn_blocking(move || {
        let at = work.clock.now();
        work.supervisor_store()?.decommission(&id, &who, &why, at).map_err(Rejection::internal)
    });
    if !gone.await.map_err(Rejection::internal)?? {
        return Err(Rejection::new(reject::NOT_FOUND, "no such device is enrolled here"));
    }
    tracing::warn!(%device, by, reason, "decommissioned");
    match withdrawal(app, device)? {
        Some(record) => {
            app.submitter.submit(vec![record]).await.map(drop).map_err(crate::app::ledger_rejection)
        }
        None => Ok(()),
    }
}

/// Silence takes back one's own word, and says nothing against another supervisor's.
fn withdrawal(app: &App, device: &NodeId) -> Result<Option<Record>, Rejection> {
    let state = app.state.read();
    let ours = View::new(&state).verdict(device, &app.node).map_err(Rejection::internal)?;
    let ours = ours.filter(|v| v.record.result == VerdictResult::Good);
    Ok(ours.map(|v| {
        let judged = app.clock.now();
        Record::Verdict(DeviceVerdict { result: VerdictResult::Silent, judged, ..v.record })
    }))
}
