//! Boards opened on trees of files: what is there is taken, what is missing is named, all at once.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail the test")]

use board_api::{Board, BoardError, HsmPort, Parts, Verdict};
use board_linux::{Description, LinuxBoard, Machine};
use std::{fs, path::Path};

/// A machine made of files.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }
    fn open(&self, board: &str, arch: &'static str) -> Result<Parts, BoardError> {
        Box::new(LinuxBoard::named(board, Machine::at(self.0.path(), arch)).unwrap()).open()
    }
    fn open_toml(&self, text: &str) -> Result<Parts, BoardError> {
        let description = Description::parse(text, "b.toml").unwrap();
        Box::new(LinuxBoard::new(description, Machine::at(self.0.path(), "x86_64"))).open()
    }
}

fn qemu() -> Tree {
    Tree::new()
        .file("sys/class/dmi/id/sys_vendor", "QEMU\n")
        .file("sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009)\n")
        .file("sys/class/dmi/id/product_serial", "Not Specified\n")
        .file("dev/tpmrm0", "")
}

fn problems(error: BoardError) -> Vec<String> {
    let BoardError::Open { problems, .. } = error else { panic!("{error}") };
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn qemu_without_a_watchdog_is_taken_and_says_so() {
    let parts = qemu().open("qemu-x86/rev-a", "x86_64").unwrap();
    let report = parts.report().join("\n");
    for line in [
        "board: qemu-x86 rev-a (tried in QEMU)",
        "serial: absent: the firmware gives none (/sys/class/dmi/id/product_serial, /sys/class/dmi/id/board_serial)",
        "tamper switch: absent: the board's description has no [tamper]",
        "watchdog: absent: watchdog.device: `/dev/watchdog0` is not there",
        "sensors: absent: the board has none",
    ] {
        assert!(report.contains(line), "{line}\nis not in\n{report}");
    }
    let HsmPort::Kernel { path } = parts.hsm.unwrap().port else { panic!("not the kernel's") };
    assert!(path.ends_with("dev/tpmrm0"));
}

#[test]
fn qemu_with_a_watchdog_names_it() {
    let tree = qemu()
        .file("dev/watchdog0", "")
        .file("sys/class/watchdog/watchdog0/identity", "i6300ESB timer\n")
        .file("sys/class/watchdog/watchdog0/bootstatus", "32\n")
        .file("sys/class/dmi/id/board_serial", "B-77\n");
    let report = tree.open("qemu-x86/rev-a", "x86_64").unwrap().report().join("\n");
    assert!(report.contains("watchdog: i6300ESB timer, 60 s, CAUSED THE LAST RESET"), "{report}");
    assert!(report.contains("serial: B-77"), "{report}");
}

#[test]
fn a_missing_tpm_is_named() {
    let tree = qemu();
    fs::remove_file(tree.0.path().join("dev/tpmrm0")).unwrap();
    let found = problems(tree.open("qemu-x86/rev-a", "x86_64").unwrap_err());
    let remedy = "check that the kernel has found the device and has its driver (tpm_tis or tpm_crb), or correct the path";
    assert_eq!(
        found,
        [
            format!("platform_tpm.path: `/dev/tpmrm0` is not there; {remedy}"),
            format!("hsm.kernel.path: `/dev/tpmrm0` is not there; {remedy}")
        ]
    );
}

#[test]
fn another_machine_is_refused_before_a_pin_is_touched() {
    let found = problems(qemu().open("x86-rack/rev-a", "aarch64").unwrap_err());
    assert_eq!(
        found,
        [
            "identity.product: the machine says `Standard PC (Q35 + ICH9, 2009)` (/sys/class/dmi/id/product_name), \
             not `Xinguan X86R`; choose the description of this machine: pins differ",
            "arch: the machine is aarch64, the board x86_64; choose the description of this machine",
        ]
    );
    let found = problems(Tree::new().open("arm-rack/rev-a", "aarch64").unwrap_err());
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("identity.product: the machine says nothing (/proc/device-tree/model)"),
        "{found:?}"
    );
}

#[test]
fn a_bare_rack_names_every_missing_part_at_once() {
    let tree = Tree::new().file("sys/class/dmi/id/product_name", "Xinguan X86R\n").file("dev/gpiochip0", "");
    let found = problems(tree.open("x86-rack/rev-a", "x86_64").unwrap_err());
    let keys: Vec<_> = found.iter().filter_map(|p| p.split(':').next()).collect();
    let expected = [
        "platform_tpm.path",
        "hsm.spi.bus",
        "hsm.spi.cs",
        "hsm.reset.pin",
        "tamper.pin",
        "leds.power",
        "leds.serving",
        "leds.fault",
        "leds.tamper",
        "watchdog.device",
        "sensors[0].chip",
        "sensors[1].chip",
        "sensors[2].chip",
        "sensors[3].chip",
        "recovery",
    ];
    assert_eq!(keys, expected, "{found:#?}");
    let pin = &found[4];
    assert!(
        pin.starts_with("tamper.pin: this machine has no GPIO chip; gpiochip0 cannot be opened ("),
        "{pin}"
    );
    assert!(
        pin.ends_with("load the chip's driver into the image, or let this user open /dev/gpiochip*"),
        "{pin}"
    );
    assert!(
        found[10].starts_with("sensors[0].chip: no hwmon chip is named `coretemp`; there are: ;"),
        "{}",
        found[10]
    );
}

