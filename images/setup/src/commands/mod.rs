//! One file per command: arguments, then what the library does.

pub(crate) mod export;
pub(crate) mod network;
pub(crate) mod provision;
pub(crate) mod reset;
pub(crate) mod wizard;

use anyhow::{Context as _, Result};
use gw_sm::{KeyPair, cert::key_from_pem};
use image_setup::{
    folder::{DirFolder, Folder as _},
    judge::Judge,
    places::{Places, read_text},
};
use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// One line for the console.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// What the setup units' own folder is for: requests to PID 1's path units, and scratch.
pub(crate) fn ours(places: &Places) -> DirFolder {
    DirFolder::new(places.at("/run/xinguan-setup"))
}

/// Asks for a restart: `setup-restart.path` waits for this file.
pub(crate) fn restart(places: &Places) -> Result<()> {
    Ok(ours(places).write("restart", b"")?)
}

/// A private key out of its file.
pub(crate) fn load_key(path: &Path) -> Result<KeyPair> {
    let text = Zeroizing::new(read_text(path, 16 << 10)?);
    key_from_pem(&text).with_context(|| format!("{} is no key", path.display()))
}

pub(crate) fn judge(places: &Places, program: Option<&PathBuf>) -> Judge {
    let program = program.cloned().unwrap_or_else(|| places.at("/usr/bin/xinguan"));
    Judge { program, scratch: places.at("/run/xinguan-setup/judge") }
}

/// One change at a time; the holder ends within moments.
pub(crate) fn lock(places: &Places) -> Result<File> {
    ours(places).write("lock", b"")?;
    let path = ours(places).place("lock");
    let file = OpenOptions::new().write(true).open(&path)?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
