//! One file per subcommand of the command line.

pub mod check_config;
pub mod doctor;
pub mod exit;

pub use exit::Exit;
