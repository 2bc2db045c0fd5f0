//! A chain in memory that a test can bend, and an endpoint of it. Beside the trait it fakes.
//!
//! Blocks have FISCO's shape and real SM2 signatures, so that everything above [`Ledger`] runs unchanged.
//! Bending is explicit: who signs, when a block is dated, what an endpoint shows instead of the truth.

use crate::{
    endpoint::{Ledger, RawBlock},
    error::LedgerError,
    tx::{TxError, build_transaction},
};
use async_trait::async_trait;
use gw_proto::{
    Digest, Height, Hex, PublicKey, Scheme, Signature, UnixMillis,
    fisco::{BlockHeader, FiscoError, Parent, Receipt, SealerSignature, Transaction, merkle_root, write_0x},
    genesis::{Engine, Genesis, Governance, Sealer},
    ids::ConsortiumId,
    record::SignedBatch,
};
use gw_sm::{KeyPair, SigError};
use hsm_api::{HsmError, Signer};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A key in memory as a signer.
pub struct FakeSigner(pub KeyPair);

impl Signer for FakeSigner {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        self.0.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
    }
}

/// The SM2 key whose secret is `seed` 32 times.
pub fn fake_key(seed: u8) -> Result<KeyPair, SigError> {
    KeyPair::from_secret(Scheme::Sm2Sm3, [seed; 32])
}

/// A sealer: its key and its weight.
pub type FakeSealer = (Arc<KeyPair>, u64);

/// A chain of blocks. Cloning it makes a branch.
#[derive(Clone)]
pub struct FakeChain {
    genesis: Genesis,
    sealers: Vec<FakeSealer>,
    blocks: Vec<RawBlock>,
}

/// How the next block is made. [`Plan::at`] is an honest one.
#[derive(Clone)]
pub struct Plan {
    /// its time
    pub time: UnixMillis,
    /// its transactions
    pub transactions: Vec<Transaction>,
    /// statuses of their receipts; 0 where the list ends
    pub statuses: Vec<i32>,
    /// which sealers sign, by index into the list that the header names; all if none is given
    pub signers: Option<Vec<usize>>,
    /// the list that the header names, if it is another one
    pub sealers: Option<Vec<FakeSealer>>,
}

impl Plan {
    /// A block with these transactions, signed by all.
    pub fn at(time: UnixMillis, transactions: Vec<Transaction>) -> Self {
        Self { time, transactions, statuses: Vec::new(), signers: None, sealers: None }
    }
}

/// The genesis document of a fake chain: these sealers, this governance.
pub fn fake_genesis(sealers: &[FakeSealer], governance: Governance) -> Option<Genesis> {
    Some(Genesis {
        v: 1,
        consortium: ConsortiumId::parse("fake-consortium").ok()?,
        engine: Engine::Development,
        chain: "chain0".into(),
        group: "group0".into(),
        contract: format!("0x{}", "5a".repeat(20)),
        block0: Hex([0xb0; 32]),
        sealers: sealers
            .iter()
            .map(|(k, weight)| Sealer { key: k.public_key().point, weight: *weight })
            .collect(),
        governance,
        rules: 1,
    })
}

/// A transaction that carries a batch, signed by an account.
pub fn fake_transaction(
    genesis: &Genesis,
    batch: &SignedBatch,
    account: &dyn Signer,
    nonce: [u8; 16],
) -> Result<Transaction, TxError> {
    let payload = batch.to_bytes().unwrap_or_default();
    build_transaction(genesis, &payload, 10_000, nonce, account)
}

/// The receipt of a transaction, as FISCO writes one for a call.
pub fn fake_receipt(tx: &Transaction, height: Height, status: i32) -> Result<Receipt, FiscoError> {
    let mut receipt = Receipt {
        version: 0,
        hash: String::new(),
        transaction_hash: tx.hash.clone(),
        gas_used: "24363".into(),
        contract_address: String::new(),
        status,
        output: "0x".into(),
        log_entries: Vec::new(),
        block_number: height.0,
    };
    receipt.hash = write_0x(&receipt.compute_hash()?.0);
    Ok(receipt)
}

impl FakeChain {
    /// Before block 1.
    pub fn new(genesis: Genesis, sealers: Vec<FakeSealer>) -> Self {
        Self { genesis, sealers, blocks: Vec::new() }
    }
    /// Its genesis document.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }
    /// Its height.
    pub fn head(&self) -> Height {
        Height(self.blocks.len() as u64)
    }
    /// A block, from 1 on.
    pub fn block(&self, height: Height) -> Option<&RawBlock> {
        self.blocks.get(usize::try_from(height.0).ok()?.checked_sub(1)?)
    }
    /// Who signs now.
    pub fn sealers(&self) -> &[FakeSealer] {
        &self.sealers
    }

    /// Makes a block, adds it, and gives its height.
    pub fn add(&mut self, plan: Plan) -> Result<Height, FiscoError> {
        let block = self.make(plan.clone())?;
        self.blocks.push(block);
        if let Some(sealers) = plan.sealers {
            self.sealers = sealers;
        }
        Ok(self.head())
    }

