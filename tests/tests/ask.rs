//! Asking for a report: what is not authorized is refused by name, spends no use and reaches no source.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]
#![expect(clippy::unwrap_used, reason = "names that are constants of the test")]

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Agreement, Ask, BANK, Cases, Consortium, HANGZHOU, HEFEI, OTHER_BANK, Profile,
    harness::{
        agreement::{now, random, subject},
        cases::same,
        consortium::{quota, set},
        thief::{Place, Thief},
        wait,
    },
};
use gw_proto::{
    Hex, UnixMillis,
    record::{Authorization, Record, Revocation},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

#[test]
fn only_what_was_authorized() {
    tries().unwrap();
}

fn tries() -> Result<()> {
    let c = Consortium::running(Profile::International)?;
    let agreement = Agreement::of(&c, 1, 50)?;
    let id = c.authorize(&agreement.upload()?)?;
    let thief = Thief::of(&c, OTHER_BANK)?;
    let mut cases = Cases::new();
    let good = agreement.query(&id);
    for (name, problem, member, value) in [
        (
            "an authorization that nobody knows",
            "authorization-missing",
            "authorization_id",
            json!("0".repeat(64)),
        ),
        ("another purpose", "purpose-mismatch", "purpose", json!("04")),
        ("a purpose that does not exist", "malformed-request", "purpose", json!("09")),
        ("a dimension more", "dimension-not-authorized", "dimensions", json!(["basic", "legal"])),
        ("no dimension", "malformed-request", "dimensions", json!([])),
        ("another enterprise", "subject-mismatch", "subject", json!(subject(&c, 2)?)),
        ("a wrong check character", "subject-code-invalid", "subject", json!(mistyped(&subject(&c, 1)?))),
        ("an unknown field", "malformed-request", "more", json!(1)),
        ("an id in capitals", "malformed-request", "authorization_id", json!("A".repeat(64))),
    ] {
        let mut query = good.clone();
        query[member] = value;
        cases.case(name, || refused(&c, &id, &query, problem));
    }
    cases.case("an authorization that has not begun", || not_begun(&c));
    cases.case("an authorization that is over", || over(&c));
    cases.case("revoked by the enterprise's preimage", || revoked_by_preimage(&c));
    cases.case("revoked by its holder", || revoked_by_holder(&c));
    cases.case("revoked by preimage through another member", || revoked_elsewhere(&c, &thief));
    cases.case("another institution's authorization", || of_another(&c, &thief));
    cases.case("used up", || used_up(&c));
    cases.case("two queries for the last use", || the_last_use(&c));
    cases.case("Idempotency-Key", || idempotency(&c, &good, &id));
    cases.case("the same Idempotency-Key at the same time", || idempotency_together(&c));
    cases.case("an Idempotency-Key of a wrong form", || idempotency_form(&c, &good, &id));
    cases.case("traceparent is continued, also at the sources", || trace_context(&c, &good));
    cases.case("every answer has its digest", || digests(&c, &good));
    cases.case("paths and methods that are not there", || no_such_path(&c));
    cases.case("limits", || limits(&c));
    cases.end()
}

fn mistyped(code: &str) -> String {
    let (head, last) = code.split_at(17);
    format!("{head}{}", if last == "0" { "1" } else { "0" })
}

/// What must not change when a query is refused.
#[derive(Debug, PartialEq)]
struct Untouched {
    spent: u64,
    asked_at_sources: f64,
}

fn untouched(c: &Consortium, id: &str) -> Result<Untouched> {
    Ok(Untouched { spent: c.spent(id)?, asked_at_sources: asked(c)? })
}

/// Requests that both sources have had, whatever became of them.
fn asked(c: &Consortium) -> Result<f64> {
    let mut all = 0.0;
    for source in [HANGZHOU, HEFEI] {
        let text = c.admin(source, &Ask::get("/metrics"))?.answer()?.body;
        let text = String::from_utf8(text)?;
        let lines = text.lines().filter(|l| l.starts_with("xinguan_calls_total{op=\"answer-query\""));
        all += lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(all)
}

fn refused(c: &Consortium, id: &str, query: &Value, problem: &str) -> Result<()> {
    let before = untouched(c, id)?;
    let found = c.bank(&Ask::post("/v1/reports", query))?.refused(problem)?;
    let code = query["subject"].as_str().unwrap_or_default();
    ensure!(!found.to_string().contains(code), "the refusal repeats the company code");
    same("uses and sources", untouched(c, id)?, before)
}

fn not_begun(c: &Consortium) -> Result<()> {
    let a = Agreement::of(c, 1, 1)?.with(|s| s.not_before = now().plus(Duration::from_secs(600)));
    let id = c.authorize(&a.upload()?)?;
    refused(c, &id, &a.query(&id), "authorization-not-yet-valid")
}

fn over(c: &Consortium) -> Result<()> {
    let a = Agreement::of(c, 1, 1)?.with(|s| s.not_after = now().plus(Duration::from_secs(3)));
    let id = c.authorize(&a.upload()?)?;
    let ends = a.statement.not_after;
    wait::until("the authorization is over", Duration::from_secs(10), || {
        ensure!(now() > UnixMillis(ends.0 + 50), "not yet");
        Ok(())
    })?;
    refused(c, &id, &a.query(&id), "authorization-expired")
}

fn revoke(c: &Consortium, id: &str, body: &Value) -> Result<()> {
    let state = c.bank(&Ask::post(&format!("/v1/authorizations/{id}/revocation"), body))?.success(200)?;
    same("revoked", &state["revoked"], &Value::Bool(true))
}

fn revoked_by_preimage(c: &Consortium) -> Result<()> {
    let a = Agreement::of(c, 1, 1)?;
    let id = c.authorize(&a.upload()?)?;
    revoke(c, &id, &json!({ "preimage": a.preimage }))?;
    refused(c, &id, &a.query(&id), "authorization-revoked")
}

fn revoked_by_holder(c: &Consortium) -> Result<()> {
    let a = Agreement::of(c, 1, 1)?;
    let id = c.authorize(&a.upload()?)?;
    revoke(c, &id, &json!({}))?;
    // a second time is no error
    revoke(c, &id, &json!({}))?;
    refused(c, &id, &a.query(&id), "authorization-revoked")
}

fn revoked_elsewhere(c: &Consortium, thief: &Thief) -> Result<()> {
    let a = Agreement::of(c, 1, 5)?;
    let id = c.authorize(&a.upload()?)?;
    let authz_id = Authorization::of(&a.statement)?.id;
    let write = |preimage| thief.write(vec![Record::Revocation(Revocation { authz_id, preimage })]);
    // without the preimage, and with a wrong one, it has no effect
    write(None)?;
    reached(c, write(Some(Hex(random()?)))?)?;
    c.bank(&Ask::post("/v1/reports", &a.query(&id)))?.success(200)?;
    reached(c, write(Some(a.preimage))?)?;
    refused(c, &id, &a.query(&id), "authorization-revoked")
}

/// The bank's gateway has verified that block.
fn reached(c: &Consortium, place: Place) -> Result<()> {
    wait::until("the bank's gateway is there", Duration::from_secs(10), || {
        let height = c.status(BANK)?["height"].as_u64().context("no height")?;
        ensure!(height >= place.height.0, "at {height}, not {}", place.height);
        Ok(())
    })
}

fn of_another(c: &Consortium, thief: &Thief) -> Result<()> {
    let a = Agreement::of(c, 1, 5)?.with(|s| s.holder = "bank-nanjing".parse().unwrap());
    let record = Authorization::of(&a.statement)?;
    let id = record.id.to_string();
    reached(c, thief.write(vec![Record::Authorization(record)])?)?;
    c.bank(&Ask::get(&format!("/v1/authorizations/{id}")))?.refused("not-found")?;
    let before = asked(c)?;
    c.bank(&Ask::post("/v1/reports", &a.query(&id)))?.refused("authorization-missing")?;
    same("asked at sources", asked(c)?, before)
}

fn used_up(c: &Consortium) -> Result<()> {
    let a = Agreement::of(c, 1, 1)?;
    let id = c.authorize(&a.upload()?)?;
    c.bank(&Ask::post("/v1/reports", &a.query(&id)))?.success(200)?;
    refused(c, &id, &a.query(&id), "authorization-used-up")
}

fn the_last_use(c: &Consortium) -> Result<()> {
    for _ in 0..3 {
        let a = Agreement::of(c, 1, 1)?;
        let id = c.authorize(&a.upload()?)?;
        let before = asked(c)?;
        let asks = vec![Ask::post("/v1/reports", &a.query(&id)); 2];
        let (won, lost): (Vec<_>, Vec<_>) =
            c.bank_together(&asks)?.into_iter().partition(|r| r.status == 200);
        same("reports", won.len(), 1)?;
        for reply in &lost {
            reply.refused("authorization-used-up")?;
        }
        same("uses spent", c.spent(&id)?, 1)?;
        same("asked at sources", asked(c)?, before + 2.0)?;
    }
    Ok(())
}

fn report_id(answer: &Value) -> Result<String> {
    Ok(answer["report"]["report_id"].as_str().context("no report_id")?.to_owned())
}

fn idempotency(c: &Consortium, query: &Value, id: &str) -> Result<()> {
    let before = c.spent(id)?;
    let ask = Ask::post("/v1/reports", query).header("Idempotency-Key", "blackbox-1");
    let first = report_id(&c.bank(&ask)?.success(200)?)?;
    for _ in 0..2 {
        same("report id", report_id(&c.bank(&ask)?.success(200)?)?, first.clone())?;
    }
    // quoted, as the draft writes it, it is the same key
    let quoted = Ask::post("/v1/reports", query).header("Idempotency-Key", "\"blackbox-1\"");
    same("report id", report_id(&c.bank(&quoted)?.success(200)?)?, first)?;
    same("uses spent", c.spent(id)?, before + 1)?;
    let mut other = query.clone();
    other["dimensions"] = json!(["basic"]);
    let ask = Ask::post("/v1/reports", &other).header("Idempotency-Key", "blackbox-1");
    c.bank(&ask)?.refused("idempotency-key-reused")?;
    same("uses spent", c.spent(id)?, before + 1)
}

fn idempotency_together(c: &Consortium) -> Result<()> {
    let a = Agreement::of(c, 1, 10)?;
    let id = c.authorize(&a.upload()?)?;
    let ask = Ask::post("/v1/reports", &a.query(&id)).header("Idempotency-Key", "blackbox-2");
    let mut reports = BTreeSet::new();
    for reply in c.bank_together(&vec![ask.clone(); 4])? {
        match reply.status {
            200 => drop(reports.insert(report_id(&reply.json()?)?)),
            _ => drop(reply.refused("idempotency-in-progress")?),
        }
    }
    reports.insert(report_id(&c.bank(&ask)?.success(200)?)?);
    same("different reports", reports.len(), 1)?;
    same("uses spent", c.spent(&id)?, 1)
}

fn idempotency_form(c: &Consortium, query: &Value, id: &str) -> Result<()> {
    let before = untouched(c, id)?;
    for key in ["two words", &"k".repeat(201), "\"\""] {
        let ask = Ask::post("/v1/reports", query).header("Idempotency-Key", key);
        c.bank(&ask)?.refused("malformed-request").with_context(|| key.to_owned())?;
    }
    same("uses and sources", untouched(c, id)?, before)
}

fn trace_context(c: &Consortium, query: &Value) -> Result<()> {
    let trace = hex::encode(random::<16>()?);
    let given = format!("00-{trace}-{}-01", hex::encode(random::<8>()?));
    let reply = c.bank(&Ask::post("/v1/reports", query).header("traceparent", &given))?;
    reply.success(200)?;
    let answered = reply.header("traceparent").context("no traceparent")?;
    same("trace id", answered.split('-').nth(1), Some(trace.as_str()))?;
    ensure!(answered != given, "the span id must be the gateway's own");
    for process in [BANK, HANGZHOU, HEFEI] {
        ensure!(c.log(process)?.contains(&trace), "the trace id is not in the log of {process}");
    }
    // one that is not whole begins a new trace
    let reply = c.bank(&Ask::get("/v1/catalogue").header("traceparent", "00-0-0-0"))?;
    let fresh = reply.header("traceparent").and_then(|t| t.split('-').nth(1)).unwrap_or_default();
    ensure!(fresh.len() == 32 && fresh.bytes().any(|b| b != b'0'), "trace id {fresh}");
    Ok(())
}

/// That the digest is right is checked of every answer; here, that it is there.
fn digests(c: &Consortium, query: &Value) -> Result<()> {
    let mut wrong = query.clone();
    wrong["purpose"] = json!("04");
    for ask in [Ask::post("/v1/reports", query), Ask::post("/v1/reports", &wrong), Ask::get("/nowhere")] {
        let reply = c.bank(&ask)?;
        ensure!(reply.header("content-digest").is_some(), "no Content-Digest with HTTP {}", reply.status);
        same("Cache-Control", reply.header("cache-control"), Some("no-store"))?;
    }
    Ok(())
}

fn no_such_path(c: &Consortium) -> Result<()> {
    for path in
        ["/", "/nowhere", "/v1/reports/", "/v1/authorizations/short", "/v1/../problems", "/man/v1/queries"]
    {
        c.bank(&Ask::get(path).curl(&["--path-as-is"]))?.refused("not-found").context(path)?;
    }
    c.bank(&Ask::get("/v1/traces"))?.refused("malformed-request")?;
    c.bank(&Ask::get("/v1/traces?authorization_id=1"))?.refused("not-found")?;
    for (method, path, allowed) in [
        ("DELETE", "/v1/authorizations", "POST"),
        ("PUT", "/v1/reports", "POST"),
        ("POST", "/v1/catalogue", "GET,HEAD"),
        ("POST", "/problems", "GET,HEAD"),
    ] {
        let reply = c.bank(&Ask::new(method, path, None))?;
        same("status", reply.status, 405).context(path)?;
        reply.refused("method-not-allowed").context(path)?;
        let found = reply.header("allow").unwrap_or_default().replace(' ', "");
        same("Allow", found.as_str(), allowed).context(path)?;
    }
    let reply = c.admin(BANK, &Ask::get("/admin/v1/drain"))?.answer()?;
    reply.refused("method-not-allowed").map(drop)
}

/// Three queries about one subject at once, then one in ten seconds.
fn limits(c: &Consortium) -> Result<()> {
    ensure!(c.stop(BANK)?.success(), "the bank's gateway did not stop well");
    c.configure(BANK, |t| set(t, "limits.subject", quota(6, 3)))?;
    c.start_ready(BANK)?;
    let a = Agreement::of(c, 1, 10)?;
    let id = c.authorize(&a.upload()?)?;
    let ask = Ask::post("/v1/reports", &a.query(&id));
    for left in [2, 1, 0] {
        let reply = c.bank(&ask)?;
        reply.success(200)?;
        let state = reply.header("ratelimit").context("no RateLimit")?;
        ensure!(state.contains(&format!("\"subject\";r={left};t=")), "{state}");
    }
    let before = untouched(c, &id)?;
    let reply = c.bank(&ask)?;
    same("status", reply.status, 429)?;
    reply.refused("quota-exceeded")?;
    let after: u64 = reply.header("retry-after").context("no Retry-After")?.parse()?;
    ensure!((1..=10).contains(&after), "Retry-After: {after}");
    same("RateLimit-Policy", reply.header("ratelimit-policy"), Some("\"subject\";q=3;w=30"))?;
    same("RateLimit", reply.header("ratelimit"), Some(format!("\"subject\";r=0;t={after}").as_str()))?;
    same("uses and sources", untouched(c, &id)?, before)?;
    // another enterprise has a limit of its own
    let b = Agreement::of(c, 2, 1)?;
    let id = c.authorize(&b.upload()?)?;
    c.bank(&Ask::post("/v1/reports", &b.query(&id)))?.success(200).map(drop)
}
