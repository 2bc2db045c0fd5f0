//! `xinguan hsm …`: the keystore that a configuration names, for people.
//!
//! A running gateway may hold the device alone: stop it first, or give it a device with a resource manager.

mod bench;
mod keys;
mod rotate;

use super::Exit;
use crate::{
    assemble::keystore::{self, OpenKeystore},
    config::{self, Config},
};
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use gw_proto::Scheme;
use hsm_api::KeyPurpose;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// What to do with the keystore.
#[derive(Debug, Subcommand)]
pub enum HsmCommand {
    /// Say which device the configuration names, and whether it opens
    List(ConfigArg),
    /// Make the keystore ready and its node key and account key, once; prints what to pin
    Init(InitArgs),
    /// Open it (its self test runs) and sign with each key of the configuration
    SelfTest(ConfigArg),
    /// List the keys: name, purpose, scheme, public key
    Keys(ConfigArg),
    /// Sign for a while and say how fast the device is
    Bench(BenchArgs),
    /// Make the successor of a key; the old one stays until nothing uses it any more
    Rotate(RotateArgs),
}

/// Which configuration.
#[derive(Debug, Args)]
pub struct ConfigArg {
    /// configuration
    #[arg(long)]
    pub config: PathBuf,
}

/// How to begin.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// configuration
    #[arg(long)]
    pub config: PathBuf,
    /// scheme of the node key: sm2 or p256
    #[arg(long, default_value = "sm2")]
    pub scheme: String,
}

/// How long.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// configuration
    #[arg(long)]
    pub config: PathBuf,
    /// signatures to make, 1 to 100000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: u32,
}

/// Which key.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// configuration
    #[arg(long)]
    pub config: PathBuf,
    /// `node` or `account`
    #[arg(long)]
    pub key: String,
}

/// Runs one of them. A device blocks: off the runtime's threads.
pub async fn run(command: HsmCommand) -> Result<Exit> {
    tokio::task::spawn_blocking(move || dispatch(command, &mut std::io::stdout())).await?
}

fn dispatch(command: HsmCommand, out: &mut dyn Write) -> Result<Exit> {
    let path = match &command {
        HsmCommand::List(a) | HsmCommand::SelfTest(a) | HsmCommand::Keys(a) => &a.config,
        HsmCommand::Init(a) => &a.config,
        HsmCommand::Bench(a) => &a.config,
        HsmCommand::Rotate(a) => &a.config,
    };
    let config = match config::load(path) {
        Ok(c) => c,
        Err(e) => {
            writeln!(out, "{e}")?;
            return Ok(Exit::BadConfig);
        }
    };
    let result = match &command {
        HsmCommand::List(_) => list(&config, out),
        HsmCommand::Init(a) => init(&config, &a.scheme, path, out),
        HsmCommand::SelfTest(_) => keys::self_test(&config, out),
        HsmCommand::Keys(_) => keys::list(&config, out),
        HsmCommand::Bench(a) => bench::run(&config, a.count, out),
        HsmCommand::Rotate(a) => rotate::run(&config, &a.key, out),
    };
    match result {
        Ok(()) => Ok(Exit::Ok),
        Err(e) => {
            writeln!(out, "fail  {e:#}")?;
            Ok(Exit::Keystore)
        }
    }
}

fn open(config: &Config) -> Result<OpenKeystore> {
    Ok(keystore::open(&config.keystore, chip(config)?)?)
}

/// The board's chip, if the keystore is there.
fn chip(config: &Config) -> Result<Option<board_api::Hsm>> {
    if !keystore::needs_board(&config.keystore) {
        return Ok(None);
    }
    let wanted =
        config.board.as_ref().context("keystore.tpm2.device is \"board\", but there is no [board]")?;
    Ok(crate::board::open(wanted)?.parts.hsm.ok())
}

fn list(config: &Config, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "kind   {}", config.keystore.backend.as_str())?;
    let opened = open(config)?;
    let info = opened.store.info();
    writeln!(out, "store  {}", info.name)?;
    if info.development {
        writeln!(out, "       DEVELOPMENT: software keys, never for real data")?;
    }
    if let Some(pin) = &opened.pin {
        writeln!(out, "pin    {}", hex::encode(pin))?;
    }
    writeln!(out, "keys   {}", opened.store.list_keys()?.len())?;
    writeln!(out, "random {}", if opened.entropy.is_some() { "the device's own" } else { "the system's" })?;
    for weak in &config.weakened {
        writeln!(out, "weak   {weak}")?;
    }
    Ok(())
}

fn init(config: &Config, scheme: &str, path: &Path, out: &mut dyn Write) -> Result<()> {
    let scheme = match scheme {
        "sm2" => Scheme::Sm2Sm3,
        "p256" => Scheme::EcdsaP256Sha256,
        other => anyhow::bail!("--scheme {other}: sm2 or p256"),
    };
    let opened = keystore::init(&config.keystore, chip(config)?)?;
    let k = &config.keystore;
    // an account on an SM chain is SM2, whatever the node signs with
    let mut wanted =
        vec![(&k.node_key, KeyPurpose::Node, scheme), (&k.account_key, KeyPurpose::Account, Scheme::Sm2Sm3)];
    if opened.attests() {
        wanted.push((&k.attestation_key, KeyPurpose::Attestation, scheme));
    }
    for (name, purpose, scheme) in wanted {
        let key = keys::make(&*opened.store, name, purpose, scheme)?;
        writeln!(out, "made   {}", keys::line(name, purpose, key.public_key()))?;
    }
    if let Some(pin) = &opened.pin {
        writeln!(out, "pin    {}", hex::encode(pin))?;
        writeln!(out, "       write it into {} as keystore.tpm2.pin", path.display())?;
    }
    writeln!(out, "next   have the node key certified (identity.node_ca_chain) and listed on the ledger")?;
    Ok(())
}
