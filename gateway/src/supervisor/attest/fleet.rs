//! What an operator of the supervisor sees: each device, its verdict, since when, what is to blame.

use super::appraisal::Appraisal;
use crate::{
    app::App,
    reject::{self, Rejection},
};
use gw_attest::{Check, Verdict};
use gw_policy::{Trust, View, trust_in};
use gw_proto::{InstitutionId, NodeId, UnixMillis};
use serde::Serialize;
use std::collections::BTreeMap;

/// How a device stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// the newest evidence passed, and that is less than a day ago
    Good,
    /// it did not, or is too old
    Bad,
    /// enrolled, and nothing came yet
    Waiting,
    /// listed on the ledger, not enrolled here
    NotEnrolled,
}

/// One line of the fleet.
#[derive(Debug, Serialize)]
pub struct Line {
    /// the device
    pub device: NodeId,
    /// whose
    pub institution: InstitutionId,
    /// how it stands
    pub standing: Standing,
    /// since when
    pub since: Option<UnixMillis>,
    /// when evidence came last
    pub last_evidence: Option<UnixMillis>,
    /// the release it says it runs
    pub release: Option<String>,
    /// what does not hold, and which component is to blame
    pub failed: Vec<Check>,
    /// what the verdicts of all supervisors on the ledger come to; none where it is not listed
    pub ledger: Option<Trust>,
    /// whether that is what is found here; none where nothing is found here
    pub agrees: Option<bool>,
}

/// All devices that are enrolled or listed.
#[derive(Debug, Serialize)]
pub struct Fleet {
    /// when this was
    pub at: UnixMillis,
    /// by device
    pub devices: Vec<Line>,
}

/// Looks at all; this supervisor itself is not among them.
pub fn show(app: &App) -> Result<Fleet, Rejection> {
    app.verifier()?;
    let (store, at) = (app.supervisor_store()?, app.clock.now());
    let mut devices = BTreeMap::new();
    {
        let state = app.state.read();
        let view = View::new(&state);
        for node in view.nodes().map_err(Rejection::internal)? {
            if node.record.id != app.node {
                let trust = trust_in(&view, &node, at).map_err(Rejection::internal)?;
                let line = unknown(node.record.id.clone(), node.record.institution.clone());
                devices.insert(node.record.id, Line { ledger: Some(trust), ..line });
            }
        }
    }
    for device in store.enrolments().map_err(Rejection::internal)? {
        let name = &device.enrolled.device;
        let verdict = store.verdict(name).map_err(Rejection::internal)?;
        let last_evidence = store.last_evidence(name).map_err(Rejection::internal)?;
        let mut line = unknown(name.clone(), device.institution.clone());
        (line.standing, line.last_evidence) = (Standing::Waiting, last_evidence);
        line.ledger = devices.remove(name).and_then(|l: Line| l.ledger);
        // one of an earlier enrolment says nothing of this one
        if let Some((verdict, since)) = verdict.filter(|(v, _)| v.at >= device.at) {
            line.standing = standing(&verdict, at);
            line.since = Some(since);
            line.failed = verdict.failed().cloned().collect();
            line.release = verdict.release;
            line.agrees = line.ledger.as_ref().map(|l| agree(line.standing, l));
        }
        devices.insert(name.clone(), line);
    }
    Ok(Fleet { at, devices: devices.into_values().collect() })
}

fn unknown(device: NodeId, institution: InstitutionId) -> Line {
    Line {
        device,
        institution,
        standing: Standing::NotEnrolled,
        since: None,
        last_evidence: None,
        release: None,
        failed: Vec::new(),
        ledger: None,
        agrees: None,
    }
}

/// A verdict takes a block to get there; another supervisor may know more, or less.
fn agree(here: Standing, ledger: &Trust) -> bool {
    let good = matches!(ledger, Trust::Good { .. });
    (here == Standing::Good) == good && *ledger != Trust::Unjudged
}

/// How a device with this newest verdict stands.
pub(in crate::supervisor) fn standing(verdict: &Verdict, now: UnixMillis) -> Standing {
    let good = verdict.good_until.is_some_and(|until| now < until);
    if good { Standing::Good } else { Standing::Bad }
}

fn nothing() -> Rejection {
    Rejection::new(reject::NOT_FOUND, "no evidence of such a device is here")
}

/// A device's name out of a path.
pub fn device(name: &str) -> Result<NodeId, Rejection> {
    NodeId::parse(name).map_err(|_| nothing())
}

/// What the newest verdict of a device rests on.
pub fn export(app: &App, device: &NodeId) -> Result<Appraisal, Rejection> {
    app.verifier()?;
    let found = app.supervisor_store()?.appraisal(device).map_err(Rejection::internal)?;
    found.ok_or_else(nothing)
}
