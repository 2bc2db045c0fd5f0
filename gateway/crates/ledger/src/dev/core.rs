//! The development ledger without sockets: takes transactions, makes blocks, keeps them.

use super::{
    Block, Client, DevError, DevLedgerConfig, Faults, Refusal,
    admit::{check_block_limit, check_form, check_signature},
    genesis::block0,
    index::Index,
    limits::Limits,
    pool::Pool,
    seal::{Sealers, seal},
    storage::BlockLog,
};
use gw_proto::{
    Clock, Height, UnixMillis,
    canon::Digest,
    fisco::{self, BlockHeader, Transaction},
    genesis::{Engine, Genesis},
};
use gw_sm::KeyPair;
use gw_store::Disk;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// How far a block's time may lie ahead of the clock: beyond, no block is made.
const MAX_AHEAD: Duration = Duration::from_secs(5);

/// A development ledger: see the module's description.
pub struct DevLedger {
    config: DevLedgerConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    head: watch::Sender<Height>,
    pub(super) work: Notify,
    /// held by whoever makes blocks, so that two servers of one ledger keep its pace
    pub(super) producer: tokio::sync::Mutex<()>,
}

struct State {
    log: BlockLog,
    index: Index,
    pool: Pool,
    limits: Limits,
    sealers: Sealers,
    faults: Faults,
    /// header of block 0, and of the last block as it was sealed
    first: BlockHeader,
    last: BlockHeader,
}

/// What became of a transaction.
pub(super) enum Fate {
    Waiting,
    InBlock,
    Gone,
}

impl DevLedger {
    /// Opens the ledger on `disk`, or begins a new chain if it is empty. `sealers` are those of the genesis
    /// document, or of the last block if a test has changed them.
    pub fn open(
        config: DevLedgerConfig,
        sealers: Vec<KeyPair>,
        clock: Arc<dyn Clock>,
        disk: Arc<dyn Disk>,
    ) -> Result<Arc<Self>, DevError> {
        let sealers = Sealers::new(sealers)?;
        let first = checked_block0(&config.genesis)?;
        let mut last = first.clone();
        let mut index = Index::default();
        let digest = config.genesis.digest().map_err(|e| DevError::Genesis(e.to_string()))?;
        let log = BlockLog::open(disk, &digest, |span, payload| {
            let number = last.number.saturating_add(1);
            let (block, hashes) =
                read_block(payload, &last).map_err(|what| DevError::Block { number, what })?;
            index.add(&block, &hashes, span);
            last = block.header;
            Ok(())
        })?;
        let known = if last.number == 0 {
            sealers.are(&config.genesis.sealers)
        } else {
            sealers.list() == last.sealer_list
        };
        if !known {
            return Err(DevError::Genesis("these are not the sealers' keys of this chain".to_owned()));
        }
        tracing::warn!(
            height = last.number,
            chain = %config.genesis.chain,
            "development ledger: one process, no consensus, never for real data"
        );
        let state = State {
            log,
            index,
            pool: Pool::new(config.pool_transactions, config.pool_bytes),
            limits: Limits::new(config.rate),
            sealers,
            faults: Faults::default(),
            first,
            last,
        };
        let head = watch::Sender::new(Height(state.last.number));
        Ok(Arc::new(Self {
            config,
            clock,
            state: Mutex::new(state),
            head,
            work: Notify::new(),
            producer: tokio::sync::Mutex::new(()),
        }))
    }

