//! The state machine, event by event: what it asks, commits, alarms of, and when it stops.

use super::{bench::*, *};
use crate::{
    endpoint::RawBlock,
    follower::{Action, Alarm, Event, FollowerOptions},
    state::Cursor,
};

/// A chain of this height.
fn chain(height: usize) -> World {
    let mut world = World::standard();
    world.extend(height - 1);
    world
}

fn bends(change: impl Fn(&mut RawBlock) + Send + Sync + 'static) -> Fault {
    Fault::Bends(Arc::new(change))
}

/// A liar before an honest endpoint.
fn two(world: &World, first: Fault) -> Bench {
    let liar = Peer { fault: first, ..Peer::honest(&world.chain) };
    Bench::new(world, vec![liar, Peer::honest(&world.chain)])
}

/// From block `from` on, only these sealers have signed.
fn signed_by(from: u64, signers: &'static [usize]) -> Fault {
    bends(move |b| {
        if b.header.number >= from {
            b.header.signature_list.retain(|s| signers.iter().any(|i| *i as u64 == s.sealer_index));
        }
    })
}

#[test]
fn an_honest_chain_is_followed_in_order_and_fetched_ahead() {
    let world = chain(10);
    let mut bench = Bench::new(&world, vec![Peer::honest(&world.chain)]);
    bench.event(Event::Tick);
    assert!(matches!(bench.pending[..], [Action::AskHead { endpoint: 0 }]), "{:?}", bench.pending);
    assert!(bench.answer(0));
    assert_eq!(bench.fetches(), [(0, 1), (0, 2), (0, 3), (0, 4)]);
    // the answers come in another order
    for height in [3, 2] {
        let at = bench.fetches().iter().position(|f| f.1 == height).unwrap();
        assert!(bench.answer(at));
        assert!(bench.committing.is_none(), "block 1 has not come");
    }
    assert!(bench.answer(0));
    assert_eq!(bench.committing.as_ref().unwrap().header().number(), Height(1));
    // one commit at a time, and nothing beyond the window meanwhile
    assert!(bench.answer(0));
    assert_eq!(bench.fetches(), []);
    assert!(bench.commit());
    assert_eq!(bench.committing.as_ref().unwrap().header().number(), Height(2));
    assert_eq!(bench.fetches(), [(0, 5)]);
    bench.settle();
    assert_eq!(bench.height(), 10);
    bench.assert_prefix_of(&world.chain);
    assert_eq!((&bench.alarms[..], &bench.halted), (&[][..], &None));
    let status = bench.follower.status();
    assert_eq!((status[0].head, status[0].agrees), (Some(Height(10)), Height(10)));
    // idle: it asks for heads and nothing else
    bench.pass(200);
    bench.event(Event::Tick);
    assert!(matches!(bench.pending[..], [Action::AskHead { endpoint: 0 }]));
    bench.event(Event::Tick);
    assert_eq!(bench.pending.len(), 1, "one question for the head at a time");
}

#[test]
fn never_farther_ahead_than_the_window() {
    let world = chain(9);
    for window in [0, 1, 2, 7, 100] {
        let options = FollowerOptions { window, ..FollowerOptions::default() };
        let mut bench = Bench::with(&world, vec![Peer::honest(&world.chain)], options);
        bench.event(Event::Tick);
        assert!(bench.answer(0));
        let expected = window.clamp(1, 9);
        assert_eq!(bench.fetches().len() as u64, expected, "window {window}");
        bench.settle(); // the bench checks each question against the window
        assert_eq!(bench.height(), 9);
    }
}

#[test]
fn an_endpoint_that_is_down_or_lost_costs_only_its_turn() {
    let world = chain(5);
    for fault in [Fault::Down, Fault::Silent] {
        let mut bench = two(&world, fault);
        bench.tick(0);
        assert_eq!(bench.height(), 5);
        bench.time_out(0);
        assert_ne!(bench.error_of(0), "");
        assert_eq!(bench.error_of(1), "");
        assert_eq!(bench.alarms, [], "being down is nothing to alarm of");
        // it comes back, and is compared
        bench.peers[0].fault = Fault::None;
        bench.tick(1_000);
        assert_eq!(bench.error_of(0), "");
        assert_eq!(bench.follower.status()[0].agrees, Height(5));
    }
}

