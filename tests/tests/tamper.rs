//! An opened case closes the box at once, under load, and keeps it closed until an operator releases it.

use anyhow::{Context as _, Result, anyhow, ensure};
use blackbox::{
    Agreement, Ask, BANK, Cases, Consortium, Outcome, Profile,
    harness::{
        cases::same,
        consortium::set,
        process::{run, text},
    },
};
use std::{path::PathBuf, thread::JoinHandle};

/// The exit code of a box whose case was opened (docs/operations.md).
const TAMPERED: Option<i32> = Some(8);

#[test]
fn an_opened_case_closes_the_box() {
    story().unwrap();
}

fn story() -> Result<()> {
    let c = Consortium::make(Profile::International)?;
    let case = c.path("case");
    let request = c.path("clear-data-key");
    c.configure(BANK, |t| {
        set(t, "board.name", format!("case-file:{}", case.display()));
        set(t, "board.clear_storage_key", request.display().to_string());
    })?;
    c.start_all()?;
    let agreement = Agreement::of(&c, 1, 40)?;
    let id = c.authorize(&agreement.upload()?)?;
    let ask = Ask::post("/v1/reports", &agreement.query(&id));
    c.bank(&ask)?.success(200)?;

    let mut cases = Cases::new();
    cases.case("opened under load: it ends at once, with its own exit code", || {
        let load = (0..8).map(|_| c.bank_later(ask.clone())).collect::<Result<Vec<_>>>()?;
        std::fs::write(&case, "")?;
        same("exit code", c.ended(BANK)?.code(), TAMPERED)?;
        whole_or_nothing(&c, load)
    });
    cases.case("it is recorded, in the latch and in the log", || {
        let latch = std::fs::read_to_string(latch(&c))?;
        ensure!(latch.contains("case-opened"), "{latch}");
        ensure!(c.log(BANK)?.contains("TAMPER: the signer is closed"), "not in the log");
        Ok(())
    });
    cases.case("the system is asked to destroy the data's key, and asked again at each start", || {
        let latch = std::fs::read_to_string(latch(&c))?;
        ensure!(latch.contains("to-clear"), "{latch}");
        std::fs::remove_file(&request).context("it was not asked")?;
        refused(&c)?;
        std::fs::remove_file(&request).context("it was not asked again")
    });
    cases.case("closed or not, it does not start again", || {
        refused(&c)?;
        std::fs::remove_file(&case)?;
        refused(&c)
    });
    cases.case("board show says so; release wants a name", || {
        let config = c.config(BANK).display().to_string();
        let shown = run(&["board", "show", "--config", &config])?;
        same("exit code of show", shown.status.code(), TAMPERED)?;
        ensure!(text(&shown).contains("LATCHED"), "{}", text(&shown));
        let nobody = run(&["board", "release", "--config", &config, "--operator", ""])?;
        ensure!(!nobody.status.success(), "released by nobody");
        refused(&c)
    });
    cases.case("released with the case still open, it closes again", || {
        release(&c)?;
        std::fs::write(&case, "")?;
        c.start(BANK)?;
        same("exit code", c.ended(BANK)?.code(), TAMPERED)?;
        std::fs::remove_file(&case)?;
        Ok(())
    });
    cases.case("released with the case closed, it serves, and the record is kept", || {
        release(&c)?;
        c.start_ready(BANK)?;
        c.bank(&ask)?.success(200)?;
        let folder = latch(&c).parent().context("no folder")?.to_owned();
        let kept = std::fs::read_dir(folder)?.filter_map(Result::ok);
        let kept = kept.filter(|e| e.file_name().to_string_lossy().starts_with("tamper.json.released-"));
        same("kept records", kept.count(), 2)
    });
    cases.end()
}

fn latch(c: &Consortium) -> PathBuf {
    c.file(&format!("gateways/{BANK}/data/tamper.json"))
}

/// What got out before the edge is whole and verifies; what was in flight is gone.
fn whole_or_nothing(c: &Consortium, load: Vec<JoinHandle<Result<Outcome>>>) -> Result<()> {
    for caller in load {
        let outcome = caller.join().map_err(|_| anyhow!("a caller panicked"))??;
        if let Ok(reply) = outcome.answer()
            && reply.status == 200
        {
            let verdict = c.verify(&reply.body)?;
            ensure!(verdict.status.success(), "an answer that does not verify: {}", text(&verdict));
        }
    }
    Ok(())
}

fn refused(c: &Consortium) -> Result<()> {
    let config = c.config(BANK).display().to_string();
    let out = run(&["run", "--config", &config])?;
    same("exit code of a start", out.status.code(), TAMPERED)?;
    ensure!(text(&out).contains("xinguan board release"), "no remedy: {}", text(&out));
    Ok(())
}

fn release(c: &Consortium) -> Result<()> {
    let config = c.config(BANK).display().to_string();
    let out = run(&["board", "release", "--config", &config, "--operator", "operator-7"])?;
    ensure!(out.status.success(), "{}", text(&out));
    Ok(())
}
