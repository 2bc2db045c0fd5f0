//! Clients that are slow, silent or too many.

use super::*;
use crate::config::ListenLimits;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{num::NonZeroU32, sync::Arc, time::Duration};
use tokio::net::TcpStream;

const SHORT: Duration = Duration::from_millis(60);

#[tokio::test]
async fn a_silent_handshake_is_cut() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let pki = Pki::new(Profile::Sm);
    let server = start(&pki, ListenLimits { handshake_timeout: SHORT, ..limits() }, router()).await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    // the other side closes: read_to_end ends
    assert_eq!(read_to_end(silent).await, "");
    let labels = "listener=\"bank\",reason=\"timeout\"";
    assert_eq!(metric(&metrics.render(), "xinguan_handshakes_failed_total", labels), 1.0);
    server.stop().await;
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let pki = Pki::new(Profile::International);
    let server = start(&pki, ListenLimits { header_timeout: SHORT, ..limits() }, router()).await;
    // half a head
    let answer =
        ask_h1(client(&pki, server.address, b"http/1.1").await, "GET /whoami HTTP/1.1\r\nHost:").await;
    assert!(!answer.contains("200"), "{answer}");
    // no byte at all, in either version: hyper itself would wait for ever
    for alpn in [&b"http/1.1"[..], b"h2"] {
        assert_eq!(read_to_end(client(&pki, server.address, alpn).await).await, "");
    }
    // the HTTP/2 preface and no request
    let mut h2 = client(&pki, server.address, b"h2").await;
    h2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    read_to_end(h2).await;
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answer() {
    let pki = Pki::new(Profile::International);
    let server = start(&pki, ListenLimits { idle_timeout: SHORT, ..limits() }, router()).await;
    let answer =
        ask_h1(client(&pki, server.address, b"http/1.1").await, "GET /whoami HTTP/1.1\r\nHost: gw\r\n\r\n")
            .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    server.stop().await;
}

/// A client that asks and never reads its answer does not hold the connection for ever.
#[tokio::test]
async fn an_exchange_has_an_end() {
    let pki = Pki::new(Profile::International);
    let endless = Router::new().route(
        "/endless",
        any(async || {
            let chunk = bytes::Bytes::from(vec![0u8; 64 * 1024]);
            let chunks = futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
            axum::body::Body::from_stream(chunks)
        }),
    );
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    for (alpn, request) in [
        (&b"http/1.1"[..], &b"GET /endless HTTP/1.1\r\nHost: gw\r\n\r\n"[..]),
        // preface, SETTINGS, HEADERS of GET https /endless on stream 1 (RFC 7541: static 2, 7; literal 4, 1)
        (b"h2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x10\x01\x05\0\0\0\x01\x82\x87\x04\x08/endless\x01\x02gw"),
    ] {
        let server = start(&pki, ListenLimits { exchange_timeout: SHORT, ..limits() }, endless.clone()).await;
        let ended = || {
            let labels = "listener=\"bank\",how=\"exchange-timeout\"";
            metric(&metrics.render(), "xinguan_connections_ended_total", labels)
        };
        let before = ended();
        let mut stream = client(&pki, server.address, alpn).await;
        stream.write_all(request).await.unwrap();
        let given_up = async {
            let mut beat = tokio::time::interval(Duration::from_millis(5));
            while ended() == before {
                beat.tick().await;
            }
        };
        soon(given_up).await;
        drop(stream);
        server.stop().await;
    }
}

#[tokio::test]
async fn one_address_gets_so_many_connections() {
    let pki = Pki::new(Profile::International);
    let server = start(&pki, ListenLimits { per_address: 2, ..limits() }, router()).await;
    let first = client(&pki, server.address, b"h2").await;
    let _second = client(&pki, server.address, b"h2").await;
    let third = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(read_to_end(third).await, "", "the third is closed before its handshake");
    drop(first);
    // its place is given back as soon as the server has seen its end
    let again = async {
        loop {
            let config = client_config(pki.profile, &pki.client("x").identity(), &pki.trust(), &[b"h2"]);
            if connect(server.address, config).await.is_ok() {
                break;
            }
        }
    };
    soon(again).await;
    server.stop().await;
}

