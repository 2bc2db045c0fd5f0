//! The chip's end of SPI: select, header, wait states, data (PTP, SPI interface).

use crate::{
    fault::FaultKind,
    model::{Bench, Model, ModelError},
};
use embedded_hal::{
    digital::{self, OutputPin},
    spi::{self, SpiBus},
};
use hsm_tis::{Register, register::SPI_PAGE};

const READ: u8 = 0x80;
const LENGTH: u8 = 0x3f;
const NO_WAIT: u8 = 0x01;
const HEADER: usize = 4;
const BITS: u64 = 8;

/// The modelled SPI bus.
#[derive(Debug, Clone)]
pub struct ModelSpi(pub(crate) Model);

/// The modelled chip select, active low.
#[derive(Debug, Clone)]
pub struct ModelCs(pub(crate) Model);

/// Where a transfer is.
#[derive(Debug, Default)]
pub(crate) struct SpiState {
    pub(crate) selected: bool,
    phase: Phase,
    /// the chip sees nothing of the rest
    cut: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Header { seen: usize, bytes: [u8; HEADER] },
    Waiting { left: u64, then: Transfer },
    Data(Transfer),
    Ignored,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Header { seen: 0, bytes: [0; HEADER] }
    }
}

/// What the header asked for.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    read: bool,
    locality: u8,
    target: Option<(Register, usize)>,
    done: usize,
    size: usize,
}

impl Transfer {
    fn parse(header: [u8; HEADER]) -> Option<Self> {
        let [first, page, high, low] = header;
        let offset = u16::from_be_bytes([high & 0x0f, low]);
        let (read, size) = (first & READ != 0, usize::from(first & LENGTH) + 1);
        (page == SPI_PAGE).then(|| Self { read, locality: high >> 4, target: decode(offset), done: 0, size })
    }

    fn is_fifo(&self) -> bool {
        matches!(self.target, Some((Register::DataFifo, _)))
    }
}

/// Register and byte within it at an offset of a locality's page.
fn decode(offset: u16) -> Option<(Register, usize)> {
    let (register, base) = match offset {
        0x000 => (Register::Access, 0x000),
        0x014..=0x017 => (Register::InterfaceCapability, 0x014),
        0x018..=0x01b => (Register::Sts, 0x018),
        0x024..=0x027 => (Register::DataFifo, offset),
        0xf00..=0xf03 => (Register::DidVid, 0xf00),
        0xf04 => (Register::Rid, 0xf04),
        _ => return None,
    };
    Some((register, usize::from(offset - base)))
}

impl Bench {
    fn select(&mut self, selected: bool) {
        if selected && !self.spi.selected {
            self.chip.counters.transfers += 1;
        }
        self.spi = SpiState { selected, ..SpiState::default() };
    }

    /// One byte each way.
    fn spi_byte(&mut self, sent: u8) -> Result<u8, ModelError> {
        let at = self.tick(BITS, self.chip.config.spi_hz);
        if self.plan.has(at, FaultKind::Controller) {
            return Err(ModelError::Controller);
        }
        if self.plan.has(at, FaultKind::Glitch) {
            self.spi.phase = Phase::default();
        }
        self.spi.cut |= self.plan.has(at, FaultKind::Short);
        let payload = self.is_payload();
        let seen = self.plan.mosi(at, sent, payload);
        let answer =
            if self.spi.selected && !self.spi.cut { self.step(at, seen) } else { self.chip.config.idle };
        // the last header byte already tells wait states: part of the payload, if that is what follows
        Ok(self.plan.miso(at, answer, payload || self.is_payload()))
    }

    fn is_payload(&self) -> bool {
        match self.spi.phase {
            Phase::Waiting { then: t, .. } | Phase::Data(t) => t.is_fifo(),
            Phase::Header { .. } | Phase::Ignored => false,
        }
    }

    fn step(&mut self, at: u64, sent: u8) -> u8 {
        match self.spi.phase {
            Phase::Header { seen, mut bytes } => {
                if let Some(byte) = bytes.get_mut(seen) {
                    *byte = sent;
                }
                self.header_byte(at, seen + 1, bytes)
            }
            Phase::Waiting { left, then } => self.wait(at, left, then),
            Phase::Data(transfer) => self.data_byte(transfer, sent),
            Phase::Ignored => self.chip.config.idle,
        }
    }

    fn header_byte(&mut self, at: u64, seen: usize, bytes: [u8; HEADER]) -> u8 {
        if seen < HEADER {
            self.spi.phase = Phase::Header { seen, bytes };
            return 0;
        }
        let Some(transfer) = Transfer::parse(bytes) else {
            self.spi.phase = Phase::Ignored;
            return self.chip.config.idle;
        };
        let left = self.chip.wait_states();
        if left == 0 && !self.plan.has(at, FaultKind::EndlessWait) {
            self.spi.phase = Phase::Data(transfer);
            return NO_WAIT;
        }
        self.spi.phase = Phase::Waiting { left: left.max(1), then: transfer };
        0
    }

    fn wait(&mut self, at: u64, left: u64, then: Transfer) -> u8 {
        self.chip.counters.wait_states += 1;
        if self.plan.has(at, FaultKind::EndlessWait) {
            return 0;
        }
        if left > 1 {
            self.spi.phase = Phase::Waiting { left: left - 1, then };
            return 0;
        }
        self.spi.phase = Phase::Data(then);
        NO_WAIT
    }

    fn data_byte(&mut self, mut transfer: Transfer, sent: u8) -> u8 {
        let Some((register, first)) = transfer.target.filter(|_| transfer.done < transfer.size) else {
            return self.chip.config.idle;
        };
        let index = if register == Register::DataFifo { 0 } else { first + transfer.done };
        let answer = if transfer.read {
            self.chip.read(transfer.locality, register, index)
        } else {
            self.chip.write(transfer.locality, register, index, sent);
            self.chip.config.idle
        };
        transfer.done += 1;
        self.spi.phase = Phase::Data(transfer);
        answer
    }
}

impl spi::ErrorType for ModelSpi {
    type Error = ModelError;
}

impl SpiBus for ModelSpi {
    fn read(&mut self, words: &mut [u8]) -> Result<(), ModelError> {
        words.fill(0);
        self.transfer_in_place(words)
    }

    fn write(&mut self, words: &[u8]) -> Result<(), ModelError> {
        let mut bench = self.0.lock();
        words.iter().try_for_each(|w| bench.spi_byte(*w).map(drop))
    }

    fn transfer(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), ModelError> {
        let mut bench = self.0.lock();
        for i in 0..read.len().max(write.len()) {
            let answer = bench.spi_byte(write.get(i).copied().unwrap_or(0))?;
            if let Some(to) = read.get_mut(i) {
                *to = answer;
            }
        }
        Ok(())
    }

    fn transfer_in_place(&mut self, words: &mut [u8]) -> Result<(), ModelError> {
        let mut bench = self.0.lock();
        for word in words {
            *word = bench.spi_byte(*word)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ModelError> {
        Ok(())
    }
}

impl digital::ErrorType for ModelCs {
    type Error = ModelError;
}

impl OutputPin for ModelCs {
    fn set_low(&mut self) -> Result<(), ModelError> {
        self.0.lock().select(true);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), ModelError> {
        self.0.lock().select(false);
        Ok(())
    }
}
