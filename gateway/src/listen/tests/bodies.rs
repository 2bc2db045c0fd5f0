//! Bodies that are too large, too slow or broken off: 413, 408, and never a hanging handler.

use super::super::{BodyError, collect};
use super::*;
use crate::config::ListenLimits;
use axum::{body::Body, response::IntoResponse};
use http::StatusCode;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(60);

/// As our own handlers read.
pub(super) async fn read(body: Body) -> axum::response::Response {
    match collect(body).await {
        Ok(all) => format!("{} bytes", all.len()).into_response(),
        Err(e) => (e.status(), e.to_string()).into_response(),
    }
}

/// As a handler reads that knows nothing of us.
pub(super) async fn extract(all: bytes::Bytes) -> String {
    format!("{} bytes", all.len())
}

fn post(path: &str, rest: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n{rest}")
}

#[tokio::test]
async fn the_bound_on_bytes_is_exact() {
    let pki = Pki::new(Profile::International);
    let server = start(&pki, ListenLimits { body_bytes: 1000, ..limits() }, router()).await;
    let announced = |n: usize| format!("Content-Length: {n}\r\n\r\n{}", "a".repeat(n));
    let chunked =
        |n: usize| format!("Transfer-Encoding: chunked\r\n\r\n{n:x}\r\n{}\r\n0\r\n\r\n", "a".repeat(n));
    for path in ["/read", "/extract"] {
        for framed in [&announced as &dyn Fn(usize) -> String, &chunked] {
            let ok =
                ask_h1(client(&pki, server.address, b"http/1.1").await, &post(path, &framed(1000))).await;
            assert!(ok.starts_with("HTTP/1.1 200") && ok.contains("1000 bytes"), "{path}: {ok}");
            let no =
                ask_h1(client(&pki, server.address, b"http/1.1").await, &post(path, &framed(1001))).await;
            assert!(no.starts_with("HTTP/1.1 413"), "{path}: {no}");
        }
        // refused on its announcement: the bytes never come
        let no = ask_h1(
            client(&pki, server.address, b"http/1.1").await,
            &post(path, "Content-Length: 99999999\r\n\r\n"),
        )
        .await;
        assert!(no.starts_with("HTTP/1.1 413"), "{path}: {no}");
    }
    server.stop().await;
}

#[tokio::test]
async fn silence_in_a_body_is_a_timeout() {
    let pki = Pki::new(Profile::International);
    let server = start(&pki, ListenLimits { body_chunk_timeout: SHORT, ..limits() }, router()).await;
    for path in ["/read", "/extract"] {
        let answer = ask_h1(
            client(&pki, server.address, b"http/1.1").await,
            &post(path, "Content-Length: 10\r\n\r\nabc"),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
        // the listener's own answer is a problem document; a handler's own 408 is left alone
        assert_eq!(answer.contains("application/problem+json"), path == "/extract", "{answer}");
    }
    server.stop().await;
}

/// One byte at a time is never silent, and still ends.
#[tokio::test]
async fn a_trickle_is_a_timeout() {
    let pki = Pki::new(Profile::International);
    let server = start(&pki, ListenLimits { body_timeout: SHORT, ..limits() }, router()).await;
    let stream = client(&pki, server.address, b"http/1.1").await;
    let (read, mut write) = tokio::io::split(stream);
    write.write_all(post("/read", "Content-Length: 60000\r\n\r\n").as_bytes()).await.unwrap();
    let trickle = tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(5));
        for _ in 0..60_000 {
            beat.tick().await;
            if write.write_all(b"a").await.is_err() || write.flush().await.is_err() {
                break;
            }
        }
    });
    let answer = read_to_end(read).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    trickle.abort();
    server.stop().await;
}

#[tokio::test]
async fn http2_bodies_are_bounded_alike() {
    use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let pki = Pki::new(Profile::Sm);
    let tight = ListenLimits { body_chunk_timeout: SHORT, body_bytes: 1000, ..limits() };
    let server = start(&pki, tight, router()).await;
    let io = TokioIo::new(client(&pki, server.address, b"h2").await);
    let (mut send, driver) = hyper::client::conn::http2::handshake::<
        _,
        _,
        BoxBody<bytes::Bytes, std::io::Error>,
    >(TokioExecutor::new(), io)
    .await
    .unwrap();
    let driver = tokio::spawn(driver);
    let mut ask = async |path: &str, bytes: usize, then_silence: bool| {
        let data = Ok(http_body::Frame::data(bytes::Bytes::from(vec![b'a'; bytes])));
        let first = futures_util::stream::once(std::future::ready(data));
        let body = if then_silence {
            BodyExt::boxed(StreamBody::new(futures_util::StreamExt::chain(
                first,
                futures_util::stream::pending(),
            )))
        } else {
            BodyExt::boxed(StreamBody::new(first))
        };
        let request = http::Request::post(format!("https://gw{path}")).body(body).unwrap();
        soon(send.send_request(request)).await.unwrap().status()
    };
    for path in ["/read", "/extract"] {
        assert_eq!(ask(path, 1000, false).await, StatusCode::OK);
        assert_eq!(ask(path, 1001, false).await, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(ask(path, 10, true).await, StatusCode::REQUEST_TIMEOUT);
    }
    driver.abort();
    server.stop().await;
}

/// A refusal before the body is read reaches a client that still sends, and the connection lives on.
#[tokio::test]
async fn an_unread_body_does_not_spoil_the_answer() {
    let pki = Pki::new(Profile::International);
    let server = start(&pki, limits(), router()).await;
    let mut stream = client(&pki, server.address, b"http/1.1").await;
    let head = "POST /whoami HTTP/1.1\r\nHost: gw\r\nContent-Length: 30000\r\n\r\n";
    let last = "GET /whoami HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{head}{}", "a".repeat(10_000)).as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut first = [0u8; 12];
    soon(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200", "the answer does not wait for the rest");
    stream.write_all(format!("{}{last}", "a".repeat(20_000)).as_bytes()).await.unwrap();
    let rest = read_to_end(stream).await;
    assert_eq!(rest.matches("HTTP/1.1 200").count(), 1, "{rest}");
    server.stop().await;
}

#[test]
fn the_error_is_found_below_axums() {
    let inner = axum::Error::new(axum::Error::new(BodyError::TooSlow));
    assert_eq!(BodyError::find(&inner), Some(BodyError::TooSlow));
    assert_eq!(BodyError::find(&axum::Error::new(std::io::Error::other("x"))), None);
}
