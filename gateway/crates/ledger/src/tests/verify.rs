//! Every way in which an endpoint can bend a block, and what is said of it.

use super::*;
use crate::{endpoint::RawBlock, error::BlockFault, verify::Skip};
use gw_proof::{ChainError, SealerSet};

/// A chain with three transactions in block 2, and what block 2 must follow.
fn world() -> (World, SealerSet) {
    let mut world = World::standard();
    let first = world.by("bank-1", vec![Record::Authorization(world.authorization(1, 3))]);
    let (second, third) = (world.heartbeat(), world.foreign());
    world.add(2_000, vec![first, second, third]);
    let set = SealerSet::of_genesis(world.genesis()).unwrap();
    (world, set)
}

fn check(world: &World, set: &SealerSet, block: &RawBlock) -> Result<VerifiedBlock, BlockFault> {
    let parent = fisco::parse_digest("hash", &world.chain.block(Height(1)).unwrap().header.hash).unwrap();
    verify_block(world.genesis(), Height(1), &parent, set, block)
}

fn bent(change: impl Fn(&mut RawBlock)) -> BlockFault {
    let (world, set) = world();
    let mut block = world.chain.block(Height(2)).unwrap().clone();
    change(&mut block);
    check(&world, &set, &block).unwrap_err()
}

/// Hashes bent transactions and receipts anew, so that only what the sealers signed can tell.
fn rehash(block: &mut RawBlock) {
    for tx in &mut block.transactions {
        tx.hash = fisco::write_0x(&tx.compute_hash().unwrap().0);
    }
    for (receipt, tx) in block.receipts.iter_mut().zip(&block.transactions) {
        receipt.transaction_hash.clone_from(&tx.hash);
        receipt.hash = fisco::write_0x(&receipt.compute_hash().unwrap().0);
    }
}

const TWO: Height = Height(2);

#[test]
fn an_honest_block_gives_its_batches_and_names_what_it_skips() {
    let (world, set) = world();
    let verified = check(&world, &set, world.chain.block(TWO).unwrap()).unwrap();
    assert_eq!(verified.header().number(), TWO);
    assert_eq!(verified.transaction_hashes().len(), 3);
    let batches: Vec<u32> = verified.batches().iter().map(|(tx, _)| *tx).collect();
    assert_eq!(batches, [0, 1]);
    assert_eq!(verified.skipped().len(), 1);
    assert_eq!(verified.skipped()[0].tx, 2);
    assert_eq!(verified.skipped()[0].why, Skip::NotOurs(fisco::SkipReason::OtherContract));
}

#[test]
fn an_omitted_transaction_is_seen() {
    let omitted = bent(|b| {
        b.transactions.remove(0);
        b.receipts.remove(0);
    });
    assert_eq!(omitted, BlockFault::Root { height: TWO, what: "transactions" });
    let last = bent(|b| {
        b.transactions.pop();
        b.receipts.pop();
    });
    assert_eq!(last, BlockFault::Root { height: TWO, what: "transactions" });
    let all = bent(|b| {
        b.transactions.clear();
        b.receipts.clear();
    });
    assert_eq!(all, BlockFault::Root { height: TWO, what: "transactions" });
    let receipt = bent(|b| drop(b.receipts.pop()));
    assert_eq!(receipt, BlockFault::ReceiptCount { height: TWO, transactions: 3, receipts: 2 });
}

#[test]
fn an_added_changed_or_moved_transaction_is_seen() {
    let doubled = bent(|b| {
        b.transactions.push(b.transactions[2].clone());
        b.receipts.push(b.receipts[2].clone());
    });
    assert_eq!(doubled, BlockFault::Root { height: TWO, what: "transactions" });
    let moved = bent(|b| {
        b.transactions.swap(0, 1);
        b.receipts.swap(0, 1);
    });
    assert_eq!(moved, BlockFault::Root { height: TWO, what: "transactions" });
    let changed = bent(|b| b.transactions[0].block_limit += 1);
    assert_eq!(changed, BlockFault::ClaimedHash { height: TWO, what: "transaction", index: 0 });
    let rehashed = bent(|b| {
        b.transactions[0].block_limit += 1;
        rehash(b);
    });
    assert_eq!(rehashed, BlockFault::Root { height: TWO, what: "transactions" });
}

