//! The gateway's TLS keys: in memory, at most 24 hours, bound to the node key on the ledger.
//!
//! At start, and again when two thirds of its life are over, a fresh key is made and certified by the node
//! key; its binding goes to the ledger; only when the binding stands in a verified block do listeners and
//! outgoing connections change over, so that no peer meets a key that the ledger does not list.

use crate::{
    app::App,
    config::{Config, Material},
    dial::ClientTls,
    listen::{
        ListenerKind, ServerTls,
        identity::{self, MadeIdentity},
    },
};
use arc_swap::ArcSwap;
use gw_ledger::StateHandle;
use gw_policy::View;
use gw_proto::{
    Clock, Digest, NodeId, UnixMillis,
    record::{Record, TlsBinding},
};
use gw_sm::tls::{Profile, Trust, client_config, server_config};
use hsm_api::{Entropy, Signer};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

/// TLS configurations of all listeners and of dialling, exchanged together.
pub struct TlsSet {
    servers: HashMap<ListenerKind, ServerTls>,
    man: ClientTls,
    ledger: ClientTls,
    current: Mutex<TlsBinding>,
    recipe: Recipe,
}

/// What a new set is made of.
struct Recipe {
    config: Config,
    material: Material,
}

fn chain(e: &dyn std::error::Error) -> String {
    e.source().map_or_else(|| e.to_string(), |s| format!("{e}: {s}"))
}

struct Made {
    servers: HashMap<ListenerKind, rustls::ServerConfig>,
    man: rustls::ClientConfig,
    ledger: rustls::ClientConfig,
    binding: TlsBinding,
}

impl Recipe {
    fn make(&self, node_key: &dyn Signer, entropy: &dyn Entropy, now: UnixMillis) -> Result<Made, String> {
        let request = identity::Request {
            node: &self.config.node.id,
            extra_names: &self.config.identity.extra_names,
            lifetime: self.config.identity.tls_lifetime,
            node_ca_chain: &self.material.node_ca_chain,
            now,
        };
        let MadeIdentity { tls: identity, binding } =
            identity::make(&request, node_key, entropy).map_err(|e| chain(&e))?;
        let server = |p, m: &Trust| server_config(p, &identity, m, BOTH).map_err(|e| chain(&e));
        let listen = &self.config.listen;
        let mut servers =
            HashMap::from([(ListenerKind::Admin, server(listen.admin.profile, &self.material.admin)?)]);
        if let Some(l) = &listen.man {
            servers.insert(ListenerKind::Man, server(l.profile, &self.material.man)?);
        }
        if let (Some(l), Some(m)) = (&listen.bank, &self.material.bank) {
            servers.insert(ListenerKind::Bank, server(l.profile, m)?);
        }
        // one consortium, one profile: that of the own node key
        let own = match node_key.public_key().scheme {
            gw_proto::Scheme::Sm2Sm3 => Profile::Sm,
            gw_proto::Scheme::EcdsaP256Sha256 => Profile::International,
        };
        let man = client_config(own, &identity, &self.material.man, &[b"h2"]).map_err(|e| chain(&e))?;
        let roots = if self.material.ledger_roots.is_empty() {
            self.material.man.roots.clone()
        } else {
            self.material.ledger_roots.clone()
        };
        let ledger_trust = Trust { roots, crls: Vec::new() };
        let ledger = client_config(self.config.ledger.profile, &identity, &ledger_trust, &[b"http/1.1"])
            .map_err(|e| chain(&e))?;
        Ok(Made { servers, man, ledger, binding })
    }
}

