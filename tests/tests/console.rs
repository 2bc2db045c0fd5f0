//! The supervisor's console over mutual TLS, as a browser would ask for it: what each page shows, and to whom.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use blackbox::{
    Agreement, Ask, BANK, Caller, Cases, Consortium, HANGZHOU, HEFEI, LEDGER, Listener, OTHER_BANK, Profile,
    Reply, SUPERVISOR,
    harness::{
        cases::same,
        consortium::{institution_of, set},
        process::{run, text},
        tpm::Tpms,
        wait,
    },
};
use serde_json::Value;
use sha2::Digest as _;
use std::time::Duration;

/// A round of evidence each second, but on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const PCR_4: &str = "boot loader (PCR 4)";

#[test]
fn the_console_shows_the_fleet_the_traces_and_the_chain() {
    story().unwrap();
}

fn story() -> Result<()> {
    let tpms = Tpms::start(&[BANK, HANGZHOU, HEFEI, SUPERVISOR, OTHER_BANK])?;
    let c = Consortium::make_on(Profile::International, &tpms)?;
    for gateway in [BANK, HANGZHOU] {
        c.configure(gateway, |t| set(t, "attestation.interval_s", 1))?;
    }
    c.start_all()?;
    let mut cases = Cases::new();
    cases.case("a page is strict, self-contained, and in two languages", || strict(&c));
    cases.case("the fleet: who is enrolled becomes trusted", || {
        [BANK, HANGZHOU].iter().try_for_each(|g| enrol(&c, g))?;
        standings(&c, &[(BANK, "Trusted"), (HANGZHOU, "Trusted"), (HEFEI, "Not enrolled")])
    });
    let asked = Agreement::of(&c, 1, 5)?;
    let authorization = c.authorize(&asked.upload()?)?;
    c.bank(&Ask::post("/v1/reports", &asked.query(&authorization)))?.success(200)?;
    cases.case("traces of use: who, when, why, under which authorization, proved", || {
        traced(&c, &asked, &authorization)
    });
    cases.case("a form from elsewhere is refused, and leaves no look-up", || cross_site(&c, &asked));
    cases.case("a wrong code and a wrong role are refused as pages, and the code comes back nowhere", || {
        refused(&c, &asked)
    });
    cases.case("what an asker writes stays text", || injected(&c));
    cases.case("limits that were hit", || limits(&c));
    cases.case(
        "one measured component changed: exactly that device, and what was expected and found",
        || {
            c.stop(BANK)?;
            tpms.extend(BANK, 4, [7; 32])?;
            c.start_ready(BANK)?;
            standings(&c, &[(BANK, "Not trusted"), (HANGZHOU, "Trusted")])?;
            tampered(&c)
        },
    );
    cases.case("the evidence: linked and given to an auditor only", || evidence(&c));
    cases.case("the code is in no log, and every look-up is in the journal", || audited(&c, &asked));
    cases.case("chain health: an endpoint that fails is shown", || {
        let page = page(&c, "viewer", "/console/chain?lang=en")?;
        ensure!(page.contains("Fresh") && page.contains("answers") && !page.contains("fails"), "{page}");
        c.kill(LEDGER)?;
        wait::until("the endpoint fails", SOON, || {
            let page = self::page(&c, "viewer", "/console/chain?lang=en")?;
            ensure!(page.contains("fails"), "not yet");
            Ok(())
        })
    });
    cases.end()
}

fn person(c: &Consortium, who: &str) -> Caller {
    c.client(institution_of(SUPERVISOR), who)
}

fn ask(c: &Consortium, who: &str, ask: &Ask) -> Result<Reply> {
    c.call(&person(c, who), SUPERVISOR, Listener::Admin, ask)?.answer()
}

fn html(reply: &Reply, status: u16) -> Result<String> {
    let shown = String::from_utf8(reply.body.clone())?;
    ensure!(reply.status == status, "HTTP {} instead of {status}: {shown}", reply.status);
    same("media type", reply.header("content-type"), Some("text/html; charset=utf-8"))?;
    // what a person reads, without what it looks like
    let (before, styled) = shown.split_once("<style>").context("no style")?;
    let (style, after) = styled.split_once("</style>").context("a style without end")?;
    let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(style));
    let policy = reply.header("content-security-policy").unwrap_or_default();
    ensure!(
        policy.contains(&format!("style-src 'sha256-{digest}'")),
        "{policy} does not allow the page's style"
    );
    for never in ["url(", "@import", "http"] {
        ensure!(!style.contains(never), "{never} is in the style");
    }
    Ok(format!("{before}{after}"))
}

