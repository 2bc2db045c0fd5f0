//! Who looked: a firm's looks, each followed to its authorization, with proofs and gaps.
//!
//! The answer to an auditor's question within ten minutes. Each look-up is itself recorded, with who and
//! why, before its result is shown.

use super::{
    reconcile::{Finding, UseOnChain, gaps},
    store::{Delivered, note_lookup},
};
use crate::{
    app::App,
    reject::{self, Rejection},
};
use gw_policy::{ReservationState, View};
use gw_proto::{
    AuthzId, Digest, Dimension, EvidenceLevel, Height, InstitutionId, NodeId, Purpose, ReportId, UnixMillis,
    Uscc,
    message::Delivery,
    record::{Side, Trace},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The most uses that one reconciliation reads.
const MAX_EXAMINED: usize = 100_000;

/// What an auditor asks.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LookRequest {
    /// unified social credit code
    #[schema(value_type = String)]
    pub subject: Uscc,
    /// why it is looked up, 4 to 200 characters; recorded
    pub reason: String,
}

/// One look at a firm.
#[derive(Debug, Serialize)]
pub struct Look {
    /// whose
    pub asker: InstitutionId,
    /// its display name on the ledger
    pub asker_name: String,
    /// the operator, as its institution tags it
    pub operator_tag: Digest,
    /// which use
    pub report_id: ReportId,
    /// under which authorization
    pub authz_id: AuthzId,
    /// how that is proved
    pub level: EvidenceLevel,
    /// for what
    pub purpose: Purpose,
    /// which dimensions
    pub dimensions: Vec<Dimension>,
    /// when it was reserved: the block's time; of a use that the state has forgotten, when it was delivered
    pub reserved: UnixMillis,
    /// where it stands on the chain: block, transaction, record; none 90 days after the authorization's end,
    /// when only the blocks and this store still know of it
    pub proof: Option<ChainPlace>,
    /// what both sides told the chain
    pub traces: Vec<Trace>,
    /// who delivered the openings: (side, node)
    pub delivered_by: Vec<(Side, NodeId)>,
    /// what one side lacks
    pub gaps: Vec<Finding>,
}

/// Where a record stands.
#[derive(Debug, Serialize)]
pub struct ChainPlace {
    /// block
    pub height: Height,
    /// its hash
    pub block: Option<Digest>,
    /// transaction in the block
    pub tx_index: u32,
    /// record in the batch
    pub record_index: u32,
    /// C_r on the chain equals the delivered opening
    pub commitment_matches: bool,
}

/// All looks at one firm.
#[derive(Debug, Serialize)]
pub struct Looks {
    /// in the order of the chain
    pub looks: Vec<Look>,
    /// false: there are more than one answer holds, these are the newest
    pub complete: bool,
    /// height of the verified state that was read
    pub height: Height,
    /// look-ups by the supervisor's own staff: (when, who, why)
    pub lookups: Vec<(UnixMillis, String, String)>,
}

/// Follows one firm, for an identified auditor. In the journal first: the API and the console both come here.
pub async fn recorded(app: &Arc<App>, who: &str, asked: LookRequest) -> Result<Looks, Rejection> {
    check_reason(&asked)?;
    let what = serde_json::json!({ "subject_tag": app.tags.subject(&asked.subject) });
    let (at, by, told) = (app.clock.now(), who.to_owned(), asked.clone());
    app.act(who, "look-up", what, move |s| note_lookup(s, at, &by, &told.subject, &told.reason)).await?;
    let work = Arc::clone(app);
    tokio::task::spawn_blocking(move || at_subject(&work, &asked)).await.map_err(Rejection::internal)?
}

fn check_reason(asked: &LookRequest) -> Result<(), Rejection> {
    let length = asked.reason.chars().count();
    if !(4..=200).contains(&length) || asked.reason.chars().any(char::is_control) {
        return Err(Rejection::new(
            reject::MALFORMED,
            "`reason` needs 4 to 200 printable characters: it is recorded",
        ));
    }
    Ok(())
}

