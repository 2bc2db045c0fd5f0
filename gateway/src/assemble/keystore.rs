//! The keystore that the configuration names: made once, opened at each start.

use crate::config::keystore::{self, Backend, Keystore, TpmDevice};
use board_api::{Hsm, HsmPort};
use gw_proto::Scheme;
use hsm_api::{Entropy, KeyPurpose, KeyStore, OsEntropy, Signer};
use hsm_tpm2::{
    Options, Secret, Tpm2KeyStore,
    transport::{
        Connect,
        device::DeviceFile,
        swtpm::{Address, Swtpm},
        tis::TisChip,
    },
};
use std::{io::Read as _, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};
use zeroize::Zeroizing;

/// Why there is no keystore. The text holds the whole chain.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeystoreError(pub String);

fn failed(e: impl std::error::Error) -> KeystoreError {
    KeystoreError(super::chain(&e))
}

/// An open keystore.
pub struct OpenKeystore {
    /// keys by name
    pub store: Arc<dyn KeyStore>,
    /// the device's own random source, where it has one
    pub entropy: Option<Arc<dyn Entropy>>,
    /// for an exchanged chip to be noticed: belongs into the configuration
    pub pin: Option<Vec<u8>>,
}

/// Whether the chip is one that the board describes.
pub fn needs_board(config: &Keystore) -> bool {
    matches!(&config.backend, Backend::Tpm2(c) if c.device == TpmDevice::Board)
}

/// Opens it: its self test passes, or it does not open. `chip`: the board's, if it has one.
pub fn open(config: &Keystore, chip: Option<Hsm>) -> Result<OpenKeystore, KeystoreError> {
    match &config.backend {
        Backend::Development { path, passphrase_file } => open_development(path, passphrase_file),
        Backend::Tpm2(c) => Ok(with_tpm(Tpm2KeyStore::open(tpm_options(c, chip)?).map_err(failed)?)),
        Backend::Pkcs11(_) | Backend::Sdf(_) => unreachable_yet(config),
    }
}

/// Makes it ready for its first key. A token or device of the trade is made ready by its vendor's tool.
pub fn init(config: &Keystore, chip: Option<Hsm>) -> Result<OpenKeystore, KeystoreError> {
    match &config.backend {
        Backend::Development { path, passphrase_file } => create_development(path, passphrase_file),
        Backend::Tpm2(c) => Ok(with_tpm(Tpm2KeyStore::init(tpm_options(c, chip)?).map_err(failed)?)),
        Backend::Pkcs11(_) | Backend::Sdf(_) => open(config, chip),
    }
}

/// The node key and the account key.
pub fn keys(
    config: &Keystore,
    chip: Option<Hsm>,
) -> Result<(Arc<dyn Signer>, Arc<dyn Signer>), KeystoreError> {
    let opened = open(config, chip)?;
    let node = opened.store.load_key(&config.node_key, KeyPurpose::Node).map_err(failed)?;
    let account = opened.store.load_key(&config.account_key, KeyPurpose::Account).map_err(failed)?;
    if account.public_key().scheme != Scheme::Sm2Sm3 {
        let name = &config.account_key;
        return Err(KeystoreError(format!("key `{name}` is no SM2 key: the ledger's accounts are SM2")));
    }
    Ok((node, account))
}

fn with_tpm(store: Tpm2KeyStore) -> OpenKeystore {
    OpenKeystore { entropy: Some(store.entropy()), pin: store.pin(), store: Arc::new(store) }
}

fn tpm_options(c: &keystore::Tpm2, chip: Option<Hsm>) -> Result<Options, KeystoreError> {
    let mut options = Options::new(transport(&c.device, chip)?, &c.index);
    options.pinned.clone_from(&c.pin);
    if let Some(file) = &c.owner_auth_file {
        options.owner_auth = secret(file)?;
    }
    if let Some(file) = &c.key_auth_file {
        options.key_auth = secret(file)?;
    }
    Ok(options)
}

fn transport(device: &TpmDevice, chip: Option<Hsm>) -> Result<Arc<dyn Connect>, KeystoreError> {
    let swtpm = |server| Arc::new(Swtpm { server, control: None });
    Ok(match device {
        // the resource manager's device is named so; /dev/tpm0 has one opener and no manager
        TpmDevice::Kernel(path) => {
            let resource_manager = path.to_string_lossy().contains("rm");
            Arc::new(DeviceFile { path: path.clone(), resource_manager })
        }
        TpmDevice::SwtpmUnix(path) => swtpm(Address::Unix(path.clone())),
        TpmDevice::SwtpmTcp(to) => swtpm(Address::Tcp(*to)),
        TpmDevice::SpiSim(path) => spi_sim(path)?,
        TpmDevice::Board => {
            let missing = "keystore.tpm2.device is \"board\", but [board] describes no signing chip";
            board_chip(chip.ok_or_else(|| KeystoreError(missing.to_owned()))?)?
        }
    })
}

