//! A table of cases in one running consortium: each is tried, and all that failed are told at the end.

use anyhow::{Result, bail, ensure};
use std::{fmt::Debug, time::Instant};

/// What was tried.
#[derive(Default)]
pub struct Cases {
    tried: usize,
    failed: Vec<String>,
}

impl Cases {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries one. Its failure does not stop the next.
    pub fn case(&mut self, name: &str, run: impl FnOnce() -> Result<()>) {
        let began = Instant::now();
        self.tried += 1;
        match run() {
            Ok(()) => say(&format!("ok    {name} ({} ms)", began.elapsed().as_millis())),
            Err(e) => {
                say(&format!("FAIL  {name}: {e:#}"));
                self.failed.push(format!("{name}: {e:#}"));
            }
        }
    }

    /// An error if any failed, with all of them.
    pub fn end(self) -> Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        bail!("{} of {} cases failed:\n- {}", self.failed.len(), self.tried, self.failed.join("\n- "))
    }
}

/// For whoever runs the test with `--nocapture`.
#[expect(clippy::print_stdout, reason = "a test's own output")]
pub fn say(text: &str) {
    println!("{text}");
}

/// Both are equal, or an error that shows both.
pub fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<()> {
    ensure!(found == expected, "{what}: found {found:?}, expected {expected:?}");
    Ok(())
}
