//! Composition root: the only file that names concrete backends.
//!
//! Order: files → keystore → journal and outbox (the floor of the height) → ledger state → signer → TLS
//! identity → listeners. Nothing listens before everything else stands.

pub mod keystore;

use crate::{
    api,
    app::{App, ProofCache, Revoked},
    attester::{self, Attester},
    board::{self, keeper::Hardware, tamper},
    certificates::Certificates,
    chain_clock::ChainClock,
    commands::Exit,
    config::{Config, Database, Listen, Material, Problem},
    dial,
    documents::Documents,
    housekeeping,
    ledger_endpoint::RenewingEndpoint,
    listen::{ListenerKind, Server},
    nonces::Nonces,
    outbox_worker, ready_file,
    signing::{BatchSigner, QueueSize},
    stages::{
        fetch::Snapshots,
        limit::{Limits, Rate, Rates},
    },
    supervisor::{
        attest::{Verifier, announce, silence},
        four_eyes,
        store::SupervisorStore,
    },
    tags::Tags,
    tls::{self, TlsSet},
};
use gw_journal::{Journal, JournalOptions, Note, Outbox, OutboxOptions};
use gw_ledger::{FollowOptions, Ledger, StateHandle, SubmitConfig, Submitter};
use gw_policy::View;
use gw_proto::{Clock, Height, Role, clock::SystemClock};
use gw_sm::{cert::Crl, tls::Trust};
use gw_source::{BlockingSource, Catalogue, Mapping, SqliteOptions, SqliteSource};
use gw_store::{FileDisk, SledStore};
use hsm_api::{Entropy, OsEntropy};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file that the configuration names.
    #[error("files of the configuration:\n{}", .0.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n"))]
    Files(Vec<Problem>),
    /// The keystore.
    #[error("keystore: {0}")]
    Keystore(String),
    /// Journal, outbox, state, documents, tags.
    #[error("{what}: {why}")]
    Storage {
        /// which
        what: &'static str,
        /// why
        why: String,
    },
    /// The ledger's endpoints or genesis.
    #[error("ledger: {0}")]
    Ledger(String),
    /// TLS identity or trust.
    #[error("TLS: {0}")]
    Tls(String),
    /// The source's mapping or database.
    #[error("source: {0}")]
    Source(String),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] crate::listen::ListenError),
    /// Metrics.
    #[error("metrics: {0}")]
    Metrics(String),
    /// The board, or its closed latch.
    #[error("board: {0}")]
    Board(#[from] board::BoardStartError),
}

impl StartError {
    /// What a service manager learns.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Files(_) | Self::Tls(_) | Self::Source(_) | Self::Ledger(_) => Exit::BadConfig,
            Self::Keystore(_) => Exit::Keystore,
            Self::Storage { .. } => Exit::Storage,
            Self::Listen(_) => Exit::Listen,
            Self::Metrics(_) => Exit::Internal,
            Self::Board(board::BoardStartError::Board(_)) => Exit::BadConfig,
            Self::Board(board::BoardStartError::Latched(_)) => Exit::Tampered,
        }
    }
}

fn storage(what: &'static str) -> impl Fn(String) -> StartError {
    move |why| StartError::Storage { what, why }
}

pub(crate) fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        text.push_str(": ");
        text.push_str(&s.to_string());
        source = s.source();
    }
    text
}

/// A gateway that is ready to listen.
pub struct Gateway {
    app: Arc<App>,
    servers: Vec<(Server, axum::Router)>,
    tls: Arc<TlsSet>,
    stop: CancellationToken,
    background: CancellationToken,
    tasks: TaskTracker,
    hardware: Hardware,
    tamper: Option<tamper::Watch>,
    ready_file: Option<PathBuf>,
}

