//! gw-ledger

#[cfg(feature = "dev")]
pub mod dev;
pub mod tx;
