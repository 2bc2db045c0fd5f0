//! The keystore: init, open, make, load, list, sign.

use crate::{
    attestor::TpmAttestor,
    commands::{
        keys::{self, Blob},
        management::{self, ChipInfo, LockoutInfo},
        storage,
    },
    crypt,
    device::{Device, DeviceOptions, Open},
    entropy::TpmEntropy,
    error::TpmError,
    index::{self, Held, Index, MAX_KEYS},
    sealer::TpmSealer,
    secret::Secret,
    template,
    transport::Connect,
};
use gw_proto::{PublicKey, Scheme, Signature};
use hsm_api::{
    Entropy, HsmError, KeyPurpose, KeyStore, OsEntropy, Signer, StoreInfo,
    attest::Attestor,
    backend::{clip, is_name},
    seal::Sealer,
    selftest::{self, SelfTestError, Vectors},
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// How a keystore is opened. [`Options::new`] has the defaults.
#[derive(Clone)]
pub struct Options {
    /// the way to the chip
    pub transport: Arc<dyn Connect>,
    /// the index file
    pub index: PathBuf,
    /// the storage key's name as [`Tpm2KeyStore::init`] gave it; from the sealed configuration. Without it the
    /// name in the index is believed, which whoever writes that file chooses.
    pub pinned: Option<Vec<u8>>,
    /// of the owner hierarchy
    pub owner_auth: Secret,
    /// of the endorsement hierarchy
    pub endorsement_auth: Secret,
    /// from which each key's own authorization value is derived; empty: keys have none
    pub key_auth: Secret,
    /// persistent handle of the storage key
    pub storage_handle: u32,
    /// NV index of the counter against rollback
    pub counter_index: u32,
    /// salts and nonces; not the chip's own, because they protect against a chip that is another
    pub entropy: Arc<dyn Entropy>,
    /// the longest time for one command
    pub budget: Duration,
    /// how many callers may wait for the chip
    pub queue: usize,
    /// how long a caller waits for his turn
    pub patience: Duration,
}

impl Options {
    /// No authorization values, no pin, a minute for a command, 64 callers waiting at most 10 seconds.
    pub fn new(transport: Arc<dyn Connect>, index: impl Into<PathBuf>) -> Self {
        Self {
            transport,
            index: index.into(),
            pinned: None,
            owner_auth: Secret::empty(),
            endorsement_auth: Secret::empty(),
            key_auth: Secret::empty(),
            storage_handle: 0x8100_5847,
            counter_index: 0x0180_5847,
            entropy: Arc::new(OsEntropy),
            budget: Duration::from_secs(60),
            queue: 64,
            patience: Duration::from_secs(10),
        }
    }
}

/// Keys in a TPM 2.0. Cheap to clone; all clones and all keys share one device.
#[derive(Clone)]
pub struct Tpm2KeyStore(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) device: Device,
    pub(crate) index: PathBuf,
    pub(crate) counter_index: u32,
    pub(crate) endorsement_auth: Secret,
    key_auth: Secret,
}

impl Tpm2KeyStore {
    /// Makes the storage key and the counter in the chip, and an empty index, if there is none. Done again after a power loss it
    /// finds what is there. The pin belongs in the sealed configuration: this is the one time that whatever
    /// answers on the bus is believed.
    pub fn init(options: Options) -> Result<Self, TpmError> {
        let _lock = index::lock(&options.index)?;
        if options.index.symlink_metadata().is_ok() {
            return Err(TpmError::Exists { path: options.index });
        }
        let pin = options.pinned.clone();
        let store = Self::with(options, pin);
        store.self_test()?;
        store
            .0
            .device
            .with(|open| prepare_counter(open, store.0.counter_index, store.0.device.owner_auth()))?;
        let name = store.pin().unwrap_or_default();
        let empty = Index { storage_key_name: hex::encode(name), keys: BTreeMap::new() };
        index::replace(&store.0.index, &empty)?;
        Ok(store)
    }

