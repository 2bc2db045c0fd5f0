//! No one person ends a device's enrolment: it is proposed by one, approved by another, and all of it is on record.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Ask, BANK, Caller, Cases, Consortium, HANGZHOU, HEFEI, Listener, OTHER_BANK, Profile, SUPERVISOR,
    harness::{
        attest::{SOON, ledger_says, trade},
        cases::same,
        consortium::{institution_of, set},
        inside::{Inside, Kind},
        process::{run, text},
        tpm::Tpms,
        wait,
    },
};
use serde_json::{Value, json};
use std::process::Output;

#[test]
fn an_enrolment_is_ended_by_two_people_and_the_record_of_it_is_whole() {
    story().unwrap();
}

fn story() -> Result<()> {
    let tpms = Tpms::start(&[BANK, HANGZHOU, HEFEI, SUPERVISOR, OTHER_BANK])?;
    let c = Consortium::make_on(Profile::International, &tpms)?;
    c.configure(HANGZHOU, |t| set(t, "attestation.interval_s", 1))?;
    // a third certificate, of the first operator
    let inside = Inside::make(&c, SUPERVISOR)?;
    let twin = inside.client("operator-3", Kind::Good)?;
    inside.revoke(&[])?;
    inside.install(&c, SUPERVISOR, &[(&twin, ("operator-3", &["operator", "view"]))])?;
    c.configure(SUPERVISOR, |t| {
        for name in ["operator", "operator-3"] {
            person(t, name, "Wang Fang");
        }
    })?;
    c.start_all()?;
    let s = Supervisor { c: &c, twin };
    let mut cases = Cases::new();
    cases.case("enrolled by one, good, and asked", || {
        let out = run(&[
            &["attest", "record"][..],
            &words(&s.at(HANGZHOU, &c.client(institution_of(HANGZHOU), "viewer"))?),
        ]
        .concat())?;
        let file = c.path("record.json");
        std::fs::write(&file, &out.stdout)?;
        s.well("operator", &["enrol", &file.to_string_lossy()])?;
        s.is(HANGZHOU, "good")?;
        ledger_says(&c, HANGZHOU, "good")?;
        trade(&c, ["answered", "answered"])
    });
    cases.case("proposed is not done: not alone, not by a second certificate, not by who may not act", || {
        ensure!(!s.cli("viewer", &["decommission", "--device", HANGZHOU, "--reason", "x"])?.status.success(), "a viewer acts");
        let id = s.propose("its case was opened")?;
        let listed = s.well("viewer", &["pending"])?;
        ensure!(listed.contains("its case was opened") && listed.contains("open until"), "{listed}");
        s.fails("operator", &["approve", &id], "second-operator-needed: who proposed it does not decide on it: it is the same certificate key")?;
        s.fails("operator-3", &["approve", &id], "second-operator-needed: who proposed it does not decide on it: the list of operators has both as one person")?;
        s.fails("operator", &["refuse", &id, "--reason", "x"], "second-operator-needed")?;
        for nobody in ["viewer", "auditor"] {
            s.fails(nobody, &["approve", &id], "role-missing")?;
        }
        s.fails("operator-2", &["decommission", "--device", HANGZHOU, "--reason", "me too"], "proposal-refused")?;
        s.fails("operator-2", &["approve", "999"], "not-found")?;
        s.is(HANGZHOU, "good")?;
        trade(&c, ["answered", "answered"])
    });
    cases.case("refused or withdrawn with a reason, it is over", || {
        let id = s.state("open")?;
        s.fails("operator-2", &["refuse", &id, "--reason", " "], "malformed-request")?;
        let said = s.well("operator-2", &["refuse", &id, "--reason", "the seal is intact"])?;
        ensure!(said.contains("refused by operator-2: the seal is intact"), "{said}");
        s.fails("operator-2", &["approve", &id], "proposal-closed: the proposal is refused")?;
        let id = s.propose("once more")?;
        s.fails("operator-2", &["withdraw", &id, "--reason", "x"], "proposal-refused: another operator")?;
        s.well("operator-3", &["withdraw", &id, "--reason", "the wrong box"])?;
        s.fails("operator-2", &["approve", &id], "proposal-closed: the proposal is withdrawn")
    });
    cases.case("nobody in time: it has expired", || {
        c.stop(SUPERVISOR)?;
        c.configure(SUPERVISOR, |t| set(t, "supervisor.attestation.proposals_expire_s", 1))?;
        c.start_ready(SUPERVISOR)?;
        let id = s.propose("in a hurry")?;
        wait::until("it expires", SOON, || same("newest", s.state("expired")?, id.clone()))?;
        s.fails("operator-2", &["approve", &id], "proposal-closed: the proposal is expired")
    });
    cases.case(
        "after a kill it is there, approved by another it is done once, and others stop asking",
        || {
            c.stop(SUPERVISOR)?;
            c.configure(SUPERVISOR, |t| set(t, "supervisor.attestation.proposals_expire_s", 3600))?;
            c.start_ready(SUPERVISOR)?;
            let id = s.propose("stolen")?;
            c.kill(SUPERVISOR)?;
            c.start_ready(SUPERVISOR)?;
            same("still open", s.state("open")?, id.clone())?;
            let said = s.well("operator-2", &["approve", &id])?;
            ensure!(said.contains("executed") && said.contains("approved by operator-2"), "{said}");
            s.fails("operator-2", &["approve", &id], "proposal-closed: the proposal is executed")?;
            s.is(HANGZHOU, "not-enrolled")?;
            ledger_says(&c, HANGZHOU, "silent")?;
            trade(&c, ["missing not-trusted", "answered"])
        },
    );
    cases.case("what two ended one does not begin again; two do", || {
        let file = c.path("record.json").to_string_lossy().into_owned();
        s.fails("operator-2", &["enrol", &file], "second-operator-needed")?;
        let out = s.well("operator-2", &["enrol", &file, "--reason", "found again"])?;
        let id = out.split(' ').next().unwrap_or_default().to_owned();
        s.fails("operator-2", &["approve", &id], "second-operator-needed")?;
        s.well("operator", &["approve", &id])?;
        s.is(HANGZHOU, "good")?;
        ledger_says(&c, HANGZHOU, "good")?;
        trade(&c, ["answered", "answered"])
    });
    cases.case("the console shows it, changes nothing, and an auditor sees who did what", || console(&s));
    cases.case("an auditor exports the trail, it is whole, and it is not with one row less", || audited(&s));
    cases.case("a trail cut in the database is found", || cut(&s));
    cases.end()
}

