//! What a schema cannot say: all problems at once, each with its key and what to do.

use super::{BoardToml, HsmToml, Line, SensorToml, Spi, Tamper, WatchdogToml};
use board_api::{Problem, Quantity};
use std::{collections::BTreeMap, ops::RangeInclusive, path::Path};

pub(super) fn check(b: &BoardToml) -> Vec<Problem> {
    let mut out = Vec::new();
    name(&mut out, "board", &b.board);
    name(&mut out, "revision", &b.revision);
    if b.assumes.is_empty() {
        out.push(Problem::new(
            "assumes",
            "empty",
            "say which real chips and wires this is written for: somebody will hold it against a schematic",
        ));
    }
    if b.identity.vendor.is_none() && b.identity.product.is_none() {
        out.push(Problem::new(
            "identity",
            "neither vendor nor product",
            "give one: pins of one board must not be driven on another",
        ));
    }
    if let Some(tpm) = &b.platform_tpm {
        device(&mut out, "platform_tpm.path", &tpm.path);
    }
    if let Some(hsm) = &b.hsm {
        check_hsm(&mut out, hsm);
    }
    if let Some(tamper) = &b.tamper {
        check_tamper(&mut out, tamper);
    }
    if let Some(dog) = &b.watchdog {
        check_watchdog(&mut out, dog);
    }
    check_sensors(&mut out, &b.sensors);
    check_lines(&mut out, b);
    out
}

fn name(out: &mut Vec<Problem>, key: &str, value: &str) {
    let fits = (1..=32).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        out.push(Problem::new(key, format!("`{value}`"), "use 1 to 32 of a-z, 0-9 and hyphen"));
    }
}

fn device(out: &mut Vec<Problem>, key: &str, path: &Path) {
    if !path.starts_with("/dev") || path.components().any(|c| c.as_os_str() == "..") {
        out.push(Problem::new(key, format!("`{}`", path.display()), "give a device below /dev"));
    }
}

fn range<T: PartialOrd + std::fmt::Display>(
    out: &mut Vec<Problem>,
    key: &str,
    value: T,
    fits: RangeInclusive<T>,
    why: &str,
) {
    if !fits.contains(&value) {
        let remedy = format!("use {} to {}: {why}", fits.start(), fits.end());
        out.push(Problem::new(key, value.to_string(), remedy));
    }
}

fn check_hsm(out: &mut Vec<Problem>, hsm: &HsmToml) {
    let ways = [hsm.spi.is_some(), hsm.i2c.is_some(), hsm.kernel.is_some()];
    if ways.into_iter().filter(|w| *w).count() != 1 {
        out.push(Problem::new(
            "hsm",
            "not exactly one of spi, i2c, kernel",
            "keep the one that the chip is wired to; without a chip drop [hsm]",
        ));
    }
    if let Some(spi) = &hsm.spi {
        check_spi(out, spi);
    }
    if let Some(i2c) = &hsm.i2c {
        device(out, "hsm.i2c.bus", &i2c.bus);
        let why = "the other addresses are reserved by the I2C specification";
        range(out, "hsm.i2c.address", i2c.address, 0x08..=0x77, why);
    }
    if let Some(kernel) = &hsm.kernel {
        device(out, "hsm.kernel.path", &kernel.path);
        if hsm.reset.is_some() {
            out.push(Problem::new(
                "hsm.reset",
                "there beside hsm.kernel",
                "drop it: the kernel owns the chip",
            ));
        }
    }
    if let Some(reset) = &hsm.reset {
        range(
            out,
            "hsm.reset.hold_ms",
            reset.hold_ms,
            1..=1000,
            "chips want some microseconds to milliseconds",
        );
        range(out, "hsm.reset.settle_ms", reset.settle_ms, 1..=5000, "the chip's data sheet says how long");
    }
    if let Some(chip) = &hsm.chip
        && (chip.vendor == 0 || chip.vendor == 0xffff)
    {
        let what = format!("0x{:04x} is a bus with nobody on it", chip.vendor);
        out.push(Problem::new("hsm.chip.vendor", what, "read the DID_VID register and pin what it says"));
    }
}

fn check_spi(out: &mut Vec<Problem>, spi: &Spi) {
    device(out, "hsm.spi.bus", &spi.bus);
    let why = "the standard asks chips for at most 24 MHz";
    range(out, "hsm.spi.speed_hz", spi.speed_hz, 100_000..=24_000_000, why);
    if spi.cs.active_low {
        out.push(Problem::new(
            "hsm.spi.cs.active_low",
            "true",
            "drop it: the driver sets the wire low to select, turned round it would hold the chip selected",
        ));
    }
}

