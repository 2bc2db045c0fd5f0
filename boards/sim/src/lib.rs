//! A board without hardware: every part simulated, every input in the test's hand.
//!
//! [`SimBoard`] is the board; [`SimHandles`] are its front panel, its case and its innards, for whoever plays the world:
//!
//! ```
//! use board_api::{Board, Condition, Lamp};
//! use board_sim::SimBoard;
//! use gw_proto::{UnixMillis, clock::FakeClock};
//! use std::sync::Arc;
//!
//! let clock = Arc::new(FakeClock::at(UnixMillis(0)));
//! let (board, world) = SimBoard::new(clock);
//! let mut parts = Box::new(board).open().unwrap();
//! parts.panel.as_mut().unwrap().show(Condition::Serving).unwrap();
//! assert!(world.lamps.is_lit(Lamp::Serving));
//! ```
//!
//! Parts that a test wants to be absent are taken away with [`SimBoard::without`], and are then as absent
//! as on a real board.

mod lamps;
mod sensors;
mod tamper;
mod watchdog;

pub use lamps::SimLamps;
pub use sensors::SimSensors;
pub use tamper::{SimButton, SimCase};
pub use watchdog::SimDog;

use board_api::{
    Absent, Board, BoardError, ChipId, Hsm, HsmPort, HsmReset, Label, Part, Parts, Trial,
    hal::{DynDelay, DynI2c, DynOutput, DynSpi},
};
use embedded_hal::{delay::DelayNs, digital::OutputPin, i2c::I2c, spi::SpiBus};
use gw_proto::Clock;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// What a test can take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimPart {
    /// the serial number
    Serial,
    /// the tamper switch
    Tamper,
    /// the lights
    Panel,
    /// the watchdog
    Watchdog,
    /// all sensors
    Sensors,
    /// the recovery button
    Recovery,
}

/// The other side of a [`SimBoard`]. Clones share one world.
#[derive(Debug, Clone)]
pub struct SimHandles {
    /// the case with its switch
    pub case: SimCase,
    /// the lights as seen from in front
    pub lamps: SimLamps,
    /// the watchdog and its bites
    pub dog: SimDog,
    /// what the sensors measure
    pub sensors: SimSensors,
    /// the recovery button
    pub recovery: SimButton,
}

/// A simulated board.
pub struct SimBoard {
    label: Label,
    world: SimHandles,
    platform_tpm: Part<PathBuf>,
    hsm: Part<Hsm>,
    polled: bool,
    absent: Vec<SimPart>,
}

impl SimBoard {
    /// How long its watchdog waits.
    pub const WATCHDOG_TIMEOUT: Duration = Duration::from_secs(30);

    /// A board with everything but TPM and signing chip, and its world. The watchdog counts on `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> (Self, SimHandles) {
        let world = SimHandles {
            case: SimCase::closed(),
            lamps: SimLamps::default(),
            dog: SimDog::new(clock, Self::WATCHDOG_TIMEOUT),
            sensors: SimSensors::usual(),
            recovery: SimButton::default(),
        };
        let board = Self {
            label: Label { board: "sim".into(), revision: "rev-a".into(), trial: Trial::Simulated },
            world: world.clone(),
            platform_tpm: Err(Absent::because("the simulated board was given none")),
            hsm: Err(Absent::because("the simulated board was given none")),
            polled: false,
            absent: Vec::new(),
        };
        (board, world)
    }
    /// Gives it a signing chip on SPI: any bus and chip select.
    #[must_use]
    pub fn with_spi(
        mut self,
        bus: impl SpiBus<u8> + Send + 'static,
        cs: impl OutputPin + Send + 'static,
        delay: impl DelayNs + Send + 'static,
    ) -> Self {
        let port = HsmPort::Spi { bus: DynSpi::new(bus), cs: DynOutput::new(cs) };
        self.hsm = Ok(Hsm { port, reset: None, chip: None, delay: DynDelay::new(delay) });
        self
    }
    /// Gives it a signing chip on I2C.
    #[must_use]
    pub fn with_i2c(
        mut self,
        bus: impl I2c + Send + 'static,
        address: u8,
        delay: impl DelayNs + Send + 'static,
    ) -> Self {
        let port = HsmPort::I2c { bus: DynI2c::new(bus), address };
        self.hsm = Ok(Hsm { port, reset: None, chip: None, delay: DynDelay::new(delay) });
        self
    }
    /// Gives the signing chip a reset line. Without a chip nothing changes.
    #[must_use]
    pub fn with_reset(
        mut self,
        line: impl OutputPin + Send + 'static,
        hold: Duration,
        settle: Duration,
    ) -> Self {
        if let Ok(hsm) = &mut self.hsm {
            hsm.reset = Some(HsmReset::new(DynOutput::new(line), hold, settle));
        }
        self
    }
    /// Pins the signing chip. Without a chip nothing changes.
    #[must_use]
    pub fn with_chip(mut self, chip: ChipId) -> Self {
        if let Ok(hsm) = &mut self.hsm {
            hsm.chip = Some(chip);
        }
        self
    }
    /// Gives it a kernel device as platform TPM.
    #[must_use]
    pub fn with_platform_tpm(mut self, path: impl Into<PathBuf>) -> Self {
        self.platform_tpm = Ok(path.into());
        self
    }
    /// Makes the tamper switch one without interrupt.
    #[must_use]
    pub fn with_polled_tamper(mut self) -> Self {
        self.polled = true;
        self
    }
    /// Takes a part away.
    #[must_use]
    pub fn without(mut self, part: SimPart) -> Self {
        self.absent.push(part);
        self
    }
    fn give<T>(&self, part: SimPart, make: impl FnOnce() -> T) -> Part<T> {
        if self.absent.contains(&part) {
            return Err(Absent::because("the test took it away"));
        }
        Ok(make())
    }
}

impl Board for SimBoard {
    fn label(&self) -> &Label {
        &self.label
    }
    fn open(self: Box<Self>) -> Result<Parts, BoardError> {
        let world = &self.world;
        let serial = self.give(SimPart::Serial, || "SIM-0001".to_owned());
        let tamper = self.give(SimPart::Tamper, || world.case.input(self.polled));
        let panel = self.give(SimPart::Panel, || world.lamps.panel());
        let watchdog = self.give(SimPart::Watchdog, || world.dog.watchdog());
        let sensors = self.give(SimPart::Sensors, || world.sensors.sensors()).unwrap_or_default();
        let recovery = self.give(SimPart::Recovery, || world.recovery.input());
        Ok(Parts {
            label: self.label,
            serial,
            platform_tpm: self.platform_tpm,
            hsm: self.hsm,
            tamper,
            panel,
            watchdog,
            sensors,
            recovery,
        })
    }
}

/// A lock that a panicking test thread has poisoned still holds the world's plain values.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
