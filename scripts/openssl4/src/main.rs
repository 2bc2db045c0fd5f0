//! Builds the `openssl` program of OpenSSL 4.0 out of the crate openssl-src: `openssl4 FOLDER`.
//!
//! The crate's own build stops at the libraries, so this configures its source for the program too.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Left out to build faster; TLS 1.3, SM2, SM3 and SM4 stay.
const WITHOUT: &[&str] = &[
    "no-shared",
    "no-module",
    "no-dso",
    "no-tests",
    "no-docs",
    "no-legacy",
    "no-comp",
    "no-quic",
    "no-camellia",
    "no-idea",
    "no-seed",
    "no-aria",
    "no-bf",
    "no-cast",
    "no-rc2",
    "no-rc4",
    "no-mdc2",
    "no-whirlpool",
    "no-slh-dsa",
    "no-cmp",
    "no-srp",
    "no-ssl3",
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: openssl4 FOLDER")?;
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let (source, program) = (folder.join("source"), folder.join("openssl"));
    if program.exists() {
        println!("{}", program.display());
        return Ok(());
    }
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    eprintln!("building OpenSSL {} into {} (some minutes, once)", openssl_src::version(), folder.display());
    copy(&openssl_src::source_dir(), &source)?;
    let prefix = format!("--prefix={}", folder.join("install").display());
    run(Command::new("perl").args(["./Configure", &prefix]).args(WITHOUT), &source)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    run(Command::new("make").args([&format!("-j{jobs}"), "build_generated"]), &source)?;
    run(Command::new("make").args([&format!("-j{jobs}"), "apps/openssl"]), &source)?;
    fs::copy(source.join("apps/openssl"), &program)?;
    fs::remove_dir_all(&source)?;
    println!("{}", program.display());
    Ok(())
}

/// Runs quietly; what it said comes out when it fails.
fn run(command: &mut Command, folder: &Path) -> Result<(), Box<dyn Error>> {
    let output = command.current_dir(folder).env_remove("MAKEFLAGS").output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let start = text.len().saturating_sub(4000);
    let tail = text.get(start..).unwrap_or(&text);
    Err(format!("{command:?} failed:\n{tail}").into())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
