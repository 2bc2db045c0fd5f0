//! Dialling real listeners: pooling, refusals, repetition, bounds, channel binding under load.

use super::*;
use crate::{
    config::ListenLimits,
    listen::{ConnInfo, collect, testkit::*},
};
use axum::{Extension, Router, body::Body, routing::post};
use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

const LABEL: &[u8] = gw_proto::message::EXPORTER_LABEL;

struct Setup {
    pki: Pki,
    allowed: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<(NodeId, Digest)>>>,
    tls: ClientTls,
    client: Client,
}

fn tls(pki: &Pki) -> rustls::ClientConfig {
    client_tls(pki.profile, &pki.node("asker").tls, &pki.trust(), clock()).unwrap()
}

fn setup(profile: Profile, options: DialOptions) -> Setup {
    let pki = Pki::new(profile);
    let tls = Arc::new(ArcSwap::from_pointee(tls(&pki)));
    let allowed = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (a, b) = (allowed.clone(), asked.clone());
    let closure: Allowed = Arc::new(move |node, spki| {
        b.lock().unwrap().push((node.clone(), *spki));
        a.load(Ordering::SeqCst)
    });
    let client = Client::new(tls.clone(), closure, options);
    Setup { pki, allowed, asked, tls, client }
}

fn options() -> DialOptions {
    DialOptions { connect_timeout: PATIENCE, handshake_timeout: PATIENCE, ..DialOptions::default() }
}

fn peer(address: SocketAddr) -> Peer {
    Peer { node: NodeId::parse("gw").unwrap(), endpoint: address.to_string() }
}

fn ask(body: &'static str, repeat: Repeat) -> Post<'static> {
    Post { path: "/", body: Bytes::from(body), headers: HeaderMap::new(), repeat, timeout: PATIENCE }
}

/// Answers with the connection's exporter value for the body as context.
async fn export(Extension(conn): Extension<ConnInfo>, body: Body) -> String {
    let context = collect(body).await.unwrap();
    hex::encode(conn.exporter.export(LABEL, &context).unwrap())
}

fn router() -> Router {
    Router::new().route("/", post(export))
}

#[tokio::test]
async fn one_connection_serves_many_and_knows_its_peer() {
    for profile in [Profile::Sm, Profile::International] {
        let s = setup(profile, options());
        let node = s.pki.node("gw");
        let server = start_as(&node, &s.pki.trust(), profile, limits(), router(), clock()).await;
        let mut values = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let a = s.client.post_json(&peer(server.address), ask("report", Repeat::Never)).await.unwrap();
            assert_eq!(a.status, StatusCode::OK);
            assert_eq!(a.peer_spki, node.binding.spki);
            let ours = a.exporter.export(LABEL, b"report").unwrap();
            assert_eq!(a.body, hex::encode(ours));
            values.insert(ours);
        }
        assert_eq!(values.len(), 1, "three requests, one connection");
        let asked = s.asked.lock().unwrap().clone();
        assert!(asked.len() >= 3, "asked per request, not per connection");
        assert!(asked.iter().all(|(n, k)| n.as_str() == "gw" && *k == node.binding.spki));
        s.client.stop().await;
        server.stop().await;
    }
}

/// Exports on both ends while data flows both ways: nothing is torn, nothing deadlocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exporters_hold_under_load() {
    async fn busy(Extension(conn): Extension<ConnInfo>, body: Body) -> Vec<u8> {
        let body = collect(body).await.unwrap();
        let mut out = Vec::new();
        for _ in 0..8 {
            out = conn.exporter.export(LABEL, &body[..8]).unwrap().to_vec();
            tokio::task::yield_now().await;
        }
        out.extend_from_slice(&body);
        out
    }
    let s = setup(Profile::Sm, options());
    let server = start(&s.pki, limits(), Router::new().route("/", post(busy))).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..64u64 {
        let (client, peer) = (s.client.clone(), peer(server.address));
        tasks.spawn(async move {
            let body: Vec<u8> =
                i.to_be_bytes().into_iter().chain(std::iter::repeat_n(b'x', 50_000)).collect();
            let post = Post { body: body.clone().into(), ..ask("", Repeat::Never) };
            let answer = client.post_json(&peer, post).await.unwrap();
            let (theirs, echoed) = answer.body.split_at(32);
            assert_eq!(echoed, body);
            let ours: Vec<_> =
                (0..8).map(|_| answer.exporter.export(LABEL, &i.to_be_bytes()).unwrap()).collect();
            assert!(ours.iter().all(|o| o == theirs));
        });
    }
    while let Some(done) = soon(tasks.join_next()).await {
        done.unwrap();
    }
    s.client.stop().await;
    server.stop().await;
}

