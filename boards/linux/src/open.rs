//! Opens a described board: each part or its problem.

use crate::{
    BOARDS, Description, DescriptionError, MAX_FILE_BYTES, Machine, bus,
    description::{BoardToml, HsmToml, Line, Tamper, TamperMode},
    gpio::Lines,
    hwmon, identity, watchdog,
};
use board_api::{
    Absent, Board, BoardError, ChipId, Hsm, HsmPort, HsmReset, Label, Panel, Part, Parts, Problem, Sensor,
    Watchdog,
    hal::{DynDelay, DynInput},
    tamper::TamperInput,
};
use linux_embedded_hal::Delay;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// A board under Linux.
#[derive(Debug, Clone)]
pub struct LinuxBoard {
    description: Description,
    label: Label,
    machine: Machine,
}

impl LinuxBoard {
    /// Over a checked description.
    pub fn new(description: Description, machine: Machine) -> Self {
        let BoardToml { board, revision, status, .. } = &description.0;
        let label = Label { board: board.clone(), revision: revision.clone(), trial: status.trial() };
        Self { description, label, machine }
    }
    /// A board that is built in, for example `x86-rack/rev-a`.
    pub fn named(name: &str, machine: Machine) -> Result<Self, DescriptionError> {
        let found = BOARDS.iter().find(|(n, _)| *n == name);
        let (_, text) = found.ok_or_else(|| DescriptionError::Unknown {
            name: name.to_owned(),
            known: BOARDS.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
        })?;
        Ok(Self::new(Description::parse(text, name)?, machine))
    }
    /// A board described by a file.
    pub fn from_file(path: &Path, machine: Machine) -> Result<Self, DescriptionError> {
        let name = path.display().to_string();
        let failed = |source| DescriptionError::Read { path: name.clone(), source };
        let found = std::fs::metadata(path).map_err(failed)?.len();
        if found > MAX_FILE_BYTES {
            return Err(DescriptionError::TooLarge { path: name, found });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Ok(Self::new(Description::parse(&text, &name)?, machine))
    }
    /// Its description.
    pub fn description(&self) -> &Description {
        &self.description
    }
    /// How the tamper switch is watched: debounce and poll interval. `None` without a switch.
    pub fn tamper_timing(&self) -> Option<(Duration, Duration)> {
        let millis = |ms: u16| Duration::from_millis(ms.into());
        self.description.0.tamper.as_ref().map(|t| (millis(t.debounce_ms), millis(t.poll_ms)))
    }
}

impl Board for LinuxBoard {
    fn label(&self) -> &Label {
        &self.label
    }
    fn open(self: Box<Self>) -> Result<Parts, BoardError> {
        let form = &self.description.0;
        let mut problems = wrong_machine(&self.machine, form);
        // pins of one board must not be driven on another
        if problems.is_empty() {
            let mut opener = Opener { machine: &self.machine, lines: Lines::of(&self.machine), problems };
            let parts = opener.parts(form, self.label.clone());
            problems = opener.problems;
            if problems.is_empty() {
                return Ok(parts);
            }
        }
        Err(BoardError::Open { board: self.label.to_string(), problems })
    }
}

fn wrong_machine(machine: &Machine, form: &BoardToml) -> Vec<Problem> {
    let mut out = identity::check(machine, &form.identity);
    if machine.arch() != form.arch.as_str() {
        let what = format!("the machine is {}, the board {}", machine.arch(), form.arch.as_str());
        out.push(Problem::new("arch", what, "choose the description of this machine"));
    }
    out
}

/// Opens parts and collects what is wrong with them.
struct Opener<'a> {
    machine: &'a Machine,
    lines: Lines,
    problems: Vec<Problem>,
}

