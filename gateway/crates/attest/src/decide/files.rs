//! The files that the configuration names: each measured once, as they were approved with that configuration.
//!
//! No manifest lists them: they are the institution's own. What an operator approved when the device was enrolled
//! is what they are judged by.

use super::Context;
use crate::{
    evidence::{Bundle, FILE, file_measurement},
    replay::{Replay, Step},
    verdict::{CheckName as N, Sheet},
};
use gw_proto::Digest;
use std::collections::BTreeMap;

/// The role of the file that an event of the gateway's own log is about.
pub(super) fn role(step: &Step) -> Option<&str> {
    step.component.as_deref()?.strip_prefix(FILE)
}

pub(super) fn check(sheet: &mut Sheet, bundle: &Bundle, context: &Context<'_>, replay: &Replay) {
    let (claimed, enrolled) = (&bundle.claims.configuration, context.enrolled);
    if !enrolled.configurations.contains(claimed) {
        return sheet.skip(&[N::ConfigurationFile], "the configuration is not approved");
    }
    let pcrs = &context.policy.get().pcrs;
    let mut measured: BTreeMap<&str, Vec<[u8; 32]>> = BTreeMap::new();
    for step in replay.steps().iter().filter(|s| pcrs.contains(&s.pcr)) {
        if let Some(role) = role(step) {
            measured.entry(role).or_default().push(step.digest);
        }
    }
    let bank = bundle.quote.bank;
    let approved = enrolled.files.iter().filter(|a| a.configuration == *claimed);
    let as_extended = |files: &BTreeMap<String, Digest>| -> BTreeMap<String, [u8; 32]> {
        files.iter().map(|(role, file)| (role.clone(), file_measurement(bank, role, file).0)).collect()
    };
    let approved: Vec<_> = approved.map(|a| as_extended(&a.files)).collect();
    let fits = |wanted: &BTreeMap<String, [u8; 32]>| differences(wanted, &measured).is_empty();
    if approved.iter().any(fits) || (approved.is_empty() && measured.is_empty()) {
        return sheet.fine(N::ConfigurationFile, format!("{} files", measured.len()));
    }
    let none = BTreeMap::new();
    for d in differences(approved.last().unwrap_or(&none), &measured) {
        sheet.blame(N::ConfigurationFile, &d.role, &d.expected, &d.found);
    }
}

struct Difference {
    role: String,
    expected: String,
    found: String,
}

fn differences(
    wanted: &BTreeMap<String, [u8; 32]>,
    measured: &BTreeMap<&str, Vec<[u8; 32]>>,
) -> Vec<Difference> {
    let mut all = Vec::new();
    for (role, digest) in wanted {
        let found = match measured.get(role.as_str()).map(Vec::as_slice) {
            Some([one]) if one == digest => continue,
            Some([one]) => hex::encode(one),
            Some(many) => format!("measured {} times", many.len()),
            None => "not measured".to_owned(),
        };
        all.push(Difference { role: role.clone(), expected: hex::encode(digest), found });
    }
    for (role, digests) in measured.iter().filter(|(role, _)| !wanted.contains_key(**role)) {
        let expected = "no such file is approved with this configuration".to_owned();
        let found = digests.iter().map(hex::encode).collect::<Vec<_>>().join(", ");
        all.push(Difference { role: (*role).to_owned(), expected, found });
    }
    all
}
