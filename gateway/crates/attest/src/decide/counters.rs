//! Whether the chip's counters went on from where they were.

use crate::{
    attest_structure::Counters,
    verdict::{CheckName as N, Previous, Sheet},
};

/// A chip stores its clock at least this often (TPM_PT_CLOCK_UPDATE is at most 2²² ms): so much may be lost
/// when it loses power.
const CLOCK_LOSS_MS: u64 = 1 << 22;

pub(super) fn check(sheet: &mut Sheet, previous: Option<&Previous>, current: Option<&Previous>) {
    const ALL: [N; 3] = [N::ResetCount, N::RestartCount, N::Clock];
    let Some(current) = current else { return sheet.skip(&ALL, "the quote is not the enrolled chip's") };
    match previous.filter(|p| p.attestation_key == current.attestation_key) {
        None => ALL.iter().for_each(|n| sheet.fine(*n, "the first evidence of this key")),
        Some(previous) => compare(sheet, &previous.counters, &current.counters),
    }
}

/// Steps of a counter with a constant added: less than half of its range is forward.
fn forward(before: u32, now: u32) -> Option<u32> {
    Some(now.wrapping_sub(before)).filter(|d| *d < 1 << 31)
}

fn compare(sheet: &mut Sheet, before: &Counters, now: &Counters) {
    let resets = forward(before.resets, now.resets);
    let said = |d: Option<u32>| d.map_or_else(|| "it went back".to_owned(), |d| format!("{d} more"));
    sheet.check(N::ResetCount, resets.is_some(), "no less than before", said(resets));
    // a reset starts restarts anew
    let restarts = if resets == Some(0) { forward(before.restarts, now.restarts) } else { Some(1) };
    sheet.check(N::RestartCount, restarts.is_some(), "no less than before", said(restarts));
    let went_on = resets == Some(0) && restarts == Some(0);
    let lost = if went_on { 0 } else { CLOCK_LOSS_MS };
    let least = before.clock_ms.saturating_sub(lost);
    let expected = format!("{least} ms or more{}", if went_on { ": no reset, no restart" } else { "" });
    sheet.check(N::Clock, now.clock_ms >= least, expected, format!("{} ms", now.clock_ms));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    fn failing(before: (u64, u32, u32), now: (u64, u32, u32)) -> Vec<&'static str> {
        let of = |(clock_ms, resets, restarts)| Counters { clock_ms, resets, restarts, safe: true };
        let mut sheet = Sheet::default();
        compare(&mut sheet, &of(before), &of(now));
        sheet.0.iter().filter(|c| c.outcome == Outcome::Failed).map(|c| c.name.as_str()).collect()
    }

    #[test]
    fn each_way_back_has_its_name() {
        let hour = 3_600_000;
        for (before, now, expected) in [
            ((10, 1, 1), (10, 1, 1), &[][..]),
            ((10, 1, 1), (9, 1, 1), &["clock"]),
            ((10, 1, 1), (9, 1, 2), &[]),
            ((10 * hour, 1, 1), (8 * hour, 1, 2), &["clock"]),
            ((10 * hour, 1, 9), (9 * hour, 2, 0), &[]),
            ((10 * hour, 1, 9), (8 * hour, 2, 0), &["clock"]),
            ((10, 1, 2), (20, 1, 1), &["restart-count"]),
            ((10, 2, 0), (20, 1, 0), &["reset-count"]),
            // with a constant added, the number may wrap
            ((10, u32::MAX, 0), (20, 0, 7), &[]),
            ((10, 5, u32::MAX), (20, 5, 0), &[]),
        ] {
            assert_eq!(failing(before, now), expected, "{before:?} {now:?}");
        }
    }
}
