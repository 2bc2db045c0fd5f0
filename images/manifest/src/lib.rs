//! What a box that runs a built image measures, as a reference manifest for the verifier.
//!
//! ```text
//! boot loader, kernel image ─ Authenticode ─▶ PCR 4 ┐
//! PK, KEK, db ─ signature lists ───────────▶ PCR 7 ┤
//! ukify's value ─ phases of the start ─────▶ PCR 11 ┼─▶ Manifest ─ signed elsewhere ─▶ SignedManifest
//! nothing added to the command line ───────▶ PCR 12 ┤
//! the program ─ the gateway's own log ─────▶ PCR 14 ┘
//! a reference box's event log ─────────────▶ PCRs of its firmware
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`pe`] | the digest of a signed program that firmware measures |
//! | [`secure_boot`] | the variables and the authority of PCR 7 |
//! | [`expected`] | a manifest out of a build's files |
//! | [`seal`] | signatures made elsewhere, checked and attached |
//! | [`compare`] | a real log against a manifest |

pub mod compare;
mod error;
pub mod expected;
pub mod pe;
pub mod seal;
pub mod secure_boot;

pub use error::ManifestError;
