//! Bytes on the SPI bus per signature, against the fewest that the protocol allows.

use crate::{ours::Ours, swtpm::Simulator};
use gw_proto::Scheme;
use hsm_tis::{Config, SpiRegisters, Tis};
use hsm_tis_model::{Endpoint, Model, ModelConfig, Swtpm, minimum_spi_bytes};
use hsm_tpm2::{
    TpmError,
    transport::{Cancel, Connect, Transport, tis::TisChip},
};
use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Per signature.
pub struct BusFigures {
    /// bytes clocked
    pub bytes: f64,
    /// the fewest for the same commands
    pub minimum: f64,
    /// of these commands and responses
    pub payload: f64,
    /// looks at the status register
    pub status_reads: f64,
    /// wait states
    pub wait_states: f64,
}

/// A chip that is never waited for: bursts of 64, no wait states, all done at the first look.
pub fn ideal() -> ModelConfig {
    ModelConfig {
        wait_states: 0,
        burst: 64,
        locality_us: 0,
        ready_us: 0,
        reset_us: 0,
        ..ModelConfig::default()
    }
}

/// Makes `count` signatures over the model; each command of the chip is modelled to take `us`.
pub fn measure(
    chip: &Simulator,
    config: ModelConfig,
    us: u64,
    count: u32,
) -> Result<BusFigures, Box<dyn Error>> {
    let model = Model::new(config, Swtpm::connect(&Endpoint::Tcp(chip.address()), None, us)?);
    let bus = SpiRegisters::new(model.spi(), model.cs(), 10_000_000);
    let way = TisChip::new(Tis::new(bus, model.delay(), Config::default()), "SPI model");
    let minimum = Arc::new(AtomicU64::new(0));
    let metered = Metered { inner: Arc::new(way), minimum: minimum.clone() };
    let file = format!("spi-{us}.json");
    let ours = Ours::new(&Ours::store(chip, Arc::new(metered), &file)?, Scheme::EcdsaP256Sha256)?;
    ours.sign()?;
    model.reset_counters();
    minimum.store(0, Ordering::Relaxed);
    for _ in 0..count {
        ours.sign()?;
    }
    let counted = model.counters();
    let each = |n: u64| n as f64 / f64::from(count);
    Ok(BusFigures {
        bytes: each(counted.bytes),
        minimum: each(minimum.load(Ordering::Relaxed)),
        payload: each(counted.payload),
        status_reads: each(counted.status_reads),
        wait_states: each(counted.wait_states),
    })
}

/// Adds up the minimum of each command that passes.
struct Metered {
    inner: Arc<dyn Connect>,
    minimum: Arc<AtomicU64>,
}

impl Connect for Metered {
    fn connect(&self, budget: Duration) -> Result<Box<dyn Transport>, TpmError> {
        Ok(Box::new(Meter { inner: self.inner.connect(budget)?, minimum: self.minimum.clone() }))
    }
    fn place(&self) -> String {
        self.inner.place()
    }
    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }
}

struct Meter {
    inner: Box<dyn Transport>,
    minimum: Arc<AtomicU64>,
}

impl Transport for Meter {
    fn transmit(&mut self, command: &[u8], response: &mut [u8], budget: Duration) -> Result<usize, TpmError> {
        let length = self.inner.transmit(command, response, budget)?;
        let bytes = minimum_spi_bytes(command.len() as u64, length as u64);
        self.minimum.fetch_add(bytes, Ordering::Relaxed);
        Ok(length)
    }
    fn canceller(&self) -> Option<Arc<dyn Cancel>> {
        self.inner.canceller()
    }
}
