//! Our own driver: a chip on SPI or I2C, without the kernel.

use super::{Cancel, Connect, Transport};
use crate::error::TpmError;
use embedded_hal::delay::DelayNs;
use hsm_tis::{Cause, RegisterBus, Tis};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// A chip behind the TIS driver. It keeps the bus: after an error the driver itself starts clean.
pub struct TisChip<B, D> {
    shared: Arc<Shared<B, D>>,
    place: String,
}

struct Shared<B, D> {
    tis: Mutex<Tis<B, D>>,
    cancelled: AtomicBool,
}

impl<B, D> TisChip<B, D> {
    /// Takes the driver; `place` is for messages.
    pub fn new(tis: Tis<B, D>, place: impl Into<String>) -> Self {
        let shared = Shared { tis: Mutex::new(tis), cancelled: AtomicBool::new(false) };
        Self { shared: Arc::new(shared), place: place.into() }
    }
}

impl<B, D> Shared<B, D> {
    fn tis(&self) -> MutexGuard<'_, Tis<B, D>> {
        self.tis.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: RegisterBus + Send + 'static, D: DelayNs + Send + 'static> Connect for TisChip<B, D> {
    fn connect(&self, _budget: Duration) -> Result<Box<dyn Transport>, TpmError> {
        let opened = self.shared.tis().open();
        opened.map_err(|source| TpmError::Bus { place: self.place.clone(), source })?;
        Ok(Box::new(Way { shared: self.shared.clone(), place: self.place.clone() }))
    }
    fn place(&self) -> String {
        self.place.clone()
    }
    fn is_shared(&self) -> bool {
        false
    }
}

struct Way<B, D> {
    shared: Arc<Shared<B, D>>,
    place: String,
}

impl<B: RegisterBus + Send + 'static, D: DelayNs + Send + 'static> Transport for Way<B, D> {
    fn transmit(&mut self, command: &[u8], response: &mut [u8], budget: Duration) -> Result<usize, TpmError> {
        let flag = &self.shared.cancelled;
        // what was asked before this command does not concern it
        flag.store(false, Ordering::SeqCst);
        let budget_us = u32::try_from(budget.as_micros()).unwrap_or(u32::MAX);
        let sent =
            self.shared.tis().transmit_unless(command, response, budget_us, || flag.load(Ordering::SeqCst));
        sent.map_err(|source| match source.cause {
            Cause::NoResponse { .. } | Cause::Deadline => TpmError::TimedOut { command: "a command", budget },
            _ => TpmError::Bus { place: self.place.clone(), source },
        })
    }
    fn canceller(&self) -> Option<Arc<dyn Cancel>> {
        Some(self.shared.clone())
    }
}

impl<B: Send + 'static, D: Send + 'static> Cancel for Shared<B, D> {
    fn cancel(&self) -> Result<(), TpmError> {
        self.cancelled.store(true, Ordering::SeqCst);
        Ok(())
    }
}
