//! The appraisal (RFC 9334: appraisal of evidence): every check runs and is listed, none stops the others.
//!
//! Reading order: [`decide`] below, then one file per kind of check.

mod counters;
mod files;
mod logs;
mod node_key;
mod quote;

use crate::{
    attest_structure::{ChipKey, Signs, parse_chip_key},
    challenge::Challenge,
    error::AttestError,
    evidence::Bundle,
    hash::Bank,
    reference::TrustedManifest,
    verdict::{CheckName as N, LASTS, Previous, Sheet, Verdict},
};
use gw_proto::{Digest, HexBytes, NodeId, PublicKey, UnixMillis, sm3};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What enrolment put on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// the device
    pub device: NodeId,
    /// name of the platform chip's attestation key
    pub attestation_key: HexBytes,
    /// name of the signing chip's attestation key; none if it is an HSM that has none
    pub signing_key: Option<HexBytes>,
    /// the node key
    pub node_key: PublicKey,
    /// SM3 of the endorsement certificate, DER
    pub endorsement_certificate: Digest,
    /// configurations approved for this device
    pub configurations: Vec<Digest>,
    /// the files that they name, newest approval last
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ApprovedFiles>,
}

/// The files that a configuration names, as approved with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovedFiles {
    /// with this configuration
    pub configuration: Digest,
    /// SM3 of each by its role, which is its key in the configuration
    pub files: BTreeMap<String, Digest>,
}

/// What a verifier asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// banks that are accepted
    pub banks: Vec<Bank>,
    /// PCRs that must be quoted, each 0 to 15
    pub pcrs: BTreeSet<u8>,
    /// lowest manifest number that may run
    pub floor: u32,
    /// whether a node key may lie in an HSM that cannot certify it
    pub uncertified_node_key: bool,
    /// milliseconds without evidence after which a device is silent
    pub interval_ms: u64,
}

/// Rules that make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy(Rules);

impl Policy {
    /// At least one bank and one PCR, none that software can reset, an interval.
    pub fn new(rules: Rules) -> Result<Self, AttestError> {
        const WHAT: &str = "the attestation policy";
        if let Some(pcr) = rules.pcrs.iter().copied().find(|p| *p > 15) {
            return Err(AttestError::ResettablePcr { what: WHAT, pcr });
        }
        if rules.banks.is_empty() || rules.pcrs.is_empty() || rules.interval_ms == 0 {
            let detail = "it needs a bank, a PCR and an interval".to_owned();
            return Err(AttestError::Contradiction { what: WHAT, detail });
        }
        Ok(Self(rules))
    }

    /// The rules.
    pub fn get(&self) -> &Rules {
        &self.0
    }
}

/// Everything that evidence is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// what the device was asked
    pub challenge: &'a Challenge,
    /// the node that the ledger binds the session's TLS key to
    pub tls_node: &'a NodeId,
    /// the device as enrolled
    pub enrolled: &'a Enrolled,
    /// the rules
    pub policy: &'a Policy,
    /// all releases known
    pub manifests: &'a [TrustedManifest],
    /// counters of the last evidence whose signature held
    pub previous: Option<&'a Previous>,
    /// now
    pub now: UnixMillis,
}

/// Judges the bytes of a bundle.
pub fn decide_bytes(bytes: &[u8], context: &Context<'_>) -> Verdict {
    let error = match Bundle::parse(bytes) {
        Ok(bundle) => return decide(&bundle, context),
        Err(e) => e,
    };
    let mut sheet = Sheet::default();
    let size = matches!(error, AttestError::Size { .. });
    let name = if size { N::BundleSize } else { N::BundleForm };
    sheet.check(name, false, "an evidence bundle of the published schema", &error);
    let rest: Vec<_> = N::ALL.iter().copied().filter(|n| *n != name && *n != N::Silence).collect();
    sheet.skip(&rest, "the bundle cannot be read");
    verdict(sheet, context, None, None)
}

/// Judges a bundle.
pub fn decide(bundle: &Bundle, context: &Context<'_>) -> Verdict {
    let mut sheet = Sheet::default();
    sheet.fine(N::BundleSize, "within bounds");
    sheet.fine(N::BundleForm, &bundle.eat_profile);
    session(&mut sheet, bundle, context);
    let key = attestation_key(&mut sheet, bundle, context);
    let quoted = quote::check(&mut sheet, bundle, context, key.as_ref());
    let manifest = claimed_release(&mut sheet, bundle, context);
    logs::check(&mut sheet, bundle, context, manifest);
    node_key::check(&mut sheet, bundle, context);
    let name = HexBytes(key.as_ref().map_or_else(Vec::new, |k| k.name().to_vec()));
    let current = quoted.map(|counters| Previous { attestation_key: name, counters });
    counters::check(&mut sheet, context.previous, current.as_ref());
    verdict(sheet, context, Some(bundle.claims.release.clone()), current)
}

/// Silence is a failure: the verdict on a device whose last evidence, or enrolment, is too long ago.
pub fn decide_silence(
    device: &NodeId,
    last: UnixMillis,
    policy: &Policy,
    now: UnixMillis,
) -> Option<Verdict> {
    let silent = now.since(last).as_millis();
    let allowed = policy.0.interval_ms;
    if silent <= u128::from(allowed) {
        return None;
    }
    let mut sheet = Sheet::default();
    let found = format!("none for {silent} ms, since {}", last.rfc3339());
    sheet.check(N::Silence, false, format!("evidence every {allowed} ms"), found);
    Some(Verdict {
        device: device.clone(),
        release: None,
        at: now,
        good_until: None,
        counters: None,
        checks: sheet.0,
    })
}

