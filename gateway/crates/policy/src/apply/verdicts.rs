//! Verdicts: what each supervisor found of a gateway's evidence. What they come to: `trust.rs`.

use super::{Stop, Work, ensure};
use crate::fate::RefusalReason as Why;
use crate::keys;
use crate::table::Author;
use crate::view::VerdictState;
use gw_proto::UnixMillis;
use gw_proto::record::DeviceVerdict;

/// How long a verdict lasts, ms.
const LASTS_MS: u64 = 86_400_000;
/// A supervisor's clock may be this far ahead of the chain's time, which is a proposer's, ms.
const AHEAD_MS: u64 = 300_000;

/// Only a newer verdict replaces one: whoever orders transactions cannot play an older one after it.
pub(super) fn verdict(work: &mut Work<'_>, author: &Author, r: &DeviceVerdict) -> Result<(), Stop> {
    let by = author.node().ok_or(Why::WriterNotAllowed)?.record.clone();
    ensure(by.id != r.node, Why::VerdictOnSelf)?;
    let node = work.view().node(&r.node)?.ok_or(Why::UnknownNode)?;
    ensure(node.record.key.id() == r.key, Why::OtherKey)?;
    let until = UnixMillis(r.judged.min(work.time).0.saturating_add(LASTS_MS));
    let ahead = r.judged.0.saturating_sub(work.time.0);
    ensure(ahead <= AHEAD_MS && until > work.time, Why::VerdictInvalid)?;
    let by_key = by.key.id();
    let known = work.view().verdict(&r.node, &by.id)?;
    if let Some(known) = known.filter(|k| k.by_key == by_key && k.record.key == r.key) {
        if known.record == *r {
            return Err(Stop::Repeated);
        }
        ensure(r.judged > known.record.judged, Why::VerdictOlder)?;
    }
    let key = keys::verdict(&r.node, &by.id);
    let state = VerdictState { record: r.clone(), by: by.id, by_key, height: work.height, until };
    Ok(work.put(key, &state)?)
}
