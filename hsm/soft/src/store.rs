//! The keystore: make, load, list, sign.

use crate::{
    error::SoftError,
    file::{self, FileKey, KdfCost, Writing},
    passphrase::Passphrase,
};
use gw_proto::{PublicKey, Scheme, Signature};
use gw_sm::KeyPair;
use hsm_api::{
    Entropy, HsmError, KeyPurpose, KeyStore, Signer, StoreInfo,
    backend::{clip, is_name},
    selftest,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use zeroize::Zeroizing;

/// What it says of itself, in evidence and logs.
pub const NAME: &str = "development software keystore";
/// The most keys in a file.
pub const MAX_KEYS: usize = 256;

/// How a keystore is made and used.
#[derive(Debug, Clone)]
pub struct SoftOptions {
    /// what keys may be made; keys that are there are used whatever their scheme
    pub schemes: Vec<Scheme>,
    /// cost of the passphrase's derivation in a new file; an old one says its own
    pub cost: KdfCost,
}

impl Default for SoftOptions {
    fn default() -> Self {
        Self { schemes: vec![Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256], cost: KdfCost::default() }
    }
}

/// Keys in an encrypted file. Several handles and processes may use one file; writing takes a lock.
pub struct SoftKeyStore {
    path: PathBuf,
    schemes: Vec<Scheme>,
    file_key: FileKey,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
}

struct State {
    keys: Keys,
    /// the writing of the file that `keys` is
    writing: Writing,
}

type Keys = BTreeMap<String, Held>;

#[derive(Clone)]
struct Held {
    purpose: KeyPurpose,
    signer: Arc<SoftSigner>,
}

impl SoftKeyStore {
    /// Makes an empty keystore; refuses a file that is there.
    pub fn create(
        path: &Path,
        passphrase: &Passphrase,
        options: &SoftOptions,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SoftError> {
        selftest::run(&selftest::Vectors::standard(), &*entropy)?;
        let _lock = file::lock(path)?;
        if path.symlink_metadata().is_ok() {
            return Err(SoftError::Exists { path: path.to_owned() });
        }
        let file_key = FileKey::fresh(path, passphrase, options.cost, &*entropy)?;
        let keys = Keys::new();
        let writing = file::replace(path, &file_key, encode(&keys), &*entropy)?;
        Ok(Self::with(path, options, file_key, entropy, State { keys, writing }))
    }

    /// Opens a keystore.
    pub fn open(
        path: &Path,
        passphrase: &Passphrase,
        options: &SoftOptions,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SoftError> {
        selftest::run(&selftest::Vectors::standard(), &*entropy)?;
        let (file_key, content) = file::open(path, passphrase)?;
        let keys = decode(&content.plain).ok_or_else(|| unreadable(path))?;
        let state = State { keys, writing: content.writing };
        Ok(Self::with(path, options, file_key, entropy, state))
    }

    fn with(
        path: &Path,
        options: &SoftOptions,
        file_key: FileKey,
        entropy: Arc<dyn Entropy>,
        state: State,
    ) -> Self {
        let (path, schemes) = (path.to_owned(), options.schemes.clone());
        Self { path, schemes, file_key, entropy, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> String {
        format!("{NAME} `{}`", self.path.display())
    }

    /// Takes over what other processes have written since.
    fn refresh(&self, state: &mut State) -> Result<(), SoftError> {
        if let Some(content) = file::reopen(&self.path, &self.file_key, &state.writing)? {
            state.keys = decode(&content.plain).ok_or_else(|| unreadable(&self.path))?;
            state.writing = content.writing;
        }
        Ok(())
    }
}

impl KeyStore for SoftKeyStore {
    fn info(&self) -> StoreInfo {
        StoreInfo { name: NAME.to_owned(), development: true }
    }

    fn load_key(&self, name: &str, purpose: KeyPurpose) -> Result<Arc<dyn Signer>, HsmError> {
        let held = self.lock().keys.get(name).cloned();
        let Some(held) = held else {
            return Err(HsmError::NoSuchKey { name: clip(name), store: self.place() });
        };
        if held.purpose != purpose {
            let (found, wanted) = (held.purpose.as_str(), purpose.as_str());
            return Err(HsmError::WrongPurpose { name: clip(name), found, wanted });
        }
        Ok(held.signer)
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
        if purpose == KeyPurpose::Attestation {
            let what = "a software key says nothing of the device it is on; use a TPM".to_owned();
            return Err(HsmError::NotPossible { what, store: self.place() });
        }
        if !self.schemes.contains(&scheme) {
            return Err(HsmError::Unsupported { scheme, store: self.place() });
        }
        let mut state = self.lock();
        let _lock = file::lock(&self.path)?;
        self.refresh(&mut state)?;
        if state.keys.contains_key(name) {
            return Err(HsmError::Exists { name: name.to_owned(), store: self.place() });
        }
        if state.keys.len() >= MAX_KEYS {
            return Err(HsmError::Device(format!(
                "{} holds {MAX_KEYS} keys and takes no more",
                self.place()
            )));
        }
        let pair = KeyPair::generate(scheme, |out| self.entropy.fill(out))?;
        let signer = Arc::new(SoftSigner { name: name.to_owned(), pair });
        let mut next = state.keys.clone();
        next.insert(name.to_owned(), Held { purpose, signer: signer.clone() });
        state.writing = file::replace(&self.path, &self.file_key, encode(&next), &*self.entropy)?;
        state.keys = next;
        Ok(signer)
    }

    fn list_keys(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, HsmError> {
        let state = self.lock();
        Ok(state.keys.iter().map(|(n, h)| (n.clone(), h.purpose, *h.signer.pair.public_key())).collect())
    }
}

impl std::fmt::Debug for SoftKeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SoftKeyStore({})", self.place())
    }
}

/// A key in memory, wiped when the last handle is dropped.
struct SoftSigner {
    name: String,
    pair: KeyPair,
}

impl Signer for SoftSigner {
    fn public_key(&self) -> &PublicKey {
        self.pair.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        let failed = |e| HsmError::Device(format!("key `{}` cannot sign: {e}", self.name));
        self.pair.sign_digest(digest).map_err(failed)
    }
}

fn unreadable(path: &Path) -> SoftError {
    SoftError::Format { path: path.to_owned(), what: "its content was written by another release".to_owned() }
}

const PURPOSES: [(u8, KeyPurpose); 3] =
    [(1, KeyPurpose::Node), (2, KeyPurpose::Storage), (3, KeyPurpose::Account)];
const SCHEMES: [(u8, Scheme); 2] = [(1, Scheme::Sm2Sm3), (2, Scheme::EcdsaP256Sha256)];
/// The authentication tag that sealing appends.
const SEAL_BYTES: usize = 16;

/// Count 2 bytes, then for each: length of name 1, name, purpose 1, scheme 1, secret 32.
fn encode(keys: &Keys) -> Zeroizing<Vec<u8>> {
    // room for everything in advance: a growing buffer would leave copies of secrets behind
    let size = 2 + SEAL_BYTES + keys.keys().map(|n| n.len() + 35).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    out.extend_from_slice(&u16::try_from(keys.len()).unwrap_or(u16::MAX).to_be_bytes());
    for (name, held) in keys {
        let purpose = PURPOSES.iter().find(|(_, p)| *p == held.purpose).map_or(0, |(b, _)| *b);
        let scheme = held.signer.pair.public_key().scheme;
        let scheme = SCHEMES.iter().find(|(_, s)| *s == scheme).map_or(0, |(b, _)| *b);
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&[purpose, scheme]);
        out.extend_from_slice(&**held.signer.pair.secret());
    }
    out
}

fn decode(plain: &[u8]) -> Option<Keys> {
    let (count, mut rest) = plain.split_first_chunk::<2>()?;
    let mut keys = Keys::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first()?;
        let (name, after) = after.split_at_checked(usize::from(*length))?;
        let ([purpose, scheme], after) = after.split_first_chunk::<2>()?;
        let (secret, after) = after.split_first_chunk::<32>()?;
        let name = std::str::from_utf8(name).ok().filter(|n| is_name(n))?.to_owned();
        let purpose = PURPOSES.iter().find(|(b, _)| b == purpose)?.1;
        let scheme = SCHEMES.iter().find(|(b, _)| b == scheme)?.1;
        let pair = KeyPair::from_secret(scheme, *secret).ok()?;
        let held = Held { purpose, signer: Arc::new(SoftSigner { name: name.clone(), pair }) };
        keys.insert(name, held).is_none().then_some(())?;
        rest = after;
    }
    rest.is_empty().then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        let held = |scheme, purpose, n: u8| {
            let pair = KeyPair::from_secret(scheme, [n; 32]).unwrap();
            Held { purpose, signer: Arc::new(SoftSigner { name: "k".into(), pair }) }
        };
        Keys::from([
            ("a".to_owned(), held(Scheme::Sm2Sm3, KeyPurpose::Node, 1)),
            ("b".repeat(64), held(Scheme::EcdsaP256Sha256, KeyPurpose::Account, 2)),
        ])
    }

    #[test]
    fn content_is_read_as_written_and_its_buffer_never_grows() {
        let plain = encode(&keys());
        assert_eq!(plain.capacity(), plain.len() + SEAL_BYTES);
        let again = decode(&plain).unwrap();
        assert_eq!(*encode(&again), *plain);
    }

    #[test]
    fn every_cut_is_refused() {
        let plain = encode(&keys());
        for cut in 0..plain.len() {
            assert!(decode(&plain[..cut]).is_none());
        }
        assert!(decode(&[&plain[..], &[0]].concat()).is_none());
    }
}
