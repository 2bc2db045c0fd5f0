//! Canonical JSON (RFC 8785) and domain-separated SM3.
//!
//! `H(x)` of PROTOCOL is [`jcs_digest`]: SM3(domain ‖ 0x00 ‖ JCS(x)). What is signed is
//! [`signing_input`]: domain ‖ 0x00 ‖ JCS(x), hashed by the key's own scheme.

use crate::bytes::Hex;
use serde::Serialize;
use sm3::{Digest as _, Sm3};

/// 32 bytes of SM3 (GB/T 32905).
pub type Digest = Hex<32>;

/// The largest integer that canonical JSON can carry without loss (RFC 8785 §3.2.2.3): 2⁵³ − 1.
pub const MAX_SAFE_INTEGER: i64 = 9_007_199_254_740_991;

/// Domains: every digest and every signature names the kind of thing it covers.
pub mod domain {
    /// C_a: commitment to a statement.
    pub const STATEMENT: &str = "xinguan/statement/1";
    /// Authorization id from holder and C_a.
    pub const AUTHZ_ID: &str = "xinguan/authz-id/1";
    /// The revocation hash of a preimage.
    pub const REVOKE: &str = "xinguan/revoke/1";
    /// Report id from writer and content.
    pub const REPORT_ID: &str = "xinguan/report-id/1";
    /// C_r: commitment to an opening.
    pub const OPENING: &str = "xinguan/opening/1";
    /// A batch of records, signed by a node key.
    pub const BATCH: &str = "xinguan/batch/1";
    /// One record.
    pub const RECORD: &str = "xinguan/record/1";
    /// Request between gateways.
    pub const REQUEST: &str = "xinguan/request/1";
    /// Reply between gateways.
    pub const REPLY: &str = "xinguan/reply/1";
    /// The catalogue of items.
    pub const CATALOGUE: &str = "xinguan/catalogue/1";
    /// A report given to a bank.
    pub const REPORT: &str = "xinguan/report/1";
    /// Signed root of a Merkle batch.
    pub const ROOT: &str = "xinguan/root/1";
    /// The pinned trust root.
    pub const GENESIS: &str = "xinguan/genesis/1";
    /// Digest of a ledger state after a block.
    pub const STATE: &str = "xinguan/state/1";
    /// Tag of an operator, keyed by its institution.
    pub const OPERATOR_TAG: &str = "xinguan/operator-tag/1";
    /// Tag of a subject in a local log, keyed by the box.
    pub const SUBJECT_TAG: &str = "xinguan/subject-tag/1";
    /// Id of a public key.
    pub const KEY_ID: &str = "xinguan/key-id/1";
    /// The journal's chain.
    pub const JOURNAL: &str = "xinguan/journal/1";
    /// What a quote of an attestation covers besides the PCRs.
    pub const ATTEST_QUOTE: &str = "xinguan/attest-quote/1";
    /// What the certificate of a node key inside an attestation covers besides the key.
    pub const ATTEST_CERTIFY: &str = "xinguan/attest-certify/1";
    /// A box's list of software, as measured.
    pub const INVENTORY: &str = "xinguan/inventory/1";
    /// A box's configuration, as measured.
    pub const CONFIGURATION: &str = "xinguan/configuration/1";
    /// One file that a box's configuration names, as measured.
    pub const CONFIGURATION_FILE: &str = "xinguan/configuration-file/1";
    /// What a release should measure, signed by the image build.
    pub const REFERENCE: &str = "xinguan/reference-manifest/1";
    /// A supervisor's history of verdicts on one gateway, as a chain of digests: before it was a log.
    pub const VERDICTS: &str = "xinguan/verdicts/1";
    /// One verdict and its evidence, in the log of verdicts on one gateway.
    pub const VERDICT_ENTRY: &str = "xinguan/verdict-entry/1";
    /// That log's root and size.
    pub const VERDICT_HEAD: &str = "xinguan/verdict-head/1";
    /// A supervisor's record of what its people did.
    pub const AUDIT: &str = "xinguan/audit/1";
}

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
#[error("no canonical JSON form: {0}")]
pub struct CanonError(String);

