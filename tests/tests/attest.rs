//! Gateways on a TPM attest themselves to the supervisor, and one that was tampered with is found by name.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use blackbox::{
    Ask, BANK, Cases, Consortium, HANGZHOU, HEFEI, Listener, OTHER_BANK, Profile, SUPERVISOR,
    harness::{
        attest::{ENROLLED, SOON, blame, enrol, ledger_says, line, one_is, record, start, trade, xinguan},
        cases::same,
        consortium::{institution_of, set},
        process::{run, text},
        tpm::Tpms,
        wait,
    },
};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Output};

const SILENCE_S: i64 = 20;

#[test]
fn gateways_attest_and_the_tampered_one_is_named() {
    story().unwrap();
}

fn story() -> Result<()> {
    let tpms = Tpms::start(&[BANK, HANGZHOU, HEFEI, SUPERVISOR, OTHER_BANK])?;
    let c = Consortium::make_on(Profile::Sm, &tpms)?;
    for gateway in ENROLLED {
        c.configure(gateway, |t| set(t, "attestation.interval_s", 1))?;
    }
    // so that it asks although it knows better: what counts is what the others do
    c.configure(BANK, |t| set(t, "attestation.peers", "observe"))?;
    c.configure(SUPERVISOR, |t| set(t, "supervisor.attestation.silence_s", SILENCE_S))?;
    c.start_all()?;
    let mut cases = Cases::new();
    cases.case("who is not enrolled is told so, by name", || {
        wait::until("the gateway knows", SOON, || {
            let error = c.status(BANK)?["attestation"]["supervisors"][SUPERVISOR]["error"].take();
            same("error", error.as_str(), Some("refused: attestation-not-enrolled"))
        })
    });
    cases.case("enrolled, all are good", || {
        ENROLLED.iter().try_for_each(|g| enrol(&c, g, SUPERVISOR))?;
        fleet_is(&c, &[])?;
        let shown = xinguan(&c, SUPERVISOR, "viewer", "show", &[])?;
        same("exit code of show", shown.status.code(), Some(0))?;
        ensure!(text(&shown).contains("not enrolled"), "the other bank is missing: {}", text(&shown));
        same("metric", c.metric(BANK, "xinguan_attested{supervisor=\"pboc-shanghai-1\"}")?, 1.0)
    });
    cases.case("the ledger has the verdicts, and trade goes on", || {
        ENROLLED.iter().try_for_each(|g| ledger_says(&c, g, "good"))?;
        let log = c.log(SUPERVISOR)?;
        let proved = log.matches("the chip has proved that its keys are its own").count();
        same("chips that opened their secret", proved, ENROLLED.len())?;
        trade(&c, ["answered", "answered"])
    });
    cases.case("a second enrolment of a chip, and a record that the ledger contradicts, are refused", || {
        refused_enrolments(&c)
    });
    cases.case("the evidence verifies offline, and not if one byte of it is another", || offline(&c));
    cases.case("a PCR extended in one chip makes exactly that gateway bad, and is named", || {
        tamper(&c, &tpms, BANK, 4)?;
        fleet_is(&c, &[(BANK, "component [boot loader (PCR 4)]")])?;
        wait::until("the gateway knows why", SOON, || {
            let told = c.status(BANK)?["attestation"]["supervisors"][SUPERVISOR]["verdict"].take();
            same("told", told["failed"][0]["component"].as_str(), Some("boot loader (PCR 4)"))
        })?;
        let shown = xinguan(&c, SUPERVISOR, "viewer", "show", &[])?;
        same("exit code of show", shown.status.code(), Some(1))?;
        same("metric", c.metric(BANK, "xinguan_attested{supervisor=\"pboc-shanghai-1\"}")?, 0.0)?;
        let (_, verified) = export(&c, BANK)?;
        same("exit code of verify", verified.status.code(), Some(1))?;
        ensure!(text(&verified).contains("boot loader (PCR 4)"), "{}", text(&verified));
        Ok(())
    });
    cases.case("from that block on it is answered by nobody, by name, and told so", || {
        ledger_says(&c, BANK, "bad")?;
        ensure!(c.log(BANK)?.contains("others neither ask nor answer it"), "not in its log");
        let refused = "refused gateway-not-trusted";
        trade(&c, [refused, refused])
    });
    cases.case("booted again, with another configuration that is approved: good, and answered", || {
        c.stop(BANK)?;
        tpms.power_cycle(BANK)?;
        c.configure(BANK, |t| set(t, "attestation.peers", "enforce"))?;
        start(&c, BANK)?;
        one_is(&c, SUPERVISOR, BANK, "bad", "configuration [configuration]")?;
        enrol(&c, BANK, SUPERVISOR)?;
        fleet_is(&c, &[])?;
        ledger_says(&c, BANK, "good")?;
        c.wait_ready(BANK)?;
        trade(&c, ["answered", "answered"])
    });
    cases.case("the gateway's own PCR cannot be explained away", || {
        tamper(&c, &tpms, HANGZHOU, 14)?;
        ensure!(c.log(HANGZHOU)?.contains("somebody else extended the gateway's PCR"), "not said");
        fleet_is(&c, &[(HANGZHOU, "log-replay [PCR 14]")])?;
        ledger_says(&c, HANGZHOU, "bad")?;
        let ready = c.admin(HANGZHOU, &Ask::get("/readyz"))?.answer()?;
        ensure!(
            String::from_utf8_lossy(&ready.body).contains("attestation: bad: judged by"),
            "readyz is silent"
        );
        trade(&c, ["missing not-trusted", "answered"])
    });
    cases.case("a verifier killed in the middle goes on; a restarted gateway measures nothing twice", || {
        c.kill(SUPERVISOR)?;
        c.kill(HEFEI)?;
        c.start_ready(SUPERVISOR)?;
        c.start_ready(HEFEI)?;
        evidence_after_now(&c, HEFEI)?;
        fleet_is(&c, &[(HANGZHOU, "log-replay [PCR 14]")])?;
        same("metric", c.metric(SUPERVISOR, "xinguan_verdict_histories_broken")?, 0.0)?;
        ensure!(!c.log(SUPERVISOR)?.contains("REWRITTEN"), "its own history is not what it wrote");
        // a verifier that was away blames nobody for its own silence
        trade(&c, ["missing not-trusted", "answered"])
    });
    cases.case("another configuration is not the approved one", || {
        c.stop(HEFEI)?;
        c.configure(HEFEI, |t| set(t, "query.budget_ms", 9_000))?;
        start(&c, HEFEI)?;
        one_is(&c, SUPERVISOR, HEFEI, "bad", "configuration [configuration]")
    });
    cases.case("a decommissioned device is nobody's, and may be enrolled again", || {
        ensure!(!proposed(&c, HEFEI, "")?.status.success(), "for no reason");
        ended(&c, HEFEI, "its case was replaced")?;
        same("standing", line(&c, SUPERVISOR, HEFEI)?["standing"].as_str(), Some("not-enrolled"))?;
        ensure!(!proposed(&c, HEFEI, "once more")?.status.success(), "twice");
        wait::until("the gateway knows", SOON, || {
            let error = c.status(HEFEI)?["attestation"]["supervisors"][SUPERVISOR]["error"].take();
            same("error", error.as_str(), Some("refused: attestation-not-enrolled"))
        })?;
        Ok(())
    });
    cases.case("a record made of two boxes is never proved by either", || {
        // the other configuration stays measured until the box is booted again
        c.stop(HEFEI)?;
        tpms.power_cycle(HEFEI)?;
        start(&c, HEFEI)?;
        let (_, mut bent) = record(&c, HEFEI)?;
        let engine = base64::engine::general_purpose::STANDARD;
        bent["endorsement_certificate"] = engine.encode(tpms.endorsement_certificate(OTHER_BANK)?).into();
        let operator = c.client(institution_of(SUPERVISOR), "operator");
        // what two ended, one does not begin again
        let ask = Ask::post("/admin/v1/enrolments", &bent);
        let alone = c.call(&operator, SUPERVISOR, Listener::Admin, &ask)?.answer()?;
        alone.refused("second-operator-needed")?;
        let file = c.path("bent.record.json");
        std::fs::write(&file, bent.to_string())?;
        let more = [&*file.to_string_lossy(), "--reason", "another chip"];
        let out = xinguan(&c, SUPERVISOR, "operator", "enrol", &more)?;
        ensure!(out.status.success(), "{}", text(&out));
        approved(&c, &number(&out)?)?;
        wait::until("the chip cannot", SOON, || {
            let error = c.status(HEFEI)?["attestation"]["supervisors"][SUPERVISOR]["error"].take();
            let error = error.as_str().unwrap_or_default();
            ensure!(error.starts_with("no evidence: ") && error.contains("ActivateCredential"), "{error}");
            Ok(())
        })?;
        same("standing", line(&c, SUPERVISOR, HEFEI)?["standing"].as_str(), Some("waiting"))?;
        // a swapped chip is named, until the device is decommissioned
        let (file, _) = record(&c, HEFEI)?;
        let swapped = xinguan(&c, SUPERVISOR, "operator", "enrol", &[&file.to_string_lossy()])?;
        ensure!(!swapped.status.success() && text(&swapped).contains("chip swapped"), "{}", text(&swapped));
        // a chip whose maker nobody pinned
        bent["endorsement_certificate"] = engine.encode([0x30, 3, 2, 1, 7]).into();
        let ask = Ask::post("/admin/v1/enrolments", &bent);
        let refused = c.call(&operator, SUPERVISOR, Listener::Admin, &ask)?.answer()?;
        let detail = refused.refused("enrolment-refused")?["detail"].take();
        ensure!(detail.as_str().is_some_and(|d| d.starts_with("manufacturer: ")), "{detail}");
        ended(&c, HEFEI, "a record of two boxes")?;
        enrolled_by_two(&c, HEFEI, "it is the box after all")?;
        one_is(&c, SUPERVISOR, HEFEI, "good", "")
    });
    cases.case("silence is bad too", || {
        c.kill(HEFEI)?;
        one_is(&c, SUPERVISOR, HEFEI, "bad", "silence")
    });
    cases.end()
}