/// It tells its head and never gives a block: another endpoint is asked without waiting for its time-out.
#[test]
fn a_stalling_endpoint_holds_nothing_up() {
    let world = chain(5);
    let mut bench = two(&world, Fault::Stalls);
    bench.tick(0);
    assert_eq!(bench.height(), 0);
    bench.tick(999);
    assert_eq!(bench.height(), 0, "it has a second");
    bench.tick(1);
    assert_eq!(bench.height(), 5);
    // as long as it owes an answer it is asked for no other block
    let mut longer = world.clone();
    longer.extend(3);
    bench.peers =
        vec![Peer { fault: Fault::Stalls, ..Peer::honest(&longer.chain) }, Peer::honest(&longer.chain)];
    bench.tick(200);
    assert_eq!(bench.height(), 8);
    bench.assert_prefix_of(&longer.chain);
}

/// A head that nobody has: the questions for it must not keep others from being asked.
#[test]
fn a_boasting_endpoint_holds_nothing_up() {
    let mut world = chain(3);
    let boaster = Peer { claims: Some(u64::MAX), fault: Fault::Stalls, ..Peer::honest(&world.chain) };
    let mut bench = Bench::new(&world, vec![boaster, Peer::honest(&world.chain)]);
    bench.tick(0);
    bench.tick(1_000);
    assert_eq!(bench.height(), 3);
    world.extend(1);
    bench.peers[1].chain = world.chain.clone();
    bench.tick(1_000);
    assert_eq!(bench.height(), 4);
}

#[test]
fn a_slow_answer_is_still_taken() {
    let world = chain(3);
    let mut bench = Bench::new(&world, vec![Peer { fault: Fault::Stalls, ..Peer::honest(&world.chain) }]);
    bench.tick(0);
    for _ in 0..20 {
        bench.tick(1_000);
    }
    assert_eq!(bench.fetches(), [(0, 1), (0, 2), (0, 3)], "there is nobody else, and it is not asked twice");
    bench.peers[0].fault = Fault::None;
    bench.settle();
    assert_eq!(bench.height(), 3);
}

#[test]
fn a_liars_blocks_are_taken_from_another_and_it_waits_its_turn_out() {
    let world = chain(4);
    let omits = |b: &mut RawBlock| {
        b.transactions.clear();
        b.receipts.clear();
    };
    let alters = |b: &mut RawBlock| {
        b.receipts[0].status = 16;
        b.receipts[0].hash = fisco::write_0x(&b.receipts[0].compute_hash().unwrap().0);
    };
    let renumbers = |b: &mut RawBlock| b.header.number += 1;
    let redates = |b: &mut RawBlock| b.header.timestamp += 1;
    let lies: [(Fault, &str); 4] = [
        (bends(omits), "transactions given do not have the root"),
        (bends(alters), "receipts given do not have the root"),
        (bends(renumbers), "was asked for"),
        (bends(redates), "its fields hash to"),
    ];
    for (lie, why) in lies {
        let mut bench = two(&world, lie);
        bench.tick(0);
        assert_eq!(bench.height(), 4, "{why}");
        bench.assert_prefix_of(&world.chain);
        assert!(bench.error_of(0).contains(why), "{}: {}", why, bench.error_of(0));
        assert_eq!((&bench.alarms[..], &bench.halted), (&[][..], &None), "{why}");
        // while it waits it is asked nothing; even if nobody else has the next block
        let mut longer = world.clone();
        longer.extend(1);
        bench.peers[0] = Peer::honest(&longer.chain);
        bench.tick(999);
        assert_eq!(bench.height(), 4);
        bench.tick(1);
        assert_eq!(bench.height(), 5);
        bench.assert_prefix_of(&longer.chain);
        assert_eq!(bench.error_of(0), "", "it has done better");
    }
}