/// A revocation cannot be hidden by a receipt that says it failed, nor by another's receipt.
#[test]
fn swapped_and_changed_receipts_are_seen() {
    let swapped = bent(|b| b.receipts.swap(0, 1));
    assert_eq!(swapped, BlockFault::ReceiptOf { height: TWO, index: 0, what: "transaction" });
    let failed = bent(|b| {
        b.receipts[0].status = 16;
        rehash(b);
    });
    assert_eq!(failed, BlockFault::Root { height: TWO, what: "receipts" });
    let renamed = bent(|b| {
        let (first, second) = (b.transactions[0].hash.clone(), b.transactions[1].hash.clone());
        b.receipts[0].status = 16;
        rehash(b);
        b.receipts[0].transaction_hash = second;
        b.receipts[1].transaction_hash = first;
    });
    assert_eq!(renamed, BlockFault::ReceiptOf { height: TWO, index: 0, what: "transaction" });
    let other_block = bent(|b| {
        b.receipts[0].block_number = 1;
        rehash(b);
    });
    assert_eq!(other_block, BlockFault::ReceiptOf { height: TWO, index: 0, what: "block" });
    // the status written into the gas's last digit: the same bytes, refused by their form
    let split = bent(|b| {
        b.receipts[0].gas_used = "2436".into();
        b.receipts[0].status = 0x3300_0000;
        b.receipts[0].output = "0x00".into();
    });
    assert!(matches!(split, BlockFault::Receipt { index: 0, .. }), "{split}");
}

/// Inner nodes of the tree presented as transactions: the root would fit.
#[test]
fn an_inner_node_is_no_transaction() {
    let fault = bent(|b| {
        let hashes: Vec<Digest> = b.transactions.iter().map(|t| t.compute_hash().unwrap()).collect();
        let mut inner = b.transactions[0].clone();
        // version 0 is what the first four bytes say only in one of 2^32 hashes: claim it and be caught later
        inner.chain_id = String::new();
        inner.group_id = String::new();
        inner.block_limit = 0;
        inner.to = String::new();
        inner.nonce = hex::encode([hashes[0].0, hashes[1].0].concat());
        inner.input = "0x".into();
        inner.hash = fisco::write_0x(&inner.compute_hash().unwrap().0);
        b.transactions = vec![inner, b.transactions[2].clone()];
        b.receipts.truncate(2);
    });
    assert_eq!(fault, BlockFault::ForeignTransaction { height: TWO, index: 0 });
}

#[test]
fn header_and_place_are_checked() {
    let (world, set) = world();
    let gap = verify_block(
        world.genesis(),
        Height(0),
        &world.genesis().block0,
        &set,
        world.chain.block(TWO).unwrap(),
    );
    assert_eq!(gap.unwrap_err(), BlockFault::Number { expected: Height(1), found: TWO });
    let wrong_parent =
        verify_block(world.genesis(), Height(1), &Hex([1; 32]), &set, world.chain.block(TWO).unwrap());
    assert!(matches!(wrong_parent.unwrap_err(), BlockFault::Parent { height: TWO, .. }));
    let short = bent(|b| b.header.signature_list.truncate(2));
    let quorum = ChainError::ShortQuorum { number: 2, which: "pinned", signed: 2, needed: 3 };
    assert_eq!(short, BlockFault::Header(quorum));
    let repeated = bent(|b| b.header.signature_list[1] = b.header.signature_list[0].clone());
    assert_eq!(repeated, BlockFault::Header(ChainError::RepeatedIndex { number: 2, index: 0 }));
    let time = bent(|b| b.header.timestamp += 1);
    assert!(matches!(time, BlockFault::Header(ChainError::Hash { .. })));
}

#[test]
fn a_record_counts_only_with_status_zero_and_as_a_batch() {
    let (mut world, set) = world();
    let failed = world.heartbeat();
    let mut garbage = world.heartbeat();
    garbage.input = fisco::write_0x(&fisco::encode_put_input(b"{}"));
    garbage.hash = fisco::write_0x(&garbage.compute_hash().unwrap().0);
    let mut trailing = world.heartbeat();
    trailing.abi = "x".into();
    trailing.hash = fisco::write_0x(&trailing.compute_hash().unwrap().0);
    let plan = Plan { statuses: vec![16], ..Plan::at(at(3_000), vec![failed, garbage, trailing]) };
    world.chain.add(plan).unwrap();
    let parent = fisco::parse_digest("hash", &world.chain.block(TWO).unwrap().header.hash).unwrap();
    let block = world.chain.block(Height(3)).unwrap();
    let verified = verify_block(world.genesis(), TWO, &parent, &set, block).unwrap();
    assert!(verified.batches().is_empty());
    let why: Vec<&Skip> = verified.skipped().iter().map(|s| &s.why).collect();
    assert_eq!(why[0], &Skip::Failed { status: 16 });
    assert!(matches!(why[1], Skip::NotABatch(_)));
    assert_eq!(why[2], &Skip::NotOurs(fisco::SkipReason::NotCanonical));
}

#[test]
fn other_versions_of_transactions_are_not_guessed() {
    let fault = bent(|b| b.transactions[2].version = 1);
    assert!(fault.to_string().contains("only version 0 is supported"), "{fault}");
}
