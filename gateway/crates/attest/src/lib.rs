//! Attestation (RFC 9334, 9683): evidence, reference manifests, verdict. Pure: no I/O, no clock; only a credential
//! for an endorsement key draws randomness.
//!
//! ```text
//! bundle bytes ─ parse ─▶ Bundle ─┐
//! manifests ─ signatures ─▶ TrustedManifest ─┼─ decide ─▶ Verdict: every check by name
//! enrolment, policy, challenge, session, last counters, now ─┘
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`evidence`] | the bundle: claims, and the quote that covers them |
//! | [`attest_structure`] | what a chip signs, what its keys are |
//! | [`eventlog`], [`event_type`] | the firmware's log |
//! | [`replay`] | what the PCRs must hold after the logged digests |
//! | [`reference`](mod@reference) | what a release should measure |
//! | [`endorsement`] | the manufacturer's word on a chip, to a pinned root |
//! | [`challenge`] | nonces: once, for one device, for a short time |
//! | [`verdict`] | the checks' names and results |
//! | [`mod@decide`] | from all of the above to a verdict |

pub mod attest_structure;
pub mod challenge;
pub mod decide;
pub mod endorsement;
mod error;
pub mod event_type;
pub mod eventlog;
pub mod evidence;
pub mod hash;
pub mod reference;
pub mod replay;
pub mod verdict;

pub use decide::{Context, decide, decide_bytes, decide_silence};
pub use error::AttestError;
pub use evidence::Bundle;
pub use hash::Bank;
pub use verdict::{Check, CheckName, Outcome, Verdict};
