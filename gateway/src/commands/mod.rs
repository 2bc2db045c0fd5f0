//! One file per subcommand of the command line.

pub mod check_config;
pub mod doctor;
pub mod exit;
#[cfg(test)]
#[cfg(feature = "dev")]
mod tests;

pub use exit::Exit;
