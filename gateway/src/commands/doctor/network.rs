//! Ledger endpoints (reachable, fresh, agreeing with our clock) and peers.

use super::Finding;
use crate::dial::{Client, DialError, Peer, Probed};
use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use gw_proto::{Height, UnixMillis};
use std::{sync::Arc, time::Duration};

/// One endpoint's answer is waited for this long.
const ASK: Duration = Duration::from_secs(5);
/// Peers tried at the same time.
const PARALLEL: usize = 8;
/// A head dated further ahead of us is refused by followers (PROTOCOL.md).
const AHEAD_FAIL: Duration = Duration::from_secs(5);
/// Beyond a round trip's blur.
const AHEAD_WARN: Duration = Duration::from_secs(1);
/// Endpoints of one chain differ by a block or two; more is one that falls behind.
const HEIGHT_WARN: u64 = 20;
/// A peer's TLS certificate lives a day and is renewed in time.
const PEER_WARN: Duration = Duration::from_secs(2 * 3600);

/// The newest block that an endpoint tells of. Not verified: `doctor` only looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// its number
    pub height: Height,
    /// its time
    pub time: UnixMillis,
}

/// A ledger endpoint that can be asked for its head.
#[async_trait]
pub trait HeadSource: Send + Sync {
    /// For people.
    fn name(&self) -> String;
    /// Its head, or why not.
    async fn fetch_head(&self) -> Result<Head, String>;
}

/// Something that can try a peer.
#[async_trait]
pub trait PeerProbe: Send + Sync {
    /// Connects, shakes hands, sees whether the peer takes our certificate.
    async fn probe(&self, peer: &Peer) -> Result<Probed, DialError>;
}

#[async_trait]
impl PeerProbe for Client {
    async fn probe(&self, peer: &Peer) -> Result<Probed, DialError> {
        Self::probe(self, peer).await
    }
}

pub(super) async fn ledgers(
    endpoints: &[Arc<dyn HeadSource>],
    now: UnixMillis,
    staleness: Duration,
) -> Vec<Finding> {
    let heads: Vec<(String, Result<Head, String>)> = stream::iter(endpoints.iter().cloned())
        .map(|e| async move {
            let head = tokio::time::timeout(ASK, e.fetch_head()).await;
            (e.name(), head.unwrap_or_else(|_| Err("no answer in time".to_owned())))
        })
        .buffered(PARALLEL)
        .collect()
        .await;
    let mut found: Vec<_> = heads.iter().map(|(name, head)| endpoint(name, head, now, staleness)).collect();
    let reached: Vec<_> = heads.iter().filter_map(|(_, h)| h.as_ref().ok()).collect();
    found.push(clock(reached.iter().map(|h| h.time).max(), now));
    let heights = || reached.iter().map(|h| h.height.0);
    if let (Some(low), Some(high)) = (heights().min(), heights().max())
        && high - low > HEIGHT_WARN
    {
        found.push(Finding::warn(
            "ledger",
            format!("endpoints are {} blocks apart", high - low),
            "ask the owner of the one that is behind; a withheld block hides revocations",
        ));
    }
    found
}

fn endpoint(name: &str, head: &Result<Head, String>, now: UnixMillis, staleness: Duration) -> Finding {
    match head {
        Err(why) => Finding::fail(
            "ledger",
            format!("{name}: {why}"),
            "check ledger.endpoints, the way to it, and with its owner",
        ),
        Ok(h) => {
            let age = now.since(h.time);
            let what = format!("{name}: height {}, {} s old", h.height, age.as_secs());
            if age > staleness {
                Finding::fail(
                    "ledger",
                    what,
                    "stale: check the clock, then ask the chain's operators; nothing is served",
                )
            } else {
                Finding::ok("ledger", what)
            }
        }
    }
}

/// Blocks come with a beat of seconds, so our clock can only be *seen* to be behind.
fn clock(newest: Option<UnixMillis>, now: UnixMillis) -> Finding {
    const REMEDY: &str = "set the clock: point its time service at a source that the MAN can reach";
    let Some(newest) = newest else {
        return Finding::warn(
            "clock",
            format!("{}: no ledger head to compare with", now.rfc3339()),
            "reach an endpoint first",
        );
    };
    let ahead = newest.since(now);
    let what = format!("{}: {} ms behind the newest head", now.rfc3339(), ahead.as_millis());
    if ahead > AHEAD_FAIL {
        Finding::fail("clock", what, REMEDY)
    } else if ahead > AHEAD_WARN {
        Finding::warn("clock", what, REMEDY)
    } else {
        Finding::ok("clock", what)
    }
}

