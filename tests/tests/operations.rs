//! Who may call what: every operation × every kind of caller, from the table in the binary.
//!
//! An operation without an example below fails the test, and so does an example without an operation.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

use anyhow::{Context as _, Result, bail, ensure};
use blackbox::{
    Agreement, Ask, BANK, Caller, Cases, Consortium, HANGZHOU, Listener, OTHER_BANK, Outcome, Profile,
    SUPERVISOR,
    harness::{
        caller,
        cases::same,
        inside::{Inside, Kind},
        process::run_well,
        thief::{Thief, opening},
    },
};
use serde_json::{Value, json};

#[test]
fn every_operation_by_every_caller() {
    walk().unwrap();
}

/// One row of `xinguan dev operations`.
struct Operation {
    listener: Listener,
    method: String,
    path: String,
    who: String,
}

/// An example of an operation: where, what, and what becomes of it when the caller may.
struct Example {
    gateway: &'static str,
    ask: Ask,
    then: Then,
}

/// What becomes of a call.
#[derive(Debug, Clone)]
enum Then {
    /// a success
    Done(u16),
    /// a refusal of this type
    Refused(&'static str),
    /// no HTTP: the handshake fails, for this reason in the listener's metric
    NoHandshake(&'static str),
}

/// A kind of caller on the listeners of an institution's own people.
struct Person {
    what: String,
    caller: Caller,
    is: Is,
}

enum Is {
    /// an operator with this one role
    Operator(&'static str),
    /// in the hands of somebody whom nobody lists
    Unlisted,
    /// not even a connection
    Refused(&'static str),
}

fn walk() -> Result<()> {
    let c = Consortium::make(Profile::International)?;
    let people = [people(&c, BANK)?, people(&c, SUPERVISOR)?];
    c.start_all()?;
    let operations = operations()?;
    let examples = examples(&c)?;
    every_operation_has_an_example(&operations, &examples)?;
    let mut cases = Cases::new();
    // first: the signed request among the examples is good for a minute
    for (what, caller, is) in nodes(&c)? {
        cases.case(&format!("man by {what}"), || {
            let mut rows = operations.iter().filter(|o| o.listener == Listener::Man);
            rows.try_for_each(|o| by_node(&c, example_of(&examples, o)?, &caller, &is))
        });
    }
    for (gateway, people) in [BANK, SUPERVISOR].into_iter().zip(&people) {
        for listener in [Listener::Bank, Listener::Admin] {
            let of = |o: &&Operation| o.listener == listener && !o.path.ends_with("/drain");
            let rows: Vec<_> = operations.iter().filter(of).collect();
            for person in people {
                cases.case(&format!("{gateway} {} by {}", listener.name(), person.what), || {
                    by_person(&c, gateway, &rows, &examples, person)
                });
            }
        }
    }
    cases.case("a client of the other profile", || other_profile(&c));
    let drain = operations.iter().find(|o| o.path.ends_with("/drain")).context("no drain")?;
    let [bank, _] = &people;
    cases.case("drain by everybody, last by who may", || drained(&c, drain, &examples, bank));
    cases.end()
}

fn operations() -> Result<Vec<Operation>> {
    let out = run_well(&["dev", "operations"])?;
    let rows: Vec<Value> = serde_json::from_slice(&out.stdout)?;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.iter()
        .map(|row| {
            let listener = match text(row, "listener").as_str() {
                "bank" => Listener::Bank,
                "man" => Listener::Man,
                "admin" => Listener::Admin,
                other => bail!("unknown listener {other}"),
            };
            let (method, path, who) = (text(row, "method"), text(row, "path"), text(row, "who"));
            Ok(Operation { listener, method, path, who })
        })
        .collect()
}

type Examples = Vec<((Listener, &'static str, &'static str), Example)>;

/// THE table of examples: adding an operation? A row here.
fn examples(c: &Consortium) -> Result<Examples> {
    use Then::{Done, Refused};
    let shown = Agreement::of(c, 1, 5)?;
    let shown_id = c.authorize(&shown.upload()?)?;
    let ended = c.authorize(&Agreement::of(c, 2, 5)?.upload()?)?;
    let thief = Thief::of(c, OTHER_BANK)?;
    let at = thief.place(gw_proto::Height(1))?;
    // a request that is right in every way, but nobody has reserved its use
    let t = opening(&thief.institution, &shown.statement)?;
    let request = thief.request(HANGZHOU, &shown.statement, &shown.evidence()?, &t, at)?;
    let request = serde_json::to_value(thief.signed(request)?)?;
    let query = json!({ "authorization_id": "0".repeat(64), "subject": shown.statement.subject,
                        "purpose": "01", "dimensions": ["basic"] });
    let look = json!({ "subject": shown.statement.subject, "reason": "table of operations" });
    let traces = format!("subject={}&reason=table+of+operations", shown.statement.subject.expose());
    let traces = Ask::new("POST", "/console/traces", Some(traces.into_bytes()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Sec-Fetch-Site", "same-origin");
    let row = |listener, method, path, gateway, ask, then| {
        ((listener, method, path), Example { gateway, ask, then })
    };
    let (bank, man, admin) = (Listener::Bank, Listener::Man, Listener::Admin);
    Ok(vec![
        row(
            bank,
            "POST",
            "/v1/authorizations",
            BANK,
            Ask::post("/v1/authorizations", &shown.upload()?),
            Done(201),
        ),
        row(
            bank,
            "GET",
            "/v1/authorizations/{id}",
            BANK,
            Ask::get(&format!("/v1/authorizations/{shown_id}")),
            Done(200),
        ),
        row(
            bank,
            "POST",
            "/v1/authorizations/{id}/revocation",
            BANK,
            Ask::post(&format!("/v1/authorizations/{ended}/revocation"), &json!({})),
            Done(200),
        ),
        row(
            bank,
            "POST",
            "/v1/reports",
            BANK,
            Ask::post("/v1/reports", &query),
            Refused("authorization-missing"),
        ),
        row(
            bank,
            "GET",
            "/v1/traces",
            BANK,
            Ask::get(&format!("/v1/traces?authorization_id={shown_id}")),
            Done(200),
        ),
        row(bank, "GET", "/v1/catalogue", BANK, Ask::get("/v1/catalogue"), Done(200)),
        row(bank, "GET", "/v1/catalogue/schema", BANK, Ask::get("/v1/catalogue/schema"), Done(200)),
        row(bank, "GET", "/openapi.json", BANK, Ask::get("/openapi.json"), Done(200)),
        row(bank, "GET", "/problems", BANK, Ask::get("/problems"), Done(200)),
        row(
            man,
            "POST",
            "/man/v1/queries",
            HANGZHOU,
            Ask::post("/man/v1/queries", &request),
            Refused("authorization-missing"),
        ),
        row(
            man,
            "POST",
            "/man/v1/deliveries",
            SUPERVISOR,
            Ask::post("/man/v1/deliveries", &json!({})),
            Refused("malformed-request"),
        ),
        // this supervisor judges no evidence: whoever may ask is told so
        row(
            man,
            "POST",
            "/man/v1/activations",
            SUPERVISOR,
            Ask::post("/man/v1/activations", &json!({})),
            Refused("attestation-not-enrolled"),
        ),
        row(
            man,
            "POST",
            "/man/v1/activations/{id}/secret",
            SUPERVISOR,
            Ask::post(
                &format!("/man/v1/activations/{}/secret", "0".repeat(64)),
                &json!({"secret": "0".repeat(64)}),
            ),
            Refused("attestation-not-enrolled"),
        ),
        row(
            man,
            "POST",
            "/man/v1/challenges",
            SUPERVISOR,
            Ask::post("/man/v1/challenges", &json!({})),
            Refused("attestation-not-enrolled"),
        ),
        row(
            man,
            "POST",
            "/man/v1/challenges/{id}/evidence",
            SUPERVISOR,
            Ask::post(&format!("/man/v1/challenges/{}/evidence", "0".repeat(64)), &json!({})),
            Refused("attestation-not-enrolled"),
        ),
        row(
            man,
            "POST",
            "/man/v1/summons",
            SUPERVISOR,
            Ask::post("/man/v1/summons", &json!({})),
            Refused("attestation-not-enrolled"),
        ),
        row(
            admin,
            "POST",
            "/admin/v1/devices/{id}/challenge",
            SUPERVISOR,
            Ask::post("/admin/v1/devices/bank-suzhou-1/challenge", &json!({})),
            Refused("attestation-not-enrolled"),
        ),
        row(
            admin,
            "GET",
            "/admin/v1/policy",
            SUPERVISOR,
            Ask::get("/admin/v1/policy"),
            Refused("attestation-not-enrolled"),
        ),
        row(
            admin,
            "POST",
            "/admin/v1/enrolments",
            SUPERVISOR,
            Ask::post("/admin/v1/enrolments", &json!({})),
            Refused("malformed-request"),
        ),
        row(
            admin,
            "GET",
            "/admin/v1/devices",
            SUPERVISOR,
            Ask::get("/admin/v1/devices"),
            Refused("attestation-not-enrolled"),
        ),
        row(
            admin,
            "GET",
            "/admin/v1/devices/{id}/appraisal",
            SUPERVISOR,
            Ask::get("/admin/v1/devices/bank-suzhou-1/appraisal"),
            Refused("attestation-not-enrolled"),
        ),
        row(
            admin,
            "GET",
            "/console/",
            SUPERVISOR,
            Ask::get("/console/"),
            Refused("attestation-not-enrolled"),
        ),
        row(
            admin,
            "GET",
            "/console/devices/{id}",
            SUPERVISOR,
            Ask::get("/console/devices/bank-suzhou-1"),
            Refused("attestation-not-enrolled"),
        ),
        row(admin, "GET", "/console/traces", SUPERVISOR, Ask::get("/console/traces"), Done(200)),
        row(admin, "POST", "/console/traces", SUPERVISOR, traces, Done(200)),
        row(admin, "GET", "/console/chain", SUPERVISOR, Ask::get("/console/chain"), Done(200)),
        row(admin, "GET", "/console/limits", SUPERVISOR, Ask::get("/console/limits"), Done(200)),
        row(
            admin,
            "POST",
            "/admin/v1/proposals",
            SUPERVISOR,
            Ask::post(
                "/admin/v1/proposals",
                &json!({"what": {"act": "decommission", "device": BANK}, "reason": "test"}),
            ),
            Refused("attestation-not-enrolled"),
        ),
        row(
            admin,
            "GET",
            "/admin/v1/proposals",
            SUPERVISOR,
            Ask::get("/admin/v1/proposals"),
            Refused("attestation-not-enrolled"),
        ),
        row(
            admin,
            "POST",
            "/admin/v1/proposals/{id}/approval",
            SUPERVISOR,
            Ask::post("/admin/v1/proposals/1/approval", &json!({})),
            Refused("attestation-not-enrolled"),
        ),
        row(
            admin,
            "POST",
            "/admin/v1/proposals/{id}/refusal",
            SUPERVISOR,
            Ask::post("/admin/v1/proposals/1/refusal", &json!({"reason": "test"})),
            Refused("attestation-not-enrolled"),
        ),
        row(
            admin,
            "POST",
            "/admin/v1/proposals/{id}/withdrawal",
            SUPERVISOR,
            Ask::post("/admin/v1/proposals/1/withdrawal", &json!({"reason": "test"})),
            Refused("attestation-not-enrolled"),
        ),
        row(admin, "GET", "/admin/v1/audit", SUPERVISOR, Ask::get("/admin/v1/audit"), Done(200)),
        row(
            admin,
            "GET",
            "/console/proposals",
            SUPERVISOR,
            Ask::get("/console/proposals"),
            Refused("attestation-not-enrolled"),
        ),
        row(admin, "GET", "/healthz", BANK, Ask::get("/healthz"), Done(200)),
        row(admin, "GET", "/readyz", BANK, Ask::get("/readyz"), Done(200)),
        row(admin, "GET", "/metrics", BANK, Ask::get("/metrics"), Done(200)),
        row(admin, "GET", "/admin/v1/status", BANK, Ask::get("/admin/v1/status"), Done(200)),
        row(
            admin,
            "GET",
            "/admin/v1/verdicts/{id}",
            BANK,
            Ask::get(&format!("/admin/v1/verdicts/{HANGZHOU}")),
            Done(200),
        ),
        row(admin, "POST", "/admin/v1/drain", BANK, Ask::post("/admin/v1/drain", &json!({})), Done(200)),
        row(admin, "POST", "/admin/v1/looks", SUPERVISOR, Ask::post("/admin/v1/looks", &look), Done(200)),
        row(
            admin,
            "GET",
            "/admin/v1/reconciliation",
            SUPERVISOR,
            Ask::get("/admin/v1/reconciliation"),
            Done(200),
        ),
    ])
}

fn every_operation_has_an_example(operations: &[Operation], examples: &Examples) -> Result<()> {
    for o in operations {
        example_of(examples, o)?;
    }
    same("operations and examples", operations.len(), examples.len())
}

fn example_of<'a>(examples: &'a Examples, o: &Operation) -> Result<&'a Example> {
    let found = examples
        .iter()
        .find(|((l, m, p), _)| (*l, *m, *p) == (o.listener, o.method.as_str(), o.path.as_str()));
    let (_, example) = found.with_context(|| format!("no example of {} {}", o.method, o.path))?;
    Ok(example)
}

fn people(c: &Consortium, gateway: &str) -> Result<Vec<Person>> {
    let inside = Inside::make(c, gateway)?;
    let other = Inside::named(c, gateway, "another root")?;
    let same_name = Inside::make(c, gateway)?;
    let person = |what: &str, caller, is| Person { what: what.to_owned(), caller, is };
    let roles = ["query", "upload", "view", "operator", "auditor"];
    let mut all = Vec::new();
    for role in roles {
        // the consortium's own operators have more than one role
        let name = format!("only-{role}");
        all.push(person(&name, inside.client(&name, Kind::Good)?, Is::Operator(role)));
    }
    let revoked = inside.client("revoked", Kind::Good)?;
    inside.revoke(&[&revoked])?;
    let listed: Vec<_> =
        all.iter().zip(roles.chunks(1)).map(|(p, r)| (&p.caller, (p.what.as_str(), r))).collect();
    let also = (&revoked, ("revoked", &roles[..]));
    inside.install(c, gateway, &[listed, vec![also]].concat())?;
    all.push(person("nobody", Caller::nobody(&revoked.roots), Is::Refused("no-certificate")));
    all.push(person(
        "a client of an unknown root",
        other.client("stranger", Kind::Good)?,
        Is::Refused("unknown-issuer"),
    ));
    let stranger = same_name.client("stranger", Kind::Good)?;
    all.push(person("a client of another root of the same name", stranger, Is::Refused("bad-signature")));
    all.push(person("an unlisted client", inside.client("unlisted", Kind::Good)?, Is::Unlisted));
    all.push(person("an expired client", inside.client("expired", Kind::Expired)?, Is::Refused("expired")));
    all.push(person(
        "a client of tomorrow",
        inside.client("early", Kind::Early)?,
        Is::Refused("not-yet-valid"),
    ));
    all.push(person("a revoked operator", revoked, Is::Refused("revoked")));
    let documents = inside.client("documents", Kind::ForDocuments)?;
    all.push(person("a signer of documents", documents, Is::Refused("wrong-usage")));
    let server = inside.client_by_openssl("server", "P-256", "serverAuth")?;
    all.push(person("a server's certificate", server, Is::Refused("wrong-usage")));
    let p384 = inside.client_by_openssl("p384", "P-384", "clientAuth")?;
    // openssl has no signature scheme in common with us, and so shows no certificate
    all.push(person("a P-384 client", p384, Is::Refused("no-certificate")));
    let node = Thief::of(c, BANK)?.caller(c, &format!("node-at-{gateway}"))?;
    all.push(person("a node's TLS certificate", node, Is::Refused("unknown-issuer")));
    Ok(all)
}

/// An auditor reads what a viewer reads.
fn may(role: &str, needed: &str) -> bool {
    role == needed || (role, needed) == ("auditor", "view")
}

/// What an operation's row says of a person.
fn expected(o: &Operation, example: &Example, person: &Person) -> Then {
    match (&person.is, o.who.as_str()) {
        (Is::Refused(why), _) => Then::NoHandshake(why),
        (_, "any-certificate") => example.then.clone(),
        (Is::Unlisted, _) => Then::Refused("caller-not-listed"),
        (Is::Operator(_), "any-operator") => example.then.clone(),
        (Is::Operator(role), who) if who.split('|').any(|needed| may(role, needed)) => example.then.clone(),
        (Is::Operator(_), _) => Then::Refused("role-missing"),
    }
}

fn by_person(
    c: &Consortium,
    gateway: &str,
    rows: &[&Operation],
    examples: &Examples,
    person: &Person,
) -> Result<()> {
    let mut wrong = Vec::new();
    for o in rows {
        let example = example_of(examples, o)?;
        if example.gateway != gateway {
            continue;
        }
        let result = check(c, example, o.listener, &person.caller, &expected(o, example, person));
        wrong.extend(result.err().map(|e| format!("{} {}: {e:#}", o.method, o.path)));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

fn check(c: &Consortium, example: &Example, listener: Listener, caller: &Caller, then: &Then) -> Result<()> {
    let before = failures(c, example, listener, then)?;
    let outcome = c.call(caller, example.gateway, listener, &example.ask)?;
    match (then, outcome) {
        (Then::Done(status), Outcome::Answer(reply)) => {
            ensure!(
                reply.status == *status,
                "HTTP {}: {}",
                reply.status,
                String::from_utf8_lossy(&reply.body)
            );
            Ok(())
        }
        (Then::Refused(problem), Outcome::Answer(reply)) => reply.refused(problem).map(drop),
        (Then::NoHandshake(why), Outcome::None(_)) => {
            let after = failures(c, example, listener, then)?;
            ensure!(after - before == 1.0, "not counted as `{why}`: {before} before, {after} after");
            Ok(())
        }
        (then, outcome) => bail!("{outcome:?} instead of {then:?}"),
    }
}

/// How many handshakes have failed for the reason that is expected now.
fn failures(c: &Consortium, example: &Example, listener: Listener, then: &Then) -> Result<f64> {
    let Then::NoHandshake(why) = then else { return Ok(0.0) };
    let name =
        format!("xinguan_handshakes_failed_total{{listener=\"{}\",reason=\"{why}\"}}", listener.name());
    c.metric(example.gateway, &name)
}

/// SM2 certificates and RFC 8998 at a listener of the international profile: nothing in common.
fn other_profile(c: &Consortium) -> Result<()> {
    let sm = Consortium::make(Profile::Sm)?;
    let incompatible =
        || c.metric(BANK, "xinguan_handshakes_failed_total{listener=\"bank\",reason=\"incompatible\"}");
    let before = incompatible()?;
    let url = format!("https://{}/v1/catalogue", c.address(BANK, Listener::Bank)?);
    let caller = Caller { roots: c.file("pki/man-root.pem"), ..sm.credit_system() };
    let of_sm =
        caller::send(Profile::Sm, &sm.credit_system(), &url, &Ask::get("/v1/catalogue"), &c.path(""))?;
    ensure!(matches!(of_sm, Outcome::None(_)), "{of_sm:?}");
    same("handshakes that failed as incompatible", incompatible()?, before + 1.0)?;
    // a P-256 client that shows an SM2 certificate: curl does not even read it
    let mixed = caller::send(Profile::International, &caller, &url, &Ask::get("/v1/catalogue"), &c.path(""))?;
    ensure!(matches!(mixed, Outcome::None(_)), "{mixed:?}");
    Ok(())
}

/// Callers of the MAN listeners, and what becomes of them; `None`: what the example says.
fn nodes(c: &Consortium) -> Result<Vec<(&'static str, Caller, Option<Then>)>> {
    let listed = Thief::bound(c, OTHER_BANK)?;
    let unbound = Thief::of(c, BANK)?;
    let mut posing = Thief::of(c, OTHER_BANK)?;
    posing.pose_as(BANK)?;
    let roots = c.file("pki/man-root.pem");
    let operator = Caller { roots: roots.clone(), ..c.credit_system() };
    let nobody_listed = Some(Then::Refused("caller-not-listed"));
    Ok(vec![
        ("a listed node", listed.caller(c, "listed")?, None),
        ("a node whose TLS key is not bound", unbound.caller(c, "unbound")?, nobody_listed.clone()),
        ("a node that names another", posing.caller(c, "posing")?, nobody_listed),
        ("an operator", operator, Some(Then::NoHandshake("unknown-issuer"))),
        ("nobody", Caller::nobody(&roots), Some(Then::NoHandshake("no-certificate"))),
    ])
}

fn by_node(c: &Consortium, example: &Example, caller: &Caller, is: &Option<Then>) -> Result<()> {
    check(c, example, Listener::Man, caller, is.as_ref().unwrap_or(&example.then))
}

/// Draining refuses new work and keeps administration; it is the last thing done to this gateway.
fn drained(c: &Consortium, drain: &Operation, examples: &Examples, people: &[Person]) -> Result<()> {
    let (may, may_not): (Vec<_>, Vec<_>) =
        people.iter().partition(|p| matches!(p.is, Is::Operator(role) if role == drain.who));
    for person in may_not {
        by_person(c, BANK, &[drain], examples, person).with_context(|| person.what.clone())?;
        ensure!(c.admin(BANK, &Ask::get("/readyz"))?.answer()?.status == 200, "{} drained it", person.what);
    }
    same("who may drain", may.len(), 1)?;
    for person in may {
        by_person(c, BANK, &[drain], examples, person).with_context(|| person.what.clone())?;
    }
    c.bank(&Ask::get("/v1/catalogue"))?.refused("draining")?;
    let readiness = c.admin(BANK, &Ask::get("/readyz"))?.answer()?.success(503)?;
    ensure!(readiness["reasons"][0].as_str().unwrap_or_default().starts_with("draining"), "{readiness}");
    c.admin(BANK, &Ask::get("/healthz"))?.answer()?.success(200).map(drop)
}
