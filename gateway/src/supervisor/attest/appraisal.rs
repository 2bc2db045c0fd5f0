//! A verdict made again, offline: what was judged, and by what, in one document.
//!
//! The bundle, the challenge, the enrolment, the rules and the signed manifest go with it. Whoever verifies
//! brings only the makers' keys; that the enrolment is true is the supervisor's word, and is shown.

use super::verdict_log::{LogProof, LogRefused, Proved};
use gw_attest::{
    AttestError, Context, Verdict,
    challenge::Challenge,
    decide::{Enrolled, Policy, Rules},
    decide_bytes,
    evidence::MAX_BUNDLE_BYTES,
    reference::{MAX_MANIFEST_BYTES, Makers, TrustedManifest},
    verdict::Previous,
};
use gw_proto::{B64, Digest, NodeId, UnixMillis, sm3};
use serde::{Deserialize, Serialize};

/// This format.
pub const VERSION: u32 = 1;
/// The most bytes of a document: two of its members in base64, the rest is small.
pub const MAX_BYTES: usize = 2 * (MAX_BUNDLE_BYTES + MAX_MANIFEST_BYTES);

/// Everything that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Appraisal {
    /// 1
    pub v: u32,
    /// the evidence as it came
    pub bundle: B64,
    /// what was asked
    pub challenge: Challenge,
    /// the node that the ledger bound the session's TLS key to
    pub tls_node: NodeId,
    /// the device as enrolled
    pub enrolled: Enrolled,
    /// the rules
    pub rules: Rules,
    /// the claimed release's manifest as its makers signed it; none if there was none
    pub manifest: Option<B64>,
    /// counters before
    pub previous: Option<Previous>,
    /// when it was judged
    pub at: UnixMillis,
    /// the verdict's place in the supervisor's log; added when it is exported
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogProof>,
}

/// Why it cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum AppraisalError {
    /// Too large, or of another form.
    #[error("not an appraisal as `xinguan attest export` writes it: {0}")]
    Form(String),
    /// The rules.
    #[error("its rules make no sense")]
    Rules(#[source] AttestError),
    /// The manifest.
    #[error("its manifest is not believed under these makers' keys")]
    Manifest(#[source] AttestError),
}

impl Appraisal {
    /// Parses a document: bounded before it is read.
    pub fn parse(bytes: &[u8]) -> Result<Self, AppraisalError> {
        if bytes.len() > MAX_BYTES {
            return Err(AppraisalError::Form(format!("{} bytes", bytes.len())));
        }
        let this: Self = serde_json::from_slice(bytes).map_err(|e| AppraisalError::Form(e.to_string()))?;
        if this.v != VERSION {
            return Err(AppraisalError::Form(format!("version {}, this program reads {VERSION}", this.v)));
        }
        Ok(this)
    }

    /// The digest that the log has of it: of its text as it was kept.
    pub fn digest(&self) -> Result<Digest, AppraisalError> {
        let kept = Self { log: None, ..self.clone() };
        let text = serde_json::to_string(&kept).map_err(|e| AppraisalError::Form(e.to_string()))?;
        Ok(sm3(text.as_bytes()))
    }

    /// Checks the place of its verdict in the supervisor's log. None: it was exported before there was one.
    /// `ledger` is the digest that the ledger has of this supervisor and device, where the caller knows it.
    pub fn verify_log(
        &self,
        made: &Verdict,
        ledger: Option<&Digest>,
    ) -> Result<Option<Result<Proved, LogRefused>>, AppraisalError> {
        let evidence = self.digest()?;
        Ok(self.log.as_ref().map(|log| log.verify(made, &evidence, ledger)))
    }

    /// Judges once more, as of then.
    pub fn verify(&self, makers: &Makers) -> Result<Verdict, AppraisalError> {
        let policy = Policy::new(self.rules.clone()).map_err(AppraisalError::Rules)?;
        let manifest = self.manifest.as_ref().map(|m| TrustedManifest::parse(&m.0, makers)).transpose();
        let manifests: Vec<_> = manifest.map_err(AppraisalError::Manifest)?.into_iter().collect();
        let context = Context {
            challenge: &self.challenge,
            tls_node: &self.tls_node,
            enrolled: &self.enrolled,
            policy: &policy,
            manifests: &manifests,
            previous: self.previous.as_ref(),
            now: self.at,
        };
        Ok(decide_bytes(&self.bundle.0, &context))
    }
}
