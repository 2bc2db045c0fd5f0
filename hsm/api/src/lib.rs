//! Keystores: find or make a key by name, sign, attest, seal, draw randomness. No backends.
//!
//! Traits work on digests: Z, SM3 and SHA-256 are computed once, in `gw-sm`. A chip call blocks:
//! the gateway gives each device one thread and a bounded queue, never the async runtime.
//!
//! | module | what |
//! |---|---|
//! | this one | [`KeyStore`], [`Signer`], [`Entropy`], [`HsmError`] |
//! | [`backend`] | what backends share: names, secret files, pools of sessions |
//! | [`Gate`] | before all signers: once closed, no signature leaves |
//! | [`attest`] | [`Attestor`](attest::Attestor): quotes, certified keys, credentials; only a TPM has it |
//! | [`seal`] | [`Sealer`](seal::Sealer): secrets bound to the platform's state, a counter against rollback |
//! | [`selftest`] | known answers that every keystore tries when it is opened |

pub mod attest;
pub mod backend;
mod entropy;
mod gate;
pub mod seal;
pub mod selftest;

pub use entropy::OsEntropy;
pub use gate::{Gate, SignerGate};

use gw_proto::{PublicKey, Scheme, Signature};
use std::sync::Arc;

/// What a key is for; bound when it is made, checked when it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPurpose {
    /// signs batches, roots and TLS certificates of this node
    Node,
    /// protects data at rest
    Storage,
    /// the submitter's account on the ledger: pays, carries no authority
    Account,
    /// signs what the device itself says of its state, and nothing else; only a device with an
    /// [`attest::Attestor`] has such keys
    Attestation,
}

impl KeyPurpose {
    /// The name in stores and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Storage => "storage",
            Self::Account => "account",
            Self::Attestation => "attestation",
        }
    }
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// the caller asked for what cannot be
    Caller,
    /// the device or its store
    Device,
}

/// Why a keystore did not do it.
#[derive(Debug, thiserror::Error)]
pub enum HsmError {
    /// No key of that name.
    #[error(
        "no key named `{name}` in {store}; `xinguan hsm keys` lists what is there. `xinguan hsm init` makes the keys of \
         a new keystore; an SDF device's keys are made with its maker's tool"
    )]
    NoSuchKey {
        /// the name
        name: String,
        /// the keystore
        store: String,
    },
    /// A key of that name exists already.
    #[error("a key named `{name}` exists already in {store}")]
    Exists {
        /// the name
        name: String,
        /// the keystore
        store: String,
    },
    /// The key was made for something else.
    #[error("key `{name}` is for {found}, wanted for {wanted}")]
    WrongPurpose {
        /// the name
        name: String,
        /// what it was made for
        found: &'static str,
        /// what it is wanted for
        wanted: &'static str,
    },
    /// A name that no keystore takes.
    #[error("a key's name has 1 to 64 characters of a-z, 0-9 and hyphen")]
    BadName,
    /// The keystore cannot do that scheme.
    #[error("{store} has no {scheme:?}")]
    Unsupported {
        /// the scheme
        scheme: Scheme,
        /// the keystore
        store: String,
    },
    /// The keystore has no keys for that purpose, or this key does not do that.
    #[error("{store} cannot do this: {what}")]
    NotPossible {
        /// what was asked, and why not
        what: String,
        /// the keystore
        store: String,
    },
    /// The store cannot make that key itself.
    #[error("{store} cannot make a key named `{name}`: {remedy}")]
    CannotMake {
        /// the name
        name: String,
        /// the keystore
        store: String,
        /// who can, and how
        remedy: String,
    },
    /// The queue to the device is full.
    #[error("the signing device is busy")]
    Busy,
    /// The self test failed, or the signer was closed; it stays closed.
    #[error("the signer is closed: {0}")]
    Closed(String),
    /// The device went away or stopped answering; it is looked for again at the next call.
    #[error("the signing device is away: {0}")]
    Lost(String),
    /// The call was cancelled while the device worked on it.
    #[error("cancelled")]
    Cancelled,
    /// The device or the file behind it failed.
    #[error("keystore failure: {0}")]
    Device(String),
}

impl HsmError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NoSuchKey { .. }
            | Self::Exists { .. }
            | Self::WrongPurpose { .. }
            | Self::BadName
            | Self::Unsupported { .. }
            | Self::NotPossible { .. }
            | Self::CannotMake { .. }
            | Self::Cancelled => Blame::Caller,
            Self::Busy | Self::Closed(_) | Self::Lost(_) | Self::Device(_) => Blame::Device,
        }
    }
    /// Whether the same call may succeed later.
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::Busy | Self::Lost(_))
    }
}

/// One key: its public half, and signatures. Blocks while the device works.
pub trait Signer: Send + Sync {
    /// The public half.
    fn public_key(&self) -> &PublicKey;
    /// Signs the 32 bytes that `gw_sm::message_digest` gives for this key.
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError>;
}

/// What a keystore says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// for people
    pub name: String,
    /// keys are software keys for development: marked in everything they sign for
    pub development: bool,
}

/// Finds or makes a key by name; never hands out private bytes.
pub trait KeyStore: Send + Sync {
    /// What it is.
    fn info(&self) -> StoreInfo;
    /// Loads a key made for `purpose`.
    fn load_key(&self, name: &str, purpose: KeyPurpose) -> Result<Arc<dyn Signer>, HsmError>;
    /// Makes a key; refuses a name in use.
    fn create_key(
        &self,
        name: &str,
        purpose: KeyPurpose,
        scheme: Scheme,
    ) -> Result<Arc<dyn Signer>, HsmError>;
    /// Names, purposes and public keys.
    fn list_keys(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, HsmError>;
}

/// Random bytes; may fail, never repeats silently.
pub trait Entropy: Send + Sync {
    /// Fills the whole buffer.
    fn fill(&self, out: &mut [u8]) -> Result<(), HsmError>;
}

/// Hashes a message as the key's scheme says and signs it.
pub fn sign_message(signer: &dyn Signer, message: &[u8]) -> Result<Signature, HsmError> {
    let digest = gw_sm::message_digest(signer.public_key(), message)
        .map_err(|e| HsmError::Device(format!("the keystore's own public key is unusable: {e}")))?;
    signer.sign_digest(&digest)
}
