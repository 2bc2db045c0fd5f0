//! Temperatures, voltages and fans, with the limits that the board's description gives.

use crate::BoardError;

/// What is measured, and so in which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// thousandths of a degree Celsius
    Temperature,
    /// millivolts
    Voltage,
    /// turns a minute
    Fan,
}

impl Quantity {
    /// The unit of its values.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Temperature => "m°C",
            Self::Voltage => "mV",
            Self::Fan => "rpm",
        }
    }
}

/// The driver behind a sensor.
pub trait Probe: Send {
    /// The present value in the quantity's unit.
    fn measure(&mut self) -> Result<i64, BoardError>;
}

/// Between which values all is well, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// not below
    pub low: Option<i64>,
    /// not above
    pub high: Option<i64>,
}

/// How a value stands to the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// within
    Fine,
    /// below
    TooLow,
    /// above
    TooHigh,
}

impl Limits {
    /// Judges a value.
    pub fn judge(&self, value: i64) -> Verdict {
        if self.low.is_some_and(|low| value < low) {
            Verdict::TooLow
        } else if self.high.is_some_and(|high| value > high) {
            Verdict::TooHigh
        } else {
            Verdict::Fine
        }
    }
}

/// A value and what to think of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// in the quantity's unit
    pub value: i64,
    /// against the limits
    pub verdict: Verdict,
}

/// A named sensor.
pub struct Sensor {
    name: String,
    quantity: Quantity,
    limits: Limits,
    probe: Box<dyn Probe>,
}

impl Sensor {
    /// A sensor over a driver.
    pub fn new(name: String, quantity: Quantity, limits: Limits, probe: impl Probe + 'static) -> Self {
        Self { name, quantity, limits, probe: Box::new(probe) }
    }
    /// Its name in the description: a label of metrics, too.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What it measures.
    pub fn quantity(&self) -> Quantity {
        self.quantity
    }
    /// Measures now.
    pub fn read(&mut self) -> Result<Reading, BoardError> {
        let value = self.probe.measure()?;
        Ok(Reading { value, verdict: self.limits.judge(value) })
    }
}

impl std::fmt::Debug for Sensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sensor({}, {:?}, {:?})", self.name, self.quantity, self.limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_include_their_ends() {
        let limits = Limits { low: Some(-5), high: Some(10) };
        let judged = [-6, -5, 0, 10, 11].map(|v| limits.judge(v));
        use Verdict::{Fine, TooHigh, TooLow};
        assert_eq!(judged, [TooLow, Fine, Fine, Fine, TooHigh]);
        assert_eq!(Limits::default().judge(i64::MIN), Fine);
    }
}
