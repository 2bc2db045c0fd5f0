//! A valid answer passes; each tampering fails exactly where it should.

mod world;

use super::*;
use gw_proto::{
    Dimension, Hex, Purpose, ReportId,
    fisco::write_0x,
    merkle::LeafKind,
    message::ReplyStatus,
    record::{Batch, Writer},
    report::{Item, Value},
    sm3,
};
use gw_sm::cert::CertKind;
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::LazyLock};
use world::*;

static VALID: LazyLock<Answer> = LazyLock::new(answer);
static TRUST: LazyLock<TrustFile> = LazyLock::new(trust);

fn verdict(a: &Answer) -> Verdict {
    verify_answer(&serde_json::to_vec(a).unwrap(), &TRUST)
}

/// Names of the failed checks, with the node where there is one.
fn failures(v: &Verdict) -> BTreeSet<String> {
    let name = |c: &Check| match &c.about {
        Some(node) => format!("{} {node}", c.name.as_str()),
        None => c.name.as_str().to_owned(),
    };
    v.failed().map(name).collect()
}

/// Tampers with the valid answer and expects exactly these checks to fail.
#[track_caller]
fn expect(what: &str, expected: &[&str], tamper: impl FnOnce(&mut Answer)) {
    let mut a = VALID.clone();
    tamper(&mut a);
    assert_ne!(a, *VALID, "{what}: nothing was changed");
    let v = verdict(&a);
    assert_eq!(failures(&v), expected.iter().map(|s| (*s).to_owned()).collect(), "{what}\n{}", v.render());
    assert!(!v.ok(), "{what}");
    assert!(v.render().contains("FAILED"), "{what}");
}

fn with_reply(a: &mut Answer, i: usize, change: impl FnOnce(&mut gw_proto::message::Reply)) {
    let mut reply = a.replies[i].reply.clone();
    change(&mut reply);
    a.replies[i] = signed_reply(reply);
    remerge(a);
}

fn with_batch(a: &mut Answer, change: impl FnOnce(&mut Batch)) {
    let mut b = batch(&TRUST, &a.opening);
    change(&mut b);
    put_batch(a, b, ASKER);
}

#[test]
fn a_valid_answer_passes_on_one_screen() {
    let v = verdict(&VALID);
    assert!(v.ok(), "{}", v.render());
    assert!(v.checks.iter().all(|c| c.outcome == Outcome::Ok));
    let names: BTreeSet<_> = v.checks.iter().map(|c| c.name).collect();
    assert_eq!(names, CheckName::ALL.into_iter().collect());
    let by: Vec<_> = v.accepted_by.iter().map(|a| (a.by.as_str(), a.height.0)).collect();
    assert_eq!(by, [("src-hangzhou", 13), ("src-hefei", 13)]);
    let text = v.render();
    assert!(text.lines().count() <= 24, "{text}");
    for part in [
        "信关核验：通过",
        "DEVELOPMENT LEDGER",
        "included: proved, block 12",
        "accepted: attested by source src-hefei at height 13",
        "NOT complete: src-wuxi (timeout)",
        "items 3, replies 2, conflicting 矛盾 2, disputed 异议 2",
    ] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
    assert!(!text.contains("91350100M000100Y43"), "the company code has no place on the screen");
}

#[test]
fn a_report_without_replies_passes_and_says_that_nobody_attests() {
    let mut a = VALID.clone();
    a.replies.clear();
    remerge(&mut a);
    let v = verdict(&a);
    assert!(v.ok(), "{}", v.render());
    assert!(v.render().contains("nobody attests it"));
    assert!(v.accepted_by.is_empty());
}

/// An asker whose reservation the rules refused has its transaction in a block all the same, and can sign a
/// reply to itself. That attests nothing.
#[test]
fn the_asker_does_not_attest_its_own_reservation() {
    let mut a = VALID.clone();
    a.replies = vec![signed_reply(reply(ASKER))];
    a.report.parts.truncate(1);
    a.report.parts[0].source = node(ASKER);
    remerge(&mut a);
    let v = verdict(&a);
    assert!(v.accepted_by.is_empty(), "{}", v.render());
    assert!(v.render().contains("nobody attests it"), "{}", v.render());
}

