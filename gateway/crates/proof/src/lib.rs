//! Merkle batches and the offline verifier.
//!
//! `xinguan verify` uses only this crate: no clock, no network, no state. What it believes is one
//! [`TrustFile`]; what it says is one [`Verdict`] that lists every check, passed or not.
//!
//! | module | what |
//! |---|---|
//! | [`batch`] | trees, paths, signed leaves |
//! | [`log`] | a log that only grows: inclusion, consistency |
//! | [`chain`] | the chain's headers: who may sign them, whether enough did |
//! | [`merge`] | the pure merge of replies into a report's items; broker and verifier share it |
//! | [`items`] | which items of a reply are sane |
//! | [`mod@verify`] | all checks over an answer |
//! | [`verdict`] | what was proved, attested, failed; one screen for people |

pub mod batch;
pub mod chain;
pub mod error;
pub mod items;
pub mod log;
pub mod merge;
pub mod verdict;
pub mod verify;

pub use batch::{Tree, build, verify_leaf};
pub use chain::{ChainError, SealerSet, VerifiedHeader, verify_header};
pub use error::ProofError;
pub use items::{ItemError, check_items};
pub use merge::{is_complete, merge_items};
pub use verdict::{Attestation, Check, CheckName, Outcome, Summary, Verdict};
pub use verify::{MAX_ANSWER_BYTES, TrustFile, verify_answer};