    /// Opens a keystore: the self tests must pass, and the chip must be the pinned one.
    pub fn open(options: Options) -> Result<Self, TpmError> {
        let index = index::read(&options.index)?;
        let pin = match &options.pinned {
            Some(pin) => pin.clone(),
            None => hex::decode(&index.storage_key_name).map_err(|_| TpmError::Format {
                path: options.index.clone(),
                what: "the storage key's name is not hexadecimal".to_owned(),
            })?,
        };
        let store = Self::with(options, Some(pin));
        store.self_test()?;
        Ok(store)
    }

    fn with(o: Options, pin: Option<Vec<u8>>) -> Self {
        let device = DeviceOptions {
            transport: o.transport,
            entropy: o.entropy,
            storage_handle: o.storage_handle,
            owner_auth: o.owner_auth,
            budget: o.budget,
            queue: o.queue,
            patience: o.patience,
        };
        Self(Arc::new(Shared {
            device: Device::new(device, pin),
            index: o.index,
            counter_index: o.counter_index,
            endorsement_auth: o.endorsement_auth,
            key_auth: o.key_auth,
        }))
    }

    /// The storage key's name, to be pinned.
    pub fn pin(&self) -> Option<Vec<u8>> {
        self.0.device.pin()
    }

    /// Tests the chip (SelfTest), this program's algorithms (known answers), and both random sources. If one
    /// fails the keystore closes.
    pub fn self_test(&self) -> Result<(), TpmError> {
        let tested = self.0.device.with(|open| management::self_test(&mut open.chip));
        if let Err(TpmError::FailureMode { detail }) = &tested {
            self.close(&format!("the TPM's self test failed ({detail}); power-cycle or replace it"));
        }
        tested?;
        for source in [Arc::new(TpmEntropy(self.0.clone())) as Arc<dyn Entropy>, self.0.device.entropy()] {
            match selftest::run(&Vectors::standard(), &*source) {
                Err(e @ SelfTestError::WrongAnswer { .. }) => {
                    self.close(&e.to_string());
                    return Err(TpmError::Closed(e.to_string()));
                }
                Err(SelfTestError::Entropy { source }) => return Err(TpmError::Host(source)),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Closes all signers for good: nothing is signed from now on, what is in flight does not leave, and
    /// session keys are wiped. For the tamper switch.
    pub fn close(&self, why: &str) {
        self.0.device.close(why);
    }

    /// Erases the chip's owner hierarchy (Clear): all keys are gone for ever. For the tamper switch. The
    /// keystore is closed afterwards.
    pub fn erase(&self, lockout_auth: &Secret) -> Result<(), TpmError> {
        self.0.device.with(|open| management::clear(&mut open.chip, lockout_auth))?;
        self.close("the TPM's keys were erased");
        Ok(())
    }

    /// Lets the chip go so that another program may use it; the next call connects again. Tells the chip that
    /// power may go.
    pub fn disconnect(&self) -> Result<(), TpmError> {
        self.0.device.disconnect()
    }

    /// Stops the command that the chip works on, from another thread; its caller gets
    /// [`HsmError::Cancelled`].
    pub fn cancel(&self) -> Result<(), TpmError> {
        self.0.device.cancel()
    }

    /// What the chip is.
    pub fn chip_info(&self) -> Result<ChipInfo, TpmError> {
        self.0.device.with(|open| Ok(open.info.clone()))
    }

    /// The state of the protection against guessing.
    pub fn lockout(&self) -> Result<LockoutInfo, TpmError> {
        self.0.device.with(|open| management::lockout(&mut open.chip))
    }

    /// The chip's random source.
    pub fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::new(TpmEntropy(self.0.clone()))
    }

    /// Seals to this chip.
    pub fn sealer(&self) -> Arc<dyn Sealer> {
        Arc::new(TpmSealer(self.0.clone()))
    }

    /// Attests with the key of this name, made with [`KeyPurpose::Attestation`].
    pub fn attestor(&self, name: &str) -> Result<Arc<dyn Attestor>, HsmError> {
        let held = self.0.find(name, KeyPurpose::Attestation)?;
        let auth = self.0.auth_of(name, &held);
        Ok(Arc::new(TpmAttestor::new(self.0.clone(), &held, auth)?))
    }

    /// TPMT_PUBLIC of a key: what a verifier of its certificate is shown.
    pub fn public_area(&self, name: &str) -> Result<Vec<u8>, HsmError> {
        self.0.find_any(name).map(|(held, _)| held.blob.public)
    }

    /// Adds to a PCR of the bank in use.
    pub fn extend_pcr(&self, pcr: u8, digest: &[u8; 32]) -> Result<(), TpmError> {
        self.0.device.with(|open| storage::pcr_extend(&mut open.chip, open.info.bank, pcr, digest))
    }

    /// Reads PCRs of the bank in use.
    pub fn read_pcrs(&self, pcrs: &[u8]) -> Result<Vec<(u8, [u8; 32])>, TpmError> {
        self.0.device.with(|open| storage::pcr_read(&mut open.chip, open.info.bank, pcrs))
    }

    /// Runs commands that the keystore does not need itself ([`crate::commands`]), with the storage key as
    /// parent. A chip that was reset, or is full, makes `work` run again: only its last command may change
    /// something.
    pub fn with_chip<T>(
        &self,
        mut work: impl FnMut(&mut crate::Chip, &crate::Entity) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        self.0.device.with(|open| {
            open.flush_keys();
            work(&mut open.chip, &open.storage)
        })
    }
}

/// The counter exists and was raised once: before that it cannot be read (part 3, 31.7).
fn prepare_counter(open: &mut Open, index: u32, owner: &Secret) -> Result<(), TpmError> {
    let found = storage::nv_public(&mut open.chip, index, "");
    let found = match found {
        Err(TpmError::NoIndex { .. }) => {
            storage::define_counter(&mut open.chip, owner, index, &[])?;
            storage::nv_public(&mut open.chip, index, "")?
        }
        other => other?,
    };
    if !found.is_counter() || found.size != 8 {
        return Err(TpmError::HandleTaken { handle: index, found: hex::encode(&found.entity.name) });
    }
    if found.is_written() { Ok(()) } else { storage::nv_increment(&mut open.chip, &found.entity) }
}

impl Shared {
    pub(crate) fn place(&self) -> String {
        format!("TPM {}", self.device.place())
    }

    /// A key of the index, if it has this purpose.
    fn find(&self, name: &str, purpose: KeyPurpose) -> Result<Held, HsmError> {
        let held = index::read(&self.index)?.keys.remove(name);
        let held = held.ok_or_else(|| HsmError::NoSuchKey { name: clip(name), store: self.place() })?;
        if held.purpose != purpose {
            let (found, wanted) = (held.purpose.as_str(), purpose.as_str());
            return Err(HsmError::WrongPurpose { name: clip(name), found, wanted });
        }
        Ok(held)
    }

    /// Any key of the index, with its authorization value.
    pub(crate) fn find_any(&self, name: &str) -> Result<(Held, Secret), HsmError> {
        let held = index::read(&self.index)?.keys.remove(name);
        let held = held.ok_or_else(|| HsmError::NoSuchKey { name: clip(name), store: self.place() })?;
        let auth = self.auth_of(name, &held);
        Ok((held, auth))
    }

    fn auth_of(&self, name: &str, held: &Held) -> Secret {
        self.auth(&template::label(name, held.purpose, held.public.scheme))
    }

    /// Each key's own value: one that leaks opens no other.
    fn auth(&self, label: &[u8; 32]) -> Secret {
        if self.key_auth.is_empty() {
            return Secret::empty();
        }
        let value = crypt::hmac_sha256(self.key_auth.bytes(), &[label]);
        Secret::trimmed(Zeroizing::new(value.to_vec()))
    }

    fn signer(self: &Arc<Self>, name: &str, held: Held) -> TpmSigner {
        let auth = self.auth_of(name, &held);
        let restricted = held.purpose == KeyPurpose::Attestation;
        TpmSigner {
            shared: self.clone(),
            name: name.to_owned(),
            public: held.public,
            blob: held.blob,
            auth,
            restricted,
        }
    }

    /// Loads a key once, so that a changed blob is noticed when the key is asked for.
    fn try_load(&self, name: &str, held: &Held) -> Result<(), TpmError> {
        const FORMAT_ONE: u32 = 0x80;
        match self.device.with(|open| open.key(&held.blob).map(drop)) {
            // the storage key is the pinned one: what it does not open was changed, or is another chip's
            Err(TpmError::Code { command: "Load", code, .. }) if code & FORMAT_ONE != 0 => {
                let what = "the TPM refuses its blob";
                Err(TpmError::Tampered { name: clip(name), path: self.index.clone(), what })
            }
            other => other,
        }
    }
}

impl KeyStore for Tpm2KeyStore {
    fn info(&self) -> StoreInfo {
        StoreInfo { name: self.0.place(), development: false }
    }

    fn load_key(&self, name: &str, purpose: KeyPurpose) -> Result<Arc<dyn Signer>, HsmError> {
        let held = self.0.find(name, purpose)?;
        self.0.try_load(name, &held)?;
        Ok(Arc::new(self.0.signer(name, held)))
    }

    fn create_key(
        &self,
        name: &str,
        purpose: KeyPurpose,
        scheme: Scheme,
    ) -> Result<Arc<dyn Signer>, HsmError> {
        if !is_name(name) {
            return Err(HsmError::BadName);
        }
        let info = self.chip_info()?;
        if scheme == Scheme::Sm2Sm3 && !info.sm2 {
            return Err(HsmError::Unsupported { scheme, store: self.0.place() });
        }
        let _lock = index::lock(&self.0.index)?;
        let mut index = index::read(&self.0.index)?;
        if index.keys.contains_key(name) {
            return Err(HsmError::Exists { name: name.to_owned(), store: self.0.place() });
        }
        if index.keys.len() >= MAX_KEYS {
            return Err(HsmError::Device(format!("the index holds {MAX_KEYS} keys and takes no more")));
        }
        let public = template::signing(name, purpose, scheme, info.hash);
        let auth = self.0.auth(&template::label(name, purpose, scheme));
        let blob =
            self.0.device.with(|open| keys::create(&mut open.chip, &open.storage, &auth, &[], &public))?;
        let held = made(purpose, &public, blob)?;
        index.keys.insert(name.to_owned(), held.clone());
        index::replace(&self.0.index, &index)?;
        Ok(Arc::new(self.0.signer(name, held)))
    }

    fn list_keys(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, HsmError> {
        let index = index::read(&self.0.index)?;
        Ok(index.keys.into_iter().map(|(name, held)| (name, held.purpose, held.public)).collect())
    }
}

/// The chip made what was asked for: only the point is its own.
fn made(purpose: KeyPurpose, asked: &tpm2_protocol::data::TpmtPublic, blob: Blob) -> Result<Held, TpmError> {
    let other = || TpmError::Malformed { command: "Create", what: "it made another kind of key".to_owned() };
    let mut got = template::parse(&blob.public).ok_or_else(other)?;
    let public = template::signing_key(&got).ok_or_else(other)?;
    gw_sm::sig::check_key(&public)
        .map_err(|e| TpmError::Malformed { command: "Create", what: e.to_string() })?;
    got.unique = asked.unique.clone();
    if got != *asked {
        return Err(other());
    }
    Ok(Held { purpose, public, blob })
}

impl std::fmt::Debug for Tpm2KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tpm2KeyStore({})", self.0.place())
    }
}

/// A key in the chip.
struct TpmSigner {
    shared: Arc<Shared>,
    name: String,
    public: PublicKey,
    blob: Blob,
    auth: Secret,
    restricted: bool,
}

impl Signer for TpmSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        if self.restricted {
            let what =
                format!("key `{}` signs only what the TPM says of itself; use the attestor", self.name);
            return Err(HsmError::NotPossible { what, store: self.shared.place() });
        }
        let signed = self.shared.device.with(|open| {
            let key = open.key(&self.blob)?;
            keys::sign(&mut open.chip, &key, &self.auth, digest)
        });
        Ok(signed?)
    }
}
