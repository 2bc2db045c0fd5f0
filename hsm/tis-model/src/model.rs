//! The model and its handles: one chip, many ends.

use crate::{
    ModelCs, ModelI2c, ModelSpi,
    chip::{Chip, Defects},
    config::ModelConfig,
    count::Counters,
    fault::{FaultKind, FaultPlan},
    i2c::I2cState,
    processor::Processor,
    spi::SpiState,
};
use embedded_hal::{delay::DelayNs, digital, i2c, spi};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A modelled chip. Clones are the same chip.
#[derive(Clone)]
pub struct Model(Arc<Mutex<Bench>>);

/// The chip, the wire to it, and what goes wrong on it.
pub(crate) struct Bench {
    pub(crate) chip: Chip,
    pub(crate) plan: FaultPlan,
    /// bytes since the plan was set
    pub(crate) at: u64,
    pub(crate) spi: SpiState,
    pub(crate) i2c: I2cState,
}

impl Model {
    /// Powered up and out of reset.
    #[must_use]
    pub fn new(config: ModelConfig, processor: impl Processor + 'static) -> Self {
        Self(Arc::new(Mutex::new(Bench {
            chip: Chip::new(config, Box::new(processor)),
            plan: FaultPlan::default(),
            at: 0,
            spi: SpiState::default(),
            i2c: I2cState::default(),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Bench> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its SPI bus.
    #[must_use]
    pub fn spi(&self) -> ModelSpi {
        ModelSpi(self.clone())
    }

    /// Its chip select.
    #[must_use]
    pub fn cs(&self) -> ModelCs {
        ModelCs(self.clone())
    }

    /// Its I2C bus.
    #[must_use]
    pub fn i2c(&self) -> ModelI2c {
        ModelI2c(self.clone())
    }

    /// A delay that advances the model's clock, and does not wait.
    #[must_use]
    pub fn delay(&self) -> ModelDelay {
        ModelDelay(self.clone())
    }

    /// From now on these faults; bytes are counted from here.
    pub fn set_faults(&self, plan: FaultPlan) {
        let mut bench = self.lock();
        bench.plan = plan;
        bench.at = 0;
    }

    /// No more faults. What they did to the chip remains.
    pub fn clear_faults(&self) {
        self.set_faults(FaultPlan::default());
    }

    /// The reset pin.
    pub fn reset(&self) {
        self.lock().reset();
    }

    /// Another chip in its place: other vendor and device numbers.
    pub fn exchange(&self, vendor: u16, device: u16) {
        let mut bench = self.lock();
        bench.chip.config.vendor = vendor;
        bench.chip.config.device = device;
    }

    /// What has happened on the bus.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().chip.counters
    }

    /// Counts from 0 again.
    pub fn reset_counters(&self) {
        self.lock().chip.counters = Counters::default();
    }

    /// Modelled time, µs.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.lock().chip.now_ns / 1_000
    }

    /// True while the chip is selected: never after a call of a driver.
    #[must_use]
    pub fn is_selected(&self) -> bool {
        self.lock().spi.selected
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").finish_non_exhaustive()
    }
}

impl Bench {
    pub(crate) fn reset(&mut self) {
        self.chip.reset();
        self.i2c.forget();
    }

    /// Counts a byte of the bus, lets time pass, and lets happen what is due. Returns the byte's place.
    pub(crate) fn tick(&mut self, bits: u64, hz: u32) -> u64 {
        let at = self.at;
        self.at += 1;
        self.chip.counters.bytes += 1;
        self.chip.now_ns += bits * 1_000_000_000 / u64::from(hz.max(1));
        if self.plan.has(at, FaultKind::Reset) {
            self.reset();
        }
        if self.plan.has(at, FaultKind::LoseLocality) {
            self.chip.lose_locality();
        }
        self.chip.defects = Defects {
            never_ready: self.plan.has(at, FaultKind::NeverReady),
            never_done: self.plan.has(at, FaultKind::NeverDone),
            no_burst: self.plan.has(at, FaultKind::NoBurst),
            status_invalid: self.plan.has(at, FaultKind::StatusInvalid),
        };
        at
    }
}

/// Advances the model's clock.
#[derive(Debug, Clone)]
pub struct ModelDelay(Model);

impl DelayNs for ModelDelay {
    fn delay_ns(&mut self, ns: u32) {
        self.0.lock().chip.now_ns += u64::from(ns);
    }
}

/// The modelled controller reports a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A fault of the plan.
    #[error("the modelled controller fails, as planned")]
    Controller,
    /// I2C: nobody at this address, or busy.
    #[error("the modelled chip does not acknowledge its address")]
    Refused,
}

impl spi::Error for ModelError {
    fn kind(&self) -> spi::ErrorKind {
        spi::ErrorKind::Other
    }
}

impl digital::Error for ModelError {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

impl i2c::Error for ModelError {
    fn kind(&self) -> i2c::ErrorKind {
        match self {
            Self::Controller => i2c::ErrorKind::Bus,
            Self::Refused => i2c::ErrorKind::NoAcknowledge(i2c::NoAcknowledgeSource::Address),
        }
    }
}
