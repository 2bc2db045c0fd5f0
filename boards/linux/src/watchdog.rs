//! A watchdog of the kernel: `/dev/watchdogN`.
//!
//! Opening the device starts the countdown, so it is opened with the first proof of serving and not before. Closing it
//! without the magic `V` keeps it running: a gateway that dies is reset.

use crate::{
    bus,
    description::WatchdogToml,
    machine::{Machine, read_short},
};
use board_api::{BoardError, Problem, Watchdog, WatchdogDevice, WatchdogInfo};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

/// `WDIOF_CARDRESET` of the kernel's `uapi/linux/watchdog.h`: it caused the last reset.
const CARD_RESET: u32 = 0x20;
/// Sets seconds, returns what the hardware took.
type SetTimeout = fn(&File, i32) -> io::Result<i32>;

/// Looks at a watchdog without starting it.
pub(crate) fn open(machine: &Machine, toml: &WatchdogToml) -> Result<Watchdog, Problem> {
    Ok(Watchdog::new(inspect(machine, toml, board_linux_ffi::set_timeout)?))
}

fn inspect(machine: &Machine, toml: &WatchdogToml, set_timeout: SetTimeout) -> Result<Device, Problem> {
    bus::present(machine, "watchdog.device", &toml.device, "the chip's watchdog driver")?;
    let sys = machine.path("/sys/class/watchdog").join(toml.device.file_name().unwrap_or_default());
    let identity = read_short(&sys.join("identity")).unwrap_or_else(|| "unnamed".to_owned());
    if let Some(wanted) = &toml.identity
        && *wanted != identity
    {
        let what = format!("`{}` is `{identity}`, not `{wanted}`", toml.device.display());
        let remedy = "give the device of the board's own watchdog: numbers change with the order of drivers";
        return Err(Problem::new("watchdog.identity", what, remedy));
    }
    let bits = read_short(&sys.join("bootstatus")).and_then(|t| t.parse::<u32>().ok()).unwrap_or(0);
    Ok(Device {
        path: machine.path(&toml.device),
        info: WatchdogInfo {
            identity,
            timeout: Duration::from_secs(toml.timeout_s.into()),
            bit_last_time: bits & CARD_RESET != 0,
        },
        no_way_out: read_short(&sys.join("nowayout")).is_some_and(|t| t == "1"),
        set_timeout,
        open: None,
    })
}

struct Device {
    path: PathBuf,
    info: WatchdogInfo,
    no_way_out: bool,
    set_timeout: SetTimeout,
    open: Option<File>,
}

impl Device {
    fn part(&self) -> String {
        format!("watchdog {}", self.path.display())
    }
    fn failed(&self, operation: &'static str, e: impl std::fmt::Display) -> BoardError {
        BoardError::Part { part: self.part(), operation, what: e.to_string() }
    }
    fn write(&mut self, bytes: &[u8], operation: &'static str) -> Result<(), BoardError> {
        let wrote = match &mut self.open {
            Some(file) => file.write_all(bytes),
            None => Err(io::Error::other("it was not started")),
        };
        wrote.map_err(|e| self.failed(operation, e))
    }
    /// Half of what was asked for would reset a box that is merely busy.
    fn take_timeout(&self, file: &File) -> Result<Duration, BoardError> {
        let asked = i32::try_from(self.info.timeout.as_secs()).unwrap_or(i32::MAX);
        let got = (self.set_timeout)(file, asked).map_err(|e| self.failed("set the time-out", e))?;
        if got < asked / 2 {
            let what = format!("the hardware takes {got} s of {asked} s; lower watchdog.timeout_s");
            return Err(self.failed("set the time-out", what));
        }
        Ok(Duration::from_secs(u64::try_from(got).unwrap_or_default()))
    }
}