#[test]
fn the_file_itself() {
    let bytes = serde_json::to_vec(&*VALID).unwrap();
    let only = |bytes: &[u8], name: &str| {
        let v = verify_answer(bytes, &TRUST);
        assert_eq!(failures(&v), BTreeSet::from([name.to_owned()]));
        assert!(!v.ok());
        assert_eq!(v.checks.len(), CheckName::ALL.len(), "every check is listed");
    };
    only(&vec![b' '; MAX_ANSWER_BYTES + 1], "size");
    only(b"", "form");
    only(&[&bytes[..], b"x"].concat(), "form");
    only(&bytes[..bytes.len() - 1], "form");
    only("[".repeat(100_000).as_bytes(), "form");
    let text = String::from_utf8(bytes).unwrap();
    only(text.replacen("{\"v\":1,", "{\"v\":1,\"extra\":0,", 1).as_bytes(), "form");
    only(text.replacen("{\"v\":1,", "{\"v\":1,\"v\":1,", 1).as_bytes(), "form");
    expect("version of the answer", &["form"], |a| a.v = 2);
    expect("version of a reply", &["form"], |a| with_reply(a, 0, |r| r.v = 2));
    expect("65 replies", &["form"], |a| a.replies = vec![a.replies[0].clone(); 65]);
    expect("a long path", &["form"], |a| a.reservation.tx_path = vec![sm3(b"x"); 33]);
}

#[test]
fn certificates() {
    let hefei = "certificate src-hefei";
    expect("none", &[hefei], |a| {
        a.certificates.pop();
    });
    expect("twice", &[hefei], |a| a.certificates.push(a.certificates[2].clone()));
    expect("another root's", &[hefei], |a| a.certificates[2] = node_cert("other-root", SOURCES[1]));
    expect("another node's", &[hefei], |a| a.certificates[2].chain = a.certificates[1].chain.clone());
    expect("not a node key's", &[hefei], |a| {
        a.certificates[2].chain = vec![B64(cert("root", SOURCES[1], CertKind::EvidenceSigner))];
    });
    expect("a flipped byte", &[hefei], |a| {
        let der = &mut a.certificates[2].chain[0].0;
        let last = der.len() - 1;
        der[last] ^= 1;
    });
    let all = ["certificate gw-suzhou", "certificate src-hangzhou", hefei];
    expect("out of date", &all, |a| {
        a.report.created = UnixMillis(NOW + 2 * 86_400_000);
        sign_report(a);
    });
    // a key of one's own under the source's name: its certificate does not cover it
    expect("a new key", &["reply-signature src-hefei"], |a| {
        let r = a.replies[1].reply.clone();
        a.replies[1].proof = sign_leaf("thief", LeafKind::Reply, ASKER, r.digest().unwrap());
        remerge(a);
    });
}

#[test]
fn signature_of_the_report() {
    let name = ["report-signature"];
    expect("changed after signing", &name, |a| a.report.created.0 += 1);
    let tag = VALID.report.operator_tag.to_string();
    let digest = VALID.report.digest().unwrap();
    expect("another kind of leaf", &name, |a| a.proof = sign_leaf(ASKER, LeafKind::Reply, &tag, digest));
    expect("for another operator", &name, |a| {
        a.proof = sign_leaf(ASKER, LeafKind::Report, &sm3(b"other").to_string(), digest);
    });
    expect("by a source", &name, |a| a.proof = sign_leaf(SOURCES[0], LeafKind::Report, &tag, digest));
    expect("another index", &name, |a| a.proof.index = 0);
    expect("another path", &name, |a| a.proof.path.reverse());
    expect("another time", &name, |a| a.proof.root.time.0 += 1);
}