/// What an endpoint gave ahead of a lie is not used either.
#[test]
fn a_liars_other_blocks_are_dropped() {
    let world = chain(4);
    let lie = bends(|b| {
        if b.header.number == 1 {
            b.receipts.clear();
        }
    });
    let mut bench = two(&world, lie);
    bench.event(Event::Tick);
    assert!(bench.answer(0) && bench.answer(0), "both heads");
    assert_eq!(bench.fetches(), [(0, 1), (0, 2), (0, 3), (0, 4)]);
    for _ in 0..3 {
        assert!(bench.answer(1)); // 2, 3, 4 come first
    }
    assert!(bench.answer(0));
    assert_eq!(bench.fetches(), [(1, 1), (1, 2), (1, 3), (1, 4)]);
    bench.settle();
    assert_eq!(bench.height(), 4);
}

/// Two chains, the same up to `same`, then each with blocks of its own, all signed by all.
fn branches(same: usize, more: usize) -> (World, World) {
    let mut one = chain(same);
    let mut other = one.clone();
    one.extend(more);
    let ms = other.head_time().0 - START + 1_500;
    let tx = other.foreign();
    other.add(ms, vec![tx]);
    other.extend(more - 1);
    (one, other)
}

#[test]
fn another_endpoints_signed_header_at_the_same_height_halts() {
    let (one, other) = branches(3, 2);
    let mut bench = Bench::new(&one, vec![Peer::honest(&one.chain), Peer::honest(&other.chain)]);
    bench.tick(0);
    let why = bench.halted.clone().expect("a halt");
    assert!(why.contains("forked") && why.contains("ask the consortium's operators"), "{why}");
    let (committed, asked) = (bench.height(), bench.pending.len());
    // for good: the bench refuses any action from now on
    bench.event(Event::Tick);
    bench.event(Event::Head { endpoint: 0, result: Ok(Height(9)) });
    bench.event(Event::Restarted(Cursor::of_genesis(one.genesis()).unwrap()));
    assert_eq!((bench.height(), bench.pending.len()), (committed, asked));
}

#[test]
fn a_block_that_follows_another_signed_block_halts() {
    let (one, other) = branches(3, 2);
    // it has block 4 of one chain; block 5 comes from the other
    let mut shorter = chain(3);
    shorter.chain.clone_from(&one.chain);
    let mut bench = Bench::new(&one, vec![Peer::honest(&one.chain)]);
    bench.peers[0].claims = Some(4);
    bench.tick(0);
    assert_eq!(bench.height(), 4);
    bench.peers[0] = Peer::honest(&other.chain);
    bench.tick(1_000);
    assert_eq!(bench.height(), 4);
    let four = &one.chain.block(Height(4)).unwrap().header.hash[2..];
    assert!(bench.halted.as_ref().is_some_and(|why| why.contains("height 4") && why.contains(four)));
}

#[test]
fn a_lagging_endpoint_on_another_branch_halts_too() {
    let (one, other) = branches(3, 3);
    let mut bench = Bench::new(&one, vec![Peer::honest(&one.chain), Peer::honest(&one.chain)]);
    bench.peers[1].fault = Fault::Down;
    bench.tick(0);
    assert_eq!(bench.height(), 6);
    let short = Peer { claims: Some(4), ..Peer::honest(&other.chain) };
    bench.peers[1] = short;
    bench.tick(1_000);
    assert!(bench.halted.as_ref().is_some_and(|why| why.contains("height 4")), "{:?}", bench.halted);
}

fn short(bench: &Bench, endpoint: usize, at: u64) {
    let alarm = Alarm::ShortQuorum { endpoint: format!("peer{endpoint}"), height: Height(at) };
    assert_eq!(bench.alarms, [alarm]);
}

#[test]
fn a_block_without_a_quorum_alarms_until_the_endpoint_does_better() {
    let (one, other) = branches(3, 2);
    let minority = Peer { fault: signed_by(4, &[0, 1]), ..Peer::honest(&other.chain) };
    let mut bench = Bench::new(&one, vec![minority, Peer::honest(&one.chain)]);
    bench.tick(0);
    short(&bench, 0, 4);
    assert_eq!((bench.height(), &bench.halted), (5, &None), "the other goes on");
    bench.assert_prefix_of(&one.chain);
    // it shows as much again when it is compared
    bench.tick(1_000);
    short(&bench, 0, 5);
    bench.peers[0] = Peer::honest(&one.chain);
    bench.tick(999);
    short(&bench, 0, 5);
    bench.tick(1);
    assert_eq!(bench.alarms, []);
    assert_eq!(bench.error_of(0), "");
}

