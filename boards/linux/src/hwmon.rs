//! Temperatures, voltages and fans from the kernel's hwmon files.

use crate::{
    description::{SensorToml, quantity},
    machine::{Machine, read_short},
};
use board_api::{BoardError, Limits, Probe, Problem, Sensor};
use std::path::PathBuf;

/// Finds a sensor and reads it once, so that a wrong name shows at start.
pub(crate) fn open(machine: &Machine, index: usize, toml: &SensorToml) -> Result<Sensor, Problem> {
    let file = find(machine, index, toml)?;
    let mut probe = File { path: file, name: toml.name.clone() };
    probe.measure().map_err(|e| {
        Problem::new(format!("sensors[{index}].input"), e.to_string(), "give an input that the chip measures")
    })?;
    let Some(quantity) = quantity(&toml.input) else {
        return Err(Problem::new(format!("sensors[{index}].input"), "unknown kind", "use temp, in or fan"));
    };
    Ok(Sensor::new(toml.name.clone(), quantity, Limits { low: toml.low, high: toml.high }, probe))
}

fn find(machine: &Machine, index: usize, toml: &SensorToml) -> Result<PathBuf, Problem> {
    let key = format!("sensors[{index}].chip");
    let chips: Vec<(PathBuf, String)> = machine
        .list("/sys/class/hwmon")
        .into_iter()
        .filter_map(|path| Some((path.clone(), read_short(&path.join("name"))?)))
        .collect();
    let there = || chips.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
    let mut same = chips.iter().filter(|(_, name)| *name == toml.chip);
    let Some((folder, _)) = same.next() else {
        let what = format!("no hwmon chip is named `{}`; there are: {}", toml.chip, there());
        return Err(Problem::new(key, what, "correct the name, or put its driver into the image"));
    };
    if same.next().is_some() {
        let what = format!("several hwmon chips are named `{}`", toml.chip);
        return Err(Problem::new(key, what, "drop this sensor: which of them is meant cannot be said"));
    }
    let file = folder.join(format!("{}_input", toml.input));
    if file.exists() {
        return Ok(file);
    }
    let what = format!("`{}` has no `{}`", toml.chip, toml.input);
    Err(Problem::new(format!("sensors[{index}].input"), what, "give an input that the chip has"))
}

/// A sensor's file.
struct File {
    path: PathBuf,
    name: String,
}

impl Probe for File {
    fn measure(&mut self) -> Result<i64, BoardError> {
        let text = read_short(&self.path);
        text.as_deref().and_then(|t| t.parse().ok()).ok_or_else(|| BoardError::Part {
            part: format!("sensor {}", self.name),
            operation: "read a number",
            what: format!("`{}` says `{}`", self.path.display(), text.unwrap_or_default().escape_debug()),
        })
    }
}