#[test]
fn replies() {
    expect("changed after signing", &["reply-signature src-hangzhou"], |a| {
        a.replies[0].reply.items[1].value = Value::Money(1_000_000);
        remerge(a);
    });
    let bind = ["reply-binding src-hangzhou"];
    expect("of another use", &bind, |a| with_reply(a, 0, |r| r.report_id = ReportId(Hex([0; 32]))));
    expect("to another asker", &bind, |a| with_reply(a, 0, |r| r.asker = node("gw-wuxi")));
    expect("from an old state", &bind, |a| with_reply(a, 0, |r| r.height = Height(11)));
    expect("empty, with items", &bind, |a| with_reply(a, 0, |r| r.status = ReplyStatus::Empty));
    expect("twice", &bind, |a| {
        a.replies.push(a.replies[0].clone());
        remerge(a);
    });
    let items = ["reply-items src-hangzhou"];
    expect("outside the dimensions", &items, |a| {
        with_reply(a, 0, |r| r.items.push(item("legal.cases", Dimension::Legal, Value::Integer(1))));
    });
    expect("twice the same fact", &items, |a| {
        with_reply(a, 0, |r| {
            r.items.push(item("basic.name", Dimension::Basic, Value::Text("another".into())))
        });
    });
    expect("no date", &items, |a| with_reply(a, 0, |r| r.items[0].as_of = "yesterday".into()));
}

#[test]
fn what_the_report_makes_of_the_replies() {
    expect("a reply is hidden", &["reply-list", "parts", "merged-items"], |a| {
        a.replies.remove(0);
    });
    expect("a reply is hidden well", &["parts"], |a| {
        a.replies.remove(0);
        remerge(a);
        a.report.parts.remove(0);
        a.report.parts[0].outcome = PartState::Missing { reason: "timeout".into() };
        sign_report(a);
    });
    expect("one more is listed", &["reply-list"], |a| {
        a.report.replies.push(sm3(b"x"));
        sign_report(a);
    });
    expect("a gap is called empty", &["parts"], |a| {
        a.report.parts[2].outcome = PartState::Empty;
        sign_report(a);
    });
    expect("a gap is left out", &["parts"], |a| {
        a.report.parts.pop();
        sign_report(a);
    });
    expect("called complete", &["parts"], |a| {
        a.report.complete = true;
        sign_report(a);
    });
    expect("of a source not asked", &["parts"], |a| {
        a.report.parts[0].source = node("src-other");
        sign_report(a);
    });
    expect("a source stands twice", &["parts"], |a| {
        a.report.parts.push(a.report.parts[2].clone());
        sign_report(a);
    });
    let merged = ["merged-items"];
    expect("another value", &merged, |a| {
        a.report.items[0].item.value = Value::Text("another".into());
        sign_report(a);
    });
    expect("an item is left out", &merged, |a| {
        a.report.items.pop();
        sign_report(a);
    });
    expect("an item is invented", &merged, |a| {
        let invented = item("tax.owed", Dimension::Tax, Value::Money(0));
        let mut line = a.report.items[0].clone();
        line.item = Item { key: Some("2025".into()), ..invented };
        a.report.items.push(line);
        sign_report(a);
    });
    expect("a conflict is hidden", &merged, |a| {
        a.report.items.iter_mut().for_each(|i| i.conflicting = false);
        sign_report(a);
    });
    expect("an objection is hidden", &merged, |a| {
        a.report.items.iter_mut().for_each(|i| i.item.disputed = false);
        sign_report(a);
    });
    expect("another source", &merged, |a| {
        a.report.items[0].sources.pop();
        sign_report(a);
    });
}

#[test]
fn what_was_reserved() {
    expect("another purpose", &["opening-fields"], |a| {
        a.report.purpose = Purpose::Other;
        sign_report(a);
    });
    expect("another subject", &["opening-fields"], |a| {
        a.report.subject = other_subject();
        sign_report(a);
    });
    expect("another purpose, in the opening too", &["report-id", "commitment"], |a| {
        a.report.purpose = Purpose::Other;
        a.opening.purpose = Purpose::Other;
        sign_report(a);
    });
    expect("another salt", &["report-id", "commitment"], |a| a.opening.salt = Hex([0; 32]));
    expect("another institution", &["report-id"], |a| {
        a.report.asker = "bank-wuxi".parse().unwrap();
        sign_report(a);
    });
    expect("unsorted dimensions", &["opening-fields", "report-id", "commitment"], |a| {
        a.opening.dimensions.reverse();
        a.report.dimensions.reverse();
        sign_report(a);
    });
    expect("another commitment on the chain", &["commitment"], |a| {
        with_batch(a, |b| reservation_of(b).commitment.0 = sm3(b"x"));
    });
    expect("another use on the chain", &["reservation"], |a| {
        with_batch(a, |b| reservation_of(b).report_id.0 = sm3(b"x"));
    });
    expect("another authorization on the chain", &["reservation"], |a| {
        with_batch(a, |b| reservation_of(b).authz_id.0 = sm3(b"x"));
    });
    expect("another record", &["reservation"], |a| a.reservation.record = 0);
    expect("no such record", &["reservation"], |a| a.reservation.record = 2);
    expect("an earlier block", &["reserved-at"], |a| {
        a.report.reserved_at = Height(11);
        sign_report(a);
    });
}

