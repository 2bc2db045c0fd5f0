//! `xinguan update …`: hands over to the updater, which is a program of its own.
//!
//! It runs as root in its own unit and brings in a second crypto library; the gateway has neither (docs/decisions/0027).

use super::Exit;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the image has it.
const INSTALLED: &str = "/usr/lib/xinguan/xinguan-update";

/// What the updater is to do.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct UpdateArgs {
    /// check, apply, status, rollback or confirm, and what belongs to it; `--help` is the updater's own
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Becomes the updater. Returns only if that fails: from then on, exit codes are the updater's.
pub fn run(args: &UpdateArgs) -> Result<Exit> {
    let ours = std::env::current_exe().context("cannot tell where this program lies")?;
    let updater = find(Path::new(INSTALLED), &ours)?;
    let failed = Command::new(&updater).args(&args.args).exec();
    Err(failed).with_context(|| format!("cannot start `{}`", updater.display()))
}

/// The image's, or, where programs are built and tried, the one beside this program.
fn find(installed: &Path, ours: &Path) -> Result<PathBuf> {
    let beside = ours.with_file_name("xinguan-update");
    match [installed, &beside].into_iter().find(|p| p.is_file()) {
        Some(found) => Ok(found.to_owned()),
        None => bail!(
            "the updater is neither at `{}` nor at `{}`; it comes with the image, or by `cargo build -p image-update`",
            installed.display(),
            beside.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_images_updater_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let (installed, ours) = (dir.path().join("lib"), dir.path().join("bin/xinguan"));
        let beside = dir.path().join("bin/xinguan-update");
        fs::create_dir(dir.path().join("bin")).unwrap();
        let text = find(&installed, &ours).unwrap_err().to_string();
        for place in [&installed, &beside] {
            assert!(text.contains(place.to_str().unwrap()), "{text}");
        }
        fs::create_dir(&beside).unwrap();
        assert!(find(&installed, &ours).is_err(), "a folder is no program");
        fs::remove_dir(&beside).unwrap();
        fs::write(&beside, "").unwrap();
        assert_eq!(find(&installed, &ours).unwrap(), beside);
        fs::write(&installed, "").unwrap();
        assert_eq!(find(&installed, &ours).unwrap(), installed);
    }
}
