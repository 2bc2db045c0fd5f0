//! One process that a test started: its log in a file, killed when the value is dropped.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use super::wait;

/// A running process.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// The binary under test: `XINGUAN_BIN`, which scripts/test sets, else the one that cargo has built beside
/// this test.
pub fn binary() -> Result<PathBuf> {
    // scripts/test hands it to this process; nothing else is read from the environment
    if let Some(given) = std::env::var_os("XINGUAN_BIN") {
        return Ok(PathBuf::from(given));
    }
    let own = std::env::current_exe()?;
    let beside = own.parent().and_then(Path::parent).context("a test binary has a folder")?.join("xinguan");
    if !beside.is_file() {
        bail!("no {}: run `cargo build -p xinguan --features dev`, or set XINGUAN_BIN", beside.display());
    }
    Ok(beside)
}

/// Runs `xinguan ARGUMENTS…` to its end.
pub fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Result<Output> {
    let binary = binary()?;
    Command::new(&binary)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))
}

/// The same; an error unless it succeeds.
pub fn run_well<S: AsRef<OsStr>>(arguments: &[S]) -> Result<Output> {
    let out = run(arguments)?;
    if !out.status.success() {
        let words: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect();
        bail!("xinguan {}: {}\n{}", words.join(" "), out.status, text(&out));
    }
    Ok(out)
}

/// Both outputs of a process, for messages.
pub fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

impl Process {
    /// Starts `xinguan ARGUMENTS…`; its output is added to the log file.
    pub fn start<S: AsRef<OsStr>>(name: &str, arguments: &[S], log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        let other: File = file.try_clone()?;
        let child = Command::new(binary()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(other)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error once it has ended by itself.
    pub fn alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself: {status}\n{}", self.name, self.last_lines()),
        }
    }

    /// SIGTERM, then waits: it drains. How it ended.
    pub fn stop(mut self) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.ended(Duration::from_secs(30))
    }

    /// SIGKILL: like a power cut for the process.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        wait::until(&what, limit, || self.child.try_wait()?.context("it still runs"))
    }

    fn last_lines(&self) -> String {
        let all = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = all.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // ended already: both say so, and that is well
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
