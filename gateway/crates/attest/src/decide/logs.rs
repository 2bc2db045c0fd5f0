//! Checks of what was measured: the logs lead to the quoted values, and say what the release measures.

use super::{Context, files};
use crate::{
    evidence::{self, Bundle, configuration_measurement, inventory_measurement},
    hash::Bank,
    reference::{Digests, Expected, ExpectedDigest, Manifest, PcrReference, Want},
    replay::{Replay, Step},
    verdict::{CheckName as N, Sheet},
};
use gw_proto::Digest;

pub(super) fn check(sheet: &mut Sheet, bundle: &Bundle, context: &Context<'_>, manifest: Option<&Manifest>) {
    let (claims, bank) = (&bundle.claims, bundle.quote.bank);
    let boot_log = claims.boot_log.as_ref().map(|l| l.0.as_slice());
    let replay = match Replay::of(bank, boot_log, &claims.measured) {
        Ok(replay) => replay,
        Err(e) => {
            let rest = [
                N::LogReplay,
                N::KnownEvents,
                N::EventDescription,
                N::Component,
                N::Inventory,
                N::Configuration,
                N::ConfigurationFile,
            ];
            sheet.check(N::EventLog, false, "logs that can be read", e);
            return sheet.skip(&rest, "the event logs cannot be read");
        }
    };
    sheet.fine(N::EventLog, format!("{} events", replay.steps().len()));
    let judge = Judge { bundle, context, manifest, replay: &replay, bank };
    judge.replay_leads_to_quote(sheet);
    judge.events(sheet);
    judge.components(sheet);
    judge.inventory(sheet);
    judge.configuration(sheet);
    files::check(sheet, bundle, context, &replay);
}

struct Judge<'a> {
    bundle: &'a Bundle,
    context: &'a Context<'a>,
    manifest: Option<&'a Manifest>,
    replay: &'a Replay,
    bank: Bank,
}

