//! Whether the reservation stands in a block that the pinned sealers signed.

use super::{Checks, Stop, TrustFile, fail, failed, hold, skipped};
use crate::{
    chain::{ChainError, SealerSet, verify_header},
    verdict::CheckName,
};
use gw_proto::{
    Digest, Height, PublicKey,
    fisco::{BlockHeader, merkle_root_from_path, parse_digest},
    record::{MAX_EXPIRY_BLOCKS, Record, Reservation, SignedBatch, VERSION, Writer},
    report::{Answer, InclusionProof},
};

/// Runs them, from the sealers down to the opening.
pub(super) fn check(answer: &Answer, trust: &TrustFile, key: Option<&PublicKey>, checks: &mut Checks) {
    let p = &answer.reservation;
    let good = format!("block {} has the claimed hash", p.header.number);
    let header = checks.take(CheckName::Header, None, &good, header(&p.header));
    let good = "enough weight of the pinned sealers signed";
    checks.take(CheckName::SealerQuorum, None, good, quorum(&p.header, header.is_some(), trust));

    let good = "of the pinned chain, group and contract";
    let payload = checks.take(CheckName::Transaction, None, good, transaction(p, trust));
    let good = format!("transaction {} of {}", p.index, p.count);
    checks.take(CheckName::TransactionPath, None, &good, transaction_path(p));
    let batch = parse_batch(payload, p, trust);
    let batch = checks.take(CheckName::Batch, None, "for this chain, in date", batch);
    let good = format!("by node {}", answer.report.node);
    checks.take(CheckName::BatchSignature, None, &good, batch_signature(answer, batch.as_ref(), key));

    let reservation = reservation(answer, batch.as_ref());
    let reservation = checks.take(CheckName::Reservation, None, "of this use and authorization", reservation);
    let good = "the opening hashes to it";
    checks.take(CheckName::Commitment, None, good, commitment(answer, reservation));
    let same = answer.report.reserved_at == Height(p.header.number);
    let result = hold(same, "the report names another block than the proof's");
    checks.take(CheckName::ReservedAt, None, "the proof's block", result);

    checks.take(CheckName::Receipt, None, "status 0, of this transaction", receipt(p));
    checks.take(CheckName::ReceiptPath, None, "beside its transaction", receipt_path(p));
}

fn header(header: &BlockHeader) -> Result<(), Stop> {
    let claimed = parse_digest("hash", &header.hash).map_err(fail)?;
    let computed = header.compute_hash().map_err(fail)?;
    hold(claimed == computed, "the header's fields hash to something else than it claims")
}

fn quorum(header: &BlockHeader, hash_holds: bool, trust: &TrustFile) -> Result<(), Stop> {
    if !hash_holds {
        return skipped("the header's hash does not hold");
    }
    let set = SealerSet::of_genesis(&trust.genesis).map_err(fail)?;
    match verify_header(header, &set) {
        Ok(_) => Ok(()),
        Err(e @ ChainError::ShortQuorum { .. }) => {
            failed(format!("{e}; if the consortium changed its sealers, use its newer trust file"))
        }
        Err(e) => Err(fail(e)),
    }
}

fn transaction(p: &InclusionProof, trust: &TrustFile) -> Result<Vec<u8>, Stop> {
    let claimed = parse_digest("hash", &p.transaction.hash).map_err(fail)?;
    let computed = p.transaction.compute_hash().map_err(fail)?;
    hold(claimed == computed, "the transaction's fields hash to something else than it claims")?;
    p.transaction.payload(&trust.genesis).map_err(fail)
}

/// The root that a leaf at the proof's position leads to. Index and count are shared by both trees: a
/// receipt cannot be another transaction's.
fn leads_to(p: &InclusionProof, leaf: Digest, path: &[Digest], root: &str) -> Result<(), Stop> {
    let (Ok(index), Ok(count)) = (usize::try_from(p.index), usize::try_from(p.count)) else {
        return failed("index or count is too large");
    };
    let Some(reached) = merkle_root_from_path(leaf, index, count, path) else {
        return failed("the path has not the length that index and count call for");
    };
    hold(reached == parse_digest("root", root).map_err(fail)?, "the path does not lead to the header's root")
}

fn transaction_path(p: &InclusionProof) -> Result<(), Stop> {
    let leaf = p.transaction.compute_hash().map_err(fail)?;
    leads_to(p, leaf, &p.tx_path, &p.header.txs_root)
}

fn receipt_path(p: &InclusionProof) -> Result<(), Stop> {
    let leaf = p.receipt.compute_hash().map_err(fail)?;
    leads_to(p, leaf, &p.receipt_path, &p.header.receipts_root)
}

fn receipt(p: &InclusionProof) -> Result<(), Stop> {
    hold(p.receipt.status == 0, "the transaction failed on the chain")?;
    hold(p.receipt.block_number == p.header.number, "the receipt is of another block")?;
    let of = parse_digest("transactionHash", &p.receipt.transaction_hash).map_err(fail)?;
    hold(of == p.transaction.compute_hash().map_err(fail)?, "the receipt is of another transaction")
}

fn parse_batch(payload: Option<Vec<u8>>, p: &InclusionProof, trust: &TrustFile) -> Result<SignedBatch, Stop> {
    let Some(payload) = payload else { return skipped("the transaction carries no payload of ours") };
    let signed = SignedBatch::parse(&payload).map_err(fail)?;
    let b = &signed.batch;
    hold(b.v == VERSION, "unknown version of the batch")?;
    hold(b.chain == trust.genesis.chain, "the batch is for another chain")?;
    hold(b.genesis == trust.genesis.digest().map_err(fail)?, "the batch is for another genesis document")?;
    let (height, last) = (p.header.number, b.expires_height.0);
    hold(last >= height, "the batch had expired at this block")?;
    hold(last - height <= MAX_EXPIRY_BLOCKS, "the batch's expiry lies too far ahead")?;
    Ok(signed)
}

fn batch_signature(
    answer: &Answer,
    batch: Option<&SignedBatch>,
    key: Option<&PublicKey>,
) -> Result<(), Stop> {
    let Some(signed) = batch else { return skipped("there is no batch") };
    let by_asker = signed.batch.writer == Writer::Node(answer.report.node.clone());
    hold(by_asker, "the batch is not written by the node that made the report")?;
    let Some(key) = key else { return skipped("the node's certificate is not verified") };
    let [one] = signed.signatures.as_slice() else { return failed("a node's batch has one signature") };
    hold(one.key_id == key.id(), "the batch is signed by another key than the node's")?;
    let input = signed.batch.signing_input().map_err(fail)?;
    gw_sm::verify(key, &input, &one.signature).map_err(fail)
}

fn reservation<'a>(answer: &Answer, batch: Option<&'a SignedBatch>) -> Result<&'a Reservation, Stop> {
    let Some(signed) = batch else { return skipped("there is no batch") };
    let record = usize::try_from(answer.reservation.record).ok().and_then(|i| signed.batch.records.get(i));
    let Some(Record::Reservation(r)) = record else { return failed("the record is not a reservation") };
    hold(r.report_id == answer.report.report_id, "it reserves another report id")?;
    hold(r.authz_id == answer.report.authz_id, "it is of another authorization")?;
    Ok(r)
}

fn commitment(answer: &Answer, reservation: Option<&Reservation>) -> Result<(), Stop> {
    let Some(r) = reservation else { return skipped("there is no reservation") };
    let opened = answer.opening.commitment().map_err(fail)?;
    hold(opened == r.commitment, "the opening is not what the reservation commits to")
}
