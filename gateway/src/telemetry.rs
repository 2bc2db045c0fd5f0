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
        .filter(|run| {
            !(run.len() >= 32 && run.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
        })
        .any(|run| {
            run.as_bytes().windows(18).any(|w| std::str::from_utf8(w).is_ok_and(|w| Uscc::parse(w).is_ok()))
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::level_filters::LevelFilter;

    const CODE: &str = "91350100M000100Y43";

    fn logged(format: LogFormat, run: impl FnOnce()) -> String {
        let captured = Captured::default();
        let targets = vec![("quiet".to_owned(), LevelFilter::ERROR)];
        let config = Telemetry { level: LevelFilter::INFO, targets, format };
        tracing::subscriber::with_default(subscriber(&config, captured.clone()), run);
        captured.text()
    }

    #[test]
    fn both_formats_keep_levels_and_hide_codes() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let out = logged(format, || {
                tracing::info!(subject = ?Uscc::parse(CODE).unwrap(), "looked");
                tracing::debug!("below the level");
                tracing::warn!(target: "quiet", "below the target's level");
                tracing::error!(target: "quiet", "loud enough");
            });
            assert!(
                out.contains("looked") && out.contains("Uscc(hidden)") && out.contains("loud enough"),
                "{out}"
            );
            assert!(!out.contains("below"), "{out}");
            assert!(!contains_plain_code(&out), "{out}");
            if format == LogFormat::Json {
                for line in out.lines() {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
                }
            }
        }
    }

    #[test]
    fn a_code_is_found_wherever_it_stands() {
        for text in [
            CODE.to_owned(),
            format!("subject={CODE}"),
            format!("{{\"subject\":\"{CODE}\"}}"),
            format!("subject{CODE}x"),
            format!("信关{CODE}信关"),
            format!("a/{CODE}/b?c={CODE}"),
        ] {
            assert!(contains_plain_code(&text), "{text}");
        }
        // one wrong character, a digest, a nanosecond time, nothing
        for text in ["91350100M000100Y44", &hex::encode([0x91; 32]), "1700000000000000000 ns 2026", ""] {
            assert!(!contains_plain_code(text), "{text}");
        }
    }

    /// Digests fill the logs: none of them may look like a code.
    #[test]
    fn digests_are_no_codes() {
        for i in 0u32..20_000 {
            let text = gw_proto::sm3(&i.to_be_bytes()).to_string();
            assert!(!contains_plain_code(&text), "{text}");
        }
    }
}
