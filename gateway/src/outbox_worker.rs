//! The outbox's workers: traces to the ledger, openings to a supervisor, until they are there.
//!
//! Items are durable before an answer leaves and gone only when the verified state shows the trace, or a
//! supervisor confirmed the delivery. At least once; records and deliveries are idempotent. The two kinds
//! have a worker each, and whatever cannot be got rid of waits longer and longer: a supervisor that is away,
//! or that refuses one delivery, holds up nothing else.

use crate::{
    app::App,
    man_client::{self, DeliverError},
    reject::{self, Rejection},
};
use futures_util::StreamExt as _;
use gw_journal::OutboxItem;
use gw_policy::{TraceNeed, View, trace_need};
use gw_proto::{
    Height, Role,
    message::Delivery,
    record::{Node, Record, Trace},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const TRACE: &str = "trace";
const DELIVERY: &str = "delivery";
/// Items taken from the outbox at a time.
const PAGE: usize = 256;
/// Records in one submission.
const RECORDS: usize = 32;
/// A trace that is not seen in a block by then is submitted again.
const RESUBMIT: Duration = Duration::from_secs(10);
/// A delivery to one supervisor takes at most this.
const DELIVER: Duration = Duration::from_secs(5);
/// Deliveries under way at the same time.
const PARALLEL: usize = 8;
/// Between two tries of one delivery: doubles from the first to the second.
const REDELIVER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Between two rounds, when nothing happens.
const IDLE: Duration = Duration::from_secs(1);

/// A trace as the outbox keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// A verified block at which this gateway saw the use reserved. The outbox outlives power loss, the last
    /// blocks of the state may not: a state below this height does not know the use *yet*.
    seen: Height,
    trace: Trace,
}

/// Room that one query may need at most: a trace per source, one delivery.
const ITEMS_PER_QUERY: usize = gw_broker::MAX_SOURCES + 1;
const BYTES_PER_QUERY: u64 = 128 * 1024;

fn full() -> Rejection {
    Rejection::new(reject::BUSY, "the outbox is full: the ledger or the supervisor is away")
}

/// Asked before a use is spent: what will have to be kept of it fits.
pub fn check_room(app: &App) -> Result<(), Rejection> {
    if app.outbox.has_room(ITEMS_PER_QUERY, BYTES_PER_QUERY) { Ok(()) } else { Err(full()) }
}

/// Makes traces and the delivery durable: after this they reach their places. At height `seen` the state
/// showed the reservation.
pub async fn keep(app: &App, seen: Height, traces: Vec<Trace>, delivery: Delivery) -> Result<(), Rejection> {
    let mut items = Vec::with_capacity(traces.len() + 1);
    for trace in traces {
        items.push((TRACE, serde_json::to_vec(&Kept { seen, trace }).map_err(Rejection::internal)?));
    }
    items.push((DELIVERY, serde_json::to_vec(&delivery).map_err(Rejection::internal)?));
    for (kind, bytes) in items {
        app.outbox
            .push(kind, &bytes)
            .await
            .map_err(|e| if e.may_retry() { full().because(e) } else { Rejection::internal(e) })?;
    }
    Ok(())
}

/// Runs until cancelled.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    tokio::join!(run_traces(&app, &stop), run_deliveries(&app, &stop));
}

async fn run_traces(app: &Arc<App>, stop: &CancellationToken) {
    let mut tries = Tries::new(RESUBMIT, RESUBMIT);
    let (mut heads, mut items) = (app.state.watch(), app.outbox.watch());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = trace_round(app, &mut tries) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = heads.changed() => {}
            _ = items.changed() => {}
            () = tokio::time::sleep(IDLE) => {}
        }
    }
}

async fn run_deliveries(app: &Arc<App>, stop: &CancellationToken) {
    let mut tries = Tries::new(REDELIVER.0, REDELIVER.1);
    let mut items = app.outbox.watch();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = delivery_round(app, &mut tries) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = items.changed() => {}
            () = tokio::time::sleep(IDLE) => {}
        }
    }
}

