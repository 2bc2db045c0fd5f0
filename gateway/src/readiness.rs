//! Readiness: can this gateway serve, and if not, every reason why.

use crate::{
    app::App,
    stages::{identify, trust},
    tls,
};
use gw_ledger::Health;
use gw_policy::{Trust, View, trust_in};
use gw_proto::Role;
use serde::Serialize;

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// it can serve
    pub ready: bool,
    /// what stands in the way, with what to do
    pub reasons: Vec<String>,
}

impl Readiness {
    /// What a watchdog is told: the cause decides whether a restart may help.
    pub fn serving(&self) -> Result<(), board_api::NotServing> {
        if self.ready {
            return Ok(());
        }
        let inside = ["journal:", "outbox:", "signer:"];
        let restart_may_help = self.reasons.iter().any(|r| inside.iter().any(|i| r.starts_with(i)));
        Err(board_api::NotServing { reasons: self.reasons.clone(), restart_may_help })
    }
}

/// Asks every part.
pub fn check(app: &App) -> Readiness {
    let mut reasons = Vec::new();
    if app.draining() {
        reasons.push("draining: it was told to stop".to_owned());
    }
    match app.state.health() {
        Health::Fresh => {}
        Health::Stale { why, .. } => reasons.push(format!("ledger: {why}; see `xinguan doctor`")),
        health @ (Health::Alarm(_) | Health::Halted(_)) => {
            reasons.push(format!("ledger: {health}; call the supervisor"))
        }
    }
    let state = app.state.read();
    let view = View::new(&state);
    for role in &app.config.node.roles {
        if let Err(e) = identify::own_node(&view, &app.node, *role) {
            reasons.push(format!("ledger lists this node not as active {role:?}: {}", e.detail));
        }
    }
    // others enforce as they please; what this gateway would refuse in others it does not do itself
    if let Some(trust) = own_trust(app, &view)
        && trust::ruling(&app.config.attestation.peers, &trust) == trust::Ruling::Refuse
    {
        reasons.push(format!("attestation: {trust}; /admin/v1/status says which check failed"));
    }
    let binding = app.tls.binding();
    if app.clock.now() >= binding.not_after || !tls::is_bound(&view, &app.node, &binding.spki) {
        reasons.push("ledger: the TLS binding of this start is in no block yet".to_owned());
    }
    drop(state);
    if let Some(why) = app.journal.failure() {
        reasons.push(format!("journal: closed after a failure ({why}); check the disk and restart"));
    }
    if let Some(why) = app.outbox.failure() {
        reasons.push(format!("outbox: closed after a failure ({why}); check the disk and restart"));
    }
    if let Some(why) = app.signer.closed() {
        reasons.push(format!("signer: closed ({why}); check the keystore and restart"));
    }
    if app.has(Role::Source) && app.source.is_none() {
        reasons.push("source: no database is configured".to_owned());
    }
    Readiness { ready: reasons.is_empty(), reasons }
}

/// What the ledger says of this gateway; none where it is not listed.
pub fn own_trust(app: &App, view: &View<'_>) -> Option<Trust> {
    let node = view.node(&app.node).ok().flatten()?;
    trust_in(view, &node, app.clock.now()).ok()
}

/// The answer of `/admin/v1/status`.
pub fn status(app: &App) -> serde_json::Value {
    let cursor = app.state.cursor();
    let signer = app.signer.stats();
    let head = app.journal.head();
    let endpoints: Vec<_> = app
        .state
        .endpoints()
        .into_iter()
        .map(|e| serde_json::json!({ "endpoint": e.endpoint, "head": e.head, "agrees": e.agrees, "error": e.error }))
        .collect();
    serde_json::json!({
        "node": app.node,
        "institution": app.institution,
        "roles": app.config.node.roles,
        "engine": app.genesis.engine,
        "height": cursor.height,
        "block": cursor.hash,
        "block_time": cursor.time,
        "state_digest": cursor.state_digest,
        "endpoints": endpoints,
        "readiness": check(app),
        "journal": { "index": head.index, "digest": head.digest, "open_intents": app.journal.open_intents() },
        "outbox": { "pending": *app.outbox.watch().borrow() },
        "signer": { "signatures": signer.signatures, "leaves": signer.leaves, "busy": signer.busy, "waiting": signer.waiting },
        "attestation": app.attester.status(&app.config, app.node_signer.public_key()),
        "trust": own_trust(app, &View::new(&app.state.read())),
        "weakened": app.config.weakened,
    })
}

/// Sets the gauges that are read rather than counted.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; heights stay far below 2^52")]
pub fn gauges(app: &App) {
    let cursor = app.state.cursor();
    metrics::gauge!("xinguan_ledger_height").set(cursor.height.0 as f64);
    metrics::gauge!("xinguan_ledger_head_age_seconds").set(app.clock.now().since(cursor.time).as_secs_f64());
    metrics::gauge!("xinguan_ready").set(if check(app).ready { 1.0 } else { 0.0 });
    let signer = app.signer.stats();
    metrics::gauge!("xinguan_signer_signatures").set(signer.signatures as f64);
    metrics::gauge!("xinguan_signer_leaves").set(signer.leaves as f64);
    metrics::gauge!("xinguan_journal_entries").set(app.journal.head().index as f64);
}
