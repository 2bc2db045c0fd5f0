//! Reference manifests: what a release should measure (RFC 9334: reference values), signed by its makers.
//!
//! JSON; its schema is `schema/reference.schema.json`. Several releases are valid at once, each until it
//! expires or falls below the floor.

use crate::{
    error::{AttestError, at_most, one_line},
    hash::Bank,
};
use gw_proto::{
    Digest, Hex, KeyId, PublicKey, Signature, UnixMillis,
    canon::{domain, signing_input},
    sm3,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most bytes of a manifest that are read.
pub const MAX_MANIFEST_BYTES: usize = 512 * 1024;
/// This format.
pub const VERSION: u32 = 1;
const MAX_EVENTS: usize = 1024;
const MAX_ALTERNATIVES: usize = 64;
const MAX_SIGNATURES: usize = 16;
const MAX_TEXT_BYTES: usize = 200;
const WHAT: &str = "a reference manifest";

/// What one release measures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1
    pub v: u32,
    /// the release's name, as evidence gives it
    #[schemars(length(min = 1, max = 200))]
    pub release: String,
    /// rises with each release; policy has a floor, against rolling back
    pub number: u32,
    /// valid from
    pub not_before: UnixMillis,
    /// valid until, exclusive
    pub not_after: UnixMillis,
    /// the image it is of, where it is of one
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// PCRs, ascending
    #[schemars(length(min = 1, max = 16))]
    pub pcrs: Vec<PcrReference>,
}

/// A built image: for people, and to find the files; what it measures is in the PCRs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// `x86-64` or `arm64`
    #[schemars(length(min = 1, max = 200))]
    pub architecture: String,
    /// dm-verity's
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub root_hash: Hex<32>,
    /// SM3 of the gateway's program
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub program: Digest,
}

/// What one PCR should hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PcrReference {
    /// 0 to 15: software can reset the others
    #[schemars(range(max = 15))]
    pub pcr: u8,
    /// how it is judged
    pub want: Want,
}

/// How a PCR is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Want {
    /// by its value, where no log explains it
    Value {
        /// whose value it is
        #[schemars(length(min = 1, max = 200))]
        component: String,
        /// any of these
        digests: Digests,
    },
    /// by the events in it: all of these, in this order, nothing else
    Events(Vec<Expected>),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// what is measured
    #[schemars(length(min = 1, max = 200))]
    pub component: String,
    /// with what result
    pub digest: ExpectedDigest,
}

/// The digest of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ExpectedDigest {
    /// any of these
    OneOf(Digests),
    /// that of a configuration approved for the device
    ApprovedConfiguration,
}

/// Digests by bank; a bank that is not there is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Digests {
    /// for chips without SM3
    #[schemars(with = "Vec<String>", inner(regex(pattern = r"^[0-9a-f]{64}$")), length(max = 64))]
    #[serde(default)]
    pub sha256: Vec<Hex<32>>,
    /// for chips with it
    #[schemars(with = "Vec<String>", inner(regex(pattern = r"^[0-9a-f]{64}$")), length(max = 64))]
    #[serde(default)]
    pub sm3: Vec<Hex<32>>,
}

impl Digests {
    /// Those of one bank.
    pub fn of(&self, bank: Bank) -> &[Hex<32>] {
        match bank {
            Bank::Sha256 => &self.sha256,
            Bank::Sm3 => &self.sm3,
        }
    }
}

/// A manifest and its signatures, as distributed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedManifest {
    /// what is signed, in canonical form
    pub manifest: Manifest,
    /// at most 16
    #[schemars(length(min = 1, max = 16))]
    pub signatures: Vec<ManifestSignature>,
}

/// One maker's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestSignature {
    /// by which key
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub key: KeyId,
    /// over domain ‖ 0x00 ‖ canonical manifest
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{128}$"))]
    pub signature: Signature,
}

/// Whose manifests are believed: `threshold` of these keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Makers {
    keys: Vec<PublicKey>,
    threshold: usize,
}

impl Makers {
    /// At least one signature of at least as many different keys is needed.
    pub fn new(keys: Vec<PublicKey>, threshold: usize) -> Result<Self, AttestError> {
        let different: BTreeSet<_> = keys.iter().map(PublicKey::id).collect();
        if threshold == 0 || threshold > different.len() || different.len() != keys.len() {
            let detail = format!("{threshold} of {} different keys, {} given", different.len(), keys.len());
            return Err(AttestError::Contradiction { what: "the list of manifest makers", detail });
        }
        Ok(Self { keys, threshold })
    }
}

