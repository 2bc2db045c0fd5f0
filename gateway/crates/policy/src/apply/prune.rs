//! What is forgotten, and when: the same on every box, a bounded number of entries per block.
//!
//! Nothing depends on having forgotten: an expired authorization is refused for its time, a batch for its
//! height. Forgetting only keeps the state small.

use super::Work;
use crate::fate::ApplyError;
use crate::keys;
use crate::state::StateRead as _;

use gw_proto::{AuthzId, Height, ReportId, UnixMillis};

/// An authorization, its reservations and their traces are kept this long after it ended: traces come late,
/// refunds later, and reconciliation reads both.
pub(super) const KEPT_MS: u64 = 90 * 86_400_000;
/// The most due entries taken up in one block.
const PER_BLOCK: usize = 256;
/// More than can stand under one of the prefixes that are read whole.
const ALL: usize = 1 << 20;

/// Forget an authorization's entry, with what hangs on it, some time after `end`.
pub(super) fn schedule(work: &mut Work<'_>, end: UnixMillis, target: &[u8]) -> Result<(), ApplyError> {
    schedule_exactly(work, UnixMillis(end.0.saturating_add(KEPT_MS)), target)
}

/// Forget an entry once the chain's time reaches `at`.
pub(super) fn schedule_exactly(work: &mut Work<'_>, at: UnixMillis, target: &[u8]) -> Result<(), ApplyError> {
    work.put(keys::expiry(at, target), &true)
}

pub(super) fn forget(work: &mut Work<'_>) -> Result<(), ApplyError> {
    forget_seen(work)?;
    let mut budget = PER_BLOCK;
    // one entry in most blocks: the oldest is not due
    while budget > 0
        && let Some((key, _)) = work.state.scan(&keys::expiries(), 1)?.into_iter().next()
        && let Some((at, target)) = keys::parse_expiry(&key)
        && at <= work.time
    {
        budget -= 1;
        let target = target.to_vec();
        if let Some(authz) = keys::parse_authorization(&target)
            && !forget_uses(work, &authz, &mut budget)?
        {
            return Ok(()); // the rest in the next block
        }
        work.remove(target);
        work.remove(key);
    }
    Ok(())
}

/// Ids of records whose batch cannot come any more. Heights come one by one, so one prefix is all of them.
fn forget_seen(work: &mut Work<'_>) -> Result<(), ApplyError> {
    let expired = Height(work.height.0.saturating_sub(1));
    for (key, _) in work.state.scan(&keys::seen_until(expired), ALL)? {
        work.remove(key);
    }
    Ok(())
}

/// Forgets reservations and traces of an authorization; true when none is left.
fn forget_uses(work: &mut Work<'_>, authz: &AuthzId, budget: &mut usize) -> Result<bool, ApplyError> {
    let Some(state) = work.view().authorization(authz)? else { return Ok(true) };
    let holder = state.record.holder;
    let uses = work.state.scan(&keys::uses_of(authz), budget.saturating_add(1))?;
    for (key, value) in uses {
        if *budget == 0 {
            return Ok(false);
        }
        *budget -= 1;
        let report: ReportId = serde_json::from_slice(&value)
            .map_err(|e| crate::state::StateError::Corrupt { table: "use", why: e.to_string() })?;
        for (trace, _) in work.state.scan(&keys::traces(&holder, &report), ALL)? {
            work.remove(trace);
        }
        work.remove(keys::reservation(&holder, &report));
        work.remove(key);
    }
    Ok(true)
}
