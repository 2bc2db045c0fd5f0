//! A small consortium in memory: two banks, two bureaus, a supervisor, three governance keys.

use gw_policy::{BlockInput, BlockOutcome, Fate, MapState, View, apply_block};
use gw_proto::genesis::{Engine, Genesis, Governance};
use gw_proto::message::{Evidence, Opening, Statement, revoke_hash};
use gw_proto::record::*;
use gw_proto::*;
use gw_sm::KeyPair;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const START: u64 = 1_790_000_000_000;
pub(crate) const HOUR: u64 = 3_600_000;
pub(crate) const DAY: u64 = 24 * HOUR;

pub(crate) fn inst(s: &str) -> InstitutionId {
    InstitutionId::parse(s).unwrap()
}
pub(crate) fn node(s: &str) -> NodeId {
    NodeId::parse(s).unwrap()
}
pub(crate) fn region(s: &str) -> Region {
    Region::parse(s).unwrap()
}
pub(crate) fn key(seed: u8) -> Arc<KeyPair> {
    // both schemes are in use on one chain
    let scheme = if seed.is_multiple_of(2) { Scheme::Sm2Sm3 } else { Scheme::EcdsaP256Sha256 };
    Arc::new(KeyPair::from_secret(scheme, [seed; 32]).unwrap())
}
pub(crate) fn preimage(seed: u8) -> Hex<32> {
    Hex([seed; 32])
}
pub(crate) fn at(ms: u64) -> UnixMillis {
    UnixMillis(START + ms)
}

/// (node, institution, roles, region, key)
pub(crate) const NODES: [(&str, &str, &[Role], &str, u8); 8] = [
    ("bank-a-1", "bank-a", &[Role::Institution], "320500", 11),
    ("bank-a-2", "bank-a", &[Role::Institution], "320500", 12),
    ("bank-b-1", "bank-b", &[Role::Institution], "320500", 13),
    ("bureau-c-1", "bureau-c", &[Role::Source], "330100", 14),
    ("bureau-d-1", "bureau-d", &[Role::Institution, Role::Source], "340100", 15),
    ("pboc-1", "pboc", &[Role::Supervisor], "310000", 16),
    ("pboc-2", "pboc", &[Role::Supervisor], "310000", 18),
    ("blocked-1", "blocked", &[Role::Institution, Role::Source], "320500", 17),
];

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) genesis: Genesis,
    pub(crate) governance: Vec<Arc<KeyPair>>,
    pub(crate) keys: BTreeMap<NodeId, Arc<KeyPair>>,
    pub(crate) state: MapState,
    pub(crate) blocks: Vec<BlockInput>,
    pub(crate) time: UnixMillis,
    nonce: u128,
}

impl World {
    /// Before block 1.
    pub(crate) fn empty() -> Self {
        let governance: Vec<_> = [1, 2, 3].map(key).into();
        let genesis = Genesis {
            v: 1,
            consortium: ConsortiumId::parse("test-consortium").unwrap(),
            engine: Engine::Development,
            chain: "chain0".into(),
            group: "group0".into(),
            contract: format!("0x{}", "1".repeat(40)),
            block0: Hex([9; 32]),
            sealers: Vec::new(),
            governance: Governance {
                threshold: 2,
                keys: governance.iter().map(|k| *k.public_key()).collect(),
            },
            rules: 3,
        };
        let keys = NODES.iter().map(|n| (node(n.0), key(n.4))).collect();
        Self {
            genesis,
            governance,
            keys,
            state: MapState::default(),
            blocks: Vec::new(),
            time: at(0),
            nonce: 0,
        }
    }

    /// Members, policy and catalogue listed; `blocked` is blocked.
    pub(crate) fn standard() -> Self {
        let mut w = Self::empty();
        let mut records = Vec::new();
        for id in ["bank-a", "bank-b", "bureau-c", "bureau-d", "pboc", "blocked"] {
            records.push(institution(id));
        }
        records.extend(NODES.iter().map(|n| Record::Node(listed(n.0))));
        records.push(Record::Policy(policy(1)));
        records.push(Record::Catalogue(CatalogueVersion { version: "2026.1".into(), digest: Hex([4; 32]) }));
        let batch = w.govern(records);
        let block = Record::Standing(StandingChange {
            institution: inst("blocked"),
            standing: Standing::Blocked,
            reason: "test".into(),
        });
        for fate in w.apply(vec![batch]).fates {
            assert_eq!(fate.fate, Fate::Accepted, "{fate:?}");
        }
        assert_eq!(w.one("pboc-1", block), Fate::Accepted);
        w
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::new(&self.state)
    }
    pub(crate) fn height(&self) -> Height {
        Height(self.blocks.len() as u64)
    }
    pub(crate) fn batch(&mut self, writer: Writer, records: Vec<Record>) -> Batch {
        self.nonce += 1;
        Batch {
            v: 1,
            chain: self.genesis.chain.clone(),
            genesis: self.genesis.digest().unwrap(),
            writer,
            expires_height: Height(self.height().0 + 100),
            nonce: Hex(self.nonce.to_be_bytes()),
            records,
        }
    }
    /// Records by a node, signed with the key that the node has here (listed or not).
    pub(crate) fn by(&mut self, id: &str, records: Vec<Record>) -> SignedBatch {
        let key = self.keys.get(&node(id)).cloned().unwrap_or_else(|| key(99));
        let batch = self.batch(Writer::Node(node(id)), records);
        sign(batch, &[&key])
    }
    /// Records by two of three governance keys.
    pub(crate) fn govern(&mut self, records: Vec<Record>) -> SignedBatch {
        let batch = self.batch(Writer::Governance, records);
        sign(batch, &[&self.governance[0], &self.governance[2]])
    }
    /// The next block.
    pub(crate) fn input(&self, batches: Vec<SignedBatch>) -> BlockInput {
        let height = Height(self.height().0 + 1);
        let hash = sm3(&height.0.to_be_bytes());
        BlockInput { height, hash, time: self.time, batches: (0u32..).zip(batches).collect() }
    }
    pub(crate) fn apply(&mut self, batches: Vec<SignedBatch>) -> BlockOutcome {
        let input = self.input(batches);
        let outcome = apply_block(&self.genesis, &self.state, &input).unwrap();
        self.state.commit(&outcome.changes);
        self.blocks.push(input);
        outcome
    }
    /// A block with one batch of one record.
    pub(crate) fn one(&mut self, id: &str, record: Record) -> Fate {
        let batch = self.by(id, vec![record]);
        self.single(batch)
    }
    pub(crate) fn govern_one(&mut self, record: Record) -> Fate {
        let batch = self.govern(vec![record]);
        self.single(batch)
    }
    pub(crate) fn single(&mut self, batch: SignedBatch) -> Fate {
        self.apply(vec![batch]).fates[0].fate
    }
}

