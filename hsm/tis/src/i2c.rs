//! Registers over I2C (PTP, I2C interface): own map, guard times, checksum.

use crate::{BusError, Clock, Locality, MAX_TRANSFER, Register, RegisterBus, register::i2c as reg};
use embedded_hal::{
    delay::DelayNs,
    i2c::{Error as _, ErrorKind, I2c},
};

/// The address TPMs have unless strapped otherwise.
pub const DEFAULT_ADDRESS: u8 = 0x2e;
/// Applies until the chip's own is known, and after a missing acknowledge; µs.
const GUARD_US: u32 = 250;
/// A busy chip acknowledges nothing; asked for so long, µs.
const BUSY_LIMIT_US: u32 = 50_000;
/// Eight bits and the acknowledge.
const BITS_PER_BYTE: u64 = 9;
const NS_PER_S: u64 = 1_000_000_000;
/// Transfers of the longest call: two looks at the capability, checksum on and read back.
const WORST_TRANSFERS: u32 = 7;

/// A chip on an I2C bus, at its address.
#[derive(Debug)]
pub struct I2cRegisters<I> {
    i2c: I,
    address: u8,
    byte_ns: u64,
    guard: Guard,
    /// What `TPM_LOC_SEL` holds, if that is certain.
    selected: Option<Locality>,
}

/// Pauses that the chip wants, in µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Guard {
    after_write: u32,
    after_read: u32,
}

const DEFAULT_GUARD: Guard = Guard { after_write: GUARD_US, after_read: GUARD_US };

impl<I: I2c> I2cRegisters<I> {
    /// `hz` is the bus frequency: it only serves to count time.
    pub const fn new(i2c: I, address: u8, hz: u32) -> Self {
        let hz = if hz == 0 { 1 } else { hz };
        let byte_ns = BITS_PER_BYTE * NS_PER_S / hz as u64;
        Self { i2c, address, byte_ns, guard: DEFAULT_GUARD, selected: None }
    }

    /// Gives the bus back.
    pub fn release(self) -> I {
        self.i2c
    }

    /// Register address, then (after the guard time) the data. Not by repeated start: chips need not have it.
    fn fetch<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        register: u8,
        data: &mut [u8],
    ) -> Result<(), BusError> {
        self.until_acknowledged(clock, 1, |i2c, address| i2c.write(address, &[register]))?;
        clock.wait_us(self.guard.after_write);
        self.until_acknowledged(clock, data.len(), |i2c, address| i2c.read(address, data))?;
        clock.wait_us(self.guard.after_read);
        Ok(())
    }

    /// Register address and data in one write: controllers differ in how they join two.
    fn store<D: DelayNs>(&mut self, clock: &mut Clock<D>, register: u8, data: &[u8]) -> Result<(), BusError> {
        let mut frame = [0; 1 + MAX_TRANSFER];
        let frame = frame.get_mut(..=data.len()).ok_or(BusError::TooLong { length: data.len() })?;
        if let Some((first, rest)) = frame.split_first_mut() {
            *first = register;
            rest.copy_from_slice(data);
        }
        self.until_acknowledged(clock, frame.len(), |i2c, address| i2c.write(address, frame))?;
        clock.wait_us(self.guard.after_write);
        Ok(())
    }

    /// A chip that is busy does not acknowledge its address: ask again after the guard time.
    fn until_acknowledged<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        bytes: usize,
        mut transfer: impl FnMut(&mut I, u8) -> Result<(), I::Error>,
    ) -> Result<(), BusError> {
        let until = clock.now_us() + u64::from(BUSY_LIMIT_US);
        let mut asked = 0;
        loop {
            clock.count_ns(self.byte_ns.saturating_mul(bytes as u64 + 1));
            asked += 1;
            match transfer(&mut self.i2c, self.address).map_err(|e| e.kind()) {
                Ok(()) => return Ok(()),
                Err(ErrorKind::NoAcknowledge(_)) if clock.now_us() < until => clock.wait_us(GUARD_US),
                Err(ErrorKind::NoAcknowledge(_)) => return Err(BusError::NoAcknowledge { asked }),
                Err(kind) => return Err(BusError::I2c(kind)),
            }
        }
    }

    fn select<D: DelayNs>(&mut self, clock: &mut Clock<D>, locality: Locality) -> Result<(), BusError> {
        if self.selected == Some(locality) {
            return Ok(());
        }
        self.selected = None;
        self.set(clock, reg::LOC_SEL, locality.number())?;
        self.selected = Some(locality);
        Ok(())
    }

    /// Writes a setting and reads it back: a lost one would go unnoticed for long.
    fn set<D: DelayNs>(&mut self, clock: &mut Clock<D>, register: u8, value: u8) -> Result<(), BusError> {
        self.store(clock, register, &[value])?;
        let mut read = [0];
        self.fetch(clock, register, &mut read)?;
        if read == [value] {
            Ok(())
        } else {
            Err(BusError::NotTaken { register, wrote: value, read: read[0] })
        }
    }

    /// Reads the capability twice: a flipped bit in the guard time would stay.
    fn learn_guard<D: DelayNs>(&mut self, clock: &mut Clock<D>) -> Result<(), BusError> {
        let mut values = [0; 2];
        for value in &mut values {
            let mut raw = [0; 4];
            self.fetch(clock, Register::InterfaceCapability.i2c_address(), &mut raw)?;
            *value = u32::from_le_bytes(raw);
        }
        let [value, again] = values;
        if value != again || value == 0 || value & reg::CAPABILITY_READ_ZERO != 0 {
            return Err(BusError::Capability { value: value | again });
        }
        self.guard = guard_of(value);
        Ok(())
    }
}

