//! `xinguan ledger dev`: the development ledger of a folder made by `xinguan dev consortium`.
//!
//! At the first start it takes the consortium's bootstrap batch (members, policy, evidence roots), signed by
//! two of three governance keys like any governance batch.

use crate::{
    commands::Exit,
    config::{LogFormat, Telemetry},
    telemetry,
};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use gw_ledger::{
    dev::{self, Client, DevLedger, DevLedgerConfig, ListedClient, Submitters},
    tx::build_transaction,
};
use gw_proto::{
    Clock, Height, PublicKey, Scheme, Signature, clock::SystemClock, genesis::Genesis, record::SignedBatch,
};
use gw_sm::{
    KeyPair,
    cert::{certs_from_pem, key_from_pem},
    tls::{Profile, TlsIdentity, Trust, server_config},
};
use gw_store::FileDisk;
use hsm_api::{Entropy as _, HsmError, OsEntropy, Signer};
use serde::Deserialize;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// Which folder.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// folder that `xinguan dev consortium` made
    #[arg(long)]
    folder: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerFile {
    address: SocketAddr,
    profile: String,
    submitters: Vec<String>,
}

struct Account(KeyPair);

impl Signer for Account {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        self.0.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn load_key(path: &Path) -> Result<KeyPair> {
    let text = zeroize::Zeroizing::new(String::from_utf8(read(path)?)?);
    key_from_pem(&text).map_err(|e| anyhow!("{}: {e}", path.display()))
}

/// Serves until told to stop.
pub async fn run(args: &LedgerArgs) -> Result<Exit> {
    let telemetry_config = Telemetry {
        level: tracing::level_filters::LevelFilter::INFO,
        targets: Vec::new(),
        format: LogFormat::Json,
    };
    telemetry::init(&telemetry_config)?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        crate::commands::run::wait_for_signal().await;
        told.cancel();
    });
    serve(&args.folder, stop).await?;
    Ok(Exit::Ok)
}

/// The ledger itself, until cancelled.
pub(crate) async fn serve(consortium: &Path, stop: CancellationToken) -> Result<()> {
    let folder = consortium.join("ledger");
    let file: LedgerFile = toml::from_str(&String::from_utf8(read(&folder.join("ledger.toml"))?)?)
        .with_context(|| folder.join("ledger.toml").display().to_string())?;
    let genesis: Genesis = serde_json::from_slice(&read(&consortium.join("genesis.json"))?)?;
    let sealers =
        (1..=4).map(|i| load_key(&folder.join(format!("sealer-{i}.key")))).collect::<Result<Vec<_>>>()?;
    let own = certs_from_pem(&read(&folder.join("tls.pem"))?).map_err(|e| anyhow!("{e}"))?;
    let own_cert = own.first().context("ledger/tls.pem is empty")?.clone();
    let mut listed: Vec<ListedClient> = file.submitters.iter().cloned().map(ListedClient::Name).collect();
    listed.push(ListedClient::Name("development-ledger".to_owned()));

    let config = DevLedgerConfig::new(genesis, Submitters::Listed(listed));
    let disk = Arc::new(FileDisk::open(&folder.join("chain.dat"))?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ledger = DevLedger::open(config, sealers, clock, disk)?;
    if ledger.head() == Height(0) {
        bootstrap(&ledger, &folder, &own_cert)?;
    }
    let profile = match file.profile.as_str() {
        "sm" => Profile::Sm,
        "international" => Profile::International,
        other => bail!("ledger.toml: profile {other}: sm or international"),
    };
    let roots = certs_from_pem(&read(&consortium.join("pki/man-root.pem"))?).map_err(|e| anyhow!("{e}"))?;
    let identity = TlsIdentity {
        chain: own.into_iter().map(Into::into).collect(),
        key: Arc::new(load_key(&folder.join("tls.key"))?),
    };
    let trust = Trust { roots: roots.into_iter().map(Into::into).collect(), crls: Vec::new() };
    let tls = server_config(profile, &identity, &trust, &[b"http/1.1"]).map_err(|e| anyhow!("{e}"))?;
    let listener = tokio::net::TcpListener::bind(file.address)
        .await
        .with_context(|| format!("cannot listen on {}: is the port taken?", file.address))?;
    dev::serve(ledger, listener, Some(Arc::new(tls)), stop).await?;
    Ok(())
}

fn bootstrap(ledger: &Arc<DevLedger>, folder: &Path, own_cert: &[u8]) -> Result<()> {
    let bytes = read(&folder.join("bootstrap.json"))?;
    SignedBatch::parse(&bytes).map_err(|e| anyhow!("bootstrap.json: {e}"))?;
    let account = Account(KeyPair::generate(Scheme::Sm2Sm3, |b| OsEntropy.fill(b))?);
    let mut nonce = [0u8; 16];
    OsEntropy.fill(&mut nonce)?;
    let tx = build_transaction(ledger.genesis(), &bytes, 500, nonce, &account)?;
    let client = Client::with_certificate(IpAddr::from([127, 0, 0, 1]), own_cert);
    ledger
        .submit(&client, &gw_proto::tars::encode_transaction(&tx)?)
        .map_err(|e| anyhow!("bootstrap batch refused: {e}"))?;
    Ok(())
}
