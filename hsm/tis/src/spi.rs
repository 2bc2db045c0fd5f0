//! Registers over SPI (PTP, SPI interface): header, wait states with CS held, data.

use crate::{BusError, Clock, Locality, MAX_TRANSFER, Register, RegisterBus, register::SPI_PAGE};
use embedded_hal::{
    delay::DelayNs,
    digital::{Error as _, OutputPin},
    spi::SpiBus,
};

const HEADER: usize = 4;
const READ: u8 = 0x80;
/// In the last byte of the header, and in each byte polled after it: the chip is done waiting.
const NO_WAIT: u8 = 0x01;
/// Wait states of known chips are far shorter; in µs.
const WAIT_LIMIT_US: u32 = 20_000;
const NS_PER_S: u64 = 1_000_000_000;

/// A chip on an SPI bus (mode 0, most significant bit first) with a chip select pin of its own.
///
/// The chip holds a transfer by wait states, which must be polled with CS low; `SpiDevice` transactions cannot
/// do that. The bus must not be used for other devices during a call.
#[derive(Debug)]
pub struct SpiRegisters<S, P> {
    spi: S,
    cs: P,
    byte_ns: u64,
}

impl<S: SpiBus, P: OutputPin> SpiRegisters<S, P> {
    /// `hz` is the bus frequency: it only serves to count time. The pin is active low and must be high now.
    pub const fn new(spi: S, cs: P, hz: u32) -> Self {
        let hz = if hz == 0 { 1 } else { hz };
        Self { spi, cs, byte_ns: 8 * NS_PER_S / hz as u64 }
    }

    /// Gives bus and pin back.
    pub fn release(self) -> (S, P) {
        (self.spi, self.cs)
    }

    /// `work` with CS low. CS is high afterwards, whatever happened; the first failure counts.
    fn selected(&mut self, work: impl FnOnce(&mut Self) -> Result<(), BusError>) -> Result<(), BusError> {
        let low = self.cs.set_low().map_err(|e| BusError::ChipSelect(e.kind()));
        let done = low.and_then(|()| work(self));
        let flushed = self.spi.flush().map_err(spi_error);
        let high = self.cs.set_high().map_err(|e| BusError::ChipSelect(e.kind()));
        done.and(flushed).and(high)
    }

    /// Sends the header and stays until the chip is ready for the data.
    fn address<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        direction: u8,
        locality: Locality,
        register: Register,
        length: usize,
    ) -> Result<(), BusError> {
        let mut header = header(direction, locality, register, length)?;
        self.exchange(clock, &mut header)?;
        let mut last = header[HEADER - 1];
        let mut polled = 0;
        while last & NO_WAIT == 0 {
            if polled >= self.wait_limit() {
                return Err(BusError::WaitStates { polled });
            }
            let mut byte = [0];
            self.exchange(clock, &mut byte)?;
            last = byte[0];
            polled += 1;
        }
        Ok(())
    }

    fn exchange<D: DelayNs>(&mut self, clock: &mut Clock<D>, data: &mut [u8]) -> Result<(), BusError> {
        self.count(clock, data.len());
        self.spi.transfer_in_place(data).map_err(spi_error)
    }

    fn count<D: DelayNs>(&self, clock: &mut Clock<D>, bytes: usize) {
        clock.count_ns(self.byte_ns.saturating_mul(bytes as u64));
    }

    /// Bytes polled in [`WAIT_LIMIT_US`], at least some.
    fn wait_limit(&self) -> u32 {
        let bytes = u64::from(WAIT_LIMIT_US) * 1_000 / self.byte_ns.max(1);
        u32::try_from(bytes).unwrap_or(u32::MAX).max(16)
    }
}

/// Direction and length − 1, then the address: page, locality, register.
fn header(
    direction: u8,
    locality: Locality,
    register: Register,
    length: usize,
) -> Result<[u8; HEADER], BusError> {
    let too_long = BusError::TooLong { length };
    let n = u8::try_from(length).ok().filter(|n| usize::from(*n) <= MAX_TRANSFER).ok_or(too_long)?;
    let n = n.checked_sub(1).ok_or(too_long)?;
    let [high, low] = register.offset().to_be_bytes();
    Ok([direction | n, SPI_PAGE, locality.number() << 4 | high, low])
}

fn spi_error(e: impl embedded_hal::spi::Error) -> BusError {
    BusError::Spi(e.kind())
}

impl<S: SpiBus, P: OutputPin> RegisterBus for SpiRegisters<S, P> {
    /// CS high, in case something left it low.
    fn prepare<D: DelayNs>(&mut self, _: &mut Clock<D>) -> Result<(), BusError> {
        self.cs.set_high().map_err(|e| BusError::ChipSelect(e.kind()))
    }

    fn read<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        locality: Locality,
        register: Register,
        data: &mut [u8],
    ) -> Result<(), BusError> {
        data.fill(0);
        self.selected(|bus| {
            bus.address(clock, READ, locality, register, data.len())?;
            bus.exchange(clock, data)
        })
    }

    fn write<D: DelayNs>(
        &mut self,
        clock: &mut Clock<D>,
        locality: Locality,
        register: Register,
        data: &[u8],
    ) -> Result<(), BusError> {
        self.selected(|bus| {
            bus.address(clock, 0, locality, register, data.len())?;
            bus.count(clock, data.len());
            bus.spi.write(data).map_err(spi_error)
        })
    }

    fn checksum<D: DelayNs>(&mut self, _: &mut Clock<D>, _: Locality) -> Result<Option<u16>, BusError> {
        Ok(None)
    }

    fn worst_call_us(&self) -> u32 {
        let polled = u64::from(self.wait_limit());
        let ns = self.byte_ns.saturating_mul(polled + (HEADER + MAX_TRANSFER) as u64);
        u32::try_from(ns / 1_000 + 1).unwrap_or(u32::MAX)
    }
}
