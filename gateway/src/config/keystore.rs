//! `[keystore]`: which device holds the keys, and how it is reached.

use hsm_api::KeyPurpose;
use std::{net::SocketAddr, path::PathBuf};

/// `[keystore]`
#[derive(Debug, Clone)]
pub struct Keystore {
    /// where the keys are
    pub backend: Backend,
    /// name of the node key
    pub node_key: String,
    /// name of the ledger account's key
    pub account_key: String,
    /// name of the attestation key, where the backend attests
    pub attestation_key: String,
}

/// Where the keys are. Adding a kind? Here, `raw.rs`, `check/keystore.rs`, `assemble/keystore.rs`, the example.
#[derive(Debug, Clone)]
pub enum Backend {
    /// software keys in a file; only in a build with the feature `dev`
    Development {
        /// the file
        path: PathBuf,
        /// a file whose first line unlocks it
        passphrase_file: PathBuf,
    },
    /// a TPM 2.0
    Tpm2(Tpm2),
    /// a PKCS#11 module
    Pkcs11(Pkcs11),
    /// an SDF device (GM/T 0018)
    Sdf(Sdf),
}

impl Backend {
    /// The word in the file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Development { .. } => "development",
            Self::Tpm2(_) => "tpm2",
            Self::Pkcs11(_) => "pkcs11",
            Self::Sdf(_) => "sdf",
        }
    }
    /// Files that must be there and that nobody else may read, with their keys in the configuration.
    pub fn private_files(&self) -> Vec<(&'static str, &PathBuf)> {
        match self {
            Self::Development { path, passphrase_file } => {
                vec![("keystore.path", path), ("keystore.passphrase_file", passphrase_file)]
            }
            Self::Tpm2(c) => {
                let mut all = vec![("keystore.path", &c.index)];
                all.extend(c.owner_auth_file.iter().map(|f| ("keystore.tpm2.owner_auth_file", f)));
                all.extend(c.key_auth_file.iter().map(|f| ("keystore.tpm2.key_auth_file", f)));
                all
            }
            Self::Pkcs11(c) => vec![("keystore.pkcs11.pin_file", &c.pin_file)],
            Self::Sdf(c) => {
                let files = c.keys.iter().filter_map(|k| k.password_file.as_ref());
                files.map(|f| ("keystore.sdf.keys", f)).collect()
            }
        }
    }
}

/// `[keystore.tpm2]`
#[derive(Debug, Clone)]
pub struct Tpm2 {
    /// names, purposes and key blobs; useless without the chip
    pub index: PathBuf,
    /// the way to the chip
    pub device: TpmDevice,
    /// the storage key's name, as `xinguan hsm init` printed it
    pub pin: Option<Vec<u8>>,
    /// a file whose first line is the owner's authorization value; none: it is empty
    pub owner_auth_file: Option<PathBuf>,
    /// a file whose first line protects each key in the chip; none: whoever reaches the chip may sign
    pub key_auth_file: Option<PathBuf>,
}

/// The way to a TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TpmDevice {
    /// the kernel drives it: `/dev/tpmrm0`
    Kernel(PathBuf),
    /// the chip that `[board]` describes, over our own driver
    Board,
    /// a simulator's unix socket
    SwtpmUnix(PathBuf),
    /// a simulator's TCP port
    SwtpmTcp(SocketAddr),
    /// our driver, over modelled SPI wires, in front of a simulator; only in a build with the feature `dev`
    SpiSim(PathBuf),
}

/// `[keystore.pkcs11]`
#[derive(Debug, Clone)]
pub struct Pkcs11 {
    /// the vendor's shared library
    pub module: PathBuf,
    /// which token
    pub token: Pkcs11Token,
    /// a file whose first line is the user PIN
    pub pin_file: PathBuf,
    /// log in although a wrong PIN was given before
    pub login_after_wrong_pin: bool,
    /// the vendor's numbers for SM2
    pub sm2: Option<Pkcs11Sm2>,
}

/// Which token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pkcs11Token {
    /// by the label that the operator gave it
    Label(String),
    /// by its maker's serial number
    Serial(String),
}

/// A vendor's mechanisms for SM2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pkcs11Sm2 {
    /// CKM_… that signs a digest
    pub sign: u64,
    /// CKM_… that makes a key pair
    pub generate: u64,
}

/// `[keystore.sdf]`
#[derive(Debug, Clone)]
pub struct Sdf {
    /// the vendor's shared library
    pub library: PathBuf,
    /// bytes of a coordinate in the library's structures: 64 or 32; none: found out
    pub layout: Option<u8>,
    /// the keys in the device
    pub keys: Vec<SdfKey>,
}

/// A key in an SDF device.
#[derive(Debug, Clone)]
pub struct SdfKey {
    /// its name here
    pub name: String,
    /// its index in the device
    pub index: u32,
    /// what it is for
    pub purpose: KeyPurpose,
    /// a file whose first line is its access password; none: it needs none
    pub password_file: Option<PathBuf>,
}
