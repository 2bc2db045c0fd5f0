//! Who looked: a firm's looks, each followed to its authorization, with proofs and gaps.
//!
//! The answer to an auditor's question within ten minutes. Each look-up is itself recorded, with who and
//! why, before its result is shown.

use super::reconcile::{Finding, UseOnChain, gaps};
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
use std::collections::BTreeMap;

/// What an auditor asks.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
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
    /// when it was reserved: the block's time
    pub reserved: UnixMillis,
    /// where it stands on the chain: block, transaction, record
    pub proof: ChainPlace,
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
    /// height of the verified state that was read
    pub height: Height,
    /// look-ups by the supervisor's own staff: (when, who, why)
    pub lookups: Vec<(UnixMillis, String, String)>,
}

/// Follows one firm. Records the look-up first.
pub fn at_subject(app: &App, who: &str, asked: &LookRequest) -> Result<Looks, Rejection> {
    let length = asked.reason.chars().count();
    if !(4..=200).contains(&length) || asked.reason.chars().any(char::is_control) {
        return Err(Rejection::new(
            reject::MALFORMED,
            "`reason` needs 4 to 200 printable characters: it is recorded",
        ));
    }
    let store = app.supervisor_store()?;
    let now = app.clock.now();
    store.note_lookup(now, who, &asked.subject, &asked.reason).map_err(Rejection::internal)?;
    let mut by_use: BTreeMap<(InstitutionId, ReportId), Vec<Delivery>> = BTreeMap::new();
    for d in store.about(&asked.subject).map_err(Rejection::internal)? {
        by_use.entry((d.delivery.asker.clone(), d.delivery.opening.report_id)).or_default().push(d.delivery);
    }
    let state = app.state.read();
    let view = View::new(&state);
    let mut looks = Vec::new();
    for ((asker, report_id), deliveries) in by_use {
        let Some(reservation) = view.reservation(&asker, &report_id).map_err(Rejection::internal)? else {
            continue;
        };
        if let Some(look) = look(&view, &asker, &reservation, &deliveries, now)? {
            looks.push(look);
        }
    }
    looks.sort_by_key(|l| (l.proof.height, l.proof.tx_index, l.proof.record_index));
    let height = state.cursor().height;
    drop(state);
    for l in &mut looks {
        l.proof.block = app.state.hash_at(l.proof.height).map_err(Rejection::internal)?;
    }
    let lookups = store.lookups(&asked.subject).map_err(Rejection::internal)?;
    Ok(Looks { looks, height, lookups })
}

fn look(
    view: &View<'_>,
    asker: &InstitutionId,
    reservation: &ReservationState,
    deliveries: &[Delivery],
    now: UnixMillis,
) -> Result<Option<Look>, Rejection> {
    let Some(first) = deliveries.first() else { return Ok(None) };
    let opening = &first.opening;
    let traces: Vec<Trace> = view
        .traces(asker, &opening.report_id)
        .map_err(Rejection::internal)?
        .into_iter()
        .map(|t| t.record)
        .collect();
    let on_chain = UseOnChain {
        asker: asker.clone(),
        report_id: opening.report_id,
        deadline: reservation.record.deadline,
        traces: traces.clone(),
    };
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
        reserved: reservation.block_time,
        proof: ChainPlace {
            height: reservation.height,
            block: None,
            tx_index: reservation.tx_index,
            record_index: reservation.record_index,
            commitment_matches: opening.commitment().is_ok_and(|c| c == reservation.record.commitment),
        },
        traces,
        delivered_by: deliveries.iter().map(|d| (d.side, d.node.clone())).collect(),
        gaps: gaps(&on_chain, deliveries, now),
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

/// Every accepted use on the chain that has a gap, newest first, at most `limit`.
pub fn reconciliation(app: &App, limit: usize) -> Result<Vec<OpenUse>, Rejection> {
    let store = app.supervisor_store()?;
    let now = app.clock.now();
    let state = app.state.read();
    let view = View::new(&state);
    let mut open = Vec::new();
    let mut all = view.reservations(super::store::MAX_ROWS as usize).map_err(Rejection::internal)?;
    all.sort_by_key(|r| std::cmp::Reverse(r.height));
    for r in all.into_iter().filter(ReservationState::accepted) {
        if open.len() >= limit {
            break;
        }
        let traces = view.traces(&r.asker, &r.record.report_id).map_err(Rejection::internal)?;
        let of = UseOnChain {
            asker: r.asker.clone(),
            report_id: r.record.report_id,
            deadline: r.record.deadline,
            traces: traces.into_iter().map(|t| t.record).collect(),
        };
        let deliveries: Vec<Delivery> = store
            .of_use(&r.asker, &r.record.report_id)
            .map_err(Rejection::internal)?
            .into_iter()
            .map(|d| d.delivery)
            .collect();
        let gaps = gaps(&of, &deliveries, now);
        if !gaps.is_empty() {
            open.push(OpenUse { asker: r.asker, report_id: r.record.report_id, height: r.height, gaps });
        }
    }
    Ok(open)
}
