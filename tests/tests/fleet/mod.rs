//! Boxes that exist only as evidence: listed on the ledger, enrolled, attesting over TLS of their own.
//!
//! | file | what |
//! |---|---|
//! | [`machine`] | what a box measures, its event log, the manifest of its release |
//! | [`chip`] | quotes and certificates: by swtpm, or by software that writes the same TPM structures |
//! | [`devices`] | lists and enrols them |
//! | [`rounds`] | a challenge, the evidence, the verdict |
#![expect(unreachable_pub, reason = "a module of a test program")]
#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

pub mod chip;
pub mod devices;
pub mod machine;
pub mod rounds;
