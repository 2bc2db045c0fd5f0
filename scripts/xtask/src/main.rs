//! Checks of the workspace that are easier in Rust than in shell.
//!
//! `cargo run -p xtask -- arrows` fails when a dependency points the wrong way, a file is too long, a path of
//! a build machine stands somewhere, or something new lies at the top. `readme` checks what the README claims.
//! `deny` is the part of cargo-deny that needs no network: licences, banned crates, sources, by `.deny.toml`.

mod arrows;
mod deny;
mod files;
mod readme;

use anyhow::{Context as _, Result, bail};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const USAGE: &str = "usage: cargo run -p xtask -- arrows | readme | deny";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["arrows"] => arrows::check().and_then(|mut found| {
            found.extend(files::check(&root()?)?);
            Ok(found)
        }),
        ["readme"] => root().and_then(|r| readme::check(&r)),
        ["deny"] => root().and_then(|r| deny::check(&r)),
        _ => Err(anyhow::anyhow!("{USAGE}")),
    };
    match result {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            say(&format!("{}\n{} problem(s)", problems.join("\n"), problems.len()));
            ExitCode::FAILURE
        }
        Err(e) => {
            say(&format!("{e:#}"));
            ExitCode::from(2)
        }
    }
}

fn say(text: &str) {
    // a closed pipe is no reason to fail
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The workspace's folder.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    here.canonicalize().with_context(|| format!("cannot find the workspace at {}", here.display()))
}

/// What `cargo metadata` says.
fn metadata(arguments: &[&str]) -> Result<serde_json::Value> {
    let out = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(root()?)
        .output()
        .context("cannot run cargo")?;
    if !out.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    serde_json::from_slice(&out.stdout).context("cargo metadata did not print JSON")
}
