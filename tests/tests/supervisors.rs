//! Two supervisors, one on SQLite and one on PostgreSQL: any of them suffices, and one that is down stops nobody.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    BANK, Cases, Consortium, HANGZHOU, HEFEI, LEDGER, OTHER_BANK, Profile, SUPERVISOR,
    harness::{
        attest::{ENROLLED, SOON, enrol, ledger_says, line, one_is, start, trade, trust, xinguan},
        cases::same,
        consortium::{SECOND_SUPERVISOR, set},
        postgres::{Server, USER},
        process::{run, text},
        tpm::Tpms,
        wait,
    },
};
use serde_json::Value;

const ANSWERED: [&str; 2] = ["answered", "answered"];

#[test]
fn one_supervisor_down_stops_nobody() {
    story().unwrap();
}

fn story() -> Result<()> {
    let tpms = Tpms::start(&[BANK, HANGZHOU, HEFEI, SUPERVISOR, SECOND_SUPERVISOR, OTHER_BANK])?;
    let mut database = Server::start()?;
    database.create("supervisor")?;
    let c = Consortium::make_with_two_supervisors(Profile::Sm, &tpms)?;
    for gateway in ENROLLED {
        c.configure(gateway, |t| {
            set(t, "attestation.interval_s", 1);
            // from the first: without anybody's verdict nobody trades
            set(t, "attestation.unjudged", "refuse");
        })?;
    }
    c.configure(SECOND_SUPERVISOR, |t| on_postgresql(t, &database))?;
    c.start(LEDGER)?;
    c.start_ready(SECOND_SUPERVISOR)?;
    ENROLLED.iter().try_for_each(|g| start(&c, g))?;
    let mut cases = Cases::new();
    cases.case("nobody has judged them: no source is trusted", || {
        ENROLLED.iter().try_for_each(|g| ledger_says(&c, g, "unjudged"))
    });
    cases.case("one of two supervisors is up: its verdicts suffice", || {
        ENROLLED.iter().try_for_each(|g| enrol(&c, g, SECOND_SUPERVISOR))?;
        ENROLLED.iter().try_for_each(|g| ledger_says(&c, g, "good"))?;
        ENROLLED.iter().try_for_each(|g| c.wait_ready(g))?;
        trade(&c, ANSWERED)
    });
    cases.case("what is owed to a supervisor goes to the one that is there", || {
        wait::until("the openings have gone", SOON, || {
            let waiting = c.metric(BANK, "xinguan_outbox_items")?;
            same("outbox of the bank", waiting, 0.0)
        })
    });
    cases.case("the other comes: both judge, and each says its own word", || {
        c.start_ready(SUPERVISOR)?;
        ENROLLED.iter().try_for_each(|g| enrol(&c, g, SUPERVISOR))?;
        for supervisor in [SUPERVISOR, SECOND_SUPERVISOR] {
            ENROLLED.iter().try_for_each(|g| one_is(&c, supervisor, g, "good", ""))?;
        }
        told(&c, SUPERVISOR, ENROLLED.len())?;
        trade(&c, ANSWERED)
    });
    cases.case("the first goes down: evidence goes on to the other, and trade goes on", || {
        c.kill(SUPERVISOR)?;
        evidence_goes_on(&c, SECOND_SUPERVISOR)?;
        ENROLLED.iter().try_for_each(|g| c.wait_ready(g))?;
        trade(&c, ANSWERED)
    });
    cases.case("the database's server goes down and comes back: so does its supervisor, by itself", || {
        database.stop()?;
        wait::until("it says so", SOON, || {
            let log = c.log(SECOND_SUPERVISOR)?;
            ensure!(log.contains("cannot connect to PostgreSQL"), "not in its log");
            Ok(())
        })?;
        // verdicts last a day: nobody needs a supervisor this minute
        trade_with_no_supervisor(&c)?;
        database.run()?;
        evidence_goes_on(&c, SECOND_SUPERVISOR)
    });
    cases.case("a box that both found bad is good again by the one that is up", || {
        c.start_ready(SUPERVISOR)?;
        c.stop(HEFEI)?;
        tpms.extend(HEFEI, 4, [7; 32])?;
        start(&c, HEFEI)?;
        for supervisor in [SUPERVISOR, SECOND_SUPERVISOR] {
            one_is(&c, supervisor, HEFEI, "bad", "component [boot loader (PCR 4)]")?;
        }
        ledger_says(&c, HEFEI, "bad")?;
        trade(&c, ["answered", "missing not-trusted"])?;
        told(&c, SUPERVISOR, ENROLLED.len() + 1)?;
        c.kill(SUPERVISOR)?;
        c.stop(HEFEI)?;
        tpms.power_cycle(HEFEI)?;
        start(&c, HEFEI)?;
        ledger_says(&c, HEFEI, "good")?;
        c.wait_ready(HEFEI)?;
        trade(&c, ANSWERED)
    });
    cases.case(
        "a verdict out of PostgreSQL is proved against the ledger's head, and not against another",
        || proved(&c),
    );
    cases.case("what was changed behind its back in PostgreSQL is found at the next start", || {
        c.stop(SECOND_SUPERVISOR)?;
        let sql = "update verdict set passed = 1, body = replace(body, 'failed', 'ok') where device = 'bureau-hefei-1'";
        database.ask("supervisor", sql)?;
        c.start_ready(SECOND_SUPERVISOR)?;
        wait::until("it is said", SOON, || {
            ensure!(c.log(SECOND_SUPERVISOR)?.contains("the verdict log was REWRITTEN"), "not in its log");
            same("metric", c.metric(SECOND_SUPERVISOR, "xinguan_verdict_histories_broken")?, 1.0)
        })
    });
    cases.end()
}

