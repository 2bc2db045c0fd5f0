//! The driver in a program without allocator: one command to a chip of three registers. Ends with 0 if it worked.
#![no_std]
#![no_main]

use embedded_hal::{
    delay::DelayNs,
    digital::{self, OutputPin},
    spi::{self, SpiBus},
};
use hsm_tis::{Config, SpiRegisters, Tis};

// SAFETY: only names the C library that has the start-up code; nothing is declared.
#[link(name = "c")]
unsafe extern "C" {}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// What the C start-up code calls.
// SAFETY: the only `main` of this program.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    let bus = SpiRegisters::new(Chip::default(), Pin, 10_000_000);
    let mut tpm = Tis::new(bus, NoDelay, Config { vendor: Some(0x15d1), ..Config::default() });
    let command = [0x80, 1, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 2];
    let mut response = [0; 32];
    match tpm.transmit(&command, &mut response, 1_000) {
        Ok(size) if response.get(..size) == Some(&RESPONSE[..]) => 0,
        _ => 1,
    }
}

const RESPONSE: [u8; 14] = [0x80, 1, 0, 0, 0, 14, 0, 0, 0, 0, 0, 2, 0xab, 0xcd];

/// A chip that is always ready: it counts what is written into its FIFO.
#[derive(Default)]
struct Chip {
    header: [u8; 4],
    written: usize,
    read: usize,
    gone: bool,
}

impl Chip {
    fn answer(&mut self, data: &mut [u8]) {
        match self.header[2..] {
            [0x0f, 0x00] => data.copy_from_slice(&[0xd1, 0x15, 0x1b, 0x00]),
            [0x00, 0x18] => data.copy_from_slice(&[self.status(), 64, 0, 4]),
            [0x00, 0x24] => {
                data.copy_from_slice(&RESPONSE[self.read..][..data.len()]);
                self.read += data.len();
            }
            [_, 0x00] => data.fill(0xa1),
            _ => data.fill(0),
        }
    }

    fn status(&self) -> u8 {
        match (self.gone, self.written) {
            (true, _) if self.read < RESPONSE.len() => 0x90,
            (false, 0) => 0xc0,
            (false, 1..12) => 0x88,
            _ => 0x80,
        }
    }
}

impl spi::ErrorType for Chip {
    type Error = core::convert::Infallible;
}

impl SpiBus for Chip {
    fn read(&mut self, words: &mut [u8]) -> Result<(), Self::Error> {
        self.answer(words);
        Ok(())
    }

    fn write(&mut self, words: &[u8]) -> Result<(), Self::Error> {
        match (self.header[3], words) {
            (0x24, _) => self.written += words.len(),
            (0x18, [0x20]) => self.gone = true,
            _ => {}
        }
        Ok(())
    }

    fn transfer(&mut self, _: &mut [u8], _: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn transfer_in_place(&mut self, words: &mut [u8]) -> Result<(), Self::Error> {
        // a header: its second byte is the page of the TPM's addresses
        match words {
            [a, 0xd4, b, c] => {
                self.header = [*a, 0xd4, *b, *c];
                *c = 1;
            }
            data => self.answer(data),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

struct Pin;

impl digital::ErrorType for Pin {
    type Error = core::convert::Infallible;
}

impl OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

struct NoDelay;

impl DelayNs for NoDelay {
    fn delay_ns(&mut self, _: u32) {}
}