fn other_subject() -> gw_proto::Uscc {
    let first: [u8; 17] = *b"91350100M000100Y5";
    let check = gw_proto::uscc::check_character(&first).unwrap();
    gw_proto::Uscc::parse(std::str::from_utf8(&[&first[..], &[check]].concat()).unwrap()).unwrap()
}

fn reservation_of(b: &mut Batch) -> &mut gw_proto::record::Reservation {
    match &mut b.records[1] {
        gw_proto::record::Record::Reservation(r) => r,
        other => panic!("{other:?}"),
    }
}

#[test]
fn batch_and_transaction() {
    expect("of another genesis", &["batch"], |a| with_batch(a, |b| b.genesis = sm3(b"x")));
    expect("of another chain", &["batch"], |a| with_batch(a, |b| b.chain = "chain1".into()));
    expect("expired", &["batch"], |a| with_batch(a, |b| b.expires_height = Height(11)));
    expect("expires too late", &["batch"], |a| with_batch(a, |b| b.expires_height = Height(613)));
    expect("not a batch", &["batch"], |a| a.reservation = inclusion(transaction(b"{}", 2), 0));
    expect("signed by another key", &["batch-signature"], |a| {
        let b = batch(&TRUST, &a.opening);
        put_batch(a, b, SOURCES[0]);
    });
    expect("written by another node", &["batch-signature"], |a| {
        with_batch(a, |b| b.writer = Writer::Node(node(SOURCES[0])));
    });
    expect("written by governance", &["batch-signature"], |a| {
        with_batch(a, |b| b.writer = Writer::Governance)
    });
    let changed = |change: fn(&mut gw_proto::fisco::Transaction)| {
        move |a: &mut Answer| {
            let mut tx = a.reservation.transaction.clone();
            change(&mut tx);
            rehash(&mut tx);
            a.reservation = inclusion(tx, 0);
        }
    };
    expect("to another contract", &["transaction"], changed(|tx| tx.to = tx.to.replace("0x00", "0xff")));
    expect("of another group", &["transaction"], changed(|tx| tx.group_id = "group1".into()));
    expect("a trailing parse", &["transaction"], changed(|tx| tx.input.push_str("00")));
    expect("an abi", &["transaction"], changed(|tx| tx.abi = "[]".into()));
    expect("not in the block", &["transaction-path", "receipt"], |a| {
        a.reservation.transaction.block_limit += 1;
        rehash(&mut a.reservation.transaction);
    });
    expect("another claimed hash", &["transaction"], |a| a.reservation.transaction.hash = write_0x(&[0; 32]));
    expect("another path", &["transaction-path"], |a| a.reservation.tx_path[0] = sm3(b"x"));
    expect("a longer path", &["transaction-path"], |a| a.reservation.tx_path.push(sm3(b"x")));
    expect("another index", &["transaction-path", "receipt-path"], |a| a.reservation.index = 0);
    expect("an index out of range", &["transaction-path", "receipt-path"], |a| a.reservation.index = 3);
    expect("another count", &["transaction-path", "receipt-path"], |a| a.reservation.count = 2);
}