/// Says in a configuration who holds an operator's entry.
fn person(t: &mut toml::Table, operator: &str, name: &str) {
    let all = t.get_mut("operators").and_then(toml::Value::as_array_mut).into_iter().flatten();
    for entry in all.filter_map(toml::Value::as_table_mut) {
        if entry.get("name").and_then(toml::Value::as_str) == Some(operator) {
            set(entry, "person", name);
        }
    }
}

fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// The supervisor's people.
struct Supervisor<'a> {
    c: &'a Consortium,
    twin: Caller,
}

impl Supervisor<'_> {
    fn caller(&self, who: &str) -> Caller {
        let listed =
            self.c.client(institution_of(SUPERVISOR), if who == "operator-3" { "operator" } else { who });
        match who {
            "operator-3" => Caller { identity: self.twin.identity.clone(), ..listed },
            _ => listed,
        }
    }
    fn at(&self, gateway: &str, caller: &Caller) -> Result<Vec<String>> {
        let (cert, key) = caller.identity.as_ref().context("operators have certificates")?;
        let [cert, key, roots] = [cert, key, &caller.roots].map(|f| f.to_string_lossy().into_owned());
        let url = format!("https://{}", self.c.address(gateway, Listener::Admin)?);
        let at = ["--cert", &cert, "--key", &key, "--roots", &roots, "--url", &url];
        Ok(at.map(str::to_owned).to_vec())
    }
    /// `xinguan attest …` as one of them.
    fn cli(&self, who: &str, what: &[&str]) -> Result<Output> {
        let at = self.at(SUPERVISOR, &self.caller(who))?;
        let (verb, more) = what.split_first().context("nothing to do")?;
        run(&[&["attest", verb][..], &words(&at), more].concat())
    }
    fn well(&self, who: &str, what: &[&str]) -> Result<String> {
        let out = self.cli(who, what)?;
        ensure!(out.status.success(), "{who}: {what:?}: {}", text(&out));
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
    /// It does not work, for a reason: `problem: beginning of the detail`.
    fn fails(&self, who: &str, what: &[&str], why: &str) -> Result<()> {
        let out = self.cli(who, what)?;
        let (problem, detail) = why.split_once(": ").unwrap_or((why, ""));
        let said = text(&out);
        let named = said.contains(&format!("urn:xinguan:problem:{problem}\"")) && said.contains(detail);
        ensure!(!out.status.success() && named, "{who}: {what:?}: not {why}, but {said}");
        Ok(())
    }
    fn propose(&self, reason: &str) -> Result<String> {
        let said = self.well("operator", &["decommission", "--device", HANGZHOU, "--reason", reason])?;
        Ok(said.split(' ').next().unwrap_or_default().to_owned())
    }
    /// The number of the first proposal that is listed, which must be in this state.
    fn state(&self, state: &str) -> Result<String> {
        let ask = Ask::get("/admin/v1/proposals");
        let viewer = self.caller("viewer");
        let found = self.c.call(&viewer, SUPERVISOR, Listener::Admin, &ask)?.answer()?.success(200)?;
        let first = &found["proposals"][0];
        same("state", first["state"]["state"].as_str(), Some(state))?;
        Ok(first["id"].to_string())
    }
    fn is(&self, gateway: &str, standing: &str) -> Result<()> {
        wait::until(&format!("{gateway} is {standing}"), SOON, || {
            let ask = Ask::get("/admin/v1/devices");
            // an auditor reads what a viewer reads
            let auditor = self.caller("auditor");
            let all = self.c.call(&auditor, SUPERVISOR, Listener::Admin, &ask)?.answer()?.success(200)?;
            let line = all["devices"].as_array().into_iter().flatten().find(|d| d["device"] == gateway);
            same("standing", line.and_then(|l| l["standing"].as_str()), Some(standing))
        })
    }
    fn page(&self, who: &str) -> Result<String> {
        let ask = Ask::get("/console/proposals?lang=en");
        let reply = self.c.call(&self.caller(who), SUPERVISOR, Listener::Admin, &ask)?.answer()?;
        same("status", reply.status, 200)?;
        Ok(String::from_utf8(reply.body)?)
    }
}

