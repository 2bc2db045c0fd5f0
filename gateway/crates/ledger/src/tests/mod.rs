//! A small consortium on a chain in memory, bent in every way that a test needs.

mod bench;
mod driver;
mod follower;
mod heartbeat;
mod histories;
mod inclusion;
#[cfg(feature = "dev")]
mod rpc;
mod state;
mod submit;
mod verify;

use crate::{
    fake::*,
    state::StateHandle,
    verify::{VerifiedBlock, verify_block},
};
use gw_proto::{
    clock::FakeClock,
    genesis::{Genesis, Governance},
    message::revoke_hash,
    record::*,
    *,
};
use gw_sm::KeyPair;
use gw_store::{MemStore, Store};
use hsm_api::{Entropy, HsmError};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The time of block 0.
pub(crate) const START: u64 = 1_790_000_000_000;

pub(crate) fn at(ms: u64) -> UnixMillis {
    UnixMillis(START + ms)
}

pub(crate) fn key(seed: u8) -> Arc<KeyPair> {
    Arc::new(fake_key(seed).unwrap())
}

pub(crate) fn sealers(seeds: &[u8]) -> Vec<FakeSealer> {
    seeds.iter().map(|s| (key(*s), 1)).collect()
}

pub(crate) fn node_id(s: &str) -> NodeId {
    NodeId::parse(s).unwrap()
}

/// (node, institution, role, seed of its key)
pub(crate) const NODES: [(&str, &str, Role, u8); 4] = [
    ("bank-1", "bank", Role::Institution, 31),
    ("source-1", "bureau", Role::Source, 32),
    ("source-2", "bureau", Role::Source, 33),
    ("pboc-1", "pboc", Role::Supervisor, 34),
];

pub(crate) fn key_of(node: &str) -> Arc<KeyPair> {
    key(NODES.iter().find(|n| n.0 == node).unwrap().3)
}

/// Not random: numbers in order. Enough for nonces that must differ.
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1)))
    }
}

impl Entropy for Counter {
    fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
        let n = self.0.fetch_add(1, Ordering::SeqCst);
        for (i, b) in out.iter_mut().enumerate() {
            // the nonce's characters carry six bits of each byte
            *b = u8::try_from((n >> (6 * (i % 8))) & 0x3f).unwrap();
        }
        Ok(())
    }
}

/// A chain, and those who write on it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) chain: FakeChain,
    nonce: u64,
}

impl World {
    /// Before block 1, sealed by four.
    pub(crate) fn new() -> Self {
        let sealers = sealers(&[1, 2, 3, 4]);
        let keys = [21u8, 22, 23].map(|s| *key(s).public_key()).to_vec();
        let genesis = fake_genesis(&sealers, Governance { threshold: 2, keys }).unwrap();
        Self { chain: FakeChain::new(genesis, sealers), nonce: 0 }
    }

    /// With members, nodes and policy in block 1.
    pub(crate) fn standard() -> Self {
        let mut world = Self::new();
        let bootstrap = world.bootstrap();
        world.add(1_000, vec![bootstrap]);
        world
    }

    pub(crate) fn genesis(&self) -> &Genesis {
        self.chain.genesis()
    }

    pub(crate) fn sign(
        &mut self,
        writer: Writer,
        keys: &[Arc<KeyPair>],
        records: Vec<Record>,
    ) -> SignedBatch {
        self.nonce += 1;
        let batch = Batch {
            v: 1,
            chain: self.genesis().chain.clone(),
            genesis: self.genesis().digest().unwrap(),
            writer,
            expires_height: Height(self.chain.head().0 + 400),
            nonce: Hex(u128::from(self.nonce).to_be_bytes()),
            records,
        };
        let input = batch.signing_input().unwrap();
        let signatures = keys
            .iter()
            .map(|k| KeySignature { key_id: k.public_key().id(), signature: k.sign(&input).unwrap() });
        let signatures = signatures.collect();
        SignedBatch { batch, signatures }
    }

    pub(crate) fn wrap(&mut self, batch: &SignedBatch) -> fisco::Transaction {
        self.nonce += 1;
        let mut nonce = [0u8; 16];
        Counter(AtomicU64::new(self.nonce + 1_000_000)).fill(&mut nonce).unwrap();
        fake_transaction(self.genesis(), batch, &FakeSigner(fake_key(99).unwrap()), nonce).unwrap()
    }

