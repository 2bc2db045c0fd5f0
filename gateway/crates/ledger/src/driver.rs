//! Does what the follower says: asks endpoints, commits blocks, sounds alarms.

use crate::{
    endpoint::Ledger,
    error::LedgerError,
    follower::{Action, Event, Follower, FollowerOptions, Moment},
    state::{EndpointStatus, StateHandle, rebuild_helps},
    verify::{Skip, VerifiedBlock},
};
use gw_proto::{Clock, Height};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// How [`follow`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowOptions {
    /// the state machine's options
    pub follower: FollowerOptions,
    /// how often each endpoint is asked for its head; default 200 ms, the pace of the development ledger
    pub poll: Duration,
    /// an answer that takes longer is given up; default 30 s, for a full block on a slow line
    pub call_timeout: Duration,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            follower: FollowerOptions::default(),
            poll: Duration::from_millis(200),
            call_timeout: Duration::from_secs(30),
        }
    }
}

enum Done {
    Event(Event),
    CommitFailed(LedgerError),
}

/// Follows the chain until it is cancelled (`Ok`) or must stop for good (`Err`; the handle says so too). When
/// it has ended nothing of it writes to the state any more.
pub async fn follow(
    ledgers: Vec<Arc<dyn Ledger>>,
    handle: StateHandle,
    clock: Arc<dyn Clock>,
    options: FollowOptions,
    cancel: CancellationToken,
) -> Result<(), LedgerError> {
    if ledgers.is_empty() {
        return Err(LedgerError::NoEndpoint);
    }
    let names = ledgers.iter().map(|l| l.endpoint().to_owned()).collect();
    let follower = Follower::new(handle.genesis().clone(), names, handle.cursor(), options.follower);
    let mut driver =
        Driver { ledgers, handle: handle.clone(), clock, options, tasks: JoinSet::new(), rebuilt: false };
    let result = driver.run(follower, cancel).await;
    driver.finish().await;
    if let Err(e) = &result {
        tracing::error!(error = %e, "following the chain has stopped");
        handle.halt(e.to_string());
    }
    result
}

struct Driver {
    ledgers: Vec<Arc<dyn Ledger>>,
    handle: StateHandle,
    clock: Arc<dyn Clock>,
    options: FollowOptions,
    /// one per call under way; the follower's window bounds them
    tasks: JoinSet<Done>,
    rebuilt: bool,
}

