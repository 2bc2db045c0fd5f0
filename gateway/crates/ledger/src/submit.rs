//! Records into batches into transactions, to an endpoint, and what became of them.
//!
//! What arrives within a few milliseconds shares a batch, one signature and one transaction. A transaction
//! that an endpoint does not take, or does not answer for, goes to the next one *unchanged*: the chain takes
//! it once. "Taken" is only a word: what then stands in no block is offered to the others, too. What counts is only the block that this box has itself verified: [`Submitter::record`] and
//! [`Submitter::reserve`] wait for it.

mod queue;
mod transaction;

pub use queue::SubmitterTask;

use crate::{
    endpoint::Ledger,
    error::LedgerError,
    state::{StateHandle, TxOutcome},
};
use gw_policy::{ApplyError, Fate, RefusalReason, ReservationState, View};
use gw_proto::{
    Digest, Height, NodeId, ReportId, UnixMillis, jcs,
    record::{MAX_RECORDS, Record, Reservation, SignedBatch},
};
use hsm_api::{Entropy, Signer};
use queue::{Item, Keys, Work};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// How far ahead a batch and its transaction expire, in blocks. Less than the 600 that apply and the chain
/// allow: the endpoint that takes it may lag behind this box.
pub const EXPIRES_AFTER: u64 = 500;

/// How a submitter behaves.
#[derive(Debug, Clone)]
pub struct SubmitConfig {
    /// the node that writes
    pub node: NodeId,
    /// how long records are gathered for one batch; default 5 ms
    pub gather: Duration,
    /// how many calls wait at most; default 1,024
    pub queue: usize,
    /// how many transactions are under way at most; default 16
    pub in_flight: usize,
    /// how long one endpoint may take; default 5 s, since FISCO BCOS answers only after the block
    pub per_endpoint: Duration,
    /// after how long without an endpoint that takes it a transaction is given up; default 20 s
    pub give_up: Duration,
    /// after how long a transaction that was taken and stands in no verified block is offered to another
    /// endpoint too; default 5 s
    pub appear: Duration,
}

impl SubmitConfig {
    /// With the defaults.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            gather: Duration::from_millis(5),
            queue: 1024,
            in_flight: 16,
            per_endpoint: Duration::from_secs(5),
            give_up: Duration::from_secs(20),
            appear: Duration::from_secs(5),
        }
    }
}

/// Taken by an endpoint; not yet in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// hash of the transaction
    pub tx_hash: Digest,
    /// the last block that can hold it
    pub expires_height: Height,
    /// position of the call's first record in the batch
    pub first_record: u32,
}

/// In a block that this box has verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// hash of the transaction
    pub tx_hash: Digest,
    /// which block
    pub height: Height,
    /// its hash
    pub hash: Digest,
    /// its time
    pub time: UnixMillis,
    /// position of the transaction in the block
    pub tx_index: u32,
    /// position of the call's first record in the batch
    pub first_record: u32,
    /// one per record of the call, in order
    pub fates: Vec<Fate>,
}

/// Submits records of this node. Clones share one queue.
#[derive(Clone)]
pub struct Submitter {
    queue: mpsc::Sender<Item>,
    handle: StateHandle,
    node: NodeId,
}

impl Submitter {
    /// The submitter, and the task that does the work: run it on a task of your own until it ends. The node
    /// key signs batches, the account key transactions.
    pub fn new(
        config: SubmitConfig,
        ledgers: Vec<Arc<dyn Ledger>>,
        handle: StateHandle,
        node_signer: Arc<dyn Signer>,
        account_signer: Arc<dyn Signer>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, SubmitterTask), LedgerError> {
        if ledgers.is_empty() {
            return Err(LedgerError::NoEndpoint);
        }
        let (queue, items) = mpsc::channel(config.queue.max(1));
        let submitter = Self { queue, handle: handle.clone(), node: config.node.clone() };
        let keys = Keys { node: node_signer, account: account_signer, entropy };
        Ok((submitter, SubmitterTask::new(config, ledgers, handle, keys, items)))
    }

    /// Hands records over; returns when an endpoint has taken them. They stay together in one batch.
    /// [`LedgerError::FateUnknown`] means that an endpoint may have taken them without saying so.
    pub async fn submit(&self, records: Vec<Record>) -> Result<Submitted, LedgerError> {
        let bytes = records_size(&records)?;
        if records.is_empty() || records.len() > MAX_RECORDS || bytes > transaction::MAX_RECORD_BYTES {
            return Err(LedgerError::BatchFull { found: records.len(), bytes });
        }
        self.enqueue(Work::Records { records, bytes }).await
    }