fn verdict(
    sheet: Sheet,
    context: &Context<'_>,
    release: Option<String>,
    counters: Option<Previous>,
) -> Verdict {
    let mut verdict = Verdict {
        device: context.enrolled.device.clone(),
        release: release.map(|r| crate::error::one_line(&r)),
        at: context.now,
        good_until: None,
        counters,
        checks: sheet.0,
    };
    verdict.good_until = verdict.passed().then(|| context.now.plus(LASTS));
    verdict
}

fn session(sheet: &mut Sheet, bundle: &Bundle, context: &Context<'_>) {
    let (claims, asked) = (&bundle.claims, context.challenge);
    let expected = &context.enrolled.device;
    let device = claims.device == *expected && asked.device == *expected;
    sheet.check(N::Device, device, expected, format!("{} (asked: {})", claims.device, asked.device));
    sheet.check(N::Nonce, claims.eat_nonce == asked.nonce, asked.nonce, claims.eat_nonce);
    let expires = format!("before {}", asked.expires.rfc3339());
    sheet.check(N::NonceFresh, context.now < asked.expires, expires, context.now.rfc3339());
    sheet.check(N::TlsNode, context.tls_node == expected, expected, context.tls_node);
}

fn attestation_key(sheet: &mut Sheet, bundle: &Bundle, context: &Context<'_>) -> Option<ChipKey> {
    let leaf = bundle.claims.endorsement_chain.first();
    let found = leaf.map_or_else(|| "no certificate".to_owned(), |der| sm3(&der.0).to_string());
    let expected = context.enrolled.endorsement_certificate.to_string();
    sheet.check(N::EndorsementCertificate, found == expected, expected, &found);
    let key = match parse_chip_key(&bundle.claims.attestation_key.0) {
        Ok(key) => key,
        Err(e) => {
            sheet.check(N::AkForm, false, "a TPMT_PUBLIC", e);
            sheet.skip(&[N::AkScheme, N::AkAttributes, N::AkEnrolled], "the attestation key cannot be read");
            return None;
        }
    };
    sheet.fine(N::AkForm, "TPMT_PUBLIC");
    let (name, enrolled) = (hex::encode(key.name()), hex::encode(&context.enrolled.attestation_key.0));
    sheet.check(N::AkEnrolled, name == enrolled, &enrolled, &name);
    chip_key(sheet, &key, N::AkScheme, N::AkAttributes);
    Some(key)
}

fn chip_key(sheet: &mut Sheet, key: &ChipKey, scheme: N, attributes: N) {
    const SCHEMES: &str = "SM2 on its curve with SM3 or SHA-256, or ECDSA on P-256 with SHA-256";
    match key.public_key().and_then(|public| key.hash().map(|hash| (public, hash))) {
        Ok((public, hash)) => sheet.fine(scheme, format!("{:?}, hashed with {hash}", public.scheme)),
        Err(found) => drop(sheet.check(scheme, false, SCHEMES, found)),
    }
    let wrong = key.wrong_attributes(Signs::OnlyAttestations);
    let expected = "restricted, fixedTPM, fixedParent, sensitiveDataOrigin, sign, not decrypt";
    let found = if wrong.is_empty() { expected.to_owned() } else { wrong.join(", ") };
    sheet.check(attributes, wrong.is_empty(), expected, found);
}

/// The manifest that a claimed release is judged by: of those of its name the newest.
pub fn release<'a>(manifests: &'a [TrustedManifest], name: &str) -> Option<&'a TrustedManifest> {
    manifests.iter().filter(|m| m.get().release == name).max_by_key(|m| m.get().number)
}

/// The manifest of the release that the device says it runs: its claim only chooses what it is measured by.
fn claimed_release<'a>(
    sheet: &mut Sheet,
    bundle: &Bundle,
    context: &Context<'a>,
) -> Option<&'a crate::reference::Manifest> {
    let claimed = &bundle.claims.release;
    let Some(manifest) = release(context.manifests, claimed).map(TrustedManifest::get) else {
        sheet.check(N::ReleaseKnown, false, "a release with a signed manifest", claimed);
        sheet.skip(&[N::ReleaseInDate, N::ReleaseFloor, N::ReferencePcrs], "the release is unknown");
        return None;
    };
    sheet.fine(N::ReleaseKnown, claimed);
    let (from, until) = (manifest.not_before, manifest.not_after);
    let in_date = (from..until).contains(&context.now);
    let expected = format!("from {} until {}", from.rfc3339(), until.rfc3339());
    sheet.check(N::ReleaseInDate, in_date, expected, context.now.rfc3339());
    let floor = context.policy.0.floor;
    sheet.check(N::ReleaseFloor, manifest.number >= floor, format!("{floor} or higher"), manifest.number);
    let listed: BTreeSet<u8> = manifest.pcrs.iter().map(|p| p.pcr).collect();
    let missing: Vec<_> = context.policy.0.pcrs.difference(&listed).map(|p| format!("PCR {p}")).collect();
    let found = if missing.is_empty() { "all" } else { "no reference for these" };
    sheet.check(N::ReferencePcrs, missing.is_empty(), missing.join(", "), found);
    Some(manifest)
}
