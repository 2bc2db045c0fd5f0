//! A bank asks two regions, gets a verified report, and the supervisor sees who looked; through restarts.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

use anyhow::{Context as _, Result, anyhow, ensure};
use blackbox::{
    Agreement, Ask, BANK, Cases, Consortium, HANGZHOU, HEFEI, Listener, OTHER_BANK, Profile, SUPERVISOR,
    harness::{agreement, cases::same, consortium::set, process::run_well, thief, wait},
};
use serde_json::{Value, json};
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
    let c = Consortium::make(profile)?;
    if profile == Profile::International {
        // whatever a library may say at its most talkative, too
        for gateway in [BANK, HANGZHOU, HEFEI, SUPERVISOR] {
            c.configure(gateway, |t| set(t, "telemetry.level", "trace"))?;
        }
    }
    c.start_all()?;
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
    cases.case("traces and openings arrive although supervisor and source were killed", || {
        c.kill(SUPERVISOR)?;
        report(&c, &agreement, &authorization)?;
        c.kill(HEFEI)?;
        c.kill(BANK)?;
        for gateway in [SUPERVISOR, HEFEI, BANK] {
            c.start(gateway)?;
        }
        c.wait_ready(BANK)?;
        c.wait_ready(SUPERVISOR)?;
        traced(&c, &authorization, 3)?;
        looked(&c, &agreement, 3)
    });
    cases.case("kill -9 right after an upload: what was acknowledged is there", || {
        for _ in 0..3 {
            let fresh = Agreement::of(&c, 1, 1)?;
            let id = c.authorize(&fresh.upload()?)?;
            c.kill(BANK)?;
            c.start_ready(BANK)?;
            report(&c, &fresh, &id)?;
        }
        Ok(())
    });
    cases.case("kill -9 amid a query: the same Idempotency-Key is the same use", || amid_a_query(&c));
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

/// The bank's gateway dies somewhere between reserving and answering; the key finds the use again.
fn amid_a_query(c: &Consortium) -> Result<()> {
    let ledger = thief::Thief::of(c, OTHER_BANK)?;
    let head = || ledger.rpc("getBlockNumber", json!(["group0", ""]))?.as_u64().context("no height");
    for _ in 0..3 {
        let agreement = Agreement::of(c, 2, 2)?;
        let id = c.authorize(&agreement.upload()?)?;
        let ask = Ask::post("/v1/reports", &agreement.query(&id)).header("Idempotency-Key", &id);
        let before = head()?;
        let asking = c.bank_later(ask.clone())?;
        wait::until("a block more", Duration::from_secs(10), || {
            ensure!(head()? > before, "no block yet");
            Ok(())
        })?;
        c.kill(BANK)?;
        // answered already, or broken off: both may be
        let _ = asking.join().map_err(|_| anyhow!("the caller panicked"))??;
        c.start_ready(BANK)?;
        wait::until("every source answers", Duration::from_secs(60), || {
            let report = c.bank(&ask)?.success(200)?["report"].take();
            same("complete", report["complete"].as_bool(), Some(true))
        })?;
        same("uses spent", c.spent(&id)?, 1)?;
    }
    Ok(())
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
    wait::until("both sides' traces are on the ledger", Duration::from_secs(60), || {
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
    wait::until("the supervisor has everything", Duration::from_secs(60), || {
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
    let secrets: Vec<_> =
        secrets.iter().map(|s| s.trim().to_ascii_lowercase()).filter(|s| !s.is_empty()).collect();
    let logs = c.logs()?;
    ensure!(logs.len() >= 5 && logs.iter().all(|(_, text)| !text.is_empty()), "a log is missing or empty");
    for (file, text) in logs {
        let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
        for secret in &secrets {
            let found = text.contains(secret.as_str());
            ensure!(!found, "{} holds a secret of {} characters", file.display(), secret.len());
        }
    }
    Ok(())
}