fn console(s: &Supervisor<'_>) -> Result<()> {
    s.propose("<b>to be seen</b>")?;
    let viewed = s.page("viewer")?;
    for word in ["Open", "Executed", "Refused", "Withdrawn", "Expired", "the seal is intact", "operator-2"] {
        ensure!(viewed.contains(word), "{word} is missing: {viewed}");
    }
    ensure!(viewed.contains("&lt;b&gt;to be seen") && !viewed.contains("<b>to be seen"), "not escaped");
    ensure!(!viewed.contains("<form") && !viewed.contains("Audit trail"), "a viewer sees too much: {viewed}");
    let audited = s.page("auditor")?;
    for word in ["Audit trail", "Whole", "propose", "denied", "approve", "executed"] {
        ensure!(audited.contains(word), "{word} is missing: {audited}");
    }
    let id = s.state("open")?;
    s.well("operator", &["withdraw", &id, "--reason", "seen"]).map(drop)
}

/// The acts of a trail: who did what.
fn acts(trail: &Value) -> Result<Vec<(String, String)>> {
    let rows = trail["rows"].as_array().context("no rows")?;
    let one = |row: &Value| -> Result<(String, String)> {
        let act: Value = serde_json::from_str(row["body"].as_str().context("no body")?)?;
        let text = |name: &str| act[name].as_str().unwrap_or_default().to_owned();
        Ok((text("by"), text("act")))
    };
    rows.iter().map(one).collect()
}

