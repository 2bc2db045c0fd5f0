//! The end of a device's enrolment takes back this supervisor's good word on the ledger.
//!
//! It takes two people: `supervisor/four_eyes/`.

use crate::{app::App, reject::Rejection};
use gw_policy::View;
use gw_proto::{
    NodeId,
    record::{DeviceVerdict, Record, VerdictResult},
};

/// The record that does it; none where there is no good word. Silence takes back one's own word, and says nothing
/// against another supervisor's.
pub fn withdrawal(app: &App, device: &NodeId) -> Result<Option<Record>, Rejection> {
    let state = app.state.read();
    let ours = View::new(&state).verdict(device, &app.node).map_err(Rejection::internal)?;
    let ours = ours.filter(|v| v.record.result == VerdictResult::Good);
    Ok(ours.map(|v| {
        let judged = app.clock.now();
        Record::Verdict(DeviceVerdict { result: VerdictResult::Silent, judged, ..v.record })
    }))
}
