//! What a service manager learns: exit codes of `check-config`, `doctor`, `run` and `verify`.

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Cases, Consortium, HANGZHOU, LEDGER, Listener, Profile,
    harness::{
        cases::same,
        consortium::set,
        process::{run, text},
    },
};
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _};

const OK: i32 = 0;
const CHECK_FAILED: i32 = 1;
const USAGE: i32 = 2;
const BAD_CONFIG: i32 = 3;
const KEYSTORE: i32 = 4;
const STORAGE: i32 = 5;
const LISTEN: i32 = 6;

#[test]
fn exit_codes() {
    tries().unwrap();
}

fn tries() -> Result<()> {
    let c = Consortium::make(Profile::International)?;
    let good = fs::read_to_string(c.config(HANGZHOU))?;
    let mut cases = Cases::new();
    cases.case("check-config: a good one", || checked(&c, OK, &["good; node bureau-hangzhou-1"]));
    cases.case("check-config: no TOML", || {
        write(&c, &format!("{good}\n[node\n"))?;
        let line = good.lines().count() + 2;
        checked(&c, BAD_CONFIG, &[&format!("xinguan.toml:{line}:")])
    });
    cases.case("check-config: an unknown key, and all that is wrong at once", || {
        write(&c, &good.replace("region = \"330100\"", "region = \"330100\"\nregoin = \"330100\""))?;
        checked(&c, BAD_CONFIG, &["regoin"])?;
        write(&c, &good.replace("bureau-hangzhou-1\"", "Bureau!\"").replace("\"330100\"", "\"33\""))?;
        checked(&c, BAD_CONFIG, &["node.id", "node.region"])
    });
    cases.case("check-config: no file", || {
        let out = run(&["check-config", "/nowhere/xinguan.toml"])?;
        same("exit code", out.status.code(), Some(BAD_CONFIG))
    });
    cases.case("check-config: a passphrase that everybody may read", || {
        write(&c, &good)?;
        let file = c.file(&format!("gateways/{HANGZHOU}/passphrase"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        let found = checked(&c, BAD_CONFIG, &["keystore.passphrase_file"]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        found
    });
    broken_runs(&mut cases, &c, &good);
    cases.case("doctor: a broken configuration", || {
        write(&c, "[node]\nid = 3\n")?;
        diagnosed(&c, &[], BAD_CONFIG, &["xinguan.toml:2:6"])
    });
    write(&c, &good)?;
    cases.case("doctor: no ledger", || diagnosed(&c, &[], CHECK_FAILED, &["fail  ledger"]));
    cases.case("doctor: all is well, then a peer is not there", || doctor_in_a_running_consortium(&c));
    cases.case("a wrong command line", || {
        same("exit code", run(&["run", "--konfig", "x"])?.status.code(), Some(USAGE))
    });
    cases.case("verify: no answer, and no trust file", || verify(&c));
    cases.end()
}

fn write(c: &Consortium, config: &str) -> Result<()> {
    Ok(fs::write(c.config(HANGZHOU), config)?)
}

fn expect(what: &str, out: &std::process::Output, code: i32, words: &[&str]) -> Result<()> {
    let shown = text(out);
    ensure!(out.status.code() == Some(code), "{what}: {} instead of {code}: {shown}", out.status);
    for word in words {
        ensure!(shown.contains(word), "{what}: no `{word}` in {shown}");
    }
    Ok(())
}

fn checked(c: &Consortium, code: i32, words: &[&str]) -> Result<()> {
    let out = run(&["check-config", &c.config(HANGZHOU).to_string_lossy()])?;
    expect("check-config", &out, code, words)
}

fn diagnosed(c: &Consortium, more: &[&str], code: i32, words: &[&str]) -> Result<()> {
    let config = c.config(HANGZHOU);
    let config = config.to_string_lossy();
    let out = run(&[&["doctor", "--config", &config], more].concat())?;
    expect("doctor", &out, code, words)
}

/// `run` with something broken; each puts right again what it broke.
fn broken_runs(cases: &mut Cases, c: &Consortium, good: &str) {
    let folder = c.file(&format!("gateways/{HANGZHOU}"));
    let runs = |code, word: &str| {
        let before = c.log(HANGZHOU).map_or(0, |l| l.len());
        c.start(HANGZHOU)?;
        let status = c.ended(HANGZHOU)?;
        let log = c.log(HANGZHOU)?.split_off(before);
        ensure!(status.code() == Some(code), "{status} instead of {code}: {log}");
        ensure!(log.contains("xinguan: ") && log.contains(word), "no `{word}` in {log}");
        Ok(())
    };
    cases.case("run: a configuration with a mistake", || {
        write(c, &good.replace("\"330100\"", "\"33\""))?;
        let found = runs(BAD_CONFIG, "node.region");
        write(c, good)?;
        found
    });
    cases.case("run: a file that is not there", || {
        c.configure(HANGZHOU, |t| set(t, "trust.man_roots", "nowhere.pem"))?;
        let found = runs(BAD_CONFIG, "trust.man_roots");
        write(c, good)?;
        found
    });
    cases.case("run: a mapping that does not fit the database", || {
        let mapping = folder.join("mapping.toml");
        let text = fs::read_to_string(&mapping)?;
        fs::write(&mapping, text.replace("\"ent_registration\"", "\"no_such_table\""))?;
        ensure!(fs::read_to_string(&mapping)? != text, "the mapping names no such table");
        let found = runs(BAD_CONFIG, "source: ");
        fs::write(&mapping, text)?;
        found
    });
    cases.case("run: another passphrase", || {
        let file = folder.join("passphrase");
        let text = fs::read_to_string(&file)?;
        fs::write(&file, "not the right passphrase")?;
        let found = runs(KEYSTORE, "keystore: ");
        fs::write(&file, text)?;
        found
    });
    cases.case("run: a key that is not in the keystore", || {
        c.configure(HANGZHOU, |t| set(t, "keystore.node_key", "another"))?;
        let found = runs(KEYSTORE, "`another`");
        write(c, good)?;
        found
    });
    cases.case("run: a journal that is damaged", || {
        let journal = folder.join("data/journal.dat");
        fs::write(&journal, vec![0x5a; 4096])?;
        let found = runs(STORAGE, "journal: ");
        fs::remove_file(&journal)?;
        found
    });
    cases.case("run: a port that is taken", || {
        let _taken = TcpListener::bind(c.address(HANGZHOU, Listener::Man)?)?;
        runs(LISTEN, "listen")
    });
}

fn doctor_in_a_running_consortium(c: &Consortium) -> Result<()> {
    c.start(LEDGER)?;
    c.start(HANGZHOU)?;
    let peer = format!("{HANGZHOU}={}", c.address(HANGZHOU, Listener::Man)?);
    c.wait_ready(HANGZHOU)?;
    diagnosed(c, &["--peer", &peer], OK, &["ok    ledger", "ok    clock", "ok    peer"])?;
    ensure!(c.stop(HANGZHOU)?.success(), "SIGTERM must end in exit code 0");
    diagnosed(c, &["--peer", &peer], CHECK_FAILED, &["fail  peer"])
}

fn verify(c: &Consortium) -> Result<()> {
    same("exit code", c.verify(b"{\"v\":1}")?.status.code(), Some(CHECK_FAILED))?;
    let answer = c.path("answer.json");
    let answer = answer.to_str().context("a path that is no text")?;
    let out = run(&["verify", answer, "--trust", "/nowhere/trust.json"])?;
    expect("verify", &out, CHECK_FAILED, &["/nowhere/trust.json"])
}