/// When each item was tried last, and how long it waits now.
struct Tries {
    first: Duration,
    most: Duration,
    of: BTreeMap<u64, (Instant, Duration)>,
}

impl Tries {
    fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, of: BTreeMap::new() }
    }
    fn due(&self, id: u64, now: Instant) -> bool {
        self.of.get(&id).is_none_or(|(at, wait)| now.saturating_duration_since(*at) >= *wait)
    }
    fn note(&mut self, id: u64, now: Instant) {
        let wait = self.of.get(&id).map_or(self.first, |(_, w)| (*w * 2).min(self.most));
        self.of.insert(id, (now, wait));
    }
    fn forget(&mut self, id: u64) {
        self.of.remove(&id);
    }
}

/// All pending items of one kind, page by page.
fn pages<'a>(app: &'a App, kind: &'a str) -> impl Iterator<Item = Vec<OutboxItem>> + 'a {
    let mut after = 0;
    std::iter::from_fn(move || {
        let page = app.outbox.pending_of(kind, after, PAGE);
        after = page.last()?.id;
        Some(page)
    })
}

/// Drops what the chain knows, submits what it does not.
async fn trace_round(app: &Arc<App>, tries: &mut Tries) {
    metrics::gauge!("xinguan_outbox_items")
        .set(u32::try_from(*app.outbox.watch().borrow()).unwrap_or(u32::MAX));
    for page in pages(app, TRACE) {
        let now = app.clock.instant();
        let mut open = Vec::new();
        for item in &page {
            let Ok(kept) = serde_json::from_slice::<Kept>(&item.bytes) else {
                if tries.due(item.id, now) {
                    tries.note(item.id, now);
                    unreadable(item);
                }
                continue;
            };
            if is_settled(app, &kept) {
                done(app, item.id, tries).await;
            } else if tries.due(item.id, now) {
                open.push((item.id, kept.trace));
            }
        }
        for chunk in open.chunks(RECORDS) {
            let records = chunk.iter().map(|(_, t)| Record::Trace(t.clone())).collect();
            if let Err(e) = app.submitter.submit(records).await {
                // the others would fare no better
                tracing::warn!(error = %e, "traces wait: the ledger does not take them");
                return;
            }
            chunk.iter().for_each(|(id, _)| tries.note(*id, now));
        }
    }
}

/// The verified state shows this trace, or more than it tells; or has forgotten the use, 90 days later.
fn is_settled(app: &App, kept: &Kept) -> bool {
    let state = app.state.read();
    match trace_need(&View::new(&state), &kept.trace) {
        Ok(TraceNeed::Settled) => true,
        Ok(TraceNeed::Unknown) => state.cursor().height >= kept.seen,
        Ok(TraceNeed::Open) | Err(_) => false,
    }
}

/// Hands over what is due, a few at a time, until no supervisor can be reached.
async fn delivery_round(app: &Arc<App>, tries: &mut Tries) {
    for page in pages(app, DELIVERY) {
        let now = app.clock.instant();
        let due = page.into_iter().filter(|i| tries.due(i.id, now)).collect::<Vec<_>>();
        let supervisors = supervisors(app);
        if supervisors.is_empty() && !due.is_empty() {
            tracing::warn!(deliveries = due.len(), "deliveries wait: the ledger lists no supervisor");
            return;
        }
        let supervisors = &supervisors;
        let sent = due.into_iter().map(|i| async move { (i.id, deliver(app, supervisors, &i).await) });
        let mut sent = futures_util::stream::iter(sent).buffer_unordered(PARALLEL);
        while let Some((id, result)) = sent.next().await {
            match result {
                Delivered::Kept => done(app, id, tries).await,
                Delivered::Waits => tries.note(id, app.clock.instant()),
                // the rest of the round would only wait for the same
                Delivered::NobodyThere => return tries.note(id, app.clock.instant()),
            }
        }
    }
}

