//! The submitter's task: gathers, signs, sends.

use super::{
    EXPIRES_AFTER, SubmitConfig, Submitted,
    transaction::{Fresh, MAX_RECORD_BYTES, build, wrap},
};
use crate::{endpoint::Ledger, error::LedgerError, state::StateHandle};
use gw_proto::{
    Digest, Height,
    fisco::{Transaction, parse_digest},
    record::{MAX_RECORDS, Record, SignedBatch},
};
use hsm_api::{Entropy, Signer};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Between two rounds over all endpoints.
const PAUSE: Duration = Duration::from_millis(250);

type Reply = oneshot::Sender<Result<Submitted, LedgerError>>;

/// One call's records, or a batch that is signed already.
pub(super) enum Work {
    Records { records: Vec<Record>, bytes: usize },
    Batch(Box<SignedBatch>),
}

pub(super) struct Item {
    pub(super) work: Work,
    pub(super) reply: Reply,
}

/// What goes into one transaction.
enum Group {
    Records { records: Vec<Record>, bytes: usize, replies: Vec<(u32, Reply)> },
    Batch(Box<SignedBatch>, Reply),
}

/// What signs, and what makes nonces.
pub(super) struct Keys {
    pub(super) node: Arc<dyn Signer>,
    pub(super) account: Arc<dyn Signer>,
    pub(super) entropy: Arc<dyn Entropy>,
}

struct Shared {
    ledgers: Vec<Arc<dyn Ledger>>,
    handle: StateHandle,
    config: SubmitConfig,
    keys: Keys,
    /// the endpoint that took the last transaction
    preferred: AtomicUsize,
}

/// Does a submitter's work.
pub struct SubmitterTask {
    shared: Arc<Shared>,
    items: mpsc::Receiver<Item>,
    /// did not fit into the last batch
    carried: Option<Item>,
}

impl SubmitterTask {
    pub(super) fn new(
        config: SubmitConfig,
        ledgers: Vec<Arc<dyn Ledger>>,
        handle: StateHandle,
        keys: Keys,
        items: mpsc::Receiver<Item>,
    ) -> Self {
        let shared = Shared { ledgers, handle, config, keys, preferred: AtomicUsize::new(0) };
        Self { shared: Arc::new(shared), items, carried: None }
    }

    /// Runs until cancelled, or until all submitters are gone and their records are sent.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut under_way: JoinSet<()> = JoinSet::new();
        loop {
            let room = under_way.len() < self.shared.config.in_flight.max(1);
            let first = if room && self.carried.is_some() {
                self.carried.take()
            } else {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    Some(_) = under_way.join_next() => continue,
                    item = self.items.recv(), if room => item,
                }
            };
            let Some(first) = first else { break };
            let group = self.gather(first).await;
            let shared = self.shared.clone();
            under_way.spawn(async move { shared.send(group).await });
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = async { while under_way.join_next().await.is_some() {} } => {}
        }
    }

    /// Adds what comes within a few milliseconds and still fits.
    async fn gather(&mut self, first: Item) -> Group {
        let (mut records, mut bytes, mut replies) = match first.work {
            Work::Batch(batch) => return Group::Batch(batch, first.reply),
            Work::Records { records, bytes } => (records, bytes, vec![(0, first.reply)]),
        };
        let until = Instant::now() + self.shared.config.gather;
        while records.len() < MAX_RECORDS {
            let Ok(Some(item)) = tokio::time::timeout_at(until, self.items.recv()).await else { break };
            match item.work {
                Work::Records { records: more, bytes: size }
                    if records.len() + more.len() <= MAX_RECORDS && bytes + size <= MAX_RECORD_BYTES =>
                {
                    replies.push((u32::try_from(records.len()).unwrap_or(u32::MAX), item.reply));
                    records.extend(more);
                    bytes += size;
                }
                work => {
                    self.carried = Some(Item { work, reply: item.reply });
                    break;
                }
            }
        }
        Group::Records { records, bytes, replies }
    }
}

impl Shared {
    async fn send(self: Arc<Self>, group: Group) {
        let (work, replies) = match group {
            Group::Records { records, bytes, replies } => (Work::Records { records, bytes }, replies),
            Group::Batch(batch, reply) => (Work::Batch(batch), vec![(0, reply)]),
        };
        let result = match self.clone().make(work).await {
            Ok((tx, hash, expires)) => match self.deliver(&tx, &hash).await {
                Ok(by) => Ok((tx, hash, expires, by)),
                Err(e) => Err(e),
            },
            Err(e) => Err(e),
        };
        for (first_record, reply) in replies {
            let answer = match &result {
                Ok((_, tx_hash, expires_height, _)) => {
                    Ok(Submitted { tx_hash: *tx_hash, expires_height: *expires_height, first_record })
                }
                Err(e) => Err(copy(e)),
            };
            // whoever asked may have gone
            drop(reply.send(answer));
        }
        if let Ok((tx, hash, _, Some(by))) = result {
            self.insist(&tx, &hash, by).await;
        }
    }

