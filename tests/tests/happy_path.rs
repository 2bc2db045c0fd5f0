//! A bank asks two regions, gets a verified report, and the supervisor sees who looked; through restarts.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Agreement, Ask, BANK, Cases, Consortium, HEFEI, Listener, Profile, SUPERVISOR,
    harness::{agreement, cases::same, process::run_well, thief, wait},
};
use serde_json::Value;
use std::time::Duration;

#[test]
fn international() {
    story(Profile::International).unwrap();
}

#[test]
fn sm() {
    story(Profile::Sm).unwrap();
}

fn story(profile: Profile) -> Result<()> {
    let c = Consortium::running(profile)?;
    let agreement = Agreement::of(&c, 1, 3)?;
    let authorization = c.authorize(&agreement.upload()?)?;
    let mut cases = Cases::new();
    cases.case("a report from two sources, which verifies", || {
        let answer = report(&c, &agreement, &authorization)?;
        same("uses spent", c.spent(&authorization)?, 1)?;
        a_changed_digit_does_not_verify(&c, &answer)
    });
    cases.case("both sides tell the ledger", || traced(&c, &authorization, 1));
    cases.case("the supervisor sees who looked, when and why", || looked(&c, &agreement, 1));
    cases.case("xinguan trace prints it", || printed(&c, &agreement));
    cases.case("kill -9 of the bank's gateway and of a source, and it goes on", || {
        c.kill(BANK)?;
        c.kill(HEFEI)?;
        c.start(HEFEI)?;
        c.start_ready(BANK)?;
        c.wait_ready(HEFEI)?;
        report(&c, &agreement, &authorization)?;
        same("uses spent", c.spent(&authorization)?, 2)?;
        traced(&c, &authorization, 2)?;
        looked(&c, &agreement, 2)
    });
    cases.case("no company code and no secret in any log", || clean_logs(&c));
    cases.end()
}

/// Asks; checks the report and what `xinguan verify` says.
fn report(c: &Consortium, agreement: &Agreement, authorization: &str) -> Result<Vec<u8>> {
    let reply = c.bank(&Ask::post("/v1/reports", &agreement.query(authorization)))?;
    let answer = reply.success(200)?;
    let report = &answer["report"];
    same("complete", &report["complete"], &Value::Bool(true))?;
    let parts = report["parts"].as_array().context("no parts")?;
    same("parts", parts.len(), 2)?;
    ensure!(parts.iter().all(|p| p["outcome"]["state"] == "answered"), "{parts:?}");
    let items = report["items"].as_array().context("no items")?;
    let allowed = ["basic", "tax", "financing"];
    ensure!(items.len() > 5, "{} items", items.len());
    for item in items {
        let dimension = item["item"]["dimension"].as_str().unwrap_or_default();
        ensure!(allowed.contains(&dimension), "an item of dimension {dimension} was not asked for");
    }
    let verdict = c.verify(&reply.body)?;
    ensure!(verdict.status.code() == Some(0), "verify: {}", String::from_utf8_lossy(&verdict.stdout));
    Ok(reply.body)
}

fn a_changed_digit_does_not_verify(c: &Consortium, answer: &[u8]) -> Result<()> {
    let mut forged: Value = serde_json::from_slice(answer)?;
    let items = forged["report"]["items"].as_array_mut().context("no items")?;
    let value = items.iter_mut().map(|i| &mut i["item"]["value"]["value"]).find(|v| v.is_i64());
    let value = value.context("no number among the items")?;
    *value = (value.as_i64().unwrap_or_default() ^ 1).into();
    let verdict = c.verify(forged.to_string().as_bytes())?;
    same("exit code of verify", verdict.status.code(), Some(1))
}