fn page(c: &Consortium, who: &str, path: &str) -> Result<String> {
    html(&ask(c, who, &Ask::get(path))?, 200)
}

/// A form as a browser sends it from the console's own page.
fn form(fields: &[(&str, &str)], site: &str) -> Ask {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let spell = |v: &str| -> String {
        let one = |c: char| match plain(c) {
            true => c.to_string(),
            false => c.to_string().bytes().map(|b| format!("%{b:02X}")).collect(),
        };
        v.chars().map(one).collect()
    };
    let pairs: Vec<String> = fields.iter().map(|(n, v)| format!("{n}={}", spell(v))).collect();
    Ask::new("POST", "/console/traces?lang=en", Some(pairs.join("&").into_bytes()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Sec-Fetch-Site", site)
}

fn strict(c: &Consortium) -> Result<()> {
    let reply = ask(c, "viewer", &Ask::get("/console/").header("Accept-Language", "zh-CN,zh;q=0.9"))?;
    let zh = html(&reply, 200)?;
    let policy = reply.header("content-security-policy").unwrap_or_default();
    for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        ensure!(policy.contains(part), "{part} is not in {policy}");
    }
    same("referrer", reply.header("referrer-policy"), Some("same-origin"))?;
    same("cache", reply.header("cache-control"), Some("no-store"))?;
    for never in ["<script", "http://", "https://", "<link", "<img", " style=", " on"] {
        ensure!(!zh.contains(never), "{never} is in the page");
    }
    ensure!(zh.contains("<html lang=\"zh-CN\">") && zh.contains("未登记") && zh.contains("UTC+8"), "{zh}");
    let en = page(c, "viewer", "/console/?lang=en")?;
    ensure!(en.contains("<html lang=\"en\">") && en.contains("Not enrolled") && en.contains(BANK), "{en}");
    ensure!(!en.contains("/console/traces"), "a viewer is shown the way to what it may not see");
    ensure!(page(c, "auditor", "/console/")?.contains("/console/traces"), "an auditor is not");
    // beyond the last page, and nonsense: the nearest page that there is
    for bent in ["page=999999", "page=-1", "page=x", "standing=x", "lang=%ff&page=0"] {
        ensure!(page(c, "viewer", &format!("/console/?{bent}"))?.contains(BANK), "{bent}");
    }
    Ok(())
}

fn enrol(c: &Consortium, gateway: &str) -> Result<()> {
    let caller = c.client(institution_of(gateway), "viewer");
    let (cert, key) = caller.identity.context("operators have certificates")?;
    let [cert, key, roots] = [cert, key, caller.roots].map(|f| f.to_string_lossy().into_owned());
    let url = format!("https://{}", c.address(gateway, Listener::Admin)?);
    let out = run(&["attest", "record", "--cert", &cert, "--key", &key, "--roots", &roots, "--url", &url])?;
    ensure!(out.status.success(), "{}", text(&out));
    let record: Value = serde_json::from_slice(&out.stdout)?;
    ask(c, "operator", &Ask::post("/admin/v1/enrolments", &record))?.success(200).map(drop)
}

/// The row of a device: from its name to the row's end.
fn row<'a>(page: &'a str, device: &str) -> Result<&'a str> {
    let at = page.find(&format!("/console/devices/{device}?")).with_context(|| format!("no {device}"))?;
    let rest = &page[at..];
    Ok(&rest[..rest.find("</tr>").unwrap_or(rest.len())])
}

fn standings(c: &Consortium, wanted: &[(&str, &str)]) -> Result<()> {
    wait::until(&format!("{wanted:?}"), SOON, || {
        let page = page(c, "viewer", "/console/?lang=en")?;
        for (device, word) in wanted {
            ensure!(
                row(&page, device)?.contains(&format!("</span> {word}</span>")),
                "{}",
                row(&page, device)?
            );
        }
        Ok(())
    })
}