    pub(crate) fn bootstrap(&mut self) -> fisco::Transaction {
        let mut records = Vec::new();
        for id in ["bank", "bureau", "pboc"] {
            records.push(Record::Institution(Institution {
                id: InstitutionId::parse(id).unwrap(),
                name: id.into(),
                region: Region::parse("320500").unwrap(),
                standing: Standing::Active,
            }));
        }
        for (id, institution, role, _) in NODES {
            records.push(Record::Node(Node {
                id: node_id(id),
                institution: InstitutionId::parse(institution).unwrap(),
                roles: vec![role],
                region: Region::parse("320500").unwrap(),
                key: *key_of(id).public_key(),
                endpoint: "127.0.0.1:7443".into(),
                standing: Standing::Active,
            }));
        }
        let cap = Cap { max_uses: 10, dimensions: Dimension::ALL.to_vec(), per_holder_day: None };
        records.push(Record::Policy(Policy {
            version: 1,
            caps: Caps { signed: cap.clone(), sealed: cap.clone(), asserted: cap },
            staleness_ms: 60_000,
            reservation_ms: 600_000,
        }));
        let batch = self.sign(Writer::Governance, &[key(21), key(23)], records);
        self.wrap(&batch)
    }

    /// A transaction of a node.
    pub(crate) fn by(&mut self, node: &str, records: Vec<Record>) -> fisco::Transaction {
        let batch = self.sign(Writer::Node(node_id(node)), &[key_of(node)], records);
        self.wrap(&batch)
    }

    pub(crate) fn heartbeat(&mut self) -> fisco::Transaction {
        let seen = self.chain.head();
        self.by("source-1", vec![Record::Heartbeat(Heartbeat { seen })])
    }

    /// A transaction of somebody else in the same group.
    pub(crate) fn foreign(&mut self) -> fisco::Transaction {
        let mut tx = self.heartbeat();
        tx.to = format!("0x{}", "77".repeat(20));
        tx.hash = fisco::write_0x(&tx.compute_hash().unwrap().0);
        tx
    }

    pub(crate) fn authorization(&self, salt: u8, max_uses: u32) -> Authorization {
        let holder = InstitutionId::parse("bank").unwrap();
        let commitment = Commitment(Hex([salt; 32]));
        Authorization {
            id: authz_id(&holder, &commitment).unwrap(),
            holder,
            commitment,
            level: EvidenceLevel::Signed,
            not_before: at(0),
            not_after: at(86_400_000),
            max_uses,
            revoke_hash: revoke_hash(&Hex([salt; 32])),
        }
    }

    /// Adds a block at `ms` after the start, signed by all.
    pub(crate) fn add(&mut self, ms: u64, transactions: Vec<fisco::Transaction>) -> Height {
        self.chain.add(Plan::at(at(ms), transactions)).unwrap()
    }

    /// Adds blocks of one heartbeat, a second apart, from the time of the head on.
    pub(crate) fn extend(&mut self, count: usize) {
        for _ in 0..count {
            let ms = self.head_time().0 - START + 1_000;
            let tx = self.heartbeat();
            self.add(ms, vec![tx]);
        }
    }

    pub(crate) fn head_time(&self) -> UnixMillis {
        self.chain.block(self.chain.head()).map_or(at(0), |b| UnixMillis(b.header.timestamp))
    }

    /// A state of this chain over `store`, its clock at the head's time.
    pub(crate) fn open(&self, store: Arc<dyn Store>, floor: Height) -> (StateHandle, Arc<FakeClock>) {
        let clock = Arc::new(FakeClock::at(self.head_time()));
        (StateHandle::open(store, self.genesis().clone(), clock.clone(), floor).unwrap(), clock)
    }

    pub(crate) fn fresh(&self) -> (StateHandle, Arc<FakeClock>) {
        self.open(Arc::new(MemStore::new()), Height(0))
    }

    /// The next block of the chain for this state, verified.
    pub(crate) fn next_for(&self, handle: &StateHandle) -> VerifiedBlock {
        let c = handle.cursor();
        let block = self.chain.block(Height(c.height.0 + 1)).unwrap();
        verify_block(self.genesis(), c.height, &c.hash, &c.sealers, block).unwrap()
    }

    /// Commits all blocks of the chain.
    pub(crate) fn commit_all(&self, handle: &StateHandle) {
        while handle.cursor().height < self.chain.head() {
            handle.commit(&self.next_for(handle)).unwrap();
        }
    }
}

/// The runtime's time as a clock: under a paused runtime both move together.
pub(crate) struct RuntimeClock {
    wall: UnixMillis,
    start: tokio::time::Instant,
}

impl RuntimeClock {
    pub(crate) fn at(wall: UnixMillis) -> Arc<Self> {
        Arc::new(Self { wall, start: tokio::time::Instant::now() })
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> UnixMillis {
        self.wall.plus(self.start.elapsed())
    }
    fn instant(&self) -> std::time::Instant {
        (self.start + self.start.elapsed()).into_std()
    }
}

/// Waits until something holds; fails after ten seconds of the runtime's time.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let within = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), within).await.is_ok(), "in vain: {what}");
}
