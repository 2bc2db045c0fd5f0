//! The evidence bundle: what an attester hands to a verifier (RFC 9334, 8.1).
//!
//! JSON with the claim names of EAT (RFC 9711) where it has them; its schema is
//! `schema/evidence.schema.json`. The quote's extraData covers every claim and the TLS session, the PCR digest
//! covers the values: no byte of a bundle can change without the quote failing.

use crate::{
    error::{AttestError, at_most, one_line},
    hash::Bank,
};
use gw_proto::{B64, Digest, Hex, NodeId, Signature, canon::domain, domain_digest, jcs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What this version's bundles call themselves.
pub const PROFILE: &str = "tag:xinguan,2026:evidence/1";
/// The most bytes of a bundle that are read.
pub const MAX_BUNDLE_BYTES: usize = 1024 * 1024;
/// The most bytes of the firmware's event log.
pub const MAX_BOOT_LOG_BYTES: usize = 512 * 1024;
/// The most measurements in the gateway's own log.
pub const MAX_MEASURED: usize = 1024;
const MAX_SOFTWARE: usize = 2048;
const MAX_CHAIN: usize = 8;
const MAX_DER_BYTES: usize = 8 * 1024;
const MAX_STRUCTURE_BYTES: usize = 4096;
const MAX_TEXT_BYTES: usize = 200;
const WHAT: &str = "an evidence bundle";

/// Evidence of one device at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// the format: `tag:xinguan,2026:evidence/1`
    pub eat_profile: String,
    /// what the device says
    pub claims: Claims,
    /// the chip's word on it
    pub quote: Quote,
}

/// What the device says of itself; the quote covers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// the verifier's nonce
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub eat_nonce: Hex<32>,
    /// the device
    #[schemars(with = "String")]
    pub device: NodeId,
    /// the release it says it runs; measurements decide
    #[schemars(length(min = 1, max = 200))]
    pub release: String,
    /// TPMT_PUBLIC of the platform chip's attestation key
    #[schemars(with = "String")]
    pub attestation_key: B64,
    /// the endorsement key's certificate and its issuers, DER, leaf first
    #[schemars(with = "Vec<String>", length(max = 8))]
    pub endorsement_chain: Vec<B64>,
    /// the firmware's event log in the TCG crypto-agile format; absent on boards without
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_log: Option<B64>,
    /// what the gateway measured itself, after the firmware, in order
    #[schemars(length(max = 1024))]
    pub measured: Vec<Measured>,
    /// whether the node key lies in a chip
    pub node_key: NodeKey,
    /// installed software
    #[schemars(length(max = 2048))]
    pub inventory: Vec<Software>,
    /// SM3 of the effective configuration
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub configuration: Digest,
}

/// One measurement of the gateway's own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// extended into this PCR
    #[schemars(range(max = 15))]
    pub pcr: u8,
    /// name, for people: digests decide
    #[schemars(length(min = 1, max = 200))]
    pub component: String,
    /// what was extended
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: Hex<32>,
}

/// The component under which [`inventory_measurement`] is logged.
pub const INVENTORY: &str = "inventory";
/// The component under which [`configuration_measurement`] is logged.
pub const CONFIGURATION: &str = "configuration";

/// The beginning of the component under which a [`file_measurement`] is logged; the file's role follows.
pub const FILE: &str = "file:";

/// One installed program or file set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Software {
    /// its name
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// its version
    #[schemars(length(max = 200))]
    pub version: String,
    /// SM3 of its contents
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: Digest,
}

/// What is known of the node key's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum NodeKey {
    /// the signing chip's attestation key says that it is in that chip
    Certified {
        /// TPMT_PUBLIC of the node key
        #[schemars(with = "String")]
        public_area: B64,
        /// TPMT_PUBLIC of the signing chip's attestation key; the platform chip's on boards with one chip
        #[schemars(with = "String")]
        signer: B64,
        /// TPMS_ATTEST of TPM2_Certify
        #[schemars(with = "String")]
        attested: B64,
        /// over `hash(attested)`
        #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{128}$"))]
        signature: Signature,
        /// what `attested` is hashed with
        hash: Bank,
    },
    /// an HSM without attestation; its presence rests on the enrolment ceremony
    NotCertified {
        /// why
        #[schemars(length(min = 1, max = 200))]
        reason: String,
    },
}

/// TPM2_Quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quote {
    /// TPMS_ATTEST, as signed
    #[schemars(with = "String")]
    pub attested: B64,
    /// r ‖ s over `hash(attested)` as a bare digest: SM2 adds no Z here
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{128}$"))]
    pub signature: Signature,
    /// what `attested` is hashed with
    pub hash: Bank,
    /// the bank of the values
    pub bank: Bank,
    /// number and value, ascending
    #[schemars(length(max = 24))]
    pub pcrs: Vec<Pcr>,
}

/// One PCR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pcr {
    /// 0 to 23
    #[schemars(range(max = 23))]
    pub pcr: u8,
    /// what it holds
    #[schemars(with = "String", regex(pattern = r"^[0-9a-f]{64}$"))]
    pub value: Hex<32>,
}

