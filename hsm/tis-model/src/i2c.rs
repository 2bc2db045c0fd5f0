//! The chip's end of I2C: address, register, data, guard times (PTP, I2C interface).

use crate::{
    fault::FaultKind,
    model::{Bench, Model, ModelError},
};
use embedded_hal::i2c::{self, I2c, Operation};
use hsm_tis::{Register, register::i2c as reg};

/// Eight bits and the acknowledge.
const BITS: u64 = 9;
const US: u64 = 1_000;
const NOBODY: u8 = 0xff;
const LOCALITIES: u8 = 5;
/// FIFO interface over I2C, TPM 2.0.
const CAPABILITY: u32 = 0x0000_0082;
/// x¹⁶ + x¹² + x⁵ + 1, high bit first.
const POLYNOMIAL: u16 = 0x1021;

/// The modelled I2C bus.
#[derive(Debug, Clone)]
pub struct ModelI2c(pub(crate) Model);

/// What the I2C interface remembers.
#[derive(Debug, Default)]
pub(crate) struct I2cState {
    pointer: u8,
    locality: u8,
    checksum: bool,
    /// not before this time
    free_ns: u64,
    /// the chip sees nothing of the rest
    cut: bool,
}

impl I2cState {
    /// The chip was reset.
    pub(crate) fn forget(&mut self) {
        (self.pointer, self.locality, self.checksum) = (0, 0, false);
    }
}

impl Bench {
    /// Start and address; the chip acknowledges or not.
    fn address(&mut self, address: u8, read: bool) -> Result<(), ModelError> {
        self.chip.counters.transfers += 1;
        self.i2c.cut = false;
        let at = self.i2c_tick()?;
        let seen = self.plan.mosi(at, address << 1 | u8::from(read), false);
        let early = self.chip.now_ns < self.i2c.free_ns;
        self.chip.counters.early += u64::from(early);
        let ours = seen == self.chip.config.address << 1 | u8::from(read);
        if early || !ours || self.chip.in_reset() || self.plan.has(at, FaultKind::Refuse) {
            self.chip.counters.refused += 1;
            return Err(ModelError::Refused);
        }
        Ok(())
    }

    fn i2c_tick(&mut self) -> Result<u64, ModelError> {
        let at = self.tick(BITS, self.chip.config.i2c_hz);
        self.i2c.cut |= self.plan.has(at, FaultKind::Short) || self.plan.has(at, FaultKind::Glitch);
        if self.plan.has(at, FaultKind::Controller) { Err(ModelError::Controller) } else { Ok(at) }
    }

    fn stop(&mut self) {
        self.i2c.free_ns = self.chip.now_ns + u64::from(self.chip.config.guard_us) * US;
    }

    fn i2c_write(&mut self, address: u8, bytes: &[u8]) -> Result<(), ModelError> {
        self.address(address, false)?;
        for (n, byte) in bytes.iter().enumerate() {
            let payload = n > 0 && self.i2c.pointer == Register::DataFifo.i2c_address();
            let at = self.i2c_tick()?;
            let seen = self.plan.mosi(at, *byte, payload);
            match n.checked_sub(1) {
                _ if self.i2c.cut => {}
                None => self.i2c.pointer = seen,
                Some(index) => self.store(index, seen),
            }
        }
        self.stop();
        Ok(())
    }

    fn i2c_read(&mut self, address: u8, bytes: &mut [u8]) -> Result<(), ModelError> {
        self.address(address, true)?;
        let payload = self.i2c.pointer == Register::DataFifo.i2c_address();
        for (index, byte) in bytes.iter_mut().enumerate() {
            let at = self.i2c_tick()?;
            let answer = if self.i2c.cut { self.chip.config.idle } else { self.load(index) };
            *byte = self.plan.miso(at, answer, payload);
        }
        self.stop();
        Ok(())
    }

    fn store(&mut self, index: usize, value: u8) {
        match (self.i2c.pointer, index) {
            (reg::LOC_SEL, 0) if value < LOCALITIES => self.i2c.locality = value,
            (reg::DATA_CSUM_ENABLE, 0) => self.i2c.checksum = value & 1 == 1,
            _ => {
                if let Some((register, at)) = decode(self.i2c.pointer, index) {
                    self.chip.write(self.i2c.locality, register, at, value);
                }
            }
        }
    }

    fn load(&mut self, index: usize) -> u8 {
        let of = |bytes: &[u8]| bytes.get(index).copied().unwrap_or(NOBODY);
        match self.i2c.pointer {
            reg::LOC_SEL => of(&[self.i2c.locality]),
            reg::DATA_CSUM_ENABLE => of(&[u8::from(self.i2c.checksum)]),
            reg::DATA_CSUM if self.i2c.checksum => of(&crc_bytes(self.chip.fifo_data())),
            reg::DATA_CSUM => of(&[0, 0]),
            pointer => match decode(pointer, index) {
                Some((Register::InterfaceCapability, at)) => {
                    capability(self.chip.config.guard_us).to_le_bytes().get(at).copied().unwrap_or(NOBODY)
                }
                // the family is only told on SPI
                Some((Register::Sts, 3)) => self.chip.read(self.i2c.locality, Register::Sts, 3) & 0x03,
                Some((register, at)) => self.chip.read(self.i2c.locality, register, at),
                None => NOBODY,
            },
        }
    }
}

/// Register and byte within it; the data register stays where it is.
fn decode(pointer: u8, index: usize) -> Option<(Register, usize)> {
    let (register, first) = match pointer {
        0x04 => (Register::Access, 0),
        0x18..=0x1b => (Register::Sts, pointer - 0x18),
        0x24 => return Some((Register::DataFifo, 0)),
        0x30..=0x33 => (Register::InterfaceCapability, pointer - 0x30),
        0x48..=0x4b => (Register::DidVid, pointer - 0x48),
        0x4c => (Register::Rid, 0),
        _ => return None,
    };
    Some((register, usize::from(first) + index))
}

/// The guard time holds after all transfers, or there is none.
fn capability(guard_us: u8) -> u32 {
    let flags = if guard_us == 0 { 0 } else { reg::GUARD_AFTER_READ | reg::GUARD_AFTER_WRITE };
    CAPABILITY | u32::from(guard_us) << reg::GUARD_SHIFT | flags
}

/// `TPM_DATA_CSUM`: computed the other way round than the driver does, so that both cannot err alike.
fn crc_bytes(data: &[u8]) -> [u8; 2] {
    let crc = data.iter().fold(0_u16, |crc, byte| {
        let start = crc ^ u16::from(byte.reverse_bits()) << 8;
        (0..8).fold(start, |c, _| if c & 0x8000 == 0 { c << 1 } else { c << 1 ^ POLYNOMIAL })
    });
    crc.reverse_bits().to_be_bytes()
}

impl i2c::ErrorType for ModelI2c {
    type Error = ModelError;
}

impl I2c for ModelI2c {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ModelError> {
        let mut bench = self.0.lock();
        operations.iter_mut().try_for_each(|operation| match operation {
            Operation::Write(bytes) => bench.i2c_write(address, bytes),
            Operation::Read(bytes) => bench.i2c_read(address, bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    /// CRC catalogue, "KERMIT": 0x2189 over the digits.
    #[test]
    fn check_value() {
        assert_eq!(super::crc_bytes(b"123456789"), [0x21, 0x89]);
    }
}
