//! A small consortium made on the fly: keys, certificates, one block, one complete valid answer.

use crate::{build, is_complete, merge_items, verify::TrustFile};
use gw_proto::{
    AuthzId, B64, Digest, Dimension, Height, Hex, InstitutionId, NodeId, PublicKey, Purpose, Region, Scheme,
    UnixMillis, Uscc,
    fisco::{
        BlockHeader, Parent, Receipt, SealerSignature, Transaction, encode_put_input, merkle_path,
        merkle_root, write_0x,
    },
    genesis::{Engine, Genesis, Governance, Sealer},
    merkle::{Leaf, LeafKind, ROOT_CONTEXT, Root, SignedLeaf},
    message::{Opening, Reply, ReplyStatus, SignedReply},
    record::{Batch, Heartbeat, KeySignature, Record, Reservation, SignedBatch, Writer},
    report::*,
    sm3,
};
use gw_sm::{
    KeyPair,
    cert::{CertKind, CertSpec, Issuer, Subject, build_cert},
};

pub(super) const ASKER: &str = "gw-suzhou";
pub(super) const SOURCES: [&str; 2] = ["src-hangzhou", "src-hefei"];
pub(super) const NOW: u64 = 1_790_000_000_000;
const DAY: u64 = 86_400_000;
const CONTRACT: &str = "0x00000000000000000000000000000000000a1b2c";

pub(super) fn key(name: &str) -> KeyPair {
    KeyPair::from_secret(Scheme::Sm2Sm3, sm3(name.as_bytes()).0).unwrap()
}
pub(super) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// A certificate of `subject`'s key by the root of that name.
pub(super) fn cert(root: &str, subject: &str, kind: CertKind) -> Vec<u8> {
    let (root_key, subject_key) = (key(root), key(subject));
    let sign = |d: &[u8; 32]| root_key.sign_digest(d).map_err(|e| e.to_string());
    let name = |n: &str| Subject { common_name: Some(n.into()), ..Subject::default() };
    let spec = |kind, who: &str, key: PublicKey| CertSpec {
        kind,
        subject: name(who),
        public_key: key,
        not_before: UnixMillis(NOW - DAY),
        not_after: UnixMillis(NOW + DAY),
        serial: [7; 16],
        dns: vec![],
        ips: vec![],
    };
    let by = |certificate| Issuer { certificate, key: root_key.public_key(), sign: &sign };
    let root_cert = build_cert(&spec(CertKind::Root, root, *root_key.public_key()), &by(None)).unwrap();
    if subject == root {
        return root_cert;
    }
    build_cert(&spec(kind, subject, *subject_key.public_key()), &by(Some(&root_cert))).unwrap()
}

pub(super) fn node_cert(root: &str, subject: &str) -> NodeCertificates {
    let der = cert(root, subject, CertKind::NodeCa { dns: format!("{subject}.example") });
    NodeCertificates { node: node(subject), chain: vec![B64(der)] }
}

/// A leaf signed by `who` in a tree with two neighbours.
pub(super) fn sign_leaf(who: &str, kind: LeafKind, audience: &str, digest: Digest) -> SignedLeaf {
    let key = key(who);
    let leaf =
        |i: u8, audience: &str, digest| Leaf { kind, audience: audience.into(), salt: sm3(&[i]), digest };
    let leaves =
        [leaf(0, "somebody", sm3(b"x")), leaf(1, audience, digest), leaf(2, "somebody-else", sm3(b"y"))];
    let tree = build(&leaves).unwrap();
    let root = Root {
        context: ROOT_CONTEXT.into(),
        key_id: key.public_key().id(),
        size: 3,
        time: UnixMillis(NOW),
        root: tree.root(),
    };
    let [_, leaf, _] = leaves;
    let mut s = SignedLeaf { leaf, index: 1, path: tree.path(1).unwrap(), root, signature: Hex([0; 64]) };
    s.signature = key.sign(&s.root_signing_input().unwrap()).unwrap();
    s
}

pub(super) fn trust() -> TrustFile {
    let sealer = |i| Sealer { key: key(&format!("sealer-{i}")).public_key().point, weight: 1 };
    let genesis = Genesis {
        v: 1,
        consortium: "delta".parse().unwrap(),
        engine: Engine::Development,
        chain: "chain0".into(),
        group: "group0".into(),
        contract: CONTRACT.into(),
        block0: sm3(b"block 0"),
        sealers: (0..4).map(sealer).collect(),
        governance: Governance { threshold: 1, keys: vec![*key("governor").public_key()] },
        rules: 1,
    };
    TrustFile { genesis, roots: vec![B64(cert("root", "root", CertKind::Root))] }
}

