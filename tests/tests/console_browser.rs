//! The console in Chromium, with 500 devices and a million verdicts: the main paths, and how soon it paints.
//!
//! Slow, and in need of a browser: `scripts/console-check` builds, installs and runs it. Figures are printed,
//! never asserted: they are the machine's.

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Agreement, Ask, BANK, Cases, Consortium, HANGZHOU, HEFEI, Listener, OTHER_BANK, Profile, SUPERVISOR,
    harness::{
        browser::Browser,
        cases::{same, say},
        consortium::institution_of,
        forwarder::Forwarder,
        process::{binary, text},
        tpm::Tpms,
        wait,
    },
};
use std::{path::PathBuf, process::Command, time::Duration};

const DEVICES: &str = "500";
/// Of each device: a million in all.
const VERDICTS: &str = "2000";
/// Whose newest verdict `console_fill` makes bad.
const BAD: &str = "filled-000";
const ROUNDS: usize = 20;

#[test]
#[ignore = "needs Chromium and minutes: scripts/console-check"]
fn the_console_in_a_browser() {
    story().unwrap();
}

fn story() -> Result<()> {
    let tpms = Tpms::start(&[BANK, HANGZHOU, HEFEI, SUPERVISOR, OTHER_BANK])?;
    let c = Consortium::make_on(Profile::International, &tpms)?;
    fill(&c)?;
    c.start_all()?;
    let asked = Agreement::of(&c, 1, 5)?;
    let authorization = c.authorize(&asked.upload()?)?;
    c.bank(&Ask::post("/v1/reports", &asked.query(&authorization)))?.success(200)?;
    let auditor = c.client(institution_of(SUPERVISOR), "auditor");
    let forwarder = Forwarder::start(&c, SUPERVISOR, &auditor)?;
    let browser = Browser::start(c.spare_port(0))?;
    let mut cases = Cases::new();
    cases.case("the fleet", || fleet(&browser, &forwarder));
    cases.case("from the fleet to a device, and to one verdict of its timeline", || device(&browser));
    cases.case("who looked at a firm: the code is typed in, and stands in no address", || {
        traces(&browser, &forwarder, &asked)
    });
    cases.case("chain health and limits", || chain(&browser, &forwarder));
    cases.case("how soon", || {
        paints(&browser, &forwarder)?;
        first_bytes(&c)
    });
    cases.end()
}

/// Beside the binary under test.
fn fill(c: &Consortium) -> Result<()> {
    let program = binary()?.parent().context("a binary has a folder")?.join("examples/console_fill");
    let database = c.file(&format!("gateways/{SUPERVISOR}/supervisor.sqlite"));
    let out = Command::new(&program)
        .arg(&database)
        .args([DEVICES, VERDICTS])
        .output()
        .with_context(|| format!("cannot run {}: scripts/console-check builds it", program.display()))?;
    ensure!(out.status.success(), "{}", text(&out));
    say(text(&out).trim());
    Ok(())
}

/// Where scripts/console-check looks for them.
fn picture(name: &str) -> Result<PathBuf> {
    let folder = std::env::current_dir()?.join("../target/console");
    std::fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("{name}.png")))
}

fn seen(browser: &Browser, name: &str) -> Result<()> {
    browser.screenshot(&picture(name)?)?;
    let complaints = browser.complaints()?;
    ensure!(complaints.is_empty(), "the browser complains of {name}: {complaints:?}");
    let overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    same("wider than the window", browser.evaluate(overflow)?.as_bool(), Some(false))
}

fn fleet(browser: &Browser, at: &Forwarder) -> Result<()> {
    browser.open(&at.url("/console/?lang=zh"))?;
    same("language", browser.evaluate("document.documentElement.lang")?.as_str(), Some("zh-CN"))?;
    let first = browser.text("tbody tr")?;
    ensure!(first.contains(BAD) && first.contains("不可信"), "the first row: {first}");
    let styled = "getComputedStyle(document.querySelector('.mark.bad')).color";
    same("red", browser.evaluate(styled)?.as_str(), Some("rgb(168, 7, 26)"))?;
    seen(browser, "fleet-zh")?;
    browser.click("header .who a")?;
    same("language", browser.evaluate("document.documentElement.lang")?.as_str(), Some("en"))?;
    browser.click("a[rel=next]")?;
    ensure!(browser.text(".pager")?.contains("page 2 /"), "{}", browser.text(".pager")?);
    seen(browser, "fleet-en-2")?;
    browser.open(&at.url("/console/?lang=en"))
}