impl Gateway {
    /// Says into a file, every second, whether it can serve ([`ready_file`]).
    pub fn keep_ready_file(&mut self, path: PathBuf) {
        self.ready_file = Some(path);
    }
    /// What its stages share: for tests in this crate.
    #[cfg(test)]
    pub(crate) fn app(&self) -> &Arc<App> {
        &self.app
    }
    /// Cancel it to drain and stop.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }
    /// Serves until stopped; drains; then stops what ran in the background.
    pub async fn serve(self) -> Exit {
        let Self { app, servers, tls, stop, background, tasks, hardware, tamper, ready_file } = self;
        let opened = CancellationToken::new();
        // lives until the end: dropping it stops the watching
        let _watching = match tamper.map(|w| tamper::start(&app, w, opened.clone())).transpose() {
            Ok(watching) => watching,
            Err(e) => {
                tracing::error!(error = %e, "the tamper switch cannot be watched");
                return Exit::Internal;
            }
        };
        tasks.spawn(board::keeper::run(Arc::clone(&app), hardware, background.clone()));
        tasks.spawn(tls::renew(Arc::clone(&app), tls, background.clone()));
        tasks.spawn(outbox_worker::run(Arc::clone(&app), background.clone()));
        tasks.spawn(housekeeping::run(Arc::clone(&app), background.clone()));
        tasks.spawn(attester::run(Arc::clone(&app), background.clone()));
        tasks.spawn(attester::summons::run(Arc::clone(&app), background.clone()));
        tasks.spawn(attester::standing::run(Arc::clone(&app), background.clone()));
        tasks.spawn(silence::run(Arc::clone(&app), background.clone()));
        tasks.spawn(announce::run(Arc::clone(&app), background.clone()));
        tasks.spawn(four_eyes::run(Arc::clone(&app), background.clone()));
        if let Some(path) = ready_file {
            let addresses = servers.iter().map(|(server, _)| server.local_addr()).collect();
            tasks.spawn(ready_file::run(Arc::clone(&app), path, addresses, background.clone()));
        }
        let listening = TaskTracker::new();
        for (server, router) in servers {
            tracing::info!(address = %server.local_addr(), "listening");
            listening.spawn(server.serve(router, stop.clone()));
        }
        listening.close();
        tokio::select! {
            () = stop.cancelled() => {}
            // no draining: what is in flight must not leave
            () = opened.cancelled() => return tamper::EXIT,
        }
        app.begin_draining();
        tokio::select! {
            () = finish(&app, &listening) => {}
            () = opened.cancelled() => return tamper::EXIT,
        }
        if let Err(e) = app.journal_note("stop", serde_json::Value::Null).await {
            tracing::error!(error = %e, "the stop could not be recorded");
        }
        background.cancel();
        app.peers.stop().await;
        tasks.close();
        if tokio::time::timeout(Duration::from_secs(10), tasks.wait()).await.is_err() {
            tracing::warn!("some background work did not end in 10 s");
        }
        Exit::Ok
    }
}

/// Lets what is in flight end.
async fn finish(app: &App, listening: &TaskTracker) {
    listening.wait().await;
    // a query whose caller has gone still owes its trace
    app.queries.close();
    if tokio::time::timeout(app.config.query.budget, app.queries.wait()).await.is_err() {
        tracing::warn!(queries = app.queries.len(), "some queries did not end in time");
    }
}