/// What became of one try.
enum Delivered {
    Kept,
    Waits,
    NobodyThere,
}

fn supervisors(app: &App) -> Vec<Node> {
    let state = app.state.read();
    let nodes = View::new(&state).nodes().unwrap_or_default();
    nodes.into_iter().filter(|n| n.has(Role::Supervisor)).map(|n| n.record).collect()
}

async fn deliver(app: &App, supervisors: &[Node], item: &OutboxItem) -> Delivered {
    let Ok(delivery) = serde_json::from_slice::<Delivery>(&item.bytes) else {
        unreadable(item);
        return Delivered::Waits;
    };
    let mut result = Delivered::NobodyThere;
    for s in supervisors {
        match man_client::deliver(app, s, &delivery, DELIVER).await {
            Ok(()) => return Delivered::Kept,
            Err(DeliverError::Refused { problem, may_retry }) => {
                result = Delivered::Waits;
                let report_id = delivery.opening.report_id;
                if may_retry {
                    tracing::info!(supervisor = %s.id, %report_id, problem, "a supervisor does not take a delivery yet");
                } else {
                    metrics::counter!("xinguan_deliveries_refused_total").increment(1);
                    tracing::error!(supervisor = %s.id, %report_id, problem, "a supervisor refuses a delivery");
                }
            }
            Err(DeliverError::NotReached(why)) => {
                tracing::warn!(supervisor = %s.id, why, "a supervisor cannot be reached");
            }
        }
    }
    result
}

async fn done(app: &App, id: u64, tries: &mut Tries) {
    match app.outbox.done(id).await {
        Ok(()) => tries.forget(id),
        Err(e) => tracing::error!(error = %e, id, "the outbox could not be updated"),
    }
}

/// Our own writing that we cannot read: kept, counted, shouted about; never dropped.
fn unreadable(item: &OutboxItem) {
    metrics::counter!("xinguan_outbox_unreadable_total").increment(1);
    tracing::error!(id = item.id, kind = %item.kind, "an outbox item cannot be read; it stays");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::{Clock as _, clock::SystemClock};

    #[test]
    fn an_item_waits_longer_each_time_and_not_for_ever() {
        let (start, s) = (SystemClock.instant(), Duration::from_secs);
        let mut tries = Tries::new(s(1), s(3));
        assert!(tries.due(7, start));
        for (at, wait) in [(0, 1), (1, 2), (3, 3), (6, 3)] {
            tries.note(7, start + s(at));
            assert!(!tries.due(7, start + s(at + wait) - Duration::from_millis(1)), "{at}");
            assert!(tries.due(7, start + s(at + wait)), "{at}");
            assert!(tries.due(8, start + s(at)), "another item is not touched");
        }
        tries.forget(7);
        assert!(tries.due(7, start));
    }

    /// Power loss takes the state's last blocks and leaves the outbox: what the state does not know then is
    /// not over, however fresh it is.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_use_unknown_to_a_state_that_lags_is_not_settled() {
        let mut c = crate::testkit::Consortium::new();
        c.start_ledger();
        let app = c.start("bank-suzhou-1", "").await;
        let head = app.state.cursor().height;
        assert_eq!(app.state.health(), gw_ledger::Health::Fresh);
        let kept = |ahead: u64| Kept {
            seen: Height(head.0 + ahead),
            trace: Trace {
                asker: app.institution.clone(),
                report_id: "07".repeat(32).parse().unwrap(),
                side: gw_proto::record::Side::Asker,
                source: app.node.clone(),
                status: gw_proto::record::TraceStatus::Missing,
                reply_leaf: None,
            },
        };
        assert!(!is_settled(&app, &kept(100)), "the state has not reached the block that it was seen in");
        assert!(is_settled(&app, &kept(0)), "the state has passed it: the use is forgotten");
    }
}