/// Nobody else has a block at that height to compare it with.
#[test]
fn a_lone_endpoints_block_without_a_quorum_alarms_and_is_not_committed() {
    let (one, other) = branches(3, 2);
    let minority = Peer { fault: signed_by(4, &[0, 3]), ..Peer::honest(&other.chain) };
    let mut bench = Bench::new(&one, vec![minority]);
    bench.tick(0);
    short(&bench, 0, 4);
    assert_eq!((bench.height(), &bench.halted), (3, &None));
    bench.tick(1_000);
    short(&bench, 0, 4);
    bench.peers[0] = Peer::honest(&one.chain);
    // its block 5 of before came while it waited, and is judged when its turn comes
    bench.tick(1_000);
    short(&bench, 0, 5);
    bench.tick(1_000);
    assert_eq!((bench.height(), &bench.alarms[..]), (5, &[][..]));
}

/// Seen only when its header is compared: it never gave a block.
#[test]
fn a_header_without_a_quorum_alarms_and_is_not_asked_for_without_end() {
    let (one, other) = branches(3, 2);
    let minority = Peer { fault: signed_by(4, &[2, 3]), ..Peer::honest(&other.chain) };
    let mut bench = Bench::new(&one, vec![Peer::honest(&one.chain), minority]);
    bench.tick(0);
    short(&bench, 1, 4);
    assert_eq!((bench.height(), &bench.halted), (5, &None));
    bench.peers[1] = Peer::honest(&one.chain);
    bench.tick(1_000);
    assert_eq!(bench.alarms, []);
}

fn regression(bench: &Bench, from: u64, to: u64) {
    let alarm = Alarm::Regression { endpoint: "peer0".into(), from: Height(from), to: Height(to) };
    assert_eq!(bench.alarms, [alarm]);
}

#[test]
fn a_head_that_goes_back_alarms_until_it_is_there_again() {
    let world = chain(6);
    let mut bench = two(&world, Fault::None);
    bench.tick(0);
    bench.peers[0].claims = Some(4);
    bench.tick(200);
    regression(&bench, 6, 4);
    bench.peers[0].claims = Some(5);
    bench.tick(200);
    regression(&bench, 6, 5);
    bench.peers[0].claims = None;
    bench.tick(200);
    assert_eq!(bench.alarms, []);
}

/// It went back and came again with other blocks: what it showed before counts for nothing.
#[test]
fn an_endpoint_that_went_back_is_compared_again() {
    let (one, other) = branches(4, 2);
    let mut bench = Bench::new(&one, vec![Peer::honest(&one.chain), Peer::honest(&one.chain)]);
    bench.tick(0);
    assert_eq!(bench.height(), 6);
    bench.peers[0] = Peer { claims: Some(4), ..Peer::honest(&other.chain) };
    bench.tick(200);
    regression(&bench, 6, 4);
    bench.peers[0].claims = None;
    bench.tick(200);
    assert!(bench.halted.is_some(), "its block 6 is another: {:?}", bench.alarms);
}

/// One wrong number must not alarm for ever: it ends when the endpoint shows all that we hold.
#[test]
fn a_boast_taken_back_is_forgiven() {
    let mut world = chain(6);
    let mut bench = two(&world, Fault::None);
    bench.peers[0].claims = Some(1 << 60);
    bench.tick(0);
    assert_eq!(bench.height(), 6);
    bench.peers[0].claims = Some(5);
    bench.tick(1_000);
    regression(&bench, 1 << 60, 5);
    bench.peers[0].claims = None;
    bench.tick(1_000);
    assert_eq!(bench.alarms, []);
    world.extend(1);
    bench.peers = vec![Peer::honest(&world.chain); 2];
    bench.tick(1_000);
    assert_eq!((bench.height(), &bench.alarms[..]), (7, &[][..]));
}

/// After a restart nobody has the block that we hold: the chain itself went back.
#[test]
fn a_chain_shorter_than_the_state_alarms() {
    let world = chain(6);
    let (handle, _) = world.fresh();
    world.commit_all(&handle);
    let lags = Peer { claims: Some(4), ..Peer::honest(&world.chain) };
    let mut bench = Bench::on(
        handle.clone(),
        world.head_time(),
        vec![lags.clone(), lags.clone()],
        FollowerOptions::default(),
    );
    bench.tick(0);
    assert_eq!(bench.alarms.len(), 2, "{:?}", bench.alarms);
    // one lags and the other has it: nothing is wrong
    bench.peers[1].claims = None;
    bench.tick(200);
    bench.tick(200);
    assert_eq!(bench.alarms, []);
    assert_eq!(bench.height(), 6);
}

