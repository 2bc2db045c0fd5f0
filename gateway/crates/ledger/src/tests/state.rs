//! One transaction per block, restart, rebuild, floor, clocks.

use super::*;
use crate::{
    error::LedgerError,
    state::{Health, TxOutcome},
};
use gw_policy::{Fate, View};
use gw_store::Write;

fn world() -> World {
    let mut world = World::standard();
    let tx = world.by("bank-1", vec![Record::Authorization(world.authorization(1, 3))]);
    world.add(2_000, vec![tx]);
    world.extend(3);
    world
}

#[test]
fn blocks_are_applied_and_told_of() {
    let world = world();
    let (handle, _) = world.fresh();
    let watch = handle.watch();
    world.commit_all(&handle);
    assert_eq!(handle.cursor().height, Height(5));
    assert_eq!(watch.borrow().height, Height(5));
    let id = world.authorization(1, 3).id;
    let guard = handle.read();
    assert!(View::new(&guard).authorization(&id).unwrap().is_some());
    assert_eq!(guard.cursor().height, Height(5));
    drop(guard);
    let tx = world.chain.block(Height(2)).unwrap().transactions[0].compute_hash().unwrap();
    let found = handle.find_transaction(&tx).unwrap();
    assert_eq!((found.height, found.tx_index), (Height(2), 0));
    assert_eq!(found.outcome, TxOutcome::Applied(vec![Fate::Accepted]));
    for h in 1..=5 {
        let hash = fisco::write_0x(&handle.hash_at(Height(h)).unwrap().unwrap().0);
        assert_eq!(hash, world.chain.block(Height(h)).unwrap().header.hash);
    }
    assert_eq!(handle.hash_at(Height(6)).unwrap(), None);
}

#[test]
fn a_restart_resumes_at_the_cursor_and_a_rebuild_gives_the_same_state() {
    let world = world();
    let store: Arc<MemStore> = Arc::new(MemStore::new());
    let (handle, _) = world.open(store.clone(), Height(0));
    world.commit_all(&handle);
    let cursor = handle.cursor();
    drop(handle);
    let (again, _) = world.open(store.clone(), Height(0));
    assert_eq!(again.cursor(), cursor);
    let before = store.scan(&[], 10_000).unwrap();
    assert_eq!(again.rebuild().unwrap().height, Height(0));
    assert!(store.scan(&[], 1).unwrap().is_empty());
    world.commit_all(&again);
    assert_eq!(again.cursor(), cursor);
    assert_eq!(store.scan(&[], 10_000).unwrap(), before);
}

type Damage<'a> = &'a dyn Fn(&dyn Store);

