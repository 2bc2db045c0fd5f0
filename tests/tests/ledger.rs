//! The ledger in trouble: stale, dated ahead, withheld, forked, gone; nobody serves from what it cannot verify.
//!
//! The bank follows the real ledger and an endpoint of the test's own; the source in 合肥 follows that one
//! alone. The sealers' keys lie in the development consortium's folder: what a quorum could sign, so can we.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Agreement, Ask, BANK, Cases, Consortium, HANGZHOU, HEFEI, LEDGER, OTHER_BANK, Profile, SUPERVISOR,
    harness::{
        agreement::now,
        cases::same,
        consortium::set,
        endpoint::{Endpoint, Lie},
        thief::{Place, Thief, load_key, opening},
        wait,
    },
};
use gw_proto::{
    Dimension,
    fisco::{BlockHeader, SealerSignature, write_0x},
    record::{Authorization, Cap, Caps, Policy, Record, Revocation},
};
use gw_sm::KeyPair;
use serde_json::Value;
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

const SOON: Duration = Duration::from_secs(15);
/// After the policy record of this test.
const STALENESS_MS: u64 = 4_000;

#[test]
fn a_ledger_in_trouble() {
    tries().unwrap();
}

/// The consortium, the endpoint of the test's own, and what the bank may ask.
struct World<'a> {
    c: &'a Consortium,
    endpoint: &'a Endpoint,
    thief: Thief,
    agreement: Agreement,
    authorization: String,
}

fn tries() -> Result<()> {
    let c = Consortium::make(Profile::International)?;
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, c.spare_port(0)));
    follow(&c, BANK, &[own], true)?;
    follow(&c, HEFEI, &[own], false)?;
    let endpoint = Endpoint::start(&c, own)?;
    c.start_all()?;
    let agreement = Agreement::of(&c, 1, 90)?;
    let authorization = c.authorize(&agreement.upload()?)?;
    let thief = Thief::bound(&c, OTHER_BANK)?;
    let w = World { c: &c, endpoint: &endpoint, thief, agreement, authorization };
    let mut cases = Cases::new();
    cases.case("both endpoints are asked", || {
        ensure!(endpoint.calls() > 0, "the test's endpoint was never asked");
        w.report().map(drop)
    });
    cases.case("a source that is down: the report names it, and has it when it is asked again", || {
        source_down(&w)
    });
    cases.case("a gateway whose new TLS key is in no block yet is not ready", || not_bound(&w));
    cases.case("an endpoint that omits a revocation", || omitted(&w));
    cases.case("an endpoint that dates its blocks ahead", || dated_ahead(&w));
    cases.case("an endpoint whose blocks lack a quorum", || short_quorum(&w));
    cases.case("an endpoint whose head goes back", || regression(&w));
    cases.case("a deleted and a damaged state are rebuilt to the same digest", || rebuilt(&w));
    cases.case("two blocks at one height", || fork(&w));
    cases.case("an endpoint that is down: the other one carries on", || {
        // in its place nobody listens
        follow(&c, BANK, &[SocketAddr::from((Ipv4Addr::LOCALHOST, c.spare_port(1)))], true)?;
        c.kill(BANK)?;
        c.start_ready(BANK)?;
        w.report().map(drop)
    });
    cases.case("no block for longer than the staleness bound", || stale(&w));
    cases.end()
}

/// Lets a gateway follow these endpoints, by plain HTTP, and the real one too or not.
fn follow(c: &Consortium, gateway: &str, own: &[SocketAddr], real_too: bool) -> Result<()> {
    let entry = |url: String, owner: &str| {
        let mut t = toml::Table::new();
        set(&mut t, "url", url);
        set(&mut t, "owner", owner);
        toml::Value::from(t)
    };
    let mut all: Vec<_> = own.iter().map(|a| entry(format!("http://{a}"), "test")).collect();
    all.extend(real_too.then(|| entry(format!("https://{}", c.ledger_address()), "development")));
    c.configure(gateway, |t| set(t, "ledger.endpoints", all))
}