/// The pauses that a capability asks for.
const fn guard_of(capability: u32) -> Guard {
    let us = (capability & reg::GUARD_MASK) >> reg::GUARD_SHIFT;
    Guard {
        after_write: if capability & reg::GUARD_AFTER_WRITE == 0 { 0 } else { us },
        after_read: if capability & reg::GUARD_AFTER_READ == 0 { 0 } else { us },
    }
}

impl<I: I2c> RegisterBus for I2cRegisters<I> {
    /// Guard times of the chip; checksum on.
    fn prepare<D: DelayNs>(&mut self, clock: &mut Clock<D>) -> Result<(), BusError> {
        self.guard = DEFAULT_GUARD;
        self.selected = None;
        self.learn_guard(clock)?;
        self.set(clock, reg::DATA_CSUM_ENABLE, 1)
    }

    fn read<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        locality: Locality,
        register: Register,
        data: &mut [u8],
    ) -> Result<(), BusError> {
        self.select(clock, locality)?;
        self.fetch(clock, register.i2c_address(), data)
    }

    fn write<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        locality: Locality,
        register: Register,
        data: &[u8],
    ) -> Result<(), BusError> {
        self.select(clock, locality)?;
        self.store(clock, register.i2c_address(), data)
    }

    fn checksum<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        locality: Locality,
    ) -> Result<Option<u16>, BusError> {
        self.select(clock, locality)?;
        let mut raw = [0; 2];
        self.fetch(clock, reg::DATA_CSUM, &mut raw)?;
        Ok(Some(u16::from_be_bytes(raw)))
    }

    fn worst_call_us(&self) -> u32 {
        let frame = self.byte_ns.saturating_mul(MAX_TRANSFER as u64 + 2) / 1_000 + 1;
        let transfer = u64::from(BUSY_LIMIT_US) + 2 * frame + 2 * u64::from(GUARD_US);
        u32::try_from(transfer * u64::from(WORST_TRANSFERS)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{Guard, guard_of};

    #[test]
    fn guard_times_from_the_capability() {
        assert_eq!(guard_of(0), Guard { after_write: 0, after_read: 0 });
        assert_eq!(guard_of(250 << 9 | 0x0010_0000), Guard { after_write: 0, after_read: 250 });
        assert_eq!(guard_of(40 << 9 | 0x0006_0000), Guard { after_write: 40, after_read: 0 });
    }
}
