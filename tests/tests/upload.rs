//! Uploading an authorization: what is wrong is refused by name, and leaves nothing on the ledger.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]
#![expect(clippy::unwrap_used, reason = "names that are constants of the test")]

use anyhow::{Result, ensure};
use base64::Engine as _;
use blackbox::{
    Agreement, Ask, BANK, Cases, Consortium, Listener, OTHER_BANK, Profile,
    harness::{agreement::now, cases::same, consortium::set, thief::Thief},
};
use gw_proto::{
    Dimension, EvidenceLevel, Hex, Purpose, UnixMillis,
    message::{Evidence, Statement},
    record::{Authorization, Record},
};
use serde_json::{Value, json};
use sha2::Digest as _;
use std::time::Duration;

/// The bank listener's bound in this test.
const BODY_BYTES: usize = 64 * 1024;

#[test]
fn what_is_wrong_leaves_nothing() {
    tries().unwrap();
}

fn tries() -> Result<()> {
    let c = Consortium::make(Profile::International)?;
    c.configure(BANK, |t| {
        set(t, "listen.bank.limits.body_bytes", i64::try_from(BODY_BYTES).unwrap_or(i64::MAX));
        set(t, "listen.bank.limits.body_timeout_ms", 1_500);
    })?;
    c.start_all()?;
    let mut cases = Cases::new();
    for (name, problem, change) in WRONG_STATEMENTS {
        cases.case(name, || refused(&c, Agreement::of(&c, 1, 2)?.with(change), problem));
    }
    for (name, problem, change) in WRONG_EVIDENCE {
        cases.case(name, || {
            let agreement = Agreement::of(&c, 1, 1)?;
            let (statement, evidence) = change(&c, agreement)?;
            let body = json!({ "statement": statement, "evidence": evidence });
            refused_body(&c, &body, problem)?;
            nothing_on_the_ledger(&c, &statement)
        });
    }
    for (name, problem, change) in WRONG_JSON {
        cases.case(name, || {
            let agreement = Agreement::of(&c, 1, 1)?;
            let body = change(agreement.upload()?.to_string());
            c.bank(&Ask::post_bytes("/v1/authorizations", body))?.refused(problem)?;
            nothing_on_the_ledger(&c, &agreement.statement)
        });
    }
    cases.case("a body without a media type, and of another one", || media_types(&c));
    cases.case("a body larger than the bound", || too_large(&c));
    cases.case("a body that comes too slowly", || too_slow(&c));
    cases.case("Content-Digest", || digests(&c));
    cases.case("the same statement twice is one authorization", || twice(&c));
    cases.case("an id that another institution tries to take", || squatted(&c));
    cases.end()
}

type WrongStatement = (&'static str, &'static str, fn(&mut Statement));

const WRONG_STATEMENTS: &[WrongStatement] = &[
    ("expired", "authorization-expired", |s| s.not_after = UnixMillis(now().0 - 1_000)),
    ("another holder", "holder-mismatch", |s| s.holder = "bank-nanjing".parse().unwrap()),
    ("another consortium", "holder-mismatch", |s| s.consortium = "other-dev".parse().unwrap()),
    ("more uses than the cap of its level", "level-cap-exceeded", |s| s.max_uses = 101),
    ("no uses", "malformed-request", |s| s.max_uses = 0),
    ("ends before it begins", "malformed-request", |s| s.not_before = s.not_after),
    ("unsorted purposes", "malformed-request", |s| s.purposes.reverse()),
    ("no dimensions", "malformed-request", |s| s.dimensions.clear()),
    ("a dimension twice", "malformed-request", |s| s.dimensions = vec![Dimension::Basic, Dimension::Basic]),
    ("another version", "malformed-request", |s| s.v = 2),
];

type WrongEvidence =
    (&'static str, &'static str, fn(&Consortium, Agreement) -> Result<(Statement, Evidence)>);

