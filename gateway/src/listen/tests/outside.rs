//! A client we did not write: curl on the international listener, if this machine has one.

use super::*;
use std::process::{Command, Output, Stdio};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_speaks_both_versions() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: no curl on this machine");
        return;
    }
    // curl has its own clock: certificates valid today, not at the kit's fixed date
    let now = gw_proto::Clock::now(&gw_proto::clock::SystemClock);
    let pki = Pki::at(Profile::International, now);
    let node = pki.node_at("gw", now);
    let trust = pki.trust();
    let clock = std::sync::Arc::new(gw_proto::clock::SystemClock);
    let server = start_as(&node, &trust, pki.profile, limits(), router(), clock).await;

    let dir = tempfile::tempdir().unwrap();
    let me = pki.client("curl");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = file("ca.pem", &gw_sm::cert::certs_to_pem([pki.root.der.as_slice()]).unwrap());
    let cert = file("cert.pem", &gw_sm::cert::certs_to_pem([me.der.as_slice()]).unwrap());
    let key = file("key.pem", &gw_sm::cert::key_to_pem(&me.key).unwrap());
    let by_name = format!("gw.xinguan.internal:{}:127.0.0.1", server.address.port());
    for (version, said) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")] {
        for host in ["127.0.0.1", "gw.xinguan.internal"] {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", version])
                .arg("--cacert")
                .arg(&ca)
                .arg("--cert")
                .arg(&cert)
                .arg("--key")
                .arg(&key)
                .args(["--resolve", &by_name])
                .args(["--data", "x=1"])
                .arg(format!("https://{host}:{}/whoami", server.address.port()));
            let out = run(curl).await;
            let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            assert!(
                text.starts_with(&format!("bank curl {said} International ")),
                "{version}: {text}{errors}"
            );
        }
    }
    // without its certificate it gets nothing
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "20", "--noproxy", "*", "--cacert"])
        .arg(&ca)
        .arg(format!("https://{}/whoami", server.address));
    let out = run(curl).await;
    assert!(!out.status.success() && out.stdout.is_empty());
    server.stop().await;
}

async fn run(mut command: Command) -> Output {
    soon(tokio::task::spawn_blocking(move || command.output())).await.unwrap().unwrap()
}
