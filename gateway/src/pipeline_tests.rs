//! The asker's side of a query when things go wrong around it.

use crate::{app::App, testkit::Consortium};
use gw_policy::{ReservationState, View};
use gw_proto::{
    AuthzId,
    record::{Side, TraceStatus},
};
use std::collections::BTreeSet;

fn reservations(app: &App, id: &AuthzId) -> Vec<ReservationState> {
    View::new(&app.state.read()).reservations_of(id).unwrap()
}

/// From the reservation on the chain is owed a trace and the supervisor the openings: hanging up does not help.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_caller_hangs_up_is_traced_and_delivered_all_the_same() {
    let mut c = Consortium::new();
    c.start_ledger();
    for silent in ["bureau-hangzhou-1", "bureau-hefei-1", "pboc-shanghai-1"] {
        c.hold(silent).await;
    }
    let app = c.start("bank-suzhou-1", "[query]\nbudget_ms = 4000\nsource_wait_height_ms = 1000").await;
    let (id, subject) = c.authorize(&["330100", "340100"]).await;
    let asking = tokio::spawn(c.call("/v1/reports", Consortium::query(&id, &subject)));
    c.until(&app, |app| reservations(app, &id).len() == 1).await;
    asking.abort();
    assert!(asking.await.is_err(), "the sources are silent: there was no answer yet");

    let use_ = reservations(&app, &id).remove(0);
    let told = |app: &App| {
        let traces = View::new(&app.state.read()).traces(&use_.asker, &use_.record.report_id).unwrap();
        traces
            .into_iter()
            .map(|t| (t.record.source.to_string(), t.record.side, t.record.status))
            .collect::<BTreeSet<_>>()
    };
    let missing = |s: &str| (s.to_owned(), Side::Asker, TraceStatus::Missing);
    let wanted = BTreeSet::from([missing("bureau-hangzhou-1"), missing("bureau-hefei-1")]);
    // although the supervisor, which is silent too, has not taken the delivery
    c.until(&app, |app| told(app) == wanted).await;
    let waiting = app.outbox.pending_of("delivery", 0, 9);
    let delivery: gw_proto::message::Delivery = serde_json::from_slice(&waiting[0].bytes).unwrap();
    assert_eq!((waiting.len(), delivery.opening.report_id), (1, use_.record.report_id));
    assert_eq!(app.journal.open_intents(), 0);
}

/// A use is not spent where nobody can answer, nor where what is owed afterwards cannot be kept.
#[tokio::test(flavor = "multi_thread")]
async fn no_use_is_spent_in_vain() {
    let mut c = Consortium::new();
    c.start_ledger();
    c.hold("pboc-shanghai-1").await;
    let app = c.start("bank-suzhou-1", "").await;
    let problem = |body: &[u8]| {
        let document: serde_json::Value = serde_json::from_slice(body).unwrap();
        document["type"].as_str().unwrap().replace("urn:xinguan:problem:", "")
    };
    // Shanghai has a supervisor, and no source
    let (id, subject) = c.authorize(&["310000"]).await;
    let answer = c.call("/v1/reports", Consortium::query(&id, &subject)).await;
    assert_eq!((answer.status, problem(&answer.body).as_str()), (422, "no-source"));
    assert!(reservations(&app, &id).is_empty());

    let (id, subject) = c.authorize(&["330100"]).await;
    let big = vec![0; gw_journal::outbox::MAX_ITEM_BYTES];
    while app.outbox.has_room(1, big.len() as u64) {
        app.outbox.push("other", &big).await.unwrap();
    }
    let answer = c.call("/v1/reports", Consortium::query(&id, &subject)).await;
    assert_eq!((answer.status, problem(&answer.body).as_str()), (503, "busy"));
    assert!(reservations(&app, &id).is_empty());
}
