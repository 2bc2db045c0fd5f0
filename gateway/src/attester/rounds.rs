//! Rounds: each supervisor at the interval; one that cannot be reached sooner, then less and less often.

use super::{
    Attester, Last, Ready, evidence,
    wire::{self, ACTIVATION_PATH, Activation, Asked, CHALLENGE_PATH, MAX_ANSWER_BYTES, Opened, Told},
};
use crate::{
    app::App,
    assemble::chain,
    dial::{Answer, Post, Repeat},
    man_client, reject,
};
use gw_broker::AskError;
use gw_policy::View;
use gw_proto::{Hex, NodeId, Role, record::Node};
use hsm_api::attest::Credential;
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether somebody is due: a new supervisor is seen within it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After the first failure; doubles up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// One exchange, the handshake included.
const EXCHANGE: Duration = Duration::from_secs(10);

/// Why a round ended without a verdict.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    #[error("not reached: {0}")]
    NotReached(String),
    #[error("refused: {0}")]
    Refused(String),
    #[error("its answer is not of the documented form")]
    Form,
    #[error("no evidence: {0}")]
    Evidence(String),
}

/// Runs until cancelled; ends at once where nothing attests.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let Attester::On(ready) = &app.attester else { return };
    let mut plan = Plan::default();
    loop {
        for supervisor in supervisors(&app) {
            // asked first: a wish that comes during the round is for the next
            if ready.is_wanted(&supervisor.id) || plan.is_due(&supervisor.id, app.clock.instant()) {
                let done = stop.run_until_cancelled(round(&app, ready, &supervisor)).await;
                let Some(good) = done else { return };
                plan.note(&supervisor.id, good, app.clock.instant(), app.config.attestation.interval);
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = ready.wake.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// When each supervisor is due.
#[derive(Debug, Default)]
pub(super) struct Plan(BTreeMap<NodeId, (Instant, Duration)>);

impl Plan {
    pub(super) fn is_due(&self, node: &NodeId, now: Instant) -> bool {
        self.0.get(node).is_none_or(|(at, _)| *at <= now)
    }
    pub(super) fn note(&mut self, node: &NodeId, reached: bool, now: Instant, interval: Duration) {
        let before = self.0.get(node).map_or(Duration::ZERO, |(_, wait)| *wait);
        let (wait, next) = match reached {
            true => (interval, Duration::ZERO),
            false => {
                let wait = (before * 2).max(FIRST_RETRY).min(interval);
                (wait, wait)
            }
        };
        self.0.insert(node.clone(), (now + wait, next));
    }
}

/// The others that supervise: nobody judges himself.
pub(super) fn supervisors(app: &App) -> Vec<Node> {
    let state = app.state.read();
    let nodes = View::new(&state).nodes().unwrap_or_default();
    let nodes = nodes.into_iter().map(|n| n.record);
    nodes.filter(|n| n.roles.contains(&Role::Supervisor) && n.id != app.node).collect()
}

/// One round; whether there is a verdict, good or bad.
async fn round(app: &Arc<App>, ready: &Ready, supervisor: &Node) -> bool {
    let ended = attest(app, supervisor).await;
    let outcome = match &ended {
        Ok(told) if told.passed => {
            tracing::info!(supervisor = %supervisor.id, "attested");
            "good"
        }
        Ok(told) => {
            tracing::error!(supervisor = %supervisor.id, failed = told.blame(), "attested, and NOT TRUSTED");
            "bad"
        }
        Err(e) => {
            tracing::warn!(supervisor = %supervisor.id, error = %e, "no verdict");
            "none"
        }
    };
    metrics::counter!("xinguan_attestations_total", "outcome" => outcome).increment(1);
    let good = if outcome == "good" { 1.0 } else { 0.0 };
    metrics::gauge!("xinguan_attested", "supervisor" => supervisor.id.to_string()).set(good);
    let reached = ended.is_ok();
    let (verdict, error) = match ended {
        Ok(told) => (Some(told), None),
        Err(e) => (None, Some(e.to_string())),
    };
    ready.last().insert(supervisor.id.clone(), Last { at: app.clock.now(), verdict, error });
    reached
}

async fn attest(app: &Arc<App>, supervisor: &Node) -> Result<Told, RoundError> {
    let challenge = || post(app, supervisor, CHALLENGE_PATH, b"{}".to_vec(), Repeat::Safe, EXCHANGE);
    let answer = match challenge().await {
        Err(RoundError::Refused(problem)) if problem == reject::NOT_ACTIVATED.name => {
            activate(app, supervisor).await?;
            challenge().await?
        }
        other => other?,
    };
    let asked: Asked = read(&answer)?;
    let channel = wire::channel(&answer.exporter, &asked.nonce);
    let channel = channel.map_err(|e| RoundError::NotReached(e.to_string()))?;
    let (path, work) = (wire::evidence_path(&asked.nonce), Arc::clone(app));
    // the chip signs twice: off the runtime's threads
    let bundle = tokio::task::spawn_blocking(move || {
        let Attester::On(ready) = &work.attester else { return Err("nothing attests".to_owned()) };
        let bundle = evidence::make(ready, &work.node, &asked, &channel).map_err(|e| chain(&e))?;
        bundle.to_json().map_err(|e| chain(&e))
    });
    let bundle = bundle.await.map_err(|e| RoundError::Evidence(e.to_string()))?;
    let bundle = bundle.map_err(RoundError::Evidence)?;
    // the nonce is single-use
    read(&post(app, supervisor, &path, bundle, Repeat::Never, EXCHANGE).await?)
}

/// Once per enrolment: the chip opens a secret that is sealed to both of its keys.
async fn activate(app: &Arc<App>, supervisor: &Node) -> Result<(), RoundError> {
    let answer = post(app, supervisor, ACTIVATION_PATH, b"{}".to_vec(), Repeat::Safe, EXCHANGE).await?;
    let asked: Activation = read(&answer)?;
    let (path, work) = (wire::activated_path(&asked.id), Arc::clone(app));
    // the chip makes its endorsement key for it: off the runtime's threads
    let opened = tokio::task::spawn_blocking(move || {
        let Attester::On(ready) = &work.attester else { return Err("nothing attests".to_owned()) };
        let credential = Credential { blob: asked.blob.0, secret: asked.secret.0 };
        let secret = ready.chip.attestor.activate_credential(&credential).map_err(|e| chain(&e))?;
        let secret =
            <[u8; 32]>::try_from(secret.as_slice()).map_err(|_| "a secret of another size".to_owned())?;
        serde_json::to_vec(&Opened { secret: Hex(secret) }).map_err(|e| e.to_string())
    });
    let opened = opened.await.map_err(|e| RoundError::Evidence(e.to_string()))?;
    post(app, supervisor, &path, opened.map_err(RoundError::Evidence)?, Repeat::Never, EXCHANGE)
        .await
        .map(drop)
}

pub(super) async fn post(
    app: &App,
    supervisor: &Node,
    path: &str,
    body: Vec<u8>,
    repeat: Repeat,
    timeout: Duration,
) -> Result<Answer, RoundError> {
    let post = Post { path, body: body.into(), headers: http::HeaderMap::new(), repeat, timeout };
    let answer = app.peers.post_json(&man_client::peer(supervisor), post).await;
    let answer = answer.map_err(|e| RoundError::NotReached(chain(&e)))?;
    if answer.status.is_success() {
        return Ok(answer);
    }
    Err(RoundError::Refused(match man_client::refused(answer.status, &answer.body) {
        AskError::Refused { problem, .. } => problem,
        _ => format!("HTTP status {}", answer.status.as_u16()),
    }))
}

pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, RoundError> {
    if answer.body.len() > MAX_ANSWER_BYTES {
        return Err(RoundError::Form);
    }
    serde_json::from_slice(&answer.body).map_err(|_| RoundError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::{Clock as _, clock::SystemClock};

    #[test]
    fn who_fails_is_asked_again_sooner_then_less_often_never_less_than_the_interval() {
        let (a, s) = (NodeId::parse("pboc-a-1").unwrap(), Duration::from_secs);
        let (start, interval) = (SystemClock.instant(), s(7));
        let mut plan = Plan::default();
        assert!(plan.is_due(&a, start));
        for (at, reached, wait) in
            [(0, true, 7), (7, false, 2), (9, false, 4), (13, false, 7), (20, true, 7), (27, false, 2)]
        {
            plan.note(&a, reached, start + s(at), interval);
            assert!(!plan.is_due(&a, start + s(at + wait) - Duration::from_millis(1)), "{at}");
            assert!(plan.is_due(&a, start + s(at + wait)), "{at}");
        }
    }
}
