//! SM algorithms, certificates and the TLS providers.
//!
//! [`sig`]: signatures on messages by either scheme; what the rest of the gateway uses.

pub mod sig;

pub use sig::{KeyPair, SigError, message_digest, verify, verify_digest};
