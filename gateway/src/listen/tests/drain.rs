//! Stopping: what is in flight is finished, what never ends is dropped, nothing is left running.

use super::*;
use crate::config::ListenLimits;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, sync::Notify};

#[derive(Clone, Default)]
struct Gate {
    entered: Arc<Notify>,
    open: Arc<Notify>,
    dropped: Arc<AtomicBool>,
}

struct Mark(Arc<AtomicBool>);

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn gated(gate: &Gate) -> Router {
    let gate = gate.clone();
    Router::new().route(
        "/gated",
        any(move || async move {
            let _mark = Mark(gate.dropped.clone());
            gate.entered.notify_one();
            gate.open.notified().await;
            "finished"
        }),
    )
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight() {
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let pki = Pki::new(Profile::International);
        let gate = Gate::default();
        let server = start(&pki, limits(), gated(&gate)).await;
        let stream = client(&pki, server.address, alpn).await;
        let asked = tokio::spawn(ask(stream, alpn == b"h2"));
        soon(gate.entered.notified()).await;
        server.cancel.cancel();
        // the listener's socket is closed before it waits for the rest
        let refused = async { while TcpStream::connect(server.address).await.is_ok() {} };
        soon(refused).await;
        assert!(!server.task.is_finished());
        gate.open.notify_one();
        assert!(soon(asked).await.unwrap().contains("finished"));
        soon(server.task).await.unwrap();
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let pki = Pki::new(Profile::International);
        let gate = Gate::default();
        let server =
            start(&pki, ListenLimits { drain: Duration::from_millis(60), ..limits() }, gated(&gate)).await;
        let stream = client(&pki, server.address, alpn).await;
        let asked = tokio::spawn(ask(stream, alpn == b"h2"));
        soon(gate.entered.notified()).await;
        server.cancel.cancel();
        soon(server.task).await.unwrap();
        assert!(gate.dropped.load(Ordering::SeqCst), "the handler still runs");
        assert!(!soon(asked).await.unwrap().contains("finished"));
    }
}

#[tokio::test]
async fn idle_connections_and_unfinished_handshakes_do_not_hold_a_stop() {
    let pki = Pki::new(Profile::International);
    let server = start(&pki, limits(), router()).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let _idle = client(&pki, server.address, b"h2").await;
    let _also = client(&pki, server.address, b"http/1.1").await;
    server.stop().await;
}

async fn ask(stream: Stream, h2: bool) -> String {
    if !h2 {
        return ask_h1(stream, "GET /gated HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    }
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let (mut send, driver) =
        hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<bytes::Bytes>>(
            TokioExecutor::new(),
            TokioIo::new(stream),
        )
        .await
        .unwrap();
    let driver = tokio::spawn(driver);
    let request = http::Request::get("https://gw/gated").body(Default::default()).unwrap();
    let text = match send.send_request(request).await {
        Ok(answer) => match http_body_util::BodyExt::collect(answer.into_body()).await {
            Ok(body) => String::from_utf8(body.to_bytes().to_vec()).unwrap(),
            Err(e) => e.to_string(),
        },
        Err(e) => e.to_string(),
    };
    drop(send);
    driver.abort();
    text
}
