//! The follower driven over endpoints in memory: what the state becomes, what health says, how it ends.

use super::*;
use crate::{
    driver::{FollowOptions, follow},
    endpoint::{Ledger, RawBlock},
    error::LedgerError,
    follower::Alarm,
    state::Health,
};
use async_trait::async_trait;
use gw_store::{Pair, StoreError, Write};
use std::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A follower on a task of its own.
struct Running {
    handle: StateHandle,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), LedgerError>>,
}

fn start(world: &World, store: Arc<dyn Store>, ledgers: Vec<Arc<dyn Ledger>>) -> Running {
    let clock = RuntimeClock::at(world.head_time());
    let handle = StateHandle::open(store, world.genesis().clone(), clock.clone(), Height(0)).unwrap();
    let cancel = CancellationToken::new();
    let following = follow(ledgers, handle.clone(), clock, FollowOptions::default(), cancel.clone());
    Running { handle, cancel, task: tokio::spawn(following) }
}

impl Running {
    async fn reaches(&self, height: u64) {
        let reached = self.handle.wait_height(Height(height), Duration::from_secs(60)).await;
        assert!(reached, "at {}: {}", self.handle.cursor().height, self.handle.health());
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// A world of some height, and two endpoints of it.
fn two(height: usize) -> (World, Arc<FakeLedger>, Arc<FakeLedger>) {
    let mut world = World::standard();
    world.extend(height - 1);
    let one = FakeLedger::new("one", world.chain.clone());
    let other = FakeLedger::new("other", world.chain.clone());
    (world, one, other)
}

fn digest_of(world: &World) -> Digest {
    let (handle, _) = world.fresh();
    world.commit_all(&handle);
    handle.cursor().state_digest
}

#[tokio::test(start_paused = true)]
async fn the_state_reaches_the_head_and_stays_with_it() {
    let (mut world, one, other) = two(10);
    let running = start(&world, Arc::new(MemStore::new()), vec![one.clone(), other.clone()]);
    running.reaches(10).await;
    assert_eq!(running.handle.health(), Health::Fresh);
    assert_eq!(running.handle.cursor().state_digest, digest_of(&world));
    world.extend(1);
    one.show(world.chain.clone());
    running.reaches(11).await;
    // one of both ends: the other goes on
    one.set_down(true);
    world.extend(2);
    other.show(world.chain.clone());
    running.reaches(13).await;
    let status = |i: usize| running.handle.endpoints()[i].clone();
    eventually("the dead endpoint's error is shown", || status(0).error.is_some()).await;
    assert!(status(0).error.unwrap().contains("cannot connect"));
    eventually("the other agrees", || status(1).agrees == Height(13)).await;
    assert_eq!((status(1).endpoint.as_str(), status(1).error), ("other", None));
    let handle = running.handle.clone();
    running.stop().await;
    assert_eq!(handle.health(), Health::Fresh, "a stop is no fault");
}

#[tokio::test(start_paused = true)]
async fn without_an_endpoint_it_does_not_start() {
    let world = World::standard();
    let running = start(&world, Arc::new(MemStore::new()), vec![]);
    assert!(matches!(running.task.await.unwrap(), Err(LedgerError::NoEndpoint)));
}

#[tokio::test(start_paused = true)]
async fn alarms_stop_serving_and_end() {
    let (mut world, one, other) = two(5);
    let running = start(&world, Arc::new(MemStore::new()), vec![one.clone(), other.clone()]);
    running.reaches(5).await;
    other.claim_head(Some(Height(3)));
    let went_back = Alarm::Regression { endpoint: "other".into(), from: Height(5), to: Height(3) };
    let alarm = Health::Alarm(vec![went_back]);
    eventually("the alarm", || running.handle.health() == alarm).await;
    assert!(!running.handle.health().may_serve());
    other.claim_head(None);
    eventually("its end", || running.handle.health() == Health::Fresh).await;
    // two of four sign another block 6
    let mut minority = world.clone();
    let tx = minority.foreign();
    let plan = Plan { signers: Some(vec![0, 1]), ..Plan::at(minority.head_time(), vec![tx]) };
    minority.chain.add(plan).unwrap();
    other.show(minority.chain);
    world.extend(1);
    one.show(world.chain.clone());
    running.reaches(6).await;
    let short = Alarm::ShortQuorum { endpoint: "other".into(), height: Height(6) };
    let alarm = Health::Alarm(vec![short]);
    eventually("the alarm", || running.handle.health() == alarm).await;
    other.show(world.chain.clone());
    eventually("its end", || running.handle.health() == Health::Fresh).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fork_ends_it_for_good() {
    let (world, one, other) = two(5);
    let mut branch = world.clone();
    let (mut left, tx) = (world.clone(), branch.foreign());
    left.extend(1);
    branch.add(6_000, vec![tx]);
    one.show(left.chain.clone());
    other.show(branch.chain.clone());
    let running = start(&left, Arc::new(MemStore::new()), vec![one, other]);
    let ended = running.task.await.unwrap().unwrap_err();
    assert!(matches!(&ended, LedgerError::Halted(why) if why.contains("forked")), "{ended}");
    let Health::Halted(why) = running.handle.health() else { panic!("{}", running.handle.health()) };
    assert!(why.contains("height 6"), "{why}");
}

/// Never answers.
struct Hung;

#[async_trait]
impl Ledger for Hung {
    fn endpoint(&self) -> &str {
        "hung"
    }
    async fn head(&self) -> Result<Height, LedgerError> {
        std::future::pending().await
    }
    async fn block(&self, _: Height) -> Result<RawBlock, LedgerError> {
        std::future::pending().await
    }
    async fn submit(&self, _: &fisco::Transaction) -> Result<Digest, LedgerError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_given_up_by_a_deadline() {
    let (world, one, _) = two(5);
    let running = start(&world, Arc::new(MemStore::new()), vec![Arc::new(Hung), one]);
    running.reaches(5).await;
    assert_eq!(running.handle.endpoints()[0].error, None, "it has 30 s");
    tokio::time::sleep(Duration::from_secs(31)).await;
    let error = running.handle.endpoints()[0].error.clone().unwrap();
    assert_eq!(error, "ledger endpoint hung: head: no answer within 30000 ms");
    running.stop().await;
}

/// The policy's own head is lost while the follower runs: the state is made anew, once.
#[tokio::test(start_paused = true)]
async fn a_damaged_state_is_rebuilt_once() {
    let (mut world, one, other) = two(6);
    let store = Arc::new(MemStore::new());
    let running = start(&world, store.clone(), vec![one.clone(), other.clone()]);
    running.reaches(6).await;
    let damage = || store.commit(&[Write::remove(*b"p\x01h")]).unwrap();
    damage();
    world.extend(1);
    one.show(world.chain.clone());
    running.reaches(7).await;
    assert_eq!(running.handle.cursor().state_digest, digest_of(&world));
    assert_eq!(running.handle.health(), Health::Fresh);
    damage();
    world.extend(1);
    one.show(world.chain.clone());
    let ended = running.task.await.unwrap().unwrap_err();
    assert!(matches!(ended, LedgerError::Apply(_)), "{ended}");
    assert!(matches!(running.handle.health(), Health::Halted(_)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_it() {
    let (world, one, other) = two(6);
    let store = Arc::new(MemStore::new());
    store.fail_next_commit();
    let running = start(&world, store, vec![one, other]);
    let ended = running.task.await.unwrap().unwrap_err();
    assert!(matches!(ended, LedgerError::Store(_)), "{ended}");
    let Health::Halted(why) = running.handle.health() else { panic!("{}", running.handle.health()) };
    assert!(why.contains("commit"), "{why}");
    assert_eq!(running.handle.cursor().height, Height(0));
}

/// A store whose commits say that they have begun, and wait to be let through.
struct Gate {
    inner: MemStore,
    begun: Mutex<mpsc::Sender<()>>,
    let_through: Mutex<mpsc::Receiver<()>>,
}

impl Store for Gate {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read(key)
    }
    fn scan_after(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.inner.scan_after(prefix, after, limit)
    }
    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.begun.lock().unwrap().send(()).unwrap();
        self.let_through.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
        self.inner.commit(writes)
    }
    fn clear(&self) -> Result<(), StoreError> {
        self.inner.clear()
    }
}

/// Nothing writes to the state once `follow` has ended. In real time: the commit holds a thread.
#[tokio::test]
async fn a_stop_waits_for_the_commit_under_way() {
    let (world, one, other) = two(3);
    let ((begun, has_begun), (open, let_through)) = (mpsc::channel(), mpsc::channel());
    let gate = Gate { inner: MemStore::new(), begun: begun.into(), let_through: let_through.into() };
    let mut running = start(&world, Arc::new(gate), vec![one, other]);
    eventually("a commit", || has_begun.try_recv().is_ok()).await;
    running.cancel.cancel();
    let early = tokio::time::timeout(Duration::from_millis(200), &mut running.task).await;
    assert!(early.is_err(), "it ended amid a commit");
    open.send(()).unwrap();
    running.task.await.unwrap().unwrap();
    assert_eq!(running.handle.cursor().height, Height(1));
    assert!(has_begun.try_recv().is_err(), "no other commit has begun");
}
