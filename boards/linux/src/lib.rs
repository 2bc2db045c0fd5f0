//! Boards under Linux: one description in TOML per hardware revision, one implementation for all.
//!
//! [`LinuxBoard::named`] takes a description that is built in ([`BOARDS`]), [`LinuxBoard::from_file`] one from disk.
//! A description is checked as a whole before anything is opened; opening names every part that is not there,
//! with key, cause and remedy. Adding a board: one folder beside this crate and one line in `registry.rs`; see
//! docs/porting.md.

mod bus;
mod description;
mod error;
mod gpio;
mod hwmon;
mod identity;
mod machine;
mod open;
mod registry;
mod watchdog;

pub use description::{Description, MAX_FILE_BYTES, schema};
pub use error::DescriptionError;
pub use machine::Machine;
pub use open::LinuxBoard;
pub use registry::BOARDS;
