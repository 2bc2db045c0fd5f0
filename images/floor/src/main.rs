//! `xinguan-floor check RELEASE`: in the initrd, before the data is made or opened.
//!
//! RELEASE is the `release.json` of the initrd, signed with the kernel. A release below the floor, or a floor that cannot be
//! read, spoils PCR 11: the chip then opens no data until the next start. Exit codes: 0 go on, 1 refused, 2 command line.

use image_floor::TpmFloor;
use serde::Deserialize;
use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

const DEVICE: &str = "/dev/tpmrm0";
/// Partitions, as the kernel names them: complete as soon as one of the disk is there.
const BLOCK: &str = "/sys/class/block";
const DATA: &str = "PARTNAME=data";
/// A factory reset left this note: systemd-repart(8) deletes the data after us, and the chip may have been cleared with it.
const RESET: &str = "/sys/firmware/efi/efivars/FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67";
const MAX_RELEASE: u64 = 16 << 10;

/// The part of `release.json` that counts here (images/update, `Manifest`).
#[derive(Deserialize)]
struct Release {
    number: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ["check", release] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        let _ = writeln!(io::stderr(), "usage: xinguan-floor check RELEASE");
        return ExitCode::from(2);
    };
    match check(Path::new(release)) {
        Ok(line) => {
            let _ = writeln!(io::stdout(), "floor: {line}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            let _ = writeln!(io::stderr(), "floor: REFUSED: {e}");
            ExitCode::FAILURE
        }
    }
}

fn check(release: &Path) -> Result<String, Box<dyn Error>> {
    let mut floor = TpmFloor::at(Path::new(DEVICE))?;
    let checked = decide(&mut floor, release);
    if checked.is_err() {
        floor.spoil()?;
    }
    checked
}

fn decide(floor: &mut TpmFloor, release: &Path) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(fs::File::open(release)?, MAX_RELEASE), &mut text)?;
    let Release { number } = serde_json::from_str(&text)?;
    let found = floor.check(number, has_data()? && !Path::new(RESET).exists())?;
    Ok(format!("this release has number {number}, this box asks for {found} or more"))
}

fn has_data() -> io::Result<bool> {
    for entry in fs::read_dir(BLOCK)? {
        let event = fs::read_to_string(entry?.path().join("uevent"))?;
        if event.lines().any(|l| l == DATA) {
            return Ok(true);
        }
    }
    Ok(false)
}
