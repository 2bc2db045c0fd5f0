//! Damage to entries that were durable is named, never cut off as a torn write.

use crate::common::*;
use gw_journal::*;
use gw_store::MemDisk;

/// A journal of eight entries, each durable before the next, and where each begins.
async fn journal() -> (Vec<u8>, Vec<usize>) {
    journal_of([0, 1, 2, 3, 4, 5, 6, 7]).await
}

async fn journal_of(content: [u64; 8]) -> (Vec<u8>, Vec<usize>) {
    let disk = GateDisk::default();
    let (journal, _) = open(disk.clone()).unwrap();
    let mut starts = Vec::new();
    for n in content {
        starts.push(disk.content().len());
        let data = serde_json::json!({ "n": n });
        journal.append(Entry::Note(Note { at: NOW, kind: "note".into(), data })).await.unwrap();
    }
    drop(journal);
    (disk.content(), starts)
}

fn offset_of(bytes: Vec<u8>) -> u64 {
    match open(MemDisk::with_content(bytes.clone())) {
        Err(JournalError::Broken { offset, .. }) => {
            let checked = verify_chain(&MemDisk::with_content(bytes)).unwrap_err();
            assert!(matches!(checked, JournalError::Broken { offset: o, .. } if o == offset));
            assert!(checked.to_string().contains(&format!("byte {offset}")), "{checked}");
            offset
        }
        Err(e) => panic!("{e}"),
        Ok((_, found)) => panic!("damage went unnoticed: {found:?}"),
    }
}

#[tokio::test]
async fn every_flipped_byte_before_the_last_batch_is_an_error_that_names_the_entry() {
    let (bytes, starts) = journal().await;
    for at in starts[0]..starts[7] {
        let mut bad = bytes.clone();
        bad[at] ^= 0x20;
        let begin = starts.iter().rev().find(|s| **s <= at).unwrap();
        assert_eq!(offset_of(bad), *begin as u64, "byte {at}");
    }
}

#[tokio::test]
async fn every_flipped_byte_of_the_last_batch_is_reported() {
    let (bytes, starts) = journal().await;
    for at in starts[7]..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x20;
        let (journal, found) = open(MemDisk::with_content(bad)).unwrap();
        assert_eq!(found.dropped_bytes, (bytes.len() - starts[7]) as u64);
        assert_eq!(found.dropped_at, Some(starts[7] as u64));
        assert_eq!(journal.head().index, 7);
    }
}

#[tokio::test]
async fn a_flipped_byte_of_the_header_is_refused() {
    let (bytes, starts) = journal().await;
    for at in 0..starts[0] {
        let mut bad = bytes.clone();
        bad[at] ^= 0x20;
        assert!(open(MemDisk::with_content(bad)).is_err(), "byte {at}");
    }
}

#[tokio::test]
async fn removed_swapped_repeated_and_inserted_entries_are_noticed() {
    let (bytes, starts) = journal().await;
    let part = |i: usize| bytes[starts[i]..starts.get(i + 1).copied().unwrap_or(bytes.len())].to_vec();
    let with = |order: &[usize]| {
        let mut out = bytes[..starts[0]].to_vec();
        order.iter().for_each(|i| out.extend(part(*i)));
        out
    };
    assert_eq!(with(&[0, 1, 2, 3, 4, 5, 6, 7]), bytes);
    for (order, first_bad) in [
        (&[0, 1, 2, 4, 5, 6, 7][..], 3),
        (&[1, 2, 3, 4, 5, 6, 7], 0),
        (&[0, 1, 2, 4, 3, 5, 6, 7], 3),
        (&[0, 1, 2, 2, 3, 4, 5, 6, 7], 3),
        (&[0, 1, 2, 3, 4, 5, 7], 6),
    ] {
        assert_eq!(offset_of(with(order)), starts[first_bad] as u64, "{order:?}");
    }
    // entries of another journal do not fit, wherever they are put
    let other = GateDisk::default();
    let options = JournalOptions { owner: "another-node".into(), ..options() };
    let (j, _) = Journal::open(Box::new(other.clone()), &options, clock()).unwrap();
    j.append(Entry::Note(Note { at: NOW, kind: "note".into(), data: 1.into() })).await.unwrap();
    drop(j);
    let mut mixed = bytes[..starts[3]].to_vec();
    mixed.extend(&other.content()[64..]);
    mixed.extend(&bytes[starts[3]..]);
    assert_eq!(offset_of(mixed), starts[3] as u64);
}

/// An entry rewritten with all its hashes right: the one behind it still names the entry that was there.
#[tokio::test]
async fn an_entry_rewritten_by_someone_who_knows_the_format_is_noticed() {
    let (bytes, starts) = journal().await;
    let (other, _) = journal_of([0, 1, 2, 9, 4, 5, 6, 7]).await;
    assert_eq!(bytes[..starts[3]], other[..starts[3]]);
    let forged = [&bytes[..starts[3]], &other[starts[3]..starts[4]], &bytes[starts[4]..]].concat();
    assert_eq!(offset_of(forged), starts[4] as u64);
}

#[tokio::test]
async fn more_rubbish_than_a_crash_can_leave_is_an_error() {
    let (mut bytes, _) = journal().await;
    let len = bytes.len() as u64;
    bytes.resize(bytes.len() + 1024 * 1024, 0);
    let (_, found) = open(MemDisk::with_content(bytes.clone())).unwrap();
    assert_eq!((found.dropped_bytes, found.dropped_at), (1024 * 1024, Some(len)));
    bytes.push(0);
    assert_eq!(offset_of(bytes), len);
}

#[tokio::test]
async fn every_cut_is_reported() {
    let (bytes, starts) = journal().await;
    for cut in 64..bytes.len() {
        let (journal, found) = open(MemDisk::with_content(bytes[..cut].to_vec())).unwrap();
        let kept = starts.iter().rposition(|s| *s <= cut).unwrap();
        assert_eq!(journal.head().index, kept as u64);
        assert_eq!(found.dropped_bytes, (cut - starts[kept]) as u64);
    }
}
