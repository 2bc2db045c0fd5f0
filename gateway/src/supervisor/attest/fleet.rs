//! What an operator of the supervisor sees: each device, its verdict, since when, what is to blame.

use super::{announce, appraisal::Appraisal};
use crate::{
    app::App,
    reject::{self, Rejection},
};
use gw_attest::{Check, Verdict};
use gw_policy::{Trust, View, trust_in};
use gw_proto::{Digest, Height, InstitutionId, NodeId, UnixMillis, record::VerdictResult};
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
    for (device, latest) in store.fleet().map_err(Rejection::internal)? {
        let name = &device.enrolled.device;
        let mut line = unknown(name.clone(), device.institution.clone());
        line.standing = Standing::Waiting;
        line.last_evidence = latest.as_ref().and_then(|l| l.last_evidence);
        line.ledger = devices.remove(name).and_then(|l: Line| l.ledger);
        // one of an earlier enrolment says nothing of this one
        if let Some(latest) = latest.filter(|l| l.at >= device.at) {
            line.standing = good_or_bad(latest.good_until, at);
            line.since = Some(latest.since);
            line.failed = latest.failed;
            line.release = latest.release;
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
    good_or_bad(verdict.good_until, now)
}

fn good_or_bad(good_until: Option<UnixMillis>, now: UnixMillis) -> Standing {
    if good_until.is_some_and(|until| now < until) { Standing::Good } else { Standing::Bad }
}

fn nothing() -> Rejection {
    Rejection::new(reject::NOT_FOUND, "no evidence of such a device is here")
}

/// A device's name out of a path.
pub fn device(name: &str) -> Result<NodeId, Rejection> {
    NodeId::parse(name).map_err(|_| nothing())
}

/// What the newest verdict of a device rests on, with its place in the log whose heads the ledger has.
pub fn export(app: &App, device: &NodeId) -> Result<Appraisal, Rejection> {
    app.verifier()?;
    let anchor = announce::anchor(app, device);
    let found = app.supervisor_store()?.appraisal(device, anchor).map_err(Rejection::internal)?;
    found.ok_or_else(nothing)
}

/// One supervisor's word on a gateway, as this gateway's verified ledger has it.
#[derive(Debug, Serialize)]
pub struct OnLedger {
    /// which supervisor
    pub by: NodeId,
    /// its finding
    pub result: VerdictResult,
    /// when it judged
    pub judged: UnixMillis,
    /// until when it lasts
    pub until: UnixMillis,
    /// of its log of verdicts: what an export's proof leads to
    pub history: Digest,
    /// in which block
    pub height: Height,
}

/// All supervisors' words on a gateway. Of any gateway's ledger: who checks an export need not ask who made it.
pub fn on_ledger(app: &App, node: &NodeId) -> Result<serde_json::Value, Rejection> {
    let state = app.state.read();
    let view = View::new(&state);
    if view.node(node).map_err(Rejection::internal)?.is_none() {
        return Err(Rejection::new(reject::NOT_FOUND, "the ledger lists no such node"));
    }
    let all = view.verdicts_on(node).map_err(Rejection::internal)?;
    let told = all.into_iter().map(|v| OnLedger {
        by: v.by,
        result: v.record.result,
        judged: v.record.judged,
        until: v.until,
        history: v.record.history,
        height: v.height,
    });
    let told: Vec<_> = told.collect();
    Ok(serde_json::json!({ "node": node, "verdicts": told }))
}
