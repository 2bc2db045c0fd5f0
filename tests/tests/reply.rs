//! A source that lies: its reply is reported as missing and never becomes part of a report.
//!
//! The bureau in 合肥 is replaced by an impostor that holds the bureau's own keys and listens at its address.
//! Which lie has which name is gw-broker's test (`an_honest_reply_is_believed_and_every_lie_has_its_name`);
//! here, that none passes over real sockets, and that the other source's part does not suffer.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]
#![expect(clippy::unwrap_used, reason = "names that are constants of the test")]

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Agreement, Ask, BANK, Cases, Consortium, HANGZHOU, HEFEI, Listener, Profile,
    harness::{
        agreement::random,
        cases::same,
        consortium::set,
        impostor::{Answer, Asked, Impostor, honest, signed},
        thief::Thief,
        wait,
    },
};
use gw_proto::{Hex, merkle::LeafKind, message::Reply, message::SignedReply, report::Value};
use serde_json::Value as Json;
use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

/// What the impostor's one item says.
const MARK: &str = "冒充者";

#[test]
fn a_lying_source_is_missing() {
    tries(Profile::International).unwrap();
}

#[test]
fn a_lying_source_is_missing_in_sm() {
    let c = Consortium::running(Profile::Sm).unwrap();
    let world = World::new(&c).unwrap();
    let mut cases = Cases::new();
    cases.case("honest: the impostor can be believed", || world.believed(Box::new(truth)));
    cases.case("bound to another connection", || world.missing("bad-reply", lie(other_channel)));
    cases.case("an item changed after the signature", || world.missing("bad-reply", lie_after(changed_item)));
    cases.end().unwrap();
}

fn tries(profile: Profile) -> Result<()> {
    let c = Consortium::make(profile)?;
    c.configure(BANK, |t| set(t, "query.budget_ms", 4_000))?;
    c.start_all()?;
    let world = World::new(&c)?;
    let mut cases = Cases::new();
    cases.case("honest: the impostor can be believed", || world.believed(Box::new(truth)));
    cases.case("a reply of an earlier use", || replayed(&world));
    cases.case("bound to another connection", || world.missing("bad-reply", lie(other_channel)));
    cases.case("an item changed after the signature", || world.missing("bad-reply", lie_after(changed_item)));
    cases.case("in the name of the other source", || {
        world.missing("bad-reply", lie(|r| r.source = HANGZHOU.parse().unwrap()))
    });
    cases.case("signed by the other source, which was asked something else", || {
        let other = Thief::of(&c, HANGZHOU)?;
        let answer = move |own: &Thief, asked: &Asked| bytes(&signed(&other, honest(own, asked)?)?);
        world.missing("bad-reply", Box::new(answer))
    });
    cases.case("to a request that was never made", || {
        world.missing("bad-reply", lie(|r| r.request_leaf = Hex(random().unwrap())))
    });
    cases.case("of another use", || {
        world.missing("bad-reply", lie(|r| r.report_id.0 = Hex(random().unwrap())))
    });
    cases.case("for another asker", || {
        world.missing("bad-reply", lie(|r| r.asker = "bank-nanjing-1".parse().unwrap()))
    });
    cases.case("from before the reservation", || world.missing("bad-reply", lie(|r| r.height.0 = 1)));
    cases
        .case("with a dimension that was not asked for", || world.missing("bad-reply", lie(other_dimension)));
    cases.case("signed as another kind of message", || {
        let answer = |own: &Thief, asked: &Asked| {
            let reply = honest(own, asked)?;
            let proof = own.sign(LeafKind::Request, reply.asker.as_str(), reply.digest()?)?;
            bytes(&SignedReply { reply, proof })
        };
        world.missing("bad-reply", Box::new(answer))
    });
    cases.case("no JSON", || world.missing("bad-reply", Box::new(|_, _| Ok(b"<html>".to_vec()))));
    cases.case("larger than is taken", || {
        world.missing("bad-reply", Box::new(|_, _| Ok(vec![b' '; 5 << 20])))
    });
    cases.case("nothing at all: the connection breaks off", || {
        world.missing("unreachable", Box::new(|_, _| anyhow::bail!("broken off by the test")))
    });
    cases.case("silence", || silent(&world));
    cases.case("what was lied about is traced as missing", || traced(&world));
    drop(world);
    cases.case("a TLS key that the ledger does not bind to the source", || unbound(&c));
    cases.end()
}

struct World<'a> {
    c: &'a Consortium,
    impostor: Impostor,
    agreement: Agreement,
    authorization: String,
}

impl<'a> World<'a> {
    /// The real source is gone, the impostor is there.
    fn new(c: &'a Consortium) -> Result<Self> {
        ensure!(c.stop(HEFEI)?.success(), "the source did not stop well");
        let at = c.address(HEFEI, Listener::Man)?;
        let thief = Thief::bound(c, HEFEI)?;
        let impostor = Impostor::start(c.profile(), thief, at, Box::new(truth))?;
        let agreement = Agreement::of(c, 1, 50)?;
        let authorization = c.authorize(&agreement.upload()?)?;
        Ok(Self { c, impostor, agreement, authorization })
    }

    /// The report, and the impostor's part of it.
    fn report(&self, answer: Answer) -> Result<(Json, Json)> {
        self.impostor.answer(answer);
        ask(self.c, &self.agreement, &self.authorization)
    }