impl Driver {
    async fn run(&mut self, mut follower: Follower, cancel: CancellationToken) -> Result<(), LedgerError> {
        let mut poll = tokio::time::interval(self.options.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                Some(joined) = self.tasks.join_next() => match joined {
                    Ok(done) => done,
                    Err(e) => return Err(LedgerError::Halted(format!("a task of the follower failed: {e}"))),
                },
                _ = poll.tick() => Done::Event(Event::Tick),
            };
            let event = match done {
                Done::Event(event) => event,
                Done::CommitFailed(e) => self.after_failed_commit(e).await?,
            };
            let at = Moment { wall: self.clock.now(), instant: self.clock.instant() };
            // signatures are checked in there: not on the async runtime's threads
            let step = move || {
                let actions = follower.on(event, at);
                (follower, actions)
            };
            let (back, actions) = tokio::task::spawn_blocking(step)
                .await
                .map_err(|e| LedgerError::Halted(format!("the follower failed: {e}")))?;
            follower = back;
            self.tell(follower.status());
            for action in actions {
                self.act(action)?;
            }
        }
    }

    /// What each endpoint says is kept for health pages; that one begins or ceases to fail is logged too.
    fn tell(&self, status: Vec<EndpointStatus>) {
        let before = self.handle.endpoints();
        for (at, now) in status.iter().enumerate() {
            let failed = before.get(at).is_some_and(|b| b.error.is_some());
            match &now.error {
                Some(why) if !failed => {
                    tracing::warn!(endpoint = %now.endpoint, %why, "a ledger endpoint fails");
                }
                None if failed => tracing::info!(endpoint = %now.endpoint, "a ledger endpoint works again"),
                _ => {}
            }
        }
        self.handle.set_endpoints(status);
    }

    /// Gives questions up, and waits for the commit under way: nothing writes to the state after the end.
    async fn finish(mut self) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
    }

    fn act(&mut self, action: Action) -> Result<(), LedgerError> {
        match action {
            Action::AskHead { endpoint } => self.ask(endpoint, move |ledger, timeout| async move {
                let result = in_time(ledger.as_ref(), "head", timeout, ledger.head()).await;
                Event::Head { endpoint, result }
            }),
            Action::FetchBlock { endpoint, height } => {
                self.ask(endpoint, move |ledger, timeout| async move {
                    let result = in_time(ledger.as_ref(), "block", timeout, ledger.block(height)).await;
                    Event::Block { endpoint, height, result: result.map(Box::new) }
                })
            }
            Action::FetchHeader { endpoint, height } => {
                self.ask(endpoint, move |ledger, timeout| async move {
                    let result = in_time(ledger.as_ref(), "header", timeout, ledger.header(height)).await;
                    Event::Header { endpoint, height, result: result.map(Box::new) }
                })
            }
            Action::Commit(block) => self.commit(*block),
            Action::Alarms(alarms) => {
                for alarm in &alarms {
                    tracing::error!(%alarm, "nothing is served while this stands");
                }
                self.handle.set_alarms(alarms);
            }
            Action::Halt(why) => return Err(LedgerError::Halted(why)),
        }
        Ok(())
    }

    fn ask<F>(&mut self, endpoint: usize, call: impl FnOnce(Arc<dyn Ledger>, Duration) -> F)
    where
        F: Future<Output = Event> + Send + 'static,
    {
        if let Some(ledger) = self.ledgers.get(endpoint) {
            let call = call(ledger.clone(), self.options.call_timeout);
            self.tasks.spawn(async move { Done::Event(call.await) });
        }
    }

    fn commit(&mut self, block: VerifiedBlock) {
        let handle = self.handle.clone();
        self.tasks.spawn_blocking(move || {
            log_skipped(&block);
            match handle.commit(&block) {
                Ok(_) => Done::Event(Event::Committed(handle.cursor())),
                Err(e) => Done::CommitFailed(e),
            }
        });
    }

    /// A damaged state is followed anew, once; anything else ends here.
    async fn after_failed_commit(&mut self, error: LedgerError) -> Result<Event, LedgerError> {
        if self.rebuilt || !rebuild_helps(&error) {
            return Err(error);
        }
        tracing::warn!(%error, "the ledger state is damaged and is rebuilt from the chain");
        self.rebuilt = true;
        let handle = self.handle.clone();
        let rebuilt = tokio::task::spawn_blocking(move || handle.rebuild()).await;
        let cursor = rebuilt.map_err(|e| LedgerError::Halted(format!("the rebuild failed: {e}")))??;
        Ok(Event::Restarted(cursor))
    }
}

fn log_skipped(block: &VerifiedBlock) {
    let height: Height = block.header().number();
    for skipped in block.skipped() {
        match &skipped.why {
            Skip::NotOurs(reason) => {
                tracing::debug!(%height, tx = skipped.tx, %reason, "transaction skipped");
            }
            why => tracing::warn!(%height, tx = skipped.tx, %why, "record transaction without effect"),
        }
    }
}

async fn in_time<T>(
    ledger: &dyn Ledger,
    method: &'static str,
    after: Duration,
    call: impl Future<Output = Result<T, LedgerError>>,
) -> Result<T, String> {
    match tokio::time::timeout(after, call).await {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => {
            Err(LedgerError::Timeout { endpoint: ledger.endpoint().to_owned(), method, after }.to_string())
        }
    }
}