impl Bundle {
    /// Parses a bundle: bounded before it is read, no unknown members, every list bounded.
    pub fn parse(bytes: &[u8]) -> Result<Self, AttestError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(AttestError::Size { what: WHAT, found: bytes.len(), limit: MAX_BUNDLE_BYTES });
        }
        let form = |detail: String| AttestError::Form { what: WHAT, detail: one_line(&detail) };
        let this: Self = serde_json::from_slice(bytes).map_err(|e| form(e.to_string()))?;
        if this.eat_profile != PROFILE {
            return Err(form(format!("eat_profile `{}` is not {PROFILE}", this.eat_profile)));
        }
        this.claims.bounded()?;
        at_most("quote.pcrs", this.quote.pcrs.len(), 24)?;
        at_most("quote.attested", this.quote.attested.0.len(), MAX_STRUCTURE_BYTES)?;
        Ok(this)
    }

    /// JSON, as [`Bundle::parse`] reads it.
    pub fn to_json(&self) -> Result<Vec<u8>, AttestError> {
        serde_json::to_vec(self).map_err(|_| AttestError::Canon { what: WHAT })
    }
}

impl Claims {
    fn bounded(&self) -> Result<(), AttestError> {
        at_most("claims.release", self.release.len(), MAX_TEXT_BYTES)?;
        at_most("claims.attestation_key", self.attestation_key.0.len(), MAX_STRUCTURE_BYTES)?;
        at_most("claims.endorsement_chain", self.endorsement_chain.len(), MAX_CHAIN)?;
        for der in &self.endorsement_chain {
            at_most("a certificate of claims.endorsement_chain", der.0.len(), MAX_DER_BYTES)?;
        }
        let boot_log = self.boot_log.as_ref().map_or(0, |l| l.0.len());
        at_most("claims.boot_log", boot_log, MAX_BOOT_LOG_BYTES)?;
        at_most("claims.measured", self.measured.len(), MAX_MEASURED)?;
        for m in &self.measured {
            at_most("a component of claims.measured", m.component.len(), MAX_TEXT_BYTES)?;
        }
        at_most("claims.inventory", self.inventory.len(), MAX_SOFTWARE)?;
        for s in &self.inventory {
            at_most("a name of claims.inventory", s.name.len().max(s.version.len()), MAX_TEXT_BYTES)?;
        }
        self.node_key.bounded()
    }

    /// The quote's extraData: the nonce, the device and everything else that it claims, in one TLS session.
    /// `channel` is that session's exporter (RFC 9266's use, our label).
    pub fn extra_data(&self, channel: &Digest) -> Result<[u8; 32], AttestError> {
        #[derive(Serialize)]
        struct Covered<'a> {
            channel: &'a Digest,
            claims: &'a Claims,
        }
        let canonical = jcs(&Covered { channel, claims: self });
        let canonical = canonical.map_err(|_| AttestError::Canon { what: "the claims" })?;
        Ok(domain_digest(domain::ATTEST_QUOTE, &canonical).0)
    }
}

impl NodeKey {
    fn bounded(&self) -> Result<(), AttestError> {
        match self {
            Self::Certified { public_area, signer, attested, .. } => {
                let longest = public_area.0.len().max(signer.0.len()).max(attested.0.len());
                at_most("a structure of claims.node_key", longest, MAX_STRUCTURE_BYTES)
            }
            Self::NotCertified { reason } => at_most("claims.node_key.reason", reason.len(), MAX_TEXT_BYTES),
        }
    }
}

/// extraData of the node key's certificate: nonce, device, session. The platform's quote covers the rest.
pub fn certify_extra_data(
    nonce: &Hex<32>,
    device: &NodeId,
    channel: &Digest,
) -> Result<[u8; 32], AttestError> {
    #[derive(Serialize)]
    struct Covered<'a> {
        channel: &'a Digest,
        device: &'a NodeId,
        nonce: &'a Hex<32>,
    }
    let canonical = jcs(&Covered { channel, device, nonce });
    let canonical = canonical.map_err(|_| AttestError::Canon { what: "the certificate's extraData" })?;
    Ok(domain_digest(domain::ATTEST_CERTIFY, &canonical).0)
}

/// What the gateway extends for its list of software.
pub fn inventory_measurement(bank: Bank, inventory: &[Software]) -> Result<Hex<32>, AttestError> {
    let canonical = jcs(inventory).map_err(|_| AttestError::Canon { what: "the inventory" })?;
    Ok(Hex(bank.digest(&[domain::INVENTORY.as_bytes(), &[0], &canonical])))
}

/// What the gateway extends for one file that its configuration names. `file`: SM3 of what is in it.
pub fn file_measurement(bank: Bank, role: &str, file: &Digest) -> Hex<32> {
    let domain = domain::CONFIGURATION_FILE.as_bytes();
    Hex(bank.digest(&[domain, &[0], role.as_bytes(), &[0], &file.0]))
}

/// What the gateway extends for its configuration.
pub fn configuration_measurement(bank: Bank, configuration: &Digest) -> Hex<32> {
    Hex(bank.digest(&[domain::CONFIGURATION.as_bytes(), &[0], &configuration.0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_comes_before_parsing_and_depth_is_bounded() {
        let big = vec![b'['; MAX_BUNDLE_BYTES + 1];
        assert!(matches!(Bundle::parse(&big), Err(AttestError::Size { found, .. }) if found == big.len()));
        let deep = vec![b'['; 100_000];
        assert!(matches!(Bundle::parse(&deep), Err(AttestError::Form { .. })));
        assert!(matches!(Bundle::parse(b""), Err(AttestError::Form { .. })));
    }
}
