//! What a board gives the gateway: parts chosen at start, over embedded-hal 1.0.
//!
//! A [`Board`] knows its label and opens its [`Parts`] once. A part that the board lacks is an
//! [`Absent`] with the reason, never a stand-in; [`Parts::report`] names each one at start.
//!
//! | part | type | read |
//! |---|---|---|
//! | signing chip | [`Hsm`] with an [`HsmPort`] | `hsm.rs` |
//! | status lights | [`Panel`] shows a [`Condition`] | `led.rs` |
//! | watchdog | [`Watchdog`], fed by a [`Serving`] | `watchdog.rs` |
//! | tamper switch | [`tamper::TamperInput`], [`tamper::watch`] | `tamper/` |
//! | temperatures, voltages, fans | [`Sensor`] | `sensor.rs` |
//!
//! Adding a board: docs/porting.md.

mod board;
mod error;
pub mod hal;
mod hsm;
mod led;
mod sensor;
pub mod tamper;
mod watchdog;

pub use board::{Absent, Board, Label, Part, Parts, Trial};
pub use error::{BoardError, Problem};
pub use hsm::{ChipId, Hsm, HsmPort, HsmReset};
pub use led::{Condition, Lamp, Panel, Pattern, meaning_table};
pub use sensor::{Limits, Probe, Quantity, Reading, Sensor, Verdict};
pub use watchdog::{Beat, Keeper, NotServing, Question, Serving, Watchdog, WatchdogDevice, WatchdogInfo};