const WRONG_EVIDENCE: &[WrongEvidence] = &[
    ("signed by another enterprise", "evidence-insufficient", |c, a| {
        let other = Agreement::of(c, 2, 1)?.with(|s| *s = a.statement.clone());
        Ok((a.statement, other.evidence()?))
    }),
    ("changed after the signature", "evidence-insufficient", |_, a| {
        let evidence = a.evidence()?;
        Ok((a.with(|s| s.purposes.push(Purpose::Related)).statement, evidence))
    }),
    ("level signed, evidence only asserted", "evidence-insufficient", |_, a| {
        Ok((a.statement, Evidence::Asserted { document: Hex([7; 32]) }))
    }),
    ("level sealed under a root that supports only signatures", "evidence-insufficient", |_, a| {
        let a = a.with(|s| s.level = EvidenceLevel::Sealed);
        let Evidence::Signed { signature, chain } = a.evidence()? else { anyhow::bail!("not signed") };
        Ok((a.statement, Evidence::Sealed { signature, chain }))
    }),
    ("asserted, with more uses than its cap", "level-cap-exceeded", |_, a| {
        let a = a.with(|s| {
            (s.level, s.max_uses, s.dimensions) = (EvidenceLevel::Asserted, 2, vec![Dimension::Basic]);
        });
        Ok((a.statement, Evidence::Asserted { document: Hex([7; 32]) }))
    }),
    ("asserted, with a dimension above its cap", "level-cap-exceeded", |_, a| {
        let a = a.with(|s| s.level = EvidenceLevel::Asserted);
        Ok((a.statement, Evidence::Asserted { document: Hex([7; 32]) }))
    }),
    ("no certificate", "evidence-insufficient", |_, a| {
        let Evidence::Signed { signature, .. } = a.evidence()? else { anyhow::bail!("not signed") };
        Ok((a.statement, Evidence::Signed { signature, chain: Vec::new() }))
    }),
    ("five certificates", "evidence-insufficient", |_, a| {
        let Evidence::Signed { signature, chain } = a.evidence()? else { anyhow::bail!("not signed") };
        let chain = chain.iter().cycle().take(5).cloned().collect();
        Ok((a.statement, Evidence::Signed { signature, chain }))
    }),
];

type WrongJson = (&'static str, &'static str, fn(String) -> String);

const WRONG_JSON: &[WrongJson] = &[
    ("a wrong check character", "subject-code-invalid", |t| {
        let at = t.find("\"subject\":\"").unwrap() + "\"subject\":\"".len() + 17;
        let wrong = if t.as_bytes()[at] == b'0' { "1" } else { "0" };
        format!("{}{wrong}{}", &t[..at], &t[at + 1..])
    }),
    ("a code of 17 characters", "subject-code-invalid", |t| {
        let at = t.find("\"subject\":\"").unwrap() + "\"subject\":\"".len();
        format!("{}{}", &t[..at], &t[at + 1..])
    }),
    ("an unknown purpose", "malformed-request", |t| t.replace("[\"01\",\"03\"]", "[\"01\",\"09\"]")),
    ("an unknown dimension", "malformed-request", |t| t.replace("\"tax\"", "\"taxes\"")),
    ("an unknown field", "malformed-request", |t| t.replacen('{', "{\"more\":1,", 1)),
    ("an unknown field inside", "malformed-request", |t| {
        t.replace("\"max_uses\"", "\"more\":1,\"max_uses\"")
    }),
    ("a field twice", "malformed-request", |t| t.replace("\"max_uses\"", "\"max_uses\":9,\"max_uses\"")),
    ("a missing field", "malformed-request", |t| t.replace("\"max_uses\":1,", "")),
    ("a negative number of uses", "malformed-request", |t| t.replace("\"max_uses\":1", "\"max_uses\":-1")),
    ("JSON that ends too early", "malformed-request", |t| t[..t.len() - 1].to_owned()),
    ("something after the JSON", "malformed-request", |t| t + "{}"),
    ("an empty body", "malformed-request", |_| String::new()),
    ("no JSON", "malformed-request", |_| "statement=1".to_owned()),
    ("deep JSON", "malformed-request", |_| "[".repeat(30_000)),
    ("deep JSON in an unknown field", "malformed-request", |_| {
        format!("{{\"more\":{}{}}}", "{\"a\":".repeat(5_000), "}".repeat(5_000))
    }),
    ("no UTF-8 behind an escape", "malformed-request", |t| t.replace("\"yrd-dev\"", "\"\\ud800\"")),
];

fn refused(c: &Consortium, agreement: Agreement, problem: &str) -> Result<()> {
    refused_body(c, &agreement.upload()?, problem)?;
    nothing_on_the_ledger(c, &agreement.statement)
}

fn refused_body(c: &Consortium, body: &Value, problem: &str) -> Result<()> {
    let found = c.bank(&Ask::post("/v1/authorizations", body))?.refused(problem)?;
    let subject = body["statement"]["subject"].as_str().unwrap_or_default();
    ensure!(!found.to_string().contains(subject), "the refusal repeats the company code");
    Ok(())
}

