//! SPI and I2C buses of the kernel as embedded-hal buses.

use crate::{
    description::{I2cToml, KernelCs, Spi},
    machine::Machine,
};
use board_api::{
    Problem,
    hal::{DynI2c, DynSpi},
};
use linux_embedded_hal::{
    I2cdev, SpidevBus,
    spidev::{SpiModeFlags, Spidev, SpidevOptions},
};
use std::path::Path;

/// Opens and sets up an SPI bus: mode 0, eight bits, as TIS has it.
pub(crate) fn spi(machine: &Machine, spi: &Spi) -> Result<DynSpi, Problem> {
    let key = "hsm.spi.bus";
    let path = machine.path(&spi.bus);
    let mut bus = Spidev::open(&path).map_err(|e| missing(key, &spi.bus, &e, "spidev"))?;
    let mut mode = SpiModeFlags::SPI_MODE_0;
    if spi.kernel_cs == KernelCs::None {
        mode |= SpiModeFlags::SPI_NO_CS;
    }
    let options =
        SpidevOptions::new().bits_per_word(8).max_speed_hz(spi.speed_hz).lsb_first(false).mode(mode).build();
    bus.configure(&options).map_err(|e| {
        let what = format!("`{}` does not take mode 0 at {} Hz: {e}", spi.bus.display(), spi.speed_hz);
        let remedy = "lower hsm.spi.speed_hz; where the controller knows no SPI_NO_CS, use kernel_cs = \"unconnected\"";
        Problem::new(key, what, remedy)
    })?;
    Ok(DynSpi::new(SpidevBus(bus)))
}

/// Opens an I2C bus.
pub(crate) fn i2c(machine: &Machine, i2c: &I2cToml) -> Result<DynI2c, Problem> {
    let path = machine.path(&i2c.bus);
    // asked first: i2cdev's error does not say what is missing
    let io = std::fs::OpenOptions::new().read(true).write(true).open(&path);
    io.map_err(|e| missing("hsm.i2c.bus", &i2c.bus, &e, "i2c-dev"))?;
    I2cdev::new(&path).map(DynI2c::new).map_err(|e| {
        let what = format!("`{}` is no I2C bus: {e}", i2c.bus.display());
        Problem::new("hsm.i2c.bus", what, "give a bus of the kernel's i2c-dev")
    })
}

/// A device file that is to be there.
pub(crate) fn present(machine: &Machine, key: &str, path: &Path, driver: &str) -> Result<(), Problem> {
    let found = std::fs::metadata(machine.path(path)).map(drop);
    found.map_err(|e| missing(key, path, &e, driver))
}

fn missing(key: &str, path: &Path, error: &std::io::Error, driver: &str) -> Problem {
    let shown = path.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => Problem::new(
            key,
            format!("`{shown}` is not there"),
            format!(
                "check that the kernel has found the device and has its driver ({driver}), or correct the path"
            ),
        ),
        std::io::ErrorKind::PermissionDenied => Problem::new(
            key,
            format!("`{shown}` may not be opened"),
            "give this service access to the device",
        ),
        _ => Problem::new(key, format!("`{shown}` cannot be opened: {error}"), "check who else holds it"),
    }
}
