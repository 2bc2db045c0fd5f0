//! What the outbox promises, without crashes.

use crate::common::*;
use gw_journal::*;
use gw_store::{Disk, FileDisk, MemDisk, SimDisk, disk::SimPlan};

fn open_box(disk: impl Disk + 'static) -> (Outbox, OutboxRecovered) {
    Outbox::open(Box::new(disk), &outbox_options()).unwrap()
}

fn ids(outbox: &Outbox) -> Vec<u64> {
    outbox.pending(usize::MAX).into_iter().map(|i| i.id).collect()
}

#[tokio::test]
async fn items_stay_until_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox");
    let (outbox, found) = open_box(FileDisk::open(&path).unwrap());
    assert!(found.created && found.pending == 0);
    assert_eq!(outbox.push("delivery", b"one").await.unwrap(), 1);
    assert_eq!(outbox.push("trace", &[0xf5, b'X', b'J', 1]).await.unwrap(), 2);
    assert_eq!(outbox.push("trace", b"").await.unwrap(), 3);
    outbox.done(1).await.unwrap();
    outbox.done(1).await.unwrap();
    outbox.done(99).await.unwrap();
    drop(outbox);
    let (outbox, found) = open_box(FileDisk::open(&path).unwrap());
    assert_eq!((found.created, found.pending, found.dropped_bytes), (false, 2, 0));
    let items = outbox.pending(9);
    assert_eq!(
        (items[0].id, items[0].kind.as_str(), &items[0].bytes[..]),
        (2, "trace", &[0xf5, b'X', b'J', 1][..])
    );
    assert_eq!(items.len(), 2);
    assert_eq!(outbox.pending(1).len(), 1);
    outbox.done(3).await.unwrap();
    drop(outbox);
    let (outbox, _) = open_box(FileDisk::open(&path).unwrap());
    assert_eq!(outbox.push("trace", b"x").await.unwrap(), 4, "an id is never used again");
    assert_eq!(ids(&outbox), [2, 4]);
}

#[tokio::test]
async fn one_kind_does_not_stand_in_anothers_way() {
    let options = OutboxOptions { max_items: 5, max_bytes: 100, ..outbox_options() };
    let (outbox, _) = Outbox::open(Box::new(MemDisk::new()), &options).unwrap();
    for kind in ["delivery", "delivery", "trace", "delivery"] {
        outbox.push(kind, &[0; 20]).await.unwrap();
    }
    let of = |kind, after, limit| -> Vec<u64> {
        outbox.pending_of(kind, after, limit).into_iter().map(|i| i.id).collect()
    };
    assert_eq!(of("trace", 0, 1), [3]);
    assert_eq!(of("delivery", 0, 2), [1, 2]);
    assert_eq!(of("delivery", 2, 2), [4]);
    assert!(of("delivery", u64::MAX, 2).is_empty() && of("trace", 3, 2).is_empty());
    assert!(outbox.has_room(1, 20));
    assert!(!outbox.has_room(2, 20) && !outbox.has_room(1, 21));
}

#[tokio::test]
async fn whoever_watches_is_woken() {
    let (outbox, _) = open_box(MemDisk::new());
    let mut watch = outbox.watch();
    assert_eq!(*watch.borrow_and_update(), 0);
    let id = outbox.push("trace", b"x").await.unwrap();
    assert!(watch.has_changed().unwrap());
    assert_eq!(*watch.borrow_and_update(), 1);
    outbox.done(id).await.unwrap();
    assert_eq!(*watch.borrow_and_update(), 0);
}

#[tokio::test]
async fn count_and_bytes_are_bounded() {
    let options = OutboxOptions { max_items: 3, max_bytes: 1000, ..outbox_options() };
    let (outbox, _) = Outbox::open(Box::new(MemDisk::new()), &options).unwrap();
    outbox.push("a", &[0; 900]).await.unwrap();
    let e = outbox.push("a", &[0; 101]).await.unwrap_err();
    assert!(matches!(e, JournalError::Full { unit: "bytes", .. }), "{e}");
    outbox.push("a", &[0; 100]).await.unwrap();
    outbox.push("a", b"").await.unwrap();
    let e = outbox.push("a", b"").await.unwrap_err();
    assert!(matches!(e, JournalError::Full { unit: "items", found: 4, max: 3, .. }), "{e}");
    outbox.done(1).await.unwrap();
    outbox.push("a", &[0; 900]).await.unwrap();

    assert!(matches!(outbox.push("A B", b"").await, Err(JournalError::Encode(_))));
    let big = vec![0; gw_journal::outbox::MAX_ITEM_BYTES + 1];
    assert!(matches!(outbox.push("a", &big).await, Err(JournalError::TooLarge { .. })));
    let (outbox, _) = open_box(MemDisk::new());
    outbox.push("a", &big[1..]).await.unwrap();
    assert_eq!(outbox.pending(1)[0].bytes.len(), big.len() - 1);
}

