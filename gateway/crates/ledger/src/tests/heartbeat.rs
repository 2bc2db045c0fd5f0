//! Whose turn it is, and that a heartbeat then comes.

use super::*;
use crate::heartbeat::{RANK_STEP, rank, wait_for_turn};

#[test]
fn sources_and_supervisors_have_ranks_by_id() {
    let world = World::standard();
    let (handle, _) = world.fresh();
    world.commit_all(&handle);
    let guard = handle.read();
    let of = |id: &str| rank(&guard, &node_id(id)).unwrap();
    assert_eq!(of("pboc-1"), Some(0));
    assert_eq!(of("source-1"), Some(1));
    assert_eq!(of("source-2"), Some(2));
    assert_eq!(of("bank-1"), None, "an institution has no turn");
    assert_eq!(of("stranger"), None);
}

#[test]
fn a_blocked_node_has_no_rank_and_those_behind_it_move_up() {
    let mut world = World::standard();
    let block = Record::Standing(StandingChange {
        institution: InstitutionId::parse("bureau").unwrap(),
        standing: Standing::Blocked,
        reason: "test".into(),
    });
    let tx = world.by("pboc-1", vec![block]);
    world.add(2_000, vec![tx]);
    let (handle, _) = world.fresh();
    world.commit_all(&handle);
    let guard = handle.read();
    assert_eq!(rank(&guard, &node_id("source-1")).unwrap(), None);
    assert_eq!(rank(&guard, &node_id("pboc-1")).unwrap(), Some(0));
}

#[test]
fn a_turn_comes_at_a_third_of_the_bound_and_later_by_rank() {
    let bound = Duration::from_secs(60);
    assert_eq!(wait_for_turn(0, Duration::ZERO, bound), Duration::from_secs(20));
    assert_eq!(wait_for_turn(0, Duration::from_secs(20), bound), Duration::ZERO);
    assert_eq!(wait_for_turn(0, Duration::from_secs(70), bound), Duration::ZERO);
    assert_eq!(wait_for_turn(3, Duration::from_secs(20), bound), RANK_STEP * 3);
}
