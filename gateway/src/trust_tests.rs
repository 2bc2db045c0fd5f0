//! What a supervisor's verdict on the ledger does to trade, between real gateways over real TLS.

use crate::{app::App, readiness, testkit::Consortium};
use gw_policy::{Fate, View};
use gw_proto::{
    AuthzId, Hex, NodeId, Uscc,
    record::{DeviceVerdict, Record, VerdictResult},
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const BANK: &str = "bank-suzhou-1";
const SUPERVISOR: &str = "pboc-shanghai-1";
const SOURCES: [&str; 2] = ["bureau-hangzhou-1", "bureau-hefei-1"];
const REGIONS: [&str; 2] = ["330100", "340100"];

/// One firm is asked about more often here than quotas allow.
const WIDE: &str = "[limits]
subject = { per_minute = 6000, burst = 1000 }
authorization = { per_minute = 6000, burst = 1000 }
";

struct Trade {
    c: Consortium,
    bank: Arc<App>,
    sources: Vec<Arc<App>>,
    supervisor: Arc<App>,
}

impl Trade {
    async fn start(bank: &str) -> Self {
        let mut c = Consortium::new();
        c.start_ledger();
        let supervisor = c.start(SUPERVISOR, "").await;
        let mut sources = Vec::new();
        for source in SOURCES {
            sources.push(c.start(source, WIDE).await);
        }
        let bank = c.start(BANK, &format!("{WIDE}{bank}")).await;
        Self { c, bank, sources, supervisor }
    }

    /// The supervisor judges; all have seen the block.
    async fn judge(&self, on: &str, result: VerdictResult) {
        let node = NodeId::parse(on).unwrap();
        let listed = View::new(&self.supervisor.state.read()).node(&node).unwrap().unwrap();
        let judged = self.supervisor.clock.now();
        let verdict =
            DeviceVerdict { node, key: listed.record.key.id(), result, judged, history: Hex([7; 32]) };
        let wait = Duration::from_secs(20);
        let fate = self.supervisor.submitter.write(Record::Verdict(verdict), wait).await.unwrap();
        assert_eq!(fate, Fate::Accepted);
        let height = self.supervisor.state.cursor().height;
        for app in self.sources.iter().chain([&self.bank]) {
            self.c.until(app, |app| app.state.cursor().height >= height).await;
        }
    }

    /// What the bank gets: the status, and either each source's part or the problem with its detail.
    async fn ask(&self, (id, subject): &(AuthzId, String)) -> (u16, BTreeMap<String, String>) {
        Uscc::parse(subject).unwrap();
        let answer = self.c.call("/v1/reports", Consortium::query(id, subject)).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let parts = body["report"]["parts"].as_array().into_iter().flatten();
        let mut told: BTreeMap<_, _> = parts
            .map(|p| {
                let outcome = &p["outcome"];
                let why = ["problem", "reason"].map(|k| word(&outcome[k])).concat();
                (word(&p["source"]), format!("{} {why}", word(&outcome["state"])).trim().to_owned())
            })
            .collect();
        if answer.status != 200 {
            told.insert(word(&body["type"]).replace("urn:xinguan:problem:", ""), word(&body["detail"]));
        }
        (answer.status, told)
    }

    fn spent(&self, (id, _): &(AuthzId, String)) -> u32 {
        View::new(&self.bank.state.read()).authorization(id).unwrap().unwrap().spent
    }
}

fn parts(of: [&str; 2]) -> (u16, BTreeMap<String, String>) {
    (200, SOURCES.iter().zip(of).map(|(s, o)| ((*s).to_owned(), o.to_owned())).collect())
}

/// By name, at once, and only for as long as the verdict stands.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_source_is_not_asked_and_a_bad_asker_does_not_ask() {
    let t = Trade::start("").await;
    let (mut uses, both) = (Vec::new(), parts(["answered", "answered"]));
    for _ in 0..2 {
        uses.push(t.c.authorize(&REGIONS).await);
    }
    assert_eq!(t.ask(&uses[0]).await, both, "nobody has been judged yet");
    t.judge(SOURCES[1], VerdictResult::Bad).await;
    assert_eq!(t.ask(&uses[0]).await, parts(["answered", "missing not-trusted"]));
    assert_eq!(t.spent(&uses[0]), 2);
    t.judge(SOURCES[0], VerdictResult::Silent).await;
    let (status, told) = t.ask(&uses[0]).await;
    assert_eq!(
        (status, told["source-not-trusted"].as_str()),
        (503, "not trusted: bureau-hangzhou-1, bureau-hefei-1")
    );
    assert_eq!(t.spent(&uses[0]), 2, "no use was spent on nobody");
    for source in SOURCES {
        t.judge(source, VerdictResult::Good).await;
    }
    assert_eq!(t.ask(&uses[0]).await, both, "trade goes on with a good verdict");

    t.judge(BANK, VerdictResult::Bad).await;
    let (status, told) = t.ask(&uses[1]).await;
    assert_eq!((status, told.len()), (503, 1));
    assert!(told["own-gateway-not-trusted"].starts_with("bad: judged by pboc-shanghai-1 at "), "{told:?}");
    assert_eq!(t.spent(&uses[1]), 0);
    let reasons = readiness::check(&t.bank).reasons;
    assert!(matches!(&reasons[..], [why] if why.starts_with("attestation: bad: judged by ")), "{reasons:?}");
    assert_eq!(readiness::status(&t.bank)["trust"]["trust"], "bad");
    t.judge(BANK, VerdictResult::Good).await;
    assert_eq!(t.ask(&uses[1]).await, both);
    assert!(readiness::check(&t.bank).ready);
}

/// Whatever the asker's own policy is: the source has its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_asker_is_answered_by_nobody() {
    let t = Trade::start("[attestation]\npeers = \"observe\"").await;
    let uses = t.c.authorize(&REGIONS).await;
    t.judge(BANK, VerdictResult::Bad).await;
    let refused = "refused gateway-not-trusted";
    assert_eq!(t.ask(&uses).await, parts([refused, refused]));
    // who only observes asks a source that is bad, too
    t.judge(BANK, VerdictResult::Good).await;
    t.judge(SOURCES[1], VerdictResult::Bad).await;
    assert_eq!(t.ask(&uses).await, parts(["answered", "answered"]));
    assert!(readiness::check(&t.bank).ready);
}