impl WatchdogDevice for Device {
    fn info(&self) -> WatchdogInfo {
        self.info.clone()
    }
    fn start(&mut self) -> Result<(), BoardError> {
        let mut file = OpenOptions::new().write(true).open(&self.path).map_err(|e| self.failed("open", e))?;
        match self.take_timeout(&file) {
            Ok(timeout) => self.info.timeout = timeout,
            Err(error) => {
                // the countdown runs already, with a time-out that nobody knows
                file.write_all(b"V").map_err(|e| self.failed("stop", e))?;
                return Err(error);
            }
        }
        self.open = Some(file);
        Ok(())
    }
    fn ping(&mut self) -> Result<(), BoardError> {
        self.write(b"\0", "feed")
    }
    fn stop(&mut self) -> Result<(), BoardError> {
        if self.no_way_out {
            return Err(BoardError::NoWayOut { part: self.part() });
        }
        self.write(b"V", "stop")?;
        self.open = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree(nowayout: &str, bootstatus: &str) -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        let sys = dir.path().join("sys/class/watchdog/watchdog0");
        fs::create_dir_all(&sys).unwrap();
        fs::create_dir(dir.path().join("dev")).unwrap();
        fs::write(dir.path().join("dev/watchdog0"), "").unwrap();
        for (file, text) in [("identity", "IT87 WDT\n"), ("nowayout", nowayout), ("bootstatus", bootstatus)] {
            fs::write(sys.join(file), text).unwrap();
        }
        let machine = Machine::at(dir.path(), "x86_64");
        (dir, machine)
    }
    fn toml() -> WatchdogToml {
        WatchdogToml {
            device: "/dev/watchdog0".into(),
            identity: Some("IT87 WDT".into()),
            timeout_s: 60,
            optional: false,
        }
    }
    fn written(dir: &tempfile::TempDir) -> Vec<u8> {
        fs::read(dir.path().join("dev/watchdog0")).unwrap()
    }

    #[test]
    fn it_is_not_touched_before_the_start_and_stopped_by_the_magic_letter() {
        let (dir, machine) = tree("0\n", "0\n");
        let mut dog = inspect(&machine, &toml(), |_, s| Ok(s + 3)).unwrap();
        assert!(dog.ping().unwrap_err().to_string().contains("it was not started"));
        dog.start().unwrap();
        assert_eq!(dog.info().to_string(), "IT87 WDT, 63 s");
        dog.ping().unwrap();
        dog.ping().unwrap();
        assert_eq!(written(&dir), b"\0\0");
        dog.stop().unwrap();
        assert_eq!(written(&dir), b"\0\0V");
    }

    #[test]
    fn a_gateway_that_dies_leaves_it_running() {
        let (dir, machine) = tree("0\n", "0\n");
        let mut dog = inspect(&machine, &toml(), |_, s| Ok(s)).unwrap();
        dog.start().unwrap();
        drop(dog);
        assert_eq!(written(&dir), b"", "no magic letter");
    }

    #[test]
    fn the_last_reset_and_nowayout_are_seen() {
        let (dir, machine) = tree("1\n", "32\n");
        let mut dog = inspect(&machine, &toml(), |_, s| Ok(s)).unwrap();
        assert!(dog.info().to_string().contains("CAUSED THE LAST RESET"));
        dog.start().unwrap();
        assert!(matches!(dog.stop(), Err(BoardError::NoWayOut { .. })));
        assert_eq!(written(&dir), b"");
    }

    #[test]
    fn a_timeout_that_the_hardware_cannot_have_is_refused_and_it_is_stopped() {
        let (dir, machine) = tree("0\n", "0\n");
        let mut dog = inspect(&machine, &toml(), |_, _| Ok(25)).unwrap();
        let text = dog.start().unwrap_err().to_string();
        assert!(text.contains("takes 25 s of 60 s; lower watchdog.timeout_s"), "{text}");
        assert_eq!(written(&dir), b"V");
    }

    #[test]
    fn a_file_that_is_no_watchdog_is_named() {
        let (_dir, machine) = tree("0\n", "0\n");
        let mut dog = inspect(&machine, &toml(), board_linux_ffi::set_timeout).unwrap();
        let text = dog.start().unwrap_err().to_string();
        assert!(text.contains("dev/watchdog0: cannot set the time-out"), "{text}");
    }

    #[test]
    fn another_watchdog_and_none_are_named() {
        let (_dir, machine) = tree("0\n", "0\n");
        let other = WatchdogToml { identity: Some("iTCO_wdt".into()), ..toml() };
        let problem = inspect(&machine, &other, |_, s| Ok(s)).err().unwrap();
        assert!(
            problem
                .to_string()
                .starts_with("watchdog.identity: `/dev/watchdog0` is `IT87 WDT`, not `iTCO_wdt`")
        );
        let none = WatchdogToml { device: "/dev/watchdog7".into(), ..toml() };
        let problem = inspect(&machine, &none, |_, s| Ok(s)).err().unwrap();
        assert!(
            problem.to_string().starts_with("watchdog.device: `/dev/watchdog7` is not there; check"),
            "{problem}"
        );
    }
}
