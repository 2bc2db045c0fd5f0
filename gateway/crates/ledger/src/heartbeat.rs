//! A block on an idle chain, by the node whose turn it is.
//!
//! FISCO BCOS makes no block without a transaction, and a head that does not move goes stale. When the newest
//! header is older than a third of the staleness bound, sources and supervisors write a heartbeat: the one
//! of rank 0 at once, the one of rank r after r × 500 ms, if no block has come by then.

use crate::{
    state::{Cursor, StateHandle},
    submit::Submitter,
};
use gw_policy::{StateError, StateRead, View};
use gw_proto::{
    NodeId, Role,
    record::{Heartbeat, Record},
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How much longer each rank waits than the one before it.
pub const RANK_STEP: Duration = Duration::from_millis(500);
/// How often the rank is looked up where this node has none, and how long a heartbeat has to make a block.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long a heartbeat may take to be taken by an endpoint.
const SUBMIT_TIME: Duration = Duration::from_secs(5);

/// A node's rank among the active sources and supervisors, by id; `None` if it is not one of them.
pub fn rank(state: &dyn StateRead, me: &NodeId) -> Result<Option<u32>, StateError> {
    let view = View::new(state);
    let mut rank = 0;
    for node in view.nodes()? {
        let beats = node.has(Role::Source) || node.has(Role::Supervisor);
        if !beats || !view.is_active(&node)? {
            continue;
        }
        if node.record.id == *me {
            return Ok(Some(rank));
        }
        rank += 1;
    }
    Ok(None)
}

/// How long to wait until this node's heartbeat is due, given the head's age; zero = now.
pub fn wait_for_turn(rank: u32, age: Duration, staleness: Duration) -> Duration {
    (staleness / 3 + RANK_STEP * rank).saturating_sub(age)
}

/// Writes heartbeats until cancelled. Harmless on any node: those that have no turn write none.
pub async fn heartbeat(me: NodeId, handle: StateHandle, submitter: Submitter, cancel: CancellationToken) {
    let mut watch = handle.watch();
    loop {
        let seen = watch.borrow_and_update().clone();
        let rank = rank(&handle.read(), &me);
        let turn = match rank {
            Ok(rank) => rank.map(|r| wait_for_turn(r, handle.age(), handle.staleness())),
            Err(error) => {
                tracing::warn!(%error, "heartbeat: cannot read the state");
                None
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = watch.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(turn.unwrap_or(LOOK_AGAIN)) => if turn.is_some() {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = beat(&submitter, &seen) => {}
                }
                // a block, or another try only after a while: never a busy loop
                tokio::select! {
                    () = cancel.cancelled() => return,
                    changed = watch.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                }
            },
        }
    }
}

async fn beat(submitter: &Submitter, seen: &Cursor) {
    let record = Record::Heartbeat(Heartbeat { seen: seen.height });
    match tokio::time::timeout(SUBMIT_TIME, submitter.submit(vec![record])).await {
        Ok(Ok(_)) => tracing::debug!(seen = %seen.height, "heartbeat written"),
        Ok(Err(error)) => tracing::warn!(%error, "heartbeat not taken"),
        Err(_) => tracing::warn!("heartbeat not taken in time"),
    }
}
