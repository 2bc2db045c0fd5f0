//! Verdicts → the ledger: when one changes, and well before it lapses; not at every round of evidence.
//!
//! Each supervisor writes its own word on each device; what several of them come to is the readers' matter
//! (`gw_policy::trust_in`). Another supervisor's bad verdict is answered with newer good evidence, once.

use super::{enrol::Device, history::Latest, verdict_log::Anchor};
use crate::{
    app::App,
    supervisor::store::{StoreError, SupervisorStore},
};
use gw_attest::CheckName;
use gw_policy::{VerdictState, View, trust_in};
use gw_proto::{
    Height, KeyId, NodeId, UnixMillis,
    record::{DeviceVerdict, Record, VerdictResult},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// All devices are looked at this often, also when nothing changed: what no block took is written again.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// A verdict of 24 h is written anew after 6: three chances before it lapses.
const REFRESH: Duration = Duration::from_secs(6 * 3600);
/// Records of one batch: far below its bound of bytes.
const RECORDS: usize = 16;
/// The rules that know verdicts.
const SINCE_RULES: u32 = 2;

/// Devices with a new verdict, for the task below.
#[derive(Default)]
pub struct Announcements {
    changed: std::sync::Mutex<BTreeSet<NodeId>>,
    wake: tokio::sync::Notify,
}

impl Announcements {
    /// A verdict was kept.
    pub fn note(&self, device: &NodeId) {
        self.changed().insert(device.clone());
        self.wake.notify_one();
    }
    fn changed(&self) -> std::sync::MutexGuard<'_, BTreeSet<NodeId>> {
        self.changed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Runs until cancelled; ends at once where nobody verifies.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let Some(verifier) = &app.verifier else { return };
    check_histories(&app).await;
    let (mut all_at, mut said) = (app.clock.instant(), false);
    loop {
        if !said && !takes_verdicts(&app) {
            said = true;
            tracing::warn!(
                "the rules in force know no verdicts: none is written until governance sets rules 2"
            );
        }
        let changed = std::mem::take(&mut *verifier.announcements.changed());
        let now = app.clock.instant();
        let only = (now < all_at).then_some(changed);
        if only.is_none() {
            all_at = now + LOOK_EVERY;
        }
        announce(&app, only).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = verifier.announcements.wake.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// The next block would; a state that is empty yet is no answer.
fn takes_verdicts(app: &App) -> bool {
    let state = app.state.read();
    let next = Height(state.cursor().height.0.saturating_add(1));
    let rules = View::new(&state).rules_at(next).ok().flatten();
    rules.is_none_or(|rules| rules >= SINCE_RULES)
}

/// Writes what is due, of some devices or of all.
async fn announce(app: &Arc<App>, only: Option<BTreeSet<NodeId>>) {
    let work = Arc::clone(app);
    // it reads SQLite: off the runtime's threads
    let due = tokio::task::spawn_blocking(move || match &work.supervisor {
        Some(store) => due(&work, store, only.as_ref()),
        None => Ok(Vec::new()),
    });
    let records = match due.await {
        Ok(Ok(records)) => records,
        Ok(Err(e)) => return tracing::error!(error = %e, "verdicts could not be read for the ledger"),
        Err(e) => return tracing::error!(error = %e, "the look at verdicts ended"),
    };
    for chunk in records.chunks(RECORDS) {
        for r in chunk {
            tracing::info!(device = %r.node, result = ?r.result, "a verdict goes to the ledger");
        }
        let chunk = chunk.iter().cloned().map(Record::Verdict).collect();
        if let Err(e) = app.submitter.submit(chunk).await {
            return tracing::warn!(error = %e, "verdicts wait: the ledger does not take them");
        }
    }
}

fn due(
    app: &App,
    store: &SupervisorStore,
    only: Option<&BTreeSet<NodeId>>,
) -> Result<Vec<DeviceVerdict>, StoreError> {
    let mut out = Vec::new();
    if !takes_verdicts(app) {
        return Ok(out);
    }
    for (device, latest) in of_interest(store, only)? {
        // a verdict of an earlier enrolment is of another chip or key
        if let Some(latest) = latest.filter(|l| l.at >= device.at) {
            out.extend(due_of(app, &device, &latest));
        }
    }
    Ok(out)
}

/// All devices, or a few of them.
fn of_interest(
    store: &SupervisorStore,
    only: Option<&BTreeSet<NodeId>>,
) -> Result<Vec<(Device, Option<Latest>)>, StoreError> {
    let Some(only) = only else { return store.fleet() };
    let mut found = Vec::new();
    for name in only {
        if let Some(device) = store.enrolment(name)? {
            found.push((device, store.latest(name)?));
        }
    }
    Ok(found)
}

/// The record that the ledger lacks; none where it has it, or cannot take it.
fn due_of(app: &App, device: &Device, newest: &Latest) -> Option<DeviceVerdict> {
    let (state, now) = (app.state.read(), app.clock.now());
    let view = View::new(&state);
    let node = view.node(&device.enrolled.device).ok().flatten()?;
    let record = record(device, newest);
    if node.record.key.id() != record.key || lapses(&record, now) {
        return None;
    }
    let ours = view.verdict(&record.node, &app.node).ok()?;
    let own_key = app.node_signer.public_key().id();
    let ours = ours.filter(|v| counts(v, own_key, record.key));
    let contradicted = match trust_in(&view, &node, now).ok()? {
        gw_policy::Trust::Bad { by, judged } if by != app.node => Some(judged),
        _ => None,
    };
    is_due(ours.as_ref(), contradicted, &record, now).then_some(record)
}

fn counts(verdict: &VerdictState, by: KeyId, key: KeyId) -> bool {
    verdict.by_key == by && verdict.record.key == key
}

fn record(device: &Device, newest: &Latest) -> DeviceVerdict {
    DeviceVerdict {
        node: device.enrolled.device.clone(),
        key: device.enrolled.node_key.id(),
        result: result(newest),
        judged: newest.at,
        history: newest.head,
    }
}

fn result(latest: &Latest) -> VerdictResult {
    if latest.passed {
        VerdictResult::Good
    } else if latest.failed.iter().any(|c| c.name == CheckName::Silence) {
        VerdictResult::Silent
    } else {
        VerdictResult::Bad
    }
}

/// The chain would refuse it, or soon would.
fn lapses(record: &DeviceVerdict, now: UnixMillis) -> bool {
    now.since(record.judged) >= 3 * REFRESH
}

/// Whether the ledger should be told. `ours`: what it has of us. `contradicted`: when another found it bad.
fn is_due(
    ours: Option<&VerdictState>,
    contradicted: Option<UnixMillis>,
    newest: &DeviceVerdict,
    now: UnixMillis,
) -> bool {
    let Some(ours) = ours else { return true };
    if newest.judged <= ours.record.judged {
        return false;
    }
    let stale = now.since(ours.record.judged) >= REFRESH;
    let answers = newest.result == VerdictResult::Good && contradicted.is_some_and(|at| newest.judged > at);
    newest.result != ours.record.result || stale || answers
}

/// What the ledger has of a device by this supervisor.
pub(super) fn anchor(app: &App, device: &NodeId) -> Option<Anchor> {
    let state = app.state.read();
    let ours = View::new(&state).verdict(device, &app.node).ok().flatten();
    ours.map(|v| (v.record.judged, v.record.history))
}

/// At start: what is kept must be what the ledger has of it.
async fn check_histories(app: &Arc<App>) {
    let work = Arc::clone(app);
    let checked = tokio::task::spawn_blocking(move || match &work.supervisor {
        Some(store) => check(&work, store),
        None => Ok(0),
    });
    match checked.await {
        Ok(Ok(broken)) => metrics::gauge!("xinguan_verdict_histories_broken").set(f64::from(broken)),
        Ok(Err(e)) => tracing::error!(error = %e, "the histories of verdicts could not be read"),
        Err(e) => tracing::error!(error = %e, "the look at the histories ended"),
    }
}

fn check(app: &App, store: &SupervisorStore) -> Result<u32, StoreError> {
    let mut broken = 0;
    for device in store.enrolments()? {
        let name = &device.enrolled.device;
        if let Err(why) = store.check_history(name, anchor(app, name))? {
            broken += 1;
            tracing::error!(device = %name, %why, "the verdict log was REWRITTEN");
        }
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::Hex;

    fn told(result: VerdictResult, judged: u64) -> DeviceVerdict {
        let (node, key) = (NodeId::parse("bank-a-1").unwrap(), KeyId(Hex([1; 32])));
        DeviceVerdict { node, key, result, judged: UnixMillis(judged), history: Hex([2; 32]) }
    }

    fn ours(result: VerdictResult, judged: u64) -> Option<VerdictState> {
        let (by, by_key) = (NodeId::parse("pboc-1").unwrap(), KeyId(Hex([3; 32])));
        let record = told(result, judged);
        Some(VerdictState { record, by, by_key, height: Height(1), until: UnixMillis(judged + 86_400_000) })
    }

    #[test]
    fn told_when_it_changes_and_before_it_lapses_and_not_at_every_round() {
        use VerdictResult::{Bad, Good, Silent};
        let hours = |h: u64| 1_000_000 + h * 3_600_000;
        let due = |ours: Option<VerdictState>, bad: Option<u64>, result, judged| {
            let newest = told(result, judged);
            is_due(ours.as_ref(), bad.map(UnixMillis), &newest, UnixMillis(judged))
        };
        assert!(due(None, None, Good, hours(0)), "the first");
        assert!(!due(ours(Good, hours(0)), None, Good, hours(1)), "the next round");
        assert!(due(ours(Good, hours(0)), None, Good, hours(6)), "a refresh");
        assert!(due(ours(Bad, hours(0)), None, Bad, hours(6)), "a refresh of a bad one");
        for (was, is) in [(Good, Bad), (Bad, Good), (Good, Silent), (Silent, Good), (Bad, Silent)] {
            assert!(due(ours(was, hours(0)), None, is, hours(0) + 1), "{was:?} → {is:?}");
            assert!(!due(ours(was, hours(0)), None, is, hours(0)), "the ledger would refuse it as no newer");
        }
        // another supervisor found it bad after our word, and newer evidence is good
        assert!(due(ours(Good, hours(0)), Some(hours(1)), Good, hours(1) + 1));
        assert!(!due(ours(Good, hours(0)), Some(hours(1)), Good, hours(1)));
        assert!(!due(ours(Bad, hours(0)), Some(hours(1)), Bad, hours(2)));
    }

    #[test]
    fn what_is_too_old_for_the_chain_stays_here() {
        let at = told(VerdictResult::Good, 1_000);
        assert!(!lapses(&at, UnixMillis(1_000 + 18 * 3_600_000 - 1)));
        assert!(lapses(&at, UnixMillis(1_000 + 18 * 3_600_000)));
    }
}
