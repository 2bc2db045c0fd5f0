//! Authorizations and their end.

use super::{Place, Stop, Work, ensure, prune};
use crate::fate::RefusalReason as Why;
use crate::keys;
use crate::table::Author;
use crate::view::{AuthzState, load};
use gw_proto::message::revoke_hash;
use gw_proto::record::{Authorization, Revocation, authz_id};
use gw_proto::{InstitutionId, Role, UnixMillis};

const DAY_MS: u64 = 86_400_000;

pub(super) fn authorization(
    work: &mut Work<'_>,
    author: &Author,
    place: Place,
    r: &Authorization,
) -> Result<(), Stop> {
    let node = author.node().ok_or(Why::WriterNotAllowed)?;
    ensure(node.record.institution == r.holder, Why::ForeignHolder)?;
    let derived = authz_id(&r.holder, &r.commitment).map_err(|_| Why::NotCanonical)?;
    ensure(derived == r.id, Why::IdMismatch)?;
    if let Some(known) = work.view().authorization(&r.id)? {
        return Err(if known.record == *r { Stop::Repeated } else { Why::Conflict.into() });
    }
    ensure(r.not_before < r.not_after, Why::ValidityInvalid)?;
    ensure(r.not_after > work.time, Why::Expired)?;
    let policy = work.view().policy()?.ok_or(Why::NoPolicy)?;
    let cap = policy.caps.of(r.level);
    ensure((1..=cap.max_uses).contains(&r.max_uses), Why::UsesAboveCap)?;
    count_for_day(work, r, cap.per_holder_day)?;
    let key = keys::authorization(&r.id);
    prune::schedule(work, r.not_after, &key)?;
    let state = AuthzState {
        record: r.clone(),
        node: node.record.id.clone(),
        accepted_at: work.height,
        tx_index: place.tx_index,
        record_index: place.record_index,
        block_time: work.time,
        spent: 0,
        revoked: None,
    };
    Ok(work.put(key, &state)?)
}

/// Counted for every level, so that a cap set at noon knows the morning.
fn count_for_day(work: &mut Work<'_>, r: &Authorization, cap: Option<u32>) -> Result<(), Stop> {
    let day = work.time.0 / DAY_MS;
    let key = keys::day_count(r.level, &r.holder, day);
    let count: u32 = load(&work.state, "day count", &key)?.unwrap_or(0);
    ensure(cap.is_none_or(|cap| count < cap), Why::DayCap)?;
    if count == 0 {
        prune::schedule_exactly(work, UnixMillis((day + 1) * DAY_MS), &key)?;
    }
    Ok(work.put(key, &count.saturating_add(1))?)
}

/// By its holder, by a supervisor, or by whoever shows the preimage, through any member's node.
pub(super) fn revocation(work: &mut Work<'_>, author: &Author, r: &Revocation) -> Result<(), Stop> {
    let mut known = work.view().authorization(&r.authz_id)?.ok_or(Why::UnknownAuthorization)?;
    if !author.has(Role::Supervisor) && !is_holder(author, &known.record.holder) {
        // somebody else, and no preimage: the table's "institution: yes" meant the holder
        let preimage = r.preimage.as_ref().ok_or(Why::WriterNotAllowed)?;
        ensure(revoke_hash(preimage) == known.record.revoke_hash, Why::PreimageWrong)?;
    }
    if known.revoked.is_some() {
        return Err(Stop::Repeated);
    }
    known.revoked = Some(work.height);
    Ok(work.put(keys::authorization(&r.authz_id), &known)?)
}

fn is_holder(author: &Author, holder: &InstitutionId) -> bool {
    author.node().is_some_and(|n| n.has(Role::Institution) && n.record.institution == *holder)
}