    /// Its settings.
    pub fn config(&self) -> &DevLedgerConfig {
        &self.config
    }
    /// Its genesis document.
    pub fn genesis(&self) -> &Genesis {
        &self.config.genesis
    }
    /// The number of the last block.
    pub fn head(&self) -> Height {
        Height(self.lock().index.head())
    }
    /// Tells when the head moves.
    pub fn watch_head(&self) -> watch::Receiver<Height> {
        self.head.subscribe()
    }
    /// How many transactions wait.
    pub fn waiting(&self) -> usize {
        self.lock().pool.len()
    }
    /// For tests: what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        tracing::warn!(?faults, "development ledger: faults set by a test");
        self.lock().faults = faults;
    }
    /// For tests: other sealers from the next block on.
    pub fn change_sealers(&self, sealers: Vec<KeyPair>) -> Result<(), DevError> {
        let sealers = Sealers::new(sealers)?;
        tracing::warn!("development ledger: sealers changed by a test");
        self.lock().sealers = sealers;
        Ok(())
    }

    /// Takes a transaction in TARS form from a client, or says why not; cheap refusals first. It then waits
    /// for a block.
    pub fn submit(&self, client: &Client, bytes: &[u8]) -> Result<Digest, Refusal> {
        if !self.config.submitters.allow(client) {
            return Err(Refusal::NotListed);
        }
        self.lock().limits.admit(&client.key(), self.clock.instant()).map_err(|wait| {
            Refusal::RateLimited { wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1) }
        })?;
        let candidate = check_form(&self.config.genesis, bytes)?;
        self.lock().check(&candidate.tx, &candidate.hash)?;
        self.lock().pool.check(&candidate)?;
        check_signature(&candidate)?; // slow: without the lock
        let hash = candidate.hash;
        let mut state = self.lock();
        state.check(&candidate.tx, &hash)?;
        state.pool.push(candidate, self.clock.now())?;
        drop(state);
        self.work.notify_one();
        Ok(hash)
    }

    /// Makes a block of what waits; none if nothing does. Its time never lies before the last block's, nor
    /// more than 5 s ahead of the clock. Blocks until the file is synced.
    pub fn make_block(&self) -> Result<Option<Height>, DevError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let now = self.clock.now();
        let number = state.last.number.saturating_add(1);
        let dropped = state.pool.drop_expired(number);
        if dropped > 0 {
            tracing::info!(dropped, number, "development ledger: dropped transactions past their blockLimit");
        }
        let waiting = state.pool.first(self.config.block_transactions, self.config.block_bytes);
        if waiting.is_empty() {
            return Ok(None);
        }
        if state.log.is_closed() {
            return Err(DevError::Closed);
        }
        let time = block_time(now, UnixMillis(state.last.timestamp))?;
        let block = seal(&state.last, &waiting, time, &state.sealers, &state.faults)?;
        let payload =
            serde_json::to_vec(&block).map_err(|e| DevError::Block { number, what: e.to_string() })?;
        let span = state.log.append(&payload)?;
        let hashes: Vec<Digest> = waiting.iter().map(|w| w.hash).collect();
        state.index.add(&block, &hashes, span);
        state.pool.remove(waiting.len());
        tracing::debug!(number, transactions = waiting.len(), "development ledger: block");
        state.last = block.header;
        drop(guard);
        self.head.send_replace(Height(number));
        Ok(Some(Height(number)))
    }

    /// A block; `None` if there is none of that number.
    pub fn block(&self, number: Height) -> Result<Option<Block>, DevError> {
        let (payload, faults) = {
            let state = self.lock();
            if number.0 == 0 {
                let header = state.first.clone();
                let none = (Vec::new(), Vec::new(), Vec::new());
                return Ok(Some(Block { header, transactions: none.0, imported: none.1, receipts: none.2 }));
            }
            let Some(span) = state.index.span(number.0) else { return Ok(None) };
            (state.log.read(span)?, state.faults.clone())
        };
        let mut block: Block = serde_json::from_slice(&payload)
            .map_err(|e| DevError::Block { number: number.0, what: e.to_string() })?;
        if let Some(change) = &faults.serving {
            change(&mut block);
        }
        Ok(Some(block))
    }

    /// The head that is answered: the true one, unless a test says otherwise.
    pub(super) fn claimed_head(&self) -> u64 {
        let state = self.lock();
        state.faults.claimed_head.unwrap_or_else(|| state.index.head())
    }
    /// The number of the block with this hash, `0x…`.
    pub(super) fn number_of(&self, block_hash: &str) -> Option<u64> {
        let state = self.lock();
        if state.first.hash == block_hash { Some(0) } else { state.index.number_of(block_hash) }
    }
    /// Block and position of a transaction.
    pub(super) fn place_of(&self, hash: &Digest) -> Option<(u64, usize)> {
        self.lock().index.place_of(hash)
    }
    /// The sealers' keys, `0x…`.
    pub(super) fn sealer_list(&self) -> Vec<String> {
        self.lock().sealers.list()
    }
    /// What became of a submitted transaction.
    pub(super) fn fate_of(&self, hash: &Digest) -> Fate {
        let state = self.lock();
        match state.index.place_of(hash) {
            Some(_) => Fate::InBlock,
            None if state.pool.holds(hash) => Fate::Waiting,
            None => Fate::Gone,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // the state is changed only after the last step that can fail
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The checks against the chain.
    fn check(&self, tx: &Transaction, hash: &Digest) -> Result<(), Refusal> {
        if self.log.is_closed() {
            return Err(Refusal::Closed);
        }
        if let Some((number, _)) = self.index.place_of(hash) {
            return Err(Refusal::InChain { number });
        }
        check_block_limit(tx.block_limit, self.index.head())?;
        if self.index.nonce_used(&tx.nonce) {
            return Err(Refusal::NonceUsed);
        }
        Ok(())
    }
}

fn checked_block0(genesis: &Genesis) -> Result<BlockHeader, DevError> {
    if genesis.engine != Engine::Development {
        return Err(DevError::Genesis("it is not of a development ledger".to_owned()));
    }
    let first = block0(genesis)?;
    if first.hash != format!("0x{}", genesis.block0) {
        return Err(DevError::Genesis("its block0 is not the hash of this chain's block 0".to_owned()));
    }
    Ok(first)
}

/// Now, or the last block's time if the clock lies behind it, but by no more than 5 s.
fn block_time(now: UnixMillis, last: UnixMillis) -> Result<UnixMillis, DevError> {
    let behind = last.since(now);
    if behind > MAX_AHEAD {
        return Err(DevError::ClockBehind {
            behind_ms: u64::try_from(behind.as_millis()).unwrap_or(u64::MAX),
        });
    }
    Ok(now.max(last))
}

/// A block out of the file: it must follow `parent` and be whole. Signatures are the reader's business.
fn read_block(payload: &[u8], parent: &BlockHeader) -> Result<(Block, Vec<Digest>), String> {
    let block: Block = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
    if block.header.number != parent.number.saturating_add(1) {
        return Err("out of order".to_owned());
    }
    let hash = block.header.compute_hash().map_err(|e| e.to_string())?;
    if block.header.hash != format!("0x{hash}") {
        return Err("its hash is not that of its header".to_owned());
    }
    if block.header.parent_info.first().is_none_or(|p| p.block_hash != parent.hash) {
        return Err("its parent is another block".to_owned());
    }
    let hashes = block.transactions.iter().map(Transaction::compute_hash);
    let hashes = hashes.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    if block.header.txs_root != format!("0x{}", fisco::merkle_root(&hashes)) {
        return Err("its transactions are not those of its header".to_owned());
    }
    if block.imported.len() != hashes.len() || block.receipts.len() != hashes.len() {
        return Err("a receipt or a time is missing".to_owned());
    }
    Ok((block, hashes))
}