impl World<'_> {
    /// The bank's report, however complete.
    fn report(&self) -> Result<Value> {
        let reply = self.c.bank(&Ask::post("/v1/reports", &self.agreement.query(&self.authorization)))?;
        Ok(reply.success(200)?["report"].take())
    }
    fn height(&self, gateway: &str) -> Result<u64> {
        self.c.status(gateway)?["height"].as_u64().context("no height")
    }
    fn reached(&self, gateway: &str, at: Place) -> Result<()> {
        wait::until(&format!("{gateway} has verified block {}", at.height), SOON, || {
            let height = self.height(gateway)?;
            ensure!(height >= at.height.0, "at {height}");
            Ok(())
        })
    }
    /// A block more.
    fn block(&self) -> Result<Place> {
        self.thief.bind()
    }
    /// The bank serves, or does not and says why.
    fn refused(&self, problem: &str) -> Result<()> {
        let ask = Ask::post("/v1/reports", &self.agreement.query(&self.authorization));
        self.c.bank(&ask)?.refused(problem).map(drop)
    }
}

/// Changes whole blocks (or headers) from a height on.
fn blocks_from(height: u64, mut change: impl FnMut(&mut Value) -> Result<()> + Send + 'static) -> Lie {
    Box::new(move |asked, answer| {
        let of = asked["params"][2].as_u64().unwrap_or_default();
        if asked["method"] == "getBlockByNumber" && of >= height && answer["result"].is_object() {
            change(&mut answer["result"])?;
        }
        Ok(())
    })
}

fn omitted(w: &World<'_>) -> Result<()> {
    let a = Agreement::of(w.c, 1, 5)?.with(|s| s.holder = w.thief.institution.clone());
    w.thief.write(vec![Record::Authorization(Authorization::of(&a.statement)?)])?;
    let t = opening(&w.thief.institution, &a.statement)?;
    let reserved = w.thief.reserve(&t)?;
    w.reached(HEFEI, reserved)?;
    let from = reserved.height.0 + 1;
    w.endpoint.lie(Some(blocks_from(from, |block| {
        if let Some(transactions) = block["transactions"].as_array_mut() {
            transactions.pop();
        }
        Ok(())
    })));
    let revoked =
        w.thief.write(vec![Record::Revocation(Revocation { authz_id: t.authz_id, preimage: None })])?;
    // the bank hears the truth from the other endpoint
    w.reached(BANK, revoked)?;
    wait::stays("the source takes no block that lacks a transaction", Duration::from_secs(2), || {
        let height = w.height(HEFEI)?;
        ensure!(height < from, "at {height}");
        Ok(())
    })?;
    // a request that names the block of the revocation is not answered without it
    let request = w.thief.request(HEFEI, &a.statement, &a.evidence()?, &t, revoked)?;
    w.thief.ask(w.c, HEFEI, &w.thief.signed(request)?)?.refused("height-not-reached")?;
    w.endpoint.lie(None);
    w.reached(HEFEI, revoked)?;
    let request = w.thief.request(HEFEI, &a.statement, &a.evidence()?, &t, revoked)?;
    w.thief.ask(w.c, HEFEI, &w.thief.signed(request)?)?.refused("authorization-revoked").map(drop)
}

fn sealers(c: &Consortium) -> Result<Vec<KeyPair>> {
    (1..=4).map(|n| load_key(&c.file(&format!("ledger/sealer-{n}.key")))).collect()
}

/// Changes the header in an answer, then hashes and signs it like `sealers` of the chain would.
fn reseal(block: &mut Value, sealers: &[KeyPair], change: impl FnOnce(&mut BlockHeader)) -> Result<()> {
    let mut header: BlockHeader = serde_json::from_value(block.clone())?;
    change(&mut header);
    let hash = header.compute_hash()?;
    header.hash = write_0x(&hash.0);
    header.signature_list = (0..)
        .zip(sealers)
        .map(|(sealer_index, key)| {
            Ok(SealerSignature { sealer_index, signature: write_0x(&key.sign(&hash.0)?.0) })
        })
        .collect::<Result<_>>()?;
    let (Value::Object(block), Value::Object(new)) = (block, serde_json::to_value(&header)?) else {
        anyhow::bail!("a block is an object");
    };
    block.extend(new);
    Ok(())
}