fn tampered(c: &Consortium) -> Result<()> {
    let fleet = page(c, "viewer", "/console/?lang=en&standing=bad")?;
    ensure!(row(&fleet, BANK)?.contains(PCR_4), "{}", row(&fleet, BANK)?);
    ensure!(row(&fleet, HANGZHOU).is_err(), "another device is among the bad ones");
    let path = format!("/console/devices/{BANK}?lang=en");
    let shown = page(c, "viewer", &path)?;
    let at = shown.find("<table class=\"diff\">").context("no table of what failed")?;
    let diff = &shown[at..at + shown[at..].find("</table>").context("it does not end")?];
    ensure!(diff.contains(PCR_4) && diff.contains(">component<"), "{diff}");
    same("differences marked", diff.matches("<mark>").count(), 2)?;
    same("checks that failed", diff.matches("<th scope=\"row\">").count(), 1)?;
    // the oldest stretch of the timeline was good
    let runs = shown.split("When the result changed").nth(1).context("no timeline")?;
    let runs = runs.split("</table>").next().unwrap_or_default();
    ensure!(runs.contains("Not trusted") && runs.contains("</span> Trusted"), "{runs}");
    let good = runs.rsplit("verdict=").next().and_then(|t| t.split(['#', '&', '"']).next());
    let chosen = page(c, "viewer", &format!("{path}&verdict={}", good.context("no verdict to choose")?))?;
    ensure!(chosen.contains("Chosen verdict") && chosen.contains("All checks hold"), "{chosen}");
    ask(c, "viewer", &Ask::get(&format!("{path}&verdict=999999")))?.refused("not-found")?;
    ask(c, "viewer", &Ask::get("/console/devices/nobody-1"))?.refused("not-found").map(drop)
}

fn evidence(c: &Consortium) -> Result<()> {
    let path = format!("/console/devices/{BANK}?lang=en");
    let link = format!("/admin/v1/devices/{BANK}/appraisal");
    ensure!(!page(c, "viewer", &path)?.contains(&link), "a viewer has the link");
    ensure!(page(c, "auditor", &path)?.contains(&link), "an auditor has no link");
    ask(c, "viewer", &Ask::get(&link))?.refused("role-missing")?;
    let exported = ask(c, "auditor", &Ask::get(&link))?.success(200)?;
    same("of", exported["enrolled"]["device"].as_str(), Some(BANK))
}

fn traced(c: &Consortium, asked: &Agreement, authorization: &str) -> Result<()> {
    let ask_it =
        form(&[("subject", asked.statement.subject.expose()), ("reason", "inspection 7")], "same-origin");
    wait::until("both sides have delivered", SOON, || {
        let page = html(&ask(c, "auditor", &ask_it)?, 200)?;
        let wanted = [
            asked.statement.subject.expose(),
            institution_of(BANK),
            "before the loan",
            "basic information",
            authorization,
            "signed by the enterprise",
            "the opening matches the commitment on the chain",
            "verified just now: the record is in a block that a quorum signed",
            "asker → bureau-hangzhou-1: answered",
            "source → bureau-hefei-1: answered",
            "source bureau-hangzhou-1",
            "inspection 7",
        ];
        for text in wanted {
            ensure!(page.contains(text), "`{text}` is not in {page}");
        }
        same("looks", page.matches("<article>").count(), 1)
    })
}

fn own_lookups(c: &Consortium, asked: &Agreement) -> Result<usize> {
    let ask_it = form(&[("subject", asked.statement.subject.expose()), ("reason", "count")], "same-origin");
    let page = html(&ask(c, "auditor", &ask_it)?, 200)?;
    let own = page.split("supervisor's own staff").nth(1).context("no look-ups of its own")?;
    Ok(own.split("</table>").next().unwrap_or_default().matches("<tr>").count())
}

