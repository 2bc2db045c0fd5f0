//! A TPM on I2C that takes too long, and is told to stop. The chip is modelled here; on a board, give the driver
//! your `I2c` and delay instead.
#![expect(clippy::print_stdout, reason = "an example for the terminal")]

use embedded_hal::{delay::DelayNs, i2c::I2c};
use hsm_tis::{Config, DEFAULT_ADDRESS, Error, I2cRegisters, Tis};
use hsm_tis_model::{Model, ModelConfig, Sealed, SealedCommand};

const TEN_SECONDS_US: u32 = 10_000_000;
const LOOKS: u32 = 20;

fn cancel(i2c: impl I2c, delay: impl DelayNs, command: &[u8]) -> Result<(), Error> {
    let mut tpm = Tis::new(I2cRegisters::new(i2c, DEFAULT_ADDRESS, 400_000), delay, Config::default());
    let mut looks = 0;
    // on a board this asks a button, or a flag that another thread sets
    let cancelled = || {
        looks += 1;
        looks > LOOKS
    };
    let mut response = [0; 64];
    let size = tpm.transmit_unless(command, &mut response, TEN_SECONDS_US, cancelled)?;
    let code = response.get(6..size.min(10)).unwrap_or_default();
    println!("response code {code:02x?} (TPM_RC_CANCELED is 0x909) after {} µs", tpm.now_us());
    Ok(())
}

fn main() -> Result<(), Error> {
    let model = Model::new(ModelConfig::default(), Sealed::new(5_000_000));
    cancel(model.i2c(), model.delay(), SealedCommand::new(1, 0, 16).bytes())
}
