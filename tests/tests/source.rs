//! At a source: an asker with real keys that breaks the rules gets nothing.
//!
//! The asker is a thief with the node key of a listed bank whose gateway does not run, sometimes also with that
//! of the bank whose gateway does. Every refusal has its name, and no data leaves a source with it.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON by member: one that is missing is null, and the check that follows says so"
)]

use anyhow::{Context as _, Result, ensure};
use blackbox::{
    Agreement, BANK, Cases, Consortium, HANGZHOU, HEFEI, OTHER_BANK, Profile, Reply, SUPERVISOR,
    harness::{
        agreement::{now, random},
        cases::same,
        consortium::{quota, set},
        thief::{Place, Thief, opening},
        wait,
    },
};
use gw_proto::{
    Commitment, Dimension, Height, Hex, Purpose, Standing, UnixMillis,
    fisco::encode_put_input,
    merkle::LeafKind,
    message::{DeliveredOutcome, Delivery, Evidence, Opening, Request, SignedRequest, Statement, VERSION},
    record::{Authorization, Record, Refund, Reservation, Revocation, Side, StandingChange, TraceStatus},
};
use std::time::Duration;

#[test]
fn a_malicious_asker_gets_nothing() {
    tries().unwrap();
}

/// A thief with an authorization of its own on the ledger.
struct Bad<'a> {
    c: &'a Consortium,
    thief: Thief,
    statement: Statement,
    evidence: Evidence,
}

/// What is asked at HANGZHOU: a request that would be answered, and its reservation.
struct Good {
    t: Opening,
    request: Request,
}

impl Bad<'_> {
    /// Another authorization of the same enterprise, for `uses` uses.
    fn authorized(&self, uses: u32, change: impl FnOnce(&mut Statement)) -> Result<(Statement, Evidence)> {
        let a =
            Agreement::of(self.c, 1, uses)?.with(|s| s.holder = self.thief.institution.clone()).with(change);
        self.thief.write(vec![Record::Authorization(Authorization::of(&a.statement)?)])?;
        Ok((a.statement.clone(), a.evidence()?))
    }

    /// Reserved, and right in every way.
    fn good(&self) -> Result<Good> {
        let t = opening(&self.thief.institution, &self.statement)?;
        let at = self.thief.reserve(&t)?;
        let request = self.thief.request(HANGZHOU, &self.statement, &self.evidence, &t, at)?;
        Ok(Good { t, request })
    }

    fn ask(&self, request: Request) -> Result<Reply> {
        self.send(&self.thief.signed(request)?)
    }
    fn send(&self, request: &SignedRequest) -> Result<Reply> {
        self.thief.ask(self.c, HANGZHOU, request)
    }

    /// A reservation of `t` at `at`, asked with the own statement.
    fn ask_about(&self, t: &Opening, at: Place) -> Result<Reply> {
        self.ask(self.thief.request(HANGZHOU, &self.statement, &self.evidence, t, at)?)
    }

    /// Refused by this name, and no source has answered anything meanwhile.
    fn nothing(&self, problem: &str, run: impl FnOnce() -> Result<Reply>) -> Result<()> {
        let before = self.answered()?;
        let found = run()?.refused(problem)?;
        ensure!(
            !found.to_string().contains(self.statement.subject.expose()),
            "the refusal repeats the company code"
        );
        same("answers given", self.answered()?, before)
    }

    fn answered(&self) -> Result<f64> {
        let name = "xinguan_calls_total{op=\"answer-query\",outcome=\"ok\"}";
        Ok(self.c.metric(HANGZHOU, name)? + self.c.metric(HEFEI, name)?)
    }
}

fn tries() -> Result<()> {
    let c = Consortium::running(Profile::International)?;
    let thief = Thief::bound(&c, OTHER_BANK)?;
    let a = Agreement::of(&c, 1, 90)?.with(|s| s.holder = thief.institution.clone());
    thief.write(vec![Record::Authorization(Authorization::of(&a.statement)?)])?;
    let bad = Bad { c: &c, thief, evidence: a.evidence()?, statement: a.statement };
    let mut cases = Cases::new();
    cases.case("what is right is answered, and again with the same snapshot", || answered_twice(&bad));
    reservations(&mut cases, &bad);
    requests(&mut cases, &bad);
    scope(&mut cases, &bad);
    the_ledger(&mut cases, &bad);
    cases.case("deliveries in others' names", || deliveries(&bad));
    cases.case("an institution that a supervisor has blocked", || blocked(&bad));
    cases.case("more requests than the source's limit for an institution", || flood(&bad));
    cases.end()
}

