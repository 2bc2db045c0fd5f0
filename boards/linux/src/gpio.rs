//! GPIO lines by name or by chip and offset, as embedded-hal pins; edges for the tamper switch.

use crate::{
    description::{Bias, Line},
    machine::Machine,
};
use board_api::{
    BoardError, Problem,
    hal::{DynInput, DynOutput, HalError, PinError},
    tamper::EdgeInput,
};
use embedded_hal::digital::{self, InputPin, OutputPin};
use gpiocdev::{
    Chip, Request,
    line::{self, EdgeDetection, Offset, Value},
    request::Builder,
};
use std::{path::PathBuf, time::Duration};

/// Shown by the kernel as the user of our lines.
const CONSUMER: &str = "xinguan";
/// Events taken at one look; more than the kernel queues for one line.
const MAX_EVENTS: usize = 64;

/// A chip as the kernel shows it.
struct Seen {
    path: PathBuf,
    label: String,
    lines: u32,
    chip: Chip,
}

/// All GPIO chips of a machine.
pub(crate) struct Lines {
    chips: Vec<Seen>,
    unreadable: Vec<String>,
}

/// A line that was found.
struct Place {
    chip: PathBuf,
    offset: Offset,
    what: String,
}

impl Lines {
    /// Looks at every `/dev/gpiochip*`.
    pub(crate) fn of(machine: &Machine) -> Self {
        let (mut chips, mut unreadable) = (Vec::new(), Vec::new());
        for path in machine.list("/dev") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with("gpiochip") {
                continue;
            }
            let opened = Chip::from_path(&path).and_then(|chip| Ok((chip.info()?, chip)));
            match opened {
                Ok((info, chip)) => {
                    chips.push(Seen { path, label: info.label.to_string(), lines: info.num_lines, chip });
                }
                Err(e) => unreadable.push(format!("{name} cannot be opened ({e})")),
            }
        }
        Self { chips, unreadable }
    }

    /// An output, at first inactive.
    pub(crate) fn output(&self, key: &str, line: &Line) -> Result<DynOutput, Problem> {
        self.output_at(key, line, Value::Inactive)
    }
    /// A chip select, at first not selected: the wire is high.
    pub(crate) fn chip_select(&self, key: &str, line: &Line) -> Result<DynOutput, Problem> {
        self.output_at(key, line, Value::Active)
    }
    fn output_at(&self, key: &str, line: &Line, value: Value) -> Result<DynOutput, Problem> {
        let place = self.find(key, line)?;
        let request = build(line, &place).as_output(value).request().map_err(|e| refused(key, &place, &e))?;
        Ok(DynOutput::new(Pin { request, offset: place.offset }))
    }
    /// An input; high means active.
    pub(crate) fn input(&self, key: &str, line: &Line) -> Result<DynInput, Problem> {
        let place = self.find(key, line)?;
        let request = build(line, &place).as_input().request().map_err(|e| refused(key, &place, &e))?;
        Ok(DynInput::new(Pin { request, offset: place.offset }))
    }
    /// An input whose edges to active the kernel catches and debounces.
    pub(crate) fn edges(
        &self,
        key: &str,
        line: &Line,
        debounce: Duration,
    ) -> Result<impl EdgeInput + use<>, Problem> {
        let place = self.find(key, line)?;
        let mut builder = build(line, &place);
        builder.as_input().with_edge_detection(EdgeDetection::RisingEdge);
        if !debounce.is_zero() {
            builder.with_debounce_period(debounce);
        }
        let request = builder.request().map_err(|e| no_edges(key, &place, &e))?;
        Ok(Edges { pin: Pin { request, offset: place.offset }, what: place.what })
    }

    fn find(&self, key: &str, line: &Line) -> Result<Place, Problem> {
        if self.chips.is_empty() {
            let mut what = "this machine has no GPIO chip".to_owned();
            self.unreadable.iter().for_each(|u| what.push_str(&format!("; {u}")));
            let remedy = "load the chip's driver into the image, or let this user open /dev/gpiochip*";
            return Err(Problem::new(key, what, remedy));
        }
        match (&line.line, &line.chip, line.offset) {
            (Some(name), ..) => self.by_name(key, name),
            (_, Some(label), Some(offset)) => self.by_offset(key, label, offset),
            _ => Err(Problem::new(key, "no line", "give either `line`, or `chip` and `offset`")),
        }
    }

    fn by_name(&self, key: &str, name: &str) -> Result<Place, Problem> {
        let mut found = self.chips.iter().filter_map(|c| Some((c, c.chip.find_line_info(name)?.offset)));
        let Some((chip, offset)) = found.next() else {
            let what = format!("no line is named `{name}` on {}", self.chips_there());
            let remedy = "correct the name, or load the device-tree overlay or driver that names it";
            return Err(Problem::new(key, what, remedy));
        };
        if let Some((other, _)) = found.next() {
            let what = format!("a line named `{name}` is on {} and on {}", chip.label, other.label);
            return Err(Problem::new(key, what, "give `chip` and `offset` instead"));
        }
        Ok(Place { chip: chip.path.clone(), offset, what: format!("line `{name}`") })
    }

    fn by_offset(&self, key: &str, label: &str, offset: Offset) -> Result<Place, Problem> {
        let mut found = self.chips.iter().filter(|c| c.label == label);
        let Some(chip) = found.next() else {
            let what = format!("no GPIO chip has the label `{label}`; there are {}", self.chips_there());
            return Err(Problem::new(key, what, "correct the label, or load the chip's driver"));
        };
        if found.next().is_some() {
            let what = format!("two GPIO chips have the label `{label}`");
            return Err(Problem::new(key, what, "give `line` with a name instead"));
        }
        if offset >= chip.lines {
            let what = format!("`{label}` has lines 0 to {}, not {offset}", chip.lines.saturating_sub(1));
            return Err(Problem::new(key, what, "correct the offset"));
        }
        Ok(Place { chip: chip.path.clone(), offset, what: format!("line {offset} of `{label}`") })
    }

    fn chips_there(&self) -> String {
        self.chips.iter().map(|c| format!("`{}`", c.label)).collect::<Vec<_>>().join(", ")
    }
}

