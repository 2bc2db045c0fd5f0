//! Any sequence of submissions, blocks, restarts and clock changes yields a chain whose every block verifies.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Debug, Clone)]
enum Step {
    Submit,
    Again(prop::sample::Index),
    ShortLimit(i64),
    Corrupt(prop::sample::Index, u8),
    Make,
    Wait(u64),
    SetBack(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Submit),
        2 => any::<prop::sample::Index>().prop_map(Step::Again),
        2 => (-2i64..4).prop_map(Step::ShortLimit),
        2 => (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, by)| Step::Corrupt(at, by)),
        4 => Just(Step::Make),
        1 => (0u64..2_000).prop_map(Step::Wait),
        1 => (0u64..3_000).prop_map(Step::SetBack),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_block_verifies(steps in prop::collection::vec(step(), 1..40)) {
        let mut c = config();
        c.block_transactions = 3;
        c.pool_transactions = 5;
        let mut b = Bench::with(c);
        let mut sent: Vec<Transaction> = Vec::new();
        let mut waiting: Vec<Transaction> = Vec::new();
        for step in steps {
            match step {
                Step::Submit | Step::ShortLimit(_) => {
                    let limit = match step {
                        Step::ShortLimit(by) => i64::try_from(b.head()).unwrap() + by,
                        _ => i64::try_from(b.head()).unwrap() + 100,
                    };
                    let tx = b.tx_with_limit(limit);
                    if b.submit(&tx).is_ok() {
                        waiting.push(tx.clone());
                    }
                    sent.push(tx);
                }
                Step::Again(at) if !sent.is_empty() => {
                    let tx = at.get(&sent).clone();
                    if b.submit(&tx).is_ok() {
                        prop_assert!(!waiting.contains(&tx), "taken twice");
                        waiting.push(tx);
                    }
                }
                Step::Corrupt(at, by) if !sent.is_empty() => {
                    let mut bytes = tars::encode_transaction(&sent[at.index(sent.len())]).unwrap();
                    let at = at.index(bytes.len());
                    bytes[at] ^= by;
                    prop_assert!(b.ledger.submit(&someone(), &bytes).is_err());
                }
                Step::Make => match b.ledger.make_block() {
                    Ok(_) | Err(DevError::ClockBehind { .. }) => {}
                    Err(e) => panic!("{e}"),
                },
                Step::Wait(ms) => b.clock.advance(ms),
                Step::SetBack(ms) => b.clock.set_back(ms),
                Step::Restart => {
                    // the pool is in memory only
                    let made: BTreeSet<String> = in_chain(&b);
                    waiting.retain(|t| made.contains(&t.hash));
                    b.restart();
                }
                Step::Again(_) | Step::Corrupt(..) => {}
            }
        }
        b.clock.advance(60_000);
        while b.ledger.make_block().unwrap().is_some() {}
        verify_chain(&b.ledger);
        let chain = in_chain(&b);
        let total: usize = (1..=b.head()).map(|n| b.block(n).transactions.len()).sum();
        prop_assert_eq!(chain.len(), total, "a transaction stands twice");
        // what was taken and could wait long enough is there; nothing is there that was not taken
        for tx in waiting.iter().filter(|t| t.block_limit > 60) {
            prop_assert!(chain.contains(&tx.hash));
        }
        let taken: BTreeSet<String> = waiting.iter().map(|t| t.hash.clone()).collect();
        prop_assert!(chain.is_subset(&taken));
    }
}

fn in_chain(b: &Bench) -> BTreeSet<String> {
    (1..=b.head()).flat_map(|n| b.block(n).transactions).map(|t| t.hash).collect()
}