/// The handle works after its connection is gone: a reply is checked when it is complete.
#[tokio::test]
async fn an_exporter_outlives_its_connection() {
    let s = setup(Profile::International, options());
    let server = start(&s.pki, limits(), router()).await;
    let answer = s.client.post_json(&peer(server.address), ask("late", Repeat::Never)).await.unwrap();
    s.client.stop().await;
    server.stop().await;
    assert_eq!(answer.body, hex::encode(answer.exporter.export(LABEL, b"late").unwrap()));
}

#[tokio::test]
async fn an_unbound_key_is_refused_and_a_lost_binding_ends_the_use() {
    let s = setup(Profile::International, options());
    let server = start(&s.pki, limits(), router()).await;
    s.client.post_json(&peer(server.address), ask("x", Repeat::Never)).await.unwrap();
    s.allowed.store(false, Ordering::SeqCst);
    let refused = s.client.post_json(&peer(server.address), ask("x", Repeat::Safe)).await;
    assert!(matches!(&refused, Err(DialError::NotAllowed { .. })), "{refused:?}");
    assert!(refused.unwrap_err().surely_not_sent());
    let probed = s.client.probe(&peer(server.address)).await.unwrap();
    assert!(!probed.allowed);
    server.stop().await;
}

#[tokio::test]
async fn another_node_under_the_same_root_is_not_the_peer() {
    let s = setup(Profile::International, options());
    let other = s.pki.node("other");
    let server = start_as(&other, &s.pki.trust(), s.pki.profile, limits(), router(), clock()).await;
    let refused = s.client.post_json(&peer(server.address), ask("x", Repeat::Never)).await;
    assert!(matches!(&refused, Err(DialError::Handshake { reason: "wrong-name", .. })), "{refused:?}");
    server.stop().await;
}

