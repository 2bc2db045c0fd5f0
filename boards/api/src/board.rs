//! The board as a whole: its label, its parts, and what it lacks.

use crate::{BoardError, Hsm, Panel, Sensor, Watchdog, hal::DynInput, tamper::TamperInput};
use std::path::PathBuf;

/// A board: chosen by configuration, opened once at start.
pub trait Board: Send {
    /// Which board this is; known before anything is opened.
    fn label(&self) -> &Label;
    /// Opens every part. A part that is promised and not there is an error, and all of them are listed at once.
    fn open(self: Box<Self>) -> Result<Parts, BoardError>;
}

/// Name, revision, and whether anybody has tried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// for example `x86-rack`
    pub board: String,
    /// for example `rev-a`
    pub revision: String,
    /// how far the description was tried
    pub trial: Trial,
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.board, self.revision, self.trial.as_str())
    }
}

/// How far a board was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// written without the hardware at hand
    UntriedOnHardware,
    /// ran under QEMU
    TriedInQemu,
    /// ran on the real thing
    TriedOnHardware,
    /// no hardware at all
    Simulated,
}

impl Trial {
    /// As reports print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UntriedOnHardware => "untried on hardware",
            Self::TriedInQemu => "tried in QEMU",
            Self::TriedOnHardware => "tried on hardware",
            Self::Simulated => "simulated",
        }
    }
}

/// Why a board lacks a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("absent: {0}")]
pub struct Absent(pub String);

impl Absent {
    /// With the reason.
    pub fn because(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// A part, or why there is none.
pub type Part<T> = Result<T, Absent>;

/// What a board gives. Each part is taken by the one who drives it.
#[derive(Debug)]
pub struct Parts {
    /// which board
    pub label: Label,
    /// its serial number
    pub serial: Part<String>,
    /// the platform TPM: the kernel's, for sealing and attestation
    pub platform_tpm: Part<PathBuf>,
    /// the signing chip
    pub hsm: Part<Hsm>,
    /// the tamper switch
    pub tamper: Part<TamperInput>,
    /// status lights
    pub panel: Part<Panel>,
    /// the hardware watchdog, not yet started
    pub watchdog: Part<Watchdog>,
    /// sensors, in the description's order; empty is absent
    pub sensors: Vec<Sensor>,
    /// the recovery button: high means pressed
    pub recovery: Part<DynInput>,
}

impl Parts {
    /// Every capability by name, there or absent with its reason: printed at start.
    pub fn report(&self) -> Vec<String> {
        let mut out = vec![format!("board: {}", self.label)];
        out.push(line("serial", &self.serial, Clone::clone));
        out.push(line("platform TPM", &self.platform_tpm, |p| p.display().to_string()));
        out.push(line("signing chip", &self.hsm, describe_hsm));
        out.push(line("tamper switch", &self.tamper, |t| t.describe().to_owned()));
        out.push(line("status lights", &self.panel, describe_panel));
        out.push(line("watchdog", &self.watchdog, |w| w.info().to_string()));
        let names: Vec<_> = self.sensors.iter().map(Sensor::name).collect();
        let sensors =
            if names.is_empty() { Err(Absent::because("the board has none")) } else { Ok(names.join(", ")) };
        out.push(line("sensors", &sensors, Clone::clone));
        out.push(line("recovery button", &self.recovery, |_| "there".to_owned()));
        out
    }

    /// What an operator must know before trusting this box; each line also belongs into the audit.
    pub fn warnings(&self) -> Vec<String> {
        let mut out = Vec::new();
        if matches!(self.label.trial, Trial::UntriedOnHardware | Trial::Simulated) {
            out.push(format!("board {}: treat its pins and limits as unproved", self.label));
        }
        if let Err(absent) = &self.tamper {
            out.push(format!("tamper switch {absent}: opening the case goes unnoticed"));
        }
        if let Err(absent) = &self.watchdog {
            out.push(format!("watchdog {absent}: a gateway that hangs stays hung until somebody comes"));
        }
        if let Ok(Hsm { chip: None, port: crate::HsmPort::Spi { .. } | crate::HsmPort::I2c { .. }, .. }) =
            &self.hsm
        {
            out.push("signing chip: hsm.chip pins none, so an exchanged chip goes unnoticed".to_owned());
        }
        out
    }
}

fn describe_hsm(hsm: &Hsm) -> String {
    let chip = hsm.chip.map_or("any chip".to_owned(), |c| c.to_string());
    let reset = if hsm.reset.is_some() { "reset line" } else { "no reset line" };
    format!("{}, {chip}, {reset}", hsm.port.describe())
}

fn describe_panel(panel: &Panel) -> String {
    let missing: Vec<_> = panel.missing().iter().map(|l| l.as_str()).collect();
    if missing.is_empty() {
        return "power, serving, fault, tamper".to_owned();
    }
    format!("without {}", missing.join(", "))
}

fn line<T>(name: &str, part: &Part<T>, describe: impl Fn(&T) -> String) -> String {
    match part {
        Ok(there) => format!("{name}: {}", describe(there)),
        Err(absent) => format!("{name}: {absent}"),
    }
}