impl Judge<'_> {
    /// A PCR that the release judges by its value needs no log, or not all of it (systemd keeps one of its own); all
    /// others are explained by one.
    fn replay_leads_to_quote(&self, sheet: &mut Sheet) {
        let before = sheet.0.len();
        let mut explained = 0usize;
        for quoted in &self.bundle.quote.pcrs {
            let by_value = matches!(self.want(quoted.pcr), Some(Want::Value { .. }));
            if by_value {
                continue;
            }
            explained += 1;
            let replayed = self.replay.pcr(quoted.pcr);
            if replayed != quoted.value.0 {
                let (expected, found) = (quoted.value.to_string(), hex::encode(replayed));
                sheet.blame(N::LogReplay, &format!("PCR {}", quoted.pcr), &expected, &found);
            }
        }
        if sheet.0.len() == before {
            sheet.fine(N::LogReplay, format!("{explained} PCRs"));
        }
    }

    fn want(&self, pcr: u8) -> Option<&Want> {
        self.manifest?.pcrs.iter().find(|p| p.pcr == pcr).map(|p| &p.want)
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        let pcrs = &self.context.policy.get().pcrs;
        self.replay.steps().iter().filter(|s| pcrs.contains(&s.pcr))
    }

    fn events(&self, sheet: &mut Sheet) {
        let unknown = self.steps().find(|s| s.unknown_type);
        let found = unknown.map_or_else(String::new, |s| format!("{} in PCR {}", s.title, s.pcr));
        sheet.check(N::KnownEvents, unknown.is_none(), "types of the TCG's profile", found);
        let lying = self.steps().find(|s| s.lying || self.is_misnamed(s));
        match lying {
            None => sheet.fine(N::EventDescription, "where the type allows to tell"),
            Some(s) => {
                let place = format!("PCR {}", s.pcr);
                let digest = hex::encode(s.digest);
                let found = format!("`{}` describes something else than {digest}", s.title);
                sheet.blame(N::EventDescription, &place, "a description of what was measured", &found);
            }
        }
    }

    /// The gateway's own log gives a listed digest another component's name.
    fn is_misnamed(&self, step: &Step) -> bool {
        let (Some(name), Some(Want::Events(events))) = (&step.component, self.want(step.pcr)) else {
            return false;
        };
        let mut same = events.iter().filter(|e| self.matches(e, step)).peekable();
        same.peek().is_some() && same.all(|e| e.component != *name)
    }

    fn components(&self, sheet: &mut Sheet) {
        let Some(manifest) = self.manifest else {
            return sheet.skip(&[N::Component], "the release is unknown");
        };
        let before = sheet.0.len();
        let wanted = &self.context.policy.get().pcrs;
        for reference in manifest.pcrs.iter().filter(|p| wanted.contains(&p.pcr)) {
            self.component(sheet, reference);
        }
        if sheet.0.len() > before {
            return;
        }
        // equal events prove nothing unless they are the quoted ones
        match sheet.has_failed(N::LogReplay) || sheet.has_failed(N::ReferencePcrs) {
            true => sheet.skip(&[N::Component], "the logs do not explain the quote"),
            false => sheet.fine(N::Component, format!("as release {}", manifest.release)),
        }
    }

    fn component(&self, sheet: &mut Sheet, reference: &PcrReference) {
        match &reference.want {
            Want::Value { component, digests } => {
                let quoted = self.bundle.quote.pcrs.iter().find(|p| p.pcr == reference.pcr);
                let fine = quoted.is_some_and(|p| digests.of(self.bank).contains(&p.value));
                if !fine {
                    let found = quoted.map_or_else(|| "not quoted".to_owned(), |p| p.value.to_string());
                    sheet.blame(N::Component, component, &self.spell(digests), &found);
                }
            }
            Want::Events(events) => {
                // which files there are is the device's configuration's matter: files.rs
                let own = events.iter().any(|e| e.digest == ExpectedDigest::ApprovedConfiguration);
                let is_file = |s: &&Step| own && files::role(s).is_some();
                let steps: Vec<&Step> = self.replay.steps_of(reference.pcr).filter(|s| !is_file(s)).collect();
                if let Some(d) = self.difference(reference.pcr, events, &steps) {
                    sheet.blame(N::Component, &d.component, &d.expected, &d.found);
                }
            }
        }
    }

    /// The first difference, told apart by what stands next to it.
    fn difference(&self, pcr: u8, events: &[Expected], steps: &[&Step]) -> Option<Difference> {
        let same = |e: Option<&Expected>, s: Option<&&Step>| match (e, s) {
            (Some(e), Some(s)) => self.matches(e, s),
            _ => false,
        };
        let longest = events.len().max(steps.len());
        let at = (0..longest).find(|i| !same(events.get(*i), steps.get(*i)))?;
        let (event, step) = (events.get(at), steps.get(at));
        let removed = same(events.get(at + 1), step);
        let added = same(event, steps.get(at + 1));
        let place = format!("event {at} of PCR {pcr}");
        let Some(event) = event.filter(|_| removed || !added) else {
            return Some(Difference {
                component: format!("{place}, not in the release"),
                expected: "no such event".to_owned(),
                found: step.map_or_else(String::new, |s| s.spell()),
            });
        };
        let found = match step {
            None => format!("not measured: PCR {pcr} has {} events", steps.len()),
            Some(s) if removed && added => format!("out of order: {place} is {}", s.spell()),
            Some(s) if removed => format!("not measured: {place} is {}", s.spell()),
            Some(s) => format!("{place}: {}", s.spell()),
        };
        let expected = match &event.digest {
            ExpectedDigest::OneOf(digests) => self.spell(digests),
            ExpectedDigest::ApprovedConfiguration => "a configuration approved for this device".to_owned(),
        };
        Some(Difference { component: event.component.clone(), expected, found })
    }

    fn matches(&self, event: &Expected, step: &Step) -> bool {
        match &event.digest {
            ExpectedDigest::OneOf(digests) => digests.of(self.bank).iter().any(|d| d.0 == step.digest),
            ExpectedDigest::ApprovedConfiguration => self
                .context
                .enrolled
                .configurations
                .iter()
                .any(|c| configuration_measurement(self.bank, c).0 == step.digest),
        }
    }

    fn spell(&self, digests: &Digests) -> String {
        match digests.of(self.bank) {
            [] => format!("no digest for bank {}", self.bank),
            [one] => one.to_string(),
            [first, rest @ ..] => format!("{first} or one of {} others", rest.len()),
        }
    }

    /// The list in the bundle is the one that was extended, once, into a PCR of the policy.
    fn inventory(&self, sheet: &mut Sheet) {
        match inventory_measurement(self.bank, &self.bundle.claims.inventory) {
            Ok(d) => self.measured(sheet, N::Inventory, evidence::INVENTORY, &d),
            Err(e) => drop(sheet.check(N::Inventory, false, "a list of software", e)),
        }
    }

    fn configuration(&self, sheet: &mut Sheet) {
        let (claimed, approved) = (&self.bundle.claims.configuration, &self.context.enrolled.configurations);
        if !approved.contains(claimed) {
            let expected = match approved.as_slice() {
                [] => "an approved configuration; there is none".to_owned(),
                [one] => one.to_string(),
                [first, rest @ ..] => format!("{first} or one of {} others", rest.len()),
            };
            return sheet.blame(N::Configuration, evidence::CONFIGURATION, &expected, &claimed.to_string());
        }
        let digest = configuration_measurement(self.bank, claimed);
        self.measured(sheet, N::Configuration, evidence::CONFIGURATION, &digest);
    }

    fn measured(&self, sheet: &mut Sheet, name: N, component: &str, digest: &Digest) {
        let found: Vec<_> = self.steps().filter(|s| s.component.as_deref() == Some(component)).collect();
        match found.as_slice() {
            [one] if one.digest == digest.0 => sheet.fine(name, digest),
            [one] => sheet.blame(name, component, &hex::encode(one.digest), &digest.to_string()),
            others => {
                let found = format!("measured {} times", others.len());
                sheet.blame(name, component, "measured once into a quoted PCR", &found);
            }
        }
    }
}

struct Difference {
    component: String,
    expected: String,
    found: String,
}

impl Step {
    fn spell(&self) -> String {
        format!("{} ({})", hex::encode(self.digest), self.title)
    }
}
