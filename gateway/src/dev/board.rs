//! A board whose case is a file: while it exists, the case is open. For trying what a real box does then.

use crate::board::Opened;
use board_api::{
    Absent, Label, Parts, Trial,
    hal::{DynInput, PinError},
    tamper::TamperInput,
};
use embedded_hal::digital::{ErrorKind, ErrorType, InputPin};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Opens it. Every other part is absent, and says so.
pub fn open(case: &Path) -> Opened {
    let no = || Absent::because("a development board has only a case");
    let parts = Parts {
        label: Label { board: "case-file".into(), revision: "dev".into(), trial: Trial::Simulated },
        serial: Err(no()),
        platform_tpm: Err(no()),
        hsm: Err(no()),
        tamper: Ok(TamperInput::Polled(DynInput::new(CaseFile(case.to_owned())))),
        panel: Err(no()),
        watchdog: Err(no()),
        sensors: Vec::new(),
        recovery: Err(no()),
    };
    let (debounce, poll) = (Duration::from_millis(10), Duration::from_millis(10));
    Opened { parts, timing: Some((debounce, poll)) }
}

struct CaseFile(PathBuf);

impl ErrorType for CaseFile {
    type Error = PinError;
}

impl InputPin for CaseFile {
    fn is_high(&mut self) -> Result<bool, PinError> {
        self.0.try_exists().map_err(|e| PinError::new(ErrorKind::Other, e.to_string()))
    }
    fn is_low(&mut self) -> Result<bool, PinError> {
        self.is_high().map(|open| !open)
    }
}
