//! A real box's event log against a manifest: what a verifier would say, without a verifier.

use crate::ManifestError;
use gw_attest::{
    Bank,
    reference::{ExpectedDigest, Manifest, PcrReference, Want},
    replay::{Replay, Step},
};

/// One line per PCR that the log does not lead to, none if all is well. The gateway's own PCR is not in such a log.
pub fn differences(manifest: &Manifest, log: &[u8], bank: Bank) -> Result<Vec<String>, ManifestError> {
    let replay = Replay::of(bank, Some(log), &[])?;
    Ok(manifest.pcrs.iter().filter_map(|reference| difference(reference, &replay, bank)).collect())
}

fn difference(reference: &PcrReference, replay: &Replay, bank: Bank) -> Option<String> {
    let (pcr, steps) = (reference.pcr, replay.steps_of(reference.pcr).collect::<Vec<_>>());
    match &reference.want {
        Want::Value { component, digests } => {
            let value = replay.pcr(pcr);
            // systemd's phases are in a log of its own
            let phases = [b"enter-initrd", b"leave-initrd"];
            let later = phases.iter().fold(value, |v, p| bank.extend(&v, &bank.digest(&[*p])));
            let good = digests.of(bank).iter().any(|d| d.0 == value || d.0 == later);
            (!good).then(|| format!("PCR {pcr}: {component}: the log leads to {}", hex::encode(value)))
        }
        Want::Events(events) => {
            let firmware: Vec<_> =
                events.iter().filter(|e| matches!(e.digest, ExpectedDigest::OneOf(_))).collect();
            if firmware.len() < events.len() {
                return None;
            }
            let at = (0..firmware.len().max(steps.len())).find(|i| {
                let (event, step) = (firmware.get(*i), steps.get(*i));
                !event.zip(step).is_some_and(|(e, s)| holds(&e.digest, s, bank))
            })?;
            let wanted = firmware.get(at).map_or("nothing more", |e| e.component.as_str());
            let found = steps.get(at).map_or_else(|| "nothing more".to_owned(), |s| spell(s));
            Some(format!("PCR {pcr}, event {at}: expected {wanted}, the log has {found}"))
        }
    }
}

fn holds(digest: &ExpectedDigest, step: &Step, bank: Bank) -> bool {
    matches!(digest, ExpectedDigest::OneOf(all) if all.of(bank).iter().any(|d| d.0 == step.digest))
}

fn spell(step: &Step) -> String {
    format!("{} ({})", hex::encode(step.digest), step.title)
}
