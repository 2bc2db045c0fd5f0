//! Black-box tests: the real binary over real sockets, one file per promise in `tests/`.
//!
//! The library is the harness. A test makes a [`Consortium`] in a temporary folder, changes configurations,
//! starts, stops, kills, asks as any [`Caller`], and reads answers, metrics and logs. Everything that was
//! started ends with the value that started it.
//!
//! | module | what |
//! |---|---|
//! | [`harness::consortium`] | make, configure, start, kill, wait until ready |
//! | [`harness::caller`] | one HTTP request by curl (international) or `xinguan call` (SM) |
//! | [`harness::agreement`] | an enterprise's authorization, signed with its own key |
//! | [`harness::inside`] | an institution's own certificates, good and bad ones |
//! | [`harness::thief`] | acts with a node's stolen keys: TLS, requests, records |
//! | [`harness::tpm`] | a simulated TPM for each gateway |
//! | [`harness::impostor`] | a source that answers what a test wants |
//! | [`harness::endpoint`] | a ledger endpoint that lies |
//! | [`harness::browser`] | Chromium without a screen; [`harness::forwarder`] shows a certificate for it |
//! | [`harness::cases`] | a table of cases in one running consortium |
//!
//! One test binary has one `#[test]`: cargo-nextest runs each test in a process of its own, and making a
//! consortium costs seconds. The table inside says every case that failed, not only the first.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

pub mod harness;

pub use harness::{
    agreement::Agreement,
    caller::{Ask, Caller, Outcome, Reply},
    cases::Cases,
    consortium::{BANK, Consortium, HANGZHOU, HEFEI, LEDGER, Listener, OTHER_BANK, Profile, SUPERVISOR},
};
