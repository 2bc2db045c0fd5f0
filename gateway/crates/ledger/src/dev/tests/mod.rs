//! A ledger in memory, with a clock that a test sets and accounts that sign.

mod chain;
mod faults;
mod http;
mod property;
mod shapes;

use super::*;
use crate::tx::build_transaction;
use gw_proof::chain::{SealerSet, VerifiedHeader, verify_header};
use gw_proto::{Clock, ConsortiumId, Height, PublicKey, Scheme, Signature, fisco, genesis::Governance, tars};
use gw_sm::KeyPair;
use gw_store::{Disk, MemDisk};
use hsm_api::{HsmError, Signer};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

const START: u64 = 1_780_000_000_000;

/// A clock that can be set back, too. Its monotonic time follows the sum of what was added.
struct SetClock {
    base: Instant,
    wall: AtomicU64,
    passed: AtomicU64,
}

impl SetClock {
    fn new() -> Arc<Self> {
        Arc::new(Self { base: Instant::now(), wall: START.into(), passed: 0.into() })
    }
    fn advance(&self, ms: u64) {
        self.wall.fetch_add(ms, Ordering::SeqCst);
        self.passed.fetch_add(ms, Ordering::SeqCst);
    }
    fn set_back(&self, ms: u64) {
        self.wall.fetch_sub(ms, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.wall.load(Ordering::SeqCst))
    }
    fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.passed.load(Ordering::SeqCst))
    }
}

struct Account(KeyPair);

impl Signer for Account {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        self.0.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
    }
}

fn key(seed: u8) -> KeyPair {
    KeyPair::from_secret(Scheme::Sm2Sm3, [seed; 32]).unwrap()
}

fn sealers() -> Vec<KeyPair> {
    (1..=4).map(key).collect()
}

fn new_genesis() -> Genesis {
    let names = Names {
        consortium: ConsortiumId::parse("test-consortium").unwrap(),
        chain: "chain0".into(),
        group: "group0".into(),
    };
    let keys: Vec<PublicKey> = sealers().iter().map(|k| *k.public_key()).collect();
    let governance = Governance { threshold: 1, keys: vec![*key(9).public_key()] };
    genesis(&names, &keys, governance).unwrap()
}

fn someone() -> Client {
    Client::plain(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn config() -> DevLedgerConfig {
    let mut config = DevLedgerConfig::new(new_genesis(), Submitters::Anyone);
    config.rate = Rate { per_second: 1_000_000, burst: 1_000_000 };
    config
}

/// A ledger and what a test changes around it.
struct Bench {
    ledger: Arc<DevLedger>,
    disk: Arc<dyn Disk>,
    clock: Arc<SetClock>,
    account: Account,
    nonce: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(config())
    }
    fn with(config: DevLedgerConfig) -> Self {
        Self::on(config, Arc::new(MemDisk::new()))
    }
    fn on(config: DevLedgerConfig, disk: Arc<dyn Disk>) -> Self {
        let clock = SetClock::new();
        let ledger = DevLedger::open(config, sealers(), clock.clone(), disk.clone()).unwrap();
        Self { ledger, disk, clock, account: Account(key(20)), nonce: 0 }
    }
    /// The process ends and starts again on the same disk.
    fn restart(&mut self) {
        let config = self.ledger.config().clone();
        self.ledger = DevLedger::open(config, sealers(), self.clock.clone(), self.disk.clone()).unwrap();
    }
    fn head(&self) -> u64 {
        self.ledger.head().0
    }
    /// A good transaction, each time another.
    fn tx(&mut self) -> Transaction {
        let limit = i64::try_from(self.head() + 100).unwrap();
        self.tx_with_limit(limit)
    }
    fn tx_with_limit(&mut self, limit: i64) -> Transaction {
        self.nonce += 1;
        // spread over all bytes: a nonce keeps six bits of each
        let nonce: [u8; 16] = std::array::from_fn(|i| u8::try_from(self.nonce >> (4 * i) & 0xf).unwrap());
        build_transaction(self.ledger.genesis(), b"payload", limit, nonce, &self.account).unwrap()
    }
    /// Signs a transaction again after a test has changed it.
    fn sign(&self, mut tx: Transaction) -> Transaction {
        let hash = tx.compute_hash().unwrap();
        let signature = self.account.0.sign(&hash.0).unwrap();
        tx.hash = format!("0x{hash}");
        tx.signature = format!("0x{signature}{}", self.account.0.public_key().point);
        tx
    }
    fn submit(&self, tx: &Transaction) -> Result<gw_proto::Digest, Refusal> {
        self.ledger.submit(&someone(), &tars::encode_transaction(tx).unwrap())
    }
    fn submit_one(&mut self) -> Transaction {
        let tx = self.tx();
        self.submit(&tx).unwrap();
        tx
    }
    fn make(&self) -> u64 {
        self.ledger.make_block().unwrap().expect("a block").0
    }
    fn block(&self, number: u64) -> Block {
        self.ledger.block(Height(number)).unwrap().unwrap()
    }
    fn verify_all(&self) -> Vec<VerifiedHeader> {
        verify_chain(&self.ledger)
    }
}

/// Every block as a follower checks it: header by its sealers, roots recomputed, parents and times in order.
fn verify_chain(ledger: &DevLedger) -> Vec<VerifiedHeader> {
    let genesis = ledger.genesis();
    let mut set = SealerSet::of_genesis(genesis).unwrap();
    let (mut parent, mut time, mut out) = (genesis.block0, 0, Vec::new());
    for number in 1..=ledger.head().0 {
        let block = ledger.block(Height(number)).unwrap().unwrap();
        let header = verify_header(&block.header, &set).unwrap();
        assert_eq!(header.number(), Height(number));
        assert_eq!(header.parent(), parent);
        assert!(header.time().0 >= time, "time went back at {number}");
        let txs: Vec<_> = block.transactions.iter().map(|t| t.compute_hash().unwrap()).collect();
        let receipts: Vec<_> = block.receipts.iter().map(|r| r.compute_hash().unwrap()).collect();
        assert_eq!(header.txs_root(), fisco::merkle_root(&txs));
        assert_eq!(header.receipts_root(), fisco::merkle_root(&receipts));
        for ((tx, hash), receipt) in block.transactions.iter().zip(&txs).zip(&block.receipts) {
            assert_eq!((&tx.hash, &receipt.transaction_hash), (&format!("0x{hash}"), &format!("0x{hash}")));
            assert_eq!((receipt.block_number, receipt.status), (number, 0));
            assert_eq!(tx.payload(genesis).unwrap(), b"payload");
            assert!(tx.block_limit >= i64::try_from(number).unwrap());
        }
        (parent, time, set) = (header.hash(), header.time().0, header.next().clone());
        out.push(header);
    }
    out
}
