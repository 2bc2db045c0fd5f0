//! Records → signed batch → signed transaction.

use crate::{
    error::LedgerError,
    tx::{TxError, build_transaction},
};
use gw_proto::{
    Height, Hex, NodeId,
    fisco::Transaction,
    genesis::Genesis,
    record::{Batch, KeySignature, MAX_BATCH_BYTES, Record, SignedBatch, VERSION, Writer},
};
use hsm_api::{HsmError, Signer, sign_message};

/// Room for everything in a signed batch but its records.
const FRAME_BYTES: usize = 1024;

/// The most canonical bytes of all records in one batch, commas included.
pub(super) const MAX_RECORD_BYTES: usize = MAX_BATCH_BYTES - FRAME_BYTES;

fn sign_error(e: &HsmError) -> LedgerError {
    LedgerError::Sign { what: e.to_string(), busy: e.may_retry() }
}

/// What varies from batch to batch.
pub(super) struct Fresh {
    pub(super) expires: Height,
    pub(super) batch_nonce: [u8; 16],
    pub(super) tx_nonce: [u8; 16],
}

/// Signs a batch with the node key, and the transaction that carries it with the account key. The account
/// pays and has no authority: what counts is the batch's signature. Blocks while the chip works.
pub(super) fn build(
    genesis: &Genesis,
    node: &NodeId,
    node_signer: &dyn Signer,
    account_signer: &dyn Signer,
    fresh: &Fresh,
    records: Vec<Record>,
) -> Result<Transaction, LedgerError> {
    let batch = Batch {
        v: VERSION,
        chain: genesis.chain.clone(),
        genesis: genesis.digest()?,
        writer: Writer::Node(node.clone()),
        expires_height: fresh.expires,
        nonce: Hex(fresh.batch_nonce),
        records,
    };
    let signature = sign_message(node_signer, &batch.signing_input()?).map_err(|e| sign_error(&e))?;
    let key_id = node_signer.public_key().id();
    let signed = SignedBatch { batch, signatures: vec![KeySignature { key_id, signature }] };
    wrap(genesis, account_signer, fresh, &signed)
}

/// The transaction of a signed batch.
pub(super) fn wrap(
    genesis: &Genesis,
    account_signer: &dyn Signer,
    fresh: &Fresh,
    batch: &SignedBatch,
) -> Result<Transaction, LedgerError> {
    let payload = batch.to_bytes()?;
    if payload.len() > MAX_BATCH_BYTES {
        return Err(LedgerError::BatchFull { found: batch.batch.records.len(), bytes: payload.len() });
    }
    let limit = i64::try_from(fresh.expires.0)
        .map_err(|_| LedgerError::Encode("the block limit is out of range".into()))?;
    build_transaction(genesis, &payload, limit, fresh.tx_nonce, account_signer).map_err(|e| match e {
        TxError::Sign(e) => sign_error(&e),
        other => LedgerError::Encode(other.to_string()),
    })
}