pub(super) fn opening() -> Opening {
    let writer: InstitutionId = "bank-suzhou".parse().unwrap();
    let subject = Uscc::parse("91350100M000100Y43").unwrap();
    let dims = vec![Dimension::Basic, Dimension::Tax];
    let authz = AuthzId(sm3(b"authorization"));
    Opening::new(&writer, authz, subject, Purpose::PreLoan, dims, sm3(b"operator"), sm3(b"salt")).unwrap()
}

pub(super) fn batch(trust: &TrustFile, t: &Opening) -> Batch {
    let reservation = Reservation {
        report_id: t.report_id,
        authz_id: t.authz_id,
        commitment: t.commitment().unwrap(),
        deadline: UnixMillis(NOW + 60_000),
    };
    Batch {
        v: 1,
        chain: trust.genesis.chain.clone(),
        genesis: trust.genesis.digest().unwrap(),
        writer: Writer::Node(node(ASKER)),
        expires_height: Height(100),
        nonce: Hex([9; 16]),
        records: vec![Record::Heartbeat(Heartbeat { seen: Height(11) }), Record::Reservation(reservation)],
    }
}

pub(super) fn signed_batch(batch: Batch, by: &str) -> SignedBatch {
    let key = key(by);
    let signature = key.sign(&batch.signing_input().unwrap()).unwrap();
    SignedBatch { batch, signatures: vec![KeySignature { key_id: key.public_key().id(), signature }] }
}

pub(super) fn transaction(payload: &[u8], nonce: u8) -> Transaction {
    let mut tx = Transaction {
        version: 0,
        hash: String::new(),
        chain_id: "chain0".into(),
        group_id: "group0".into(),
        block_limit: 500,
        nonce: hex::encode([nonce; 16]),
        to: CONTRACT.into(),
        input: write_0x(&encode_put_input(payload)),
        abi: String::new(),
        signature: "0x".into(),
    };
    rehash(&mut tx);
    tx
}

pub(super) fn rehash(tx: &mut Transaction) {
    tx.hash = write_0x(&tx.compute_hash().unwrap().0);
}

/// Block 12 with three transactions, ours in the middle; `status` is its receipt's.
pub(super) fn inclusion(tx: Transaction, status: i32) -> InclusionProof {
    let all = [transaction(b"first", 1), tx, transaction(b"third", 3)];
    let receipt_of = |tx: &Transaction, status| {
        let mut r = Receipt {
            version: 0,
            hash: String::new(),
            transaction_hash: tx.hash.clone(),
            gas_used: "21000".into(),
            contract_address: String::new(),
            status,
            output: "0x".into(),
            log_entries: vec![],
            block_number: 12,
        };
        r.hash = write_0x(&r.compute_hash().unwrap().0);
        r
    };
    let receipts = [receipt_of(&all[0], 16), receipt_of(&all[1], status), receipt_of(&all[2], 0)];
    let txs: Vec<Digest> = all.iter().map(|t| t.compute_hash().unwrap()).collect();
    let rs: Vec<Digest> = receipts.iter().map(|r| r.compute_hash().unwrap()).collect();
    let mut header = BlockHeader {
        version: 0,
        hash: String::new(),
        number: 12,
        parent_info: vec![Parent { block_number: 11, block_hash: write_0x(&sm3(b"parent").0) }],
        txs_root: write_0x(&merkle_root(&txs).0),
        receipts_root: write_0x(&merkle_root(&rs).0),
        state_root: write_0x(&[0; 32]),
        gas_used: "63000".into(),
        timestamp: NOW - 500,
        sealer: 0,
        sealer_list: (0..4).map(|i| write_0x(&key(&format!("sealer-{i}")).public_key().point.0)).collect(),
        extra_data: "0x".into(),
        consensus_weights: vec![1; 4],
        signature_list: vec![],
    };
    seal(&mut header, "sealer", &[0, 2, 3]);
    let [_, transaction, _] = all;
    let [_, receipt, _] = receipts;
    InclusionProof {
        header,
        transaction,
        index: 1,
        count: 3,
        tx_path: merkle_path(&txs, 1),
        receipt,
        receipt_path: merkle_path(&rs, 1),
        record: 1,
    }
}