/// Builds everything; nothing listens yet but sockets are bound.
pub async fn build(config: Config) -> Result<Gateway, StartError> {
    let material = Material::load(&config).map_err(StartError::Files)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let data = config.node.data_dir.clone();
    std::fs::create_dir_all(&data).map_err(|e| storage("data folder")(format!("{}: {e}", data.display())))?;
    let metrics = install_metrics()?;
    let stop = CancellationToken::new();
    let background = CancellationToken::new();
    let tasks = TaskTracker::new();

    board::ask_again(&data, config.clear_storage_key.as_deref());
    board::refuse_latched(&data)?;
    let Board { chip, hardware, tamper } = open_board(&config)?;
    let gate = hsm_api::Gate::open();
    let keys = open_keys(&config, chip).await?;
    let node_key: Arc<dyn hsm_api::Signer> = Arc::new(gate.guard(keys.node));
    let account: Arc<dyn hsm_api::Signer> = Arc::new(gate.guard(keys.account));
    let attester = start_attester(&config, keys.chip).await?;
    let (journal, outbox, floor) = open_journal(&config, &data, &clock).await?;
    let store = SledStore::open_or_reset(&data.join("ledger"), gw_store::sled::DEFAULT_CACHE_BYTES);
    let (store, reset) = store.map_err(|e| storage("ledger state")(chain(&e)))?;
    if let Some(why) = reset {
        tracing::warn!(error = %chain(&why), "the ledger state could not be opened; it is rebuilt from the chain");
    }
    let state = StateHandle::open(Arc::new(store), material.genesis.clone(), Arc::clone(&clock), floor)
        .map_err(|e| StartError::Ledger(chain(&e)))?;

    let signer = BatchSigner::spawn(
        Arc::clone(&node_key),
        Arc::clone(&clock),
        Arc::clone(&entropy),
        QueueSize::default(),
    )
    .map_err(|e| StartError::Keystore(chain(&e)))?;
    let tls = Arc::new(
        TlsSet::make(&config, &material, node_key.as_ref(), entropy.as_ref(), clock.as_ref())
            .map_err(StartError::Tls)?,
    );
    let ledgers = open_ledgers(&config, &material, &tls)?;
    let (submitter, submit_task) = Submitter::new(
        SubmitConfig::new(config.node.id.clone()),
        ledgers.clone(),
        state.clone(),
        Arc::clone(&node_key),
        account,
        Arc::clone(&entropy),
    )
    .map_err(|e| StartError::Ledger(chain(&e)))?;
    tasks.spawn(submit_task.run(background.clone()));
    let options = FollowOptions { poll: config.ledger.poll, ..FollowOptions::default() };
    let following =
        gw_ledger::follow(ledgers.clone(), state.clone(), Arc::clone(&clock), options, background.clone());
    tasks.spawn(async move {
        if let Err(e) = following.await {
            tracing::error!(error = %chain(&e), "the follower stopped");
        }
    });
    tasks.spawn(gw_ledger::heartbeat(
        config.node.id.clone(),
        state.clone(),
        submitter.clone(),
        background.clone(),
    ));

    let (source, catalogue) = open_source(&config, &clock).await?;
    // nobody can make them again: what was acknowledged must be there after a kill, and after a power loss
    let documents = SledStore::open_durable(&data.join("documents"), gw_store::sled::DEFAULT_CACHE_BYTES / 4)
        .map_err(|e| storage("documents")(chain(&e)))?;
    let supervisor = match &config.supervisor {
        None => None,
        Some(s) => Some(open_supervisor_store(&s.database).await?),
    };
    let judges = config.supervisor.as_ref().and_then(|s| s.attestation.as_ref());
    let verifier =
        judges.zip(material.references.clone()).map(|(c, references)| Verifier::new(c, references));
    let tags = Tags::open(&data, entropy.as_ref()).map_err(|e| storage("tag keys")(chain(&e)))?;
    let certificates = Certificates::default();
    certificates.learn(
        &config.node.id,
        material.node_ca_chain.iter().map(|c| gw_proto::B64(c.as_ref().to_vec())).collect(),
    );

    // what decides has the chain's time as its floor; what follows the chain must not (a chain that runs ahead
    // would pull its own limit along)
    let lifted: Arc<dyn Clock> = Arc::new(ChainClock::new(Arc::clone(&clock), state.clone()));
    let app = Arc::new(App {
        node: config.node.id.clone(),
        institution: config.node.institution.clone(),
        genesis: Arc::new(material.genesis.clone()),
        limits: Limits::new(rates(&config)),
        documents: Documents::new(Box::new(documents), config.query.idempotency_window)
            .map_err(|e| storage("documents")(chain(&e)))?,
        peers: dial_client(&tls, &state, &lifted),
        tls: Arc::clone(&tls),
        revoked: Revoked::new(revoked(&material)?),
        clock: lifted,
        entropy,
        state,
        submitter,
        ledgers,
        node_signer: node_key,
        gate,
        signer,
        journal,
        outbox,
        certificates,
        source,
        catalogue,
        snapshots: Snapshots::default(),
        nonces: Nonces::default(),
        tags,
        supervisor,
        verifier,
        attester,
        metrics,
        proofs: Mutex::new(ProofCache::default()),
        queries: TaskTracker::new(),
        stopping: AtomicBool::new(false),
        config,
    });
    let servers = bind(&app, &tls, &clock).await?;
    Ok(Gateway { app, servers, tls, stop, background, tasks, hardware, tamper, ready_file: None })
}

/// Waits for a disk or a server: off the runtime's threads.
async fn open_supervisor_store(database: &Database) -> Result<SupervisorStore, StartError> {
    let (what, database) = ("supervisor's database", database.clone());
    let opened = tokio::task::spawn_blocking(move || SupervisorStore::connect(&database)).await;
    opened.map_err(|e| storage(what)(e.to_string()))?.map_err(|e| storage(what)(chain(&e)))
}

/// What `doctor` looks with: a TLS identity of its own, bound to nothing.
pub struct Visit {
    /// the configuration's files
    pub material: Material,
    /// the ledger's endpoints
    pub ledgers: Vec<Arc<dyn Ledger>>,
    /// calls peers; whether their key is bound is not known without the ledger's state
    pub client: dial::Client,
}

