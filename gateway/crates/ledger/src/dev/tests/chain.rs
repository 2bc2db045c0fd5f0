//! What is taken, what is refused, and what the chain looks like.

use super::*;
use gw_proto::Hex;

#[test]
fn blocks_verify_like_a_consortiums() {
    let mut b = Bench::new();
    for n in [1, 2, 3, 5, 8] {
        for _ in 0..n {
            b.submit_one();
        }
        b.clock.advance(200);
        b.make();
    }
    let headers = b.verify_all();
    assert_eq!(headers.len(), 5);
    assert_eq!(headers[0].time(), UnixMillis(START + 200));
    let block = b.block(4);
    assert_eq!(block.transactions.len(), 5);
    assert_eq!(block.header.sealer, 0); // 4 mod 4
    assert_eq!(b.block(3).header.sealer, 3);
    assert_eq!(block.header.signature_list.len(), 4);
    let gas: u64 = block.receipts.iter().map(|r| r.gas_used.parse::<u64>().unwrap()).sum();
    assert_eq!(block.header.gas_used, gas.to_string());
}

#[test]
fn block_0_is_the_genesis_and_says_what_it_is() {
    let b = Bench::new();
    let header = b.block(0).header;
    assert_eq!(header.compute_hash().unwrap(), b.ledger.genesis().block0);
    let text = hex::decode(header.extra_data.trim_start_matches("0x")).unwrap();
    assert!(String::from_utf8(text).unwrap().contains(NAME));
    assert!(b.ledger.block(Height(1)).unwrap().is_none());
}

#[test]
fn an_idle_ledger_makes_no_block() {
    let mut b = Bench::new();
    assert_eq!(b.ledger.make_block().unwrap(), None);
    b.submit_one();
    b.make();
    b.clock.advance(60_000);
    assert_eq!(b.ledger.make_block().unwrap(), None);
    assert_eq!(b.head(), 1);
}

#[test]
fn a_block_is_capped_in_number_and_bytes_and_the_order_kept() {
    let mut c = config();
    c.block_transactions = 3;
    let mut b = Bench::with(c);
    let txs: Vec<Transaction> = (0..7).map(|_| b.submit_one()).collect();
    while b.ledger.waiting() > 0 {
        b.make();
    }
    let found: Vec<Vec<Transaction>> = (1..=3).map(|n| b.block(n).transactions).collect();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(found.concat(), txs);

    let mut c = config();
    let one = tars::encode_transaction(&txs[0]).unwrap().len();
    c.block_bytes = 2 * one + one / 2;
    let mut b = Bench::with(c);
    for _ in 0..5 {
        b.submit_one();
    }
    b.make();
    assert_eq!(b.block(1).transactions.len(), 2);
}

#[test]
fn a_replay_is_refused_at_every_stage() {
    let mut b = Bench::new();
    let tx = b.submit_one();
    assert_eq!(b.submit(&tx), Err(Refusal::Waiting));
    b.make();
    assert_eq!(b.submit(&tx), Err(Refusal::InChain { number: 1 }));
    b.restart();
    assert_eq!(b.submit(&tx), Err(Refusal::InChain { number: 1 }));
    // the same nonce in another transaction: waiting, in the chain, and after a restart
    let mut other = b.tx();
    other.nonce = tx.nonce.clone();
    let other = b.sign(other);
    assert_eq!(b.submit(&other), Err(Refusal::NonceUsed));
    let waiting = b.submit_one();
    let mut twin = b.tx();
    (twin.nonce, twin.block_limit) = (waiting.nonce.clone(), twin.block_limit + 1);
    assert_eq!(b.submit(&b.sign(twin)), Err(Refusal::NonceUsed));
}

/// A nonce is forgotten once no transaction that used it could still be valid.
#[test]
fn an_old_nonce_is_free_again_and_its_transaction_is_not() {
    let mut c = config();
    c.block_transactions = 1;
    let mut b = Bench::with(c);
    let old = b.tx_with_limit(600);
    b.submit(&old).unwrap();
    for _ in 0..601 {
        b.make();
        b.submit_one();
    }
    assert_eq!(b.head(), 601);
    let mut again = b.tx();
    again.nonce = old.nonce.clone();
    assert_eq!(b.submit(&b.sign(again.clone())), Err(Refusal::NonceUsed));
    b.make();
    b.submit(&b.sign(again)).unwrap();
    assert_eq!(b.submit(&old), Err(Refusal::InChain { number: 1 }));
}

