//! Evidence roots, policy, catalogue, rules, heartbeats, state digests: what holds for all.

use super::{DIGESTS_KEPT, Stop, Work, ensure};
use crate::fate::{Alarm, RefusalReason as Why};
use crate::keys;
use crate::table::Author;
use crate::view::{Anchor, MAX_REFERENCES, MAX_ROOTS};
use gw_proto::record::{
    Cap, CatalogueVersion, EvidenceRoot, Heartbeat, Policy, ReferenceManifest, Rules, StateDigest,
};
use gw_proto::{EvidenceLevel, sm3};

const MAX_CERTIFICATE: usize = 4096;
/// A staleness bound above an hour would make freshness a word.
const STALENESS_MS: std::ops::RangeInclusive<u64> = 1..=3_600_000;
/// PROTOCOL: deadline ≤ block time + 10 min.
const RESERVATION_MS: std::ops::RangeInclusive<u64> = 1..=600_000;
/// Bytes of a release's name.
const MAX_RELEASE: usize = 200;
/// A box reads all future rules at every block.
const MAX_RULES: usize = 32;

/// Only the form is checked, not the certificate: what apply decides must not depend on a certificate parser.
pub(super) fn evidence_root(work: &mut Work<'_>, r: &EvidenceRoot) -> Result<(), Stop> {
    let size = r.certificate.0.len();
    let form = (1..=MAX_CERTIFICATE).contains(&size) && sm3(&r.certificate.0) == r.id;
    // an asserted authorization has no certificate
    ensure(form && r.level != EvidenceLevel::Asserted, Why::RootInvalid)?;
    let roots = work.view().all_evidence_roots()?;
    ensure(roots.len() < MAX_ROOTS || roots.iter().any(|x| x.id == r.id), Why::TooMany)?;
    Ok(work.put(keys::evidence_root(&r.id), r)?)
}

pub(super) fn policy(work: &mut Work<'_>, r: &Policy) -> Result<(), Stop> {
    let next = work.view().policy()?.map_or(1, |p| p.version.saturating_add(1));
    ensure(r.version == next, Why::VersionNotNext)?;
    ensure(STALENESS_MS.contains(&r.staleness_ms), Why::PolicyInvalid)?;
    ensure(RESERVATION_MS.contains(&r.reservation_ms), Why::PolicyInvalid)?;
    let caps = [&r.caps.signed, &r.caps.sealed, &r.caps.asserted];
    ensure(caps.into_iter().all(cap_well_formed), Why::PolicyInvalid)?;
    Ok(work.put(keys::policy(), r)?)
}

/// No dimensions or no uses are well-formed: they close the level.
fn cap_well_formed(cap: &Cap) -> bool {
    cap.dimensions.windows(2).all(|w| matches!(w, [a, b] if a < b))
}

/// A digest keeps its release; only its standing changes. The manifest itself is not on the chain.
pub(super) fn reference(work: &mut Work<'_>, r: &ReferenceManifest) -> Result<(), Stop> {
    let good = (1..=MAX_RELEASE).contains(&r.release.len()) && !r.release.chars().any(char::is_control);
    ensure(good, Why::TextInvalid)?;
    let listed = work.view().references()?;
    let known = listed.iter().find(|l| l.digest == r.digest);
    ensure(known.is_none_or(|k| k.release == r.release), Why::Conflict)?;
    ensure(known.is_some() || listed.len() < MAX_REFERENCES, Why::TooMany)?;
    Ok(work.put(keys::reference(&r.digest), r)?)
}

pub(super) fn catalogue(work: &mut Work<'_>, r: &CatalogueVersion) -> Result<(), Stop> {
    let version_good = (1..=20).contains(&r.version.len())
        && r.version.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    ensure(version_good, Why::TextInvalid)?;
    // a version never changes its meaning: old reports name it
    let known = work.view().catalogue_version(&r.version)?;
    ensure(known.is_none_or(|k| k.digest == r.digest), Why::Conflict)?;
    work.put(keys::catalogue_version(&r.version), r)?;
    Ok(work.put(keys::catalogue(), r)?)
}

/// A later record for the same height supersedes: governance can take back what is not yet in force.
pub(super) fn rules(work: &mut Work<'_>, r: &Rules) -> Result<(), Stop> {
    ensure(r.version > 0 && r.from_height > work.height, Why::RulesNotAhead)?;
    let set = work.view().rules()?;
    // of those in force by now only the newest matters
    let past = set.iter().filter(|s| s.from_height <= work.height).count();
    let over = past.saturating_sub(1);
    let replaces = set.iter().any(|s| s.from_height == r.from_height);
    ensure(set.len() - over < MAX_RULES || replaces, Why::TooMany)?;
    for old in set.iter().take(over) {
        work.remove(keys::rules(old.from_height));
    }
    Ok(work.put(keys::rules(r.from_height), r)?)
}

/// Leaves no trace in the state: that there is a block is its effect.
pub(super) fn heartbeat(work: &mut Work<'_>, r: &Heartbeat) -> Result<(), Stop> {
    ensure(r.seen < work.height, Why::HeightAhead)
}

/// Compared with our own digest. A mismatch is an alarm, not a refusal: the record is what the supervisor saw.
pub(super) fn state_digest(work: &mut Work<'_>, author: &Author, r: &StateDigest) -> Result<(), Stop> {
    let by = author.node_id().ok_or(Why::WriterNotAllowed)?.clone();
    ensure(r.height < work.height, Why::HeightAhead)?;
    ensure(work.height.0 - r.height.0 < DIGESTS_KEPT, Why::HeightForgotten)?;
    let ours = work.view().digest_at(r.height)?.ok_or(Why::HeightForgotten)?;
    if ours != r.digest {
        work.alarms.push(Alarm::DigestMismatch { height: r.height, ours, theirs: r.digest, by });
        return Ok(());
    }
    let newest = work.view().anchor()?.is_none_or(|a| a.height < r.height);
    if newest {
        work.put(keys::anchor(), &Anchor { height: r.height, digest: ours, by })?;
    }
    Ok(())
}
