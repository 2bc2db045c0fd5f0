//! Is this system healthy? What a system on trial after an update must show before the boot loader keeps it.
//!
//! Every claim holds; and where there is a configuration, the gateway says for a while that it can serve, which it
//! says only while it follows the chain, and its listeners answer. A box without configuration has no gateway to ask.

use crate::tree::Tree;
use serde::Deserialize;
use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::mpsc::channel,
    time::{Duration, Instant, SystemTime},
};

/// Written by `image-checks claims`.
const CLAIMS: &str = "/run/xinguan-image/claims.json";
/// Written by `xinguan run --ready-file`.
const READY: &str = "/run/xinguan/ready.json";
const CONFIGURATION: &str = "/config/xinguan.toml";
/// An older file is of a gateway that hangs or is gone.
const FRESH: Duration = Duration::from_secs(10);
/// Looks in a row that must all be good: about ten seconds.
const IN_A_ROW: u32 = 10;
const BETWEEN: Duration = Duration::from_secs(1);
const DIAL: Duration = Duration::from_secs(5);
/// A TLS record that says it is a handshake and is none: whoever speaks TLS answers with an alert (RFC 8446, 5.1 and 6).
const NO_HANDSHAKE: &[u8] = b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00";
const ALERT: u8 = 0x15;

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// it may stay
    Healthy(String),
    /// it may still become healthy
    NotYet(String),
    /// it will not
    Sick(String),
}

/// Looks until it is healthy, cannot become so, or the time is over. The last look.
pub(crate) fn wait(tree: &Tree, within: Duration) -> Health {
    let (began, mut in_a_row) = (Instant::now(), 0);
    // nobody sends: it only ends waits
    let (_keep, never) = channel::<()>();
    loop {
        let seen = look(tree);
        match &seen {
            Health::Healthy(_) => in_a_row += 1,
            Health::NotYet(_) => in_a_row = 0,
            Health::Sick(_) => return seen,
        }
        if in_a_row >= IN_A_ROW || began.elapsed() >= within {
            return seen;
        }
        let _ = never.recv_timeout(BETWEEN);
    }
}

/// One look.
pub(crate) fn look(tree: &Tree) -> Health {
    let seen = claims(tree).and_then(|held| {
        if tree.exists(CONFIGURATION) {
            gateway(tree).map(|answering| format!("{held} claims hold, {answering} listeners answer"))
        } else {
            Ok(format!("{held} claims hold, and there is no configuration"))
        }
    });
    seen.map_or_else(|bad| bad, Health::Healthy)
}

#[derive(Deserialize)]
struct Claim {
    claim: String,
    holds: bool,
}

fn claims(tree: &Tree) -> Result<usize, Health> {
    let text = tree.text(CLAIMS).map_err(Health::NotYet)?;
    let mut held = 0;
    for line in text.lines() {
        let claim: Claim = serde_json::from_str(line).map_err(|e| Health::Sick(format!("{CLAIMS}: {e}")))?;
        if !claim.holds {
            return Err(Health::Sick(format!("the claim {} fails", claim.claim)));
        }
        held += 1;
    }
    if held == 0 { Err(Health::NotYet(format!("{CLAIMS} is empty"))) } else { Ok(held) }
}

#[derive(Deserialize)]
struct Ready {
    ready: bool,
    reasons: Vec<String>,
    addresses: Vec<SocketAddr>,
}

fn gateway(tree: &Tree) -> Result<usize, Health> {
    let not_yet = |why: String| Health::NotYet(format!("gateway: {why}"));
    let age = tree.modified(READY).map_err(&not_yet)?;
    // a clock that was set back makes it younger than now: wait for the next
    if !now().duration_since(age).is_ok_and(|age| age < FRESH) {
        return Err(not_yet(format!("{READY} is old")));
    }
    let ready: Ready = serde_json::from_slice(&tree.bytes(READY).map_err(|e| not_yet(e.to_string()))?)
        .map_err(|e| not_yet(format!("{READY}: {e}")))?;
    if !ready.ready {
        return Err(not_yet(ready.reasons.join("; ")));
    }
    for address in &ready.addresses {
        answers(reachable(*address)).map_err(|e| not_yet(format!("{address} does not answer: {e}")))?;
    }
    Ok(ready.addresses.len())
}

#[expect(clippy::disallowed_methods, reason = "compared with a file's time, which is this machine's")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// An address to dial for one that is listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn answers(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, DIAL)?;
    stream.set_read_timeout(Some(DIAL))?;
    stream.set_write_timeout(Some(DIAL))?;
    stream.write_all(NO_HANDSHAKE)?;
    let mut first = [0];
    stream.read_exact(&mut first)?;
    if first == [ALERT] { Ok(()) } else { Err(io::Error::other("it does not speak TLS")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, net::TcpListener, thread};

    fn write(dir: &tempfile::TempDir, path: &str, text: &str) {
        let path = dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn good_claims(dir: &tempfile::TempDir) {
        write(dir, CLAIMS, "{\"claim\":\"mounts\",\"holds\":true,\"saw\":\"x\"}\n");
    }

    /// A listener that answers each connection with these bytes.
    fn listener(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let mut asked = [0; NO_HANDSHAKE.len()];
                if stream.read_exact(&mut asked).is_ok() {
                    let _ = stream.write_all(answer);
                }
            }
        });
        at
    }

    fn ready(dir: &tempfile::TempDir, ready: bool, at: SocketAddr) {
        write(
            dir,
            READY,
            &format!(r#"{{"ready":{ready},"reasons":["ledger: stale"],"addresses":["{at}"]}}"#),
        );
    }

    #[test]
    fn without_configuration_the_claims_decide() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path());
        assert!(matches!(look(&tree), Health::NotYet(_)), "no claims were checked yet");
        write(&dir, CLAIMS, "");
        assert!(matches!(look(&tree), Health::NotYet(_)), "none of them is written yet");
        good_claims(&dir);
        assert!(matches!(look(&tree), Health::Healthy(_)));
        let bad = "{\"claim\":\"mounts\",\"holds\":true,\"saw\":\"\"}\n{\"claim\":\"no-setuid\",\"holds\":false,\"saw\":\"\"}\n";
        write(&dir, CLAIMS, bad);
        assert_eq!(look(&tree), Health::Sick("the claim no-setuid fails".to_owned()));
    }

    #[test]
    fn with_one_the_gateway_must_be_ready_and_answer() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path());
        let speaks = listener(&[ALERT, 3, 3, 0, 2, 2, 50]);
        good_claims(&dir);
        write(&dir, CONFIGURATION, "");
        assert!(matches!(look(&tree), Health::NotYet(_)), "no gateway runs");
        ready(&dir, false, speaks);
        assert!(matches!(look(&tree), Health::NotYet(why) if why.contains("ledger: stale")));
        ready(&dir, true, listener(b"HTTP/1.1 400"));
        assert!(matches!(look(&tree), Health::NotYet(why) if why.contains("TLS")));
        ready(&dir, true, speaks);
        assert!(matches!(look(&tree), Health::Healthy(_)));
        let old = fs::File::options().append(true).open(dir.path().join(&READY[1..])).unwrap();
        old.set_modified(now() - 2 * FRESH).unwrap();
        assert!(matches!(look(&tree), Health::NotYet(why) if why.contains("old")));
    }

    #[test]
    fn everywhere_is_dialled_here() {
        for (listens, dialled) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.2.15:1", "10.0.2.15:1")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), dialled.parse().unwrap());
        }
    }

    #[test]
    fn time_runs_out() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(wait(&Tree::new(dir.path()), Duration::ZERO), Health::NotYet(_)));
    }
}
