//! A block from transactions, in FISCO's shape, signed by the sealers.

use super::{Block, DevError, NAME, genesis::BLOCK_VERSION, pool::Waiting};
use gw_proto::{
    Scheme, UnixMillis,
    canon::Digest,
    fisco::{self, BlockHeader, Parent, Receipt, SealerSignature, Transaction},
    genesis::Sealer,
    sm3,
};
use gw_sm::KeyPair;
use std::{collections::BTreeSet, sync::Arc};

/// What a test makes the ledger do wrong. Nothing by default.
#[derive(Clone, Default)]
pub struct Faults {
    /// these sealers, by index, do not sign
    pub silent: BTreeSet<usize>,
    /// the status of the receipts in the next blocks
    pub status: i32,
    /// changes a header before it is hashed and signed: a lie with good signatures
    pub before_sealing: Option<Change<BlockHeader>>,
    /// changes what is served: omitted transactions, other signatures; the file keeps the truth
    pub serving: Option<Change<Block>>,
    /// the head that is claimed instead of the true one
    pub claimed_head: Option<u64>,
}

/// A change of something.
pub type Change<T> = Arc<dyn Fn(&mut T) + Send + Sync>;

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults")
            .field("silent", &self.silent)
            .field("status", &self.status)
            .field("before_sealing", &self.before_sealing.is_some())
            .field("serving", &self.serving.is_some())
            .field("claimed_head", &self.claimed_head)
            .finish()
    }
}

/// The sealers' keys, all in this one process: what makes this a development ledger.
pub(super) struct Sealers(Vec<KeyPair>);

impl Sealers {
    pub(super) fn new(keys: Vec<KeyPair>) -> Result<Self, DevError> {
        if keys.is_empty() || keys.iter().any(|k| k.public_key().scheme != Scheme::Sm2Sm3) {
            return Err(DevError::Genesis("sealers' keys must be SM2 keys, at least one".to_owned()));
        }
        Ok(Self(keys))
    }
    /// As they stand in a header.
    pub(super) fn list(&self) -> Vec<String> {
        self.0.iter().map(|k| format!("0x{}", k.public_key().point)).collect()
    }
    pub(super) fn are(&self, sealers: &[Sealer]) -> bool {
        self.0.len() == sealers.len()
            && self.0.iter().zip(sealers).all(|(k, s)| k.public_key().point == s.key && s.weight == 1)
    }
    /// Who proposes a block: its number modulo the number of sealers.
    fn leader(&self, number: u64) -> i64 {
        u64::try_from(self.0.len())
            .ok()
            .and_then(|n| number.checked_rem(n))
            .and_then(|i| i64::try_from(i).ok())
            .unwrap_or_default()
    }
    fn sign(&self, hash: &Digest, silent: &BTreeSet<usize>) -> Result<Vec<SealerSignature>, gw_sm::SigError> {
        let speaking = (0u64..).zip(&self.0).enumerate().filter(|(i, _)| !silent.contains(i));
        speaking
            .map(|(_, (sealer_index, key))| {
                Ok(SealerSignature { sealer_index, signature: format!("0x{}", key.sign(&hash.0)?) })
            })
            .collect()
    }
}

/// The block after `parent`, sealed.
pub(super) fn seal(
    parent: &BlockHeader,
    waiting: &[Waiting],
    time: UnixMillis,
    sealers: &Sealers,
    faults: &Faults,
) -> Result<Block, DevError> {
    let number = parent.number.saturating_add(1);
    let failed = |what: String| DevError::Block { number, what };
    let receipts =
        waiting.iter().map(|w| receipt(&w.tx, number, faults.status)).collect::<Result<Vec<_>, _>>()?;
    let (mut tx_hashes, mut receipt_hashes, mut gas) = (Vec::new(), Vec::new(), 0u64);
    for (w, r) in waiting.iter().zip(&receipts) {
        tx_hashes.push(w.hash);
        receipt_hashes.push(r.compute_hash()?);
        gas = gas.saturating_add(r.gas_used.parse().unwrap_or_default());
    }
    let txs_root = fisco::merkle_root(&tx_hashes);
    let mut header = BlockHeader {
        version: BLOCK_VERSION,
        hash: String::new(),
        number,
        parent_info: vec![Parent { block_number: parent.number, block_hash: parent.hash.clone() }],
        txs_root: format!("0x{txs_root}"),
        receipts_root: format!("0x{}", fisco::merkle_root(&receipt_hashes)),
        state_root: format!("0x{}", state_root(&parent.state_root, &txs_root)),
        gas_used: gas.to_string(),
        timestamp: time.0,
        sealer: sealers.leader(number),
        sealer_list: sealers.list(),
        extra_data: "0x".to_owned(), // above block 0 FISCO leaves it empty, and a follower insists on it
        consensus_weights: sealers.0.iter().map(|_| 1).collect(),
        signature_list: Vec::new(),
    };
    if let Some(change) = &faults.before_sealing {
        change(&mut header);
    }
    let hash = header.compute_hash()?;
    header.hash = format!("0x{hash}");
    header.signature_list = sealers.sign(&hash, &faults.silent).map_err(|e| failed(e.to_string()))?;
    Ok(Block {
        header,
        transactions: waiting.iter().map(|w| w.tx.clone()).collect(),
        imported: waiting.iter().map(|w| w.imported).collect(),
        receipts,
    })
}

/// No contract runs: the receipt says so much gas for so many bytes, and success.
fn receipt(tx: &Transaction, number: u64, status: i32) -> Result<Receipt, DevError> {
    let input_bytes = u64::try_from(tx.input.len() / 2).unwrap_or(u64::MAX);
    let mut receipt = Receipt {
        version: 0,
        hash: String::new(),
        transaction_hash: tx.hash.clone(),
        gas_used: input_bytes.saturating_mul(16).saturating_add(21_000).to_string(),
        contract_address: String::new(),
        status,
        output: "0x".to_owned(),
        log_entries: Vec::new(),
        block_number: number,
    };
    receipt.hash = format!("0x{}", receipt.compute_hash()?);
    Ok(receipt)
}

/// There is no state: a digest of all roots so far stands in its place.
fn state_root(previous: &str, txs_root: &Digest) -> Digest {
    sm3(format!("{NAME}/state {previous} {txs_root}").as_bytes())
}