fn answered_twice(bad: &Bad<'_>) -> Result<()> {
    let Good { request, .. } = bad.good()?;
    let first = bad.ask(request.clone())?.success(200)?;
    same("status", first["reply"]["status"].as_str(), Some("answered"))?;
    ensure!(first["reply"]["items"].as_array().is_some_and(|i| !i.is_empty()), "no items");
    let again = bad.ask(Request { nonce: Hex(random()?), ..request })?.success(200)?;
    same("items", &again["reply"]["items"], &first["reply"]["items"])?;
    same("snapshot's time", &again["reply"]["as_of"], &first["reply"]["as_of"])?;
    ensure!(again["reply"]["channel"] != first["reply"]["channel"], "one channel for two connections");
    Ok(())
}

/// Without a reservation of one's own that stands, nothing.
fn reservations(cases: &mut Cases, bad: &Bad<'_>) {
    cases.case("no reservation", || {
        let t = opening(&bad.thief.institution, &bad.statement)?;
        let at = bad.good()?.request;
        let at = Place { height: at.height, hash: at.hash, time: UnixMillis(0) };
        bad.nothing("reservation-missing", || bad.ask_about(&t, at))
    });
    cases.case("a reservation by another institution's node", || {
        let t = opening(&bad.thief.institution, &bad.statement)?;
        let at = Thief::of(bad.c, BANK)?.reserve(&t)?;
        bad.nothing("reservation-missing", || bad.ask_about(&t, at))
    });
    cases.case("another institution's authorization and reservation", || {
        let bank = Thief::of(bad.c, BANK)?;
        let a = Agreement::of(bad.c, 1, 5)?;
        bad.c.authorize(&a.upload()?)?;
        let t = opening(&bank.institution, &a.statement)?;
        let at = bank.reserve(&t)?;
        let request = bad.thief.request(HANGZHOU, &a.statement, &a.evidence()?, &t, at)?;
        bad.nothing("authorization-missing", || bad.ask(request))
    });
    cases.case("an opening that does not match the commitment", || {
        let t = opening(&bad.thief.institution, &bad.statement)?;
        let mut record = reservation(&t)?;
        record.commitment = Commitment(Hex(random()?));
        let at = bad.thief.write(vec![Record::Reservation(record)])?;
        bad.nothing("commitment-mismatch", || bad.ask_about(&t, at))
    });
    cases.case("an opening with another purpose under the id of one that is reserved", || {
        let Good { t, mut request } = bad.good()?;
        request.opening = Opening { purpose: Purpose::PostLoan, ..t };
        bad.nothing("reservation-missing", || bad.ask(request))
    });
    cases.case("a statement that is not the committed one", || {
        let mut request = bad.good()?.request;
        request.statement.max_uses += 1;
        bad.nothing("commitment-mismatch", || bad.ask(request))
    });
    cases.case("a reservation whose deadline has passed", || {
        let t = opening(&bad.thief.institution, &bad.statement)?;
        let record = Reservation { deadline: now().plus(Duration::from_millis(1_500)), ..reservation(&t)? };
        let at = bad.thief.write(vec![Record::Reservation(record.clone())])?;
        wait::until("the deadline has passed", Duration::from_secs(10), || {
            ensure!(now().0 > record.deadline.0 + 100, "not yet");
            Ok(())
        })?;
        bad.nothing("reservation-expired", || bad.ask_about(&t, at))
    });
    cases.case("a reservation that a supervisor gave back", || {
        let Good { t, mut request } = bad.good()?;
        let refund = Refund { asker: bad.thief.institution.clone(), report_id: t.report_id };
        let at = Thief::of(bad.c, SUPERVISOR)?.write(vec![Record::Refund(refund)])?;
        (request.height, request.hash) = (at.height, at.hash);
        bad.nothing("reservation-missing", || bad.ask(request))
    });
    cases.case("two reservations for the last use: every source refuses the second", || last_use(bad));
    cases.case("revoked after the reservation", || {
        let (s, e) = bad.authorized(2, |_| {})?;
        let t = opening(&bad.thief.institution, &s)?;
        bad.thief.reserve(&t)?;
        let record = Revocation { authz_id: t.authz_id, preimage: None };
        let at = bad.thief.write(vec![Record::Revocation(record)])?;
        bad.nothing("authorization-revoked", || bad.ask(bad.thief.request(HANGZHOU, &s, &e, &t, at)?))
    });
}