/// Ten thousand items pass through; at most a few are pending: the file stays small.
#[tokio::test]
async fn the_file_does_not_grow_with_what_is_done() {
    let options = OutboxOptions { compact_above: 20_000, ..outbox_options() };
    let disk = GateDisk::default();
    let (outbox, _) = Outbox::open(Box::new(disk.clone()), &options).unwrap();
    let mut largest = 0;
    for n in 0..2000u64 {
        let id = outbox.push("delivery", &[u8::try_from(n % 256).unwrap(); 300]).await.unwrap();
        if id > 5 {
            outbox.done(id - 5).await.unwrap();
        }
        largest = largest.max(disk.content().len());
    }
    assert!(largest < 100_000, "{largest} bytes");
    let before = outbox.pending(99);
    assert_eq!(before.iter().map(|i| i.id).collect::<Vec<_>>(), [1996, 1997, 1998, 1999, 2000]);
    drop(outbox);
    let (outbox, _) = Outbox::open(Box::new(disk), &options).unwrap();
    assert_eq!(outbox.pending(99), before);
    assert_eq!(outbox.push("a", b"").await.unwrap(), 2001);
}

/// Pending items grow while finished ones are cleared: the copy does not always fit in front.
#[tokio::test]
async fn clearing_with_growing_content_keeps_everything() {
    let options = OutboxOptions { compact_above: 1000, ..outbox_options() };
    let disk = GateDisk::default();
    let (outbox, _) = Outbox::open(Box::new(disk.clone()), &options).unwrap();
    let mut kept = Vec::new();
    for round in 0..30u64 {
        let mut brief = Vec::new();
        for _ in 0..20 {
            brief.push(outbox.push("brief", &[1; 200]).await.unwrap());
        }
        kept.push(outbox.push("kept", &round.to_be_bytes().repeat(40)).await.unwrap());
        for id in brief {
            outbox.done(id).await.unwrap();
        }
    }
    assert_eq!(ids(&outbox), kept);
    let before = outbox.pending(99);
    drop(outbox);
    let (outbox, found) = Outbox::open(Box::new(disk), &options).unwrap();
    assert_eq!((outbox.pending(99), found.pending), (before, 30));
}

#[tokio::test]
async fn after_a_failed_sync_it_stays_closed() {
    let sim = SimDisk::new(1, SimPlan { fail_sync: Some(6), ..SimPlan::default() });
    let (outbox, _) = open_box(sim.clone());
    let mut acknowledged = Vec::new();
    let e = loop {
        match outbox.push("a", b"x").await {
            Ok(id) => acknowledged.push(id),
            Err(e) => break e,
        }
    };
    assert!(matches!(e, JournalError::Closed { .. }), "{e}");
    assert!(outbox.done(1).await.is_err() && outbox.push("a", b"y").await.is_err());
    assert!(outbox.failure().is_some());
    assert_eq!(ids(&outbox), acknowledged, "what is shown is durable");
    drop(outbox);
    let (outbox, _) = open_box(sim.after_restart(SimPlan::default()));
    assert!(ids(&outbox).starts_with(&acknowledged));
}

#[tokio::test]
async fn other_files_and_other_owners_are_refused() {
    let disk = GateDisk::default();
    drop(open_box(disk.clone()));
    let other = OutboxOptions { owner: "another-node".into(), ..outbox_options() };
    let e = Outbox::open(Box::new(disk.clone()), &other).err().unwrap();
    assert!(matches!(e, JournalError::Owner { .. }), "{e}");
    for content in [vec![b'x'; 50], vec![b'x'; 10_000], vec![0; 10_000]] {
        let disk = GateDisk::with_content(content.clone());
        let e = Outbox::open(Box::new(disk.clone()), &outbox_options()).err().unwrap();
        assert!(matches!(e, JournalError::NotOurs { .. }), "{e}");
        assert_eq!(disk.content(), content);
    }
}

/// One rotten copy of the place is repaired from the other; a rotten entry is an error, not a lost item.
#[tokio::test]
async fn rot_is_repaired_or_named() {
    let disk = GateDisk::default();
    let (outbox, _) = open_box(disk.clone());
    let start = disk.content().len();
    for _ in 0..3 {
        outbox.push("a", b"payload").await.unwrap();
    }
    drop(outbox);
    let good = disk.content();
    for at in (0..192).chain(4096..4096 + 192) {
        let mut bad = good.clone();
        bad[at] ^= 4;
        let disk = GateDisk::with_content(bad);
        assert_eq!(open_box(disk.clone()).1.pending, 3, "byte {at}");
        assert_eq!(disk.content(), good, "both copies are whole again");
    }
    let third = (good.len() - start) / 3;
    for at in start..start + 2 * third {
        let mut bad = good.clone();
        bad[at] ^= 4;
        let e = Outbox::open(Box::new(MemDisk::with_content(bad)), &outbox_options()).err().unwrap();
        let begin = start + (at - start) / third * third;
        assert!(matches!(e, JournalError::Broken { offset, .. } if offset == begin as u64), "{at}: {e}");
    }
}
