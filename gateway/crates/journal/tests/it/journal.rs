//! What the journal promises, without crashes.

use crate::common::*;
use futures_util::{FutureExt as _, future::join_all};
use gw_journal::*;
use gw_proto::{Height, Hex, UnixMillis};
use gw_store::{FileDisk, MemDisk, SimDisk, StoreError, disk::SimPlan};

fn note(n: u64) -> Entry {
    Entry::Note(Note { at: NOW, kind: "alarm".into(), data: serde_json::json!({ "n": n }) })
}

fn seen(height: u64) -> Entry {
    let hash = Hex([u8::try_from(height).unwrap(); 32]);
    Entry::SeenHeight(SeenHeight { at: NOW, height: Height(height), hash, time: UnixMillis(height * 1000) })
}

fn outcome_of(journal: &Journal, index: u64) -> Finished {
    match journal.entries(index, 1).unwrap().pop().unwrap().entry {
        Entry::Outcome(f) => f,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn entries_are_numbered_chained_and_read_back() {
    let disk = GateDisk::default();
    let (journal, found) = open(disk.clone()).unwrap();
    assert!(found.created && found.entries == 0 && found.dropped_bytes == 0 && found.open_intents.is_empty());
    assert_eq!(journal.head().index, 0);

    let guard = journal.record_intent(intent(1)).await.unwrap();
    assert_eq!(guard.id(), 1);
    let receipt = journal.append(note(7)).await.unwrap();
    assert_eq!((receipt.index, receipt.head), (2, journal.head()));
    let mut done = Outcome::new(OutcomeStatus::Done, "answered");
    done.data = serde_json::json!({"parts": 2});
    assert_eq!(guard.finish(done.clone()).await.unwrap().index, 3);

    let all = journal.entries(1, 99).unwrap();
    assert_eq!(all.iter().map(|e| e.index).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(all[0].entry, Entry::Intent(intent(1)));
    assert_eq!(all[1].entry, note(7));
    assert_eq!(all[2].entry, Entry::Outcome(Finished { intent: 1, at: NOW, outcome: done }));
    assert_eq!(all[2].digest, journal.head().digest);
    assert_eq!(journal.entries(2, 1).unwrap(), all[1..2]);
    assert!(journal.entries(4, 9).unwrap().is_empty());
    assert!(journal.entries(1, 0).unwrap().is_empty());

    let head = journal.head();
    drop(journal);
    let checked = verify_chain(&disk).unwrap();
    assert_eq!((checked.head, checked.owner.as_str(), checked.torn_bytes), (head, "bank-suzhou-1", 0));
    let (journal, found) = open(disk).unwrap();
    assert!(!found.created && found.entries == 3);
    assert_eq!(journal.head(), head);
    assert_eq!(journal.entries(1, 99).unwrap(), all);
}

#[tokio::test]
async fn many_entries_are_read_from_anywhere() {
    let (journal, _) = open(MemDisk::new()).unwrap();
    for batch in 0..9u64 {
        let notes = (1..=100).map(|i| journal.append(note(batch * 100 + i)));
        join_all(notes).await.into_iter().for_each(|r| {
            r.unwrap();
        });
    }
    for from in [1, 2, 255, 256, 257, 258, 513, 899, 900] {
        let read = journal.entries(from, 3).unwrap();
        assert_eq!(read[0].index, from);
        assert_eq!(read[0].entry, note(from));
    }
    let (mut next, mut count) = (1, 0);
    loop {
        let page = journal.entries(next, 64).unwrap();
        let Some(last) = page.last() else { break };
        count += page.len();
        next = last.index + 1;
    }
    assert_eq!(count, 900);
    assert_eq!(journal.entries(1, usize::MAX).unwrap().len(), 900);
}

#[tokio::test]
async fn waiting_entries_share_one_sync() {
    let disk = GateDisk::default();
    let (journal, _) = open(disk.clone()).unwrap();
    disk.shut();
    let first = tokio::spawn({
        let journal = journal.clone();
        async move { journal.append(note(0)).await }
    });
    tokio::task::yield_now().await;
    disk.until_held();
    let before = disk.syncs();
    let mut rest = Box::pin(join_all((1..=50).map(|n| journal.append(note(n)))));
    assert!(rest.as_mut().now_or_never().is_none());
    assert_eq!(journal.head().index, 0, "nothing is shown before it is durable");
    disk.release();
    assert!(rest.await.iter().all(Result::is_ok));
    first.await.unwrap().unwrap();
    assert_eq!(disk.syncs() - before, 1, "fifty entries, one sync");
}

#[tokio::test]
async fn a_dropped_guard_is_recorded_as_abandoned() {
    let disk = GateDisk::default();
    let (journal, _) = open(disk.clone()).unwrap();
    let guard = journal.record_intent(intent(1)).await.unwrap();
    assert_eq!(journal.open_intents(), 1);
    drop(guard);
    journal.append(note(1)).await.unwrap();
    let f = outcome_of(&journal, 2);
    assert_eq!((f.intent, f.outcome), (1, Outcome::abandoned("dropped")));
    assert_eq!(journal.open_intents(), 0);
    drop(journal);
    assert!(open(disk).unwrap().1.open_intents.is_empty());
}

/// The bank hangs up while the intent is being written: the task is dropped between queue and receipt.
#[tokio::test]
async fn an_intent_nobody_waits_for_any_more_gets_its_outcome_too() {
    let disk = GateDisk::default();
    let (journal, _) = open(disk.clone()).unwrap();
    disk.shut();
    let mut waiting = Box::pin(journal.record_intent(intent(1)));
    assert!(waiting.as_mut().now_or_never().is_none());
    disk.until_held();
    drop(waiting);
    // and one that is dropped together with its intent still in the queue
    let mut second = Box::pin(journal.record_intent(intent(2)));
    assert!(second.as_mut().now_or_never().is_none());
    drop(second);
    disk.release();
    journal.append(note(1)).await.unwrap();
    let all: Vec<_> = journal.entries(1, 9).unwrap().into_iter().map(|e| e.entry).collect();
    assert!(
        matches!(&all[..], [Entry::Intent(_), Entry::Outcome(a), Entry::Intent(_), Entry::Outcome(b), Entry::Note(_)]
        if a.intent == 1 && b.intent == 3),
        "{all:?}"
    );
}

/// The same while `finish` is under way: what was sent is what is recorded, once.
#[tokio::test]
async fn a_finish_nobody_waits_for_any_more_counts() {
    let disk = GateDisk::default();
    let (journal, _) = open(disk.clone()).unwrap();
    let never_polled = journal.record_intent(intent(1)).await.unwrap();
    let polled = journal.record_intent(intent(2)).await.unwrap();
    drop(never_polled.finish(Outcome::new(OutcomeStatus::Done, "ok")));
    disk.shut();
    let mut finishing = Box::pin(polled.finish(Outcome::new(OutcomeStatus::Done, "ok")));
    assert!(finishing.as_mut().now_or_never().is_none());
    drop(finishing);
    disk.release();
    journal.append(note(1)).await.unwrap();
    assert_eq!(outcome_of(&journal, 3).outcome, Outcome::abandoned("dropped"));
    assert_eq!(outcome_of(&journal, 4).outcome.status, OutcomeStatus::Done);
    assert_eq!(journal.head().index, 5);
}

#[tokio::test]
async fn a_full_queue_is_busy_and_loses_no_outcome() {
    let disk = GateDisk::default();
    let options = JournalOptions { queue: 2, max_open: 3, ..options() };
    let (journal, _) = Journal::open(Box::new(disk.clone()), &options, clock()).unwrap();
    let mut guards = Vec::new();
    for n in 0..3 {
        guards.push(journal.record_intent(intent(n)).await.unwrap());
    }
    let e = journal.record_intent(intent(9)).await.unwrap_err();
    assert!(matches!(e, JournalError::Busy { .. }) && e.may_retry(), "three intents are open");
    disk.shut();
    let mut queued = Vec::new();
    let mut send = |n| {
        let journal = journal.clone();
        let mut f = async move { journal.append(note(n)).await }.boxed();
        let early = f.as_mut().now_or_never();
        queued.push(f);
        early
    };
    assert!(send(0).is_none());
    disk.until_held();
    assert!(send(1).is_none() && send(2).is_none());
    assert!(matches!(send(3), Some(Err(JournalError::Busy { .. }))), "two wait, the third is refused");
    drop(guards);
    disk.release();
    queued.pop();
    assert!(join_all(queued).await.iter().all(Result::is_ok));
    drop(journal);
    let (journal, found) = open(disk).unwrap();
    assert!(found.open_intents.is_empty(), "all three outcomes found their reserved places");
    assert_eq!(journal.head().index, 9);
}

#[tokio::test]
async fn each_intent_has_one_outcome() {
    let (journal, _) = open(MemDisk::new()).unwrap();
    let guard = journal.record_intent(intent(1)).await.unwrap();
    let id = guard.id();
    guard.finish(Outcome::new(OutcomeStatus::Refused, "no-authorization")).await.unwrap();
    for index in [id, 2, 0, 99, u64::MAX] {
        let e = journal.close_intent(index, Outcome::abandoned("crash")).await.unwrap_err();
        assert!(matches!(e, JournalError::NoSuchIntent { index: i } if i == index), "{e}");
    }
    assert!(matches!(journal.append(Entry::Intent(intent(2))).await, Err(JournalError::NeedsGuard)));
    assert_eq!(journal.head().index, 2);
}

#[tokio::test]
async fn intents_left_open_by_a_crash_are_reported_and_closed() {
    let sim = SimDisk::new(3, SimPlan::default());
    let (journal, _) = open(sim.clone()).unwrap();
    let mut kept = intent(1);
    kept.subject_tag = Some(Hex([3; 32]));
    let a = journal.record_intent(kept.clone()).await.unwrap();
    let b = journal.record_intent(intent(2)).await.unwrap();
    b.finish(Outcome::new(OutcomeStatus::Done, "ok")).await.unwrap();
    let after = sim.after_power_loss(SimPlan::default());
    std::mem::forget(a);

    let (journal, found) = open(after.clone()).unwrap();
    assert_eq!(found.open_intents, [OpenIntent { index: 1, intent: Some(kept) }]);
    journal.close_intent(1, Outcome::abandoned("restart")).await.unwrap();
    drop(journal);
    let (journal, found) = open(after).unwrap();
    assert!(found.open_intents.is_empty());
    assert_eq!(outcome_of(&journal, 4).outcome.code, "restart");
}

#[tokio::test]
async fn the_highest_block_is_kept() {
    let disk = GateDisk::default();
    let (journal, _) = open(disk.clone()).unwrap();
    assert_eq!(journal.highest_seen_height(), None);
    for h in [5, 9, 7] {
        journal.append(seen(h)).await.unwrap();
    }
    assert_eq!(journal.highest_seen_height(), Some(Height(9)));
    drop(journal);
    let (journal, found) = open(disk).unwrap();
    assert_eq!(found.seen.unwrap().time, UnixMillis(9000));
    assert_eq!(journal.highest_seen(), found.seen);
}

#[tokio::test]
async fn sizes_and_names_are_bounded() {
    let (journal, _) = open(MemDisk::new()).unwrap();
    let big = serde_json::Value::String("x".repeat(entry::MAX_ENTRY_BYTES));
    let entry = Entry::Note(Note { at: NOW, kind: "alarm".into(), data: big.clone() });
    assert!(matches!(journal.append(entry).await, Err(JournalError::TooLarge { .. })));
    for kind in ["", "A", "a b", "信关", &"a".repeat(65)] {
        let entry = Entry::Note(Note { at: NOW, kind: kind.into(), data: 1.into() });
        assert!(matches!(journal.append(entry).await, Err(JournalError::Encode(_))), "{kind}");
    }
    let other = Entry::Other { kind: 9, payload: Vec::new() };
    assert!(matches!(journal.append(other).await, Err(JournalError::Encode(_))));
    // an outcome that does not fit leaves the intent to its guard's drop
    let guard = journal.record_intent(intent(1)).await.unwrap();
    let outcome = Outcome { data: big, ..Outcome::new(OutcomeStatus::Done, "ok") };
    assert!(matches!(guard.finish(outcome).await, Err(JournalError::TooLarge { .. })));
    journal.append(note(1)).await.unwrap();
    assert_eq!(outcome_of(&journal, 2).outcome, Outcome::abandoned("dropped"));
}

#[tokio::test]
async fn a_full_journal_refuses_intents_but_takes_outcomes() {
    let options = JournalOptions { max_bytes: 1000, ..options() };
    let (journal, _) = Journal::open(Box::new(MemDisk::new()), &options, clock()).unwrap();
    let mut guards = Vec::new();
    let full = loop {
        match journal.record_intent(intent(1)).await {
            Ok(guard) => guards.push(guard),
            Err(e) => break e,
        }
    };
    assert!(matches!(full, JournalError::Full { max: 1000, .. }), "{full}");
    assert!((2..9).contains(&guards.len()));
    for guard in guards {
        guard.finish(Outcome::new(OutcomeStatus::Done, "ok")).await.unwrap();
    }
    assert_eq!(journal.open_intents(), 0);
    assert!(matches!(journal.append(note(1)).await, Err(JournalError::Full { .. })));
}

#[tokio::test]
async fn after_a_failed_write_or_sync_it_stays_closed() {
    for plan in [
        SimPlan { fail_sync: Some(5), ..SimPlan::default() },
        SimPlan { fail_write: Some(5), ..SimPlan::default() },
    ] {
        let sim = SimDisk::new(1, plan);
        let (journal, _) = open(sim.clone()).unwrap();
        let guard = journal.record_intent(intent(1)).await.unwrap();
        let mut failed = false;
        for n in 0..9 {
            let result = journal.append(note(n)).await;
            failed |= result.is_err();
            assert_eq!(result.is_err(), failed, "once closed, always closed");
            if let Err(e) = result {
                let text = e.to_string();
                assert!(
                    matches!(e, JournalError::Closed { .. }) && text.contains("asked for by a test"),
                    "{text}"
                );
            }
        }
        assert!(failed && journal.failure().is_some());
        let head = journal.head();
        assert!(guard.finish(Outcome::new(OutcomeStatus::Done, "ok")).await.is_err());
        drop(journal);
        let (journal, found) = open(sim.after_restart(SimPlan::default())).unwrap();
        assert!(journal.head().index >= head.index);
        assert_eq!(found.open_intents.len(), 1);
        journal.append(note(1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_journal_file_belongs_to_one_process_and_one_node() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (journal, _) = open(FileDisk::open(&path).unwrap()).unwrap();
    journal.append(note(1)).await.unwrap();
    assert!(matches!(FileDisk::open(&path), Err(StoreError::InUse { .. })));
    drop(journal);
    let other = JournalOptions { owner: "another-node".into(), ..options() };
    let disk = Box::new(FileDisk::open(&path).unwrap());
    let e = Journal::open(disk, &other, clock()).err().unwrap();
    assert!(matches!(&e, JournalError::Owner { found, .. } if found == "bank-suzhou-1"), "{e}");
    let (journal, found) = open(FileDisk::open(&path).unwrap()).unwrap();
    assert_eq!((found.entries, journal.head().index), (1, 1));
}

#[test]
fn other_files_are_refused_and_not_touched() {
    for content in [b"#!/bin/sh\n".to_vec(), vec![b'x'; 500], b"XINGUAN-JOURNAL\0\0\0\0\x02".to_vec()] {
        let disk = GateDisk::with_content(content.clone());
        let e = open(disk.clone()).err().unwrap();
        assert!(matches!(e, JournalError::NotOurs { .. }), "{e:?}");
        assert_eq!(disk.content(), content);
    }
    let mut newer = b"XINGUAN-JOURNAL\0\0\0\0\x02\x00".to_vec();
    newer.resize(64, 0);
    let e = open(MemDisk::with_content(newer)).err().unwrap();
    assert!(matches!(e, JournalError::Version { found: 2, known: 1, .. }), "{e}");
}
