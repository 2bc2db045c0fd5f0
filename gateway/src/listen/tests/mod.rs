//! Real sockets on 127.0.0.1, both profiles where it matters.

mod abuse;
mod bodies;
mod channel;
mod drain;
mod handshake;
mod made;
mod outside;

use super::{ConnInfo, testkit::*};
use axum::{Extension, Router, routing::any};
use gw_sm::tls::Profile;
use tokio::io::AsyncWriteExt as _;

const PROFILES: [Profile; 2] = [Profile::Sm, Profile::International];

/// Says who asks, over what.
async fn whoami(Extension(conn): Extension<ConnInfo>, version: http::Version) -> String {
    format!(
        "{} {} {version:?} {:?} {}",
        conn.listener.as_str(),
        conn.cert.common_name.as_deref().unwrap_or("-"),
        conn.profile,
        conn.cert.spki
    )
}

fn router() -> Router {
    Router::new()
        .route("/whoami", any(whoami))
        .route("/read", any(bodies::read))
        .route("/extract", any(bodies::extract))
}

/// One HTTP/1.1 exchange, connection closed after it.
async fn ask_h1(mut stream: Stream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_end(stream).await
}

fn metric(text: &str, name: &str, labels: &str) -> f64 {
    let start = format!("{name}{{{labels}}} ");
    text.lines().find_map(|l| l.strip_prefix(&start)).map_or(0.0, |v| v.parse().unwrap())
}
