//! The lights as seen from in front of the box.

use crate::lock;
use board_api::{Lamp, Panel, hal::DynOutput};
use embedded_hal::digital::{ErrorType, OutputPin};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

/// A history longer than this forgets its beginning.
const MAX_HISTORY: usize = 10_000;

/// What the lights did, in order.
#[derive(Debug, Clone, Default)]
pub struct SimLamps {
    history: Arc<Mutex<Vec<(Lamp, bool)>>>,
}

impl SimLamps {
    pub(crate) fn panel(&self) -> Panel {
        Panel::new(Lamp::ALL.map(|lamp| (lamp, DynOutput::new(Wire { lamp, lamps: self.clone() }))).into())
    }
    /// Whether a light is lit now.
    pub fn is_lit(&self, lamp: Lamp) -> bool {
        lock(&self.history).iter().rev().find(|(l, _)| *l == lamp).is_some_and(|(_, lit)| *lit)
    }
    /// Every change of one light, oldest first: repeats are left out.
    pub fn changes(&self, lamp: Lamp) -> Vec<bool> {
        let mut out: Vec<bool> =
            lock(&self.history).iter().filter(|(l, _)| *l == lamp).map(|(_, lit)| *lit).collect();
        out.dedup();
        out
    }
}

struct Wire {
    lamp: Lamp,
    lamps: SimLamps,
}

impl Wire {
    fn set(&self, lit: bool) {
        let mut history = lock(&self.lamps.history);
        if history.len() >= MAX_HISTORY {
            history.drain(..MAX_HISTORY / 2);
        }
        history.push((self.lamp, lit));
    }
}
impl ErrorType for Wire {
    type Error = Infallible;
}
impl OutputPin for Wire {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.set(false);
        Ok(())
    }
    fn set_high(&mut self) -> Result<(), Infallible> {
        self.set(true);
        Ok(())
    }
}
