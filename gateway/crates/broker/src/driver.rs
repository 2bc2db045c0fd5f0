//! Runs an exchange over a peer: parallel asks, one task, nothing left behind when it ends.

use crate::{
    exchange::{Event, Exchange, Limits, Outcome, Terms},
    peer::{AskError, RegionPeer, RequestMaker},
    plan::Plan,
};
use async_trait::async_trait;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use gw_proto::{Digest, NodeId, message::SignedRequest};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Asks every node of the plan within the limits' deadline. Dropping the future drops every open ask.
pub async fn exchange(
    peers: &dyn RegionPeer,
    make: &dyn RequestMaker,
    plan: &Plan,
    terms: Terms,
    limits: Limits,
    seed: u64,
) -> BTreeMap<NodeId, Outcome> {
    let began = tokio::time::Instant::now();
    let mut exchange = Exchange::new(plan, terms, limits, seed);
    let mut open = FuturesUnordered::new();
    loop {
        for ask in exchange.poll(began.elapsed()) {
            if let Some(node) = exchange.node(&ask.source).cloned() {
                open.push(async move {
                    let recorder = Recorder { make, sent: Mutex::default() };
                    let asked = peers.ask(&node, &recorder, ask.timeout);
                    let result = tokio::time::timeout(ask.timeout, asked).await;
                    let (source, attempt) = (ask.source, ask.attempt);
                    match result.unwrap_or(Err(AskError::Timeout)) {
                        Ok((reply, channel)) => {
                            let requests = recorder.into_sent();
                            Event::Replied { source, attempt, reply: Box::new(reply), channel, requests }
                        }
                        Err(error) => Event::Failed { source, attempt, error },
                    }
                });
            }
        }
        let Some(wake) = exchange.wake(began.elapsed()) else { break };
        tokio::select! {
            Some(event) = open.next() => exchange.on(event, began.elapsed()),
            () = tokio::time::sleep_until(began + wake) => {}
        }
    }
    for (source, error) in exchange.failures() {
        tracing::warn!(%source, %error, "no acceptable reply from a source");
    }
    exchange.finish()
}

/// Remembers which requests went out in one ask: a reply must answer one of them.
struct Recorder<'a> {
    make: &'a dyn RequestMaker,
    sent: Mutex<Vec<Digest>>,
}

impl Recorder<'_> {
    fn into_sent(self) -> Vec<Digest> {
        self.sent.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RequestMaker for Recorder<'_> {
    async fn make(&self, audience: &NodeId) -> Result<SignedRequest, AskError> {
        let signed = self.make.make(audience).await?;
        if let Some(leaf) = signed.proof.leaf_hash() {
            self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(leaf);
        }
        Ok(signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{peer::FakePeer, testing::*};
    use gw_proto::{Hex, UnixMillis, merkle::LeafKind};
    use std::{
        sync::atomic::{AtomicU8, Ordering},
        time::Duration,
    };

    struct Maker(AtomicU8);
    #[async_trait]
    impl RequestMaker for Maker {
        async fn make(&self, audience: &NodeId) -> Result<SignedRequest, AskError> {
            let nonce = Hex([self.0.fetch_add(1, Ordering::SeqCst); 32]);
            let request = template().request(audience, nonce, UnixMillis(9));
            let digest = request.digest().unwrap();
            let key = key_of(&ASKER.parse().unwrap());
            Ok(SignedRequest {
                proof: sign_leaf(&key, LeafKind::Request, audience.as_str(), digest),
                request,
            })
        }
    }
    const MS: Duration = Duration::from_millis(1);

    fn honest(
        i: usize,
    ) -> impl FnMut(&SignedRequest) -> Result<(gw_proto::message::SignedReply, Hex<32>), AskError> {
        move |request| {
            let id = node(i).id;
            let channel = Hex([u8::try_from(i).unwrap(); 32]);
            let leaf = request.proof.leaf_hash().unwrap();
            Ok((signed(reply(&id, leaf, channel), &key_of(&id)), channel))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn asks_in_parallel_retries_and_names_the_gaps() {
        let mut down = true;
        let mut flaky = honest(1);
        let mut other = honest(4);
        let peers = FakePeer::new()
            .answer(&node(0).id, 300 * MS, honest(0))
            .answer(&node(1).id, 300 * MS, move |r| {
                if std::mem::take(&mut down) { Err(AskError::Unreachable) } else { flaky(r) }
            })
            .answer(&node(2).id, 60_000 * MS, honest(2))
            // answers a request that nobody made
            .answer(&node(4).id, 300 * MS, move |r| {
                let (mut s, channel) = other(r)?;
                s.reply.request_leaf = Hex([0; 32]);
                Ok((signed(s.reply, &key_of(&node(4).id)), channel))
            });
        let began = tokio::time::Instant::now();
        let limits = Limits { deadline: 2_000 * MS, attempt: 1_500 * MS, ..Limits::default() };
        let maker = Maker(AtomicU8::new(0));
        let outcomes = exchange(&peers, &maker, &plan(5), terms(), limits, 7).await;
        assert!(began.elapsed() <= 2_000 * MS, "{:?}", began.elapsed());
        let missing = |i: usize| match &outcomes[&node(i).id] {
            Outcome::Missing { reason } => *reason,
            other => panic!("{i}: {other:?}"),
        };
        assert!(matches!(outcomes[&node(0).id], Outcome::Replied(_)));
        // five sources have one retry between them: node 3 is unreachable at once and takes it
        assert_eq!(missing(1), "unreachable");
        assert_eq!(missing(2), "timeout");
        assert_eq!(missing(3), "unreachable");
        assert_eq!(missing(4), "bad-reply");
        assert_eq!(peers.asked().len(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_carries_a_new_request() {
        let mut tries = Vec::new();
        let mut answer = honest(0);
        let peers = FakePeer::new().answer(&node(0).id, 10 * MS, move |r| {
            tries.push(r.request.nonce);
            if tries.len() == 1 {
                return Err(AskError::Timeout);
            }
            assert_ne!(tries[0], tries[1]);
            answer(r)
        });
        let maker = Maker(AtomicU8::new(0));
        let outcomes = exchange(&peers, &maker, &plan(1), terms(), Limits::default(), 7).await;
        assert!(matches!(outcomes[&node(0).id], Outcome::Replied(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_plan_without_sources_ends_at_once() {
        let maker = Maker(AtomicU8::new(0));
        let outcomes = exchange(&FakePeer::new(), &maker, &plan(0), terms(), Limits::default(), 7).await;
        assert!(outcomes.is_empty());
    }
}
