//! A proof of inclusion holds for those who have nothing but the genesis document.

use super::*;
use crate::{
    endpoint::RawBlock,
    error::{BlockFault, LedgerError},
    inclusion::fetch_inclusion,
};
use gw_proof::{SealerSet, verify_header};
use gw_proto::fisco::merkle_root_from_path;

fn world() -> World {
    let mut world = World::standard();
    let txs: Vec<_> =
        (0..5).map(|i| world.by("bank-1", vec![Record::Authorization(world.authorization(i, 1))])).collect();
    world.add(2_000, txs);
    world.extend(1);
    world
}

#[tokio::test]
async fn every_record_of_a_block_is_proved() {
    let world = world();
    let (handle, _) = world.fresh();
    world.commit_all(&handle);
    let ledger = FakeLedger::new("fake", world.chain.clone());
    let set = SealerSet::of_genesis(world.genesis()).unwrap();
    for tx in 0..5u32 {
        let proof = fetch_inclusion(ledger.as_ref(), &handle, Height(2), tx, 0).await.unwrap();
        let header = verify_header(&proof.header, &set).unwrap();
        assert_eq!(header.number(), Height(2));
        let (index, count) = (proof.index as usize, proof.count as usize);
        let leaf = proof.transaction.compute_hash().unwrap();
        assert_eq!(merkle_root_from_path(leaf, index, count, &proof.tx_path), Some(header.txs_root()));
        let leaf = proof.receipt.compute_hash().unwrap();
        let root = merkle_root_from_path(leaf, index, count, &proof.receipt_path);
        assert_eq!(root, Some(header.receipts_root()));
        assert_eq!(proof.receipt.status, 0);
        assert_eq!(proof.receipt.transaction_hash, proof.transaction.hash);
    }
    for (height, tx, record) in [(2, 5, 0), (2, 0, 1), (4, 0, 0), (9, 0, 0)] {
        let missing = fetch_inclusion(ledger.as_ref(), &handle, Height(height), tx, record).await;
        assert!(matches!(missing, Err(LedgerError::NoSuchRecord { .. })), "{height} {tx} {record}");
    }
}

#[tokio::test]
async fn a_block_that_is_not_ours_proves_nothing() {
    let world = world();
    let (handle, _) = world.fresh();
    world.commit_all(&handle);
    let mut branch = World::standard();
    branch.extend(3);
    let ledger = FakeLedger::new("fake", branch.chain.clone());
    let other = fetch_inclusion(ledger.as_ref(), &handle, Height(2), 0, 0).await;
    assert!(matches!(other, Err(LedgerError::Block { .. })), "another block, signed by a quorum");

    let ledger = FakeLedger::new("fake", world.chain.clone());
    ledger.bend(Some(Arc::new(|b: &mut RawBlock| b.header.signature_list.truncate(2))));
    let short = fetch_inclusion(ledger.as_ref(), &handle, Height(2), 0, 0).await;
    assert!(
        matches!(short, Err(LedgerError::Block { fault: BlockFault::Header(_), .. })),
        "others could not check it"
    );
    ledger.bend(Some(Arc::new(|b: &mut RawBlock| b.receipts.reverse())));
    let swapped = fetch_inclusion(ledger.as_ref(), &handle, Height(2), 0, 0).await;
    assert!(matches!(swapped, Err(LedgerError::Block { fault: BlockFault::ReceiptOf { .. }, .. })));
}
