//! Checks of the quote itself: what is signed, by whom, over which values.

use super::Context;
use crate::{
    attest_structure::{Attested, ChipKey, Counters, Subject, parse_attested},
    error::AttestError,
    evidence::Bundle,
    hash::Bank,
    verdict::{CheckName as N, Sheet},
};
use std::collections::BTreeSet;

/// Counters of the quote, if the enrolled key signed it.
pub(super) fn check(
    sheet: &mut Sheet,
    bundle: &Bundle,
    context: &Context<'_>,
    key: Option<&ChipKey>,
) -> Option<Counters> {
    let signed = signature(sheet, bundle, key);
    let attested = read(sheet, bundle)?;
    let expected = bundle.claims.extra_data(&context.challenge.channel);
    let expected = expected.map_or_else(|e| e.to_string(), hex::encode);
    let found = hex::encode(&attested.extra_data);
    sheet.check(N::ExtraData, found == expected, &expected, &found);
    pcrs(sheet, bundle, context, &attested.subject);
    (signed && !sheet.has_failed(N::AkEnrolled)).then_some(attested.counters)
}

fn signature(sheet: &mut Sheet, bundle: &Bundle, key: Option<&ChipKey>) -> bool {
    let Some(key) = key else {
        sheet.skip(&[N::Signature], "the attestation key cannot be read");
        return false;
    };
    let quote = &bundle.quote;
    match key.verifies(&quote.attested.0, quote.hash, &quote.signature) {
        Ok(()) => sheet.check(N::Signature, true, "", "it verifies"),
        Err(found) => sheet.check(N::Signature, false, "the attestation key's signature", found),
    }
}

fn read(sheet: &mut Sheet, bundle: &Bundle) -> Option<Attested> {
    const REST: &[N] =
        &[N::AttestType, N::ExtraData, N::PcrBank, N::PcrSelection, N::PcrValues, N::PcrDigest];
    let attested = match parse_attested(&bundle.quote.attested.0) {
        Ok(attested) => attested,
        Err(e) => {
            let magic = matches!(e, AttestError::Magic { .. });
            let (failed, other) = if magic { (N::Magic, N::AttestForm) } else { (N::AttestForm, N::Magic) };
            sheet.check(failed, false, "TPMS_ATTEST of a chip", e);
            sheet.skip(&[other], "the statement cannot be read");
            sheet.skip(REST, "the statement cannot be read");
            return None;
        }
    };
    sheet.fine(N::Magic, "0xff544347");
    sheet.fine(N::AttestForm, "TPMS_ATTEST");
    let quote = matches!(attested.subject, Subject::Quote { .. });
    sheet.check(N::AttestType, quote, "quote", attested.subject.as_str());
    Some(attested)
}

fn pcrs(sheet: &mut Sheet, bundle: &Bundle, context: &Context<'_>, subject: &Subject) {
    let Subject::Quote { selection, digest } = subject else {
        let rest = [N::PcrBank, N::PcrSelection, N::PcrValues, N::PcrDigest];
        return sheet.skip(&rest, "the statement is no quote");
    };
    let (quote, rules) = (&bundle.quote, context.policy.get());
    let used: Vec<_> = selection.iter().filter(|(_, pcrs)| !pcrs.is_empty()).collect();
    let banks: Vec<_> = used.iter().map(|(id, _)| bank_name(*id)).collect();
    let right = matches!(used.as_slice(), [(id, _)] if *id == quote.bank.alg_id());
    let accepted = rules.banks.iter().map(|b| b.as_str()).collect::<Vec<_>>().join(" or ");
    let found = format!("{} quoted, values of {}", banks.join(", "), quote.bank);
    sheet.check(N::PcrBank, right && rules.banks.contains(&quote.bank), accepted, found);
    let selected: Vec<u8> = used.iter().flat_map(|(_, pcrs)| pcrs.iter().copied()).collect();
    selection_is(sheet, &rules.pcrs, &selected);
    let given: Vec<u8> = quote.pcrs.iter().map(|p| p.pcr).collect();
    sheet.check(N::PcrValues, given == selected, list(&selected), list(&given));
    let values: Vec<&[u8]> = quote.pcrs.iter().map(|p| p.value.0.as_slice()).collect();
    // TPM 2.0 part 3, 18.4: hashed with the signing scheme's hash, whatever the bank
    let (expected, found) = (hex::encode(digest), hex::encode(quote.hash.digest(&values)));
    sheet.check(N::PcrDigest, expected == found, &expected, &found);
}

fn selection_is(sheet: &mut Sheet, wanted: &BTreeSet<u8>, selected: &[u8]) {
    let found: BTreeSet<u8> = selected.iter().copied().collect();
    let missing: Vec<u8> = wanted.difference(&found).copied().collect();
    let more: Vec<u8> = found.difference(wanted).copied().collect();
    let said = match (missing.is_empty(), more.is_empty()) {
        (true, true) => list(selected),
        (false, _) => format!("missing {}", list(&missing)),
        (true, false) => format!("not asked for: {}", list(&more)),
    };
    let all: Vec<u8> = wanted.iter().copied().collect();
    sheet.check(N::PcrSelection, missing.is_empty() && more.is_empty(), list(&all), said);
}

fn bank_name(id: u16) -> String {
    Bank::from_alg_id(id).map_or_else(|| format!("{id:#06x}"), |b| b.to_string())
}

fn list(pcrs: &[u8]) -> String {
    let names: Vec<_> = pcrs.iter().map(u8::to_string).collect();
    if names.is_empty() { "no PCR".to_owned() } else { format!("PCR {}", names.join(", ")) }
}