/// For counting time only: the board's description has set the real speed.
const BUS_HZ: u32 = 10_000_000;

/// The board's chip over our own driver, after a reset where it has a line for that.
fn board_chip(chip: Hsm) -> Result<Arc<dyn Connect>, KeystoreError> {
    let Hsm { port, reset, chip, mut delay } = chip;
    if let Some(mut reset) = reset {
        reset.pulse(&mut delay).map_err(failed)?;
    }
    let place = port.describe();
    let config = hsm_tis::Config { vendor: chip.map(|c| c.vendor), ..hsm_tis::Config::default() };
    Ok(match port {
        HsmPort::Spi { bus, cs } => {
            let registers = hsm_tis::SpiRegisters::new(bus, cs, BUS_HZ);
            Arc::new(TisChip::new(hsm_tis::Tis::new(registers, delay, config), place))
        }
        HsmPort::I2c { bus, address } => {
            let registers = hsm_tis::I2cRegisters::new(bus, address);
            Arc::new(TisChip::new(hsm_tis::Tis::new(registers, delay, config), place))
        }
        HsmPort::Kernel { path } => Arc::new(DeviceFile { path, resource_manager: true }),
    })
}

/// The first line of a private file, at most 32 bytes.
fn secret(path: &Path) -> Result<Secret, KeystoreError> {
    let io = |e: std::io::Error| KeystoreError(format!("{}: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(KeystoreError(format!("{path} is open to other users (mode {mode:o}); chmod go-rwx it")));
    }
    // capacity in advance: a growing buffer would leave copies behind
    let mut bytes = Zeroizing::new(Vec::with_capacity(128));
    file.take(100).read_to_end(&mut bytes).map_err(io)?;
    let end = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(bytes.len());
    bytes.truncate(end);
    Secret::new(bytes).map_err(failed)
}

#[cfg(feature = "dev")]
fn open_development(path: &Path, passphrase_file: &Path) -> Result<OpenKeystore, KeystoreError> {
    let passphrase = hsm_soft::Passphrase::from_file(passphrase_file).map_err(failed)?;
    let options = hsm_soft::SoftOptions::default();
    let store = hsm_soft::SoftKeyStore::open(path, &passphrase, &options, Arc::new(OsEntropy));
    tracing::warn!("the keystore is the DEVELOPMENT software keystore: never for real data");
    Ok(OpenKeystore { store: Arc::new(store.map_err(failed)?), entropy: None, pin: None })
}

#[cfg(feature = "dev")]
fn create_development(path: &Path, passphrase_file: &Path) -> Result<OpenKeystore, KeystoreError> {
    let passphrase = hsm_soft::Passphrase::from_file(passphrase_file).map_err(failed)?;
    let options = hsm_soft::SoftOptions::default();
    let store = hsm_soft::SoftKeyStore::create(path, &passphrase, &options, Arc::new(OsEntropy));
    Ok(OpenKeystore { store: Arc::new(store.map_err(failed)?), entropy: None, pin: None })
}

#[cfg(not(feature = "dev"))]
fn open_development(_: &Path, _: &Path) -> Result<OpenKeystore, KeystoreError> {
    Err(KeystoreError("this is a release build: it has no development keystore".to_owned()))
}

#[cfg(not(feature = "dev"))]
fn create_development(path: &Path, passphrase_file: &Path) -> Result<OpenKeystore, KeystoreError> {
    open_development(path, passphrase_file)
}

/// Our driver over modelled SPI wires, in front of a simulator: the demo's way to exercise the real path.
#[cfg(feature = "dev")]
fn spi_sim(socket: &Path) -> Result<Arc<dyn Connect>, KeystoreError> {
    use hsm_tis_model::{Endpoint, Model, ModelConfig};
    const SPI_HZ: u32 = 10_000_000;
    /// what a command takes, modelled
    const COMMAND_US: u64 = 600;
    let chip = hsm_tis_model::Swtpm::connect(&Endpoint::Unix(socket.to_owned()), None, COMMAND_US);
    let model = Model::new(ModelConfig::default(), chip.map_err(failed)?);
    let bus = hsm_tis::SpiRegisters::new(model.spi(), model.cs(), SPI_HZ);
    let tis = hsm_tis::Tis::new(bus, model.delay(), hsm_tis::Config::default());
    Ok(Arc::new(TisChip::new(tis, format!("modelled SPI chip before swtpm {}", socket.display()))))
}

#[cfg(not(feature = "dev"))]
fn spi_sim(_: &Path) -> Result<Arc<dyn Connect>, KeystoreError> {
    Err(KeystoreError("this is a release build: it has no modelled chip".to_owned()))
}
