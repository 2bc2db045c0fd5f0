//! Files of format version 1, kept: every later release opens them.
//!
//! To write them anew (only for a new format version, under a new name):
//! `cargo test -p gw-journal -- --ignored write_golden_files`.

use crate::common::*;
use gw_journal::*;
use gw_proto::{AuthzId, Dimension, Height, Hex, InstitutionId, NodeId, Purpose, ReportId, UnixMillis, sm3};
use gw_store::MemDisk;
use std::path::PathBuf;

const JOURNAL: &[u8] = include_bytes!("../../../../../tests/fixtures/journal/v1.journal");
const OUTBOX: &[u8] = include_bytes!("../../../../../tests/fixtures/journal/v1.outbox");
const HEAD: &str = "8de3a71c883c34089037ca4775ffea8fce614879c26a12e2d9177249702a4d5f";

fn intent() -> Intent {
    Intent {
        at: NOW,
        kind: "query".into(),
        asker: Some(InstitutionId::parse("bank-suzhou").unwrap()),
        peer: Some(NodeId::parse("bureau-hangzhou-1").unwrap()),
        authz_id: Some(AuthzId(Hex([1; 32]))),
        report_id: Some(ReportId(Hex([2; 32]))),
        subject_tag: Some(Hex([3; 32])),
        operator_tag: Some(Hex([4; 32])),
        purpose: Some(Purpose::PreLoan),
        dimensions: vec![Dimension::Basic, Dimension::Tax],
        height: Some(Height(41)),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
    }
}

fn outcome() -> Outcome {
    Outcome {
        status: OutcomeStatus::Partial,
        code: "source-missing".into(),
        report_id: Some(ReportId(Hex([2; 32]))),
        reply_leaf: Some(Hex([5; 32])),
        data: serde_json::json!({"parts": [{"source": "bureau-hefei-1", "reason": "timeout"}]}),
    }
}

fn seen() -> SeenHeight {
    SeenHeight { at: NOW, height: Height(42), hash: Hex([6; 32]), time: UnixMillis(NOW.0 - 200) }
}

fn note() -> Note {
    Note {
        at: NOW,
        kind: "alarm".into(),
        data: serde_json::json!({"what": "two heads at one height", "信": "关"}),
    }
}

async fn make_journal() -> Vec<u8> {
    let disk = GateDisk::default();
    let (journal, _) = open(disk.clone()).unwrap();
    journal.append(Entry::SeenHeight(seen())).await.unwrap();
    let first = journal.record_intent(intent()).await.unwrap();
    let second = journal.record_intent(Intent::new("look-up", NOW)).await.unwrap();
    first.finish(outcome()).await.unwrap();
    journal.append(Entry::Note(note())).await.unwrap();
    let bytes = disk.content();
    drop(second);
    bytes
}

async fn make_outbox() -> Vec<u8> {
    let disk = GateDisk::default();
    let options = OutboxOptions { compact_above: 100, ..outbox_options() };
    let (outbox, _) = Outbox::open(Box::new(disk.clone()), &options).unwrap();
    for n in 1..=4u8 {
        outbox.push("delivery", &[n; 100]).await.unwrap();
    }
    for id in [1, 3, 4] {
        outbox.done(id).await.unwrap();
    }
    outbox.push("trace", b"after the clearing").await.unwrap();
    drop(outbox);
    disk.content()
}

#[tokio::test]
async fn a_journal_of_version_1_opens() {
    let disk = GateDisk::with_content(JOURNAL.to_vec());
    let verified = verify_chain(&disk).unwrap();
    assert_eq!(verified.head.digest.to_string(), HEAD);
    let (journal, found) = open(disk.clone()).unwrap();
    assert_eq!((found.entries, found.dropped_bytes, found.seen), (5, 0, Some(seen())));
    assert_eq!(found.open_intents, [OpenIntent { index: 3, intent: Some(Intent::new("look-up", NOW)) }]);
    let entries: Vec<_> = journal.entries(1, 9).unwrap().into_iter().map(|e| e.entry).collect();
    let finished = Finished { intent: 2, at: NOW, outcome: outcome() };
    assert_eq!(entries[0], Entry::SeenHeight(seen()));
    assert_eq!(entries[1], Entry::Intent(intent()));
    assert_eq!(entries[3], Entry::Outcome(finished));
    assert_eq!(entries[4], Entry::Note(note()));
    assert_eq!(disk.content(), JOURNAL, "opening changes nothing");
    journal.close_intent(3, Outcome::abandoned("restart")).await.unwrap();
}