fn id_of(statement: &Statement) -> Result<String> {
    Ok(Authorization::of(statement)?.id.to_string())
}

fn nothing_on_the_ledger(c: &Consortium, statement: &Statement) -> Result<()> {
    let ask = Ask::get(&format!("/v1/authorizations/{}", id_of(statement)?));
    c.bank(&ask)?.refused("not-found").map(drop)
}

fn media_types(c: &Consortium) -> Result<()> {
    let agreement = Agreement::of(c, 1, 1)?;
    let body = agreement.upload()?.to_string().into_bytes();
    for media in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        // curl leaves a field without a value out
        let ask = Ask::new("POST", "/v1/authorizations", Some(body.clone())).header("Content-Type", media);
        c.bank(&ask)?.refused("unsupported-media-type")?;
    }
    nothing_on_the_ledger(c, &agreement.statement)
}

fn too_large(c: &Consortium) -> Result<()> {
    let body = vec![b' '; BODY_BYTES + 1];
    let told = Ask::post_bytes("/v1/authorizations", body.clone());
    c.bank(&told)?.refused("body-too-large")?;
    // HTTP/1.1 without a length: only counting helps
    let chunked = Ask::post_bytes("/v1/authorizations", body).header("Transfer-Encoding", "chunked");
    c.bank(&chunked.curl(&["--http1.1"]))?.refused("body-too-large")?;
    // exactly as much is read, and then it is not JSON
    c.bank(&Ask::post_bytes("/v1/authorizations", vec![b' '; BODY_BYTES]))?.refused("malformed-request")?;
    Ok(())
}

/// One byte a second would take a minute; the bound is 1.5 s.
fn too_slow(c: &Consortium) -> Result<()> {
    for version in ["--http1.1", "--http2"] {
        let ask = Ask::post_bytes("/v1/authorizations", vec![b' '; BODY_BYTES]);
        let ask = ask.curl(&[version, "--limit-rate", "1k"]);
        let reply = c.bank(&ask)?;
        same("status", reply.status, 408)?;
        reply.refused("body-too-slow")?;
    }
    Ok(())
}

fn digests(c: &Consortium) -> Result<()> {
    let agreement = Agreement::of(c, 1, 1)?;
    let body = agreement.upload()?.to_string();
    let right = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(&body));
    let wrong = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    for field in [format!("sha-256=:{wrong}:"), "md5=:AAAA:".to_owned(), "sha-256=".to_owned()] {
        let ask = Ask::post_bytes("/v1/authorizations", body.clone()).header("Content-Digest", &field);
        c.bank(&ask)?.refused("content-digest-mismatch")?;
    }
    nothing_on_the_ledger(c, &agreement.statement)?;
    let ask =
        Ask::post_bytes("/v1/authorizations", body).header("Content-Digest", &format!("sha-256=:{right}:"));
    c.bank(&ask)?.success(201).map(drop)
}

fn twice(c: &Consortium) -> Result<()> {
    let upload = Agreement::of(c, 1, 1)?.upload()?;
    let first = c.bank(&Ask::post("/v1/authorizations", &upload))?.success(201)?;
    let second = c.bank(&Ask::post("/v1/authorizations", &upload))?.success(201)?;
    same("state", second, first)
}

/// Another member writes the bank's authorization to the ledger first: as its own, and in the bank's name.
fn squatted(c: &Consortium) -> Result<()> {
    let thief = Thief::of(c, OTHER_BANK)?;
    let agreement = Agreement::of(c, 1, 3)?;
    let wanted = Authorization::of(&agreement.statement)?;
    let short = UnixMillis(now().plus(Duration::from_secs(5)).0);
    let as_own = Authorization { holder: "bank-nanjing".parse()?, ..wanted.clone() };
    let in_their_name = Authorization { not_after: short, ..wanted.clone() };
    for record in [as_own, in_their_name] {
        thief.write(vec![Record::Authorization(record)])?;
    }
    nothing_on_the_ledger(c, &agreement.statement)?;
    let id = c.authorize(&agreement.upload()?)?;
    same("id", id, wanted.id.to_string())?;
    let ask = Ask::get(&format!("/v1/authorizations/{}", wanted.id));
    let found = c.call(&c.credit_system(), BANK, Listener::Bank, &ask)?.answer()?.success(200)?;
    same("not_after", found["not_after"].as_u64(), Some(wanted.not_after.0))?;
    same("max_uses", found["max_uses"].as_u64(), Some(3))
}
