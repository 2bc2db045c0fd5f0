//! One suite for every `Store`, and what only the one on disk can get wrong.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "helpers of tests may fail the test"
)]

use gw_store::{MAX_KEY_BYTES, MAX_VALUE_BYTES, MemStore, SledStore, Store, StoreError, Write};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

/// Opens it, perhaps again: sled gives a dropped store's lock back when its own threads have ended.
fn open(path: &Path) -> SledStore {
    let deadline = Instant::now() + Duration::from_secs(30);
    let (_keep, nothing) = mpsc::channel::<()>();
    loop {
        match SledStore::open(path, 1 << 20) {
            Err(StoreError::InUse { .. }) if Instant::now() < deadline => {
                let _over = nothing.recv_timeout(Duration::from_millis(5));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Runs a check on each kind of store.
fn each(check: fn(&dyn Store)) {
    check(&MemStore::new());
    let folder = tempfile::tempdir().unwrap();
    check(&open(&folder.path().join("state")));
}

#[test]
fn what_is_committed_is_read() {
    each(|s| {
        assert_eq!(s.read(b"a").unwrap(), None);
        s.commit(&[Write::put("a", "1"), Write::put("b", "2"), Write::put("", "empty key")]).unwrap();
        assert_eq!(s.read(b"a").unwrap().unwrap(), b"1");
        assert_eq!(s.read(b"").unwrap().unwrap(), b"empty key");
        s.commit(&[Write::remove("a"), Write::put("b", ""), Write::remove("never there")]).unwrap();
        assert_eq!(s.read(b"a").unwrap(), None);
        assert_eq!(s.read(b"b").unwrap().unwrap(), b"");
        s.commit(&[]).unwrap();
    });
}

#[test]
fn the_later_write_to_a_key_counts() {
    each(|s| {
        s.commit(&[Write::put("k", "1"), Write::remove("k"), Write::put("k", "2")]).unwrap();
        assert_eq!(s.read(b"k").unwrap().unwrap(), b"2");
        s.commit(&[Write::put("k", "3"), Write::remove("k")]).unwrap();
        assert_eq!(s.read(b"k").unwrap(), None);
    });
}

#[test]
fn scans_are_ordered_bounded_and_within_the_prefix() {
    each(|s| {
        let keys: [&[u8]; 6] = [b"a/1", b"a/2", b"a/\xff", b"a", b"b", b"a/10"];
        let writes: Vec<Write> = keys.iter().map(|k| Write::put(*k, *k)).collect();
        s.commit(&writes).unwrap();
        let found = |prefix: &[u8], after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
            s.scan_after(prefix, after, limit).unwrap().into_iter().map(|(k, _)| k).collect()
        };
        assert_eq!(found(b"a/", None, 9), [b"a/1".to_vec(), b"a/10".into(), b"a/2".into(), b"a/\xff".into()]);
        assert_eq!(found(b"a/", None, 2), [b"a/1".to_vec(), b"a/10".into()]);
        assert_eq!(found(b"a/", Some(b"a/10"), 9), [b"a/2".to_vec(), b"a/\xff".into()]);
        assert_eq!(found(b"a/", Some(b"a/11"), 1), [b"a/2".to_vec()]);
        assert_eq!(found(b"a/", Some(b"A"), 1), [b"a/1".to_vec()], "a position before the prefix");
        assert!(found(b"a/", Some(b"b"), 9).is_empty(), "a position behind the prefix");
        assert!(found(b"a/", None, 0).is_empty());
        assert_eq!(found(b"", None, 99).len(), 6);
        assert_eq!(s.scan(b"b", 9).unwrap(), [(b"b".to_vec(), b"b".to_vec())]);
    });
}

#[test]
fn bounds_are_checked_before_anything_is_done() {
    each(|s| {
        let long = vec![0u8; MAX_KEY_BYTES + 1];
        let big = vec![0u8; MAX_VALUE_BYTES + 1];
        for bad in [Write::put(long.clone(), "x"), Write::remove(long), Write::put("k", big)] {
            let e = s.commit(&[Write::put("first", "1"), bad]).unwrap_err();
            assert!(matches!(e, StoreError::TooLarge { .. }), "{e}");
        }
        assert_eq!(s.read(b"first").unwrap(), None, "a refused commit is refused whole");
        s.commit(&[Write::put(vec![1; MAX_KEY_BYTES], vec![2; MAX_VALUE_BYTES])]).unwrap();
        assert_eq!(s.read(&[1; MAX_KEY_BYTES]).unwrap().unwrap().len(), MAX_VALUE_BYTES);
    });
}

#[test]
fn clearing_removes_everything() {
    each(|s| {
        s.commit(&[Write::put("a", "1"), Write::put("b", "2")]).unwrap();
        s.clear().unwrap();
        assert!(s.scan(b"", 9).unwrap().is_empty());
        s.commit(&[Write::put("c", "3")]).unwrap();
        assert_eq!(s.scan(b"", 9).unwrap().len(), 1);
    });
}

/// Commits of four threads to the same keys: at the end all keys are from the same one.
#[test]
fn concurrent_commits_are_whole() {
    each(|s| {
        std::thread::scope(|scope| {
            for t in 0..4u8 {
                scope.spawn(move || {
                    for i in 0..50u8 {
                        let keys = (0..8u8).map(|k| Write::put([k], [t, i])).collect::<Vec<_>>();
                        s.commit(&keys).unwrap();
                    }
                });
            }
        });
        let all = s.scan(b"", 99).unwrap();
        assert_eq!(all.len(), 8);
        assert!(all.iter().all(|(_, v)| v == &all[0].1), "one commit came last on every key: {all:?}");
    });
}

#[test]
fn a_failed_commit_closes_the_store() {
    let s = MemStore::new();
    s.commit(&[Write::put("a", "1")]).unwrap();
    s.fail_next_commit();
    assert!(matches!(s.commit(&[Write::put("a", "2")]), Err(StoreError::Io { operation: "commit", .. })));
    assert!(matches!(s.read(b"a"), Err(StoreError::Closed { .. })));
    assert!(matches!(s.commit(&[]), Err(StoreError::Closed { .. })));
}

#[test]
fn a_store_on_disk_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/state");
    {
        let s = open(&path);
        s.commit(&[Write::put("a", "1"), Write::put("b", "2")]).unwrap();
        s.commit(&[Write::remove("b")]).unwrap();
        s.flush().unwrap();
    }
    let s = open(&path);
    assert_eq!(s.scan(b"", 9).unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

/// What a killed process leaves is what its file holds: a copy taken while the store is open.
#[test]
fn a_durable_commit_is_in_the_file_when_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open_durable(&folder.path().join("store"), 1 << 20).unwrap();
    for i in 0..10u8 {
        store.commit(&[Write { key: vec![b'k', i], value: Some(vec![i; 3000]) }]).unwrap();
        let copy = folder.path().join(format!("copy-{i}"));
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(folder.path().join("store")).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
            }
        }
        let left = open(&copy);
        let expected: Vec<_> = (0..=i).map(|i| (vec![b'k', i], vec![i; 3000])).collect();
        assert_eq!(left.scan(b"k", 100).unwrap(), expected);
    }
}

#[test]
fn a_store_in_use_is_said_to_be_in_use_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let first = open(&path);
    first.commit(&[Write::put("a", "1")]).unwrap();
    let e = SledStore::open(&path, 1 << 20).err().unwrap();
    assert!(matches!(e, StoreError::InUse { .. }), "{e:?}");
    assert!(e.to_string().contains("state") && e.to_string().contains("stop the other process"));
    assert!(matches!(SledStore::open_or_reset(&path, 1 << 20), Err(StoreError::InUse { .. })));
    assert_eq!(first.read(b"a").unwrap().unwrap(), b"1");
}