/// SM3 of a byte string.
pub fn sm3(bytes: &[u8]) -> Digest {
    Hex(Sm3::digest(bytes).into())
}

/// SM3(domain ‖ 0x00 ‖ bytes).
pub fn domain_digest(domain: &str, bytes: &[u8]) -> Digest {
    let mut h = Sm3::new();
    h.update(domain.as_bytes());
    h.update([0u8]);
    h.update(bytes);
    Hex(h.finalize().into())
}

/// HMAC-SM3 under a local key: tags that only the key's owner can make. `key` is any length.
pub fn keyed_tag(domain: &str, key: &[u8], bytes: &[u8]) -> Digest {
    // HMAC (RFC 2104) with SM3's block of 64 bytes; a longer key is hashed first.
    let mut block = [0u8; 64];
    if key.len() > 64 {
        for (b, k) in block.iter_mut().zip(sm3(key).0) {
            *b = k;
        }
    } else {
        for (b, k) in block.iter_mut().zip(key) {
            *b = *k;
        }
    }
    let mut inner = Sm3::new();
    inner.update(block.map(|b| b ^ 0x36));
    inner.update(domain.as_bytes());
    inner.update([0u8]);
    inner.update(bytes);
    let inner = inner.finalize();
    let mut outer = Sm3::new();
    outer.update(block.map(|b| b ^ 0x5c));
    outer.update(inner);
    Hex(outer.finalize().into())
}

/// Canonical JSON of a value. Fails on integers beyond ±(2⁵³ − 1) and on non-finite numbers.
pub fn jcs<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonError> {
    let tree = serde_json::to_value(value).map_err(|e| CanonError(e.to_string()))?;
    check_numbers(&tree)?;
    serde_json_canonicalizer::to_vec(&tree).map_err(|e| CanonError(e.to_string()))
}

fn check_numbers(v: &serde_json::Value) -> Result<(), CanonError> {
    match v {
        serde_json::Value::Number(n) => match n.as_i64() {
            Some(i) if (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&i) => Ok(()),
            _ => Err(CanonError(format!("{n} is not an integer within ±(2^53 − 1)"))),
        },
        serde_json::Value::Array(a) => a.iter().try_for_each(check_numbers),
        serde_json::Value::Object(o) => o.values().try_for_each(check_numbers),
        _ => Ok(()),
    }
}

/// `H(x)` = SM3(domain ‖ 0x00 ‖ JCS(x)).
pub fn jcs_digest<T: Serialize + ?Sized>(domain: &str, value: &T) -> Result<Digest, CanonError> {
    Ok(domain_digest(domain, &jcs(value)?))
}

/// What a signature covers: domain ‖ 0x00 ‖ JCS(x).
pub fn signing_input<T: Serialize + ?Sized>(domain: &str, value: &T) -> Result<Vec<u8>, CanonError> {
    let body = jcs(value)?;
    let mut out = Vec::with_capacity(domain.len() + 1 + body.len());
    out.extend_from_slice(domain.as_bytes());
    out.push(0);
    out.extend_from_slice(&body);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sm3_of_the_standard() {
        // GB/T 32905 appendix A.1
        assert_eq!(
            sm3(b"abc").to_string(),
            "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
        );
    }

    #[test]
    fn members_are_sorted_and_big_numbers_refused() {
        let v = serde_json::json!({"b": 1, "a": "信"});
        assert_eq!(jcs(&v).unwrap(), "{\"a\":\"信\",\"b\":1}".as_bytes());
        assert!(jcs(&serde_json::json!(9_007_199_254_740_992_i64)).is_err());
        assert!(jcs(&serde_json::json!(0.5)).is_err());
    }

    #[test]
    fn domains_separate() {
        let v = serde_json::json!({});
        assert_ne!(jcs_digest(domain::REQUEST, &v).unwrap(), jcs_digest(domain::REPLY, &v).unwrap());
    }
}
