//! Status lights: what each condition of the gateway looks like on the front of the box.

use crate::{
    BoardError,
    hal::{DynOutput, PinError},
};
use embedded_hal::digital::OutputPin;
use std::fmt::Write as _;

/// A light by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lamp {
    /// the program runs
    Power,
    /// queries are answered
    Serving,
    /// somebody must look
    Fault,
    /// the case was opened
    Tamper,
}

impl Lamp {
    /// All, in the table's order.
    pub const ALL: [Self; 4] = [Self::Power, Self::Serving, Self::Fault, Self::Tamper];
    /// Its name in descriptions and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Serving => "serving",
            Self::Fault => "fault",
            Self::Tamper => "tamper",
        }
    }
}

/// What a light does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// dark
    Off,
    /// lit
    On,
    /// changes with each call of [`Panel::show`]: a frozen blink means that the program hangs
    Blink,
}

/// What the gateway's condition is, as far as a person in front of the box must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// it starts
    Starting,
    /// it serves
    Serving,
    /// it cannot serve for a cause outside the box: ledger, network, not enrolled
    Waiting,
    /// it cannot serve for a cause inside the box: journal, chip, sensor out of limits
    Fault,
    /// the case was opened; an operator must enrol it again
    Tampered,
    /// started with the recovery button held
    Recovery,
}

impl Condition {
    /// All, in the table's order.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Serving, Self::Waiting, Self::Fault, Self::Tampered, Self::Recovery];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Waiting => "waiting",
            Self::Fault => "fault",
            Self::Tampered => "tampered",
            Self::Recovery => "recovery",
        }
    }

    /// The meaning table, one row per condition: power, serving, fault, tamper.
    fn row(self) -> [Pattern; 4] {
        use Pattern::{Blink, Off, On};
        match self {
            Self::Starting => [On, Blink, Off, Off],
            Self::Serving => [On, On, Off, Off],
            Self::Waiting => [On, Off, Blink, Off],
            Self::Fault => [On, Off, On, Off],
            Self::Tampered => [On, Off, On, On],
            Self::Recovery => [On, Blink, Blink, Off],
        }
    }

    /// What `lamp` does in this condition.
    pub fn pattern(self, lamp: Lamp) -> Pattern {
        let [power, serving, fault, tamper] = self.row();
        match lamp {
            Lamp::Power => power,
            Lamp::Serving => serving,
            Lamp::Fault => fault,
            Lamp::Tamper => tamper,
        }
    }
}

/// The meaning table in Markdown; docs/porting.md holds it, and a test compares.
pub fn meaning_table() -> String {
    let mut out = String::from("| condition | power | serving | fault | tamper |\n|---|---|---|---|---|\n");
    for condition in Condition::ALL {
        let [power, serving, fault, tamper] = condition.row().map(|p| format!("{p:?}").to_lowercase());
        let _ = writeln!(out, "| {} | {power} | {serving} | {fault} | {tamper} |", condition.as_str());
    }
    out
}

/// The lights that this board has.
#[derive(Debug, Default)]
pub struct Panel {
    lamps: Vec<(Lamp, DynOutput)>,
    odd: bool,
}

impl Panel {
    /// Lights by role; high means lit. A role that is given twice has two lights.
    pub fn new(lamps: Vec<(Lamp, DynOutput)>) -> Self {
        Self { lamps, odd: false }
    }
    /// Roles without a light.
    pub fn missing(&self) -> Vec<Lamp> {
        Lamp::ALL.into_iter().filter(|l| !self.lamps.iter().any(|(there, _)| there == l)).collect()
    }
    /// Shows `condition`. Called every half second or so: each call is one step of a blink.
    /// All lights are tried; the first failure is reported.
    pub fn show(&mut self, condition: Condition) -> Result<(), BoardError> {
        self.odd = !self.odd;
        let mut outcome = Ok(());
        for (lamp, line) in &mut self.lamps {
            let lit = match condition.pattern(*lamp) {
                Pattern::Off => false,
                Pattern::On => true,
                Pattern::Blink => self.odd,
            };
            let set = if lit { line.set_high() } else { line.set_low() };
            outcome = outcome.and(set.map_err(|e| failed(*lamp, &e)));
        }
        outcome
    }
}

fn failed(lamp: Lamp, e: &PinError) -> BoardError {
    BoardError::Part {
        part: format!("leds.{}", lamp.as_str()),
        operation: "set the light",
        what: e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_hal_mock::eh1::{
        MockError,
        digital::{Mock, State, Transaction},
    };

    #[test]
    fn no_two_conditions_look_alike() {
        for (i, a) in Condition::ALL.iter().enumerate() {
            for b in &Condition::ALL[i + 1..] {
                assert_ne!(a.row(), b.row(), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn only_a_tampered_box_lights_tamper_and_only_a_serving_one_shows_serving() {
        for c in Condition::ALL {
            assert_eq!(c.pattern(Lamp::Tamper) == Pattern::On, c == Condition::Tampered, "{c:?}");
            assert_eq!(c.pattern(Lamp::Serving) == Pattern::On, c == Condition::Serving, "{c:?}");
        }
    }

    #[test]
    fn lights_blink_by_call_and_missing_ones_are_named() {
        let mut serving = Mock::new(&[
            Transaction::set(State::High),
            Transaction::set(State::Low),
            Transaction::set(State::High),
        ]);
        let mut panel = Panel::new(vec![(Lamp::Serving, DynOutput::new(serving.clone()))]);
        assert_eq!(panel.missing(), [Lamp::Power, Lamp::Fault, Lamp::Tamper]);
        panel.show(Condition::Starting).unwrap();
        panel.show(Condition::Starting).unwrap();
        panel.show(Condition::Serving).unwrap();
        serving.done();
    }

    #[test]
    fn one_broken_light_does_not_darken_the_others() {
        let broken = MockError::Io(std::io::ErrorKind::BrokenPipe);
        let mut power = Mock::new(&[Transaction::set(State::High).with_error(broken)]);
        let mut tamper = Mock::new(&[Transaction::set(State::High)]);
        let mut panel = Panel::new(vec![
            (Lamp::Power, DynOutput::new(power.clone())),
            (Lamp::Tamper, DynOutput::new(tamper.clone())),
        ]);
        let text = panel.show(Condition::Tampered).unwrap_err().to_string();
        assert!(text.starts_with("leds.power: cannot set the light"), "{text}");
        power.done();
        tamper.done();
    }
}
