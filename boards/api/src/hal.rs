//! Owned embedded-hal parts: any driver's bus, pin or delay in a box, with one error form.
//!
//! Drivers such as `hsm-tis` are generic over embedded-hal's traits; which driver stands behind them is known
//! only at start. These types own a boxed one, implement the same traits, and keep the error's kind and text.

use embedded_hal::{
    delay::DelayNs,
    digital::{self, InputPin, OutputPin},
    i2c::{self, I2c, Operation, SevenBitAddress},
    spi::{self, SpiBus},
};

/// A driver's error: embedded-hal's kind for programs, the text for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct HalError<K: std::fmt::Debug> {
    kind: K,
    text: String,
}

impl<K: std::fmt::Debug> HalError<K> {
    /// An error of that kind.
    pub fn new(kind: K, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// What a boxed SPI bus fails with.
pub type SpiError = HalError<spi::ErrorKind>;
/// What a boxed I2C bus fails with.
pub type I2cError = HalError<i2c::ErrorKind>;
/// What a boxed pin fails with.
pub type PinError = HalError<digital::ErrorKind>;

impl spi::Error for SpiError {
    fn kind(&self) -> spi::ErrorKind {
        self.kind
    }
}
impl i2c::Error for I2cError {
    fn kind(&self) -> i2c::ErrorKind {
        self.kind
    }
}
impl digital::Error for PinError {
    fn kind(&self) -> digital::ErrorKind {
        self.kind
    }
}

fn spi_error(e: impl spi::Error) -> SpiError {
    HalError::new(e.kind(), format!("{e:?}"))
}
fn i2c_error(e: impl i2c::Error) -> I2cError {
    HalError::new(e.kind(), format!("{e:?}"))
}
fn pin_error(e: impl digital::Error) -> PinError {
    HalError::new(e.kind(), format!("{e:?}"))
}

/// A driver with its errors brought to the common form.
struct Common<T>(T);

impl<T: spi::ErrorType> spi::ErrorType for Common<T> {
    type Error = SpiError;
}
impl<T: SpiBus<u8>> SpiBus<u8> for Common<T> {
    fn read(&mut self, words: &mut [u8]) -> Result<(), SpiError> {
        self.0.read(words).map_err(spi_error)
    }
    fn write(&mut self, words: &[u8]) -> Result<(), SpiError> {
        self.0.write(words).map_err(spi_error)
    }
    fn transfer(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), SpiError> {
        self.0.transfer(read, write).map_err(spi_error)
    }
    fn transfer_in_place(&mut self, words: &mut [u8]) -> Result<(), SpiError> {
        self.0.transfer_in_place(words).map_err(spi_error)
    }
    fn flush(&mut self) -> Result<(), SpiError> {
        self.0.flush().map_err(spi_error)
    }
}

/// An SPI bus without chip select.
pub struct DynSpi(Box<dyn SpiBus<u8, Error = SpiError> + Send>);

impl DynSpi {
    /// Boxes a driver.
    pub fn new(bus: impl SpiBus<u8> + Send + 'static) -> Self {
        Self(Box::new(Common(bus)))
    }
}
impl spi::ErrorType for DynSpi {
    type Error = SpiError;
}
impl SpiBus<u8> for DynSpi {
    fn read(&mut self, words: &mut [u8]) -> Result<(), SpiError> {
        self.0.read(words)
    }
    fn write(&mut self, words: &[u8]) -> Result<(), SpiError> {
        self.0.write(words)
    }
    fn transfer(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), SpiError> {
        self.0.transfer(read, write)
    }
    fn transfer_in_place(&mut self, words: &mut [u8]) -> Result<(), SpiError> {
        self.0.transfer_in_place(words)
    }
    fn flush(&mut self) -> Result<(), SpiError> {
        self.0.flush()
    }
}

impl<T: i2c::ErrorType> i2c::ErrorType for Common<T> {
    type Error = I2cError;
}
impl<T: I2c> I2c for Common<T> {
    fn transaction(&mut self, address: SevenBitAddress, ops: &mut [Operation<'_>]) -> Result<(), I2cError> {
        self.0.transaction(address, ops).map_err(i2c_error)
    }
}

/// An I2C bus.
pub struct DynI2c(Box<dyn I2c<SevenBitAddress, Error = I2cError> + Send>);

impl DynI2c {
    /// Boxes a driver.
    pub fn new(bus: impl I2c + Send + 'static) -> Self {
        Self(Box::new(Common(bus)))
    }
}
impl i2c::ErrorType for DynI2c {
    type Error = I2cError;
}
impl I2c for DynI2c {
    fn transaction(&mut self, address: SevenBitAddress, ops: &mut [Operation<'_>]) -> Result<(), I2cError> {
        self.0.transaction(address, ops)
    }
}

impl<T: digital::ErrorType> digital::ErrorType for Common<T> {
    type Error = PinError;
}
impl<T: OutputPin> OutputPin for Common<T> {
    fn set_low(&mut self) -> Result<(), PinError> {
        self.0.set_low().map_err(pin_error)
    }
    fn set_high(&mut self) -> Result<(), PinError> {
        self.0.set_high().map_err(pin_error)
    }
}
impl<T: InputPin> InputPin for Common<T> {
    fn is_high(&mut self) -> Result<bool, PinError> {
        self.0.is_high().map_err(pin_error)
    }
    fn is_low(&mut self) -> Result<bool, PinError> {
        self.0.is_low().map_err(pin_error)
    }
}

/// An output line.
pub struct DynOutput(Box<dyn OutputPin<Error = PinError> + Send>);

impl DynOutput {
    /// Boxes a driver.
    pub fn new(pin: impl OutputPin + Send + 'static) -> Self {
        Self(Box::new(Common(pin)))
    }
}
impl digital::ErrorType for DynOutput {
    type Error = PinError;
}
impl OutputPin for DynOutput {
    fn set_low(&mut self) -> Result<(), PinError> {
        self.0.set_low()
    }
    fn set_high(&mut self) -> Result<(), PinError> {
        self.0.set_high()
    }
}

/// An input line.
pub struct DynInput(Box<dyn InputPin<Error = PinError> + Send>);

impl DynInput {
    /// Boxes a driver.
    pub fn new(pin: impl InputPin + Send + 'static) -> Self {
        Self(Box::new(Common(pin)))
    }
}
impl digital::ErrorType for DynInput {
    type Error = PinError;
}
impl InputPin for DynInput {
    fn is_high(&mut self) -> Result<bool, PinError> {
        self.0.is_high()
    }
    fn is_low(&mut self) -> Result<bool, PinError> {
        self.0.is_low()
    }
}

/// A delay.
pub struct DynDelay(Box<dyn DelayNs + Send>);

impl DynDelay {
    /// Boxes a driver.
    pub fn new(delay: impl DelayNs + Send + 'static) -> Self {
        Self(Box::new(delay))
    }
}
impl DelayNs for DynDelay {
    fn delay_ns(&mut self, ns: u32) {
        self.0.delay_ns(ns);
    }
    // the driver's own longer delays: nanoseconds in a loop would wake up 4 times a second for nothing
    fn delay_us(&mut self, us: u32) {
        self.0.delay_us(us);
    }
    fn delay_ms(&mut self, ms: u32) {
        self.0.delay_ms(ms);
    }
}

macro_rules! debug_by_name {
    ($($t:ident),*) => {$(
        impl std::fmt::Debug for $t {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($t))
            }
        }
    )*};
}
debug_by_name!(DynSpi, DynI2c, DynOutput, DynInput, DynDelay);

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_hal_mock::eh1::{digital as pin, i2c as mock_i2c, spi as mock_spi};

    #[test]
    fn a_boxed_spi_bus_passes_each_call_on() {
        let mut mock = mock_spi::Mock::new(&[
            mock_spi::Transaction::write_vec(vec![1, 2]),
            mock_spi::Transaction::read_vec(vec![3]),
            mock_spi::Transaction::transfer(vec![4], vec![5]),
            mock_spi::Transaction::transfer_in_place(vec![6], vec![7]),
            mock_spi::Transaction::flush(),
        ]);
        let mut bus = DynSpi::new(mock.clone());
        let mut byte = [0];
        bus.write(&[1, 2]).unwrap();
        bus.read(&mut byte).unwrap();
        assert_eq!(byte, [3]);
        bus.transfer(&mut byte, &[4]).unwrap();
        assert_eq!(byte, [5]);
        byte = [6];
        bus.transfer_in_place(&mut byte).unwrap();
        assert_eq!(byte, [7]);
        bus.flush().unwrap();
        mock.done();
    }

    const NO_ACK: i2c::ErrorKind = i2c::ErrorKind::NoAcknowledge(i2c::NoAcknowledgeSource::Address);

    struct NobodyThere;
    impl i2c::ErrorType for NobodyThere {
        type Error = i2c::ErrorKind;
    }
    impl I2c for NobodyThere {
        fn transaction(&mut self, _: u8, _: &mut [Operation<'_>]) -> Result<(), Self::Error> {
            Err(NO_ACK)
        }
    }

    #[test]
    fn an_i2c_error_keeps_its_kind() {
        let error = DynI2c::new(NobodyThere).write(0x2e, &[0]).unwrap_err();
        assert_eq!(i2c::Error::kind(&error), NO_ACK);
        assert!(error.to_string().contains("NoAcknowledge"), "{error}");
    }

    #[test]
    fn a_boxed_i2c_bus_passes_a_transaction_on_whole() {
        let mut mock = mock_i2c::Mock::new(&[
            mock_i2c::Transaction::transaction_start(0x2e),
            mock_i2c::Transaction::write(0x2e, vec![0x48]),
            mock_i2c::Transaction::read(0x2e, vec![0x4e, 0x1b]),
            mock_i2c::Transaction::transaction_end(0x2e),
        ]);
        let mut vendor = [0; 2];
        DynI2c::new(mock.clone()).write_read(0x2e, &[0x48], &mut vendor).unwrap();
        assert_eq!(vendor, [0x4e, 0x1b]);
        mock.done();
    }

    #[test]
    fn a_boxed_pin_sets_and_reads() {
        let mut mock = pin::Mock::new(&[
            pin::Transaction::set(pin::State::Low),
            pin::Transaction::set(pin::State::High),
        ]);
        let mut out = DynOutput::new(mock.clone());
        out.set_low().unwrap();
        out.set_high().unwrap();
        mock.done();
        let mut mock = pin::Mock::new(&[pin::Transaction::get(pin::State::High)]);
        assert!(DynInput::new(mock.clone()).is_high().unwrap());
        mock.done();
    }
}