/// Opens what a visit needs; nothing is written.
pub async fn visit(config: &Config) -> Result<Visit, StartError> {
    let material = Material::load(config).map_err(StartError::Files)?;
    let chip = if keystore::needs_board(&config.keystore) { open_board(config)?.chip } else { None };
    let keys = open_keys(config, chip).await?;
    let tls = TlsSet::make(config, &material, keys.node.as_ref(), &OsEntropy, &SystemClock)
        .map_err(StartError::Tls)?;
    let ledgers = open_ledgers(config, &material, &tls)?;
    let client = dial::Client::new(tls.man_client(), Arc::new(|_, _| true), dial::DialOptions::default());
    Ok(Visit { material, ledgers, client })
}

/// The recorder is the process's, not the gateway's: tests build several gateways in one.
fn install_metrics() -> Result<PrometheusHandle, StartError> {
    static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = installed.as_ref() {
        return Ok(handle.clone());
    }
    let made = PrometheusBuilder::new().install_recorder();
    let made = made.map_err(|e| StartError::Metrics(e.to_string()))?;
    Ok(installed.insert(made).clone())
}

/// The board's parts, by who drives them.
#[derive(Default)]
struct Board {
    chip: Option<board_api::Hsm>,
    hardware: Hardware,
    tamper: Option<tamper::Watch>,
}

fn open_board(config: &Config) -> Result<Board, StartError> {
    let Some(wanted) = &config.board else {
        tracing::warn!("no [board]: no tamper switch, no watchdog, no lights, no sensors");
        return Ok(Board::default());
    };
    let board::Opened { parts, timing } = board::open(wanted)?;
    for line in parts.report() {
        tracing::info!(part = line, "board");
    }
    for warning in parts.warnings() {
        tracing::warn!(warning, "board");
    }
    let serial = parts.serial.ok();
    let board = parts.label.to_string();
    let tamper = parts.tamper.ok().zip(timing);
    Ok(Board {
        chip: parts.hsm.ok(),
        hardware: Hardware { watchdog: parts.watchdog.ok(), panel: parts.panel.ok(), sensors: parts.sensors },
        tamper: tamper.map(|(input, timing)| tamper::Watch { input, timing, board, serial }),
    })
}

/// The keys, and the chip that attests. A device blocks while it works: off the runtime's threads.
async fn open_keys(config: &Config, chip: Option<board_api::Hsm>) -> Result<keystore::Keys, StartError> {
    let wanted = config.keystore.clone();
    tokio::task::spawn_blocking(move || keystore::keys(&wanted, chip))
        .await
        .map_err(|e| StartError::Keystore(e.to_string()))?
        .map_err(|e| StartError::Keystore(e.to_string()))
}

/// The gateway measures itself before anything listens. The chip blocks, and so does reading the program.
async fn start_attester(
    config: &Config,
    chip: Result<attester::Chip, String>,
) -> Result<Attester, StartError> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || Attester::start(&config, chip))
        .await
        .map_err(|e| StartError::Keystore(e.to_string()))
}

async fn open_journal(
    config: &Config,
    data: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<(Journal, Outbox, Height), StartError> {
    let journal_failed = storage("journal");
    let disk = FileDisk::open(&data.join("journal.dat")).map_err(|e| journal_failed(chain(&e)))?;
    let options = JournalOptions::new(&config.node.id);
    let (journal, recovered) =
        Journal::open(Box::new(disk), &options, Arc::clone(clock)).map_err(|e| journal_failed(chain(&e)))?;
    if recovered.dropped_bytes > 0 {
        tracing::warn!(
            bytes = recovered.dropped_bytes,
            "the journal's torn tail was cut off; nothing of it was acknowledged"
        );
    }
    for open in &recovered.open_intents {
        journal
            .close_intent(open.index, gw_journal::Outcome::abandoned("restart"))
            .await
            .map_err(|e| journal_failed(chain(&e)))?;
    }
    let note = Note {
        at: clock.now(),
        kind: "start".to_owned(),
        data: serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "weakened": config.weakened }),
    };
    journal.append(gw_journal::Entry::Note(note)).await.map_err(|e| journal_failed(chain(&e)))?;
    let floor = journal.highest_seen_height().unwrap_or(Height(0));
    let outbox_failed = storage("outbox");
    let disk = FileDisk::open(&data.join("outbox.dat")).map_err(|e| outbox_failed(chain(&e)))?;
    let (outbox, recovered) = Outbox::open(Box::new(disk), &OutboxOptions::new(&config.node.id))
        .map_err(|e| outbox_failed(chain(&e)))?;
    if recovered.pending > 0 {
        tracing::info!(pending = recovered.pending, "the outbox has items from before");
    }
    Ok((journal, outbox, floor))
}