#[test]
fn block_limit_has_both_ends() {
    let mut b = Bench::new();
    b.submit_one();
    b.make();
    for limit in [i64::MIN, -1, 0, 1, 602, i64::MAX] {
        let tx = b.tx_with_limit(limit);
        assert_eq!(b.submit(&tx), Err(Refusal::BlockLimit { limit, head: 1 }), "{limit}");
    }
    for limit in [2, 601] {
        let tx = b.tx_with_limit(limit);
        b.submit(&tx).unwrap();
    }
}

/// One that waited too long is dropped, and may not come back.
#[test]
fn a_transaction_past_its_limit_is_dropped_from_the_pool() {
    let mut c = config();
    c.block_transactions = 1;
    let mut b = Bench::with(c);
    b.submit_one();
    let late = b.tx_with_limit(1);
    b.submit(&late).unwrap();
    b.make();
    assert_eq!(b.ledger.waiting(), 1);
    assert_eq!(b.ledger.make_block().unwrap(), None);
    assert_eq!(b.ledger.waiting(), 0);
    assert_eq!(b.submit(&late), Err(Refusal::BlockLimit { limit: 1, head: 1 }));
}

#[test]
fn wrong_chain_group_contract_hash_signature() {
    let mut b = Bench::new();
    let good = b.tx();
    let with = |change: &dyn Fn(&mut Transaction)| {
        let mut tx = good.clone();
        change(&mut tx);
        tx
    };
    let resigned = |change: &dyn Fn(&mut Transaction)| b.submit(&b.sign(with(change)));
    assert_eq!(resigned(&|t| t.chain_id = "chain1".into()), Err(Refusal::WrongChain));
    assert_eq!(resigned(&|t| t.group_id = "group1".into()), Err(Refusal::WrongGroup));
    assert_eq!(resigned(&|t| t.to = format!("0x{}", "11".repeat(20))), Err(Refusal::WrongContract));
    assert_eq!(resigned(&|t| t.to = String::new()), Err(Refusal::WrongContract));
    assert_eq!(resigned(&|t| t.nonce = String::new()), Err(Refusal::Nonce));
    // changed without signing again
    assert_eq!(b.submit(&with(&|t| t.block_limit += 1)), Err(Refusal::HashMismatch));
    let rehashed = with(&|t| {
        t.block_limit += 1;
        t.hash = format!("0x{}", t.compute_hash().unwrap());
    });
    assert_eq!(b.submit(&rehashed), Err(Refusal::BadSignature));
    assert_eq!(b.submit(&with(&|t| t.signature = "0x".into())), Err(Refusal::BadSignature));
    assert_eq!(b.submit(&with(&|t| t.signature.truncate(130))), Err(Refusal::BadSignature));
    let other_key = with(&|t| {
        let key = key(21).public_key().point.to_string();
        t.signature.replace_range(130.., &key);
    });
    assert_eq!(b.submit(&other_key), Err(Refusal::BadSignature));
    // not a transaction, and one too large
    assert!(matches!(b.ledger.submit(&someone(), b"x"), Err(Refusal::Malformed(_))));
    let large = vec![0; tars::MAX_TRANSACTION_BYTES + 1];
    assert!(matches!(b.ledger.submit(&someone(), &large), Err(Refusal::Malformed(_))));
    // an absent hash is computed, as FISCO does; then the good one itself waits already
    b.submit(&with(&|t| t.hash = "0x".into())).unwrap();
    assert_eq!(b.submit(&good), Err(Refusal::Waiting));
    b.make();
    b.verify_all();
}