fn proposed(c: &Consortium, gateway: &str, reason: &str) -> Result<Output> {
    xinguan(c, SUPERVISOR, "operator", "decommission", &["--device", gateway, "--reason", reason])
}

/// The number that a proposal was given: what is printed first.
fn number(out: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let number = said.split(' ').next().unwrap_or_default();
    ensure!(number.parse::<u64>().is_ok(), "no number: {}", text(out));
    Ok(number.to_owned())
}

/// The second operator approves, and it is done.
fn approved(c: &Consortium, number: &str) -> Result<()> {
    let out = xinguan(c, SUPERVISOR, "operator-2", "approve", &[number])?;
    ensure!(out.status.success() && text(&out).contains("executed"), "{}", text(&out));
    Ok(())
}

fn ended(c: &Consortium, gateway: &str, reason: &str) -> Result<()> {
    let out = proposed(c, gateway, reason)?;
    ensure!(out.status.success(), "{}", text(&out));
    approved(c, &number(&out)?)
}

fn enrolled_by_two(c: &Consortium, gateway: &str, reason: &str) -> Result<()> {
    let (file, _) = record(c, gateway)?;
    let more = [&*file.to_string_lossy(), "--reason", reason];
    let out = xinguan(c, SUPERVISOR, "operator", "enrol", &more)?;
    ensure!(out.status.success(), "{}", text(&out));
    approved(c, &number(&out)?)
}

