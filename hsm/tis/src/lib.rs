//! TPM 2.0 over SPI and I2C: the FIFO interface (TIS) on embedded-hal 1.0.
//!
//! The driver speaks the FIFO interface of the *TCG PC Client Platform TPM Profile* (PTP, 1.05 and before): it
//! carries a command to the chip and the response back. What the bytes mean is the caller's: this crate knows
//! no TPM command. `no_std`, no allocation, no `unsafe`, one dependency.
//!
//! ```text
//! Tis                 locality, ready, send, go, wait, receive, cancel, recover
//!  └─ RegisterBus     read and write a register of a locality
//!      ├─ SpiRegisters   SpiBus + CS pin: four-byte header, wait states polled with CS held
//!      └─ I2cRegisters   I2c: its own register map, guard times, checksum of the data
//! ```
//!
//! # Use
//! ```no_run
//! # fn f<S: embedded_hal::spi::SpiBus, P: embedded_hal::digital::OutputPin, D: embedded_hal::delay::DelayNs>(
//! #     spi: S, cs: P, delay: D) -> Result<(), hsm_tis::Error> {
//! use hsm_tis::{Config, SpiRegisters, Tis};
//!
//! let bus = SpiRegisters::new(spi, cs, 10_000_000); // mode 0, 10 MHz
//! let mut tpm = Tis::new(bus, delay, Config { vendor: Some(0x15d1), ..Config::default() });
//! let chip = tpm.open()?; // asks for the locality, checks the pinned vendor
//!
//! let get_random = [0x80, 1, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 16]; // TPM2_GetRandom(16)
//! let mut response = [0; 64];
//! let length = tpm.transmit(&get_random, &mut response, 2_000_000)?; // the chip may take two seconds
//! # let _ = (chip, length); Ok(()) }
//! ```
//!
//! # Time
//! embedded-hal has delays but no clock, so [`Clock`] counts: each delay that was asked for, and for each
//! transfer what it takes at the bus frequency. No operation takes longer, so counted, than
//! [`Tis::deadline_us`] says, whatever the chip does.
//!
//! # What can go wrong, and what is noticed
//! Each failure is an [`Error`]: the [`Step`] it happened in and a named [`Cause`].
//! [`Error::may_have_run`] says if the chip may have executed the command. After an error the next operation
//! starts clean: it aborts what the chip is doing, sets the bus up anew, checks who answers, gives up all
//! localities and asks for its own again. (All: the driver takes the chip to be its own.)
//!
//! **SPI carries no checksum.** A flipped bit in the data of a command or a response, or in the wait states
//! before such data, cannot be seen here: the result is a wrong command or response of the right length. What
//! this layer does notice is every single fault elsewhere, because counts no longer agree: the chip must want
//! more until the last byte and none after it (`Expect`), the response must have a known tag and a size that
//! fits, and after its last byte nothing may be left (`dataAvail`). Two faults at once can
//! defeat that; and so can one that loses a byte of the command's size, if what follows happens to spell a size that
//! fits (with the TCG's command codes, which begin with zeros, it does not; a vendor's 0x20… behind the size 0x21
//! does). Whoever needs right results over SPI uses HMAC sessions, which cover command and response end to end.
//!
//! On I2C the chip's CRC-16 (`TPM_DATA_CSUM`) of the command is compared before it runs, and of the response after:
//! all single and double bit errors are found, others but for one in 65,536. It is no protection against somebody
//! on the bus; sessions are.
#![no_std]

mod bus;
mod clock;
mod config;
mod crc;
mod error;
mod i2c;
mod receive;
mod recover;
pub mod register;
mod send;
mod spi;
mod tis;

pub use bus::{BusError, RegisterBus};
pub use clock::Clock;
pub use config::{Config, Poll, Timeouts};
pub use error::{Cause, Error, Step};
pub use i2c::{DEFAULT_ADDRESS, I2cRegisters};
pub use register::{Locality, Register};
pub use spi::SpiRegisters;
pub use tis::{Identity, Tis};

/// The longest piece of data in one transfer, in bytes (PTP: SPI transfers carry 1 to 64).
pub const MAX_TRANSFER: usize = 64;
/// Tag, size and code: each command and response begins with them (TPM 2.0 part 1).
pub const HEADER: usize = 10;
/// The most bytes of a command: what fits the FIFO of any chip known (TPM 2.0 reference: 4096).
pub const MAX_COMMAND: usize = 4096;
