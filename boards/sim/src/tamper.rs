//! The case with its switch, and the recovery button.

use crate::lock;
use board_api::{
    BoardError,
    hal::{DynInput, HalError, PinError},
    tamper::{EdgeInput, TamperInput},
};
use embedded_hal::digital::{ErrorKind, ErrorType, InputPin};
use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

#[derive(Debug, Default)]
struct State {
    open: bool,
    cut: bool,
    edges: u32,
}

/// The case: a test opens it, closes it, or cuts the switch's wire.
#[derive(Debug, Clone)]
pub struct SimCase {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl SimCase {
    pub(crate) fn closed() -> Self {
        Self { shared: Arc::default() }
    }
    pub(crate) fn input(&self, polled: bool) -> TamperInput {
        if polled {
            TamperInput::Polled(DynInput::new(self.clone()))
        } else {
            TamperInput::Edge(Box::new(self.clone()))
        }
    }
    fn change(&self, f: impl FnOnce(&mut State)) {
        f(&mut lock(&self.shared.0));
        self.shared.1.notify_all();
    }
    /// Opens the case.
    pub fn open(&self) {
        self.change(|s| {
            s.edges += u32::from(!s.open);
            s.open = true;
        });
    }
    /// Closes it.
    pub fn close(&self) {
        self.change(|s| s.open = false);
    }
    /// Cuts the switch's wire: it cannot be read any more.
    pub fn cut_wire(&self) {
        self.change(|s| s.cut = true);
    }
    fn level(&self) -> Result<bool, PinError> {
        let state = lock(&self.shared.0);
        if state.cut {
            return Err(HalError::new(ErrorKind::Other, "the wire is cut"));
        }
        Ok(state.open)
    }
}

fn failed(what: impl std::fmt::Display) -> BoardError {
    BoardError::Part { part: "tamper switch".into(), operation: "read it", what: what.to_string() }
}

impl EdgeInput for SimCase {
    fn is_open(&mut self) -> Result<bool, BoardError> {
        self.level().map_err(failed)
    }
    fn wait_opened(&mut self, timeout: Duration) -> Result<bool, BoardError> {
        let (mutex, condvar) = &*self.shared;
        let quiet = |s: &mut State| s.edges == 0 && !s.cut;
        let (mut state, _) =
            condvar.wait_timeout_while(lock(mutex), timeout, quiet).unwrap_or_else(PoisonError::into_inner);
        if state.cut {
            return Err(failed("the wire is cut"));
        }
        Ok(std::mem::take(&mut state.edges) > 0)
    }
}

impl ErrorType for SimCase {
    type Error = PinError;
}
impl InputPin for SimCase {
    fn is_high(&mut self) -> Result<bool, PinError> {
        self.level()
    }
    fn is_low(&mut self) -> Result<bool, PinError> {
        self.level().map(|open| !open)
    }
}

/// The recovery button.
#[derive(Debug, Clone, Default)]
pub struct SimButton {
    pressed: Arc<std::sync::atomic::AtomicBool>,
}

impl SimButton {
    pub(crate) fn input(&self) -> DynInput {
        DynInput::new(self.clone())
    }
    /// Presses or releases it.
    pub fn press(&self, pressed: bool) {
        self.pressed.store(pressed, std::sync::atomic::Ordering::SeqCst);
    }
}
impl ErrorType for SimButton {
    type Error = std::convert::Infallible;
}
impl InputPin for SimButton {
    fn is_high(&mut self) -> Result<bool, Self::Error> {
        Ok(self.pressed.load(std::sync::atomic::Ordering::SeqCst))
    }
    fn is_low(&mut self) -> Result<bool, Self::Error> {
        self.is_high().map(|high| !high)
    }
}
