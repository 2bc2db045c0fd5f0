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
