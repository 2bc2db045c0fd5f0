//! Keys, nodes and signed replies for this crate's tests.

use crate::{exchange::Terms, peer::*, plan::Plan};
use gw_proto::{
    AuthzId, Digest, Dimension, EvidenceLevel, Height, Hex, NodeId, Purpose, Region, ReportId, Role, Scheme,
    Standing, UnixMillis, Uscc,
    merkle::{Leaf, LeafKind, ROOT_CONTEXT, Root, SignedLeaf},
    message::*,
    record::Node,
    report::{Item, Value},
    sm3,
};
use gw_sm::KeyPair;

pub(crate) const ASKER: &str = "bank-suzhou";

pub(crate) fn key_of(node: &NodeId) -> KeyPair {
    let secret = sm3(node.as_str().as_bytes());
    KeyPair::from_secret(Scheme::EcdsaP256Sha256, secret.0).unwrap()
}

pub(crate) fn node(i: usize) -> Node {
    let id: NodeId = format!("bureau-{i:03}").parse().unwrap();
    Node {
        key: *key_of(&id).public_key(),
        id,
        institution: format!("bureau-{}", i / 2).parse().unwrap(),
        roles: vec![Role::Source],
        region: Region::parse("330100").unwrap(),
        endpoint: format!("10.0.0.{i}:7443"),
        standing: Standing::Active,
    }
}

pub(crate) fn plan(n: usize) -> Plan {
    Plan::over((0..n).map(node))
}

pub(crate) fn sign_leaf(key: &KeyPair, kind: LeafKind, audience: &str, digest: Digest) -> SignedLeaf {
    let leaf = Leaf { kind, audience: audience.into(), salt: sm3(&digest.0), digest };
    let tree = gw_proof::build(std::slice::from_ref(&leaf)).unwrap();
    let root = Root {
        context: ROOT_CONTEXT.into(),
        key_id: key.public_key().id(),
        size: 1,
        time: UnixMillis(1),
        root: tree.root(),
    };
    let mut s = SignedLeaf { leaf, index: 0, path: vec![], root, signature: Hex([0; 64]) };
    s.signature = key.sign(&s.root_signing_input().unwrap()).unwrap();
    s
}

pub(crate) fn opening() -> Opening {
    let subject = Uscc::parse("91350100M000100Y43").unwrap();
    let writer = ASKER.parse().unwrap();
    let authz = AuthzId(Hex([9; 32]));
    let dims = vec![Dimension::Basic, Dimension::Tax];
    Opening::new(&writer, authz, subject, Purpose::PreLoan, dims, Hex([8; 32]), Hex([7; 32])).unwrap()
}

pub(crate) fn terms() -> Terms {
    let t = opening();
    Terms {
        report_id: t.report_id,
        asker: ASKER.parse().unwrap(),
        dimensions: t.dimensions,
        reserved_at: Height(10),
    }
}

pub(crate) fn template() -> RequestTemplate {
    let opening = opening();
    RequestTemplate {
        height: Height(10),
        hash: Hex([1; 32]),
        asker: ASKER.parse().unwrap(),
        statement: Statement {
            v: 1,
            consortium: "delta".parse().unwrap(),
            subject: opening.subject.clone(),
            holder: ASKER.parse().unwrap(),
            purposes: vec![Purpose::PreLoan],
            dimensions: opening.dimensions.clone(),
            regions: vec![Region::parse("330100").unwrap()],
            not_before: UnixMillis(0),
            not_after: UnixMillis(10),
            max_uses: 1,
            level: EvidenceLevel::Asserted,
            revoke_hash: Hex([2; 32]),
            salt: Hex([3; 32]),
        },
        evidence: Evidence::Asserted { document: Hex([4; 32]) },
        opening,
    }
}

pub(crate) fn item(source: &NodeId) -> Item {
    Item {
        id: "tax.paid".into(),
        dimension: Dimension::Tax,
        value: Value::Money(i64::from(sm3(source.as_str().as_bytes()).0[0] % 3)),
        as_of: "2026-01-31".into(),
        key: None,
        disputed: false,
    }
}

/// An honest reply of `source` to the request with that leaf.
pub(crate) fn reply(source: &NodeId, request_leaf: Digest, channel: Hex<32>) -> Reply {
    Reply {
        v: VERSION,
        report_id: terms().report_id,
        request_leaf,
        source: source.clone(),
        asker: ASKER.parse().unwrap(),
        height: Height(11),
        hash: Hex([5; 32]),
        channel,
        status: ReplyStatus::Answered,
        catalogue: "2026.1".into(),
        as_of: UnixMillis(2),
        items: vec![item(source)],
    }
}

pub(crate) fn signed(reply: Reply, key: &KeyPair) -> SignedReply {
    let proof = sign_leaf(key, LeafKind::Reply, reply.asker.as_str(), reply.digest().unwrap());
    SignedReply { reply, proof }
}

/// Ways in which a source lies; each must be refused.
pub(crate) const LIES: usize = 14;

pub(crate) fn lie(source: &NodeId, request: Digest, channel: Hex<32>, which: usize) -> SignedReply {
    let key = key_of(source);
    let mut r = reply(source, request, channel);
    match which {
        0 => r.v = 2,
        1 => r.source = node(900).id,
        2 => r.asker = "bank-wuxi".parse().unwrap(),
        3 => r.report_id = ReportId(Hex([0; 32])),
        4 => r.request_leaf = Hex([0; 32]),
        5 => r.channel = Hex([0; 32]),
        6 => r.height = Height(9),
        7 => r.status = ReplyStatus::Empty,
        8 => r.catalogue = "\u{1b}[2J".into(),
        9 => {
            r.items = vec![Item { id: "legal.case".into(), dimension: Dimension::Legal, ..item(source) }];
        }
        10 => {
            let big = |i| Item {
                id: format!("basic.n{i}"),
                dimension: Dimension::Basic,
                value: Value::Text("x".repeat(1_000)),
                ..item(source)
            };
            r.items = (0..1_100).map(big).collect();
        }
        11 => return signed(r, &key_of(&node(900).id)),
        12 => {
            let mut s = signed(r, &key);
            s.reply.items.clear();
            return s;
        }
        _ => {
            let proof = sign_leaf(&key, LeafKind::Report, ASKER, r.digest().unwrap());
            return SignedReply { reply: r, proof };
        }
    }
    signed(r, &key)
}
