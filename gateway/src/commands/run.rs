//! `xinguan run --config FILE [--ready-file FILE]`: config → build → run → drain.

use super::Exit;
use crate::{assemble, config, telemetry};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// Runs until SIGTERM or SIGINT, then drains.
pub async fn run(path: &Path, ready_file: Option<PathBuf>) -> Exit {
    let config = match config::load(path) {
        Ok(c) => c,
        Err(e) => return say(&e.to_string(), Exit::BadConfig),
    };
    if let Err(e) = telemetry::init(&config.telemetry) {
        return say(&e.to_string(), Exit::Internal);
    }
    for weak in &config.weakened {
        tracing::warn!(setting = %weak, "weaker than the default");
    }
    let mut gateway = match assemble::build(config).await {
        Ok(g) => g,
        Err(e) => {
            tracing::error!(error = %e, "the gateway does not start");
            return say(&e.to_string(), e.exit());
        }
    };
    if let Some(file) = ready_file {
        gateway.keep_ready_file(file);
    }
    let stop = gateway.stop_token();
    tokio::spawn(async move {
        wait_for_signal().await;
        tracing::info!("told to stop: draining");
        stop.cancel();
    });
    gateway.serve().await
}

fn say(text: &str, exit: Exit) -> Exit {
    let _ = writeln!(std::io::stderr(), "xinguan: {text}");
    exit
}

pub(crate) async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // without handlers the system's default action ends the process
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
