//! Sixteen random bytes from a TPM on SPI. The chip is modelled here; on a board, give the driver your `SpiBus`,
//! chip select pin and delay instead.
#![expect(clippy::print_stdout, reason = "an example for the terminal")]

use embedded_hal::{delay::DelayNs, digital::OutputPin, spi::SpiBus};
use hsm_tis::{Config, Error, SpiRegisters, Tis};
use hsm_tis_model::{Model, ModelConfig};

/// `TPM2_GetRandom` of 16 bytes (TPM 2.0 part 3).
const GET_RANDOM: [u8; 12] = [0x80, 0x01, 0, 0, 0, 0x0c, 0, 0, 0x01, 0x7b, 0, 16];
const TWO_SECONDS_US: u32 = 2_000_000;

fn random(spi: impl SpiBus, cs: impl OutputPin, delay: impl DelayNs) -> Result<(), Error> {
    let bus = SpiRegisters::new(spi, cs, 10_000_000);
    let mut tpm = Tis::new(bus, delay, Config::default());
    let chip = tpm.open()?;
    println!("vendor {:04x}, device {:04x}, revision {}", chip.vendor, chip.device, chip.revision);

    let mut response = [0; 64];
    let size = tpm.transmit(&GET_RANDOM, &mut response, TWO_SECONDS_US)?;
    println!("{:02x?} after {} µs", response.get(12..size).unwrap_or_default(), tpm.now_us());
    tpm.close()
}

fn main() -> Result<(), Error> {
    let model = Model::new(ModelConfig::default(), |_: &[u8]| {
        let mut response = vec![0x80, 0x01, 0, 0, 0, 28, 0, 0, 0, 0, 0, 16];
        response.extend(0..16);
        response
    });
    random(model.spi(), model.cs(), model.delay())
}
