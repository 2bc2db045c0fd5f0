//! A call held open at each supervisor: its answer says that evidence is wanted now.
//!
//! It dials out like everything here. A supervisor that holds no calls is asked again seldom; evidence at the
//! interval does not depend on it.

use super::{
    Attester,
    rounds::{Plan, RoundError, post, read, supervisors},
    wire::{SUMMONS_PATH, Summons},
};
use crate::{app::App, dial::Repeat, supervisor::attest::summons::HOLD};
use gw_proto::{NodeId, record::Node};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often it is looked for new supervisors.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One that cannot be called is called again within.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Handshake and the way there and back, on top of the holding.
const SLACK: Duration = Duration::from_secs(10);

/// Runs until cancelled; ends at once where nothing attests.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let Attester::On(ready) = &app.attester else { return };
    let (mut plan, mut open, mut calls) = (Plan::default(), BTreeSet::new(), JoinSet::new());
    loop {
        for supervisor in supervisors(&app) {
            if !open.contains(&supervisor.id) && plan.is_due(&supervisor.id, app.clock.instant()) {
                open.insert(supervisor.id.clone());
                calls.spawn(call(Arc::clone(&app), supervisor));
            }
        }
        tokio::select! {
            // what is open ends with the set
            () = stop.cancelled() => return,
            Some(Ok((supervisor, answer))) = calls.join_next() => {
                open.remove(&supervisor);
                // a held call is followed by the next at once, one that failed after a pause
                let pause = if answer.is_ok() { Duration::ZERO } else { LONGEST_RETRY };
                plan.note(&supervisor, answer.is_ok(), app.clock.instant(), pause);
                match answer {
                    Ok(Summons { attest: true }) => {
                        tracing::info!(%supervisor, "evidence is wanted now");
                        ready.want(supervisor);
                    }
                    Ok(Summons { attest: false }) => {}
                    Err(e) => tracing::debug!(%supervisor, error = %e, "no call is held"),
                }
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn call(app: Arc<App>, supervisor: Node) -> (NodeId, Result<Summons, RoundError>) {
    let answer = post(&app, &supervisor, SUMMONS_PATH, b"{}".to_vec(), Repeat::Never, HOLD + SLACK).await;
    let answer = answer.and_then(|a| read(&a));
    (supervisor.id, answer)
}