fn dated_ahead(w: &World<'_>) -> Result<()> {
    let before = w.block()?;
    w.reached(HEFEI, before)?;
    let (from, keys) = (before.height.0 + 1, sealers(w.c)?);
    // the bank would see a fork: it does not look meanwhile
    w.c.kill(BANK)?;
    w.endpoint
        .lie(Some(blocks_from(from, move |block| reseal(block, &keys, |h| h.timestamp = now().0 + 60_000))));
    let next = w.block()?;
    wait::until("the source says why it takes no block", SOON, || {
        let status = w.c.status(HEFEI)?;
        let why = status["endpoints"][0]["error"].as_str().unwrap_or_default();
        ensure!(why.contains("ahead"), "{}", status["endpoints"]);
        Ok(())
    })?;
    ensure!(w.c.log(HEFEI)?.contains("a ledger endpoint fails"), "no word of it in its log");
    ensure!(w.height(HEFEI)? < from, "a block from the future was taken");
    w.endpoint.lie(None);
    w.reached(HEFEI, next)?;
    w.c.start_ready(BANK)
}

/// Two of four sealers sign another block of the same height.
fn short_quorum(w: &World<'_>) -> Result<()> {
    let (from, keys) = (w.block()?.height.0 + 1, sealers(w.c)?);
    let two = keys.into_iter().take(2).collect::<Vec<_>>();
    w.endpoint.lie(Some(blocks_from(from, move |block| reseal(block, &two, |h| h.timestamp += 1))));
    w.block()?;
    wait::until("the bank stops serving", SOON, || w.refused("ledger-alarm"))?;
    for gateway in [BANK, HEFEI] {
        let ready = w.c.admin(gateway, &Ask::get("/readyz"))?.answer()?.success(503)?;
        ensure!(ready["reasons"].to_string().contains("quorum"), "{gateway}: {ready}");
    }
    w.endpoint.lie(None);
    w.block()?;
    served_again(w)
}

fn served_again(w: &World<'_>) -> Result<()> {
    w.c.wait_ready(BANK)?;
    w.c.wait_ready(HEFEI)?;
    same("complete", w.report()?["complete"].as_bool(), Some(true))
}

fn regression(w: &World<'_>) -> Result<()> {
    let at = w.block()?;
    w.reached(BANK, at)?;
    w.endpoint.lie(Some(Box::new(|asked, answer| {
        if asked["method"] == "getBlockNumber" {
            answer["result"] = 3.into();
        }
        Ok(())
    })));
    wait::until("the bank stops serving", SOON, || w.refused("ledger-alarm"))?;
    w.endpoint.lie(None);
    served_again(w)
}

/// Halts; only a restart with the endpoint honest again ends it.
fn fork(w: &World<'_>) -> Result<()> {
    let (from, keys) = (w.block()?.height.0 + 1, sealers(w.c)?);
    w.endpoint.lie(Some(blocks_from(from, move |block| reseal(block, &keys, |h| h.timestamp += 1))));
    w.block()?;
    wait::until("the bank stops serving", SOON, || w.refused("ledger-alarm"))?;
    let ready = w.c.admin(BANK, &Ask::get("/readyz"))?.answer()?.success(503)?;
    ensure!(ready["reasons"].to_string().contains("forked"), "{ready}");
    w.endpoint.lie(None);
    w.block()?;
    wait::stays("it does not serve again by itself", Duration::from_secs(1), || w.refused("ledger-alarm"))?;
    for gateway in [BANK, HEFEI] {
        // as the halt's text says: either may have taken the other block, and then follows the chain anew
        w.c.kill(gateway)?;
        std::fs::remove_dir_all(w.c.file(&format!("gateways/{gateway}/data/ledger")))?;
        w.c.start(gateway)?;
    }
    served_again(w)
}

/// Same height, same digest, for gateways that have followed the chain in different ways.
fn agree(w: &World<'_>) -> Result<()> {
    wait::until("two gateways show one height", SOON, || {
        let (a, b) = (w.c.status(HANGZHOU)?, w.c.status(HEFEI)?);
        ensure!(a["height"] == b["height"], "{} and {}", a["height"], b["height"]);
        same("state digest", a["state_digest"].as_str(), b["state_digest"].as_str())
    })
}

fn rebuilt(w: &World<'_>) -> Result<()> {
    let state = w.c.file(&format!("gateways/{HEFEI}/data/ledger"));
    agree(w)?;
    w.c.kill(HEFEI)?;
    std::fs::remove_dir_all(&state)?;
    w.c.start_ready(HEFEI)?;
    agree(w)?;
    w.c.kill(HEFEI)?;
    for file in std::fs::read_dir(&state)? {
        let file = file?.path();
        if file.is_file() {
            std::fs::write(&file, b"not a database")?;
        }
    }
    w.c.start_ready(HEFEI)?;
    agree(w)?;
    same("complete", w.report()?["complete"].as_bool(), Some(true))
}

