//! Readiness as a file, for what starts and restarts the box and has no client certificate.
//!
//! `xinguan run --ready-file FILE`: one JSON object, replaced every second, removed at the end. A reader takes its age into
//! account: a gateway that hangs writes no more.

use crate::{
    app::App,
    readiness::{self, Readiness},
};
use serde::Serialize;
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often it is replaced. A reader calls it old after some times this.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Content<'a> {
    #[serde(flatten)]
    readiness: Readiness,
    /// where it listens
    addresses: &'a [SocketAddr],
}

/// Writes until stopped.
pub(crate) async fn run(app: Arc<App>, path: PathBuf, addresses: Vec<SocketAddr>, stop: CancellationToken) {
    let mut failing = false;
    loop {
        let content = Content { readiness: readiness::check(&app), addresses: &addresses };
        match replace(&path, &content).await {
            Ok(()) => failing = false,
            Err(e) if !failing => {
                failing = true;
                tracing::error!(error = %e, path = %path.display(), "readiness cannot be written");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    let _ = tokio::fs::remove_file(&path).await; // its age tells as well
}

/// Whole or not at all; not durable: it means nothing after a restart.
async fn replace(path: &Path, content: &Content<'_>) -> io::Result<()> {
    let new = path.with_extension("new");
    tokio::fs::write(&new, serde_json::to_vec(content)?).await?;
    tokio::fs::rename(&new, path).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{listen::testkit::soon, testkit::Consortium};
    use serde_json::Value;
    use std::fs;

    fn read(path: &Path) -> Option<Value> {
        serde_json::from_slice(&fs::read(path).ok()?).unwrap()
    }

    /// Looks until it holds.
    async fn until(path: &Path, holds: impl Fn(Option<Value>) -> bool) {
        let mut often = tokio::time::interval(Duration::from_millis(20));
        soon(async {
            while !holds(read(path)) {
                often.tick().await;
            }
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_file_says_whether_it_can_serve_and_goes_with_the_gateway() {
        let mut c = Consortium::new();
        let path = c.path("ready.json");
        let mut gateway = c.build("bank-suzhou-1", "").await;
        gateway.keep_ready_file(path.clone());
        let stop = gateway.stop_token();
        let serving = tokio::spawn(gateway.serve());
        // no ledger yet
        until(&path, |seen| {
            seen.is_some_and(|s| {
                s["ready"] == false && s["reasons"][0].as_str().unwrap().starts_with("ledger")
            })
        })
        .await;
        c.start_ledger();
        until(&path, |seen| seen.is_some_and(|s| s["ready"] == true)).await;
        let listens = read(&path).unwrap()["addresses"].as_array().unwrap().len();
        assert!(listens >= 2, "bank and MAN at least, not {listens}");
        stop.cancel();
        serving.await.unwrap();
        assert_eq!(read(&path), None);
    }
}
