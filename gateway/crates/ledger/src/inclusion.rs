//! The proof that a record stands on the chain: header, transaction, receipt, two paths.

use crate::{
    endpoint::Ledger,
    error::{BlockFault, LedgerError},
    state::StateHandle,
    verify::verify_contents,
};
use gw_proof::{ChainError, SealerSet, VerifiedHeader, verify_header};
use gw_proto::{
    Digest, Height,
    fisco::{BlockHeader, Receipt, merkle_path},
    record::SignedBatch,
    report::InclusionProof,
};

/// Fetches the block and proves one of its records. The block must be the one that this box has verified;
/// beyond the heights whose hashes are kept, its header must be signed by the sealers of today.
pub async fn fetch_inclusion(
    ledger: &dyn Ledger,
    handle: &StateHandle,
    height: Height,
    tx_index: u32,
    record_index: u32,
) -> Result<InclusionProof, LedgerError> {
    let missing = || LedgerError::NoSuchRecord { height, tx: tx_index, record: record_index };
    if height > handle.cursor().height {
        return Err(missing());
    }
    let block = ledger.block(height).await?;
    let refused = |fault| LedgerError::Block { endpoint: ledger.endpoint().to_owned(), fault };
    let known = handle.hash_at(height)?;
    let header = check_header(&block.header, height, known, &handle.cursor().sealers).map_err(refused)?;
    let hashes = verify_contents(handle.genesis(), &header, &block).map_err(refused)?;
    let index = usize::try_from(tx_index).map_err(|_| missing())?;
    let transaction = block.transactions.get(index).ok_or_else(missing)?.clone();
    let receipt = block.receipts.get(index).ok_or_else(missing)?.clone();
    let payload = transaction.payload(handle.genesis()).map_err(|_| missing())?;
    let batch = SignedBatch::parse(&payload).map_err(|_| missing())?;
    let record = usize::try_from(record_index).ok();
    if receipt.status != 0 || record.is_none_or(|r| r >= batch.batch.records.len()) {
        return Err(missing());
    }
    let receipts: Result<Vec<Digest>, _> = block.receipts.iter().map(Receipt::compute_hash).collect();
    let count = u32::try_from(block.transactions.len()).map_err(|_| missing())?;
    Ok(InclusionProof {
        header: block.header,
        transaction,
        index: tx_index,
        count,
        tx_path: merkle_path(&hashes, index),
        receipt,
        receipt_path: merkle_path(&receipts?, index),
        record: record_index,
    })
}

/// Its signatures must make a quorum, since the proof is checked by others: of the header's own list where
/// its hash is known here, for the hash covers the list; of today's sealers otherwise.
fn check_header(
    header: &BlockHeader,
    height: Height,
    known: Option<Digest>,
    today: &SealerSet,
) -> Result<VerifiedHeader, BlockFault> {
    if header.number != height.0 {
        return Err(BlockFault::Number { expected: height, found: Height(header.number) });
    }
    let Some(ours) = known else { return Ok(verify_header(header, today)?) };
    let verified = verify_header(header, &SealerSet::named_by(header)?)?;
    if verified.hash() != ours {
        let number = header.number;
        return Err(ChainError::Hash { number, claimed: verified.hash(), computed: ours }.into());
    }
    Ok(verified)
}