/// The endpoint takes no transactions: the key of this start stays unbound, those of earlier ones do not count.
fn not_bound(w: &World<'_>) -> Result<()> {
    w.endpoint.deaf_to(Some("sendTransaction"));
    w.c.kill(HEFEI)?;
    w.c.start(HEFEI)?;
    let at = w.block()?;
    w.reached(HEFEI, at)?;
    let reasons = || {
        let ready = w.c.admin(HEFEI, &Ask::get("/readyz"))?.answer()?.success(503)?;
        same("reasons", ready["reasons"].as_array().map(Vec::len), Some(1))?;
        ensure!(ready["reasons"][0].as_str().unwrap_or_default().contains("TLS binding"), "{ready}");
        Ok(())
    };
    wait::stays("not ready, for that reason", Duration::from_secs(1), reasons)?;
    w.endpoint.deaf_to(None);
    served_again(w)
}

fn source_down(w: &World<'_>) -> Result<()> {
    w.c.kill(HEFEI)?;
    let query = w.agreement.query(&w.authorization);
    let ask = Ask::post("/v1/reports", &query).header("Idempotency-Key", "source-down");
    let reply = w.c.bank(&ask)?;
    let first = reply.success(200)?["report"].take();
    same("complete", first["complete"].as_bool(), Some(false))?;
    let parts = first["parts"].as_array().context("no parts")?;
    let part = parts.iter().find(|p| p["source"] == HEFEI).context("the source is not named")?;
    same("reason", part["outcome"]["reason"].as_str(), Some("unreachable"))?;
    same("exit code of verify", w.c.verify(&reply.body)?.status.code(), Some(0))?;
    let spent = w.c.spent(&w.authorization)?;
    w.c.start_ready(HEFEI)?;
    let second = w.c.bank(&ask)?.success(200)?["report"].take();
    same("report id", &second["report_id"], &first["report_id"])?;
    same("complete", second["complete"].as_bool(), Some(true))?;
    same("uses spent", w.c.spent(&w.authorization)?, spent)
}

/// Governance makes the bound small; then the ledger stops.
fn stale(w: &World<'_>) -> Result<()> {
    let all = Dimension::ALL.to_vec();
    let cap = |max_uses| Cap { max_uses, dimensions: all.clone(), per_holder_day: None };
    let caps = Caps { signed: cap(100), sealed: cap(20), asserted: cap(1) };
    let policy = Policy { version: 2, caps, staleness_ms: STALENESS_MS, reservation_ms: 600_000 };
    let at = w.thief.govern(w.c, vec![Record::Policy(policy)])?;
    for gateway in [BANK, HANGZHOU, HEFEI] {
        w.reached(gateway, at)?;
    }
    // heartbeats keep an idle chain fresh
    wait::stays("fresh by heartbeats", Duration::from_millis(STALENESS_MS + 1_500), || w.report().map(drop))?;
    let t = opening(&w.thief.institution, &w.agreement.statement)?;
    let head = w.block()?;
    let s = &w.agreement.statement;
    let request = |w: &World<'_>| {
        let request = w.thief.request(HANGZHOU, s, &w.agreement.evidence()?, &t, head)?;
        w.thief.signed(request)
    };
    w.reached(HANGZHOU, head)?;
    w.c.kill(LEDGER)?;
    wait::until("the bank says that its state is too old", SOON, || w.refused("ledger-stale"))?;
    wait::until("so does a source", SOON, || {
        w.thief.ask(w.c, HANGZHOU, &request(w)?)?.refused("ledger-stale").map(drop)
    })?;
    for gateway in [BANK, HANGZHOU, SUPERVISOR] {
        let ready = w.c.admin(gateway, &Ask::get("/readyz"))?.answer()?.success(503)?;
        ensure!(ready["reasons"].to_string().contains("older than"), "{gateway}: {ready}");
    }
    let upload = Agreement::of(w.c, 1, 1)?.upload()?;
    w.c.bank(&Ask::post("/v1/authorizations", &upload))?.refused("ledger-stale")?;
    w.c.start(LEDGER)?;
    for gateway in [BANK, HANGZHOU, HEFEI, SUPERVISOR] {
        w.c.wait_ready(gateway)?;
    }
    same("complete", w.report()?["complete"].as_bool(), Some(true))
}