#[tokio::test]
async fn an_outbox_of_version_1_opens() {
    let disk = GateDisk::with_content(OUTBOX.to_vec());
    let (outbox, found) = Outbox::open(Box::new(disk.clone()), &outbox_options()).unwrap();
    assert_eq!((found.pending, found.dropped_bytes), (2, 0));
    let items = outbox.pending(9);
    assert_eq!((items[0].id, &items[0].bytes[..]), (2, &[2u8; 100][..]));
    assert_eq!(
        (items[1].id, items[1].kind.as_str(), &items[1].bytes[..]),
        (5, "trace", &b"after the clearing"[..])
    );
    assert_eq!(disk.content(), OUTBOX, "opening changes nothing");
}

#[tokio::test]
async fn this_release_writes_the_same_bytes() {
    assert_eq!(make_journal().await, JOURNAL);
    assert_eq!(make_outbox().await, OUTBOX);
}

/// The format as documented in frame.rs, followed with nothing but SM3.
#[test]
fn the_chain_is_as_documented() {
    let mut hash = sm3(&[b"xinguan/journal/1\0", &JOURNAL[..64]].concat());
    let tag = &hash.0[..8].to_vec()[..];
    let (mut at, mut index) = (64, 0u64);
    while at < JOURNAL.len() {
        let frame = &JOURNAL[at..];
        index += 1;
        assert_eq!(&frame[..4], b"\xf5XJ\x01");
        let length = u32::from_be_bytes(*frame[8..].first_chunk().unwrap()) as usize;
        assert_eq!(&frame[12..20], tag);
        assert_eq!(frame[20..28], index.to_be_bytes());
        assert_eq!(&frame[36..68], hash.as_bytes());
        assert!(serde_json::from_slice::<serde_json::Value>(&frame[68..68 + length]).is_ok());
        hash = sm3(&[b"xinguan/journal/1\0", &frame[..68 + length]].concat());
        assert_eq!(&frame[68 + length..100 + length], hash.as_bytes());
        at += 100 + length;
    }
    assert_eq!((index, hash.to_string().as_str()), (5, HEAD));
}

/// Appends a frame by the documented format.
fn append_frame(file: &mut Vec<u8>, kind: u8, index: u64, payload: &[u8]) {
    let tag = sm3(&[b"xinguan/journal/1\0", &file[..64]].concat());
    let mut frame = vec![0xf5, b'X', b'J', 1, kind, 0, 0, 0];
    frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend(&tag.0[..8]);
    frame.extend(index.to_be_bytes());
    frame.extend(index.to_be_bytes());
    frame.extend(&file[file.len() - 32..]);
    frame.extend(payload);
    let hash = sm3(&[b"xinguan/journal/1\0", &frame[..]].concat());
    file.extend(frame);
    file.extend(hash.0);
}

/// What a newer release wrote is kept and passed over, so that a rollback of the image still starts.
#[tokio::test]
async fn entries_of_a_newer_release_are_kept() {
    let mut file = JOURNAL.to_vec();
    append_frame(&mut file, 9, 6, b"{\"unknown\":true}");
    append_frame(&mut file, 1, 7, b"{\"shaped\":\"otherwise\"}");
    append_frame(&mut file, 3, 8, br#"{"at":1,"kind":"alarm","data":1,"invented-later":2}"#);
    let (journal, found) = open(MemDisk::with_content(file)).unwrap();
    assert_eq!((found.entries, found.dropped_bytes), (8, 0));
    assert_eq!(found.open_intents[1], OpenIntent { index: 7, intent: None });
    let entries: Vec<_> = journal.entries(6, 9).unwrap().into_iter().map(|e| e.entry).collect();
    assert_eq!(entries[0], Entry::Other { kind: 9, payload: b"{\"unknown\":true}".to_vec() });
    assert!(matches!(entries[1], Entry::Other { kind: 1, .. }));
    assert!(matches!(&entries[2], Entry::Note(n) if n.data == 1));
    assert_eq!(journal.close_intent(7, Outcome::abandoned("restart")).await.unwrap().index, 9);
}

#[tokio::test]
#[ignore = "writes the golden files"]
async fn write_golden_files() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/journal");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("v1.journal"), make_journal().await).unwrap();
    std::fs::write(folder.join("v1.outbox"), make_outbox().await).unwrap();
}
