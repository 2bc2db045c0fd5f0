//! Attestation from outside: enrolled, looked at, and what it does to trade.

use super::{
    agreement::Agreement,
    caller::{Ask, Caller},
    cases::same,
    consortium::{BANK, Consortium, HANGZHOU, HEFEI, Listener, institution_of},
    process::{run, text},
    wait,
};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{path::PathBuf, process::Output, time::Duration};

/// A round of evidence each second, but on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// `xinguan attest WHAT …` as one of a gateway's people.
pub fn xinguan(c: &Consortium, gateway: &str, who: &str, what: &str, more: &[&str]) -> Result<Output> {
    let caller: Caller = c.client(institution_of(gateway), who);
    let (cert, key) = caller.identity.context("operators have certificates")?;
    let [cert, key, roots] = [cert, key, caller.roots].map(|f| f.to_string_lossy().into_owned());
    let url = format!("https://{}", c.address(gateway, Listener::Admin)?);
    let at = ["--cert", &cert, "--key", &key, "--roots", &roots, "--url", &url];
    run(&[&["attest", what][..], &at, more].concat())
}

/// What the gateway's operator prints, and the supervisor's operator enrols.
pub fn record(c: &Consortium, gateway: &str) -> Result<(PathBuf, Value)> {
    let out = xinguan(c, gateway, "viewer", "record", &[])?;
    ensure!(out.status.success(), "{}", text(&out));
    let file = c.path(&format!("{gateway}.record.json"));
    std::fs::write(&file, &out.stdout)?;
    Ok((file, serde_json::from_slice(&out.stdout)?))
}

/// Enrols a gateway at a supervisor, or approves its configuration.
pub fn enrol(c: &Consortium, gateway: &str, supervisor: &str) -> Result<()> {
    let (file, _) = record(c, gateway)?;
    let out = xinguan(c, supervisor, "operator", "enrol", &[&file.to_string_lossy()])?;
    let said = ["enrolled", "approved"].iter().any(|word| text(&out).contains(word));
    ensure!(out.status.success() && said, "{}", text(&out));
    Ok(())
}

/// The verdict on the ledger, as the gateway itself reads it.
pub fn ledger_says(c: &Consortium, gateway: &str, word: &str) -> Result<()> {
    wait::until(&format!("the ledger says {word} of {gateway}"), SOON, || {
        same("trust", trust(c, gateway)?["trust"].as_str(), Some(word))
    })
}

/// What all supervisors' verdicts on a gateway come to, as it reads them.
pub fn trust(c: &Consortium, gateway: &str) -> Result<Value> {
    Ok(c.status(gateway)?.get("trust").cloned().unwrap_or_default())
}

/// The bank asks both bureaus, under a new authorization: what became of Hangzhou's and Hefei's part.
pub fn trade(c: &Consortium, expected: [&str; 2]) -> Result<()> {
    let agreement = Agreement::of(c, 1, 1)?;
    let id = c.authorize(&agreement.upload()?)?;
    let answer = c.bank(&Ask::post("/v1/reports", &agreement.query(&id)))?.success(200)?;
    let part = |source: &str| {
        let parts = answer["report"]["parts"].as_array().into_iter().flatten();
        let outcome = parts.clone().find(|p| p["source"] == source).map(|p| p["outcome"].clone())?;
        let why = ["problem", "reason"].map(|k| outcome[k].as_str().unwrap_or_default()).concat();
        Some(format!("{} {why}", outcome["state"].as_str()?).trim().to_owned())
    };
    same("parts", [HANGZHOU, HEFEI].map(|s| part(s).unwrap_or_default()), expected.map(str::to_owned))
}

/// All devices, as a supervisor shows them.
pub fn devices(c: &Consortium, supervisor: &str) -> Result<Value> {
    let viewer = c.client(institution_of(supervisor), "viewer");
    let ask = Ask::get("/admin/v1/devices");
    Ok(c.call(&viewer, supervisor, Listener::Admin, &ask)?.answer()?.success(200)?["devices"].take())
}

/// One of them.
pub fn line(c: &Consortium, supervisor: &str, gateway: &str) -> Result<Value> {
    let all = devices(c, supervisor)?;
    let found = all.as_array().into_iter().flatten().find(|d| d["device"] == gateway).cloned();
    found.with_context(|| format!("no line of {gateway}"))
}

/// What a line says is to blame, by name and component.
pub fn blame(line: &Value) -> Vec<String> {
    let spell = |check: &Value| match check["component"].as_str() {
        Some(component) => format!("{} [{component}]", check["name"].as_str().unwrap_or_default()),
        None => check["name"].as_str().unwrap_or_default().to_owned(),
    };
    line["failed"].as_array().into_iter().flatten().map(spell).collect()
}

/// A supervisor comes to think so of a gateway, and blames this; nothing in particular where it is empty.
pub fn one_is(c: &Consortium, supervisor: &str, gateway: &str, standing: &str, first: &str) -> Result<()> {
    wait::until(&format!("{supervisor} finds {gateway} {standing}: {first}"), SOON, || {
        let line = line(c, supervisor, gateway)?;
        same("standing", line["standing"].as_str(), Some(standing))?;
        let fits = first.is_empty() || blame(&line).iter().any(|b| b == first);
        ensure!(fits, "to blame: {:?}", blame(&line));
        Ok(())
    })
}

/// Starts a gateway that may not be ready, for what it is known to be.
pub fn start(c: &Consortium, gateway: &str) -> Result<()> {
    c.start(gateway)?;
    wait::until(&format!("{gateway} answers"), SOON, || c.status(gateway).map(drop))
}

/// All that are enrolled wherever it is told.
pub const ENROLLED: [&str; 3] = [BANK, HANGZHOU, HEFEI];