fn refused_enrolments(c: &Consortium) -> Result<()> {
    let (_, mut bent) = record(c, HEFEI)?;
    let operator = c.client(institution_of(SUPERVISOR), "operator");
    let ask = |record: &Value| {
        let ask = Ask::post("/admin/v1/enrolments", record);
        c.call(&operator, SUPERVISOR, Listener::Admin, &ask)?.answer()
    };
    let listed = listed_node_key(c, OTHER_BANK)?;
    (bent["device"], bent["institution"]) = (json!(OTHER_BANK), json!(institution_of(OTHER_BANK)));
    let detail = ask(&bent)?.refused("enrolment-refused")?["detail"].take();
    same("of another node", detail.as_str(), Some("the ledger lists another node key"))?;
    bent["node_key"] = listed;
    let detail = ask(&bent)?.refused("enrolment-refused")?["detail"].take();
    ensure!(detail.as_str().is_some_and(|d| d.contains("enrolled as bureau-hefei-1")), "{detail}");
    let viewer = c.client(institution_of(SUPERVISOR), "viewer");
    let ask = Ask::post("/admin/v1/enrolments", &bent);
    c.call(&viewer, SUPERVISOR, Listener::Admin, &ask)?.answer()?.refused("role-missing")?;
    Ok(())
}

