//! Uses: reserved, given back, told of.

use super::{Place, Stop, Work, ensure};
use crate::fate::{Fate, RefusalReason as Why};
use crate::keys;
use crate::state::StateError;
use crate::table::Author;
use crate::view::{AuthzState, NodeRec, ReservationState, TraceState, View};
use gw_proto::Role;
use gw_proto::record::{Refund, Reservation, Side, Trace, TraceStatus};

/// The most reply leaves that one side tells of one source in one use.
const MAX_LEAVES: usize = 8;

/// Spends a use, in chain order. Keyed by the writer's institution: nobody takes another's report id.
/// A refusal of a known authorization's reservation is kept, so that a source can say why it does not answer.
pub(super) fn reservation(
    work: &mut Work<'_>,
    author: &Author,
    place: Place,
    r: &Reservation,
) -> Result<(), Stop> {
    let node = author.node().ok_or(Why::WriterNotAllowed)?;
    let asker = &node.record.institution;
    if let Some(known) = work.view().reservation(asker, &r.report_id)? {
        // the deadline may differ in a retry: the first one stands
        let same = known.record.authz_id == r.authz_id && known.record.commitment == r.commitment;
        return Err(if same { Stop::Repeated } else { Why::Conflict.into() });
    }
    let mut authz = work.view().authorization(&r.authz_id)?.ok_or(Why::UnknownAuthorization)?;
    ensure(authz.record.holder == *asker, Why::ForeignHolder)?;
    let fate = match admit(work, &authz, r) {
        Ok(()) => Fate::Accepted,
        Err(Stop::Refused(reason)) => Fate::Refused(reason),
        Err(other) => return Err(other),
    };
    keep(work, node, place, r, fate)?;
    match fate {
        Fate::Refused(reason) => Err(reason.into()),
        Fate::Accepted | Fate::Repeated => {
            authz.spent = authz.spent.saturating_add(1);
            Ok(work.put(keys::authorization(&r.authz_id), &authz)?)
        }
    }
}

fn admit(work: &Work<'_>, authz: &AuthzState, r: &Reservation) -> Result<(), Stop> {
    let policy = work.view().policy()?.ok_or(Why::NoPolicy)?;
    ensure(authz.revoked.is_none(), Why::Revoked)?;
    ensure(work.time >= authz.record.not_before, Why::NotYetValid)?;
    ensure(work.time < authz.record.not_after, Why::Expired)?;
    ensure(authz.spent < authz.record.max_uses, Why::UsedUp)?;
    // a cap that was lowered since acts at once
    ensure(authz.spent < policy.caps.of(authz.record.level).max_uses, Why::UsesAboveCap)?;
    let latest = work.time.0.saturating_add(policy.reservation_ms);
    ensure(r.deadline > work.time && r.deadline.0 <= latest, Why::DeadlineInvalid)
}

fn keep(work: &mut Work<'_>, node: &NodeRec, place: Place, r: &Reservation, fate: Fate) -> Result<(), Stop> {
    let asker = node.record.institution.clone();
    let at = keys::use_at(&r.authz_id, work.height, place.tx_index, place.record_index);
    work.put(at, &r.report_id)?;
    let state = ReservationState {
        record: r.clone(),
        asker: asker.clone(),
        node: node.record.id.clone(),
        height: work.height,
        tx_index: place.tx_index,
        record_index: place.record_index,
        block_time: work.time,
        fate,
        refunded: None,
    };
    Ok(work.put(keys::reservation(&asker, &r.report_id), &state)?)
}

/// Whether a trace has something to tell that the chain does not know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceNeed {
    /// It would be accepted.
    Open,
    /// The chain knows as much already, or more, or all that it takes: a repetition changes nothing.
    Settled,
    /// The chain does not know the use: not yet, on a state below the reservation's height; no longer, above.
    Unknown,
}