pub(super) async fn peers(probe: &dyn PeerProbe, peers: &[Peer], now: UnixMillis) -> Vec<Finding> {
    stream::iter(peers)
        .map(|p| async move { peer(p, probe.probe(p).await, now) })
        .buffered(PARALLEL)
        .collect()
        .await
}

fn peer(peer: &Peer, seen: Result<Probed, DialError>, now: UnixMillis) -> Finding {
    let name = format!("{} at {}", peer.node, peer.endpoint);
    match seen {
        Ok(p) if !p.allowed => Finding::fail(
            "peer",
            format!("{name}: its TLS key {} is not bound to it on the ledger", p.spki),
            "wait for its binding to reach a block; if it stays, tell its operator",
        ),
        Ok(p) if p.not_after.since(now) < PEER_WARN => Finding::warn(
            "peer",
            format!("{name}: its TLS certificate ends at {}", p.not_after.rfc3339()),
            "its operator should restart or renew it",
        ),
        Ok(_) => Finding::ok("peer", format!("{name}: connected, both certificates taken")),
        Err(e) => Finding::fail("peer", with_causes(&e), "check the way to it; if it is open, its operator"),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(e) = at {
        text = format!("{text} ({e})");
        at = e.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Status;
    use gw_proto::NodeId;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    struct FakeHead(&'static str, Result<Head, String>);

    #[async_trait]
    impl HeadSource for FakeHead {
        fn name(&self) -> String {
            self.0.to_owned()
        }
        async fn fetch_head(&self) -> Result<Head, String> {
            self.1.clone()
        }
    }

    fn at(name: &'static str, height: u64, time: u64) -> Arc<dyn HeadSource> {
        Arc::new(FakeHead(name, Ok(Head { height: Height(height), time: UnixMillis(time) })))
    }

    async fn statuses(endpoints: &[Arc<dyn HeadSource>]) -> Vec<(&'static str, Status)> {
        let found = ledgers(endpoints, NOW, Duration::from_secs(60)).await;
        found.into_iter().map(|f| (f.check, f.status)).collect()
    }

    #[tokio::test]
    async fn fresh_stale_ahead_and_down() {
        use Status::{Fail, Ok, Warn};
        let down: Arc<dyn HeadSource> = Arc::new(FakeHead("d", Err("refused".to_owned())));
        let fresh = || at("a", 100, NOW.0 - 10_000);
        assert_eq!(
            statuses(&[fresh(), at("b", 101, NOW.0 - 9_000)]).await,
            [("ledger", Ok), ("ledger", Ok), ("clock", Ok)]
        );
        assert_eq!(statuses(&[at("a", 100, NOW.0 - 61_000)]).await, [("ledger", Fail), ("clock", Ok)]);
        assert_eq!(statuses(&[at("a", 100, NOW.0 + 2_000)]).await, [("ledger", Ok), ("clock", Warn)]);
        assert_eq!(statuses(&[at("a", 100, NOW.0 + 6_000)]).await, [("ledger", Ok), ("clock", Fail)]);
        assert_eq!(
            statuses(&[down.clone(), fresh()]).await,
            [("ledger", Fail), ("ledger", Ok), ("clock", Ok)]
        );
        assert_eq!(statuses(&[down]).await, [("ledger", Fail), ("clock", Warn)]);
        assert_eq!(
            statuses(&[fresh(), at("b", 50, NOW.0 - 9_000)]).await,
            [("ledger", Ok), ("ledger", Ok), ("clock", Ok), ("ledger", Warn)]
        );
    }

    struct FakeProbe;

    #[async_trait]
    impl PeerProbe for FakeProbe {
        async fn probe(&self, peer: &Peer) -> Result<Probed, DialError> {
            let probed = |allowed, hours: u64| {
                Ok(Probed {
                    spki: gw_proto::sm3(b"key"),
                    not_after: NOW.plus(Duration::from_secs(hours * 3600)),
                    allowed,
                })
            };
            match peer.node.as_str() {
                "good" => probed(true, 20),
                "unbound" => probed(false, 20),
                "ending" => probed(true, 1),
                _ => Err(DialError::Timeout { node: peer.node.clone() }),
            }
        }
    }

    #[tokio::test]
    async fn each_peer_gets_its_line_in_order() {
        let all = ["good", "unbound", "ending", "silent"]
            .map(|n| Peer { node: NodeId::parse(n).unwrap(), endpoint: "10.0.0.1:9443".to_owned() });
        let found = peers(&FakeProbe, &all, NOW).await;
        let statuses: Vec<_> = found.iter().map(|f| f.status).collect();
        assert_eq!(statuses, [Status::Ok, Status::Fail, Status::Warn, Status::Fail]);
    }
}
