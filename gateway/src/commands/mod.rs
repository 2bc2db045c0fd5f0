//! One file per subcommand of the command line.

pub mod attest;
pub mod board;
pub mod call;
pub mod check_config;
pub mod client;
#[cfg(feature = "dev")]
pub mod dev;
pub mod doctor;
pub mod exit;
pub mod hsm;
pub mod run;
pub mod show;
#[cfg(test)]
#[cfg(feature = "dev")]
mod tests;
pub mod trace;
pub mod update;
pub mod verify;

pub use exit::Exit;
