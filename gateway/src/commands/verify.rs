//! `xinguan verify ANSWER --trust TRUST`: what an answer proves, offline.
//!
//! Everything is decided in `gw-proof`; no configuration, key or network is needed.

use super::Exit;
use anyhow::{Context as _, Result};
use clap::Args;
use gw_proof::{TrustFile, verify_answer};
use std::{
    io::{Read as _, Write},
    path::{Path, PathBuf},
};

/// The most bytes of either file.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Which answer, believed under what.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// the answer as the gateway gave it
    file: PathBuf,
    /// trust file: genesis document and MAN roots
    #[arg(long)]
    trust: PathBuf,
    /// print JSON
    #[arg(long)]
    json: bool,
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Verifies and prints one screen.
pub fn run(args: &VerifyArgs, out: &mut dyn Write) -> Result<Exit> {
    let trust: TrustFile = serde_json::from_slice(&read(&args.trust)?)
        .with_context(|| format!("{} is not a trust file", args.trust.display()))?;
    let verdict = verify_answer(&read(&args.file)?, &trust);
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &verdict)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", verdict.render())?;
    }
    Ok(if verdict.ok() { Exit::Ok } else { Exit::CheckFailed })
}