/// Two sources, two sides, for each use.
fn traced(c: &Consortium, authorization: &str, uses: usize) -> Result<()> {
    let ask = Ask::get(&format!("/v1/traces?authorization_id={authorization}"));
    wait::until("both sides' traces are on the ledger", Duration::from_secs(20), || {
        let found = c.bank(&ask)?.success(200)?;
        let all = found["uses"].as_array().context("no uses")?;
        same("uses", all.len(), uses)?;
        for one in all {
            same("accepted", &one["accepted"], &Value::Bool(true))?;
            let traces = one["traces"].as_array().context("no traces")?;
            same("traces", traces.len(), 4)?;
            let of = |side: &str| traces.iter().filter(|t| t["side"] == side).count();
            same("sides", (of("asker"), of("source")), (2, 2))?;
            ensure!(traces.iter().all(|t| t["status"] == "answered"), "{traces:?}");
        }
        Ok(())
    })
}

fn looked(c: &Consortium, agreement: &Agreement, times: usize) -> Result<()> {
    let subject = agreement.statement.subject.expose();
    wait::until("the supervisor has everything", Duration::from_secs(20), || {
        let found = c.look(subject)?;
        let looks = found["looks"].as_array().context("no looks")?;
        same("looks", looks.len(), times)?;
        for look in looks {
            same("gaps", &look["gaps"], &serde_json::json!([]))?;
            same("who", look["asker"].as_str(), Some("bank-suzhou"))?;
            same("why", look["purpose"].as_str(), Some("01"))?;
            same("commitment", &look["proof"]["commitment_matches"], &Value::Bool(true))?;
            let (when, now) = (look["reserved"].as_u64().context("no time")?, agreement::now().0);
            ensure!(when <= now + 5_000 && now - when < 600_000, "reserved at {when}, now is {now}");
        }
        Ok(())
    })
}

/// Who, when, why, and that nothing is missing, as `xinguan trace` prints it for the supervisor's auditor.
fn printed(c: &Consortium, agreement: &Agreement) -> Result<()> {
    let auditor = c.client("pboc-shanghai", "auditor");
    let (cert, key) = auditor.identity.context("an auditor has a certificate")?;
    let url = format!("https://{}", c.address(SUPERVISOR, Listener::Admin)?);
    let files = [cert, key, auditor.roots].map(|f| f.to_string_lossy().into_owned());
    let [cert, key, roots] = &files;
    let out = run_well(&[
        "trace",
        "--cert",
        cert,
        "--key",
        key,
        "--roots",
        roots,
        "--url",
        &url,
        "--subject",
        agreement.statement.subject.expose(),
        "--reason",
        "black-box test",
    ])?;
    let shown = String::from_utf8(out.stdout)?;
    for word in [
        "1 次",
        "bank-suzhou",
        "01 ",
        "signed",
        "commitment matches",
        "bureau-hefei-1: answered",
        "无 / none",
    ] {
        ensure!(shown.contains(word), "no `{word}` in {shown}");
    }
    Ok(())
}

/// Codes, passphrases and private keys of the whole consortium, in every log of every process.
fn clean_logs(c: &Consortium) -> Result<()> {
    let mut secrets = agreement::subjects(c)?;
    let mut keys = 0;
    for gateway in std::fs::read_dir(c.file("gateways"))? {
        secrets.push(std::fs::read_to_string(gateway?.path().join("passphrase"))?);
    }
    for folder in ["ledger", "governance", "enterprises", "clients/bank-suzhou", "clients/pboc-shanghai"] {
        for file in std::fs::read_dir(c.file(folder))? {
            let file = file?.path();
            if file.extension().is_some_and(|e| e == "key") {
                keys += 1;
                secrets.push(hex::encode(**thief::load_key(&file)?.secret()));
                // PKCS#8 in base64: the second line holds bytes of the key, the first only names of algorithms
                secrets.extend(std::fs::read_to_string(&file)?.lines().nth(2).map(str::to_owned));
            }
        }
    }
    ensure!(keys > 15, "only {keys} private keys were found");
    let logs = c.logs()?;
    ensure!(logs.len() >= 5 && logs.iter().all(|(_, text)| !text.is_empty()), "a log is missing or empty");
    for (file, text) in logs {
        for secret in secrets.iter().map(|s| s.trim()).filter(|s| !s.is_empty()) {
            let found = text.windows(secret.len()).any(|w| w.eq_ignore_ascii_case(secret.as_bytes()));
            ensure!(!found, "{} holds a secret of {} characters", file.display(), secret.len());
        }
    }
    Ok(())
}
