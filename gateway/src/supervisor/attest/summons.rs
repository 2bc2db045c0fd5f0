//! Evidence right away: each attesting gateway holds one call open here, and an operator's request answers it.
//!
//! The gateway dials out, always: a supervisor that wants evidence now can only answer a call that is there, or the
//! next one. Nothing of it lasts: a restart forgets who was called, and the operator asks again.

use crate::{
    app::App,
    attester::wire::Summons,
    reject::{self, Rejection},
    stages::identify::IdentifiedNode,
};
use gw_attest::{CheckName, Verdict};
use gw_proto::{NodeId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// A call is answered after this at the latest: nothing on the way takes it for dead.
pub const HOLD: Duration = Duration::from_secs(45);
/// A chip of ten signatures a second answers in a second; a busy box, or one that is just dialling, later.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// More gateways than a consortium has.
const MAX_HELD: usize = 4096;

/// Who holds a call open, and who is wanted.
pub struct Calls {
    inner: Mutex<Inner>,
    judged: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    number: u64,
    held: BTreeMap<NodeId, (u64, oneshot::Sender<()>)>,
    /// until when a call that comes is answered at once
    wanted: BTreeMap<NodeId, UnixMillis>,
    closed: bool,
}

impl Default for Calls {
    fn default() -> Self {
        Self { inner: Mutex::default(), judged: watch::Sender::new(0) }
    }
}

/// What becomes of a call that comes.
enum Taken {
    /// wanted already
    Wanted,
    /// to be held: it ends when the other side speaks, or is dropped
    Held(u64, oneshot::Receiver<()>),
    /// not now
    No,
}

impl Calls {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A verdict was kept.
    pub fn judged(&self) {
        self.judged.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Ends all calls, and takes none any more.
    pub fn close(&self) {
        let mut inner = self.inner();
        inner.closed = true;
        inner.held.clear();
    }

    /// A newer call of a gateway ends its older one.
    fn take(&self, device: &NodeId, now: UnixMillis) -> Taken {
        let mut inner = self.inner();
        if inner.wanted.remove(device).is_some_and(|until| now < until) {
            return Taken::Wanted;
        }
        let full = inner.held.len() >= MAX_HELD && !inner.held.contains_key(device);
        if inner.closed || full {
            return Taken::No;
        }
        inner.number += 1;
        let (number, (speak, hear)) = (inner.number, oneshot::channel());
        inner.held.insert(device.clone(), (number, speak));
        Taken::Held(number, hear)
    }

    /// Its time is over; a newer call of the same gateway stays.
    fn forget(&self, device: &NodeId, number: u64) {
        let mut inner = self.inner();
        if inner.held.get(device).is_some_and(|(n, _)| *n == number) {
            inner.held.remove(device);
        }
    }

    /// Answers the call that is there, else the next one; whether one was there.
    fn call(&self, device: &NodeId, until: UnixMillis) -> bool {
        let mut inner = self.inner();
        if inner.held.remove(device).is_some_and(|(_, speak)| speak.send(()).is_ok()) {
            return true;
        }
        if inner.wanted.len() < MAX_HELD {
            inner.wanted.insert(device.clone(), until);
        }
        false
    }

    fn no_more(&self, device: &NodeId) {
        self.inner().wanted.remove(device);
    }
}

/// Holds a gateway's call until an operator wants its evidence, or for so long.
pub async fn hold(app: &App, node: &IdentifiedNode, longest: Duration) -> Result<Summons, Rejection> {
    let (calls, device) = (&app.verifier()?.calls, &node.node().id);
    Ok(match calls.take(device, app.clock.now()) {
        Taken::Wanted => Summons { attest: true },
        Taken::No => {
            return Err(Rejection::new(reject::BUSY, "this supervisor holds no more calls now"));
        }
        Taken::Held(number, hear) => {
            let attest = matches!(tokio::time::timeout(longest.min(HOLD), hear).await, Ok(Ok(())));
            calls.forget(device, number);
            Summons { attest }
        }
    })
}

/// The verdict on evidence that was wanted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Now {
    /// whether the gateway held a call open
    pub connected: bool,
    /// what was found
    pub verdict: Verdict,
}

/// Has a gateway give evidence now, and waits for the verdict on it.
pub async fn now(app: &Arc<App>, by: &str, device: &NodeId) -> Result<Now, Rejection> {
    let calls = &app.verifier()?.calls;
    let found = newest(app, device).await?;
    let none = || Rejection::new(reject::NOT_FOUND, "no such device is enrolled here");
    let heard = found.ok_or_else(none)?.last_evidence;
    app.audit(by, "attest-now", serde_json::json!({ "device": device })).await?;
    let mut judged = calls.judged.subscribe();
    let asked = app.clock.now();
    let connected = calls.call(device, asked.plus(ANSWER_WITHIN));
    let wait = async {
        loop {
            judged.mark_unchanged();
            let found = newest(app, device).await?.ok_or_else(none)?;
            if let Some(verdict) = found.verdict.filter(|v| answers(v, asked)) {
                return Ok(Now { connected, verdict });
            }
            // the sender lives as long as the verifier
            let _ = judged.changed().await;
        }
    };
    let ended = tokio::time::timeout(ANSWER_WITHIN, wait).await;
    calls.no_more(device);
    ended.unwrap_or_else(|_| Err(away(connected, heard)))
}

/// Evidence, not silence, judged since.
fn answers(verdict: &Verdict, asked: UnixMillis) -> bool {
    verdict.at >= asked && !verdict.failed().any(|c| c.name == CheckName::Silence)
}

fn away(connected: bool, heard: Option<UnixMillis>) -> Rejection {
    let last =
        heard.map_or_else(|| "none ever came".to_owned(), |at| format!("the last came at {}", at.rfc3339()));
    let within = ANSWER_WITHIN.as_secs();
    let what = match connected {
        true => format!("it was told, and gave no evidence within {within} s; {last}"),
        false => format!(
            "it holds no connection to this supervisor, and did not dial in within {within} s; {last}"
        ),
    };
    Rejection::new(reject::DEVICE_AWAY, what)
}

struct Newest {
    verdict: Option<Verdict>,
    last_evidence: Option<UnixMillis>,
}

async fn newest(app: &Arc<App>, device: &NodeId) -> Result<Option<Newest>, Rejection> {
    let (work, id) = (Arc::clone(app), device.clone());
    let read = tokio::task::spawn_blocking(move || -> Result<_, Rejection> {
        let store = work.supervisor_store()?;
        if store.enrolment(&id).map_err(Rejection::internal)?.is_none() {
            return Ok(None);
        }
        let verdict = store.verdict(&id).map_err(Rejection::internal)?.map(|(v, _)| v);
        let last_evidence = store.last_evidence(&id).map_err(Rejection::internal)?;
        Ok(Some(Newest { verdict, last_evidence }))
    });
    read.await.map_err(Rejection::internal)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn held(t: Taken) -> (u64, oneshot::Receiver<()>) {
        match t {
            Taken::Held(number, hear) => (number, hear),
            Taken::Wanted => panic!("wanted"),
            Taken::No => panic!("refused"),
        }
    }

    #[test]
    fn a_call_that_is_there_is_answered_and_else_the_next_in_time() {
        let (calls, a, at) = (Calls::default(), node("bank-a-1"), UnixMillis);
        let (_, mut hear) = held(calls.take(&a, at(1)));
        assert!(calls.call(&a, at(100)), "there");
        assert_eq!(hear.try_recv(), Ok(()));
        // not there: the next call, but of the same gateway, and not for ever
        assert!(!calls.call(&a, at(100)));
        held(calls.take(&node("bank-b-1"), at(2)));
        assert!(matches!(calls.take(&a, at(99)), Taken::Wanted));
        held(calls.take(&a, at(99)));
        assert!(!calls.call(&node("bank-c-1"), at(100)));
        held(calls.take(&node("bank-c-1"), at(100)));
    }

    #[test]
    fn a_call_that_went_away_is_not_taken_for_one() {
        let (calls, a, at) = (Calls::default(), node("bank-a-1"), UnixMillis);
        drop(held(calls.take(&a, at(1))));
        assert!(!calls.call(&a, at(100)), "the connection broke");
        assert!(matches!(calls.take(&a, at(2)), Taken::Wanted));
        // an operator who went away wants nothing
        calls.call(&a, at(100));
        calls.no_more(&a);
        held(calls.take(&a, at(3)));
    }

    #[test]
    fn a_newer_call_ends_the_older_and_closing_ends_all() {
        let (calls, a, at) = (Calls::default(), node("bank-a-1"), UnixMillis);
        let (first, mut older) = held(calls.take(&a, at(1)));
        let (_, mut newer) = held(calls.take(&a, at(2)));
        assert_eq!(older.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        calls.forget(&a, first);
        assert_eq!(newer.try_recv(), Err(oneshot::error::TryRecvError::Empty), "the newer one was forgotten");
        calls.close();
        assert_eq!(newer.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(matches!(calls.take(&a, at(3)), Taken::No), "a held call would keep a stop waiting");
    }
}