pub(crate) fn sign(batch: Batch, keys: &[&KeyPair]) -> SignedBatch {
    let input = batch.signing_input().unwrap();
    let signatures = keys
        .iter()
        .map(|k| KeySignature { key_id: k.public_key().id(), signature: k.sign(&input).unwrap() })
        .collect();
    SignedBatch { batch, signatures }
}

pub(crate) fn institution(id: &str) -> Record {
    Record::Institution(Institution {
        id: inst(id),
        name: format!("{id} 测试"),
        region: region("320500"),
        standing: Standing::Active,
    })
}
pub(crate) fn listed(id: &str) -> Node {
    let n = NODES.iter().find(|n| n.0 == id).unwrap();
    Node {
        id: node(n.0),
        institution: inst(n.1),
        roles: n.2.to_vec(),
        region: region(n.3),
        key: *key(n.4).public_key(),
        endpoint: format!("{id}.example:8443"),
        standing: Standing::Active,
    }
}
pub(crate) fn policy(version: u32) -> Policy {
    let cap = |max_uses, dimensions: &[Dimension], per_holder_day| Cap {
        max_uses,
        dimensions: dimensions.to_vec(),
        per_holder_day,
    };
    Policy {
        version,
        caps: Caps {
            signed: cap(100, &Dimension::ALL, None),
            sealed: cap(20, &Dimension::ALL, None),
            asserted: cap(5, &[Dimension::Basic, Dimension::Operation, Dimension::Legal], Some(3)),
        },
        staleness_ms: 60_000,
        reservation_ms: 600_000,
    }
}

/// An asserted statement of `bank-a` unless changed.
pub(crate) fn statement(seed: u8) -> Statement {
    Statement {
        v: 1,
        consortium: ConsortiumId::parse("test-consortium").unwrap(),
        subject: Uscc::parse("91350100M000100Y43").unwrap(),
        holder: inst("bank-a"),
        purposes: vec![Purpose::PreLoan, Purpose::PostLoan],
        dimensions: vec![Dimension::Basic, Dimension::Operation],
        regions: vec![region("330100"), region("340100")],
        not_before: at(0),
        not_after: at(30 * DAY),
        max_uses: 2,
        level: EvidenceLevel::Asserted,
        revoke_hash: revoke_hash(&preimage(seed)),
        salt: Hex([seed; 32]),
    }
}
pub(crate) fn asserted() -> Evidence {
    Evidence::Asserted { document: Hex([5; 32]) }
}
pub(crate) fn authorization(s: &Statement) -> Record {
    Record::Authorization(Authorization::of(s).unwrap())
}
/// T of `writer` under S.
pub(crate) fn opening(s: &Statement, writer: &InstitutionId, salt: u8) -> Opening {
    let id = Authorization::of(s).unwrap().id;
    let dimensions = vec![Dimension::Basic];
    let tag = Hex([6; 32]);
    Opening::new(writer, id, s.subject.clone(), Purpose::PreLoan, dimensions, tag, Hex([salt; 32])).unwrap()
}
pub(crate) fn reservation(t: &Opening, deadline: UnixMillis) -> Record {
    Record::Reservation(Reservation {
        report_id: t.report_id,
        authz_id: t.authz_id,
        commitment: t.commitment().unwrap(),
        deadline,
    })
}
pub(crate) fn trace(
    asker: &str,
    report_id: ReportId,
    side: Side,
    source: &str,
    status: TraceStatus,
) -> Trace {
    let reply_leaf = (status == TraceStatus::Answered).then_some(Hex([8; 32]));
    Trace { asker: inst(asker), report_id, side, source: node(source), status, reply_leaf }
}

/// A verdict on a gateway with its listed key.
pub(crate) fn verdict(on: &str, result: VerdictResult, judged: UnixMillis) -> DeviceVerdict {
    DeviceVerdict { node: node(on), key: listed(on).key.id(), result, judged, history: Hex([7; 32]) }
}
