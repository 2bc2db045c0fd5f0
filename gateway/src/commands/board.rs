//! `xinguan board …`: what the board has, and the release of its tamper latch.

use super::Exit;
use crate::{board, config};
use anyhow::{Result, ensure};
use board_api::tamper::LatchStore as _;
use clap::{Args, Subcommand};
use gw_proto::{Clock as _, clock::SystemClock};
use std::{io::Write, path::PathBuf};

/// What to do with the board.
#[derive(Debug, Subcommand)]
pub enum BoardCommand {
    /// List its parts, what it lacks, and what to know before trusting it
    Show(ShowArgs),
    /// Open the tamper latch after the box was looked at and enrolled again; the record is kept
    Release(ReleaseArgs),
}

/// Which configuration.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// configuration
    #[arg(long)]
    config: PathBuf,
}

/// Who releases.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// configuration
    #[arg(long)]
    config: PathBuf,
    /// who looked at the box; stands in the kept record
    #[arg(long)]
    operator: String,
}

/// Runs one of them.
pub fn run(command: &BoardCommand, out: &mut dyn Write) -> Result<Exit> {
    let path = match command {
        BoardCommand::Show(a) => &a.config,
        BoardCommand::Release(a) => &a.config,
    };
    let config = match config::load(path) {
        Ok(c) => c,
        Err(e) => {
            writeln!(out, "{e}")?;
            return Ok(Exit::BadConfig);
        }
    };
    match command {
        BoardCommand::Show(_) => show(&config, out),
        BoardCommand::Release(a) => release(&config, &a.operator, out),
    }
}

fn show(config: &config::Config, out: &mut dyn Write) -> Result<Exit> {
    let latched = board::refuse_latched(&config.node.data_dir).err();
    if let Some(latched) = &latched {
        writeln!(out, "LATCHED  {latched}")?;
    }
    let Some(wanted) = &config.board else {
        writeln!(out, "no [board]: no tamper switch, no watchdog, no lights, no sensors")?;
        return Ok(if latched.is_some() { Exit::Tampered } else { Exit::Ok });
    };
    let parts = board::open(wanted)?.parts;
    for line in parts.report() {
        writeln!(out, "{line}")?;
    }
    for warning in parts.warnings() {
        writeln!(out, "note     {warning}")?;
    }
    Ok(if latched.is_some() { Exit::Tampered } else { Exit::Ok })
}

fn release(config: &config::Config, operator: &str, out: &mut dyn Write) -> Result<Exit> {
    let named = (1..=64).contains(&operator.chars().count()) && !operator.chars().any(char::is_control);
    ensure!(named, "--operator: 1 to 64 characters");
    board::latch(&config.node.data_dir).release(operator, SystemClock.now())?;
    writeln!(out, "released; the record is kept beside it. A case that is still open closes the box again")?;
    Ok(Exit::Ok)
}
