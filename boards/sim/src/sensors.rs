//! What the sensors measure: whatever the test says.

use crate::lock;
use board_api::{BoardError, Limits, Probe, Quantity, Sensor};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// The sensors' values by name; `None` is a sensor that fails.
#[derive(Debug, Clone)]
pub struct SimSensors {
    values: Arc<Mutex<BTreeMap<&'static str, Option<i64>>>>,
}

/// Name, quantity, limits, first value.
const USUAL: [(&str, Quantity, Limits, i64); 3] = [
    ("processor", Quantity::Temperature, Limits { low: None, high: Some(95_000) }, 45_000),
    ("supply 3.3 V", Quantity::Voltage, Limits { low: Some(3_135), high: Some(3_465) }, 3_300),
    ("fan 1", Quantity::Fan, Limits { low: Some(1_000), high: None }, 4_200),
];

impl SimSensors {
    pub(crate) fn usual() -> Self {
        let values = USUAL.iter().map(|(name, _, _, value)| (*name, Some(*value))).collect();
        Self { values: Arc::new(Mutex::new(values)) }
    }
    pub(crate) fn sensors(&self) -> Vec<Sensor> {
        let one = |(name, quantity, limits, _): &(&'static str, Quantity, Limits, i64)| {
            let probe = One { name, sensors: self.clone() };
            Sensor::new((*name).to_owned(), *quantity, *limits, probe)
        };
        USUAL.iter().map(one).collect()
    }
    /// Sets a value in the quantity's unit. False if there is no such sensor.
    pub fn set(&self, name: &str, value: i64) -> bool {
        self.put(name, Some(value))
    }
    /// Lets a sensor fail. False if there is no such sensor.
    pub fn break_off(&self, name: &str) -> bool {
        self.put(name, None)
    }
    fn put(&self, name: &str, value: Option<i64>) -> bool {
        lock(&self.values).get_mut(name).map(|v| *v = value).is_some()
    }
}

struct One {
    name: &'static str,
    sensors: SimSensors,
}

impl Probe for One {
    fn measure(&mut self) -> Result<i64, BoardError> {
        lock(&self.sensors.values).get(self.name).copied().flatten().ok_or_else(|| BoardError::Part {
            part: format!("sensor {}", self.name),
            operation: "read a number",
            what: "the test broke it off".into(),
        })
    }
}