fn audited(s: &Supervisor<'_>) -> Result<()> {
    let file = s.c.path("audit.json");
    let path = file.to_string_lossy().into_owned();
    for nobody in ["viewer", "operator"] {
        s.fails(nobody, &["audit"], "role-missing")?;
    }
    let said = s.well("auditor", &["audit", "--out", &path])?;
    ensure!(said.contains("完整 whole: ") && said.contains("stolen"), "{said}");
    let whole: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let acts = acts(&whole)?;
    for (by, act, times) in [
        ("operator", "propose", 5),
        ("operator", "denied", 2),
        ("operator-3", "denied", 1),
        ("operator-3", "withdraw", 1),
        ("operator-2", "refuse", 1),
        ("operator-2", "approve", 1),
        ("-", "executed", 2),
        ("-", "expire", 1),
        ("operator", "enrol", 1),
    ] {
        let found = acts.iter().filter(|(b, a)| (b.as_str(), a.as_str()) == (by, act)).count();
        same(&format!("{act} by {by}: {acts:?}"), found, times)?;
    }
    let check = |trail: &Value| -> Result<(bool, String)> {
        let bent = s.c.path("bent.json");
        std::fs::write(&bent, trail.to_string())?;
        let out = run(&["attest", "check-audit", &bent.to_string_lossy(), "--since", &path])?;
        Ok((out.status.success(), text(&out)))
    };
    ensure!(check(&whole)?.0, "the whole one is not");
    let last = acts.len() - 1;
    for (row, why) in [(0, "row 1 of"), (last / 2, "is missing"), (last, "ends with row")] {
        let mut bent = whole.clone();
        bent["rows"].as_array_mut().context("no rows")?.remove(row);
        let (holds, said) = check(&bent)?;
        ensure!(!holds && said.contains(why), "without row {row}: {said}");
    }
    let mut bent = whole.clone();
    let body = bent["rows"][last]["body"].as_str().unwrap_or_default().replace("operator", "somebody");
    bent["rows"][last]["body"] = json!(body);
    let (holds, said) = check(&bent)?;
    ensure!(!holds && said.contains("not the one that was written"), "{said}");
    Ok(())
}

/// Somebody with the disk in hand takes the last row away.
fn cut(s: &Supervisor<'_>) -> Result<()> {
    same("before", s.c.metric(SUPERVISOR, "xinguan_audit_trail_broken")?, 0.0)?;
    s.c.stop(SUPERVISOR)?;
    let file = s.c.file(&format!("gateways/{SUPERVISOR}/supervisor.sqlite"));
    let db = rusqlite::Connection::open(&file)?;
    let gone = db.execute("delete from audit where n = (select max(n) from audit)", [])?;
    same("rows taken", gone, 1)?;
    drop(db);
    s.c.start_ready(SUPERVISOR)?;
    wait::until("it is said", SOON, || {
        same("metric", s.c.metric(SUPERVISOR, "xinguan_audit_trail_broken")?, 1.0)
    })?;
    ensure!(s.c.log(SUPERVISOR)?.contains("the audit trail was REWRITTEN"), "not in its log");
    let out = s.cli("auditor", &["audit"])?;
    same("exit code", out.status.code(), Some(1))?;
    ensure!(text(&out).contains("NOT WHOLE: the audit trail ends with row"), "{}", text(&out));
    ensure!(s.page("auditor")?.contains("Not whole"), "the console says that it is whole");
    Ok(())
}
