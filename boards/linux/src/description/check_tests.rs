//! Every problem by its text: what an engineer who ports a board will read.

use crate::{BOARDS, Description, DescriptionError};

const GOOD: &str = r#"
board = "x"
revision = "rev-a"
status = "untried on hardware"
arch = "x86_64"
assumes = ["a"]
[identity]
source = "dmi"
vendor = "V"
"#;

fn problems(text: &str) -> Vec<String> {
    match Description::parse(text, "b.toml") {
        Ok(_) => Vec::new(),
        Err(DescriptionError::Invalid { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
    }
}

fn with(more: &str) -> Vec<String> {
    problems(&format!("{GOOD}{more}"))
}

#[test]
fn the_smallest_board_is_taken() {
    assert_eq!(problems(GOOD), [] as [&str; 0]);
}

#[test]
fn all_problems_come_at_once() {
    let found = problems(
        r#"
board = "X_1"
revision = ""
status = "tried in QEMU"
arch = "aarch64"
assumes = []
[identity]
source = "device-tree"
[platform_tpm]
path = "tpmrm0"
[hsm.spi]
bus = "/dev/../etc/passwd"
speed_hz = 50_000_000
kernel_cs = "none"
cs = { line = "CS", active_low = true }
[hsm.kernel]
path = "/dev/tpmrm0"
[hsm.reset]
pin = { line = "CS" }
hold_ms = 0
settle_ms = 6000
[hsm.chip]
vendor = 0xffff
[tamper]
pin = { chip = "c" }
mode = "edge"
debounce_ms = 1001
poll_ms = 9
[watchdog]
device = "/dev/watchdog0"
timeout_s = 5
[[sensors]]
name = "a"
chip = "c"
input = "curr1"
[[sensors]]
name = "a"
chip = ""
input = "temp1"
low = 5
high = 5
[recovery]
line = "R"
offset = 3
"#,
    );
    let expected = [
        "board: `X_1`; use 1 to 32 of a-z, 0-9 and hyphen",
        "revision: ``; use 1 to 32 of a-z, 0-9 and hyphen",
        "assumes: empty; say which real chips and wires this is written for: somebody will hold it against a schematic",
        "identity: neither vendor nor product; give one: pins of one board must not be driven on another",
        "platform_tpm.path: `tpmrm0`; give a device below /dev",
        "hsm: not exactly one of spi, i2c, kernel; keep the one that the chip is wired to; without a chip drop [hsm]",
        "hsm.spi.bus: `/dev/../etc/passwd`; give a device below /dev",
        "hsm.spi.speed_hz: 50000000; use 100000 to 24000000: the standard asks chips for at most 24 MHz",
        "hsm.spi.cs.active_low: true; drop it: the driver sets the wire low to select, turned round it would hold the chip selected",
        "hsm.reset: there beside hsm.kernel; drop it: the kernel owns the chip",
        "hsm.reset.hold_ms: 0; use 1 to 1000: chips want some microseconds to milliseconds",
        "hsm.reset.settle_ms: 6000; use 1 to 5000: the chip's data sheet says how long",
        "hsm.chip.vendor: 0xffff is a bus with nobody on it; read the DID_VID register and pin what it says",
        "tamper.debounce_ms: 1001; use 0 to 1000: longer is an open case that nobody sees",
        "tamper.poll_ms: 9; use 10 to 1000: rarer is too late, oftener costs a processor",
        "watchdog.timeout_s: 5; use 15 to 600: shorter resets a box that is merely busy, longer leaves it hung",
        "sensors[0].input: `curr1`; use temp, in or fan with a number, for example temp1",
        "sensors[1].name: `a` is sensors[0]'s already; give each sensor its own name: it labels a metric",
        "sensors[1].chip: ``; give the hwmon chip's `name`",
        "sensors[1].low: 5 is not below high = 5; correct the limits",
        "hsm.reset.pin: the same line as hsm.spi.cs; each wire has one purpose",
        "tamper.pin: no line, half a line or two; give either `line`, or `chip` and `offset`",
        "recovery: no line, half a line or two; give either `line`, or `chip` and `offset`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_i2c_address_is_one_that_devices_have() {
    let found = with("[hsm.i2c]\nbus = \"/dev/i2c-1\"\naddress = 0x78\n");
    assert_eq!(
        found,
        ["hsm.i2c.address: 120; use 8 to 119: the other addresses are reserved by the I2C specification"]
    );
    assert_eq!(with("[hsm.i2c]\nbus = \"/dev/i2c-1\"\naddress = 0x2e\n"), [] as [&str; 0]);
}

#[test]
fn what_does_not_parse_is_named_by_line_and_column() {
    for (text, expected) in [
        ("board = \n", "b.toml:1:9: "),
        ("bord = \"x\"\n", "b.toml:1:1: unknown field `bord`, expected one of `board`, "),
        (
            &format!("{GOOD}[hsm.spi]\nbusses = 1\n"),
            "b.toml:11:1: unknown field `busses`, expected one of `bus`, ",
        ),
        (
            &format!("{GOOD}[watchdog]\ndevice = \"/dev/watchdog0\"\ntimeout_s = \"60\"\n"),
            "b.toml:12:13: invalid type: string \"60\", expected u16; give a value of the expected type",
        ),
        (
            &GOOD.replace("untried on hardware", "works for me"),
            "b.toml:4:10: unknown variant `works for me`, expected one of `untried on hardware`, ",
        ),
        (
            &GOOD.replace("arch = \"x86_64\"\n", ""),
            "b.toml:1:1: missing field `arch`; add it; boards/board.schema.json says what it means",
        ),
    ] {
        let error = Description::parse(text, "b.toml").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\nwanted {expected}");
    }
}

#[test]
fn every_board_that_is_built_in_is_taken() {
    for (name, text) in BOARDS {
        Description::parse(text, name).unwrap();
    }
}