/// In TLS 1.3 the server's refusal of our certificate comes late; it is told as what it is.
#[tokio::test]
async fn a_peer_that_refuses_us_is_a_failed_handshake() {
    let s = setup(Profile::International, options());
    let strangers = Pki::new(Profile::International);
    let server =
        start_as(&s.pki.node("gw"), &strangers.trust(), s.pki.profile, limits(), router(), clock()).await;
    for refused in [
        s.client.post_json(&peer(server.address), ask("x", Repeat::Never)).await.map(drop),
        s.client.probe(&peer(server.address)).await.map(drop),
    ] {
        assert!(matches!(&refused, Err(DialError::Handshake { reason: "peer-alert", .. })), "{refused:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn nobody_there_and_no_such_name() {
    let s = setup(Profile::International, options());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let e = s.client.post_json(&peer(free), ask("x", Repeat::Safe)).await.unwrap_err();
    assert!(matches!(e, DialError::Connect { .. }) && e.may_retry(), "{e:?}");
    let nowhere = Peer { endpoint: "no-port".to_owned(), ..peer(free) };
    let e = s.client.post_json(&nowhere, ask("x", Repeat::Safe)).await.unwrap_err();
    assert!(matches!(e, DialError::Resolve { .. }), "{e:?}");
}

/// A new own certificate retires the pooled connection; the next request uses a new one.
#[tokio::test]
async fn a_new_configuration_makes_a_new_connection() {
    let s = setup(Profile::International, options());
    let server = start(&s.pki, limits(), router()).await;
    let first = s.client.post_json(&peer(server.address), ask("x", Repeat::Never)).await.unwrap();
    s.tls.store(Arc::new(tls(&s.pki)));
    let second = s.client.post_json(&peer(server.address), ask("x", Repeat::Never)).await.unwrap();
    assert_ne!(first.body, second.body, "another connection, another exporter");
    s.client.stop().await;
    server.stop().await;
}

/// The peer restarts between two requests: the second finds a dead connection and must not fail.
#[tokio::test]
async fn a_dead_pooled_connection_is_replaced() {
    let s = setup(Profile::International, options());
    let node = s.pki.node("gw");
    for _ in 0..2 {
        let server = start_as(&node, &s.pki.trust(), s.pki.profile, limits(), router(), clock()).await;
        // same node, another port each time: the endpoint on the ledger moved
        s.client.post_json(&peer(server.address), ask("x", Repeat::Safe)).await.unwrap();
        server.stop().await;
    }
}

/// The first request breaks off in the middle: repeated once if that is safe, else told.
#[tokio::test]
async fn a_broken_exchange_is_repeated_only_when_safe() {
    for (repeat, fine) in [(Repeat::Safe, true), (Repeat::Never, false)] {
        let s = setup(Profile::International, options());
        let (calls, entered) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (c, e) = (calls.clone(), entered.clone());
        let handler = move || async move {
            // call 0 makes the pooled connection; call 1 hangs on it until it is cut
            if c.fetch_add(1, Ordering::SeqCst) == 1 {
                e.notify_one();
                std::future::pending::<()>().await;
            }
            "answered"
        };
        let cut = ListenLimits { exchange_timeout: Duration::from_millis(60), ..limits() };
        let server = start(&s.pki, cut, Router::new().route("/", post(handler))).await;
        s.client.post_json(&peer(server.address), ask("x", repeat)).await.unwrap();
        let second = soon(s.client.post_json(&peer(server.address), ask("x", repeat))).await;
        soon(entered.notified()).await;
        assert_eq!(second.is_ok(), fine, "{second:?}");
        assert_eq!(calls.load(Ordering::SeqCst), if fine { 3 } else { 2 });
        if let Err(e) = second {
            assert!(matches!(e, DialError::Broken { .. }) && !e.surely_not_sent(), "{e:?}");
        }
        s.client.stop().await;
        server.stop().await;
    }
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let s = setup(Profile::International, DialOptions { answer_bytes: 1000, ..options() });
    let routes = Router::new()
        .route("/", post(async || vec![b'x'; 1000]))
        .route("/large", post(async || vec![b'x'; 1001]))
        .route("/slow", post(async || std::future::pending::<()>().await));
    let server = start(&s.pki, limits(), routes).await;
    let p = peer(server.address);
    assert_eq!(s.client.post_json(&p, ask("", Repeat::Never)).await.unwrap().body.len(), 1000);
    let large = s.client.post_json(&p, Post { path: "/large", ..ask("", Repeat::Never) }).await;
    assert!(matches!(large, Err(DialError::TooLarge { max: 1000, .. })), "{large:?}");
    let brief = Duration::from_millis(60);
    let slow = s.client.post_json(&p, Post { path: "/slow", timeout: brief, ..ask("", Repeat::Safe) }).await;
    assert!(matches!(slow, Err(DialError::Timeout { .. })), "{slow:?}");
    // the connection is still good: only the stream was given up
    s.client.post_json(&p, ask("", Repeat::Never)).await.unwrap();
    s.client.stop().await;
    let stopped = s.client.post_json(&p, ask("", Repeat::Safe)).await;
    assert!(matches!(stopped, Err(DialError::Stopping { .. })), "{stopped:?}");
    server.stop().await;
}

/// A burst to a new peer makes one connection, not one each.
#[tokio::test]
async fn a_burst_shares_one_handshake() {
    let s = setup(Profile::International, options());
    let server = start(&s.pki, limits(), router()).await;
    let p = peer(server.address);
    let burst = (0..32).map(|_| s.client.post_json(&p, ask("same", Repeat::Never)));
    let answers = soon(futures_util::future::join_all(burst)).await;
    let values: std::collections::BTreeSet<_> = answers.into_iter().map(|a| a.unwrap().body).collect();
    assert_eq!(values.len(), 1);
    s.client.stop().await;
    server.stop().await;
}
