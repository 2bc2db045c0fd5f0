//! What the store promises about people: proposals, each step once, and the audit trail, on each database.

use super::{
    attest::enrolments,
    audit::{Mark, Told, follow},
    four_eyes::{
        rules::{Act, Person, Proposal, State},
        store::{KeepError, MAX_OPEN, MAX_OPEN_OF_ONE, keep, step},
    },
    store::{StoreError, SupervisorStore},
    suite::{Case, Make, device, node},
};
use gw_proto::{Hex, UnixMillis};
use serde_json::json;

pub(super) const CASES: &[(&str, Case)] = &[
    ("one proposal per device, so many of one, so many of all", bounded),
    ("a step is taken once", once),
    ("an act and its row are there together or not at all", together),
    ("the trail goes on where it ended", trail),
    ("what was ended once is known, by device and by chip", ended),
];

fn open(device: &str, by: u8) -> Proposal {
    let by = Person {
        operator: format!("op-{by}"),
        person: format!("p-{by} ' \\ 信"),
        spki: Hex([by; 32]),
        subject: format!("CN={by}"),
    };
    Proposal {
        id: 0,
        what: Act::Decommission { device: node(device) },
        reason: "broken".to_owned(),
        by,
        at: UnixMillis(1),
        expires: UnixMillis(2),
        meant: None,
        state: State::Open,
    }
}

fn proposed(store: &SupervisorStore, p: &Proposal) -> Result<u64, KeepError> {
    store.db().write(|s| keep(s, p)).unwrap()
}

fn stepped(store: &SupervisorStore, p: &Proposal, to: &State) -> bool {
    store.db().write(|s| step(s, p, to)).unwrap()
}

fn bounded(make: Make) {
    let store = make();
    let first = proposed(&store, &open("d-1", 1)).unwrap();
    match proposed(&store, &open("d-1", 2)).unwrap_err() {
        KeepError::Another(id) => assert_eq!(id, first),
        other => panic!("{other}"),
    }
    for i in 2..=MAX_OPEN_OF_ONE {
        proposed(&store, &open(&format!("d-{i}"), 1)).unwrap();
    }
    assert!(matches!(proposed(&store, &open("d-100", 1)).unwrap_err(), KeepError::FullOfOne));
    for i in MAX_OPEN_OF_ONE + 1..=MAX_OPEN {
        let by = u8::try_from(1 + i / MAX_OPEN_OF_ONE).unwrap();
        proposed(&store, &open(&format!("d-{i}"), by.max(2))).unwrap();
    }
    assert!(matches!(proposed(&store, &open("d-100", 9)).unwrap_err(), KeepError::Full));
    // a decided one makes room; its number is not used again
    let p = store.proposal(first).unwrap().unwrap();
    assert_eq!(p, Proposal { id: first, ..open("d-1", 1) });
    assert!(stepped(&store, &p, &State::Expired { at: UnixMillis(3) }));
    let next = proposed(&store, &open("d-1", 9)).unwrap();
    assert_eq!(next, u64::from(MAX_OPEN) + 1);
    let shown = store.proposals().unwrap();
    assert_eq!(shown.len(), 65);
    assert_eq!(
        shown.last().map(|p| (p.id, p.state.name())),
        Some((first, "expired")),
        "what is over is last"
    );
    assert!(store.proposal(999).unwrap().is_none());
}

fn once(make: Make) {
    let store = make();
    let id = proposed(&store, &open("d-1", 1)).unwrap();
    let p = store.proposal(id).unwrap().unwrap();
    assert_eq!((p.id, &p.state), (id, &State::Open));
    let approved = State::Approved { by: p.by.clone(), at: UnixMillis(2) };
    assert!(stepped(&store, &p, &approved));
    assert!(!stepped(&store, &p, &approved), "two operators approved at once");
    assert!(!stepped(&store, &p, &State::Expired { at: UnixMillis(2) }));
    // one that is approved and not done yet keeps its device
    assert!(matches!(proposed(&store, &open("d-1", 2)).unwrap_err(), KeepError::Another(_)));
    let shown = store.proposals().unwrap();
    assert_eq!((shown.len(), &shown[0].state), (1, &approved));
}

/// Tells of something that changes nothing.
pub(super) fn told(store: &SupervisorStore, at: u64) -> Mark {
    let what = json!({ "device": "bank-a-1", "reason": "' \\ 信" });
    store.act(Told { at: UnixMillis(at), by: "op", act: "enrol", what: &what }, |_| Ok(())).unwrap().1
}

/// Follows the whole trail; its end.
pub(super) fn whole(store: &SupervisorStore) -> Mark {
    let end = follow(Mark::START, &store.acts(0).unwrap()).unwrap();
    assert_eq!(store.last_act().unwrap(), end.n);
    end
}

fn together(make: Make) {
    let (store, what) = (make(), json!({}));
    let told = Told { at: UnixMillis(1), by: "op", act: "propose", what: &what };
    let (id, mark) = store.act(told, |s| keep(s, &open("d-1", 1))).unwrap();
    assert_eq!((store.proposals().unwrap()[0].id, mark, mark.n), (id.unwrap(), whole(&store), 1));
    // refused: nothing is changed, and it is on record
    let refused = store.act(told, |s| keep(s, &open("d-1", 1))).unwrap().0;
    assert!(matches!(refused, Err(KeepError::Another(_))));
    assert_eq!((store.proposals().unwrap().len(), whole(&store).n), (1, 2));
    // failed after it was done: neither is there
    let failed = store.act(told, |s| -> Result<(), StoreError> {
        keep(s, &open("d-2", 1))?.unwrap();
        s.execute("insert into nothing values (1)", &[])?;
        Ok(())
    });
    assert!(failed.is_err());
    assert_eq!((store.proposals().unwrap().len(), whole(&store).n), (1, 2));
}

fn trail(make: Make) {
    let store = make();
    assert_eq!((whole(&store), store.acts(0).unwrap().len()), (Mark::START, 0));
    for n in 1..=5 {
        let mark = told(&store, n);
        assert_eq!((mark.n, mark), (n, whole(&store)));
    }
    // page by page
    let first = follow(Mark::START, &store.acts(0).unwrap()[..2]).unwrap();
    assert_eq!(follow(first, &store.acts(2).unwrap()).unwrap(), whole(&store));
    assert!(store.acts(5).unwrap().is_empty());
}

fn ended(make: Make) {
    let store = make();
    let was = |name: &str, chip| store.db().read(|s| enrolments::was_ended(s, &device(name, chip))).unwrap();
    store.enrol(&device("bank-a-1", 1)).unwrap();
    assert!(!was("bank-a-1", 1), "it is enrolled");
    assert!(store.decommission(&node("bank-a-1"), "op", "broken", UnixMillis(7)).unwrap());
    assert_eq!(
        [("bank-a-1", 1), ("bank-a-1", 2), ("bank-b-1", 1), ("bank-b-1", 2)]
            .map(|(name, chip)| was(name, chip)),
        [true, true, true, false]
    );
}