    /// Whoever took it may drop it: until a verified block holds it, each other endpoint is offered it, too.
    async fn insist(&self, tx: &Transaction, hash: &Digest, taken_by: usize) {
        for i in 1..self.ledgers.len() {
            if tokio::time::timeout(self.config.appear, self.seen(hash)).await.is_ok() {
                return;
            }
            let at = (taken_by + i) % self.ledgers.len();
            let Some(ledger) = self.ledgers.get(at) else { continue };
            tracing::warn!(%hash, to = ledger.endpoint(), "no block holds the transaction; offered again");
            match self.offer(ledger.as_ref(), tx).await {
                Ok(()) => self.preferred.store(at, Ordering::Relaxed),
                Err(e) => tracing::warn!(error = %e, "transaction not taken"),
            }
        }
    }

    /// Signs, on a thread that may block.
    async fn make(self: Arc<Self>, work: Work) -> Result<(Transaction, Digest, Height), LedgerError> {
        let signed = tokio::task::spawn_blocking(move || {
            let fresh = self.fresh()?;
            let (keys, genesis) = (&self.keys, self.handle.genesis());
            let (tx, expires) = match work {
                Work::Records { records, .. } => {
                    let (node, account) = (keys.node.as_ref(), keys.account.as_ref());
                    (build(genesis, &self.config.node, node, account, &fresh, records)?, fresh.expires)
                }
                Work::Batch(batch) => {
                    let expires = batch.batch.expires_height.min(fresh.expires);
                    let fresh = Fresh { expires, ..fresh };
                    (wrap(genesis, keys.account.as_ref(), &fresh, &batch)?, expires)
                }
            };
            let hash = parse_digest("hash", &tx.hash)?;
            Ok((tx, hash, expires))
        });
        signed.await.map_err(|e| LedgerError::Encode(format!("signing failed: {e}")))?
    }

    fn fresh(&self) -> Result<Fresh, LedgerError> {
        let (mut batch_nonce, mut tx_nonce) = ([0u8; 16], [0u8; 16]);
        for nonce in [&mut batch_nonce, &mut tx_nonce] {
            let entropy = self.keys.entropy.fill(nonce);
            entropy.map_err(|e| LedgerError::Sign { what: e.to_string(), busy: false })?;
        }
        let height = self.handle.cursor().height.0;
        Ok(Fresh { expires: Height(height.saturating_add(EXPIRES_AFTER)), batch_nonce, tx_nonce })
    }

    /// The same transaction to one endpoint after another, until one takes it (which?) or a block holds it.
    async fn deliver(&self, tx: &Transaction, hash: &Digest) -> Result<Option<usize>, LedgerError> {
        let rounds = self.rounds(tx);
        tokio::select! {
            () = self.seen(hash) => Ok(None),
            taken = rounds => taken.map(Some),
        }
    }

    async fn rounds(&self, tx: &Transaction) -> Result<usize, LedgerError> {
        let give_up = Instant::now() + self.config.give_up;
        let mut ambiguous = false;
        loop {
            let mut hope = false;
            let mut last = String::new();
            let start = self.preferred.load(Ordering::Relaxed);
            for i in 0..self.ledgers.len() {
                let at = (start + i) % self.ledgers.len();
                let Some(ledger) = self.ledgers.get(at) else { continue };
                match self.offer(ledger.as_ref(), tx).await {
                    Ok(()) => {
                        self.preferred.store(at, Ordering::Relaxed);
                        return Ok(at);
                    }
                    Err(e) => {
                        tracing::warn!(error = %e, "transaction not taken");
                        hope |= e.may_retry();
                        ambiguous |= e.is_ambiguous();
                        last = e.to_string();
                    }
                }
            }
            if !hope || Instant::now() + PAUSE >= give_up {
                if ambiguous {
                    return Err(LedgerError::FateUnknown);
                }
                return Err(LedgerError::NotTaken { last });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn offer(&self, ledger: &dyn Ledger, tx: &Transaction) -> Result<(), LedgerError> {
        let after = self.config.per_endpoint;
        match tokio::time::timeout(after, ledger.submit(tx)).await {
            Ok(result) => result.map(|_| ()),
            Err(_) => {
                let endpoint = ledger.endpoint().to_owned();
                Err(LedgerError::Timeout { endpoint, method: "sendTransaction", after })
            }
        }
    }

    /// Ends when a verified block holds the transaction; an endpoint that took it may have failed to say so.
    async fn seen(&self, hash: &Digest) {
        let mut watch = self.handle.watch();
        loop {
            watch.borrow_and_update();
            if self.handle.find_transaction(hash).is_some() {
                return;
            }
            if watch.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// The error again, for each call that shared the transaction.
fn copy(e: &LedgerError) -> LedgerError {
    match e {
        LedgerError::FateUnknown => LedgerError::FateUnknown,
        LedgerError::NotTaken { last } => LedgerError::NotTaken { last: last.clone() },
        LedgerError::Sign { what, busy } => LedgerError::Sign { what: what.clone(), busy: *busy },
        LedgerError::BatchFull { found, bytes } => LedgerError::BatchFull { found: *found, bytes: *bytes },
        other => LedgerError::Encode(other.to_string()),
    }
}
