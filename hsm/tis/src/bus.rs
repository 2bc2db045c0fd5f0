//! What the state machine needs of a bus: registers of a locality.

use crate::{Clock, Locality, Register};
use core::fmt;
use embedded_hal::{delay::DelayNs, digital, i2c, spi};

/// Reads and writes registers. Each call is bounded in time, and leaves the bus free, failed or not.
pub trait RegisterBus {
    /// Sets the interface up from nothing, as after power-up: nothing learnt before is believed.
    ///
    /// # Errors
    /// [`BusError`], if the chip does not answer or does not take the settings.
    fn prepare<D: DelayNs>(&mut self, clock: &mut Clock<D>) -> Result<(), BusError>;

    /// Reads `data.len()` bytes (at most [`crate::MAX_TRANSFER`]) of a register.
    ///
    /// # Errors
    /// [`BusError`]; `data` is then undefined, and FIFO bytes may be lost.
    fn read<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        locality: Locality,
        register: Register,
        data: &mut [u8],
    ) -> Result<(), BusError>;

    /// Writes `data` (at most [`crate::MAX_TRANSFER`] bytes) to a register.
    ///
    /// # Errors
    /// [`BusError`]; the chip may have taken some of it.
    fn write<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        locality: Locality,
        register: Register,
        data: &[u8],
    ) -> Result<(), BusError>;

    /// The chip's CRC of the FIFO's data since the command began; `None` on a bus without one.
    ///
    /// # Errors
    /// [`BusError`]
    fn checksum<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        locality: Locality,
    ) -> Result<Option<u16>, BusError>;

    /// The longest that any of these calls takes, in µs.
    fn worst_call_us(&self) -> u32;
}

/// What can fail on a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusError {
    /// The SPI controller.
    Spi(spi::ErrorKind),
    /// The chip select pin.
    ChipSelect(digital::ErrorKind),
    /// The chip held the transfer in wait states for longer than the limit.
    WaitStates {
        /// bytes polled
        polled: u32,
    },
    /// The I2C controller.
    I2c(i2c::ErrorKind),
    /// The chip acknowledged nothing for longer than the limit: busy without end, or not there.
    NoAcknowledge {
        /// times asked
        asked: u32,
    },
    /// A setting of the interface reads back as another.
    NotTaken {
        /// I2C address of the register
        register: u8,
        /// as written
        wrote: u8,
        /// as read back
        read: u8,
    },
    /// The interface capability makes no sense.
    Capability {
        /// as read
        value: u32,
    },
    /// More than one transfer can carry.
    TooLong {
        /// bytes
        length: usize,
    },
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spi(kind) => write!(f, "the SPI controller reports: {kind}"),
            Self::ChipSelect(kind) => write!(f, "the chip select pin reports: {kind}"),
            Self::WaitStates { polled } => {
                write!(f, "the chip was still in wait states after {polled} bytes; reset it")
            }
            Self::I2c(kind) => write!(f, "the I2C controller reports: {kind}"),
            Self::NoAcknowledge { asked } => {
                write!(f, "the chip did not acknowledge {asked} times; check its address, wiring and power")
            }
            Self::NotTaken { register, wrote, read } => write!(
                f,
                "I2C register {register:#04x} was set to {wrote:#04x} but reads {read:#04x}; the chip lacks it, or the bus is disturbed"
            ),
            Self::Capability { value } => write!(
                f,
                "the I2C interface capability reads {value:#010x}, which no chip has; the bus is disturbed"
            ),
            Self::TooLong { length } => write!(f, "{length} bytes are more than one transfer can carry"),
        }
    }
}

impl core::error::Error for BusError {}
