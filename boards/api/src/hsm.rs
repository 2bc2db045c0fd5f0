//! How the board reaches its signing chip.

use crate::{
    BoardError,
    hal::{DynDelay, DynI2c, DynOutput, DynSpi, PinError},
};
use embedded_hal::{delay::DelayNs, digital::OutputPin};
use std::{path::PathBuf, time::Duration};

/// The wires to the chip.
#[derive(Debug)]
pub enum HsmPort {
    /// SPI with chip select in our hands: TIS polls its wait states while CS is held (low = selected)
    Spi {
        /// clock and data, mode and speed already set
        bus: DynSpi,
        /// chip select as the wire has it: low selects
        cs: DynOutput,
    },
    /// I2C
    I2c {
        /// the bus
        bus: DynI2c,
        /// seven bits
        address: u8,
    },
    /// the kernel owns the chip
    Kernel {
        /// for example `/dev/tpmrm0`
        path: PathBuf,
    },
}

impl HsmPort {
    /// For the report at start.
    pub fn describe(&self) -> String {
        match self {
            Self::Spi { .. } => "SPI, chip select by GPIO".to_owned(),
            Self::I2c { address, .. } => format!("I2C address 0x{address:02x}"),
            Self::Kernel { path } => format!("kernel device {}", path.display()),
        }
    }
}

/// The signing chip's wires, its reset line if it has one, and which chip is expected there.
#[derive(Debug)]
pub struct Hsm {
    /// the wires
    pub port: HsmPort,
    /// its reset line
    pub reset: Option<HsmReset>,
    /// which chip must answer
    pub chip: Option<ChipId>,
    /// for wait states, guard times and reset
    pub delay: DynDelay,
}

/// A TPM's DID_VID register (TCG PC Client PTP 6.5.1): vendor, and device if pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChipId {
    /// PCI vendor id
    pub vendor: u16,
    /// the vendor's number of the chip
    pub device: Option<u16>,
}

impl ChipId {
    /// Refuses another chip than this. `did_vid` as the register has it: device ‖ vendor.
    pub fn check(&self, did_vid: u32) -> Result<(), BoardError> {
        let [v0, v1, d0, d1] = did_vid.to_le_bytes();
        let found = Self { vendor: u16::from_le_bytes([v0, v1]), device: Some(u16::from_le_bytes([d0, d1])) };
        let same = self.vendor == found.vendor && self.device.is_none_or(|d| found.device == Some(d));
        if same {
            return Ok(());
        }
        Err(BoardError::WrongChip { found: found.to_string(), pinned: self.to_string() })
    }
}

impl std::fmt::Display for ChipId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "vendor 0x{:04x}", self.vendor)?;
        self.device.map_or(Ok(()), |d| write!(f, " device 0x{d:04x}"))
    }
}

/// The chip's reset line. High means "in reset": an active-low wire is turned round by the line's driver.
#[derive(Debug)]
pub struct HsmReset {
    line: DynOutput,
    hold: Duration,
    settle: Duration,
}

impl HsmReset {
    /// `hold`: how long the line is held; `settle`: until the chip answers again.
    pub fn new(line: DynOutput, hold: Duration, settle: Duration) -> Self {
        Self { line, hold, settle }
    }
    /// Resets the chip and waits until it should answer. Every session and transient object in it is lost.
    pub fn pulse(&mut self, delay: &mut impl DelayNs) -> Result<(), BoardError> {
        self.line.set_high().map_err(failed)?;
        delay.delay_ms(millis(self.hold));
        // a chip left in reset is worse than a short pulse: no early return before this
        self.line.set_low().map_err(failed)?;
        delay.delay_ms(millis(self.settle));
        Ok(())
    }
}

fn failed(e: PinError) -> BoardError {
    BoardError::Part { part: "hsm.reset".into(), operation: "drive the line", what: e.to_string() }
}

fn millis(d: Duration) -> u32 {
    u32::try_from(d.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_hal_mock::eh1::{
        delay::{CheckedDelay, Transaction as Wait},
        digital::{Mock, State, Transaction as Pin},
    };

    #[test]
    fn a_reset_holds_releases_and_waits() {
        let mut line = Mock::new(&[Pin::set(State::High), Pin::set(State::Low)]);
        let mut delay = CheckedDelay::new(&[Wait::delay_ms(10), Wait::delay_ms(50)]);
        let mut reset =
            HsmReset::new(DynOutput::new(line.clone()), Duration::from_millis(10), Duration::from_millis(50));
        reset.pulse(&mut delay).unwrap();
        line.done();
        delay.done();
    }

    #[test]
    fn another_chip_is_named() {
        let pinned = ChipId { vendor: 0x1b4e, device: Some(0x0601) };
        pinned.check(0x0601_1b4e).unwrap();
        ChipId { device: None, ..pinned }.check(0xffff_1b4e).unwrap();
        let text = pinned.check(0x001b_15d1).unwrap_err().to_string();
        assert!(text.contains("says vendor 0x15d1 device 0x001b"), "{text}");
        assert!(text.contains("pins vendor 0x1b4e device 0x0601"), "{text}");
        pinned.check(0x0602_1b4e).unwrap_err();
    }
}
