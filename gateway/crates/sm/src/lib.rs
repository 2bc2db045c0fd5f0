//! SM algorithms, certificates and the TLS providers.
//!
//! [`sig`]: signatures on messages by either scheme; what the rest of the gateway uses.
//! [`cert`]: certificates and revocation lists, built and verified.
//! [`tls`]: TLS 1.3 in the SM profile (RFC 8998) and the international one.

pub mod cert;
pub mod sig;
#[cfg(test)]
mod testpki;
pub mod tls;
#[cfg(test)]
mod vectors;

pub use sig::{KeyPair, SigError, message_digest, verify, verify_digest};