impl Opener<'_> {
    fn parts(&mut self, form: &BoardToml, label: Label) -> Parts {
        Parts {
            label,
            serial: identity::serial(self.machine, &form.identity),
            platform_tpm: self.platform_tpm(form),
            hsm: section(&form.hsm, "hsm").and_then(|h| self.hsm(h)),
            tamper: section(&form.tamper, "tamper").and_then(|t| self.tamper(t)),
            panel: section(&form.leds, "leds").map(|leds| self.panel(leds)),
            watchdog: self.watchdog(form),
            sensors: self.sensors(form),
            recovery: section(&form.recovery, "recovery").and_then(|line| self.recovery(line)),
        }
    }

    /// The part, or its problem noted and a stand-in for the reason that nobody will see.
    fn take<T>(&mut self, opened: Result<T, Problem>) -> Part<T> {
        opened.map_err(|problem| {
            let absent = Absent::because(problem.to_string());
            self.problems.push(problem);
            absent
        })
    }
    /// The same for a part whose absence is allowed: the reason is the report's.
    fn take_optional<T>(&mut self, optional: bool, opened: Result<T, Problem>) -> Part<T> {
        if optional {
            return opened.map_err(|p| Absent::because(format!("{}: {}", p.key, p.what)));
        }
        self.take(opened)
    }

    fn platform_tpm(&mut self, form: &BoardToml) -> Part<PathBuf> {
        let tpm = section(&form.platform_tpm, "platform_tpm")?;
        let there = bus::present(self.machine, "platform_tpm.path", &tpm.path, "tpm_tis or tpm_crb");
        self.take_optional(tpm.optional, there.map(|()| self.machine.path(&tpm.path)))
    }

    fn hsm(&mut self, hsm: &HsmToml) -> Part<Hsm> {
        let port = self.hsm_port(hsm);
        let reset = hsm.reset.as_ref().map(|reset| {
            let line = self.lines.output("hsm.reset.pin", &reset.pin);
            let millis = |ms: u16| Duration::from_millis(ms.into());
            self.take(line).map(|line| HsmReset::new(line, millis(reset.hold_ms), millis(reset.settle_ms)))
        });
        Ok(Hsm {
            port: port?,
            reset: reset.transpose()?,
            chip: hsm.chip.map(|c| ChipId { vendor: c.vendor, device: c.device }),
            delay: DynDelay::new(Delay),
        })
    }

    fn hsm_port(&mut self, hsm: &HsmToml) -> Part<HsmPort> {
        if let Some(spi) = &hsm.spi {
            // both are tried: both problems are listed
            let bus = bus::spi(self.machine, spi);
            let bus = self.take(bus);
            let cs = self.lines.chip_select("hsm.spi.cs", &spi.cs);
            let cs = self.take(cs);
            return Ok(HsmPort::Spi { bus: bus?, cs: cs? });
        }
        if let Some(i2c) = &hsm.i2c {
            let bus = bus::i2c(self.machine, i2c);
            return Ok(HsmPort::I2c { bus: self.take(bus)?, address: i2c.address });
        }
        let kernel = section(&hsm.kernel, "hsm.kernel")?;
        let there = bus::present(self.machine, "hsm.kernel.path", &kernel.path, "tpm_tis or tpm_crb");
        let path = self.machine.path(&kernel.path);
        self.take_optional(kernel.optional, there.map(|()| HsmPort::Kernel { path }))
    }

    fn tamper(&mut self, tamper: &Tamper) -> Part<TamperInput> {
        let key = "tamper.pin";
        let input = match tamper.mode {
            TamperMode::Poll => self.lines.input(key, &tamper.pin).map(TamperInput::Polled),
            TamperMode::Edge => {
                let debounce = Duration::from_millis(tamper.debounce_ms.into());
                let edges = self.lines.edges(key, &tamper.pin, debounce);
                edges.map(|e| TamperInput::Edge(Box::new(e)))
            }
        };
        self.take(input)
    }

    fn panel(&mut self, leds: &crate::description::Leds) -> Panel {
        let mut lamps = Vec::new();
        for (lamp, line) in leds.by_lamp() {
            let line = self.lines.output(&format!("leds.{}", lamp.as_str()), line);
            lamps.extend(self.take(line).map(|l| (lamp, l)));
        }
        Panel::new(lamps)
    }

    fn watchdog(&mut self, form: &BoardToml) -> Part<Watchdog> {
        let toml = section(&form.watchdog, "watchdog")?;
        let dog = watchdog::open(self.machine, toml);
        self.take_optional(toml.optional, dog)
    }

    fn sensors(&mut self, form: &BoardToml) -> Vec<Sensor> {
        let mut out = Vec::new();
        for (i, toml) in form.sensors.iter().enumerate() {
            let sensor = hwmon::open(self.machine, i, toml);
            out.extend(self.take_optional(toml.optional, sensor));
        }
        out
    }

    fn recovery(&mut self, line: &Line) -> Part<DynInput> {
        let input = self.lines.input("recovery", line);
        self.take(input)
    }
}

fn section<'a, T>(section: &'a Option<T>, key: &str) -> Part<&'a T> {
    section.as_ref().ok_or_else(|| Absent::because(format!("the board's description has no [{key}]")))
}