#[test]
fn a_folder_with_other_files_is_never_taken_or_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let precious = folder.path().join("precious");
    std::fs::write(&precious, "keep me").unwrap();
    for result in [
        SledStore::open(folder.path(), 1 << 20).map(|_| ()),
        SledStore::open_or_reset(folder.path(), 1 << 20).map(|_| ()),
    ] {
        assert!(matches!(result, Err(StoreError::Open { .. })));
    }
    assert_eq!(std::fs::read(&precious).unwrap(), b"keep me");
    let e = SledStore::open(&precious.join("below-a-file"), 1 << 20).err().unwrap();
    assert!(matches!(e, StoreError::Open { .. }), "{e:?}");
}

/// Each file of the folder is damaged in turn: opening fails with a reason, or what is read is right.
#[test]
fn a_damaged_store_says_so_and_is_rebuilt() {
    let mut refused = 0;
    for file in ["conf", "db"] {
        for damage in [Damage::Garbage, Damage::Flip, Damage::Cut] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state");
            let model = filled(&path);
            damage.apply(&path.join(file));
            match SledStore::open(&path, 1 << 20) {
                Err(e) => {
                    refused += 1;
                    assert!(e.is_corruption(), "{file} {damage:?}: {e:?}");
                    assert!(e.to_string().contains("delete that folder"), "{e}");
                    let (fresh, why) = SledStore::open_or_reset(&path, 1 << 20).unwrap();
                    assert!(why.unwrap().is_corruption());
                    assert!(fresh.scan(b"", 9).unwrap().is_empty());
                    fresh.commit(&[Write::put("a", "1")]).unwrap();
                }
                Ok(s) => {
                    for (k, v) in s.scan(b"", usize::MAX).unwrap() {
                        assert_eq!(model.get(&k), Some(&v), "{file} {damage:?}: a wrong value was served");
                    }
                }
            }
        }
    }
    assert!(refused > 0, "no damage was noticed");
}