fn check_tamper(out: &mut Vec<Problem>, t: &Tamper) {
    range(out, "tamper.debounce_ms", t.debounce_ms, 0..=1000, "longer is an open case that nobody sees");
    range(out, "tamper.poll_ms", t.poll_ms, 10..=1000, "rarer is too late, oftener costs a processor");
}

fn check_watchdog(out: &mut Vec<Problem>, dog: &WatchdogToml) {
    device(out, "watchdog.device", &dog.device);
    let why = "shorter resets a box that is merely busy, longer leaves it hung";
    range(out, "watchdog.timeout_s", dog.timeout_s, 15..=600, why);
}

fn check_sensors(out: &mut Vec<Problem>, sensors: &[SensorToml]) {
    let mut seen = BTreeMap::new();
    for (i, s) in sensors.iter().enumerate() {
        let key = |k: &str| format!("sensors[{i}].{k}");
        if s.name.is_empty() || s.name.len() > 64 || s.name.chars().any(char::is_control) {
            out.push(Problem::new(
                key("name"),
                format!("`{}`", s.name.escape_debug()),
                "use 1 to 64 printable characters",
            ));
        }
        if let Some(first) = seen.insert(&s.name, i) {
            let what = format!("`{}` is sensors[{first}]'s already", s.name);
            out.push(Problem::new(key("name"), what, "give each sensor its own name: it labels a metric"));
        }
        if s.chip.is_empty() || s.chip.contains(['/', '\0']) {
            out.push(Problem::new(key("chip"), format!("`{}`", s.chip), "give the hwmon chip's `name`"));
        }
        if quantity(&s.input).is_none() {
            let remedy = "use temp, in or fan with a number, for example temp1";
            out.push(Problem::new(key("input"), format!("`{}`", s.input), remedy));
        }
        if let (Some(low), Some(high)) = (s.low, s.high)
            && low >= high
        {
            out.push(Problem::new(
                key("low"),
                format!("{low} is not below high = {high}"),
                "correct the limits",
            ));
        }
    }
}

/// What `temp1`, `in0` or `fan2` measures.
pub(crate) fn quantity(input: &str) -> Option<Quantity> {
    let digits = input.trim_start_matches(|c: char| c.is_ascii_lowercase());
    if !(1..=2).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match input.strip_suffix(digits)? {
        "temp" => Some(Quantity::Temperature),
        "in" => Some(Quantity::Voltage),
        "fan" => Some(Quantity::Fan),
        _ => None,
    }
}

/// Every line of the description with its key.
fn lines(b: &BoardToml) -> Vec<(String, &Line)> {
    let mut out = Vec::new();
    if let Some(hsm) = &b.hsm {
        out.extend(hsm.spi.as_ref().map(|s| ("hsm.spi.cs".to_owned(), &s.cs)));
        out.extend(hsm.reset.as_ref().map(|r| ("hsm.reset.pin".to_owned(), &r.pin)));
    }
    out.extend(b.tamper.as_ref().map(|t| ("tamper.pin".to_owned(), &t.pin)));
    if let Some(leds) = &b.leds {
        out.extend(leds.by_lamp().map(|(lamp, line)| (format!("leds.{}", lamp.as_str()), line)));
    }
    out.extend(b.recovery.as_ref().map(|line| ("recovery".to_owned(), line)));
    out
}

fn check_lines(out: &mut Vec<Problem>, b: &BoardToml) {
    let mut seen = BTreeMap::new();
    for (key, line) in lines(b) {
        let named = line.line.as_ref().is_some_and(|n| !n.is_empty());
        let placed = line.chip.as_ref().is_some_and(|c| !c.is_empty()) && line.offset.is_some();
        let half = line.chip.is_some() != line.offset.is_some() || (line.line.is_some() && !named);
        if named == placed || half {
            let remedy = "give either `line`, or `chip` and `offset`";
            out.push(Problem::new(key, "no line, half a line or two", remedy));
            continue;
        }
        let place = (&line.line, &line.chip, line.offset);
        if let Some(first) = seen.insert(place, key.clone()) {
            out.push(Problem::new(key, format!("the same line as {first}"), "each wire has one purpose"));
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
