//! Proposals in a supervisor that is not serving: what is carried out, when, and on which enrolment.

use super::{
    Act, Decision, Meant, Person, Proposal, Proposed, State, decide, execute, list, load, propose, sweep,
};
use crate::{
    app::App,
    assemble::Gateway,
    reject::Rejection,
    supervisor::{attest::enrol::Device, audit},
    testkit::Consortium,
};
use gw_attest::decide::Enrolled;
use gw_proto::{Hex, HexBytes, InstitutionId, NodeId, PublicKey, Scheme, UnixMillis};
use std::sync::Arc;

const DEVICE: &str = "bank-suzhou-1";

/// A supervisor that judges by no manifest at all.
async fn supervisor(c: &Consortium) -> Gateway {
    let folder = c.path("gateways/pboc-shanghai-1");
    std::fs::create_dir_all(folder.join("manifests")).unwrap();
    let key = PublicKey { scheme: Scheme::Sm2Sm3, point: Hex([2; 64]) };
    let makers = serde_json::json!({ "threshold": 1, "keys": [key] });
    std::fs::write(folder.join("makers.json"), makers.to_string()).unwrap();
    let more = "[supervisor.attestation]\nmanifests = \"manifests\"\nmakers = \"makers.json\"\npcrs = [14]\nfloor = 1\nsilence_s = 60\n";
    c.build("pboc-shanghai-1", more).await
}

fn node() -> NodeId {
    NodeId::parse(DEVICE).unwrap()
}

/// Enrolled at a time, with a chip of its own for each.
fn enrolled(app: &App, at: u64) -> Meant {
    let endorsement = Hex([u8::try_from(at).unwrap(); 32]);
    let enrolled = Enrolled {
        device: node(),
        attestation_key: HexBytes(vec![1]),
        signing_key: None,
        node_key: PublicKey { scheme: Scheme::Sm2Sm3, point: Hex([2; 64]) },
        endorsement_certificate: endorsement,
        configurations: vec![Hex([3; 32])],
        files: Vec::new(),
    };
    let institution = InstitutionId::parse("bank-suzhou").unwrap();
    let at = UnixMillis(at);
    let device = Device { enrolled, institution, at, by: "op".to_owned(), endorsed: None };
    app.supervisor_store().unwrap().enrol(&device).unwrap();
    Meant { endorsement, at }
}

fn is_enrolled(app: &App) -> bool {
    app.supervisor_store().unwrap().enrolment(&node()).unwrap().is_some()
}

fn person(n: u8) -> Person {
    let (operator, subject) = (format!("op-{n}"), format!("CN=p{n}"));
    Person { person: operator.clone(), operator, spki: Hex([n; 32]), subject }
}

fn ending() -> Proposed {
    Proposed { what: Act::Decommission { device: node() }, reason: "broken".to_owned() }
}

fn problem<T>(result: Result<T, Rejection>) -> &'static str {
    result.err().map_or("none", |e| e.problem.name)
}

/// Kept as it is, whatever the rules would say.
fn kept(app: &App, state: State, expires: UnixMillis, meant: Meant) -> u64 {
    let what = Act::Decommission { device: node() };
    let (by, at) = (person(1), UnixMillis(10));
    let p = Proposal { id: 0, what, reason: "r".to_owned(), by, at, expires, meant: Some(meant), state };
    let store = app.supervisor_store().unwrap();
    store.db().write(|s| super::store::keep(s, &p)).unwrap().unwrap()
}

