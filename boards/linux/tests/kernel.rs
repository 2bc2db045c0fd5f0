//! Against the kernel's own drivers, in a QEMU guest: `boards/linux/guest/run` boots one and starts these.
//!
//! gpio-sim, i2c-stub with an lm75 (hwmon), softdog, the emulated i6300ESB watchdog, and swtpm behind QEMU's TPM.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail the test")]

use board_api::{
    Board, BoardError, Condition, HsmPort, NotServing, Parts, Serving, Verdict,
    tamper::{Action, Cause, End, FileLatch, Latch, LatchRecord, LatchStore, Settings, TamperSink, watch},
};
use board_linux::{Description, LinuxBoard, Machine};
use gw_proto::clock::SystemClock;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
    time::Duration,
};

const HEAD: &str = r#"
board = "guest"
revision = "rev-a"
status = "tried in QEMU"
arch = "x86_64"
assumes = ["gpio-sim: labels and names as guest/init sets them"]
[identity]
source = "dmi"
vendor = "QEMU"
"#;
const DEADLINE: Duration = Duration::from_secs(30);

fn open(sections: &str) -> Result<Parts, BoardError> {
    let description = Description::parse(&format!("{HEAD}{sections}"), "guest.toml").unwrap();
    Box::new(LinuxBoard::new(description, Machine::this())).open()
}
fn refused(sections: &str) -> Vec<String> {
    match open(sections) {
        Err(BoardError::Open { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
        Ok(parts) => panic!("taken: {:?}", parts.report()),
    }
}

/// The wire's side of a simulated line, whichever number the kernel gave the chip.
fn wire(offset: u32) -> PathBuf {
    let chips = fs::read_dir("/sys/devices/platform/gpio-sim.0").unwrap().map(|e| e.unwrap().path());
    let chip = chips.filter(|p| p.join("sim_gpio0").exists()).min().unwrap();
    chip.join(format!("sim_gpio{offset}"))
}
fn level(offset: u32) -> String {
    fs::read_to_string(wire(offset).join("value")).unwrap().trim().to_owned()
}
fn pull(offset: u32, to: &str) {
    fs::write(wire(offset).join("pull"), to).unwrap();
}

#[test]
#[ignore = "needs gpio-sim: boards/linux/guest/run"]
fn lights_and_reset_reach_their_wires() {
    let mut parts = open(
        "[leds]\npower = { line = \"LED_POWER\" }\nfault = { line = \"LED_FAULT\", active_low = true }\n\
         [hsm.i2c]\nbus = \"/dev/i2c-0\"\naddress = 0x2e\n\
         [hsm.reset]\npin = { line = \"HSM_RST_N\", active_low = true }\nhold_ms = 1\nsettle_ms = 1\n",
    )
    .unwrap();
    assert_eq!(level(3), "1", "an active-low reset starts released");
    let mut hsm = parts.hsm.unwrap();
    hsm.reset.as_mut().unwrap().pulse(&mut hsm.delay).unwrap();
    assert_eq!(level(3), "1", "and ends released");
    let HsmPort::I2c { mut bus, address } = hsm.port else { panic!("not I2C") };
    let error = embedded_hal::i2c::I2c::write(&mut bus, address, &[0]).unwrap_err();
    assert!(error.to_string().contains("95"), "EOPNOTSUPP: i2c-stub is SMBus only: {error}");

    let panel = parts.panel.as_mut().unwrap();
    panel.show(Condition::Serving).unwrap();
    assert_eq!(
        (level(1), level(2)),
        ("1".into(), "1".into()),
        "power lit, fault dark (its wire is active low)"
    );
    panel.show(Condition::Fault).unwrap();
    assert_eq!((level(1), level(2)), ("1".into(), "0".into()));
}

#[test]
#[ignore = "needs gpio-sim: boards/linux/guest/run"]
fn lines_that_cannot_be_had_are_named() {
    let chips = "`xg-main`, `xg-other`";
    let name = refused("[recovery]\nline = \"NOWHERE\"\n");
    assert_eq!(
        name,
        [format!(
            "recovery: no line is named `NOWHERE` on {chips}; correct the name, or load the device-tree overlay or \
             driver that names it"
        )]
    );
    let twice = refused("[recovery]\nline = \"TWICE\"\n");
    assert!(
        twice[0].contains("a line named `TWICE` is on xg-main and on xg-other; give `chip` and"),
        "{twice:?}"
    );
    let label = refused("[recovery]\nchip = \"gpio9\"\noffset = 0\n");
    assert!(
        label[0].contains(&format!("no GPIO chip has the label `gpio9`; there are {chips}")),
        "{label:?}"
    );
    let offset = refused("[recovery]\nchip = \"xg-other\"\noffset = 4\n");
    assert_eq!(offset, ["recovery: `xg-other` has lines 0 to 3, not 4; correct the offset"]);
    let _holder = open("[recovery]\nchip = \"xg-other\"\noffset = 2\n").unwrap();
    let busy = refused("[recovery]\nchip = \"xg-other\"\noffset = 2\n");
    let expected =
        "recovery: line 2 of `xg-other` is used by `xinguan` already; stop that user: a wire has one driver";
    assert_eq!(busy, [expected]);
}

/// Tells the test which action was done.
struct Sink(SyncSender<Action>);
impl TamperSink for Sink {
    fn close_signer(&mut self, _: &str) {
        self.0.send(Action::CloseSigner).unwrap();
    }
    fn record(&mut self, _: &LatchRecord) -> Result<(), BoardError> {
        Ok(())
    }
    fn zeroize_session_keys(&mut self) -> Result<(), BoardError> {
        Ok(())
    }
    fn clear_storage_key(&mut self) -> Result<(), BoardError> {
        Ok(())
    }
    fn failed(&mut self, action: Action, error: &BoardError) {
        panic!("{action:?}: {error}");
    }
}

fn tampering(mode: &str, debounce_ms: u16, open_the_case: impl FnOnce()) {
    let dir = tempfile::tempdir().unwrap();
    let latch = FileLatch::at(dir.path().join("tamper.json"));
    pull(0, "pull-down");
    let section = format!(
        "[tamper]\npin = {{ line = \"TAMPER_SW\" }}\nmode = \"{mode}\"\ndebounce_ms = {debounce_ms}\npoll_ms = 10\n"
    );
    let parts = open(&section).unwrap();
    let input = parts.tamper.unwrap();
    let (done, actions) = sync_channel(8);
    let (_stop, stopped) = sync_channel(1);
    let settings = Settings {
        debounce: Duration::from_millis(debounce_ms.into()),
        poll: Duration::from_millis(10),
        max_unreadable: 3,
        retry: Duration::from_millis(10),
        clear_storage_key: false,
        board: parts.label.to_string(),
        serial: None,
    };
    let watcher = {
        let latch = latch.clone();
        thread::spawn(move || watch(input, &settings, &latch, &mut Sink(done), &SystemClock, &stopped))
    };
    assert!(actions.recv_timeout(Duration::from_millis(100)).is_err(), "a closed case is quiet");
    open_the_case();
    assert_eq!(actions.recv_timeout(DEADLINE), Ok(Action::CloseSigner));
    assert_eq!(watcher.join().unwrap(), End::Latched);
    let Latch::Closed(record) = latch.load() else { panic!("not latched") };
    assert_eq!(record.cause, Cause::CaseOpened);
}

#[test]
#[ignore = "needs gpio-sim: boards/linux/guest/run"]
fn a_polled_switch_that_opens_is_seen() {
    tampering("poll", 20, || pull(0, "pull-up"));
}

#[test]
#[ignore = "needs gpio-sim: boards/linux/guest/run"]
fn an_edge_is_seen_though_the_case_is_shut_again_at_once() {
    tampering("edge", 0, || {
        pull(0, "pull-up");
        pull(0, "pull-down");
    });
}

#[test]
#[ignore = "needs gpio-sim: boards/linux/guest/run"]
fn an_edge_that_the_kernel_debounces_is_seen() {
    tampering("edge", 20, || pull(0, "pull-up"));
}

#[test]
#[ignore = "needs i2c-stub and lm75: boards/linux/guest/run"]
fn hwmon_of_the_kernel_is_read_and_judged() {
    let sensor = "[[sensors]]\nname = \"case\"\nchip = \"lm75\"\ninput = \"temp1\"\n";
    let mut parts = open(&format!("{sensor}low = 1_000\n")).unwrap();
    let reading = parts.sensors[0].read().unwrap();
    assert_eq!((reading.value, reading.verdict), (0, Verdict::TooLow), "i2c-stub's registers are zero");
    let found = refused(&sensor.replace("temp1", "temp2"));
    assert_eq!(found, ["sensors[0].input: `lm75` has no `temp2`; give an input that the chip has"]);
}

fn proof() -> Serving {
    Serving::ask(&SystemClock).answered(Ok(())).unwrap()
}
fn state_of(dog: &Path, file: &str) -> String {
    fs::read_to_string(dog.join(file)).unwrap().trim().to_owned()
}
/// The number of a watchdog by its driver's name for it.
fn dog_named(identity: &str) -> PathBuf {
    let all = fs::read_dir("/sys/class/watchdog").unwrap().map(|e| e.unwrap().path());
    all.filter(|p| p.join("identity").exists()).find(|p| state_of(p, "identity") == identity).unwrap()
}

#[test]
#[ignore = "needs softdog: boards/linux/guest/run"]
fn a_watchdog_of_the_kernel_starts_feeds_and_stops() {
    let sys = dog_named("Software Watchdog");
    let device = sys.file_name().unwrap().to_string_lossy().into_owned();
    let section = |identity: &str| {
        format!("[watchdog]\ndevice = \"/dev/{device}\"\nidentity = \"{identity}\"\ntimeout_s = 47\n")
    };
    let wrong = refused(&section("IT87 WDT"));
    assert!(wrong[0].contains("is `Software Watchdog`, not `IT87 WDT`"), "{wrong:?}");

    let mut dog = open(&section("Software Watchdog")).unwrap().watchdog.unwrap();
    assert_eq!(state_of(&sys, "state"), "inactive", "opening the board starts nothing");
    dog.feed(proof(), &SystemClock).unwrap();
    assert_eq!((state_of(&sys, "state"), state_of(&sys, "timeout")), ("active".into(), "47".into()));
    dog.feed(proof(), &SystemClock).unwrap();
    dog.stand_down(&NotServing { reasons: vec![], restart_may_help: false }).unwrap();
    assert_eq!(state_of(&sys, "state"), "inactive");
    dog.feed(proof(), &SystemClock).unwrap();
    assert_eq!(state_of(&sys, "state"), "active");
    drop(dog); // a gateway that dies: still counting; the guest is done before 47 s
    assert_eq!(state_of(&sys, "state"), "active");
}

fn qemu_board() -> Parts {
    Box::new(LinuxBoard::named("qemu-x86/rev-a", Machine::this()).unwrap()).open().unwrap()
}

#[test]
#[ignore = "needs swtpm and the emulated i6300ESB: boards/linux/guest/run"]
fn the_qemu_board_opens_as_described_and_its_watchdog_is_left_to_bite() {
    let report = qemu_board().report();
    println!("{}", report.join("\n"));
    assert!(report.contains(&"platform TPM: /dev/tpmrm0".to_owned()));
    assert!(report.contains(&"watchdog: i6300ESB timer, 60 s".to_owned()));
    let device = dog_named("i6300ESB timer").file_name().unwrap().to_string_lossy().into_owned();
    let section = format!("[watchdog]\ndevice = \"/dev/{device}\"\ntimeout_s = 15\n");
    open(&section).unwrap().watchdog.unwrap().feed(proof(), &SystemClock).unwrap();
}

#[test]
#[ignore = "the guest's second start, after the bite: boards/linux/guest/run"]
fn after_the_bite_the_report_says_so() {
    let report = qemu_board().report();
    assert!(
        report.contains(&"watchdog: i6300ESB timer, 60 s, CAUSED THE LAST RESET".to_owned()),
        "{report:?}"
    );
}
