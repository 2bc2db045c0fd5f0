//! Logs: `tracing` as JSON or text, levels per target, nothing that names a company.
//!
//! **Redaction rule.** No field and no message may carry a plain unified social credit code, key
//! material, a passphrase or report data. Types help (`Uscc`'s `Debug` hides it; use the subject's tag);
//! text that came from a peer is clipped and never logged above `debug`. Tests run everything with a
//! captured log and ask [`contains_plain_code`].
//!
//! Levels come from the configuration only: an environment variable could turn on `trace` unnoticed.

use crate::config::{LogFormat, Telemetry};
use gw_proto::Uscc;
#[cfg(test)]
use std::io::Write;
use tracing_subscriber::{
    Layer as _, Registry,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Why logging does not start.
#[derive(Debug, thiserror::Error)]
#[error("a logger is installed already; start it once, before anything else")]
pub struct TelemetryError;

/// Starts logging to standard error. Once per process.
pub fn init(config: &Telemetry) -> Result<(), TelemetryError> {
    subscriber(config, std::io::stderr).try_init().map_err(|_| TelemetryError)
}

/// The subscriber that [`init`] installs, writing elsewhere.
pub fn subscriber<W>(config: &Telemetry, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = Targets::new().with_default(config.level).with_targets(config.targets.iter().cloned());
    let layer = match config.format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
        // no colours: the text form is also read from files
        LogFormat::Text => fmt::layer().with_ansi(false).with_writer(writer).boxed(),
    };
    Registry::default().with(layer.with_filter(filter))
}

/// Whether a text contains something that parses as a unified social credit code.
///
/// Every window of 18 characters is tried, except inside long runs of hexadecimal: one window in some
/// thousands of digests would pass the check character by chance.
pub fn contains_plain_code(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|run| !(run.len() >= 32 && run.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))))
        .any(|run| run.as_bytes().windows(18).any(|w| std::str::from_utf8(w).is_ok_and(|w| Uscc::parse(w).is_ok())))
}

/// Writes bytes where a test can read them.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Captured(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(test)]
impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