/// A manifest that enough makers signed. Nothing else reaches a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedManifest(Manifest);

impl TrustedManifest {
    /// The manifest.
    pub fn get(&self) -> &Manifest {
        &self.0
    }

    /// Parses a manifest and checks form and signatures; whether it is in date is the verdict's business.
    pub fn parse(bytes: &[u8], makers: &Makers) -> Result<Self, AttestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(AttestError::Size { what: WHAT, found: bytes.len(), limit: MAX_MANIFEST_BYTES });
        }
        let form = |e: serde_json::Error| AttestError::Form { what: WHAT, detail: one_line(&e.to_string()) };
        let signed: SignedManifest = serde_json::from_slice(bytes).map_err(form)?;
        at_most("signatures of a manifest", signed.signatures.len(), MAX_SIGNATURES)?;
        signed.manifest.check()?;
        let found = signed.good_signatures(makers)?;
        if found < makers.threshold {
            let (release, needed) = (one_line(&signed.manifest.release), makers.threshold);
            return Err(AttestError::ManifestSignatures { release, found, needed });
        }
        Ok(Self(signed.manifest))
    }
}

impl SignedManifest {
    fn good_signatures(&self, makers: &Makers) -> Result<usize, AttestError> {
        let input = self.manifest.signing_input()?;
        let good = |key: &PublicKey| {
            let id = key.id();
            let by = self.signatures.iter().filter(|s| s.key == id);
            by.into_iter().any(|s| gw_sm::verify(key, &input, &s.signature).is_ok())
        };
        Ok(makers.keys.iter().filter(|k| good(k)).count())
    }
}

impl Manifest {
    /// What its makers sign.
    pub fn signing_input(&self) -> Result<Vec<u8>, AttestError> {
        signing_input(domain::REFERENCE, self).map_err(|_| AttestError::Canon { what: WHAT })
    }

    /// What stands on the ledger: SM3 of the signing input, so it does not depend on who has signed.
    pub fn digest(&self) -> Result<Digest, AttestError> {
        Ok(sm3(&self.signing_input()?))
    }

    fn check(&self) -> Result<(), AttestError> {
        let contradiction = |detail: String| Err(AttestError::Contradiction { what: WHAT, detail });
        if self.v != VERSION {
            return contradiction(format!("version {}, this verifier reads {VERSION}", self.v));
        }
        if self.not_before >= self.not_after {
            return contradiction("it is never valid".to_owned());
        }
        text("release", &self.release)?;
        if let Some(image) = &self.image {
            text("architecture", &image.architecture)?;
        }
        if self.pcrs.is_empty() || !self.pcrs.is_sorted_by(|a, b| a.pcr < b.pcr) {
            return contradiction("PCRs are not ascending, or there are none".to_owned());
        }
        self.pcrs.iter().try_for_each(PcrReference::check)
    }
}

impl PcrReference {
    fn check(&self) -> Result<(), AttestError> {
        if self.pcr > 15 {
            return Err(AttestError::ResettablePcr { what: WHAT, pcr: self.pcr });
        }
        match &self.want {
            Want::Value { component, digests } => {
                text("component", component)?;
                digests.check()
            }
            Want::Events(events) => {
                at_most("events of a PCR", events.len(), MAX_EVENTS)?;
                events.iter().try_for_each(|e| {
                    text("component", &e.component)?;
                    match &e.digest {
                        ExpectedDigest::OneOf(digests) => digests.check(),
                        ExpectedDigest::ApprovedConfiguration => Ok(()),
                    }
                })
            }
        }
    }
}

impl Digests {
    fn check(&self) -> Result<(), AttestError> {
        at_most("digests of a component", self.sha256.len().max(self.sm3.len()), MAX_ALTERNATIVES)
    }
}

fn text(what: &'static str, text: &str) -> Result<(), AttestError> {
    at_most(what, text.len(), MAX_TEXT_BYTES)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        let detail = format!("{what} is empty or has control characters");
        return Err(AttestError::Contradiction { what: WHAT, detail });
    }
    Ok(())
}