fn open_ledgers(
    config: &Config,
    material: &Material,
    tls: &TlsSet,
) -> Result<Vec<Arc<dyn Ledger>>, StartError> {
    let failed = |e: &dyn std::error::Error| StartError::Ledger(chain(e));
    config
        .ledger
        .endpoints
        .iter()
        .map(|e| {
            let tls = (e.url.scheme_str() == Some("https")).then(|| tls.ledger_client());
            let endpoint =
                RenewingEndpoint::new(&e.url.to_string(), &material.genesis, tls).map_err(|e| failed(&e))?;
            Ok(Arc::new(endpoint) as Arc<dyn Ledger>)
        })
        .collect()
}

async fn open_source(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<(Option<BlockingSource>, Arc<Catalogue>), StartError> {
    let Some(s) = config.source.clone() else { return Ok((None, Arc::new(Catalogue::builtin()))) };
    let clock = Arc::clone(clock);
    let opened = tokio::task::spawn_blocking(move || {
        let catalogue = Catalogue::builtin();
        let mapping = Mapping::load(&s.mapping, &catalogue)?;
        for w in mapping.warnings() {
            tracing::warn!(warning = %w, "mapping");
        }
        let options = SqliteOptions { path: s.database.clone(), connections: s.max_parallel };
        let (source, _) = SqliteSource::open(options, mapping, clock)?;
        Ok::<_, gw_source::SourceError>((
            BlockingSource::new(Arc::new(source), s.max_parallel, 64),
            catalogue,
        ))
    })
    .await
    .map_err(|e| StartError::Source(e.to_string()))?;
    let (source, catalogue) = opened.map_err(|e| StartError::Source(chain(&e)))?;
    Ok((Some(source), Arc::new(catalogue)))
}

fn rates(config: &Config) -> Rates {
    let of = |q: crate::config::Quota| Rate { per_minute: q.per_minute, burst: q.burst };
    Rates {
        institution: of(config.limits.institution),
        operator: of(config.limits.operator),
        subject: of(config.limits.subject),
        authorization: of(config.limits.authorization),
    }
}

fn revoked(material: &Material) -> Result<HashMap<ListenerKind, Vec<Crl>>, StartError> {
    let lists = |t: &Trust| {
        let parsed: Result<Vec<_>, _> = t.crls.iter().map(|crl| Crl::from_der(crl.as_ref())).collect();
        parsed.map_err(|e| StartError::Tls(chain(&e)))
    };
    let mut all = HashMap::from([
        (ListenerKind::Man, lists(&material.man)?),
        (ListenerKind::Admin, lists(&material.admin)?),
    ]);
    if let Some(bank) = &material.bank {
        all.insert(ListenerKind::Bank, lists(bank)?);
    }
    Ok(all)
}

/// Calls only the TLS keys that the verified ledger binds to the node that is called.
fn dial_client(tls: &TlsSet, state: &StateHandle, clock: &Arc<dyn Clock>) -> dial::Client {
    let (state, clock) = (state.clone(), Arc::clone(clock));
    let allowed: dial::Allowed = Arc::new(move |node, spki| {
        let state = state.read();
        View::new(&state).node_with_tls(node, spki, clock.now()).is_ok_and(|found| found.is_some())
    });
    dial::Client::new(tls.man_client(), allowed, dial::DialOptions::default())
}

async fn bind(
    app: &Arc<App>,
    tls: &TlsSet,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<(Server, axum::Router)>, StartError> {
    let mut servers = Vec::new();
    let listen = &app.config.listen;
    let mut wanted: Vec<(ListenerKind, &Listen, axum::Router)> =
        vec![(ListenerKind::Admin, &listen.admin, api::router(ListenerKind::Admin, app))];
    if let (true, Some(l)) = (app.has(Role::Institution), &listen.bank) {
        wanted.push((ListenerKind::Bank, l, api::router(ListenerKind::Bank, app)));
    }
    if let Some(l) = &listen.man {
        wanted.push((ListenerKind::Man, l, api::router(ListenerKind::Man, app)));
    }
    for (kind, l, router) in wanted {
        let Some(config) = tls.server(kind) else { continue };
        servers.push((Server::bind(kind, l, config, Arc::clone(clock)).await?, router));
    }
    Ok(servers)
}
