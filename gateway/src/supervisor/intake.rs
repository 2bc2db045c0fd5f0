//! A delivery is believed only as far as it matches the chain.

use crate::{
    app::App,
    reject::{self, Rejection},
    stages::{authorize, identify::IdentifiedNode},
};
use gw_policy::View;
use gw_proto::{
    message::Delivery,
    record::{Authorization, Side},
};

/// Checks a delivery of an identified node against the verified ledger and keeps it.
pub fn accept(app: &App, from: &IdentifiedNode, delivery: &Delivery) -> Result<bool, Rejection> {
    let node = from.node();
    if delivery.node != node.id {
        return Err(Rejection::new(
            reject::SIGNATURE,
            "`node` is not the node that this connection belongs to",
        ));
    }
    if delivery.side == Side::Asker && delivery.asker != node.institution {
        return Err(Rejection::new(reject::SIGNATURE, "the asker's side comes from the asker's own node"));
    }
    if delivery.side == Side::Source && delivery.outcomes.iter().any(|o| o.source != node.id) {
        return Err(Rejection::new(reject::SIGNATURE, "a source delivers only its own part"));
    }
    check_openings(app, delivery)?;
    let store = app.supervisor_store()?;
    let new = store.keep(delivery, app.clock.now()).map_err(|e| match e {
        super::store::StoreError::Contradiction { .. } => {
            tracing::error!(node = %node.id, report_id = %delivery.opening.report_id, "a node delivers two openings of one use");
            Rejection::new(reject::OPENING, "this node delivered another opening of this use before").because(e)
        }
        other => Rejection::internal(other),
    })?;
    metrics::counter!("xinguan_deliveries_total", "side" => side_word(delivery.side), "new" => if new { "yes" } else { "no" })
        .increment(1);
    Ok(new)
}

fn side_word(side: Side) -> &'static str {
    match side {
        Side::Asker => "asker",
        Side::Source => "source",
    }
}

/// C_a, C_r and the report id, recomputed, are those of the accepted reservation.
fn check_openings(app: &App, delivery: &Delivery) -> Result<(), Rejection> {
    let wrong = |what: &str| Rejection::new(reject::OPENING, what);
    let malformed = |e: gw_proto::canon::CanonError| Rejection::new(reject::MALFORMED, e.to_string());
    let state = app.serving_state()?;
    let view = View::new(&state);
    let opening = &delivery.opening;
    let reservation = view
        .reservation(&delivery.asker, &opening.report_id)
        .map_err(Rejection::internal)?
        .filter(|r| r.accepted())
        .ok_or_else(|| {
            Rejection::new(reject::RESERVATION_MISSING, "no accepted reservation of this use here yet")
        })?;
    if reservation.record.commitment != opening.commitment().map_err(malformed)? {
        return Err(wrong("the opening does not match C_r"));
    }
    let public = Authorization::of(&delivery.statement).map_err(malformed)?;
    if opening.authz_id != public.id || reservation.record.authz_id != public.id {
        return Err(wrong("the statement is not that of the reservation's authorization"));
    }
    let listed = view.authorization(&public.id).map_err(Rejection::internal)?;
    let listed =
        listed.filter(|a| a.record == public).ok_or_else(|| wrong("the statement does not match C_a"))?;
    if opening.subject != delivery.statement.subject {
        return Err(wrong("statement and opening are about different subjects"));
    }
    // E is on no chain: a delivery without a proof of the enterprise's consent is a gap, not a record of one
    gw_policy::check_evidence(&view, &delivery.statement, &delivery.evidence, listed.block_time)
        .map_err(|r| authorize::refusal(&r))
}

#[cfg(test)]
#[cfg(feature = "dev")]
mod tests {
    use super::*;
    use crate::testkit::Consortium;
    use gw_proto::{Hex, message::Evidence};

    /// An honest delivery comes in by itself; then the same with one thing bent at a time.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_delivery_is_believed_as_far_as_it_matches_the_chain() {
        let mut c = Consortium::new();
        c.start_ledger();
        c.hold("bureau-hangzhou-1").await;
        let app = c.start("pboc-shanghai-1", "").await;
        let bank = c.start("bank-suzhou-1", "[query]\nbudget_ms = 3000\nsource_wait_height_ms = 500").await;
        let (id, subject) = c.authorize(&["330100"]).await;
        let answer = c.call("/v1/reports", Consortium::query(&id, &subject)).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let mut waiting = bank.outbox.watch();
        crate::listen::testkit::soon(waiting.wait_for(|n| *n == 0)).await.unwrap();
        let subject = gw_proto::Uscc::parse(&subject).unwrap();
        let kept = app.supervisor_store().unwrap().about(&subject).unwrap();
        assert_eq!(kept.len(), 1);
        let honest = kept[0].delivery.clone();
        assert!(check_openings(&app, &honest).is_ok());

        type Bend = fn(&mut Delivery);
        let bends: [(&str, Bend); 6] = [
            ("reservation-missing", |d| d.opening.report_id.0 = Hex([1; 32])),
            ("commitment-mismatch", |d| d.opening.salt = Hex([1; 32])),
            ("commitment-mismatch", |d| d.statement.salt = Hex([1; 32])),
            ("commitment-mismatch", |d| d.statement.max_uses += 1),
            ("evidence-insufficient", |d| d.evidence = Evidence::Asserted { document: Hex([1; 32]) }),
            ("evidence-insufficient", |d| {
                if let Evidence::Signed { signature, .. } = &mut d.evidence {
                    signature.0[7] ^= 1;
                }
            }),
        ];
        for (wanted, bend) in bends {
            let mut bent = honest.clone();
            bend(&mut bent);
            assert_eq!(check_openings(&app, &bent).unwrap_err().problem.name, wanted);
        }
    }
}
