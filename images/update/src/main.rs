//! `xinguan-update`: look at a bundle, write it into the idle slot, go back, confirm.
//!
//! The work is [`image_update`]'s; here are arguments, progress, words and exit codes. `xinguan update …` runs this program.

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use gw_proto::{Clock as _, clock::SystemClock};
use image_update::{Bundle, BundleFiles, Settings, UpdateError, Updater, record};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where the image keeps its description of slots.
const SETTINGS: &str = "/usr/lib/xinguan/update.toml";

/// Updates of the system that a gateway runs in.
#[derive(Debug, Parser)]
#[command(name = "xinguan-update", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify a bundle and say whether this box takes it; nothing is written into a slot
    Check(BundleArgs),
    /// Write a bundle into the idle slot; it is tried at the next boot
    Apply(ApplyArgs),
    /// Say which slot runs, which is next, what is in them
    Status(Common),
    /// Make the other slot the next one, if it is good; takes effect at the next boot
    Rollback(Common),
    /// Raise the anti-rollback floor to what runs: for the health check, once the boot loader has accepted the system
    Confirm(Common),
}

/// What every one needs.
#[derive(Debug, Args)]
struct Common {
    /// description of the slots
    #[arg(long, default_value = SETTINGS)]
    settings: PathBuf,
}

#[derive(Debug, Args)]
struct BundleArgs {
    /// folder with `metadata` and `targets`
    bundle: PathBuf,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct ApplyArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// try a version again that this box has given up, if this file is there
    #[arg(long)]
    retry_file: Option<PathBuf>,
}

/// How the program ended; the numbers mean what they mean for `xinguan` (clap's own 2 is a wrong command line).
#[derive(Clone, Copy)]
#[repr(u8)]
enum Exit {
    /// the bundle, or the way back, is refused
    Refused = 1,
    /// the image's own description of slots is not acceptable
    BadConfig = 3,
    /// slot, boot entries, records or the TPM's counter cannot be read or written
    Storage = 5,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command, &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "xinguan-update: {e:#}");
            ExitCode::from(exit(&e) as u8)
        }
    }
}

fn exit(e: &anyhow::Error) -> Exit {
    use UpdateError as U;
    match e.downcast_ref::<U>() {
        Some(U::Settings { .. }) => Exit::BadConfig,
        Some(
            U::Folder { .. }
            | U::Partition { .. }
            | U::Record { .. }
            | U::ReadBack { .. }
            | U::Floor(_)
            | U::NoWayBack { .. },
        ) => Exit::Storage,
        _ => Exit::Refused,
    }
}

fn run(command: &Command, out: &mut dyn Write) -> Result<()> {
    let (Command::Check(BundleArgs { common, .. })
    | Command::Apply(ApplyArgs { bundle: BundleArgs { common, .. }, .. })
    | Command::Status(common)
    | Command::Rollback(common)
    | Command::Confirm(common)) = command;
    let settings = Settings::load(&common.settings)?;
    let updater = settings.open()?;
    if matches!(command, Command::Status(_)) {
        return status(&updater, out); // also while another applies
    }
    let _one_at_a_time = settings.state()?.lock()?;
    match command {
        Command::Check(a) => {
            let bundle = verify(&settings, &updater, &a.bundle)?;
            writeln!(out, "good      {} may be applied", name(&bundle))?;
        }
        Command::Apply(a) => {
            let bundle = verify(&settings, &updater, &a.bundle.bundle)?;
            if !a.retry_file.as_ref().is_some_and(|f| f.exists()) {
                updater.check_untried(&bundle)?;
            }
            apply(&updater, &bundle, out)?;
        }
        Command::Rollback(_) => {
            let next = updater.rollback()?;
            writeln!(out, "next      slot {next}, at the next boot")?;
        }
        Command::Confirm(_) => {
            updater.confirm(&settings.release()?)?;
            writeln!(out, "floor     {}", updater.status()?.floor)?;
        }
        Command::Status(_) => {} // done above
    }
    Ok(())
}

/// A good bundle that is meant for this box is remembered at once: from then on an older one is refused. One for
/// another architecture or an earlier ring is not, or it would shut out the one that is to come.
fn verify(settings: &Settings, updater: &Updater, folder: &Path) -> Result<Bundle> {
    let (state, trust) = (settings.state()?, settings.trust()?);
    let files = BundleFiles::read(folder)?;
    let seen = record::load_seen(&state)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().context("cannot start the runtime")?;
    let bundle = runtime.block_on(Bundle::verify(&files, &trust, seen, SystemClock.now()))?;
    updater.check_meant(&bundle)?;
    record::save_seen(&state, &bundle.seen)?;
    updater.check(&bundle)?;
    Ok(bundle)
}

fn name(bundle: &Bundle) -> String {
    let m = &bundle.manifest;
    format!("{} for {}, anti-rollback number {}, rings up to {}", m.version, m.architecture, m.number, m.ring)
}

fn apply(updater: &Updater, bundle: &Bundle, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "writing   {}", name(bundle))?;
    let mut tenth = 0;
    let mut tell = |done: u64, all: u64| {
        let now = done.saturating_mul(10).checked_div(all).unwrap_or(10);
        if now > tenth {
            tenth = now;
            // progress that nobody can see is no reason to stop
            let _ = writeln!(out, "  {:3} %", now.saturating_mul(10));
        }
    };
    let entry = updater.apply(bundle, &mut tell)?;
    writeln!(out, "next      {entry}, {}; reboot to start it", entry.tries).context("cannot print")
}

fn status(updater: &Updater, out: &mut dyn Write) -> Result<()> {
    let status = updater.status()?;
    let next = status.next.map_or("none".to_owned(), |s| s.to_string());
    writeln!(out, "running   slot {}\nnext      slot {next}\nfloor     {}", status.running, status.floor)?;
    for slot in &status.slots {
        let what = match (&slot.entry, &slot.record) {
            (None, _) => "empty".to_owned(),
            (Some(e), None) => format!("{}, {}, never confirmed", e.version, e.tries),
            (Some(e), Some(r)) => {
                format!("{}, {}, anti-rollback number {}", e.version, e.tries, r.manifest.number)
            }
        };
        writeln!(out, "slot {}    {what}", slot.slot)?;
    }
    Ok(())
}