fn reservation(t: &Opening) -> Result<Reservation> {
    Ok(Reservation {
        report_id: t.report_id,
        authz_id: t.authz_id,
        commitment: t.commitment()?,
        deadline: now().plus(Duration::from_secs(60)),
    })
}

fn last_use(bad: &Bad<'_>) -> Result<()> {
    let (s, e) = bad.authorized(1, |_| {})?;
    let (first, second) = (opening(&bad.thief.institution, &s)?, opening(&bad.thief.institution, &s)?);
    // in one batch: the chain's order is the order of the records
    let records = vec![Record::Reservation(reservation(&first)?), Record::Reservation(reservation(&second)?)];
    let at = bad.thief.write(records)?;
    for source in [HANGZHOU, HEFEI] {
        bad.nothing("reservation-refused", || {
            let request = bad.thief.request(source, &s, &e, &second, at)?;
            bad.thief.ask(bad.c, source, &bad.thief.signed(request)?)
        })?;
        let request = bad.thief.request(source, &s, &e, &first, at)?;
        bad.thief.ask(bad.c, source, &bad.thief.signed(request)?)?.success(200)?;
    }
    Ok(())
}

/// A good reservation does not help a request that is not from whom, to whom, or from when it says.
fn requests(cases: &mut Cases, bad: &Bad<'_>) {
    cases.case("the same request twice", || {
        let request = bad.thief.signed(bad.good()?.request)?;
        bad.send(&request)?.success(200)?;
        bad.nothing("request-replayed", || bad.send(&request))
    });
    cases.case("the same nonce in another request", || {
        let request = bad.good()?.request;
        bad.ask(request.clone())?.success(200)?;
        let other = Request { nonce: request.nonce, ..bad.good()?.request };
        bad.nothing("request-replayed", || bad.ask(other))
    });
    cases.case("a request for one source sent to another", || {
        let request = bad.thief.signed(bad.good()?.request)?;
        bad.send(&request)?.success(200)?;
        bad.nothing("signature-invalid", || bad.thief.ask(bad.c, HEFEI, &request))
    });
    cases.case("the other source's name written over it", || {
        let mut request = bad.thief.signed(bad.good()?.request)?;
        request.request.audience = HEFEI.parse()?;
        bad.nothing("signature-invalid", || bad.thief.ask(bad.c, HEFEI, &request))
    });
    cases.case("expired", || {
        let request = Request { expires: UnixMillis(now().0 - 10), ..bad.good()?.request };
        bad.nothing("request-replayed", || bad.ask(request))
    });
    cases.case("valid for longer than nonces are remembered", || {
        let request = Request { expires: now().plus(Duration::from_secs(90)), ..bad.good()?.request };
        bad.nothing("request-replayed", || bad.ask(request))
    });
    cases.case("decided at a height that nobody has", || {
        let request = bad.good()?.request;
        let request = Request { height: Height(request.height.0 + 1_000), ..request };
        bad.nothing("height-not-reached", || bad.ask(request))
    });
    cases.case("decided on another block of that height", || {
        let request = Request { hash: Hex(random()?), ..bad.good()?.request };
        bad.nothing("ledger-alarm", || bad.ask(request))
    });
    cases.case("signed by another node than the connection's", || {
        let bank = Thief::of(bad.c, BANK)?;
        let request = Request { asker: BANK.parse()?, ..bad.good()?.request };
        bad.nothing("signature-invalid", || bad.send(&bank.signed(request)?))
    });
    cases.case("in one's own name, signed by another node", || {
        let bank = Thief::of(bad.c, BANK)?;
        let request = bad.good()?.request;
        bad.nothing("signature-invalid", || bad.send(&bank.signed(request)?))
    });
    cases.case("a signature for another kind of message", || {
        let request = bad.good()?.request;
        let proof = bad.thief.sign(LeafKind::Reply, HANGZHOU, request.digest()?)?;
        bad.nothing("signature-invalid", || bad.send(&SignedRequest { request, proof }))
    });
    cases.case("changed after the signature", || {
        let mut request = bad.thief.signed(bad.good()?.request)?;
        request.request.nonce = Hex(random()?);
        bad.nothing("signature-invalid", || bad.send(&request))
    });
    cases.case("another version", || {
        let request = Request { v: VERSION + 1, ..bad.good()?.request };
        bad.nothing("malformed-request", || bad.ask(request))
    });
    cases.case("a TLS key that the ledger does not bind to the node", || {
        let unbound = Thief::of(bad.c, OTHER_BANK)?;
        let request = bad.good()?.request;
        bad.nothing("caller-not-listed", || unbound.ask(bad.c, HANGZHOU, &unbound.signed(request)?))
    });
}