#[test]
fn receipt_and_header() {
    expect("failed on the chain", &["receipt"], |a| {
        a.reservation = inclusion(a.reservation.transaction.clone(), 16);
    });
    expect("a failure called done", &["receipt-path"], |a| {
        a.reservation = inclusion(a.reservation.transaction.clone(), 16);
        a.reservation.receipt.status = 0;
    });
    expect("another receipt path", &["receipt-path"], |a| a.reservation.receipt_path.reverse());
    expect("of another block", &["receipt", "receipt-path"], |a| a.reservation.receipt.block_number = 11);
    expect("of another transaction", &["receipt"], |a| {
        a.reservation.receipt.transaction_hash = write_0x(&[0; 32]);
    });
    expect("another time", &["header"], |a| a.reservation.header.timestamp += 1);
    expect("another root", &["header", "transaction-path"], |a| {
        a.reservation.header.txs_root = write_0x(&[0; 32]);
    });
    let quorum = ["sealer-quorum"];
    expect("another time, hashed anew", &quorum, |a| {
        let h = &mut a.reservation.header;
        h.timestamp += 1;
        h.hash = write_0x(&h.compute_hash().unwrap().0);
    });
    expect("two of four", &quorum, |a| seal(&mut a.reservation.header, "sealer", &[0, 1]));
    expect("one sealer thrice", &quorum, |a| seal(&mut a.reservation.header, "sealer", &[1, 1, 1]));
    expect("nobody", &quorum, |a| a.reservation.header.signature_list.clear());
    expect("sealers of one's own", &quorum, |a| {
        let h = &mut a.reservation.header;
        h.sealer_list = (0..4).map(|i| write_0x(&key(&format!("own-{i}")).public_key().point.0)).collect();
        seal(h, "own", &[0, 1, 2, 3]);
    });
}

#[test]
fn all_that_fails_is_listed() {
    let expected = [
        "report-signature",
        "parts",
        "merged-items",
        "reply-list",
        "sealer-quorum",
        "receipt",
        "receipt-path",
    ];
    expect("several at once", &expected, |a| {
        a.replies.remove(0);
        a.report.created.0 += 1;
        seal(&mut a.reservation.header, "sealer", &[0]);
        a.reservation.receipt.status = 7;
    });
}

#[test]
fn another_consortiums_trust_file_proves_nothing() {
    let mut other = TRUST.clone();
    other.genesis.chain = "chain9".into();
    other.genesis.sealers.iter_mut().enumerate().for_each(|(i, s)| {
        s.key = key(&format!("own-{i}")).public_key().point;
    });
    other.roots = vec![B64(cert("other-root", "other-root", CertKind::Root))];
    let v = verify_answer(&serde_json::to_vec(&*VALID).unwrap(), &other);
    let expected: BTreeSet<String> = [
        "certificate gw-suzhou",
        "certificate src-hangzhou",
        "certificate src-hefei",
        "sealer-quorum",
        "transaction",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(failures(&v), expected);
    assert!(v.accepted_by.is_empty());
    assert!(v.render().contains("included: NOT proved (4 of 8 checks hold)"), "{}", v.render());
}

#[test]
fn a_trust_file_is_bounded() {
    let bytes = serde_json::to_vec(&*TRUST).unwrap();
    assert_eq!(TrustFile::parse(&bytes).unwrap(), *TRUST);
    assert!(matches!(TrustFile::parse(b"{}"), Err(ProofError::TrustForm { .. })));
    let none = TrustFile { roots: vec![], ..TRUST.clone() };
    let none = serde_json::to_vec(&none).unwrap();
    assert_eq!(TrustFile::parse(&none), Err(ProofError::TrustRoots { found: 0 }));
    let large = vec![b' '; MAX_TRUST_BYTES + 1];
    assert!(matches!(TrustFile::parse(&large), Err(ProofError::TrustSize { .. })));
}

#[test]
fn a_strangers_words_do_not_move_the_cursor() {
    let mut a = VALID.clone();
    a.report.parts[2].outcome = PartState::Missing { reason: "\u{1b}[2J\r".repeat(1_000) };
    let text = verdict(&a).render();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    assert!(text.len() < 4_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens to the bytes: no panic, and what still passes says the same.
    #[test]
    fn a_changed_byte_never_changes_what_is_proved(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&*VALID).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if verify_answer(&bytes, &TRUST).ok() {
            let a: Answer = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&a.report, &VALID.report);
            prop_assert_eq!(&a.replies, &VALID.replies);
            prop_assert_eq!(&a.opening, &VALID.opening);
        }
    }
}
