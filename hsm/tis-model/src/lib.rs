//! A TPM's TIS registers on the wire, in front of any command processor, with faults.
//!
//! The other side of [`hsm_tis`]: bytes on SPI or I2C in, registers and the FIFO state machine of the PTP
//! inside, a [`Processor`] behind it that executes commands ([`Swtpm`] by its sockets, [`Sealed`] for tests). Time is
//! the model's own: [`ModelDelay`] advances it, as does each byte on the bus, so seconds of timeouts cost nothing.
//!
//! ```
//! use hsm_tis::{Config, SpiRegisters, Tis};
//! use hsm_tis_model::{Model, ModelConfig, Sealed, SealedCommand};
//!
//! let model = Model::new(ModelConfig::default(), Sealed::new(600));
//! let mut tpm = Tis::new(SpiRegisters::new(model.spi(), model.cs(), 10_000_000), model.delay(), Config::default());
//! let command = SealedCommand::new(1, 20, 100);
//! let mut response = [0; 256];
//! let size = tpm.transmit(command.bytes(), &mut response, 1_000_000)?;
//! assert!(command.is_right(&response[..size]));
//! assert_eq!(model.counters().commands, 1);
//! # Ok::<(), hsm_tis::Error>(())
//! ```
//!
//! A [`FaultPlan`] disturbs the wire (stuck and flipped bits, glitches, short transfers), the controller, or the
//! chip (reset, lost locality, never ready …) at chosen bytes of the bus. [`schedule`] draws such plans from a
//! seed and checks what the driver promises under them; the binary `soak` runs many.

mod chip;
mod config;
mod count;
mod fault;
mod i2c;
mod model;
mod processor;
mod rng;
pub mod schedule;
mod sealed;
mod spi;
mod swtpm;

pub use config::ModelConfig;
pub use count::{Counters, minimum_spi_bytes};
pub use fault::{Fault, FaultKind, FaultPlan};
pub use i2c::ModelI2c;
pub use model::{Model, ModelDelay, ModelError};
pub use processor::{Executed, Processor};
pub use rng::Rng;
pub use sealed::{Judgement, Sealed, SealedCommand};
pub use spi::{ModelCs, ModelSpi};
pub use swtpm::{Endpoint, Swtpm, SwtpmError};
