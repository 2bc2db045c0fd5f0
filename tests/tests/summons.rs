//! Evidence at any moment: the supervisor asks a gateway that dials out, and says so where it cannot.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    BANK, Cases, Consortium, HANGZHOU, HEFEI, OTHER_BANK, Profile, SUPERVISOR,
    harness::{
        attest,
        cases::same,
        consortium::set,
        process::{run, text},
        tpm::Tpms,
        wait,
    },
};
use serde_json::Value;
use std::{process::Output, time::Duration};

const SOON: Duration = Duration::from_secs(90);

#[test]
fn a_gateway_that_dials_out_is_asked_at_any_moment() {
    story().unwrap();
}

fn story() -> Result<()> {
    let tpms = Tpms::start(&[BANK, HANGZHOU, HEFEI, SUPERVISOR, OTHER_BANK])?;
    let c = Consortium::make_on(Profile::International, &tpms)?;
    // no evidence of its own accord while this runs, once it has given some
    c.configure(BANK, |t| set(t, "attestation.interval_s", 3_600))?;
    c.configure(SUPERVISOR, |t| set(t, "supervisor.attestation.silence_s", 7_200))?;
    c.start_all()?;
    let mut cases = Cases::new();
    cases.case("asked, it answers: new evidence, the verdict, and who asked is on record", || {
        attest::enrol(&c, BANK, SUPERVISOR)?;
        let before = asked(&c)?;
        ensure!(before.contains("TRUSTED") && !before.contains("NOT TRUSTED"), "{before}");
        let last = last_evidence(&c)?;
        let out = cli(&c, SUPERVISOR, "operator", &["now", BANK, "--json"])?;
        same("exit code", out.status.code(), Some(0))?;
        let found: Value = serde_json::from_slice(&out.stdout)?;
        same("connected", found["connected"].as_bool(), Some(true))?;
        same("device", found["verdict"]["device"].as_str(), Some(BANK))?;
        let newer = last_evidence(&c)?;
        ensure!(newer > last && Some(newer) == found["verdict"]["at"].as_u64(), "{last} {newer} {found}");
        let audit = well(&c, "auditor", &["audit"])?;
        ensure!(audit.contains("operator attest-now {\"device\":\"bank-suzhou-1\"}"), "{audit}");
        fails(&c, "viewer", &["now", BANK], "role-missing")?;
        fails(&c, "operator", &["now", HANGZHOU], "not-found")
    });
    cases.case("the policy in force, and that the ledger agrees", || {
        let shown = well(&c, "viewer", &["policy"])?;
        for word in [
            "silent after: 7200 s",
            "attestation.peers: enforce",
            "✓ 有效 valid",
            "pinned manufacturers: 是 yes",
        ] {
            ensure!(shown.contains(word), "{word} is missing: {shown}");
        }
        let json: Value = serde_json::from_str(&well(&c, "viewer", &["policy", "--json"])?)?;
        same("standing", json["releases"][0]["standing"].as_str(), Some("valid"))?;
        wait::until("the ledger has it", SOON, || {
            let shown = well(&c, "viewer", &["show"])?;
            ensure!(shown.contains("good ="), "{shown}");
            Ok(())
        })?;
        // the simulated chip has one user at a time: the gateway goes, what it wrote stays
        c.stop(BANK)?;
        let said = doctor(&c)?;
        ensure!(said.contains("ok    trust        good: judged by pboc-shanghai-1"), "{said}");
        c.start_ready(BANK)
    });
    cases.case("the supervisor restarts: the gateway calls again by itself", || {
        c.kill(SUPERVISOR)?;
        c.start_ready(SUPERVISOR)?;
        wait::until("it is connected", SOON, || {
            let out = cli(&c, SUPERVISOR, "operator", &["now", BANK, "--json"])?;
            ensure!(out.status.success(), "{}", text(&out));
            let found: Value = serde_json::from_slice(&out.stdout)?;
            same("connected", found["connected"].as_bool(), Some(true))
        })?;
        // a call that is held keeps neither side from stopping
        c.stop(SUPERVISOR)?;
        c.start_ready(SUPERVISOR)
    });
    cases.case(
        "a file that the configuration names was changed: its role is named, until it is approved",
        || {
            c.stop(BANK)?;
            let roots = c.file(&format!("gateways/{BANK}/inside-root.pem"));
            let mut pem = std::fs::read_to_string(&roots)?;
            // it means the same: what is compared is what is in it
            pem.push('\n');
            std::fs::write(&roots, pem)?;
            tpms.power_cycle(BANK)?;
            c.start(BANK)?;
            wait::until("it is asked", SOON, || {
                let out = cli(&c, SUPERVISOR, "operator", &["now", BANK])?;
                same("exit code", out.status.code(), Some(1))?;
                for role in ["trust.admin_roots", "trust.bank_roots"] {
                    ensure!(text(&out).contains(&format!("configuration-file [{role}]")), "{}", text(&out));
                }
                same("what failed", text(&out).matches("✗ ").count(), 2)
            })?;
            attest::enrol(&c, BANK, SUPERVISOR)?;
            wait::until("approved", SOON, || {
                let out = cli(&c, SUPERVISOR, "operator", &["now", BANK])?;
                same("exit code", out.status.code(), Some(0))
            })
        },
    );
    cases.case("tampered with, it says so when asked, and the doctor knows what follows", || {
        c.stop(BANK)?;
        tpms.extend(BANK, 4, [7; 32])?;
        c.start(BANK)?;
        wait::until("it is asked", SOON, || {
            let out = cli(&c, SUPERVISOR, "operator", &["now", BANK])?;
            same("exit code", out.status.code(), Some(1))?;
            ensure!(text(&out).contains("boot loader (PCR 4)"), "{}", text(&out));
            Ok(())
        })?;
        wait::until("it knows what the ledger says", SOON, || {
            same("trust", c.status(BANK)?["trust"]["trust"].as_str(), Some("bad"))
        })?;
        c.stop(BANK)?;
        let said = doctor(&c)?;
        ensure!(said.contains("fail  trust        bad: judged by pboc-shanghai-1"), "{said}");
        ensure!(said.contains("neither ask nor answer it"), "{said}");
        c.start(BANK)
    });
    cases.case("away, that is what is said", || {
        c.kill(BANK)?;
        let out = cli(&c, SUPERVISOR, "operator", &["now", BANK])?;
        let said = text(&out);
        let named = said.contains("urn:xinguan:problem:device-not-connected\"");
        ensure!(!out.status.success() && named, "{said}");
        ensure!(said.contains("it holds no connection to this supervisor"), "{said}");
        Ok(())
    });
    cases.end()
}