/// Follows one firm.
fn at_subject(app: &App, asked: &LookRequest) -> Result<Looks, Rejection> {
    let (store, now) = (app.supervisor_store()?, app.clock.now());
    let mut by_use: BTreeMap<(InstitutionId, ReportId), Vec<Delivered>> = BTreeMap::new();
    let about = store.about(&asked.subject).map_err(Rejection::internal)?;
    let complete = about.len() < super::store::MAX_ROWS as usize;
    for d in about {
        by_use.entry((d.delivery.asker.clone(), d.delivery.opening.report_id)).or_default().push(d);
    }
    let state = app.state.read();
    let view = View::new(&state);
    let mut looks = Vec::new();
    for ((asker, report_id), deliveries) in by_use {
        let reservation = view.reservation(&asker, &report_id).map_err(Rejection::internal)?;
        looks.extend(look(&view, &asker, reservation.as_ref(), &deliveries, now)?);
    }
    looks.sort_by_key(|l| (l.reserved, l.proof.as_ref().map(|p| (p.height, p.tx_index, p.record_index))));
    let height = state.cursor().height;
    drop(state);
    for place in looks.iter_mut().filter_map(|l| l.proof.as_mut()) {
        place.block = app.state.hash_at(place.height).map_err(Rejection::internal)?;
    }
    let lookups = store.lookups(&asked.subject).map_err(Rejection::internal)?;
    Ok(Looks { looks, complete, height, lookups })
}

fn look(
    view: &View<'_>,
    asker: &InstitutionId,
    reservation: Option<&ReservationState>,
    delivered: &[Delivered],
    now: UnixMillis,
) -> Result<Option<Look>, Rejection> {
    let Some(Delivered { delivery: first, received }) = delivered.first() else { return Ok(None) };
    let deliveries: Vec<Delivery> = delivered.iter().map(|d| d.delivery.clone()).collect();
    let opening = &first.opening;
    let traces = view.traces(asker, &opening.report_id).map_err(Rejection::internal)?;
    let on_chain = reservation.map(|r| UseOnChain {
        asker: asker.clone(),
        report_id: opening.report_id,
        deadline: r.record.deadline,
        traces: traces.clone(),
    });
    let name =
        view.institution(asker).map_err(Rejection::internal)?.map(|i| i.record.name).unwrap_or_default();
    Ok(Some(Look {
        asker: asker.clone(),
        asker_name: name,
        operator_tag: opening.operator_tag,
        report_id: opening.report_id,
        authz_id: opening.authz_id,
        level: first.statement.level,
        purpose: opening.purpose,
        dimensions: opening.dimensions.clone(),
        reserved: reservation.map_or(*received, |r| r.block_time),
        proof: reservation.map(|r| ChainPlace {
            height: r.height,
            block: None,
            tx_index: r.tx_index,
            record_index: r.record_index,
            commitment_matches: opening.commitment().is_ok_and(|c| c == r.record.commitment),
        }),
        traces: traces.into_iter().map(|t| t.record).collect(),
        delivered_by: deliveries.iter().map(|d| (d.side, d.node.clone())).collect(),
        gaps: on_chain.map(|c| gaps(&c, &deliveries, now)).unwrap_or_default(),
    }))
}

/// A use with gaps.
#[derive(Debug, Serialize)]
pub struct OpenUse {
    /// whose
    pub asker: InstitutionId,
    /// which
    pub report_id: ReportId,
    /// block of the reservation
    pub height: Height,
    /// what one side lacks
    pub gaps: Vec<Finding>,
}

/// What a reconciliation found.
#[derive(Debug, Serialize)]
pub struct Reconciliation {
    /// uses with gaps, newest first
    pub open: Vec<OpenUse>,
    /// uses that were looked at
    pub examined: usize,
    /// false: there are more uses, or more gaps, than one answer holds
    pub complete: bool,
}

/// Accepted uses on the chain that have a gap, newest first, at most `limit`; says when that is not all.
pub fn reconciliation(app: &App, limit: usize) -> Result<Reconciliation, Rejection> {
    let store = app.supervisor_store()?;
    let now = app.clock.now();
    let mut all = {
        let state = app.state.read();
        View::new(&state).reservations(MAX_EXAMINED + 1).map_err(Rejection::internal)?
    };
    let mut found = Reconciliation { open: Vec::new(), examined: 0, complete: all.len() <= MAX_EXAMINED };
    all.retain(ReservationState::accepted);
    all.sort_by_key(|r| std::cmp::Reverse(r.height));
    for r in all {
        if found.open.len() >= limit {
            found.complete = false;
            break;
        }
        found.examined += 1;
        let report_id = r.record.report_id;
        // a guard per use: commits must not wait for the whole reconciliation
        let traces =
            View::new(&app.state.read()).traces(&r.asker, &report_id).map_err(Rejection::internal)?;
        let delivered = store.of_use(&r.asker, &report_id).map_err(Rejection::internal)?;
        let deliveries: Vec<Delivery> = delivered.into_iter().map(|d| d.delivery).collect();
        let deadline = r.record.deadline;
        let of = UseOnChain { asker: r.asker.clone(), report_id, deadline, traces };
        let gaps = gaps(&of, &deliveries, now);
        if !gaps.is_empty() {
            found.open.push(OpenUse { asker: r.asker, report_id, height: r.height, gaps });
        }
    }
    Ok(found)
}