#[test]
fn a_block_dated_too_far_ahead_is_refused_and_taken_later() {
    let mut world = chain(2);
    let tx = world.heartbeat();
    world.add(14_000, vec![tx]); // 12 s after block 2
    let mut bench = two(&world, Fault::None);
    bench.moment.wall = at(3_999);
    bench.tick(0);
    assert_eq!(bench.height(), 2);
    assert!(bench.error_of(0).contains("check the clock"), "{}", bench.error_of(0));
    assert_eq!((&bench.alarms[..], &bench.halted), (&[][..], &None));
    bench.tick(1_000);
    assert_eq!(bench.height(), 3, "ten seconds exactly are taken");
    assert_eq!(bench.error_of(0), "");
}

#[test]
fn other_sealers_are_taken_only_with_the_old_quorum() {
    let mut world = chain(2);
    let mut ours = sealers(&[1, 2, 3, 4]);
    ours.push((key(5), 1));
    let tx = world.heartbeat();
    let plan = Plan { sealers: Some(ours), signers: Some(vec![0, 1, 2, 4]), ..Plan::at(at(3_000), vec![tx]) };
    world.chain.add(plan).unwrap();
    world.extend(2);
    // the strangers' chain goes the same way up to there
    let mut strangers = World { chain: world.chain.clone(), ..world.clone() };
    let tx = strangers.heartbeat();
    let plan = Plan { sealers: Some(sealers(&[6, 7, 8, 9])), ..Plan::at(at(6_000), vec![tx]) };
    strangers.chain.add(plan).unwrap();
    strangers.extend(1);
    let mut bench = Bench::new(&strangers, vec![Peer::honest(&strangers.chain), Peer::honest(&world.chain)]);
    bench.tick(0);
    assert_eq!(bench.height(), 5);
    assert_eq!(bench.handle.cursor().sealers.sealers().len(), 5);
    short(&bench, 0, 6);
    bench.assert_prefix_of(&world.chain);
    // the chain goes on, signed by the five; the strangers' endpoint comes back to it
    world.extend(2);
    bench.peers = vec![Peer::honest(&world.chain); 2];
    bench.tick(1_000);
    assert_eq!((bench.height(), &bench.alarms[..]), (7, &[][..]));
}

#[test]
fn a_restart_in_the_middle_begins_anew() {
    let world = chain(8);
    let mut bench = two(&world, Fault::None);
    bench.event(Event::Tick);
    while bench.height() < 3 {
        assert!(bench.commit() || bench.step());
    }
    while bench.committing.is_none() {
        assert!(bench.step());
    }
    assert!(!bench.pending.is_empty() && bench.committing.is_some());
    bench.restart();
    assert_eq!(bench.height(), 0);
    assert_eq!(bench.fetches().iter().map(|f| f.1).collect::<Vec<_>>(), [1, 2, 3, 4]);
    // answers to what was asked before the restart come first
    while bench.answer_stale() {}
    bench.settle();
    assert_eq!(bench.height(), 8);
    bench.assert_prefix_of(&world.chain);
    let (other, _) = world.fresh();
    world.commit_all(&other);
    assert_eq!(bench.handle.cursor(), other.cursor());
}

/// A process that starts again takes up at its cursor, and sees a fork right there.
#[test]
fn a_start_at_a_cursor_compares_that_block() {
    let (one, other) = branches(3, 2);
    let (handle, _) = one.fresh();
    one.commit_all(&handle);
    for (chain, halts) in [(&one.chain, false), (&other.chain, true)] {
        let peers = vec![Peer::honest(&one.chain), Peer::honest(chain)];
        let mut bench = Bench::on(handle.clone(), one.head_time(), peers, FollowerOptions::default());
        bench.tick(0);
        assert_eq!(bench.halted.is_some(), halts);
        assert_eq!(bench.committed, [0u64; 0]);
    }
}
