//! Who gets through the handshake, and what the others are counted as.

use super::*;
use hyper_util::rt::{TokioExecutor, TokioIo};
use metrics_exporter_prometheus::PrometheusBuilder;
use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};
use std::sync::Arc;
use tokio::net::TcpStream;

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }
    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn both_versions_in_both_profiles_see_the_client() {
    for profile in PROFILES {
        let pki = Pki::new(profile);
        let server = start(&pki, limits(), router()).await;
        let me = pki.client("credit-system");
        let spki = gw_sm::cert::parse_cert(&me.der).unwrap().spki;
        let config = |alpn: &[u8]| client_config(profile, &me.identity(), &pki.trust(), &[alpn]);

        let h1 = soon(connect(server.address, config(b"http/1.1"))).await.unwrap();
        let answer = ask_h1(h1, "GET /whoami HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("bank credit-system HTTP/1.1 {profile:?} {spki}")), "{answer}");

        let h2 = soon(connect(server.address, config(b"h2"))).await.unwrap();
        let (mut send, driver) = hyper::client::conn::http2::handshake::<
            _,
            _,
            http_body_util::Empty<bytes::Bytes>,
        >(TokioExecutor::new(), TokioIo::new(h2))
        .await
        .unwrap();
        let driver = tokio::spawn(driver);
        let request =
            http::Request::get("https://gw.xinguan.internal/whoami").body(Default::default()).unwrap();
        let answer = soon(send.send_request(request)).await.unwrap();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, format!("bank credit-system HTTP/2.0 {profile:?} {spki}"));
        drop(send);
        soon(driver).await.unwrap().unwrap();
        server.stop().await;
    }
}

/// Each refusal is told apart in the metrics, with a word of ours, not of the attacker's.
#[tokio::test]
async fn strangers_are_refused_and_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    // all of this test runs on this thread
    let _here = metrics::set_default_local_recorder(&recorder);
    for profile in PROFILES {
        let pki = Pki::new(profile);
        let foreign = Pki::new(profile);
        let revoked = pki.client("revoked");
        let mut trust = pki.trust();
        trust.crls.push(pki.crl(&revoked).into());
        let node = pki.node("gw");
        let server = start_as(&node, &trust, profile, limits(), router(), clock()).await;
        let expired = pki.issue(|s| s.not_after = gw_proto::UnixMillis(NOW.0 - 1000));
        let early = pki.issue(|s| s.not_before = gw_proto::UnixMillis(NOW.0 + 60_000));
        let server_only = pki.issue(|s| s.kind = gw_sm::cert::CertKind::EvidenceSigner);
        let cases = [
            ("unknown-issuer", foreign.client("client").identity()),
            ("expired", expired.identity()),
            ("not-yet-valid", early.identity()),
            ("revoked", revoked.identity()),
            ("wrong-usage", server_only.identity()),
        ];
        let ask = "GET /whoami HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n";
        let count = |reason: &str| {
            let labels = format!("listener=\"bank\",reason=\"{reason}\"");
            metric(&metrics.render(), "xinguan_handshakes_failed_total", &labels)
        };
        for (reason, identity) in cases {
            let before = count(reason);
            let config = client_config(profile, &identity, &pki.trust(), &[b"http/1.1"]);
            // TLS 1.3: the client is done before the server has judged its certificate
            if let Ok(stream) = soon(connect(server.address, config)).await {
                assert_eq!(ask_h1(stream, ask).await, "", "{reason}");
            }
            assert_eq!(count(reason) - before, 1.0, "{reason}: {}", metrics.render());
        }

        let before = count("no-certificate");
        let mut config = client_config(profile, &pki.client("x").identity(), &pki.trust(), &[b"http/1.1"]);
        config.client_auth_cert_resolver = Arc::new(NoCertificate);
        if let Ok(stream) = soon(connect(server.address, config)).await {
            assert_eq!(ask_h1(stream, ask).await, "");
        }
        assert_eq!(count("no-certificate") - before, 1.0);

        let before = count("not-tls");
        let mut plain = TcpStream::connect(server.address).await.unwrap();
        plain.write_all(ask.as_bytes()).await.unwrap();
        read_to_end(plain).await;
        assert_eq!(count("not-tls") - before, 1.0);

        // and one who belongs gets in
        assert!(ask_h1(client(&pki, server.address, b"http/1.1").await, ask).await.contains("bank client"));
        server.stop().await;
    }
}

#[tokio::test]
async fn profiles_do_not_mix() {
    let (sm, international) = (Pki::new(Profile::Sm), Pki::new(Profile::International));
    let server = start(&sm, limits(), router()).await;
    let config = client_config(
        Profile::International,
        &international.client("client").identity(),
        &international.trust(),
        &[b"h2"],
    );
    assert!(soon(connect(server.address, config)).await.is_err());
    server.stop().await;
}

/// A new configuration counts from the next handshake on; the listener keeps running.
#[tokio::test]
async fn a_reload_changes_whom_it_trusts() {
    let (pki, next) = (Pki::new(Profile::Sm), Pki::new(Profile::Sm));
    let server = start(&pki, limits(), router()).await;
    let ask = "GET /whoami HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n";
    assert!(ask_h1(client(&pki, server.address, b"http/1.1").await, ask).await.contains("200 OK"));
    let config = super::super::server_tls(Profile::Sm, &next.node("gw").tls, &next.trust(), clock()).unwrap();
    server.tls.store(Arc::new(config));
    assert!(ask_h1(client(&next, server.address, b"http/1.1").await, ask).await.contains("200 OK"));
    let old = client_config(Profile::Sm, &pki.client("client").identity(), &pki.trust(), &[b"http/1.1"]);
    assert!(soon(connect(server.address, old)).await.is_err());
    server.stop().await;
}