    /// Hands over a batch that others have signed: governance's.
    pub async fn submit_batch(&self, batch: SignedBatch) -> Result<Submitted, LedgerError> {
        self.enqueue(Work::Batch(Box::new(batch))).await
    }

    async fn enqueue(&self, work: Work) -> Result<Submitted, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Item { work, reply }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => LedgerError::Busy,
            mpsc::error::TrySendError::Closed(_) => LedgerError::Stopped,
        })?;
        answer.await.map_err(|_| LedgerError::Stopped)?
    }

    /// Submits records and waits until a verified block holds them.
    pub async fn record(&self, records: Vec<Record>, wait: Duration) -> Result<Recorded, LedgerError> {
        let count = records.len();
        let work = async { self.found(self.submit(records).await?, count).await };
        tokio::time::timeout(wait, work).await.unwrap_or(Err(LedgerError::FateUnknown))
    }

    /// The same for a batch that others have signed.
    pub async fn record_batch(&self, batch: SignedBatch, wait: Duration) -> Result<Recorded, LedgerError> {
        let count = batch.batch.records.len();
        let work = async { self.found(self.submit_batch(batch).await?, count).await };
        tokio::time::timeout(wait, work).await.unwrap_or(Err(LedgerError::FateUnknown))
    }

    /// Submits one record and waits for its fate in a verified block.
    pub async fn write(&self, record: Record, wait: Duration) -> Result<Fate, LedgerError> {
        let recorded = self.record(vec![record], wait).await?;
        recorded.fates.first().copied().ok_or_else(|| LedgerError::NoEffect("it has no fate".into()))
    }

    /// Reserves a use and waits until a verified block has decided on it. The state that comes back says what
    /// was decided, and where: now, or at an earlier reservation of the same content.
    /// [`LedgerError::FateUnknown`] means that it may yet be granted: it counts as spent.
    pub async fn reserve(
        &self,
        reservation: Reservation,
        wait: Duration,
    ) -> Result<ReservationState, LedgerError> {
        let report = reservation.report_id;
        let fate = self.write(Record::Reservation(reservation), wait).await?;
        let decided = self.reservation(&report)?;
        match (fate, decided) {
            // the id is taken by other content: what stands there is not ours
            (Fate::Refused(reason @ RefusalReason::Conflict), _) => Err(LedgerError::RecordRefused(reason)),
            (_, Some(state)) => Ok(state),
            (Fate::Refused(reason), None) => Err(LedgerError::RecordRefused(reason)),
            (_, None) => Err(LedgerError::NoEffect("the reservation is not in the state".into())),
        }
    }

    fn reservation(&self, report: &ReportId) -> Result<Option<ReservationState>, LedgerError> {
        let guard = self.handle.read();
        let view = View::new(&guard);
        let Some(node) = view.node(&self.node).map_err(ApplyError::from)? else { return Ok(None) };
        Ok(view.reservation(&node.record.institution, report).map_err(ApplyError::from)?)
    }

    /// Waits until a verified block holds the transaction, or none can any more.
    async fn found(&self, submitted: Submitted, count: usize) -> Result<Recorded, LedgerError> {
        let mut watch = self.handle.watch();
        loop {
            let height = watch.borrow_and_update().height;
            if let Some(found) = self.handle.find_transaction(&submitted.tx_hash) {
                let fates = match found.outcome {
                    TxOutcome::Skipped(why) => return Err(LedgerError::NoEffect(why.to_string())),
                    TxOutcome::Applied(fates) => fates,
                };
                let first = usize::try_from(submitted.first_record).unwrap_or(usize::MAX);
                return Ok(Recorded {
                    tx_hash: submitted.tx_hash,
                    height: found.height,
                    hash: found.hash,
                    time: found.time,
                    tx_index: found.tx_index,
                    first_record: submitted.first_record,
                    fates: fates.into_iter().skip(first).take(count).collect(),
                });
            }
            if height > submitted.expires_height {
                return Err(LedgerError::Expired { height: submitted.expires_height });
            }
            watch.changed().await.map_err(|_| LedgerError::Stopped)?;
        }
    }
}

/// Canonical bytes of records in a batch, commas included.
fn records_size(records: &[Record]) -> Result<usize, LedgerError> {
    let mut bytes = 0usize;
    for record in records {
        bytes = bytes.saturating_add(jcs(record)?.len()).saturating_add(1);
    }
    Ok(bytes)
}