const SMALL: &str = r#"
board = "x"
revision = "rev-a"
status = "untried on hardware"
arch = "x86_64"
assumes = ["a"]
[identity]
source = "device-tree"
vendor = "acme"
product = "Acme Box"
"#;

fn acme() -> Tree {
    Tree::new()
        .file("proc/device-tree/compatible", "acme,box\0rockchip,rk3568\0")
        .file("proc/device-tree/model", "Acme Box\0")
        .file("proc/device-tree/serial-number", "AC-12\0")
}

#[test]
fn a_device_tree_gives_vendor_product_and_serial() {
    let parts = acme().open_toml(SMALL).unwrap();
    assert_eq!(parts.serial, Ok("AC-12".to_owned()));
}

#[test]
fn sensors_are_read_through_and_judged() {
    let tree = acme()
        .file("sys/class/hwmon/hwmon0/name", "acpitz\n")
        .file("sys/class/hwmon/hwmon3/name", "lm75\n")
        .file("sys/class/hwmon/hwmon3/temp1_input", "45000\n");
    let sensor = "[[sensors]]\nname = \"case\"\nchip = \"lm75\"\ninput = \"temp1\"\nhigh = 60_000\n";
    let mut parts = tree.open_toml(&format!("{SMALL}{sensor}")).unwrap();
    let case = &mut parts.sensors[0];
    let reading = case.read().unwrap();
    assert_eq!((reading.value, reading.verdict), (45_000, Verdict::Fine));
    let input = tree.0.path().join("sys/class/hwmon/hwmon3/temp1_input");
    fs::write(&input, "60001\n").unwrap();
    assert_eq!(case.read().unwrap().verdict, Verdict::TooHigh);
    fs::write(&input, "hot\n").unwrap();
    let error = case.read().unwrap_err().to_string();
    assert!(
        error.starts_with("sensor case: cannot read a number: `") && error.contains("says `hot`"),
        "{error}"
    );
    fs::remove_file(&input).unwrap();
    case.read().unwrap_err();

    let optional = format!("{SMALL}{}", sensor.replace("temp1", "temp2") + "optional = true\n");
    assert!(tree.open_toml(&optional).unwrap().sensors.is_empty());
    let found = problems(tree.open_toml(&format!("{SMALL}{}", sensor.replace("temp1", "fan1"))).unwrap_err());
    assert_eq!(found, ["sensors[0].input: `lm75` has no `fan1`; give an input that the chip has"]);
    let twice = tree.file("sys/class/hwmon/hwmon4/name", "lm75\n");
    let found = problems(twice.open_toml(&format!("{SMALL}{sensor}")).unwrap_err());
    assert!(found[0].contains("several hwmon chips are named `lm75`"), "{found:?}");
}

#[test]
fn buses_that_are_not_there_or_no_buses_are_named() {
    let i2c = format!("{SMALL}[hsm.i2c]\nbus = \"/dev/i2c-9\"\naddress = 0x2e\n");
    let found = problems(acme().open_toml(&i2c).unwrap_err());
    assert_eq!(
        found,
        [
            "hsm.i2c.bus: `/dev/i2c-9` is not there; check that the kernel has found the device and has its driver \
          (i2c-dev), or correct the path"
        ]
    );
    let found = problems(acme().file("dev/i2c-9", "").open_toml(&i2c).unwrap_err());
    assert!(found[0].starts_with("hsm.i2c.bus: `/dev/i2c-9` is no I2C bus: "), "{found:?}");

    let spi = format!(
        "{SMALL}[hsm.spi]\nbus = \"/dev/spidev0.0\"\nspeed_hz = 1_000_000\nkernel_cs = \"none\"\ncs = {{ line = \"CS\" }}\n"
    );
    let found = problems(acme().file("dev/spidev0.0", "").open_toml(&spi).unwrap_err());
    assert!(
        found[0].starts_with("hsm.spi.bus: `/dev/spidev0.0` does not take mode 0 at 1000000 Hz: "),
        "{found:?}"
    );
    assert!(found[1].starts_with("hsm.spi.cs: this machine has no GPIO chip; "), "{found:?}");
}

#[test]
fn files_and_names_that_are_no_description_are_named() {
    let machine = || Machine::at("/", "x86_64");
    let error = LinuxBoard::named("toaster/rev-a", machine()).unwrap_err().to_string();
    assert!(
        error.starts_with("no board `toaster/rev-a`; built in are: x86-rack/rev-a, arm-rack/rev-a, "),
        "{error}"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.toml");
    let error = LinuxBoard::from_file(&path, machine()).unwrap_err().to_string();
    assert!(
        error.ends_with("b.toml: cannot read the board's description; check the path and its permissions"),
        "{error}"
    );
    fs::write(&path, "#".repeat(65_537)).unwrap();
    let error = LinuxBoard::from_file(&path, machine()).unwrap_err().to_string();
    assert!(error.contains("65537 bytes is no board description (at most 65536)"), "{error}");
    fs::write(&path, SMALL).unwrap();
    let board = LinuxBoard::from_file(Path::new(&path), machine()).unwrap();
    assert_eq!(board.label().to_string(), "x rev-a (untried on hardware)");
}
