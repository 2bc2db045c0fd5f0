//! `xinguan-setup export` on the box, `xinguan-setup open` at an office.

use super::{load_key, say};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use gw_proto::{PublicKey, sm3};
use image_setup::{
    backup::{self, Opened},
    files::{Files, MAX_FILE},
    folder::{DirFolder, Folder as _},
    places::{Places, read_bytes},
    support::{self, MAX_PART, from_program},
};
use std::{
    fs,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Doctor asks the network; nobody waits longer at a box.
const WITHIN: Duration = Duration::from_secs(60);

/// A stick that is mounted there.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// the stick's folder
    stick: PathBuf,
    /// the gateway's program, which knows its keys and its health
    #[arg(long)]
    xinguan: Option<PathBuf>,
}

/// One person's part of a restore.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// the backup, or what the first person made of it
    file: PathBuf,
    /// this person's SM2 key, PKCS#8, PEM
    #[arg(long)]
    key: PathBuf,
    /// first person: a file for the second one; second person: a folder for `provision make`
    #[arg(long)]
    out: PathBuf,
    /// the serial number of the replacement box; what was bound to the old chip is left out
    #[arg(long)]
    new_serial: String,
}

pub(crate) fn export(args: &ExportArgs, places: &Places) -> Result<ExitCode> {
    let program = args.xinguan.clone().unwrap_or_else(|| places.at("/usr/bin/xinguan"));
    let config = places.at("/config/xinguan.toml");
    let config = config.to_string_lossy();
    let name: String = places.serial().unwrap_or_else(|| "box".into()).to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let mut stick = DirFolder::new(args.stick.clone());

    let mut gathered = support::from_files(places);
    gathered.push(("version".into(), from_program(&program, &["--version"], WITHIN)));
    gathered.push(("check-config".into(), from_program(&program, &["check-config", &config], WITHIN)));
    gathered.push(("doctor".into(), from_program(&program, &["doctor", "--config", &config], WITHIN)));
    gathered.push(("kernel log".into(), kernel_log(&places.at("/dev/kmsg"))));
    let bundle = support::bundle(gathered);
    say("export: the support bundle contains, without secrets and company codes:")?;
    for line in bundle.contains() {
        say(&format!("  {line}"))?;
    }
    write(&mut stick, &format!("{name}-support.json"), &bundle.to_json()?)?;

    let request = from_program(&program, &["hsm", "request", "--config", &config], WITHIN);
    if request.starts_with("-----BEGIN CERTIFICATE REQUEST-----") {
        write(&mut stick, &format!("{name}-request.pem"), request.as_bytes())?;
    }
    match places.config().read(backup::RECIPIENTS, MAX_FILE)? {
        None => say("export: no backup: backup-recipients.json is not in the configuration")?,
        Some(people) => {
            let people: Vec<PublicKey> = serde_json::from_slice(&people).context(backup::RECIPIENTS)?;
            let backup = backup::make(places.serial(), &Files::load(&places.config())?, &people)?;
            write(&mut stick, &format!("{name}-backup.json"), &backup)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(stick: &mut DirFolder, name: &str, bytes: &[u8]) -> Result<()> {
    stick.write(name, bytes)?;
    say(&format!("export: {name}, {} bytes, SM3 {}", bytes.len(), sm3(bytes)))
}

/// The kernel's own messages, the last ones; reading ends where it would wait.
fn kernel_log(path: &Path) -> String {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) => return format!("cannot be read: {e}\n"),
    };
    let (mut text, mut record) = (String::new(), [0; 8192]);
    // each read gives one message; the kernel's buffer has some tens of thousands
    for _ in 0..100_000 {
        match file.read(&mut record) {
            Ok(n) if n > 0 => text.push_str(&String::from_utf8_lossy(record.get(..n).unwrap_or_default())),
            _ => break,
        }
        if text.len() > 4 * MAX_PART {
            text = text.split_off(text.ceil_char_boundary(text.len() - MAX_PART));
        }
    }
    text
}

pub(crate) fn open(args: &OpenArgs) -> Result<ExitCode> {
    let key = load_key(&args.key)?;
    let content = match backup::open(&read_bytes(&args.file, backup::MAX_BYTES)?, &key)? {
        Opened::Layer(inner) => {
            fs::write(&args.out, inner).with_context(|| format!("cannot write {}", args.out.display()))?;
            say("one layer is off; the second person opens the rest")?;
            return Ok(ExitCode::SUCCESS);
        }
        Opened::Content(content) => content,
    };
    ensure!(!args.out.exists(), "{} exists: give a folder that does not", args.out.display());
    let mut folder = DirFolder::new(args.out.clone());
    for (name, bytes) in backup::for_new_box(&content, &args.new_serial)?.iter() {
        folder.write(name, bytes)?;
    }
    say(&format!(
        "made on {}; for {}: enrol anew, the new chip has other keys",
        content.serial.as_deref().unwrap_or("a box without a serial number"),
        args.new_serial
    ))?;
    say("next: xinguan-setup provision make, with the new serial number")?;
    Ok(ExitCode::SUCCESS)
}
