//! A batch as a whole: for us, in time, signed by whom it says.

use super::{Stop, Work, ensure};
use crate::fate::RefusalReason as Why;
use crate::table::Author;
use gw_proto::PublicKey;
use gw_proto::record::{Batch, KeySignature, MAX_EXPIRY_BLOCKS, MAX_RECORDS, SignedBatch, VERSION, Writer};
use std::collections::BTreeSet;

/// Cheap checks first, signatures last.
pub(super) fn check(work: &Work<'_>, signed: &SignedBatch) -> Result<Author, Stop> {
    let batch = &signed.batch;
    ensure(batch.v == VERSION, Why::BatchVersion)?;
    ensure(batch.chain == work.genesis.chain, Why::OtherChain)?;
    ensure(batch.genesis == work.genesis_digest, Why::OtherGenesis)?;
    ensure(batch.expires_height >= work.height, Why::BatchExpired)?;
    let farthest = work.height.0.saturating_add(MAX_EXPIRY_BLOCKS);
    ensure(batch.expires_height.0 <= farthest, Why::ExpiryTooFar)?;
    ensure((1..=MAX_RECORDS).contains(&batch.records.len()), Why::RecordCount)?;
    // as a program that knows only those rules takes it: not as a batch at all
    ensure(batch.records.iter().all(|r| r.since_rules() <= work.rules), Why::RulesTooOld)?;
    match &batch.writer {
        Writer::Governance => governance(work, signed),
        Writer::Node(id) => {
            let node = work.view().node(id)?.ok_or(Why::UnknownWriter)?;
            ensure(work.view().is_active(&node)?, Why::WriterBlocked)?;
            let [signature] = signed.signatures.as_slice() else {
                return Err(Why::SignatureCount.into());
            };
            verify(batch, &[node.record.key], std::slice::from_ref(signature))?;
            Ok(Author::Node(Box::new(node)))
        }
    }
}

/// At least k signatures, all of distinct genesis keys, all good: one bad signature spoils the batch, so that
/// what a batch's signatures say never depends on how many of them are looked at.
fn governance(work: &Work<'_>, signed: &SignedBatch) -> Result<Author, Stop> {
    let governance = &work.genesis.governance;
    let threshold = usize::try_from(governance.threshold).unwrap_or(usize::MAX);
    let count = signed.signatures.len();
    ensure(count >= threshold && count <= governance.keys.len(), Why::SignatureCount)?;
    let ids: BTreeSet<_> = signed.signatures.iter().map(|s| s.key_id).collect();
    ensure(ids.len() == count, Why::SignatureKey)?;
    verify(&signed.batch, &governance.keys, &signed.signatures)?;
    Ok(Author::Governance)
}

fn verify(batch: &Batch, keys: &[PublicKey], signatures: &[KeySignature]) -> Result<(), Stop> {
    let input = batch.signing_input().map_err(|_| Why::NotCanonical)?;
    for signature in signatures {
        let key = keys.iter().find(|k| k.id() == signature.key_id).ok_or(Why::SignatureKey)?;
        gw_sm::verify(key, &input, &signature.signature).map_err(|_| Why::BadSignature)?;
    }
    Ok(())
}
