//! A board's description: the form of the TOML.
//!
//! Adding a key? Three places: here (its comment is the schema's text), `check.rs` (what a schema cannot say), and the
//! part that opens it. Then write the schema again: `cargo run -p board-linux --example board-schema >
//! boards/board.schema.json`.

mod check;
pub(crate) use check::quantity;

use crate::DescriptionError;
use board_api::{Lamp, Trial};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// A larger file is no description.
pub const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A checked description.
#[derive(Debug, Clone)]
pub struct Description(pub(crate) BoardToml);

impl Description {
    /// Parses and checks. `name` stands in messages.
    pub fn parse(text: &str, name: &str) -> Result<Self, DescriptionError> {
        let form: BoardToml = toml::from_str(text).map_err(|e| syntax(text, name, &e))?;
        let problems = check::check(&form);
        if problems.is_empty() {
            return Ok(Self(form));
        }
        Err(DescriptionError::Invalid { path: name.to_owned(), problems })
    }
    /// The chips and wiring that the description takes for granted.
    pub fn assumes(&self) -> &[String] {
        &self.0.assumes
    }
}

/// JSON Schema of a description.
pub fn schema() -> String {
    format!("{:#}\n", schemars::schema_for!(BoardToml).to_value())
}

fn syntax(text: &str, name: &str, error: &toml::de::Error) -> DescriptionError {
    let at = error.span().map_or(0, |s| s.start.min(text.len()));
    let before = text.get(..at).unwrap_or_default();
    let what = error.message().lines().collect::<Vec<_>>().join(" ");
    let remedy = if what.starts_with("unknown field") || what.starts_with("unknown variant") {
        "remove or correct it; boards/board.schema.json lists what there is"
    } else if what.starts_with("missing field") {
        "add it; boards/board.schema.json says what it means"
    } else if what.starts_with("invalid") {
        "give a value of the expected type; boards/board.schema.json names it"
    } else {
        "correct the TOML at this place"
    };
    DescriptionError::Syntax {
        path: name.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
        what,
        remedy,
    }
}

/// One hardware revision of a board. A part without a section is absent, and named so at start.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "board description")]
pub(crate) struct BoardToml {
    /// Name: the folder's.
    pub board: String,
    /// Hardware revision: the file's name without `.toml`.
    pub revision: String,
    /// How far this description was tried; printed at each start.
    pub status: Status,
    /// The processor; another one refuses the description.
    pub arch: Arch,
    /// The real chips and wires that this description assumes, for people.
    pub assumes: Vec<String>,
    /// How the machine is recognized.
    pub identity: Identity,
    /// The platform TPM, which the kernel owns.
    pub platform_tpm: Option<PlatformTpm>,
    /// The signing chip.
    pub hsm: Option<HsmToml>,
    /// The tamper switch.
    pub tamper: Option<Tamper>,
    /// Status lights.
    pub leds: Option<Leds>,
    /// The hardware watchdog.
    pub watchdog: Option<WatchdogToml>,
    /// Sensors of hwmon.
    #[serde(default)]
    pub sensors: Vec<SensorToml>,
    /// The recovery button; active is pressed.
    pub recovery: Option<Line>,
}

/// How far a description was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum Status {
    /// written without the hardware at hand
    #[serde(rename = "untried on hardware")]
    Untried,
    /// booted under QEMU
    #[serde(rename = "tried in QEMU")]
    Qemu,
    /// booted on the board
    #[serde(rename = "tried on hardware")]
    Hardware,
}

impl Status {
    pub(crate) fn trial(self) -> Trial {
        match self {
            Self::Untried => Trial::UntriedOnHardware,
            Self::Qemu => Trial::TriedInQemu,
            Self::Hardware => Trial::TriedOnHardware,
        }
    }
}

/// A processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum Arch {
    #[serde(rename = "x86_64")]
    X86,
    #[serde(rename = "aarch64")]
    Arm,
}

impl Arch {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "aarch64",
        }
    }
}

/// How the machine is recognized.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// Where vendor, product and serial number stand.
    pub source: IdentitySource,
    /// DMI `sys_vendor`, exactly; another one refuses the description.
    pub vendor: Option<String>,
    /// DMI `product_name` or the device tree's `model`, exactly; another one refuses the description.
    pub product: Option<String>,
}

/// Where a machine says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IdentitySource {
    /// `/sys/class/dmi/id`
    Dmi,
    /// `/proc/device-tree`
    DeviceTree,
}

/// The platform TPM.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlatformTpm {
    /// The kernel's resource manager, for example `/dev/tpmrm0`.
    pub path: PathBuf,
    /// A machine without it is taken, and says so at start. Default: false, it is refused.
    #[serde(default)]
    pub optional: bool,
}

/// The signing chip: exactly one of `spi`, `i2c`, `kernel`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HsmToml {
    /// Over SPI.
    pub spi: Option<Spi>,
    /// Over I2C.
    pub i2c: Option<I2cToml>,
    /// Through the kernel's driver.
    pub kernel: Option<Kernel>,
    /// Its reset line.
    pub reset: Option<Reset>,
    /// Which chip must answer: the DID_VID register (TCG PC Client PTP).
    pub chip: Option<Chip>,
}

