//! What the supervisor's store promises, on each database that it can be in.

use super::{
    attest::{
        appraisal::{Appraisal, VERSION},
        enrol::Device,
        enrolments::EnrolError,
        history::{MAX_APPRAISALS, MAX_VERDICTS},
        verdict_log::Rewritten,
    },
    db::{
        DbError,
        test_server::{Server, USER},
    },
    people_suite,
    reconcile_tests::delivery,
    store::{StoreError, SupervisorStore, note_lookup, value},
};
use crate::config::{Database, Postgres, PostgresHost};
use gw_attest::{
    Check, CheckName, Outcome, Verdict,
    attest_structure::Counters,
    challenge::Challenge,
    decide::{Enrolled, Rules},
    verdict::Previous,
};
use gw_proto::{
    B64, Hex, HexBytes, InstitutionId, NodeId, PublicKey, Scheme, UnixMillis, Uscc, record::Side,
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Makes an empty store.
pub(super) type Make<'a> = &'a dyn Fn() -> SupervisorStore;

pub(super) type Case = fn(Make<'_>);

const CASES: &[(&str, Case)] = &[
    ("a chip is one device", a_chip_is_one_device),
    ("a decommissioned chip may be enrolled again", decommissioned),
    ("since, counters and last evidence are the device's own", since_counters_and_last_evidence),
    ("the fleet is all that is enrolled, with what came", fleet),
    ("a history that was rewritten is found", rewritten),
    ("an exported verdict is proved", proved),
    ("what is too old is let go, and what is kept stays proved", forgetting),
    ("random logs hold, and no change to them does", random_logs),
    ("deliveries are kept once, and contradicted by name", deliveries),
    ("look-ups are told in order", lookups),
];

#[test]
fn in_sqlite() {
    for (what, case) in CASES.iter().chain(people_suite::CASES) {
        println!("SQLite: {what}");
        case(&|| SupervisorStore::in_memory().unwrap());
    }
}

#[test]
fn in_postgresql() {
    let server = Server::start().unwrap();
    let made = AtomicU32::new(0);
    for (what, case) in CASES.iter().chain(people_suite::CASES) {
        println!("PostgreSQL: {what}");
        case(&|| {
            let name = format!("case_{}", made.fetch_add(1, Ordering::Relaxed));
            SupervisorStore::connect(&Database::Postgres(fresh(&server, &name))).unwrap()
        });
    }
}

#[test]
fn two_processes_with_one_file_keep_one_log() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::Sqlite(folder.path().join("supervisor.sqlite"));
    two_processes(&database);
}

#[test]
fn two_processes_with_one_server_keep_one_log() {
    let server = Server::start().unwrap();
    two_processes(&Database::Postgres(fresh(&server, "shared")));
}

/// A new, empty database, over the socket.
pub(super) fn fresh(server: &Server, database: &str) -> Postgres {
    server.create(database).unwrap();
    Postgres {
        host: PostgresHost::Socket(server.socket().to_owned()),
        port: server.port(),
        database: database.to_owned(),
        user: USER.to_owned(),
        password_file: None,
        roots: None,
        connections: 4,
    }
}

/// Two stores as of two processes, both with verdicts on the same device.
fn two_processes(database: &Database) {
    const EACH: u64 = 40;
    let open = || Arc::new(SupervisorStore::connect(database).unwrap());
    let stores = [open(), open()];
    let threads: Vec<_> = (0..4_u64)
        .map(|n| {
            let store = Arc::clone(&stores[usize::try_from(n % 2).unwrap()]);
            std::thread::spawn(move || {
                for at in 0..EACH {
                    store.keep_verdict(&verdict("bank-a-1", 1 + at * 4 + n, n == 0, None), None).unwrap();
                    people_suite::told(&store, at);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let name = node("bank-a-1");
    let latest = stores[0].latest(&name).unwrap().unwrap();
    for store in &stores {
        assert_eq!(store.check_history(&name, Some((latest.at, latest.head))).unwrap(), Ok(()));
        let seqs = "select count(*), min(seq), max(seq), count(distinct seq) from verdict";
        let row = store.db().read(|s| s.row(seqs, &[])).unwrap().unwrap();
        let all = i64::try_from(4 * EACH).unwrap();
        assert_eq!([0, 1, 2, 3].map(|c| row.int(c).unwrap()), [all, 0, all - 1, all]);
        assert_eq!(people_suite::whole(store).n, 4 * EACH);
    }
}

pub(super) fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

pub(super) fn device(name: &str, endorsement: u8) -> Device {
    let enrolled = Enrolled {
        device: node(name),
        attestation_key: HexBytes(vec![1]),
        signing_key: None,
        node_key: PublicKey { scheme: Scheme::Sm2Sm3, point: Hex([2; 64]) },
        endorsement_certificate: Hex([endorsement; 32]),
        configurations: vec![Hex([3; 32])],
        files: Vec::new(),
    };
    let institution = InstitutionId::parse("bank-a").unwrap();
    Device { enrolled, institution, at: UnixMillis(1), by: "op".to_owned(), endorsed: None }
}

pub(super) fn verdict(name: &str, at: u64, passed: bool, clock_ms: Option<u64>) -> Verdict {
    let outcome = if passed { Outcome::Ok } else { Outcome::Failed };
    let (expected, found) = (String::new(), "信关 \\ ' \"".to_owned());
    let counters = clock_ms.map(|clock_ms| Previous {
        attestation_key: HexBytes(vec![1]),
        counters: Counters { clock_ms, resets: 0, restarts: 0, safe: true },
    });
    Verdict {
        device: node(name),
        release: passed.then(|| "xinguan 0.1.0".to_owned()),
        at: UnixMillis(at),
        good_until: passed.then(|| UnixMillis(at + 1_000)),
        counters,
        checks: vec![Check { name: CheckName::Nonce, outcome, component: None, expected, found }],
    }
}

fn appraisal(name: &str, at: u64) -> Appraisal {
    Appraisal {
        v: VERSION,
        bundle: B64(vec![7]),
        challenge: Challenge {
            nonce: Hex([1; 32]),
            device: node(name),
            channel: Hex([2; 32]),
            expires: UnixMillis(at),
        },
        tls_node: node(name),
        enrolled: device(name, 1).enrolled,
        rules: Rules {
            banks: Vec::new(),
            pcrs: [0].into(),
            floor: 0,
            uncertified_node_key: false,
            interval_ms: 1,
        },
        manifest: None,
        previous: None,
        at: UnixMillis(at),
        log: None,
    }
}

fn change(store: &SupervisorStore, sql: &str) {
    store.db().write(|s| s.execute(sql, &[]).map(drop)).unwrap_or_else(|e: DbError| panic!("{sql}: {e}"));
}

fn number(store: &SupervisorStore, sql: &str) -> i64 {
    store.db().read(|s| s.row(sql, &[])).unwrap_or_else(|e: DbError| panic!("{e}")).unwrap().int(0).unwrap()
}

fn a_chip_is_one_device(make: Make) {
    let store = make();
    store.enrol(&device("bank-a-1", 1)).unwrap();
    let refused = store.enrol(&device("bank-b-1", 1)).unwrap_err();
    assert!(matches!(refused, EnrolError::Endorsement { device } if device == "bank-a-1"));
    let mut again = device("bank-a-1", 1);
    again.enrolled.configurations.push(Hex([9; 32]));
    store.enrol(&again).unwrap();
    store.enrol(&device("bank-b-1", 2)).unwrap();
    assert_eq!(store.enrolment(&node("bank-a-1")).unwrap(), Some(again));
    assert_eq!(store.enrolments().unwrap().len(), 2);
    assert_eq!(store.enrolment(&node("bank-c-1")).unwrap(), None);
}

fn decommissioned(make: Make) {
    let (store, a, at) = (make(), node("bank-a-1"), UnixMillis(7));
    assert!(!store.decommission(&a, "op", "broken", at).unwrap());
    store.enrol(&device("bank-a-1", 1)).unwrap();
    store.keep_verdict(&verdict("bank-a-1", 5, true, None), None).unwrap();
    assert!(store.decommission(&a, "op", "broken", at).unwrap());
    assert_eq!(store.enrolment(&a).unwrap(), None);
    assert!(store.verdict(&a).unwrap().is_some(), "its history stays");
    // the chip in another box, another chip in this one
    store.enrol(&device("bank-b-1", 1)).unwrap();
    store.enrol(&device("bank-a-1", 2)).unwrap();
    let sql = "select at, who, reason, body from decommissioned";
    let row = store.db().read(|s| s.row(sql, &[])).unwrap_or_else(|e: DbError| panic!("{e}")).unwrap();
    assert_eq!((row.int(0).unwrap(), row.text(1).unwrap(), row.text(2).unwrap()), (7, "op", "broken"));
    assert_eq!(value::<Device>("enrolment", row.text(3).unwrap()).unwrap(), device("bank-a-1", 1));
}

fn since_counters_and_last_evidence(make: Make) {
    let (store, a) = (make(), node("bank-a-1"));
    assert_eq!(store.verdict(&a).unwrap(), None);
    assert_eq!(store.latest(&a).unwrap(), None);
    for (at, passed, clock, evidence) in [
        (10, true, Some(5), true),
        (20, false, None, true),
        (30, false, None, false),
        (40, true, Some(6), true),
        (50, true, Some(7), true),
    ] {
        let told = appraisal("bank-a-1", at);
        let made = verdict("bank-a-1", at, passed, clock);
        store.keep_verdict(&made, evidence.then_some(&told)).unwrap();
        store.keep_verdict(&verdict("bank-b-1", at + 1, !passed, Some(99)), None).unwrap();
        let latest = store.latest(&a).unwrap().unwrap();
        assert_eq!((latest.at.0, latest.passed, latest.good_until), (at, passed, made.good_until));
        assert_eq!(latest.failed, made.failed().cloned().collect::<Vec<_>>());
        let (newest, since) = store.verdict(&a).unwrap().unwrap();
        let expected = match at {
            10 => 10,
            20 | 30 => 20,
            _ => 40,
        };
        assert_eq!((newest, since), (made, UnixMillis(expected)));
        let seen = if at == 30 { 20 } else { at };
        assert_eq!(store.last_evidence(&a).unwrap(), Some(UnixMillis(seen)));
        let clock = store.counters(&a).unwrap().unwrap().counters.clock_ms;
        assert_eq!(clock, [5, 5, 5, 6, 7][usize::try_from(at / 10 - 1).unwrap()]);
    }
    let mut kept = store.appraisal(&a, None).unwrap().unwrap();
    kept.log = None;
    assert_eq!(kept, appraisal("bank-a-1", 50));
    assert_eq!(store.appraisal(&node("bank-b-1"), None).unwrap(), None);
}

fn fleet(make: Make) {
    let store = make();
    assert!(store.fleet().unwrap().is_empty());
    for (name, chip) in [("bank-b-1", 2), ("bank-a-1", 1), ("bank-c-1", 3)] {
        store.enrol(&device(name, chip)).unwrap();
    }
    store.keep_verdict(&verdict("bank-a-1", 5, false, None), None).unwrap();
    store.keep_verdict(&verdict("bank-b-1", 6, true, None), Some(&appraisal("bank-b-1", 6))).unwrap();
    // of nobody that is enrolled
    store.keep_verdict(&verdict("bank-d-1", 7, true, None), None).unwrap();
    let told: Vec<_> = store.fleet().unwrap();
    let names: Vec<&str> = told.iter().map(|(d, _)| d.enrolled.device.as_str()).collect();
    assert_eq!(names, ["bank-a-1", "bank-b-1", "bank-c-1"]);
    for (device, latest) in &told {
        assert_eq!(*latest, store.latest(&device.enrolled.device).unwrap());
    }
    let [a, b, c] = [0, 1, 2].map(|n| told[n].1.as_ref());
    assert_eq!(a.map(|l| (l.passed, l.failed.len(), l.last_evidence)), Some((false, 1, None)));
    assert_eq!(b.map(|l| (l.passed, l.failed.len(), l.last_evidence)), Some((true, 0, Some(UnixMillis(6)))));
    assert_eq!(c, None);
}

/// Five verdicts on a device, and as many on another.
fn five(store: &SupervisorStore, from: u64) {
    for at in from..from + 5 {
        let told = appraisal("bank-a-1", at);
        let made = verdict("bank-a-1", at, at != 3, None);
        store.keep_verdict(&made, (at != 4).then_some(&told)).unwrap();
        store.keep_verdict(&verdict("bank-b-1", at, true, None), None).unwrap();
    }
}

fn rewritten(make: Make) {
    let name = node("bank-a-1");
    let store = make();
    five(&store, 1);
    let latest = store.latest(&name).unwrap().unwrap();
    let anchor = Some((UnixMillis(5), latest.head));
    for good in [None, anchor] {
        assert_eq!(store.check_history(&name, good).unwrap(), Ok(()));
    }
    five(&store, 6);
    assert_eq!(store.check_history(&name, anchor).unwrap(), Ok(()), "the ledger is told less often");
    let bad = serde_json::to_string(&verdict("bank-a-1", 3, true, None)).unwrap().replace('\'', "''");
    let other = serde_json::to_string(&appraisal("bank-a-1", 9)).unwrap();
    let of_a = "device = 'bank-a-1'";
    let zero = "0".repeat(64);
    for (what, changes, found) in [
        (
            "a bad one made good",
            format!("update verdict set body = '{bad}' where {of_a} and at = 3"),
            Rewritten::Entry(3),
        ),
        ("one taken out", format!("delete from verdict where {of_a} and at = 3"), Rewritten::Entry(4)),
        ("one moved", format!("update verdict set seq = 1000 where {of_a} and at = 1"), Rewritten::Entry(2)),
        (
            "other evidence",
            format!("update verdict set appraisal = '{other}' where {of_a} and at = 2"),
            Rewritten::Evidence(2),
        ),
        (
            "a hash of the tree",
            format!("update verdict_node set hash = '{zero}' where {of_a} and level = 1 and place = 1"),
            Rewritten::Tree(4),
        ),
        (
            "a leaf's hash",
            format!("update verdict_node set hash = '{zero}' where {of_a} and level = 0 and place = 1"),
            Rewritten::Entry(2),
        ),
        (
            "only its result",
            format!("update verdict set passed = 1 where {of_a} and at = 3"),
            Rewritten::Entry(3),
        ),
        (
            "only its time",
            format!("update verdict set at = 33 where {of_a} and at = 3"),
            Rewritten::Entry(33),
        ),
        (
            "what the fleet shows",
            format!("update latest set release = 'xinguan 9' where {of_a}"),
            Rewritten::Latest(5),
        ),
        (
            "what the ledger is told",
            format!("update latest set head = '{zero}' where {of_a}"),
            Rewritten::Latest(5),
        ),
        ("since when", format!("update latest set since = 1 where {of_a}"), Rewritten::Latest(5)),
        ("the end cut off", format!("delete from verdict where {of_a} and at > 3"), Rewritten::End),
        ("all verdicts", format!("delete from verdict where {of_a}"), Rewritten::End),
        ("all that is known of it", format!("delete from latest where {of_a}"), Rewritten::Anchor(5)),
    ] {
        let store = make();
        five(&store, 1);
        change(&store, &changes);
        assert_eq!(store.check_history(&name, anchor).unwrap(), Err(found), "{what}");
        assert_eq!(store.check_history(&node("bank-b-1"), None).unwrap(), Ok(()), "{what}: another's");
    }
    // written anew from the beginning, each hash in order: only the ledger knows
    let anew = make();
    (1..=5).for_each(|at| anew.keep_verdict(&verdict("bank-a-1", at, true, None), None).unwrap());
    assert_eq!(anew.check_history(&name, None).unwrap(), Ok(()));
    assert_eq!(anew.check_history(&name, anchor).unwrap(), Err(Rewritten::Anchor(5)));
    assert_eq!(make().check_history(&name, None).unwrap(), Ok(()), "nothing, and nothing was told");
}

fn proved(make: Make) {
    let (store, name) = (make(), node("bank-a-1"));
    five(&store, 1);
    let anchor = (UnixMillis(5), store.latest(&name).unwrap().unwrap().head);
    five(&store, 6);
    for (ledger, covered) in [(None, false), (Some(anchor), false)] {
        let told = store.appraisal(&name, ledger).unwrap().unwrap();
        let made = verdict("bank-a-1", 10, true, None);
        let digest = ledger.map(|(_, digest)| digest);
        let proof = told.verify_log(&made, digest.as_ref()).unwrap().unwrap().unwrap();
        assert_eq!((proof.anchor, proof.covered), (digest, covered));
    }
    let latest = store.latest(&name).unwrap().unwrap();
    let told = store.appraisal(&name, Some((latest.at, latest.head))).unwrap().unwrap();
    let made = verdict("bank-a-1", 10, true, None);
    let proof = told.verify_log(&made, Some(&latest.head)).unwrap().unwrap().unwrap();
    assert!(proof.covered && proof.anchor == Some(latest.head));
    // what is not this verdict, or not this log, by name
    let refused = |told: &Appraisal, made: &Verdict, ledger| {
        told.verify_log(made, ledger).unwrap().unwrap().unwrap_err().to_string()
    };
    let worse = refused(&told, &verdict("bank-a-1", 10, false, None), None);
    assert!(worse.contains("not what this evidence comes to"), "{worse}");
    let other = refused(&told, &made, Some(&Hex([1; 32])));
    assert!(other.contains("REWRITTEN"), "{other}");
    let mut bent = told.clone();
    bent.bundle = B64(vec![8]);
    assert!(refused(&bent, &made, None).contains("not in the log"), "other evidence");
    let mut bent = told.clone();
    bent.log.as_mut().unwrap().anchored.as_mut().unwrap().root = Hex([1; 32]);
    assert!(refused(&bent, &made, None).contains("REWRITTEN"), "another beginning");
    let mut bent = told;
    bent.log.as_mut().unwrap().anchored = None;
    assert!(refused(&bent, &made, Some(&latest.head)).contains("no record of the ledger"));
}

fn forgetting(make: Make) {
    let (store, name) = (make(), node("bank-a-1"));
    let many = u64::from(MAX_APPRAISALS) + 5;
    for at in 1..=many {
        store.keep_verdict(&verdict("bank-a-1", at, true, None), Some(&appraisal("bank-a-1", at))).unwrap();
    }
    assert_eq!(number(&store, "select count(appraisal) from verdict"), i64::from(MAX_APPRAISALS));
    assert_eq!(number(&store, "select count(*) from verdict"), i64::try_from(many).unwrap());
    let anchor = store.latest(&name).unwrap().map(|l| (l.at, l.head));
    let jump = u64::from(MAX_VERDICTS) - many;
    let month: Vec<_> = (1..=jump).map(|n| verdict("bank-a-1", many + n, true, None)).collect();
    store.keep_verdicts(month.iter().map(|v| (v, None))).unwrap();
    for at in many + jump + 1..=many + jump + 9 {
        store.keep_verdict(&verdict("bank-a-1", at, true, None), Some(&appraisal("bank-a-1", at))).unwrap();
    }
    assert_eq!(number(&store, "select count(*) from verdict"), i64::from(MAX_VERDICTS));
    assert_eq!(number(&store, "select min(seq) from verdict"), 9);
    assert_eq!(store.check_history(&name, anchor).unwrap(), Ok(()));
    let told = store.appraisal(&name, anchor).unwrap().unwrap();
    let made = verdict("bank-a-1", many + jump + 9, true, None);
    let digest = anchor.unwrap().1;
    told.verify_log(&made, Some(&digest)).unwrap().unwrap().unwrap();
}

/// Repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn random_logs(make: Make) {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let (store, name, size) = (make(), node("bank-a-1"), 2 + random.below(70));
    let (mut heads, mut judged) = (Vec::new(), None);
    for at in 1..=size {
        let made = verdict("bank-a-1", at, random.below(4) > 0, (random.below(2) > 0).then_some(at));
        let told = appraisal("bank-a-1", at);
        let evidence = at == 1 || random.below(3) > 0;
        store.keep_verdict(&made, evidence.then_some(&told)).unwrap();
        if evidence {
            judged = Some(made);
        }
        heads.push((UnixMillis(at), store.latest(&name).unwrap().unwrap().head));
    }
    let judged = judged.unwrap();
    for anchor in &heads {
        assert_eq!(store.check_history(&name, Some(*anchor)).unwrap(), Ok(()), "{anchor:?}");
        let told = store.appraisal(&name, Some(*anchor)).unwrap().unwrap();
        let proof = told.verify_log(&judged, Some(&anchor.1)).unwrap().unwrap().unwrap();
        assert_eq!(proof.covered, judged.at <= anchor.0, "{anchor:?}");
    }
    let (at, anchor) = (1 + random.below(size), heads.last().copied());
    let change = match random.below(5) {
        0 => format!("update verdict set body = replace(body, 'nonce', 'clock') where at = {at}"),
        1 => format!("delete from verdict where at = {at}"),
        2 => format!("update verdict set passed = 1 - passed where at = {at}"),
        3 => format!("update verdict set seq = seq + 1000 where at = {at}"),
        _ => format!("update verdict_node set hash = '{}' where place = {}", "5".repeat(64), at - 1),
    };
    self::change(&store, &change);
    assert!(store.check_history(&name, anchor).unwrap().is_err(), "not found: {change}");
}

fn deliveries(make: Make) {
    let store = make();
    let (asker, source) = (delivery(Side::Asker, 1), delivery(Side::Source, 1));
    assert!(store.keep(&asker, UnixMillis(5)).unwrap());
    assert!(!store.keep(&asker, UnixMillis(6)).unwrap(), "the same again");
    assert!(store.keep(&source, UnixMillis(4)).unwrap());
    let mut contradicting = asker.clone();
    contradicting.opening.salt = Hex([9; 32]);
    let refused = store.keep(&contradicting, UnixMillis(7)).unwrap_err();
    assert!(matches!(refused, StoreError::Contradiction { side: "asker", .. }), "{refused}");
    let about: Vec<u64> = store.about(&asker.opening.subject).unwrap().iter().map(|d| d.received.0).collect();
    assert_eq!(about, [4, 5], "oldest first");
    assert_eq!(store.of_use(&asker.asker, &asker.opening.report_id).unwrap().len(), 2);
    let other = InstitutionId::parse("bank-z").unwrap();
    assert!(store.of_use(&other, &asker.opening.report_id).unwrap().is_empty());
}

fn lookups(make: Make) {
    let (store, subject) = (make(), Uscc::parse("91350100M000100Y43").unwrap());
    for (at, reason) in [(2, "复核 it's"), (1, "first")] {
        store.db().write(|s| note_lookup(s, UnixMillis(at), "auditor", &subject, reason)).unwrap();
    }
    let told = store.lookups(&subject).unwrap();
    let told: Vec<_> = told.iter().map(|(at, who, why)| (at.0, who.as_str(), why.as_str())).collect();
    assert_eq!(told, [(1, "auditor", "first"), (2, "auditor", "复核 it's")]);
}