fn device(browser: &Browser) -> Result<()> {
    browser.click("tbody tr th a")?;
    ensure!(browser.url()?.contains(&format!("/console/devices/{BAD}")), "{}", browser.url()?);
    let diff = browser.text("table.diff tbody")?;
    ensure!(diff.contains("boot loader (PCR 4)"), "{diff}");
    ensure!(!browser.text("table.diff mark")?.is_empty(), "nothing is marked");
    seen(browser, "device-en")?;
    browser.click("details summary")?;
    ensure!(browser.text("details table")?.contains("Holds"), "the list of all checks did not open");
    browser.click("a[href*='verdict=']")?;
    ensure!(browser.text("#verdict")?.contains("Chosen verdict"), "{}", browser.text("#verdict")?);
    browser.click("a[rel=next]")?;
    ensure!(browser.url()?.contains("before="), "{}", browser.url()?);
    seen(browser, "device-older")
}

fn traces(browser: &Browser, at: &Forwarder, asked: &Agreement) -> Result<()> {
    let code = asked.statement.subject.expose();
    browser.open(&at.url("/console/traces?lang=zh"))?;
    wait::until("both sides have delivered", Duration::from_secs(60), || {
        browser.type_into("#subject", code)?;
        browser.type_into("#reason", "年度检查")?;
        browser.click("form button")?;
        let shown = browser.text("article")?;
        for wanted in ["贷前", "企业自签", "披露内容与链上承诺一致", "已当场核验", "bureau-hefei-1: 已答复"]
        {
            ensure!(shown.contains(wanted), "`{wanted}` is not in {shown}");
        }
        Ok(())
    })?;
    ensure!(!browser.url()?.contains(code), "the code is in the address");
    seen(browser, "traces-zh")
}

fn chain(browser: &Browser, at: &Forwarder) -> Result<()> {
    browser.open(&at.url("/console/chain?lang=zh"))?;
    ensure!(browser.text("main")?.contains("正常"), "{}", browser.text("main")?);
    seen(browser, "chain-zh")?;
    browser.open(&at.url("/console/limits?lang=en"))?;
    ensure!(browser.text("main")?.contains("Limits in force"), "{}", browser.text("main")?);
    seen(browser, "limits-en")
}

/// Median and worst, in ms.
fn spread(mut of: Vec<f64>) -> String {
    of.sort_by(f64::total_cmp);
    let at = |n: usize| of.get(n).copied().unwrap_or_default();
    format!(
        "median {:.0} ms, worst {:.0} ms of {}",
        at(of.len() / 2),
        at(of.len().saturating_sub(1)),
        of.len()
    )
}

/// From nothing, where Chromium starts a process for the page, and from another page of the console; and an
/// almost empty page, which shows what is the browser's own.
fn paints(browser: &Browser, at: &Forwarder) -> Result<()> {
    let device = format!("/console/devices/{BAD}?lang=zh");
    let pages = [("fleet", at.url("/console/?lang=zh")), ("device", at.url(&device))];
    let nothing = "about:blank".to_owned();
    for (name, page) in &pages {
        paint(browser, &format!("{name}, from nothing"), page, &nothing)?;
        paint(browser, &format!("{name}, from the console"), page, &at.url("/console/chain"))?;
    }
    paint(browser, "one word, from nothing", "data:text/html,<p>word", &nothing)
}

fn paint(browser: &Browser, name: &str, page: &str, from: &str) -> Result<()> {
    let (mut paints, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        browser.open(from)?;
        browser.open(page)?;
        paints.push(wait::until("painted", Duration::from_secs(10), || {
            let expression = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
            browser.evaluate(expression)?.as_f64().context("not yet")
        })?);
        let first = browser.evaluate("performance.getEntriesByType('navigation')[0].responseStart")?;
        bytes.push(first.as_f64().context("no timing")?);
    }
    say(&format!("{name}: first paint {}", spread(paints)));
    say(&format!("{name}: first byte in the browser {}", spread(bytes)));
    Ok(())
}

/// By curl over mutual TLS, handshake included.
fn first_bytes(c: &Consortium) -> Result<()> {
    let viewer = c.client(institution_of(SUPERVISOR), "viewer");
    let (cert, key) = viewer.identity.context("operators have certificates")?;
    let at = c.address(SUPERVISOR, Listener::Admin)?;
    for path in ["/console/", "/console/devices/filled-000", "/console/chain"] {
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let out = Command::new("curl")
                .args([
                    "-q",
                    "-sS",
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code} %{time_starttransfer}",
                    "--cacert",
                ])
                .arg(&viewer.roots)
                .arg("--cert")
                .arg(&cert)
                .arg("--key")
                .arg(&key)
                .arg(format!("https://{at}{path}"))
                .output()?;
            let said = text(&out);
            let (status, seconds) = said.trim().split_once(' ').context("curl said nothing")?;
            same("status", status, "200")?;
            took.push(seconds.parse::<f64>()? * 1000.0);
        }
        say(&format!("{path}: first byte, with the handshake, {}", spread(took)));
    }
    Ok(())
}
