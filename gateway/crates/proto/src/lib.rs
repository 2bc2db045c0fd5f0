//! Ids, newtypes and wire formats: bytes ↔ types, total functions, no I/O.
//!
//! Everything that crosses a process boundary is defined here once. Nothing in this crate decides
//! anything: what a record means is in `gw-policy`, whether a signature holds is in `gw-sm`.
//!
//! | module | what |
//! |---|---|
//! | [`bytes`] | fixed and bounded byte strings as lower-case hex or base64 |
//! | [`canon`] | canonical JSON (RFC 8785) and domain-separated SM3 |
//! | [`clock`] | the only source of "now", and a request's remaining time |
//! | [`ids`] | institutions, nodes, regions, digests with a meaning |
//! | [`uscc`] | the unified social credit code (GB 32100) |
//! | [`terms`] | purposes, dimensions, evidence levels, roles |
//! | [`key`] | public keys, signatures, schemes |
//! | [`merkle`] | leaves, paths and signed roots of Merkle batches |
//! | [`record`] | what stands on the ledger |
//! | [`message`] | what gateways say to each other |
//! | [`report`] | items, reports, answers |
//! | [`genesis`] | the pinned trust root |
//! | [`fisco`] | blocks, transactions, receipts of FISCO BCOS 3 |
//! | [`tars`] | a transaction as `sendTransaction` takes it |

pub mod bytes;
pub mod canon;
pub mod clock;
pub mod fisco;
pub mod genesis;
pub mod ids;
pub mod key;
pub mod merkle;
pub mod message;
pub mod record;
pub mod report;
pub mod tars;
pub mod terms;
pub mod uscc;

pub use bytes::{B64, Hex, HexBytes};
pub use canon::{Digest, domain_digest, jcs, jcs_digest, signing_input, sm3};
pub use clock::{Budget, Clock, UnixMillis};
pub use ids::*;
pub use key::{PublicKey, Scheme, Signature};
pub use terms::*;
pub use uscc::Uscc;
