//! What tests are made of.

pub mod agreement;
pub mod attest;
pub mod browser;
pub mod caller;
pub mod cases;
pub mod consortium;
pub mod endpoint;
pub mod forwarder;
pub mod impostor;
pub mod inside;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod thief;
pub mod tpm;
pub mod wait;
pub mod wire;