fn on_postgresql(table: &mut toml::Table, server: &Server) {
    if let Some(supervisor) = table.get_mut("supervisor").and_then(toml::Value::as_table_mut) {
        supervisor.remove("database");
    }
    set(table, "supervisor.postgresql.host", server.socket().display().to_string());
    set(table, "supervisor.postgresql.port", i64::from(server.port()));
    set(table, "supervisor.postgresql.database", "supervisor");
    set(table, "supervisor.postgresql.user", USER);
}

/// A supervisor has written that many verdicts on the ledger, or more.
fn told(c: &Consortium, supervisor: &str, at_least: usize) -> Result<()> {
    wait::until(&format!("{supervisor} has told the ledger"), SOON, || {
        let told = c.log(supervisor)?.matches("a verdict goes to the ledger").count();
        ensure!(told >= at_least, "{told} verdicts");
        Ok(())
    })
}

/// From now on, of each.
fn evidence_goes_on(c: &Consortium, supervisor: &str) -> Result<()> {
    for gateway in ENROLLED {
        let last = || Ok::<_, anyhow::Error>(line(c, supervisor, gateway)?["last_evidence"].as_u64());
        let mut before = None;
        wait::until(&format!("evidence of {gateway}"), SOON, || {
            let now = last()?.context("none")?;
            let before = *before.get_or_insert(now);
            ensure!(now > before, "the last is of {now}");
            Ok(())
        })?;
    }
    Ok(())
}

/// The answer leaves; what is owed to a supervisor waits.
fn trade_with_no_supervisor(c: &Consortium) -> Result<()> {
    trade(c, ANSWERED)?;
    same("trust", trust(c, BANK)?["trust"].as_str(), Some("good"))
}

/// Exported, and verified offline with the digest that another gateway reads from the ledger.
fn proved(c: &Consortium) -> Result<()> {
    let file = c.path("hefei.appraisal.json");
    let (name, makers) = (file.to_string_lossy().into_owned(), c.file("attestation/makers.json"));
    let makers = makers.to_string_lossy().into_owned();
    let verify = |more: &[&str]| {
        run(&[&["attest", "verify", &name, "--offline", "--makers", &makers][..], more].concat())
    };
    let history = wait::until("the ledger has the newest", SOON, || {
        let more = ["--device", HEFEI, "--out", &name];
        let out = xinguan(c, SECOND_SUPERVISOR, "auditor", "export", &more)?;
        ensure!(out.status.success(), "{}", text(&out));
        let on_ledger = history(c, HANGZHOU, HEFEI)?;
        let good = verify(&["--history", &on_ledger])?;
        same("exit code of verify", good.status.code(), Some(0)).with_context(|| text(&good))?;
        Ok(on_ledger)
    })?;
    let good = verify(&["--history", &history])?;
    ensure!(text(&good).contains(&history) && text(&good).contains("verdict log"), "{}", text(&good));
    let other = verify(&["--history", &"7".repeat(64)])?;
    same("exit code against another head", other.status.code(), Some(1))?;
    ensure!(text(&other).contains("REWRITTEN"), "{}", text(&other));
    // one hash of the path is another
    let mut exported: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    exported["log"]["path"][0] = "7".repeat(64).into();
    std::fs::write(&file, exported.to_string())?;
    let bent = verify(&["--history", &history])?;
    same("exit code of a bent path", bent.status.code(), Some(1))?;
    ensure!(text(&bent).contains("not in the log"), "{}", text(&bent));
    Ok(())
}

/// What the ledger has of the second supervisor and a device, as any gateway's viewer reads it.
fn history(c: &Consortium, gateway: &str, device: &str) -> Result<String> {
    let out = xinguan(c, gateway, "viewer", "ledger", &["--device", device])?;
    let said = text(&out);
    let line = said.lines().find(|l| l.starts_with(SECOND_SUPERVISOR)).context("no verdict of it")?;
    Ok(line.rsplit(' ').next().unwrap_or_default().to_owned())
}
