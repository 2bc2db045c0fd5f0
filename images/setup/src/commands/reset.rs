//! `xinguan-setup reset`

use super::{lock, say};
use anyhow::{Context as _, Result};
use image_setup::{
    folder::{DirFolder, Folder as _},
    places::{Places, read_text},
    reset::{begin, check, finish},
};
use std::{fs, path::Path, process::ExitCode};

/// `data-clear.path` waits for it: key slots are overwritten and the box restarts.
const CLEAR: &str = "clear-data-key";

pub(crate) fn run(request: &Path, places: &Places) -> Result<ExitCode> {
    let _lock = lock(places)?;
    let typed = read_text(request, 256);
    fs::remove_file(request).with_context(|| format!("cannot remove {}", request.display()))?;
    check(places, &typed?)?;
    say("factory reset: begun; everything that this box knows is destroyed")?;
    for line in begin(places)? {
        say(&format!("factory reset: {line}"))?;
    }
    let count = finish(places, || {
        // the box may restart at any moment after this
        DirFolder::new(places.at("/run/xinguan")).write(CLEAR, b"")
    })?;
    say(&format!(
        "factory reset: {count} files of the configuration are overwritten; the data's key is next, then a restart"
    ))?;
    Ok(ExitCode::SUCCESS)
}