    /// Makes the next block without adding it.
    pub fn make(&self, plan: Plan) -> Result<RawBlock, FiscoError> {
        let number = self.head().0.saturating_add(1);
        let parent = match self.blocks.last() {
            Some(b) => b.header.hash.clone(),
            None => write_0x(&self.genesis.block0.0),
        };
        let statuses = plan.statuses.iter().copied().chain(std::iter::repeat(0));
        let receipts = plan.transactions.iter().zip(statuses);
        let receipts = receipts.map(|(tx, status)| fake_receipt(tx, Height(number), status));
        let receipts = receipts.collect::<Result<Vec<_>, _>>()?;
        let named = plan.sealers.as_deref().unwrap_or(&self.sealers);
        let header = BlockHeader {
            version: 0x0303_0000,
            hash: String::new(),
            number,
            parent_info: vec![Parent { block_number: number.saturating_sub(1), block_hash: parent }],
            txs_root: root(plan.transactions.iter().map(Transaction::compute_hash))?,
            receipts_root: root(receipts.iter().map(Receipt::compute_hash))?,
            state_root: write_0x(&[0; 32]),
            gas_used: "24363".into(),
            timestamp: plan.time.0,
            sealer: 0,
            sealer_list: named.iter().map(|(k, _)| write_0x(&k.public_key().point.0)).collect(),
            extra_data: "0x".into(),
            consensus_weights: named.iter().map(|(_, weight)| *weight).collect(),
            signature_list: Vec::new(),
        };
        let signers = plan.signers.unwrap_or_else(|| (0..named.len()).collect());
        let header = seal(header, named, &signers)?;
        Ok(RawBlock { header, transactions: plan.transactions, receipts })
    }
}

/// Hashes a header and has it signed: also one that was bent before.
pub fn seal(
    mut header: BlockHeader,
    sealers: &[FakeSealer],
    signers: &[usize],
) -> Result<BlockHeader, FiscoError> {
    let hash = header.compute_hash()?;
    header.hash = write_0x(&hash.0);
    header.signature_list = Vec::new();
    for index in signers {
        let Some((key, _)) = sealers.get(*index) else { continue };
        let signature = key.sign(&hash.0).map(|s| write_0x(&s.0)).unwrap_or_default();
        header.signature_list.push(SealerSignature { sealer_index: *index as u64, signature });
    }
    Ok(header)
}

fn root(hashes: impl Iterator<Item = Result<Digest, FiscoError>>) -> Result<String, FiscoError> {
    Ok(write_0x(&merkle_root(&hashes.collect::<Result<Vec<_>, _>>()?).0))
}

/// What an endpoint shows instead of the truth.
pub type Bend = Arc<dyn Fn(&mut RawBlock) + Send + Sync>;

/// An endpoint of a [`FakeChain`]. It makes no blocks by itself: a test does.
pub struct FakeLedger {
    name: String,
    state: Mutex<FakeState>,
}

struct FakeState {
    chain: FakeChain,
    pool: Vec<Transaction>,
    down: bool,
    /// takes transactions but answers with an error
    mute: bool,
    claimed_head: Option<Height>,
    bend: Option<Bend>,
}

impl FakeLedger {
    /// An honest endpoint.
    pub fn new(name: &str, chain: FakeChain) -> Arc<Self> {
        let state =
            FakeState { chain, pool: Vec::new(), down: false, mute: false, claimed_head: None, bend: None };
        Arc::new(Self { name: name.to_owned(), state: Mutex::new(state) })
    }
    fn lock(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Shows this chain from now on.
    pub fn show(&self, chain: FakeChain) {
        self.lock().chain = chain;
    }
    /// Answers nothing, or answers again.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }
    /// Takes transactions and answers with an error all the same.
    pub fn set_mute(&self, mute: bool) {
        self.lock().mute = mute;
    }
    /// Claims another head.
    pub fn claim_head(&self, head: Option<Height>) {
        self.lock().claimed_head = head;
    }
    /// Shows bent blocks.
    pub fn bend(&self, bend: Option<Bend>) {
        self.lock().bend = bend;
    }
    /// What was submitted since the last call, each transaction once.
    pub fn take_pool(&self) -> Vec<Transaction> {
        std::mem::take(&mut self.lock().pool)
    }

    fn answer<T>(&self, what: impl FnOnce(&mut FakeState) -> Option<T>) -> Result<T, LedgerError> {
        let mut state = self.lock();
        let endpoint = self.name.clone();
        if state.down {
            return Err(LedgerError::Connect {
                endpoint,
                source: std::io::ErrorKind::ConnectionRefused.into(),
            });
        }
        what(&mut state).ok_or_else(|| LedgerError::Answer {
            endpoint,
            method: "fake",
            what: "there is no such block".into(),
        })
    }
}

#[async_trait]
impl Ledger for FakeLedger {
    fn endpoint(&self) -> &str {
        &self.name
    }
    async fn head(&self) -> Result<Height, LedgerError> {
        self.answer(|s| Some(s.claimed_head.unwrap_or_else(|| s.chain.head())))
    }
    async fn block(&self, height: Height) -> Result<RawBlock, LedgerError> {
        self.answer(|s| {
            let mut block = s.chain.block(height)?.clone();
            if let Some(bend) = &s.bend {
                bend(&mut block);
            }
            Some(block)
        })
    }
    async fn submit(&self, tx: &Transaction) -> Result<Digest, LedgerError> {
        let hash = tx.compute_hash()?;
        self.answer(|s| {
            if !s.pool.contains(tx) {
                s.pool.push(tx.clone());
            }
            (!s.mute).then_some(hash)
        })
    }
}