impl TlsSet {
    /// The first set. Blocks while the node key signs.
    pub fn make(
        config: &Config,
        material: &Material,
        node_key: &dyn Signer,
        entropy: &dyn Entropy,
        clock: &dyn Clock,
    ) -> Result<Self, String> {
        let recipe = Recipe { config: config.clone(), material: material.clone() };
        let made = recipe.make(node_key, entropy, clock.now())?;
        let swap = |c| Arc::new(ArcSwap::from_pointee(c));
        Ok(Self {
            servers: made.servers.into_iter().map(|(k, c)| (k, swap(c))).collect(),
            man: Arc::new(ArcSwap::from_pointee(made.man)),
            ledger: Arc::new(ArcSwap::from_pointee(made.ledger)),
            current: Mutex::new(made.binding),
            recipe,
        })
    }
    /// A listener's configuration.
    pub fn server(&self, kind: ListenerKind) -> Option<ServerTls> {
        self.servers.get(&kind).cloned()
    }
    /// Calls to other gateways.
    pub fn man_client(&self) -> ClientTls {
        Arc::clone(&self.man)
    }
    /// Calls to the ledger's endpoints.
    pub fn ledger_client(&self) -> ClientTls {
        Arc::clone(&self.ledger)
    }
    /// The binding of the key that listeners and calls show now.
    pub fn binding(&self) -> TlsBinding {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn change_over(&self, made: Made) {
        for (kind, config) in made.servers {
            if let Some(slot) = self.servers.get(&kind) {
                slot.store(Arc::new(config));
            }
        }
        self.man.store(Arc::new(made.man));
        self.ledger.store(Arc::new(made.ledger));
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = made.binding;
    }
}

/// Whether the verified state binds this very key to the node: one of an earlier start is no help.
pub fn is_bound(view: &View<'_>, node: &NodeId, spki: &Digest) -> bool {
    view.bindings_of(node).is_ok_and(|all| all.iter().any(|b| b.record.spki == *spki))
}

fn is_bound_now(state: &StateHandle, node: &NodeId, spki: &Digest) -> bool {
    is_bound(&View::new(&state.read()), node, spki)
}

/// Writes a binding until it stands in a verified block.
async fn bind(app: &App, binding: &TlsBinding) {
    while !is_bound_now(&app.state, &app.node, &binding.spki) {
        let wait = Duration::from_secs(20);
        match app.submitter.submit(vec![Record::TlsBinding(binding.clone())]).await {
            Ok(_) => {
                let mut heads = app.state.watch();
                let seen = async {
                    while !is_bound_now(&app.state, &app.node, &binding.spki) {
                        if heads.changed().await.is_err() {
                            return;
                        }
                    }
                };
                let _ = tokio::time::timeout(wait, seen).await;
            }
            Err(e) => {
                tracing::warn!(error = %e, "the TLS binding waits: the ledger does not take it");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    tracing::info!(spki = %binding.spki, until = %binding.not_after.rfc3339(), "the TLS key is bound to the node on the ledger");
}

/// Binds the first key, then renews until cancelled.
pub async fn renew(app: Arc<App>, set: Arc<TlsSet>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = renew_forever(&app, &set) => {}
    }
}

async fn renew_forever(app: &Arc<App>, set: &Arc<TlsSet>) {
    bind(app, &set.binding()).await;
    loop {
        let b = set.binding();
        let life = b.not_after.since(b.not_before);
        let due = b.not_before.plus(life * 2 / 3);
        let wait = due.since(app.clock.now()).clamp(Duration::from_secs(1), Duration::from_secs(600));
        tokio::time::sleep(wait).await;
        if app.clock.now() < due {
            continue;
        }
        let (work, recipe) = (Arc::clone(app), Arc::clone(set));
        let made = tokio::task::spawn_blocking(move || {
            recipe.recipe.make(work.node_signer.as_ref(), work.entropy.as_ref(), work.clock.now())
        })
        .await;
        match made {
            Ok(Ok(made)) => {
                bind(app, &made.binding).await;
                set.change_over(made);
            }
            Ok(Err(e)) => tracing::error!(error = %e, "no new TLS key; the old one serves until it expires"),
            Err(e) => tracing::error!(error = %e, "no new TLS key"),
        }
    }
}