    fn believed(&self, answer: Answer) -> Result<()> {
        let (report, part) = self.report(answer)?;
        same("part", part["outcome"]["state"].as_str(), Some("answered"))?;
        ensure!(report.to_string().contains(MARK), "the impostor's item is not in the report");
        Ok(())
    }

    fn missing(&self, reason: &str, answer: Answer) -> Result<()> {
        let (report, part) = self.report(answer)?;
        is_missing(&report, &part, reason)
    }
}

/// Asks; the report is verified offline, whatever it holds.
fn ask(c: &Consortium, agreement: &Agreement, authorization: &str) -> Result<(Json, Json)> {
    let reply = c.bank(&Ask::post("/v1/reports", &agreement.query(authorization)))?;
    let report = reply.success(200)?["report"].take();
    let verdict = c.verify(&reply.body)?;
    ensure!(verdict.status.code() == Some(0), "verify: {}", String::from_utf8_lossy(&verdict.stdout));
    let parts = report["parts"].as_array().context("no parts")?;
    let of = |node: &str| {
        parts.iter().find(|p| p["source"] == node).cloned().with_context(|| format!("no part of {node}"))
    };
    same("the other source's part", of(HANGZHOU)?["outcome"]["state"].as_str(), Some("answered"))?;
    let part = of(HEFEI)?;
    Ok((report, part))
}

fn is_missing(report: &Json, part: &Json, reason: &str) -> Result<()> {
    same("state", part["outcome"]["state"].as_str(), Some("missing"))?;
    same("reason", part["outcome"]["reason"].as_str(), Some(reason))?;
    same("complete", report["complete"].as_bool(), Some(false))?;
    let text = report["items"].to_string();
    ensure!(!text.contains(MARK) && !text.contains(HEFEI), "something of the impostor is in the report");
    Ok(())
}

fn bytes(reply: &SignedReply) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(reply)?)
}

fn truth(own: &Thief, asked: &Asked) -> Result<Vec<u8>> {
    bytes(&signed(own, honest(own, asked)?)?)
}

/// An honest reply with one lie in it, well signed.
fn lie(change: fn(&mut Reply)) -> Answer {
    Box::new(move |own, asked| {
        let mut reply = honest(own, asked)?;
        change(&mut reply);
        bytes(&signed(own, reply)?)
    })
}

/// An honest reply, changed after it was signed.
fn lie_after(change: fn(&mut Reply)) -> Answer {
    Box::new(move |own, asked| {
        let mut all = signed(own, honest(own, asked)?)?;
        change(&mut all.reply);
        bytes(&all)
    })
}

fn other_channel(reply: &mut Reply) {
    reply.channel = Hex([7; 32]);
}

fn changed_item(reply: &mut Reply) {
    reply.items[0].value = Value::Text(format!("{MARK}!"));
}

fn other_dimension(reply: &mut Reply) {
    reply.items[0].dimension = gw_proto::Dimension::Legal;
    reply.items[0].id = "legal.cases".to_owned();
}

fn replayed(world: &World<'_>) -> Result<()> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    world.believed(Box::new(move |own, asked| {
        let reply = truth(own, asked)?;
        keep.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&reply);
        Ok(reply)
    }))?;
    let again = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(!again.is_empty(), "no reply was kept");
    world.missing("bad-reply", Box::new(move |_, _| Ok(again.clone())))
}

/// Takes the request and does not answer, for longer than the asker's whole budget.
fn silent(world: &World<'_>) -> Result<()> {
    let (end, ended) = mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let answer = move |_: &Thief, _: &Asked| {
        let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(Duration::from_secs(20));
        Ok(Vec::new())
    };
    let found = world.missing("timeout", Box::new(answer));
    drop(end);
    found
}

/// The asker told the ledger of the impostor's part of each use; the impostor told nothing.
fn traced(world: &World<'_>) -> Result<()> {
    let ask = Ask::get(&format!("/v1/traces?authorization_id={}", world.authorization));
    wait::until("the asker's traces are on the ledger", Duration::from_secs(60), || {
        let found = world.c.bank(&ask)?.success(200)?;
        let uses = found["uses"].as_array().context("no uses")?;
        let mut missing = 0;
        for one in uses {
            let traces = one["traces"].as_array().context("no traces")?;
            let of = |t: &&Json| t["source"] == HEFEI && t["side"] == "asker";
            let told = traces.iter().find(of).context("the asker has not told yet")?;
            missing += usize::from(told["status"] == "missing");
            ensure!(!traces.iter().any(|t| t["source"] == HEFEI && t["side"] == "source"), "{traces:?}");
        }
        ensure!(missing + 2 == uses.len(), "{missing} of {} uses are missing a part", uses.len());
        Ok(())
    })
}

fn unbound(c: &Consortium) -> Result<()> {
    let at = c.address(HEFEI, Listener::Man)?;
    let _impostor = Impostor::start(c.profile(), Thief::of(c, HEFEI)?, at, Box::new(truth))?;
    let agreement = Agreement::of(c, 1, 1)?;
    let authorization = c.authorize(&agreement.upload()?)?;
    let (report, part) = ask(c, &agreement, &authorization)?;
    is_missing(&report, &part, "unreachable")
}