/// TIS over SPI, mode 0 as the standard has it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spi {
    /// For example `/dev/spidev0.0`.
    pub bus: PathBuf,
    /// Clock in hertz.
    #[schemars(range(min = 100_000, max = 24_000_000))]
    pub speed_hz: u32,
    /// What the kernel does with its own chip select: the chip listens to `cs`.
    pub kernel_cs: KernelCs,
    /// Chip select: low selects, so never `active_low`.
    pub cs: Line,
}

/// What the kernel does with its own chip select.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KernelCs {
    /// the controller is told to drive none (SPI_NO_CS); not every controller can
    None,
    /// it drives a pin that is connected to nothing
    Unconnected,
}

/// TIS over I2C.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct I2cToml {
    /// For example `/dev/i2c-1`.
    pub bus: PathBuf,
    /// Seven bits.
    #[schemars(range(min = 8, max = 119))]
    pub address: u8,
}

/// A chip of the kernel's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kernel {
    /// For example `/dev/tpmrm0`.
    pub path: PathBuf,
    /// A machine without it is taken, and says so at start. Default: false, it is refused.
    #[serde(default)]
    pub optional: bool,
}

/// A reset line; active is "in reset".
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reset {
    /// The line.
    pub pin: Line,
    /// How long it is held, in milliseconds.
    #[schemars(range(min = 1, max = 1000))]
    pub hold_ms: u16,
    /// Until the chip answers again, in milliseconds.
    #[schemars(range(min = 1, max = 5000))]
    pub settle_ms: u16,
}

/// A TPM's vendor and device id.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chip {
    /// PCI vendor id.
    pub vendor: u16,
    /// The vendor's number of the chip; without it any of that vendor is taken.
    pub device: Option<u16>,
}

/// The tamper switch; active is open.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tamper {
    /// The line.
    pub pin: Line,
    /// By interrupt where the line has one, else by looking.
    pub mode: TamperMode,
    /// How long it must stay open, in milliseconds.
    #[schemars(range(min = 0, max = 1000))]
    pub debounce_ms: u16,
    /// How often it is looked at, in milliseconds.
    #[schemars(range(min = 10, max = 1000))]
    pub poll_ms: u16,
}

/// How the switch is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TamperMode {
    /// by interrupt
    Edge,
    /// by looking
    Poll,
}

/// Status lights by role; active is lit. What they show: docs/porting.md.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leds {
    /// The program runs.
    pub power: Option<Line>,
    /// Queries are answered.
    pub serving: Option<Line>,
    /// Somebody must look.
    pub fault: Option<Line>,
    /// The case was opened.
    pub tamper: Option<Line>,
}

impl Leds {
    pub(crate) fn by_lamp(&self) -> impl Iterator<Item = (Lamp, &Line)> {
        [&self.power, &self.serving, &self.fault, &self.tamper]
            .into_iter()
            .zip(Lamp::ALL)
            .filter_map(|(line, lamp)| Some((lamp, line.as_ref()?)))
    }
}

/// The hardware watchdog.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchdogToml {
    /// For example `/dev/watchdog0`.
    pub device: PathBuf,
    /// The driver's name for it as `/sys/class/watchdog/watchdogN/identity` has it; another one is refused.
    pub identity: Option<String>,
    /// Unfed for so many seconds, it resets the box.
    #[schemars(range(min = 15, max = 600))]
    pub timeout_s: u16,
    /// A machine without it is taken, and says so at start. Default: false, it is refused.
    #[serde(default)]
    pub optional: bool,
}

/// A sensor of hwmon.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SensorToml {
    /// Its name in metrics and reports.
    pub name: String,
    /// The hwmon chip's `name`.
    pub chip: String,
    /// `temp1`, `in0`, `fan2`: the file without `_input`.
    #[schemars(regex(pattern = r"^(temp|in|fan)[0-9]{1,2}$"))]
    pub input: String,
    /// Alarm below; in hwmon's units: thousandths of a degree Celsius, millivolts, turns a minute.
    pub low: Option<i64>,
    /// Alarm above.
    pub high: Option<i64>,
    /// A machine without it is taken, and says so at start. Default: false, it is refused.
    #[serde(default)]
    pub optional: bool,
}

/// A GPIO line: `line`, or `chip` and `offset`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// Its name, as the device tree or the driver gives it.
    pub line: Option<String>,
    /// The chip's label (not its number, which changes from boot to boot).
    pub chip: Option<String>,
    /// Which line of the chip.
    pub offset: Option<u32>,
    /// Active means a low wire. Default: false.
    #[serde(default)]
    pub active_low: bool,
    /// A resistor inside the chip. Default: as the firmware left it.
    pub bias: Option<Bias>,
}

/// A resistor inside the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bias {
    /// to the supply
    PullUp,
    /// to ground
    PullDown,
    /// none
    Disabled,
}