#[tokio::test]
async fn one_address_opens_them_only_so_fast() {
    let pki = Pki::new(Profile::International);
    let clock = clock();
    let one = NonZeroU32::MIN;
    let tight = ListenLimits { new_per_second: one, new_burst: one, ..limits() };
    let server = start_as(&pki.node("gw"), &pki.trust(), pki.profile, tight, router(), clock.clone()).await;
    let _first = client(&pki, server.address, b"h2").await;
    let second = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(read_to_end(second).await, "");
    clock.advance(Duration::from_secs(1));
    let _third = client(&pki, server.address, b"h2").await;
    server.stop().await;
}

#[tokio::test]
async fn heads_are_bounded() {
    let pki = Pki::new(Profile::International);
    let server = start(&pki, limits(), router()).await;
    let many: String = (0..100).map(|i| format!("x-{i}: 1\r\n")).collect();
    let large = format!("x: {}\r\n", "a".repeat(20_000));
    for headers in [many, large] {
        let request = format!("GET /whoami HTTP/1.1\r\nHost: gw\r\n{headers}\r\n");
        let answer = ask_h1(client(&pki, server.address, b"http/1.1").await, &request).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    server.stop().await;
}

/// The address gate alone, under its own clock.
mod gate {
    use super::super::super::admission::{Admission, Refused};
    use super::*;
    use std::net::IpAddr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let gate = Admission::new(ListenLimits { max_connections: 3, per_address: 2, ..limits() }, clock());
        let a = gate.admit(ip("10.0.0.1")).unwrap();
        let _b = gate.admit(ip("10.0.0.1")).unwrap();
        assert_eq!(gate.admit(ip("10.0.0.1")).err(), Some(Refused::PerAddress));
        let _c = gate.admit(ip("10.0.0.2")).unwrap();
        assert_eq!(gate.admit(ip("10.0.0.3")).err(), Some(Refused::Total));
        drop(a);
        assert!(gate.admit(ip("10.0.0.1")).is_ok());
    }

    #[test]
    fn a_64_is_one_address_and_a_mapped_one_is_ipv4() {
        let gate = Admission::new(ListenLimits { per_address: 1, ..limits() }, clock());
        let _a = gate.admit(ip("2001:db8:1:2::1")).unwrap();
        assert_eq!(gate.admit(ip("2001:db8:1:2:ffff::9")).err(), Some(Refused::PerAddress));
        let _b = gate.admit(ip("2001:db8:1:3::1")).unwrap();
        let _c = gate.admit(ip("10.0.0.1")).unwrap();
        assert_eq!(gate.admit(ip("::ffff:10.0.0.1")).err(), Some(Refused::PerAddress));
    }

    #[test]
    fn unfinished_handshakes_have_their_own_bound() {
        let gate = Admission::new(ListenLimits { max_handshakes: 1, ..limits() }, clock());
        let mut a = gate.admit(ip("10.0.0.1")).unwrap();
        assert_eq!(gate.admit(ip("10.0.0.2")).err(), Some(Refused::Handshakes));
        a.established();
        assert!(gate.admit(ip("10.0.0.2")).is_ok());
    }

    /// Memory stays bounded under a flood from ever new addresses, and recovers by itself.
    #[test]
    fn the_table_is_bounded() {
        let clock = clock();
        let one = NonZeroU32::MIN;
        let gate = Admission::new(
            ListenLimits { new_per_second: one, new_burst: one, ..limits() },
            Arc::clone(&clock) as Arc<dyn gw_proto::Clock>,
        );
        let stranger = |i: u32| IpAddr::from(i.to_be_bytes());
        for i in 0..16_384 {
            assert!(gate.admit(stranger(i)).is_ok(), "{i}");
        }
        assert_eq!(gate.admit(stranger(99_999)).err(), Some(Refused::TableFull));
        clock.advance(Duration::from_secs(3));
        assert!(gate.admit(stranger(99_999)).is_ok());
    }
}