fn acts(app: &App) -> Vec<(String, String)> {
    let rows = audit::read(app, 0).unwrap().rows;
    let one = |r: &audit::Row| serde_json::from_str::<audit::Act>(&r.body).map(|a| (a.by, a.act)).unwrap();
    rows.iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn proposed_by_one_approved_by_another_done_once_and_on_record() {
    let c = Consortium::new();
    let gateway = supervisor(&c).await;
    let app: &Arc<App> = gateway.app();
    assert_eq!(problem(propose(app, person(1), ending()).await), "not-found", "nothing is enrolled");
    enrolled(app, 5);
    let no_reason = Proposed { reason: " ".to_owned(), ..ending() };
    assert_eq!(problem(propose(app, person(1), no_reason).await), "malformed-request");
    let id = propose(app, person(1), ending()).await.unwrap().id;
    assert_eq!(problem(propose(app, person(2), ending()).await), "proposal-refused", "one is enough");
    assert_eq!(problem(decide(app, person(1), id, Decision::Approve).await), "second-operator-needed");
    assert_eq!(problem(decide(app, person(2), id, Decision::Withdraw("w".into())).await), "proposal-refused");
    assert_eq!(problem(decide(app, person(2), id, Decision::Refuse("\n".into())).await), "malformed-request");
    assert!(is_enrolled(app), "done before it was approved");
    let done = decide(app, person(2), id, Decision::Approve).await.unwrap();
    assert!(matches!(done.state, State::Executed { .. }) && !is_enrolled(app), "{:?}", done.state);
    assert_eq!(problem(decide(app, person(3), id, Decision::Approve).await), "proposal-closed");
    let expected = ["propose", "propose", "denied", "denied", "approve", "executed", "denied"];
    let acts = acts(app);
    assert_eq!(acts.iter().map(|(_, act)| act.as_str()).collect::<Vec<_>>(), expected);
    let by: Vec<_> = acts.iter().map(|(by, _)| by.as_str()).collect();
    assert_eq!(by, ["op-1", "op-2", "op-1", "op-2", "op-2", "-", "op-3"]);
    // the journal has noted the last of them
    let trail = audit::read(app, 0).unwrap();
    assert_eq!(trail.noted.map(|m| m.n), Some(7));
    assert_eq!(audit::check(app).unwrap().unwrap().n, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_before_a_power_loss_is_done_after_it() {
    let c = Consortium::new();
    let gateway = supervisor(&c).await;
    let app = gateway.app();
    let meant = enrolled(app, 5);
    let approved = State::Approved { by: person(2), at: UnixMillis(20) };
    let id = kept(app, approved, UnixMillis(30), meant);
    sweep(app).await.unwrap();
    assert!(!is_enrolled(app) && matches!(load(app, id).unwrap().state, State::Executed { .. }));
    // again: a new enrolment is not touched
    enrolled(app, 6);
    sweep(app).await.unwrap();
    assert!(matches!(execute::execute(app, id).await.unwrap().state, State::Executed { .. }));
    assert!(is_enrolled(app), "it was done twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_enrolment_since_then_is_not_touched() {
    let c = Consortium::new();
    let gateway = supervisor(&c).await;
    let app = gateway.app();
    let meant = enrolled(app, 5);
    enrolled(app, 6);
    let id = kept(app, State::Approved { by: person(2), at: UnixMillis(20) }, UnixMillis(30), meant);
    let state = execute::execute(app, id).await.unwrap().state;
    assert!(matches!(state, State::Overtaken { .. }) && is_enrolled(app), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_on_expires_and_open_ones_are_left_alone() {
    let c = Consortium::new();
    let gateway = supervisor(&c).await;
    let app = gateway.app();
    let meant = enrolled(app, 5);
    let id = kept(app, State::Open, UnixMillis(30), meant);
    // before anything wrote it
    assert_eq!(list(app).unwrap().proposals[0].state.name(), "expired");
    assert_eq!(load(app, id).unwrap().state, State::Open);
    assert_eq!(problem(decide(app, person(2), id, Decision::Approve).await), "proposal-closed");
    sweep(app).await.unwrap();
    assert!(matches!(load(app, id).unwrap().state, State::Expired { .. }) && is_enrolled(app));
    let open = propose(app, person(1), ending()).await.unwrap().id;
    sweep(app).await.unwrap();
    assert_eq!(load(app, open).unwrap().state, State::Open);
    assert_eq!(execute::execute(app, open).await.unwrap().state, State::Open, "done without an approval");
    assert!(is_enrolled(app));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposer_is_looked_up_again_in_the_list_of_now() {
    let c = Consortium::new();
    let file = c.path("gateways/pboc-shanghai-1/xinguan.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    // both operators are one person by now
    let text = text.replace("name = \"operator\"", "name = \"operator\"\nperson = \"Wang Fang\"");
    let text = text.replace("name = \"operator-2\"", "name = \"operator-2\"\nperson = \"wang fang \"");
    std::fs::write(&file, text).unwrap();
    let gateway = supervisor(&c).await;
    let app = gateway.app();
    enrolled(app, 5);
    let entry = |name: &str| {
        let o = app.config.operators.iter().find(|o| o.name == name).unwrap();
        Person { spki: o.spki, person: o.person().to_owned(), ..person(9) }
    };
    // as the list had the proposer when he proposed
    let proposer = Person {
        operator: "old name".into(),
        person: "old name".into(),
        subject: "CN=old".into(),
        ..entry("operator")
    };
    let id = propose(app, proposer, ending()).await.unwrap().id;
    let second = Person { operator: "operator-2".into(), subject: "CN=two".into(), ..entry("operator-2") };
    assert_eq!(problem(decide(app, second, id, Decision::Approve).await), "second-operator-needed");
    assert!(is_enrolled(app));
}
