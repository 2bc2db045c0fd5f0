//! Keystores of a development consortium: software keys, or a simulated TPM per gateway.

use super::pki::write_private;
use crate::{
    assemble::keystore,
    config::keystore::{Backend, Keystore, Tpm2, TpmDevice},
};
use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use gw_proto::{PublicKey, Scheme};
use hsm_api::{Entropy as _, KeyPurpose, OsEntropy};
use std::path::{Path, PathBuf};

/// What holds the keys of each gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HsmKind {
    /// software keys in an encrypted file
    Soft,
    /// a swtpm per gateway, by its socket
    Swtpm,
    /// the same, but through our SPI driver and a model of the chip's registers
    SpiSim,
}

/// Makes one gateway's keystore with node key and account key. Gives the node key and the `[keystore]` section.
pub(super) fn make(
    kind: HsmKind,
    folder: &Path,
    socket: Option<PathBuf>,
    scheme: Scheme,
) -> Result<(PublicKey, String)> {
    let backend = match (kind, socket) {
        (HsmKind::Soft, _) => soft(folder)?,
        (_, None) => {
            anyhow::bail!("--hsm swtpm and spi-sim need --tpm-dir: a folder with one socket per node")
        }
        (HsmKind::Swtpm, Some(socket)) => tpm(folder, TpmDevice::SwtpmUnix(reachable(socket)?)),
        (HsmKind::SpiSim, Some(socket)) => tpm(folder, TpmDevice::SpiSim(reachable(socket)?)),
    };
    let [node_key, account_key, attestation_key] = ["node", "account", "attestation"].map(str::to_owned);
    let config = Keystore { backend, node_key, account_key, attestation_key };
    let opened = keystore::init(&config, None)?;
    let node = opened.store.create_key(&config.node_key, KeyPurpose::Node, scheme)?;
    opened.store.create_key(&config.account_key, KeyPurpose::Account, Scheme::Sm2Sm3)?;
    if opened.attests() {
        opened.store.create_key(&config.attestation_key, KeyPurpose::Attestation, scheme)?;
    }
    Ok((*node.public_key(), section(&config.backend, opened.pin)))
}

fn soft(folder: &Path) -> Result<Backend> {
    let mut passphrase = [0u8; 24];
    OsEntropy.fill(&mut passphrase).context("randomness")?;
    let passphrase_file = folder.join("passphrase");
    write_private(&passphrase_file, hex::encode(passphrase).as_bytes())?;
    Ok(Backend::Development { path: folder.join("keys.json"), passphrase_file })
}

fn tpm(folder: &Path, device: TpmDevice) -> Backend {
    let index = folder.join("tpm-keys.json");
    Backend::Tpm2(Tpm2 { index, device, pin: None, owner_auth_file: None, key_auth_file: None })
}

/// A name for a socket has at most 107 bytes; longer ones fail with words that help nobody.
fn reachable(socket: PathBuf) -> Result<PathBuf> {
    ensure!(socket.exists(), "{}: no such socket; start swtpm there first", socket.display());
    ensure!(socket.as_os_str().len() < 108, "{}: too long for a socket", socket.display());
    Ok(socket.canonicalize()?)
}

fn section(backend: &Backend, pin: Option<Vec<u8>>) -> String {
    let device = match backend {
        Backend::Tpm2(c) => match &c.device {
            TpmDevice::SpiSim(at) => format!("spi-sim:{}", at.display()),
            TpmDevice::SwtpmUnix(at) => format!("swtpm:{}", at.display()),
            other => format!("{other:?}"),
        },
        _ => {
            return "[keystore]\nkind = \"development\"\npath = \"keys.json\"\npassphrase_file = \"passphrase\"\n"
                .to_owned();
        }
    };
    let pin = hex::encode(pin.unwrap_or_default());
    format!(
        "[keystore]\nkind = \"tpm2\"\npath = \"tpm-keys.json\"\n\n[keystore.tpm2]\ndevice = \"{device}\"\npin = \"{pin}\"\n"
    )
}
