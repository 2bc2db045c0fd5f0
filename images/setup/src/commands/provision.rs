//! `xinguan-setup provision …`

use super::{judge, load_key, lock, restart, say};
use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use gw_proto::{Clock as _, clock::SystemClock};
use image_setup::{
    bundle::{self, Pins},
    code::Code,
    files::Files,
    folder::DirFolder,
    places::{Places, read_bytes},
    provision::{Host, Outcome, take},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::UNIX_EPOCH,
};

/// On the box, and on the supervisor's machine.
#[derive(Debug, Subcommand)]
pub(crate) enum ProvisionCommand {
    /// On the box: take the file of a stick that is mounted there
    Take {
        /// the stick's folder
        stick: PathBuf,
        /// the gateway's program, which judges configurations
        #[arg(long)]
        xinguan: Option<PathBuf>,
    },
    /// At the supervisor: make a provisioning file out of a folder
    Make(MakeArgs),
    /// At the supervisor: the enrolment code of a signer's key, and its line for provisioners.json
    Code {
        /// PKCS#8, PEM, SM2 or P-256
        key: PathBuf,
    },
    /// What is in a provisioning file, and whether its signatures hold for a code
    Show {
        /// the file
        file: PathBuf,
        /// the enrolment code of whom it should be
        #[arg(long)]
        code: String,
    },
}

/// What goes into it.
#[derive(Debug, Args)]
pub(crate) struct MakeArgs {
    /// xinguan.toml, the files that it names, network/
    folder: PathBuf,
    /// where it is written
    #[arg(long)]
    out: PathBuf,
    /// whose box
    #[arg(long)]
    institution: String,
    /// the box's serial number; without it any box of the institution takes the file
    #[arg(long)]
    serial: Option<String>,
    /// counts up: a box takes none below its last
    #[arg(long)]
    number: u64,
    /// days until it expires, 1 to 365
    #[arg(long, default_value = "14", value_parser = clap::value_parser!(u64).range(1..=365))]
    days: u64,
    /// the signer's key, PKCS#8, PEM; twice for SM2 and P-256
    #[arg(long, required = true)]
    key: Vec<PathBuf>,
}

pub(crate) fn run(command: &ProvisionCommand, places: &Places) -> Result<ExitCode> {
    match command {
        ProvisionCommand::Take { stick, xinguan } => on_box(stick, xinguan.as_ref(), places)?,
        ProvisionCommand::Make(args) => make(args)?,
        ProvisionCommand::Code { key } => {
            let key = load_key(key)?;
            say(&Code::of(key.public_key()).to_string())?;
            say(&serde_json::to_string(&[key.public_key()])?)?;
        }
        ProvisionCommand::Show { file, code } => show(file, code)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn on_box(stick: &Path, xinguan: Option<&PathBuf>, places: &Places) -> Result<()> {
    let _lock = lock(places)?;
    let mut host = Host {
        places,
        config: &mut places.config(),
        records: &mut places.records(),
        now_s: now_s(places),
        judge: &judge(places, xinguan),
    };
    match take(stick, &mut host)? {
        Outcome::Nothing => say("provisioning: this file was taken before; nothing was changed"),
        Outcome::Applied { number, missing } => {
            say(&format!("provisioning: number {number} is in place; the box restarts"))?;
            for line in missing {
                say(&format!("  still missing, until the enrolment brings it: {line}"))?;
            }
            restart(places)
        }
    }
}

/// The machine's clock, but not before the image was made: a box without a battery wakes up in 1970.
fn now_s(places: &Places) -> u64 {
    let made = fs::metadata(places.at("/usr/lib/os-release")).and_then(|m| m.modified()).ok();
    let made = made.and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs());
    made.max(SystemClock.now().0 / 1000)
}

fn make(args: &MakeArgs) -> Result<()> {
    let files = Files::load(&DirFolder::new(args.folder.clone()))?;
    for (name, bytes) in files.iter() {
        let secret = String::from_utf8_lossy(bytes).contains("PRIVATE KEY");
        ensure!(!secret, "{name} holds a private key: keys are made by the box's own chip");
    }
    let keys = args.key.iter().map(|k| load_key(k)).collect::<Result<Vec<_>>>()?;
    let not_after = SystemClock.now().0 / 1000 + args.days * 86_400;
    let serial = args.serial.as_deref();
    let bytes = bundle::make(args.number, not_after, &args.institution, serial, &files, &keys)?;
    fs::write(&args.out, &bytes).with_context(|| format!("cannot write {}", args.out.display()))?;
    for key in &keys {
        say(&format!("enrolment code {}", Code::of(key.public_key())))?;
    }
    say(&format!("{}: {} bytes; copy it to a FAT stick labelled XINGUAN-IN", args.out.display(), bytes.len()))
}

fn show(file: &Path, code: &str) -> Result<()> {
    let pins = Pins { keys: Vec::new(), code: Some(Code::parse(code)?) };
    let found = bundle::open(&read_bytes(file, bundle::MAX_BYTES)?, &pins)?;
    let payload = &found.payload;
    say(&format!("number {}, for {}", payload.number, payload.institution))?;
    say(&format!("box {}", payload.serial.as_deref().unwrap_or("any of the institution")))?;
    say(&format!("expires {}", gw_proto::UnixMillis(payload.not_after.saturating_mul(1000)).rfc3339()))?;
    for (name, bytes) in found.files.iter() {
        say(&format!("{:>8} bytes  {name}", bytes.len()))?;
    }
    Ok(())
}