fn cross_site(c: &Consortium, asked: &Agreement) -> Result<()> {
    let before = own_lookups(c, asked)?;
    let fields = [("subject", asked.statement.subject.expose()), ("reason", "somebody else's page")];
    for site in ["cross-site", "same-site", "none"] {
        ask(c, "auditor", &form(&fields, site))?.refused("cross-site-request")?;
    }
    let bare = Ask::new("POST", "/console/traces", Some(b"subject=x&reason=y".to_vec()))
        .header("Content-Type", "application/x-www-form-urlencoded");
    ask(c, "auditor", &bare.clone())?.refused("cross-site-request")?;
    ask(c, "auditor", &bare.header("Origin", "https://evil.example"))?.refused("cross-site-request")?;
    same("look-ups recorded, this one included", own_lookups(c, asked)?, before + 1)
}

fn refused(c: &Consortium, asked: &Agreement) -> Result<()> {
    let code = asked.statement.subject.expose();
    let mut wrong = code.to_owned();
    wrong.replace_range(17.., if code.ends_with('0') { "1" } else { "0" });
    let browser = |ask: Ask| ask.header("Accept", "text/html,application/xhtml+xml");
    let fields = [("subject", wrong.as_str()), ("reason", "inspection 7")];
    let shown = html(&ask(c, "auditor", &browser(form(&fields, "same-origin")))?, 400)?;
    ensure!(
        shown.contains("The unified social credit code is invalid") && shown.contains("role=\"alert\""),
        "{shown}"
    );
    ensure!(!shown.contains(&wrong[..17]), "the code came back");
    let fields = [("subject", code), ("reason", "no")];
    let shown = html(&ask(c, "auditor", &browser(form(&fields, "same-origin")))?, 400)?;
    ensure!(shown.contains("4 to 200"), "{shown}");
    let reply = ask(c, "viewer", &browser(Ask::get("/console/traces?lang=zh")))?;
    ensure!(html(&reply, 403)?.contains("权限不足"), "not said in Chinese");
    ensure!(reply.header("content-security-policy").is_some(), "a refusal without a policy");
    Ok(())
}

fn injected(c: &Consortium) -> Result<()> {
    let other = Agreement::of(c, 2, 1)?;
    let reason = "<script>alert(1)</script>\"'&";
    let fields = [("subject", other.statement.subject.expose()), ("reason", reason)];
    let shown = html(&ask(c, "auditor", &form(&fields, "same-origin"))?, 200)?;
    ensure!(shown.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the reason is not shown: {shown}");
    ensure!(!shown.contains("<script"), "and not escaped");
    Ok(())
}

/// Four queries at once for one use: the chain refuses what the gateway's own state could not know yet.
fn limits(c: &Consortium) -> Result<()> {
    ask(c, "viewer", &Ask::get("/console/limits"))?.refused("role-missing")?;
    ensure!(page(c, "auditor", "/console/limits?lang=en")?.contains("Limits in force"), "no limits");
    for _ in 0..10 {
        let once = Agreement::of(c, 1, 1)?;
        let id = c.authorize(&once.upload()?)?;
        c.bank_together(&vec![Ask::post("/v1/reports", &once.query(&id)); 4])?;
        let shown = page(c, "auditor", "/console/limits?lang=en")?;
        if shown.contains("all uses are spent") {
            ensure!(shown.contains(institution_of(BANK)) && shown.contains("Newest refusals"), "{shown}");
            return Ok(());
        }
    }
    bail!("ten times four queries for one use, and the chain refused none of them")
}

fn audited(c: &Consortium, asked: &Agreement) -> Result<()> {
    let code = asked.statement.subject.expose();
    ensure!(!c.log(SUPERVISOR)?.contains(code), "the code is in the log");
    let journal = std::fs::read(c.file(&format!("gateways/{SUPERVISOR}/data/journal.dat")))?;
    let journal = String::from_utf8_lossy(&journal);
    ensure!(!journal.contains(code), "the code is in the journal");
    let before = journal.matches("\"look-up\"").count();
    ensure!(before >= 3, "{before} look-ups in the journal");
    own_lookups(c, asked)?;
    let journal = std::fs::read(c.file(&format!("gateways/{SUPERVISOR}/data/journal.dat")))?;
    let journal = String::from_utf8_lossy(&journal);
    same("look-ups in the journal", journal.matches("\"look-up\"").count(), before + 1)?;
    ensure!(journal.contains("\"by\":\"auditor\""), "not by whom");
    ensure!(journal.contains("\"appraisal\""), "the export of evidence is not in the journal");
    Ok(())
}