/// Everything is signed and reserved, but reaches beyond what the enterprise agreed to.
fn scope(cases: &mut Cases, bad: &Bad<'_>) {
    let beyond = |change: &dyn Fn(&mut Statement)| -> Result<Reply> {
        // the opening is made of a statement that reaches farther, under the id of the real one
        let mut wished = bad.statement.clone();
        change(&mut wished);
        let own = opening(&bad.thief.institution, &bad.statement)?;
        let far = opening(&bad.thief.institution, &wished)?;
        let by = &bad.thief.institution;
        let t = Opening::new(
            by,
            own.authz_id,
            far.subject,
            far.purpose,
            far.dimensions,
            far.operator_tag,
            far.salt,
        )?;
        bad.ask_about(&t, bad.thief.reserve(&t)?)
    };
    cases.case("a dimension beyond the authorization", || {
        bad.nothing("dimension-not-authorized", || beyond(&|s| s.dimensions.insert(1, Dimension::Legal)))
    });
    cases.case("a purpose beyond the authorization", || {
        bad.nothing("purpose-mismatch", || beyond(&|s| s.purposes = vec![Purpose::Other]))
    });
    cases.case("another enterprise than the authorization's", || {
        let other = Agreement::of(bad.c, 2, 1)?.statement.subject;
        bad.nothing("subject-mismatch", || beyond(&|s| s.subject = other.clone()))
    });
    cases.case("a source outside the authorization's regions", || {
        let (s, e) = bad.authorized(2, |s| s.regions.retain(|r| r.as_str() != "330100"))?;
        let t = opening(&bad.thief.institution, &s)?;
        let at = bad.thief.reserve(&t)?;
        bad.nothing("dimension-not-authorized", || bad.ask(bad.thief.request(HANGZHOU, &s, &e, &t, at)?))
    });
    cases.case("an authorization that the enterprise never signed", || {
        let (s, _) = bad.authorized(2, |_| {})?;
        let other = Agreement::of(bad.c, 2, 2)?.with(|o| *o = s.clone()).evidence()?;
        let t = opening(&bad.thief.institution, &s)?;
        let at = bad.thief.reserve(&t)?;
        bad.nothing("evidence-insufficient", || bad.ask(bad.thief.request(HANGZHOU, &s, &other, &t, at)?))
    });
    cases.case("level signed on the ledger, a document shown", || {
        let mut request = bad.good()?.request;
        request.evidence = Evidence::Asserted { document: Hex([7; 32]) };
        bad.nothing("evidence-insufficient", || bad.ask(request))
    });
}

/// Records that look accepted and are not.
fn the_ledger(cases: &mut Cases, bad: &Bad<'_>) {
    cases.case("a reservation in a transaction with a trailing parse", || {
        let t = opening(&bad.thief.institution, &bad.statement)?;
        let batch = bad.thief.signed_batch(vec![Record::Reservation(reservation(&t)?)])?;
        let mut input = encode_put_input(&batch.to_bytes()?);
        input.extend_from_slice(&[0; 32]);
        let limit = i64::try_from(batch.batch.expires_height.0)?;
        let at = bad.thief.send(&bad.thief.transaction(input, limit)?)?;
        bad.nothing("reservation-missing", || bad.ask_about(&t, at))
    });
    cases.case("a batch that another node signed", || {
        let t = opening(&bad.thief.institution, &bad.statement)?;
        let mut batch = bad.thief.signed_batch(vec![Record::Reservation(reservation(&t)?)])?;
        batch.signatures = Thief::of(bad.c, BANK)?.signed_batch(batch.batch.records.clone())?.signatures;
        let at = bad.thief.submit(&batch)?;
        bad.nothing("reservation-missing", || bad.ask_about(&t, at))
    });
    cases.case("one batch in two transactions spends once", || {
        let (s, e) = bad.authorized(2, |_| {})?;
        let t = opening(&bad.thief.institution, &s)?;
        let batch = bad.thief.signed_batch(vec![Record::Reservation(reservation(&t)?)])?;
        bad.thief.submit(&batch)?;
        bad.thief.submit(&batch)?;
        // a second use is still there
        let second = opening(&bad.thief.institution, &s)?;
        let at = bad.thief.reserve(&second)?;
        for t in [&t, &second] {
            bad.ask(bad.thief.request(HANGZHOU, &s, &e, t, at)?)?.success(200)?;
        }
        let third = opening(&bad.thief.institution, &s)?;
        let at = bad.thief.reserve(&third)?;
        bad.nothing("reservation-refused", || bad.ask(bad.thief.request(HANGZHOU, &s, &e, &third, at)?))
    });
}

