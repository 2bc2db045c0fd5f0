//! The keystore that the configuration names: made once, opened at each start.

use crate::{
    attester::{self, Chip, Pcrs},
    config::keystore::{self, Backend, Keystore, Pkcs11Token, TpmDevice},
};
use board_api::{Hsm, HsmPort};
use gw_proto::Scheme;
use hsm_api::{Entropy, HsmError, KeyPurpose, KeyStore, OsEntropy, Signer};
use hsm_tpm2::{
    Options, Secret, Tpm2KeyStore,
    transport::{
        Connect,
        device::DeviceFile,
        swtpm::{Address, Swtpm},
        tis::TisChip,
    },
};
use std::{path::Path, sync::Arc};

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
    tpm: Option<Tpm2KeyStore>,
}

impl OpenKeystore {
    /// Whether it has attestation keys.
    pub fn attests(&self) -> bool {
        self.tpm.is_some()
    }
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
        Backend::Pkcs11(c) => open_pkcs11(c),
        Backend::Sdf(c) => open_sdf(c),
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

/// The keys that a gateway runs with.
pub struct Keys {
    /// signs batches, roots, TLS certificates
    pub node: Arc<dyn Signer>,
    /// of the ledger's account
    pub account: Arc<dyn Signer>,
    /// what attests; or why nothing does
    pub chip: Result<Chip, String>,
}

/// Opens the keys that the configuration names.
pub fn keys(config: &Keystore, chip: Option<Hsm>) -> Result<Keys, KeystoreError> {
    let opened = open(config, chip)?;
    let node = opened.store.load_key(&config.node_key, KeyPurpose::Node).map_err(failed)?;
    let account = opened.store.load_key(&config.account_key, KeyPurpose::Account).map_err(failed)?;
    if account.public_key().scheme != Scheme::Sm2Sm3 {
        let name = &config.account_key;
        return Err(KeystoreError(format!("key `{name}` is no SM2 key: the ledger's accounts are SM2")));
    }
    Ok(Keys { node, account, chip: attesting(config, opened.tpm) })
}

fn attesting(config: &Keystore, tpm: Option<Tpm2KeyStore>) -> Result<Chip, String> {
    let kind = config.backend.as_str();
    let tpm = tpm.ok_or_else(|| format!("a keystore of kind `{kind}` has no attestation"))?;
    let attestor = tpm.attestor(&config.attestation_key).map_err(|e| super::chain(&e))?;
    let node_area = tpm.public_area(&config.node_key).map_err(|e| super::chain(&e))?;
    let info = tpm.chip_info().map_err(|e| super::chain(&e))?;
    let endorsement = attestor.endorsement_certificate().map_err(|e| super::chain(&e));
    Ok(Chip {
        endorsement,
        bank: attester::bank(info.bank),
        node_key: config.node_key.clone(),
        node_area,
        attestor,
        pcrs: Arc::new(tpm),
    })
}

impl Pcrs for Tpm2KeyStore {
    fn read(&self, pcr: u8) -> Result<[u8; 32], HsmError> {
        let found = self.read_pcrs(&[pcr])?;
        let value = found.into_iter().find(|(n, _)| *n == pcr).map(|(_, value)| value);
        value.ok_or_else(|| HsmError::Device(format!("the TPM gave no value of PCR {pcr}")))
    }
    fn extend(&self, pcr: u8, digest: &[u8; 32]) -> Result<(), HsmError> {
        Ok(self.extend_pcr(pcr, digest)?)
    }
}

fn with_tpm(store: Tpm2KeyStore) -> OpenKeystore {
    OpenKeystore {
        entropy: Some(store.entropy()),
        pin: store.pin(),
        store: Arc::new(store.clone()),
        tpm: Some(store),
    }
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
const SPI_HZ: u32 = 10_000_000;
const I2C_HZ: u32 = 400_000;

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
            let registers = hsm_tis::SpiRegisters::new(bus, cs, SPI_HZ);
            Arc::new(TisChip::new(hsm_tis::Tis::new(registers, delay, config), place))
        }
        HsmPort::I2c { bus, address } => {
            let registers = hsm_tis::I2cRegisters::new(bus, address, I2C_HZ);
            Arc::new(TisChip::new(hsm_tis::Tis::new(registers, delay, config), place))
        }
        HsmPort::Kernel { path } => Arc::new(DeviceFile { path, resource_manager: true }),
    })
}

/// An authorization value, from the first line of a private file.
fn secret(path: &Path) -> Result<Secret, KeystoreError> {
    let line = hsm_api::backend::read_secret_line(path).map_err(failed)?;
    Secret::new(zeroize::Zeroizing::new(line.as_bytes().to_vec())).map_err(failed)
}

fn open_pkcs11(c: &keystore::Pkcs11) -> Result<OpenKeystore, KeystoreError> {
    use hsm_pkcs11::{Pkcs11KeyStore, Pkcs11Options, Sm2Mechanisms, TokenName};
    let token = match &c.token {
        Pkcs11Token::Label(label) => TokenName::Label(label.clone()),
        Pkcs11Token::Serial(serial) => TokenName::Serial(serial.clone()),
    };
    let mut options = Pkcs11Options::new(c.module.clone(), token, c.pin_file.clone());
    options.login_after_wrong_pin = c.login_after_wrong_pin;
    options.sm2 = c.sm2.map(|m| Sm2Mechanisms::new(m.sign, m.generate));
    let store = Arc::new(Pkcs11KeyStore::open(&options).map_err(failed)?);
    Ok(OpenKeystore { entropy: Some(Arc::clone(&store) as Arc<dyn Entropy>), pin: None, store, tpm: None })
}

fn open_sdf(c: &keystore::Sdf) -> Result<OpenKeystore, KeystoreError> {
    use hsm_sdf::{Layout, SdfKey, SdfKeyStore, SdfOptions};
    let keys = c.keys.iter().map(|k| SdfKey {
        name: k.name.clone(),
        purpose: k.purpose,
        index: k.index,
        password_file: k.password_file.clone(),
    });
    let mut options = SdfOptions::new(c.library.clone(), keys.collect());
    options.layout = c.layout.map(|bytes| if bytes == 64 { Layout::Wide } else { Layout::Narrow });
    let store = Arc::new(SdfKeyStore::open(&options).map_err(failed)?);
    Ok(OpenKeystore { entropy: Some(Arc::clone(&store) as Arc<dyn Entropy>), pin: None, store, tpm: None })
}

#[cfg(feature = "dev")]
fn open_development(path: &Path, passphrase_file: &Path) -> Result<OpenKeystore, KeystoreError> {
    let passphrase = hsm_soft::Passphrase::from_file(passphrase_file).map_err(failed)?;
    let options = hsm_soft::SoftOptions::default();
    let store = hsm_soft::SoftKeyStore::open(path, &passphrase, &options, Arc::new(OsEntropy));
    tracing::warn!("the keystore is the DEVELOPMENT software keystore: never for real data");
    Ok(OpenKeystore { store: Arc::new(store.map_err(failed)?), entropy: None, pin: None, tpm: None })
}

#[cfg(feature = "dev")]
fn create_development(path: &Path, passphrase_file: &Path) -> Result<OpenKeystore, KeystoreError> {
    let passphrase = hsm_soft::Passphrase::from_file(passphrase_file).map_err(failed)?;
    let options = hsm_soft::SoftOptions::default();
    let store = hsm_soft::SoftKeyStore::create(path, &passphrase, &options, Arc::new(OsEntropy));
    Ok(OpenKeystore { store: Arc::new(store.map_err(failed)?), entropy: None, pin: None, tpm: None })
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