#[test]
fn the_pool_is_bounded_in_number_and_bytes() {
    let mut c = config();
    c.pool_transactions = 3;
    let mut b = Bench::with(c.clone());
    let txs: Vec<_> = (0..3).map(|_| b.submit_one()).collect();
    let fourth = b.tx();
    assert_eq!(b.submit(&fourth), Err(Refusal::PoolFull));
    b.make();
    b.submit(&fourth).unwrap();

    c.pool_transactions = 100;
    c.pool_bytes = tars::encode_transaction(&txs[0]).unwrap().len() * 5 / 2;
    let mut b = Bench::with(c);
    b.submit_one();
    b.submit_one();
    let third = b.tx();
    assert_eq!(b.submit(&third), Err(Refusal::PoolFull));
    b.make();
    b.submit(&third).unwrap();
}

#[test]
fn a_client_has_a_rate_of_its_own() {
    let mut c = config();
    c.rate = Rate { per_second: 10, burst: 2 };
    let mut b = Bench::with(c);
    b.submit_one();
    b.submit_one();
    let tx = b.tx();
    assert_eq!(b.submit(&tx), Err(Refusal::RateLimited { wait_ms: 100 }));
    let other = Client::plain(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    b.ledger.submit(&other, &tars::encode_transaction(&tx).unwrap()).unwrap();
    b.clock.advance(100);
    b.submit_one();
}

#[test]
fn only_listed_clients_submit() {
    let mut c = config();
    c.submitters = Submitters::Listed(vec![ListedClient::Key(Hex([5; 32]))]);
    let mut b = Bench::with(c);
    let tx = b.tx();
    assert_eq!(b.submit(&tx), Err(Refusal::NotListed));
    let listed = Client { spki: Some(Hex([5; 32])), ..someone() };
    b.ledger.submit(&listed, &tars::encode_transaction(&tx).unwrap()).unwrap();
}

#[test]
fn a_restart_continues_the_chain() {
    let mut b = Bench::new();
    for _ in 0..3 {
        b.submit_one();
        b.make();
    }
    let before: Vec<Block> = (0..=3).map(|n| b.block(n)).collect();
    b.restart();
    assert_eq!((0..=3).map(|n| b.block(n)).collect::<Vec<_>>(), before);
    b.submit_one();
    assert_eq!(b.make(), 4);
    assert_eq!(b.verify_all().len(), 4);
}

#[test]
fn another_genesis_or_other_sealers_do_not_open_it() {
    let mut b = Bench::new();
    b.submit_one();
    b.make();
    let open = |genesis: Genesis, sealers: Vec<KeyPair>| {
        let config = DevLedgerConfig::new(genesis, Submitters::Anyone);
        DevLedger::open(config, sealers, b.clock.clone(), b.disk.clone()).map(|_| ())
    };
    let good = b.ledger.genesis();
    open(good.clone(), sealers()).unwrap();
    let mut others = sealers();
    others.swap(0, 1);
    assert!(matches!(open(good.clone(), others), Err(DevError::Genesis(_))));
    let mut fisco = good.clone();
    fisco.engine = gw_proto::genesis::Engine::FiscoBcos3;
    assert!(matches!(open(fisco, sealers()), Err(DevError::Genesis(_))));
    let mut renamed = good.clone();
    renamed.chain = "chain1".into();
    assert!(matches!(open(renamed, sealers()), Err(DevError::Genesis(_))));
    let mut governed = good.clone();
    governed.governance.threshold = 2;
    assert!(matches!(open(governed, sealers()), Err(DevError::OtherChain)));
}

/// The last block's frame cut at every 97th byte: the chain goes on from the block before, and the lost
/// transaction may be submitted again.
#[test]
fn a_torn_last_block_is_dropped_and_its_transaction_free() {
    let mut b = Bench::new();
    b.submit_one();
    b.make();
    let kept = b.disk.len().unwrap();
    let lost = b.submit_one();
    b.make();
    let end = b.disk.len().unwrap();
    let mut whole = vec![0; usize::try_from(end).unwrap()];
    b.disk.read_at(0, &mut whole).unwrap();
    for cut in (kept..end).step_by(97) {
        let bytes = whole[..usize::try_from(cut).unwrap()].to_vec();
        b.disk = Arc::new(MemDisk::with_content(bytes));
        b.restart();
        assert_eq!(b.head(), 1, "cut at {cut}");
        b.submit(&lost).unwrap();
        assert_eq!(b.make(), 2);
        b.verify_all();
    }
}