/// The bank's gateway as it is.
fn cli(c: &Consortium, gateway: &str, who: &str, what: &[&str]) -> Result<Output> {
    let (verb, more) = what.split_first().context("nothing to do")?;
    attest::xinguan(c, gateway, who, verb, more)
}

fn well(c: &Consortium, who: &str, what: &[&str]) -> Result<String> {
    let out = cli(c, SUPERVISOR, who, what)?;
    ensure!(out.status.success(), "{who}: {what:?}: {}", text(&out));
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn fails(c: &Consortium, who: &str, what: &[&str], problem: &str) -> Result<()> {
    let out = cli(c, SUPERVISOR, who, what)?;
    let named = text(&out).contains(&format!("urn:xinguan:problem:{problem}\""));
    ensure!(!out.status.success() && named, "{who}: {what:?}: not {problem}, but {}", text(&out));
    Ok(())
}

/// A verdict, as soon as there is one: the chip proves its keys first.
fn asked(c: &Consortium) -> Result<String> {
    let mut said = String::new();
    wait::until("a verdict", SOON, || {
        let out = cli(c, SUPERVISOR, "operator", &["now", BANK])?;
        ensure!(out.status.success(), "{}", text(&out));
        said = text(&out);
        Ok(())
    })?;
    Ok(said)
}

fn last_evidence(c: &Consortium) -> Result<u64> {
    attest::line(c, SUPERVISOR, BANK)?["last_evidence"].as_u64().context("no evidence")
}

/// What `xinguan doctor` prints at the bank's gateway.
fn doctor(c: &Consortium) -> Result<String> {
    Ok(text(&run(&["doctor", "--config", &c.config(BANK).to_string_lossy()])?))
}
