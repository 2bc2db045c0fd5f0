//! The outbox's worker: traces to the ledger, openings to a supervisor, until they are there.
//!
//! Items are durable before an answer leaves and gone only when the verified state shows the trace, or a
//! supervisor confirmed the delivery. At least once; records and deliveries are idempotent.

use crate::{
    app::App,
    man_client,
    reject::{self, Rejection},
};
use gw_journal::OutboxItem;
use gw_policy::View;
use gw_proto::{
    Role,
    message::Delivery,
    record::{Node, Record, Trace},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const TRACE: &str = "trace";
const DELIVERY: &str = "delivery";
/// Items looked at in one round.
const ROUND: usize = 256;
/// A trace that is not seen in a block by then is submitted again.
const RESUBMIT: Duration = Duration::from_secs(10);
/// A delivery to one supervisor takes at most this.
const DELIVER: Duration = Duration::from_secs(5);
/// Between two tries of one delivery.
const REDELIVER: Duration = Duration::from_millis(500);

/// Makes traces and the delivery durable: after this they reach their places.
pub async fn keep(app: &App, traces: Vec<Trace>, delivery: Delivery) -> Result<(), Rejection> {
    let mut items = Vec::with_capacity(traces.len() + 1);
    for t in &traces {
        items.push((TRACE, serde_json::to_vec(t).map_err(Rejection::internal)?));
    }
    items.push((DELIVERY, serde_json::to_vec(&delivery).map_err(Rejection::internal)?));
    for (kind, bytes) in items {
        app.outbox.push(kind, &bytes).await.map_err(|e| {
            if e.may_retry() {
                Rejection::new(reject::BUSY, "the outbox is full: the ledger or the supervisor is away")
                    .because(e)
            } else {
                Rejection::internal(e)
            }
        })?;
    }
    app.outbox_wake.notify_one();
    Ok(())
}

/// Runs until cancelled.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut tried: BTreeMap<u64, Instant> = BTreeMap::new();
    let mut heads = app.state.watch();
    loop {
        round(&app, &mut tried).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.outbox_wake.notified() => {}
            _ = heads.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn round(app: &Arc<App>, tried: &mut BTreeMap<u64, Instant>) {
    let items = app.outbox.pending(ROUND);
    metrics::gauge!("xinguan_outbox_items").set(u32::try_from(items.len()).unwrap_or(u32::MAX));
    tried.retain(|id, _| items.iter().any(|i| i.id == *id));
    let now = app.clock.instant();
    let due = |id: u64, wait: Duration, tried: &BTreeMap<u64, Instant>| {
        tried.get(&id).is_none_or(|at| now.saturating_duration_since(*at) >= wait)
    };
    let mut records = Vec::new();
    for item in &items {
        match item.kind.as_str() {
            TRACE => match serde_json::from_slice::<Trace>(&item.bytes) {
                Ok(t) if told(app, &t) => done(app, item.id).await,
                Ok(t) if due(item.id, RESUBMIT, tried) => {
                    tried.insert(item.id, now);
                    records.push(Record::Trace(t));
                }
                Ok(_) => {}
                Err(e) => unreadable(app, item, &e).await,
            },
            DELIVERY => match serde_json::from_slice::<Delivery>(&item.bytes) {
                Ok(d) if due(item.id, REDELIVER, tried) => {
                    tried.insert(item.id, now);
                    if deliver(app, &d).await {
                        done(app, item.id).await;
                    }
                }
                Ok(_) => {}
                Err(e) => unreadable(app, item, &e).await,
            },
            other => tracing::error!(
                kind = other,
                id = item.id,
                "the outbox holds an item of an unknown kind; it stays"
            ),
        }
    }
    for chunk in records.chunks(32) {
        if let Err(e) = app.submitter.submit(chunk.to_vec()).await {
            tracing::warn!(error = %e, records = chunk.len(), "traces wait: the ledger does not take them");
        }
    }
}

/// The verified state shows this trace.
fn told(app: &App, t: &Trace) -> bool {
    let state = app.state.read();
    let traces = View::new(&state).traces(&t.asker, &t.report_id).unwrap_or_default();
    traces.iter().any(|s| {
        s.record.side == t.side
            && s.record.source == t.source
            && (s.record == *t || t.reply_leaf.is_some_and(|l| s.reply_leaves.contains(&l)))
    })
}

async fn deliver(app: &App, d: &Delivery) -> bool {
    let supervisors: Vec<Node> = {
        let state = app.state.read();
        let nodes = View::new(&state).nodes().unwrap_or_default();
        nodes.into_iter().filter(|n| n.has(Role::Supervisor)).map(|n| n.record).collect()
    };
    if supervisors.is_empty() {
        tracing::warn!("a delivery waits: the ledger lists no supervisor");
    }
    for s in &supervisors {
        match man_client::deliver(app, s, d, DELIVER).await {
            Ok(()) => return true,
            Err(e) => tracing::warn!(supervisor = %s.id, error = %e, "a delivery waits"),
        }
    }
    false
}

async fn done(app: &App, id: u64) {
    if let Err(e) = app.outbox.done(id).await {
        tracing::error!(error = %e, id, "the outbox could not be updated");
    }
}

async fn unreadable(app: &App, item: &OutboxItem, e: &serde_json::Error) {
    // our own writing that we cannot read: kept, counted, shouted about; never dropped
    metrics::counter!("xinguan_outbox_unreadable_total").increment(1);
    tracing::error!(id = item.id, kind = %item.kind, line = e.line(), "an outbox item cannot be read; it stays");
    let _ = app;
}
