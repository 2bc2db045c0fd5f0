//! What a test can make it do wrong, and what it does when the machine is wrong.

use super::*;
use gw_proof::chain::ChainError;
use gw_store::{SimDisk, disk::SimPlan};

#[test]
fn a_clock_set_back_a_little_stops_time_and_a_lot_stops_blocks() {
    let mut b = Bench::new();
    b.submit_one();
    b.make();
    b.clock.set_back(5_000);
    b.submit_one();
    b.make();
    assert_eq!(b.block(2).header.timestamp, START);
    b.clock.set_back(1);
    b.submit_one();
    assert!(matches!(b.ledger.make_block(), Err(DevError::ClockBehind { behind_ms: 5_001 })));
    assert_eq!((b.head(), b.ledger.waiting()), (2, 1));
    b.clock.advance(5_002);
    b.make();
    assert_eq!(b.block(3).header.timestamp, START + 1);
    b.verify_all();
}

#[test]
fn silent_sealers_shorten_the_quorum() {
    let mut b = Bench::new();
    let set = SealerSet::of_genesis(b.ledger.genesis()).unwrap();
    for (silent, enough) in [(vec![2], true), (vec![0, 3], false), (vec![0, 1, 2, 3], false)] {
        b.ledger.set_faults(Faults { silent: silent.into_iter().collect(), ..Faults::default() });
        b.submit_one();
        let number = b.make();
        let verified = verify_header(&b.block(number).header, &set);
        match enough {
            true => assert_eq!(verified.unwrap().number(), Height(number)),
            false => assert!(matches!(verified, Err(ChainError::ShortQuorum { .. }))),
        }
    }
}

#[test]
fn a_new_sealer_list_stands_only_with_the_old_quorum() {
    let mut b = Bench::new();
    b.submit_one();
    b.make();
    let mut one_new = sealers();
    one_new[3] = key(31);
    b.ledger.change_sealers(one_new).unwrap();
    b.submit_one();
    b.make();
    assert!(b.verify_all()[1].sealers_changed());
    b.ledger.change_sealers((41..45).map(key).collect()).unwrap();
    b.submit_one();
    let number = b.make();
    let set = b.verify_up_to(number - 1);
    assert!(matches!(verify_header(&b.block(number).header, &set), Err(ChainError::ShortQuorum { .. })));
}

impl Bench {
    /// The set after a height.
    fn verify_up_to(&self, number: u64) -> SealerSet {
        let mut set = SealerSet::of_genesis(self.ledger.genesis()).unwrap();
        for n in 1..=number {
            set = verify_header(&self.block(n).header, &set).unwrap().next().clone();
        }
        set
    }
}

#[test]
fn lies_with_good_signatures_and_lies_in_what_is_served() {
    let mut b = Bench::new();
    b.ledger.set_faults(Faults {
        before_sealing: Some(Arc::new(|h| h.timestamp += 3_600_000)),
        status: 16,
        ..Faults::default()
    });
    b.submit_one();
    b.make();
    let set = SealerSet::of_genesis(b.ledger.genesis()).unwrap();
    assert_eq!(verify_header(&b.block(1).header, &set).unwrap().time(), UnixMillis(START + 3_600_000));
    assert_eq!(b.block(1).receipts[0].status, 16);
    b.ledger.set_faults(Faults {
        serving: Some(Arc::new(|block| block.transactions.clear())),
        claimed_head: Some(77),
        ..Faults::default()
    });
    assert!(b.block(1).transactions.is_empty());
    assert_eq!((b.ledger.claimed_head(), b.head()), (77, 1));
    b.ledger.set_faults(Faults::default());
    assert_eq!(b.block(1).transactions.len(), 1);
}

/// After a failed sync nothing is taken and nothing is made; what stood before is still read. The block that
/// was not synced was not answered for: after a restart the transaction may come again.
#[test]
fn a_failed_sync_closes_it() {
    let plan = SimPlan { fail_sync: Some(3), ..SimPlan::default() };
    let disk = SimDisk::new(1, plan);
    let mut b = Bench::on(config(), Arc::new(disk.clone()));
    b.submit_one(); // sync 1 was the title
    b.make();
    let lost = b.submit_one();
    assert!(matches!(b.ledger.make_block(), Err(DevError::Store(_))));
    assert!(matches!(b.ledger.make_block(), Err(DevError::Closed)));
    assert_eq!(b.head(), 1);
    let tx = b.tx();
    assert_eq!(b.submit(&tx), Err(Refusal::Closed));
    b.disk = Arc::new(disk.after_power_loss(SimPlan::default()));
    b.restart();
    if b.head() == 1 {
        b.submit(&lost).unwrap();
        b.make();
    }
    assert_eq!(b.submit(&lost), Err(Refusal::InChain { number: 2 }));
    b.verify_all();
}