fn build(line: &Line, place: &Place) -> Builder {
    let mut builder = Request::builder();
    builder.with_consumer(CONSUMER).on_chip(&place.chip).with_line(place.offset);
    if line.active_low {
        builder.as_active_low();
    }
    if let Some(bias) = line.bias {
        builder.with_bias(match bias {
            Bias::PullUp => line::Bias::PullUp,
            Bias::PullDown => line::Bias::PullDown,
            Bias::Disabled => line::Bias::Disabled,
        });
    }
    builder
}

fn refused(key: &str, place: &Place, error: &gpiocdev::Error) -> Problem {
    let info = Chip::from_path(&place.chip).and_then(|c| c.line_info(place.offset));
    if let Ok(info) = info
        && info.used
    {
        let what = format!("{} is used by `{}` already", place.what, info.consumer);
        return Problem::new(key, what, "stop that user: a wire has one driver");
    }
    let what = format!("{} cannot be had: {error}", place.what);
    Problem::new(key, what, "check its direction and bias against what the chip can do")
}

fn no_edges(key: &str, place: &Place, error: &gpiocdev::Error) -> Problem {
    let mut problem = refused(key, place, error);
    problem.remedy.push_str("; a line without interrupt needs tamper.mode = \"poll\"");
    problem
}

/// A requested line.
struct Pin {
    request: Request,
    offset: Offset,
}

impl Pin {
    fn set(&self, value: Value) -> Result<(), PinError> {
        self.request.set_value(self.offset, value).map_err(pin_error)
    }
    fn is_active(&self) -> Result<bool, PinError> {
        self.request.value(self.offset).map(|v| v == Value::Active).map_err(pin_error)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn pin_error(e: gpiocdev::Error) -> PinError {
    HalError::new(digital::ErrorKind::Other, e.to_string())
}

impl digital::ErrorType for Pin {
    type Error = PinError;
}
impl OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), PinError> {
        self.set(Value::Inactive)
    }
    fn set_high(&mut self) -> Result<(), PinError> {
        self.set(Value::Active)
    }
}
impl InputPin for Pin {
    fn is_high(&mut self) -> Result<bool, PinError> {
        self.is_active()
    }
    fn is_low(&mut self) -> Result<bool, PinError> {
        self.is_active().map(|active| !active)
    }
}

/// A line with edges.
struct Edges {
    pin: Pin,
    what: String,
}

impl Edges {
    fn failed(&self, operation: &'static str, e: impl std::fmt::Display) -> BoardError {
        BoardError::Part { part: format!("tamper, {}", self.what), operation, what: e.to_string() }
    }
}

impl EdgeInput for Edges {
    fn is_open(&mut self) -> Result<bool, BoardError> {
        self.pin.is_active().map_err(|e| self.failed("read the level", e))
    }
    fn wait_opened(&mut self, timeout: Duration) -> Result<bool, BoardError> {
        let request = &self.pin.request;
        let waited = request.wait_edge_event(timeout).map_err(|e| self.failed("wait for an edge", e))?;
        if !waited {
            return Ok(false);
        }
        // all that is queued is one opening
        for _ in 0..MAX_EVENTS {
            request.read_edge_event().map_err(|e| self.failed("read an edge", e))?;
            if !request.has_edge_event().map_err(|e| self.failed("look for edges", e))? {
                break;
            }
        }
        Ok(true)
    }
}