fn deliveries(bad: &Bad<'_>) -> Result<()> {
    let Good { t, request } = bad.good()?;
    reached(bad, SUPERVISOR, request.height)?;
    let source = HANGZHOU.parse()?;
    let own = Delivery {
        v: 1,
        node: bad.thief.node.clone(),
        asker: bad.thief.institution.clone(),
        side: Side::Asker,
        statement: bad.statement.clone(),
        evidence: bad.evidence.clone(),
        opening: t.clone(),
        outcomes: vec![DeliveredOutcome { source, status: TraceStatus::Missing, reply_leaf: None }],
    };
    let deliver =
        |d: &Delivery| bad.thief.post(bad.c, SUPERVISOR, "/man/v1/deliveries", &serde_json::to_value(d)?);
    deliver(&Delivery { node: BANK.parse()?, ..own.clone() })?.refused("signature-invalid")?;
    deliver(&Delivery { asker: "bank-suzhou".parse()?, ..own.clone() })?.refused("signature-invalid")?;
    deliver(&Delivery { side: Side::Source, ..own.clone() })?.refused("signature-invalid")?;
    let changed = Opening { purpose: Purpose::PostLoan, ..t };
    deliver(&Delivery { opening: changed, ..own.clone() })?.refused("commitment-mismatch")?;
    let taken = deliver(&own)?.success(200)?;
    same("new", taken["new"].as_bool(), Some(true))
}

fn blocked(bad: &Bad<'_>) -> Result<()> {
    let request = bad.good()?.request;
    let supervisor = Thief::of(bad.c, SUPERVISOR)?;
    let change = |standing| {
        let reason = "black-box test".to_owned();
        Record::Standing(StandingChange { institution: bad.thief.institution.clone(), standing, reason })
    };
    let at = supervisor.write(vec![change(Standing::Blocked)])?;
    reached(bad, HANGZHOU, at.height)?;
    bad.nothing("caller-not-listed", || bad.ask(request.clone()))?;
    let at = supervisor.write(vec![change(Standing::Active)])?;
    reached(bad, HANGZHOU, at.height)?;
    bad.ask(Request { expires: now().plus(Duration::from_secs(20)), ..request })?.success(200).map(drop)
}

/// Refused before any signature is verified: by then the limit has spoken.
fn flood(bad: &Bad<'_>) -> Result<()> {
    ensure!(bad.c.stop(HANGZHOU)?.success(), "the source did not stop well");
    bad.c.configure(HANGZHOU, |t| set(t, "limits.institution", quota(6, 2)))?;
    bad.c.start_ready(HANGZHOU)?;
    let request = bad.good()?.request;
    reached(bad, HANGZHOU, request.height)?;
    bad.ask(request.clone())?.success(200)?;
    bad.ask(request.clone())?.refused("request-replayed")?;
    let reply = bad.ask(request)?;
    same("status", reply.status, 429)?;
    reply.refused("quota-exceeded")?;
    let after: u64 = reply.header("retry-after").context("no Retry-After")?.parse()?;
    ensure!((1..=10).contains(&after), "Retry-After: {after}");
    same("RateLimit-Policy", reply.header("ratelimit-policy"), Some("\"institution\";q=2;w=20"))
}

/// The gateway has verified that block.
fn reached(bad: &Bad<'_>, gateway: &str, at: Height) -> Result<()> {
    wait::until(&format!("{gateway} is there"), Duration::from_secs(10), || {
        let height = bad.c.status(gateway)?["height"].as_u64().context("no height")?;
        ensure!(height >= at.0, "at {height}, not {at}");
        Ok(())
    })
}