#[test]
fn a_state_that_fails_its_check_is_made_again() {
    let world = world();
    let damage: [(&str, Damage<'_>); 5] = [
        ("cursor unreadable", &|s| s.commit(&[Write::put(*b"l\x01c", *b"{}")]).unwrap()),
        ("cursor lost", &|s| s.commit(&[Write::remove(*b"l\x01c")]).unwrap()),
        ("head lost", &|s| s.commit(&[Write::remove(*b"p\x01h")]).unwrap()),
        ("hash lost", &|s| {
            let hashes = s.scan(b"l\x01h", 100).unwrap();
            s.commit(&[Write::remove(hashes.last().unwrap().0.clone())]).unwrap();
        }),
        ("an older cursor", &|s| {
            let old = s.read(b"l\x01c").unwrap().unwrap();
            let text = String::from_utf8(old).unwrap().replace("\"height\":5", "\"height\":4");
            s.commit(&[Write::put(*b"l\x01c", text)]).unwrap();
        }),
    ];
    for (what, damage) in damage {
        let store: Arc<MemStore> = Arc::new(MemStore::new());
        let (handle, _) = world.open(store.clone(), Height(0));
        world.commit_all(&handle);
        let cursor = handle.cursor();
        drop(handle);
        damage(store.as_ref());
        let (again, _) = world.open(store.clone(), Height(0));
        assert_eq!(again.cursor().height, Height(0), "{what}");
        world.commit_all(&again);
        assert_eq!(again.cursor(), cursor, "{what}");
    }
}

#[test]
fn another_genesis_document_starts_anew() {
    let world = world();
    let store: Arc<MemStore> = Arc::new(MemStore::new());
    let (handle, clock) = world.open(store.clone(), Height(0));
    world.commit_all(&handle);
    let mut other = world.genesis().clone();
    other.governance.threshold = 1;
    let handle = StateHandle::open(store.clone(), other, clock, Height(0)).unwrap();
    assert_eq!(handle.cursor().height, Height(0));
    assert!(store.scan(&[], 1).unwrap().is_empty());
}

#[test]
fn names_that_are_too_short_to_tell_transactions_from_nodes_are_refused() {
    let world = World::new();
    for change in [
        (|g: &mut Genesis| g.group = "g".into()) as fn(&mut Genesis),
        |g| g.contract = "0x5A".into(),
        |g| g.sealers.clear(),
        |g| g.chain = "c".repeat(65),
    ] {
        let mut genesis = world.genesis().clone();
        change(&mut genesis);
        let clock = Arc::new(FakeClock::at(at(0)));
        let opened = StateHandle::open(Arc::new(MemStore::new()), genesis, clock, Height(0));
        assert!(matches!(opened.err(), Some(LedgerError::Genesis(_))));
    }
}

#[test]
fn a_failed_commit_changes_nothing_that_is_served() {
    let world = world();
    let store: Arc<MemStore> = Arc::new(MemStore::new());
    let (handle, _) = world.open(store.clone(), Height(0));
    handle.commit(&world.next_for(&handle)).unwrap();
    let cursor = handle.cursor();
    store.fail_next_commit();
    assert!(matches!(handle.commit(&world.next_for(&handle)), Err(LedgerError::Store(_))));
    assert_eq!(handle.cursor(), cursor);
}

#[test]
fn only_the_next_block_is_committed() {
    let world = world();
    let (handle, _) = world.fresh();
    let first = world.next_for(&handle);
    handle.commit(&first).unwrap();
    assert!(matches!(handle.commit(&first), Err(LedgerError::NotNext { at: Height(1), found: Height(1) })));
}

fn stale(handle: &StateHandle) -> String {
    match handle.health() {
        Health::Stale { why, .. } => why,
        other => panic!("{other}"),
    }
}

#[test]
fn a_state_is_fresh_only_while_its_newest_header_is_young() {
    let world = world();
    let (handle, clock) = world.fresh();
    assert!(stale(&handle).contains("no block"));
    world.commit_all(&handle);
    assert_eq!(handle.health(), Health::Fresh);
    assert_eq!(handle.staleness(), Duration::from_secs(60), "the policy's");
    clock.advance(Duration::from_secs(60));
    assert_eq!(handle.health(), Health::Fresh);
    clock.advance(Duration::from_millis(1));
    assert!(stale(&handle).contains("older than 60 s"));
}

#[test]
fn nothing_is_served_below_the_height_that_the_journal_has_seen() {
    let world = world();
    let (handle, _) = world.open(Arc::new(MemStore::new()), Height(5));
    for _ in 0..4 {
        handle.commit(&world.next_for(&handle)).unwrap();
        assert!(stale(&handle).contains("the journal has seen 5"));
    }
    handle.commit(&world.next_for(&handle)).unwrap();
    assert_eq!(handle.health(), Health::Fresh);
}

/// A wall clock that a test can also set back, beside a monotonic one.
struct TwoClocks {
    wall: AtomicU64,
    passed: AtomicU64,
    origin: std::time::Instant,
}

impl Clock for TwoClocks {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.wall.load(Ordering::SeqCst))
    }
    fn instant(&self) -> std::time::Instant {
        self.origin + Duration::from_millis(self.passed.load(Ordering::SeqCst))
    }
}

#[test]
fn a_clock_set_back_neither_revives_nor_refreshes() {
    let world = world();
    let head = world.head_time();
    let clock =
        Arc::new(TwoClocks { wall: head.0.into(), passed: 0.into(), origin: std::time::Instant::now() });
    let store = Arc::new(MemStore::new());
    let handle = StateHandle::open(store, world.genesis().clone(), clock.clone(), Height(0)).unwrap();
    world.commit_all(&handle);
    // set back a little: local time stays at the highest header time
    clock.wall.fetch_sub(4_000, Ordering::SeqCst);
    assert_eq!(handle.now(), head);
    assert_eq!(handle.health(), Health::Fresh);
    // 61 s pass while somebody holds the wall clock: the monotonic clock tells
    clock.passed.fetch_add(61_000, Ordering::SeqCst);
    assert_eq!(handle.age(), Duration::from_secs(61));
    assert!(stale(&handle).contains("older than"));
    clock.passed.fetch_sub(61_000, Ordering::SeqCst);
    // set back far: not ready, whatever else holds
    clock.wall.fetch_sub(3_600_000, Ordering::SeqCst);
    assert!(stale(&handle).contains("check the clock"));
    assert_eq!(handle.now(), head);
}

#[test]
fn a_supervisors_other_digest_stops_serving_until_one_agrees() {
    let mut world = World::standard();
    let digest = |digest| Record::StateDigest(StateDigest { height: Height(1), digest });
    let wrong = world.by("pboc-1", vec![digest(Hex([7; 32]))]);
    world.add(2_000, vec![wrong]);
    let (handle, _) = world.fresh();
    world.commit_all(&handle);
    assert!(matches!(handle.health(), Health::Alarm(a) if a.len() == 1), "{}", handle.health());
    let ours = handle.cursor().state_digest;
    let right = Record::StateDigest(StateDigest { height: Height(2), digest: ours });
    let right = world.by("pboc-1", vec![right]);
    world.add(3_000, vec![right]);
    world.commit_all(&handle);
    assert_eq!(handle.health(), Health::Fresh);
}

#[tokio::test]
async fn heights_are_waited_for() {
    let world = world();
    let (handle, _) = world.fresh();
    assert!(!handle.wait_height(Height(1), Duration::from_millis(10)).await);
    let waiting = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.wait_height(Height(5), Duration::from_secs(10)).await })
    };
    world.commit_all(&handle);
    assert!(waiting.await.unwrap());
}