/// Out of the first records that governance signed.
fn listed_node_key(c: &Consortium, node: &str) -> Result<Value> {
    let batch: Value = serde_json::from_slice(&std::fs::read(c.file("ledger/bootstrap.json"))?)?;
    fn find(v: &Value, node: &str) -> Option<Value> {
        match v {
            Value::Object(m) if m.get("id").and_then(Value::as_str) == Some(node) => m.get("key").cloned(),
            Value::Object(m) => m.values().find_map(|v| find(v, node)),
            Value::Array(a) => a.iter().find_map(|v| find(v, node)),
            _ => None,
        }
    }
    find(&batch, node).with_context(|| format!("no key of {node} in bootstrap.json"))
}

/// Exports the newest appraisal and verifies it.
fn export(c: &Consortium, gateway: &str) -> Result<(PathBuf, Output)> {
    let file = c.path(&format!("{gateway}.appraisal.json"));
    let more = ["--device", gateway, "--out", &file.to_string_lossy()];
    let out = xinguan(c, SUPERVISOR, "auditor", "export", &more)?;
    ensure!(out.status.success(), "{}", text(&out));
    let verified = verify(c, &file)?;
    Ok((file, verified))
}

fn verify(c: &Consortium, file: &std::path::Path) -> Result<Output> {
    let makers = c.file("attestation/makers.json");
    let (file, makers) = (file.to_string_lossy(), makers.to_string_lossy());
    run(&["attest", "verify", &file, "--offline", "--makers", &makers])
}

fn offline(c: &Consortium) -> Result<()> {
    let engine = base64::engine::general_purpose::STANDARD;
    let (file, good) = export(c, HEFEI)?;
    same("exit code of verify", good.status.code(), Some(0))?;
    let mut appraisal: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let bundle = engine.decode(appraisal["bundle"].as_str().context("no bundle")?)?;
    let bent = String::from_utf8(bundle)?.replacen("\"version\":\"", "\"version\":\"9", 1);
    appraisal["bundle"] = engine.encode(bent).into();
    std::fs::write(&file, appraisal.to_string())?;
    let bad = verify(c, &file)?;
    same("exit code of verify", bad.status.code(), Some(1))?;
    ensure!(text(&bad).contains("extra-data"), "{}", text(&bad));
    // other makers
    let other = c.path("other-makers.json");
    let text = std::fs::read_to_string(c.file("attestation/makers.json"))?;
    let mut makers: Value = serde_json::from_str(&text)?;
    makers["keys"][0] = listed_node_key(c, BANK)?;
    std::fs::write(&other, makers.to_string())?;
    let (file, _) = export(c, HEFEI)?;
    let (file, other) = (file.to_string_lossy(), other.to_string_lossy());
    let out = run(&["attest", "verify", &file, "--offline", "--makers", &other])?;
    same("exit code under other makers", out.status.code(), Some(1))
}

/// Extends a PCR while the gateway is away.
fn tamper(c: &Consortium, tpms: &Tpms, gateway: &str, pcr: u8) -> Result<()> {
    c.stop(gateway)?;
    tpms.extend(gateway, pcr, [7; 32])?;
    start(c, gateway)
}

/// New evidence has come since this was asked.
fn evidence_after_now(c: &Consortium, gateway: &str) -> Result<()> {
    let before = line(c, SUPERVISOR, gateway)?["last_evidence"].as_u64().unwrap_or_default();
    wait::until("new evidence", SOON, || {
        let last = line(c, SUPERVISOR, gateway)?["last_evidence"].as_u64().unwrap_or_default();
        ensure!(last > before, "the last evidence is of {last}");
        Ok(())
    })
}

/// Exactly these are bad, for exactly this; all others that are enrolled are good, on new evidence.
fn fleet_is(c: &Consortium, bad: &[(&str, &str)]) -> Result<()> {
    for gateway in ENROLLED {
        evidence_after_now(c, gateway)?;
        match bad.iter().find(|(g, _)| *g == gateway) {
            Some((_, why)) => {
                one_is(c, SUPERVISOR, gateway, "bad", why)?;
                same("to blame", blame(&line(c, SUPERVISOR, gateway)?), vec![(*why).to_owned()])?;
            }
            None => {
                let line = line(c, SUPERVISOR, gateway)?;
                same("standing", line["standing"].as_str(), Some("good"))
                    .with_context(|| format!("{gateway}: {:?}", blame(&line)))?;
            }
        }
    }
    same("the other bank", line(c, SUPERVISOR, OTHER_BANK)?["standing"].as_str(), Some("not-enrolled"))
}