/// What [`apply_block`](super::apply_block) would make of a trace by the node whose side it tells.
/// Whoever must write a trace asks this before it writes, and stops when it is settled.
pub fn trace_need(view: &View<'_>, r: &Trace) -> Result<TraceNeed, StateError> {
    if view.reservation(&r.asker, &r.report_id)?.is_none() {
        return Ok(TraceNeed::Unknown);
    }
    let earlier = view.traces(&r.asker, &r.report_id)?;
    let earlier = earlier.into_iter().find(|t| t.record.side == r.side && t.record.source == r.source);
    Ok(if leaves(earlier.as_ref(), r).is_ok() { TraceNeed::Open } else { TraceNeed::Settled })
}

/// Gives the use back, once, and voids the reservation: no source answers it any more.
pub(super) fn refund(work: &mut Work<'_>, r: &Refund) -> Result<(), Stop> {
    let mut known = work.view().reservation(&r.asker, &r.report_id)?.ok_or(Why::UnknownReservation)?;
    ensure(known.accepted(), Why::ReservationRefused)?;
    if known.refunded.is_some() {
        return Err(Stop::Repeated);
    }
    known.refunded = Some(work.height);
    let authz = known.record.authz_id;
    work.put(keys::reservation(&r.asker, &r.report_id), &known)?;
    // reservations are forgotten before their authorization, never after
    let mut authz = work.view().authorization(&authz)?.ok_or(Why::UnknownAuthorization)?;
    authz.spent = authz.spent.saturating_sub(1);
    Ok(work.put(keys::authorization(&authz.record.id), &authz)?)
}

/// What became of a use at one source, as one side tells it. Also after a refund: it tells what happened.
pub(super) fn trace(work: &mut Work<'_>, author: &Author, place: Place, r: &Trace) -> Result<(), Stop> {
    let node = author.node().ok_or(Why::WriterNotAllowed)?;
    let stands = match r.side {
        Side::Asker => node.has(Role::Institution) && node.record.institution == r.asker,
        Side::Source => node.has(Role::Source) && node.record.id == r.source,
    };
    ensure(stands, Why::WrongSide)?;
    let known = work.view().reservation(&r.asker, &r.report_id)?.ok_or(Why::UnknownReservation)?;
    ensure(known.accepted(), Why::ReservationRefused)?;
    let source = work.view().node(&r.source)?;
    ensure(source.is_some_and(|n| n.has(Role::Source)), Why::UnknownSource)?;
    let earlier = work.view().traces(&r.asker, &r.report_id)?;
    let earlier = earlier.into_iter().find(|t| t.record.side == r.side && t.record.source == r.source);
    let reply_leaves = leaves(earlier.as_ref(), r)?;
    let state = TraceState {
        record: r.clone(),
        node: node.record.id.clone(),
        height: work.height,
        tx_index: place.tx_index,
        record_index: place.record_index,
        block_time: work.time,
        reply_leaves,
    };
    Ok(work.put(keys::trace(&r.asker, &r.report_id, r.side, &r.source), &state)?)
}

/// A later trace may say more (a missing node answered after all, a retry was signed anew), never less.
fn leaves(earlier: Option<&TraceState>, r: &Trace) -> Result<Vec<gw_proto::Digest>, Stop> {
    let mut leaves = earlier.map(|t| t.reply_leaves.clone()).unwrap_or_default();
    if let Some(earlier) = earlier {
        ensure(weight(r.status) >= weight(earlier.record.status), Why::TraceFinal)?;
        let told = r.reply_leaf.is_none_or(|l| leaves.contains(&l));
        if r.status == earlier.record.status && told {
            return Err(Stop::Repeated);
        }
    }
    if let Some(leaf) = r.reply_leaf.filter(|l| !leaves.contains(l)) {
        ensure(leaves.len() < MAX_LEAVES, Why::TooMany)?;
        leaves.push(leaf);
    }
    Ok(leaves)
}

fn weight(status: TraceStatus) -> u8 {
    match status {
        TraceStatus::Missing => 0,
        TraceStatus::Refused => 1,
        TraceStatus::Empty => 2,
        TraceStatus::Answered => 3,
    }
}