fn filled(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let s = open(path);
    let mut model = BTreeMap::new();
    for i in 0..2000u32 {
        let (k, v) = (i.to_be_bytes().to_vec(), vec![(i % 251) as u8; 100]);
        s.commit(&[Write::put(k.clone(), v.clone())]).unwrap();
        model.insert(k, v);
    }
    s.flush().unwrap();
    model
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Garbage,
    Flip,
    Cut,
}

impl Damage {
    fn apply(self, file: &Path) {
        let mut bytes = std::fs::read(file).unwrap();
        let half = bytes.len() / 2;
        match self {
            Self::Garbage => bytes.iter_mut().enumerate().for_each(|(i, b)| *b = (i * 7 + 3) as u8),
            Self::Flip => bytes[half] ^= 0x40,
            Self::Cut => bytes.truncate(half),
        }
        std::fs::write(file, bytes).unwrap();
    }
}

mod model {
    use super::*;
    use proptest::prelude::*;

    fn write() -> impl Strategy<Value = Write> {
        let key = proptest::collection::vec(0u8..3, 0..3);
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4));
        (key, value).prop_map(|(key, value)| Write { key, value })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Both stores do what a sorted map does, and the one on disk still does after reopening.
        #[test]
        fn both_stores_behave_as_a_sorted_map(
            commits in proptest::collection::vec(proptest::collection::vec(write(), 0..6), 0..12),
            prefix in proptest::collection::vec(0u8..3, 0..2),
            after in proptest::option::of(proptest::collection::vec(0u8..3, 0..3)),
            limit in 0usize..6,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let disk = open(&folder.path().join("s"));
            let memory = MemStore::new();
            let mut map = BTreeMap::new();
            for commit in &commits {
                disk.commit(commit).unwrap();
                memory.commit(commit).unwrap();
                for w in commit {
                    match &w.value {
                        Some(v) => map.insert(w.key.clone(), v.clone()),
                        None => map.remove(&w.key),
                    };
                }
            }
            let expected: Vec<_> = map.iter()
                .filter(|(k, _)| k.starts_with(&prefix) && after.as_ref().is_none_or(|a| *k > a))
                .take(limit).map(|(k, v)| (k.clone(), v.clone())).collect();
            prop_assert_eq!(&disk.scan_after(&prefix, after.as_deref(), limit).unwrap(), &expected);
            prop_assert_eq!(&memory.scan_after(&prefix, after.as_deref(), limit).unwrap(), &expected);
            drop(disk);
            let disk = open(&folder.path().join("s"));
            let all: Vec<_> = map.into_iter().collect();
            prop_assert_eq!(&disk.scan(b"", usize::MAX).unwrap(), &all);
            prop_assert_eq!(&memory.scan(b"", usize::MAX).unwrap(), &all);
        }
    }
}
