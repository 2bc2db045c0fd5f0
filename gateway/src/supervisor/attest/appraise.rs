//! One bundle, from bytes to a kept verdict.

use super::{Verifier, appraisal::Appraisal, refused};
use crate::{
    app::App,
    attester::wire,
    reject::{self, Rejection},
    stages::identify::IdentifiedNode,
};
use gw_attest::{Bundle, Context, Verdict, challenge::Challenge, decide::release, decide_bytes};
use gw_policy::View;
use gw_proto::{B64, Hex};

/// Judges what answers a challenge. Costs a few signature checks and an fsync: blocks.
pub fn appraise(
    app: &App,
    node: &IdentifiedNode,
    nonce: &Hex<32>,
    bundle: &[u8],
) -> Result<Verdict, Rejection> {
    let (verifier, store) = (app.verifier()?, app.supervisor_store()?);
    let (device, now) = (&node.node().id, app.clock.now());
    let challenge = take(verifier, node, nonce, now)?;
    let enrolled = store.enrolment(device).map_err(Rejection::internal)?.map(|d| d.enrolled);
    let enrolled = enrolled.ok_or_else(|| {
        Rejection::new(reject::NOT_ENROLLED, "this supervisor has no enrolment of this node any more")
    })?;
    let previous = store.counters(device).map_err(Rejection::internal)?;
    let manifests = {
        let state = app.state.read();
        verifier.references.in_force(&View::new(&state)).map_err(Rejection::internal)?
    };
    let context = Context {
        challenge: &challenge,
        tls_node: device,
        enrolled: &enrolled,
        policy: &verifier.policy,
        manifests: &manifests,
        previous: previous.as_ref(),
        now,
    };
    let verdict = decide_bytes(bundle, &context);
    let used = Bundle::parse(bundle).ok().and_then(|b| release(&manifests, &b.claims.release));
    let manifest = used.and_then(|m| verifier.references.signed(m)).map(|m| B64(m.to_vec()));
    let appraisal = Appraisal {
        v: super::appraisal::VERSION,
        bundle: B64(bundle.to_vec()),
        tls_node: device.clone(),
        rules: verifier.policy.get().clone(),
        at: now,
        challenge,
        enrolled,
        manifest,
        previous,
        log: None,
    };
    store.keep_verdict(&verdict, Some(&appraisal)).map_err(Rejection::internal)?;
    verifier.announcements.note(device);
    verifier.calls.judged();
    report(&verdict);
    Ok(verdict)
}

/// A challenge is answered in the session that it was asked in: another may be another box's.
fn take(
    verifier: &Verifier,
    node: &IdentifiedNode,
    nonce: &Hex<32>,
    now: gw_proto::UnixMillis,
) -> Result<Challenge, Rejection> {
    let taken = verifier.open().take(&node.node().id, nonce, now);
    let challenge = taken.map_err(|e| refused(&e))?;
    let here = wire::channel(&node.accepted().conn.exporter, nonce).map_err(Rejection::internal)?;
    if here == challenge.channel {
        return Ok(challenge);
    }
    Err(Rejection::new(reject::CHALLENGE, "the nonce was asked for in another TLS session; ask for another"))
}

/// One line, and the metric.
pub(super) fn report(verdict: &Verdict) {
    let passed = verdict.passed();
    let result = if passed { "good" } else { "bad" };
    metrics::counter!("xinguan_verdicts_total", "verdict" => result).increment(1);
    if passed {
        tracing::info!(device = %verdict.device, "verdict: good");
    } else {
        let failed: Vec<_> = verdict.failed().cloned().collect();
        tracing::error!(device = %verdict.device, failed = wire::blame(&failed), "verdict: NOT TRUSTED");
    }
}
