//! Channel binding: both ends of one connection export the same bytes, and only they.

use super::*;
use std::collections::BTreeSet;

const LABEL: &[u8] = gw_proto::message::EXPORTER_LABEL;

async fn export(Extension(conn): Extension<ConnInfo>, context: String) -> String {
    hex::encode(conn.exporter.export(LABEL, context.as_bytes()).unwrap())
}

#[tokio::test]
async fn both_ends_export_the_same_through_http() {
    for profile in PROFILES {
        let pki = Pki::new(profile);
        let server = start(&pki, limits(), Router::new().route("/", any(export))).await;
        let mut seen = BTreeSet::new();
        for context in ["one", "two"] {
            let mut stream = client(&pki, server.address, b"http/1.1").await;
            let request = format!(
                "POST / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nContent-Length: 3\r\n\r\n{context}"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let ours = stream
                .get_ref()
                .1
                .export_keying_material([0u8; 32], LABEL, Some(context.as_bytes()))
                .unwrap();
            let answer = read_to_end(stream).await;
            assert!(answer.ends_with(&hex::encode(ours)), "{answer}");
            assert!(seen.insert(ours), "two connections must not share a value");
        }
        server.stop().await;
    }
}

#[test]
fn the_fake_depends_on_all_its_inputs() {
    let a = super::super::ExporterHandle::fixed([1; 32]);
    let b = super::super::ExporterHandle::fixed([2; 32]);
    let all = [a.export(b"l", b"c"), a.export(b"m", b"c"), a.export(b"l", b"d"), b.export(b"l", b"c")];
    let all: BTreeSet<_> = all.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.len(), 4);
}