/// Claims the right hash and signs it by these sealers of the family `who`.
pub(super) fn seal(header: &mut BlockHeader, who: &str, signers: &[u64]) {
    let hash = header.compute_hash().unwrap();
    header.hash = write_0x(&hash.0);
    header.signature_list = signers
        .iter()
        .map(|i| SealerSignature {
            sealer_index: *i,
            signature: write_0x(&key(&format!("{who}-{i}")).sign(&hash.0).unwrap().0),
        })
        .collect();
}

pub(super) fn item(id: &str, dimension: Dimension, value: Value) -> Item {
    Item { id: id.into(), dimension, value, as_of: "2026-06-30".into(), key: None, disputed: false }
}

pub(super) fn reply(source: &str) -> Reply {
    let fen = i64::from(source.len() == SOURCES[0].len());
    Reply {
        v: 1,
        report_id: opening().report_id,
        request_leaf: sm3(source.as_bytes()),
        source: node(source),
        asker: node(ASKER),
        height: Height(13),
        hash: sm3(b"block 13"),
        channel: sm3(b"channel"),
        status: ReplyStatus::Answered,
        catalogue: "2026.1".into(),
        as_of: UnixMillis(NOW - 100),
        items: vec![
            item("basic.name", Dimension::Basic, Value::Text("苏州某某有限公司".into())),
            Item { disputed: true, ..item("tax.paid", Dimension::Tax, Value::Money(5 + fen)) },
        ],
    }
}

pub(super) fn signed_reply(reply: Reply) -> SignedReply {
    let who = reply.source.as_str();
    let proof = sign_leaf(who, LeafKind::Reply, reply.asker.as_str(), reply.digest().unwrap());
    SignedReply { reply, proof }
}

/// Signs the report as it stands.
pub(super) fn sign_report(a: &mut Answer) {
    let audience = a.report.operator_tag.to_string();
    a.proof = sign_leaf(ASKER, LeafKind::Report, &audience, a.report.digest().unwrap());
}

/// Makes the report of the replies as they stand, and signs it.
pub(super) fn remerge(a: &mut Answer) {
    a.report.items = merge_items(a.replies.iter().map(|r| &r.reply));
    a.report.replies = a.replies.iter().map(|r| r.proof.leaf_hash().unwrap()).collect();
    for part in &mut a.report.parts {
        let of = a.replies.iter().find(|r| r.reply.source == part.source);
        part.outcome = match of.map(|r| r.reply.status) {
            Some(ReplyStatus::Answered) => PartState::Answered,
            Some(ReplyStatus::Empty) => PartState::Empty,
            None => PartState::Missing { reason: "timeout".into() },
        };
    }
    a.report.complete = is_complete(&a.report.parts);
    sign_report(a);
}

/// A valid answer: two sources replied, they disagree on one item, a third did not answer.
pub(super) fn answer() -> Answer {
    let (trust, t) = (trust(), opening());
    let payload = signed_batch(batch(&trust, &t), ASKER).to_bytes().unwrap();
    let part = |source: &str, region: &str| Part {
        source: node(source),
        institution: format!("of-{source}").parse().unwrap(),
        region: Region::parse(region).unwrap(),
        outcome: PartState::Answered,
    };
    let report = Report {
        v: 1,
        report_id: t.report_id,
        authz_id: t.authz_id,
        subject: t.subject.clone(),
        purpose: t.purpose,
        dimensions: t.dimensions.clone(),
        asker: "bank-suzhou".parse().unwrap(),
        node: node(ASKER),
        operator_tag: t.operator_tag,
        created: UnixMillis(NOW),
        reserved_at: Height(12),
        catalogue: "2026.1".into(),
        complete: false,
        parts: vec![part(SOURCES[0], "330100"), part(SOURCES[1], "340100"), part("src-wuxi", "320200")],
        items: vec![],
        replies: vec![],
    };
    let mut a = Answer {
        v: 1,
        proof: sign_leaf(ASKER, LeafKind::Report, "", sm3(b"")),
        report,
        replies: SOURCES.map(|s| signed_reply(reply(s))).into(),
        reservation: inclusion(transaction(&payload, 2), 0),
        opening: t,
        certificates: [ASKER, SOURCES[0], SOURCES[1]].map(|n| node_cert("root", n)).into(),
    };
    remerge(&mut a);
    a
}

/// Puts another batch, signed by `by`, into the block.
pub(super) fn put_batch(a: &mut Answer, batch: Batch, by: &str) {
    let payload = signed_batch(batch, by).to_bytes().unwrap();
    a.reservation = inclusion(transaction(&payload, 2), 0);
}
