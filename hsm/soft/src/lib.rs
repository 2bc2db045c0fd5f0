//! Development keystore: software keys in one encrypted file. Never for real data.
use argon2::Argon2;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, aead::Aead as _};
use gw_proto::{B64, Hex, PublicKey, Scheme, Signature};
use gw_sm::KeyPair;
use hsm_api::{Entropy as _, HsmError, KeyPurpose, KeyStore, OsEntropy, Signer, StoreInfo};
use serde::{Deserialize, Serialize};
use std::{path::{Path, PathBuf}, sync::{Arc, Mutex}};
use zeroize::Zeroizing;

#[derive(Serialize, Deserialize)]
struct File { v: u32, salt: Hex<16>, nonce: Hex<12>, sealed: B64 }
#[derive(Serialize, Deserialize, Clone)]
struct Entry { name: String, purpose: String, scheme: Scheme, secret: Hex<32> }
struct SoftKey(KeyPair);
impl Signer for SoftKey {
    fn public_key(&self) -> &PublicKey { self.0.public_key() }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        self.0.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
    }
}
/// Software keys for development.
pub struct SoftKeyStore { path: PathBuf, key: Zeroizing<[u8; 32]>, salt: Hex<16>, entries: Mutex<Vec<Entry>> }
fn dev(e: impl std::fmt::Display) -> HsmError { HsmError::Device(e.to_string()) }
fn derive(pass: &[u8], salt: &Hex<16>) -> Result<Zeroizing<[u8; 32]>, HsmError> {
    let mut k = Zeroizing::new([0u8; 32]);
    Argon2::default().hash_password_into(pass, &salt.0, &mut *k).map_err(dev)?;
    Ok(k)
}
impl SoftKeyStore {
    /// Makes a new keystore.
    pub fn create(path: &Path, passphrase: &[u8]) -> Result<Self, HsmError> {
        let mut salt = [0u8; 16];
        OsEntropy.fill(&mut salt)?;
        let salt = Hex(salt);
        let s = Self { path: path.to_owned(), key: derive(passphrase, &salt)?, salt, entries: Mutex::default() };
        s.save(&[])?;
        Ok(s)
    }
    /// Opens one.
    pub fn open(path: &Path, passphrase: &[u8]) -> Result<Self, HsmError> {
        let f: File = serde_json::from_slice(&std::fs::read(path).map_err(dev)?).map_err(dev)?;
        let key = derive(passphrase, &f.salt)?;
        let c = ChaCha20Poly1305::new((&*key).into());
        let plain = c.decrypt((&f.nonce.0).into(), f.sealed.0.as_slice()).map_err(|_| dev("wrong passphrase or damaged file"))?;
        let entries = serde_json::from_slice(&plain).map_err(dev)?;
        Ok(Self { path: path.to_owned(), key, salt: f.salt, entries: Mutex::new(entries) })
    }
    fn save(&self, entries: &[Entry]) -> Result<(), HsmError> {
        let mut nonce = [0u8; 12];
        OsEntropy.fill(&mut nonce)?;
        let plain = Zeroizing::new(serde_json::to_vec(entries).map_err(dev)?);
        let c = ChaCha20Poly1305::new((&*self.key).into());
        let sealed = B64(c.encrypt((&nonce).into(), plain.as_slice()).map_err(dev)?);
        let f = File { v: 1, salt: self.salt, nonce: Hex(nonce), sealed };
        let tmp = self.path.with_extension("tmp");
        use std::os::unix::fs::OpenOptionsExt as _;
        use std::io::Write as _;
        let mut o = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&tmp).map_err(dev)?;
        o.write_all(&serde_json::to_vec_pretty(&f).map_err(dev)?).and_then(|()| o.sync_all()).map_err(dev)?;
        std::fs::rename(&tmp, &self.path).map_err(dev)
    }
}
impl KeyStore for SoftKeyStore {
    fn info(&self) -> StoreInfo { StoreInfo { name: "development software keystore".into(), development: true } }
    fn load_key(&self, name: &str, purpose: KeyPurpose) -> Result<Arc<dyn Signer>, HsmError> {
        let e = self.entries.lock().map_err(dev)?.iter().find(|e| e.name == name).cloned()
            .ok_or_else(|| HsmError::NoSuchKey { name: name.into(), store: self.info().name })?;
        if e.purpose != purpose.as_str() { return Err(dev("wrong purpose")); }
        Ok(Arc::new(SoftKey(KeyPair::from_secret(e.scheme, e.secret.0).map_err(dev)?)))
    }
    fn create_key(&self, name: &str, purpose: KeyPurpose, scheme: Scheme) -> Result<Arc<dyn Signer>, HsmError> {
        let k = KeyPair::generate(scheme, |b| OsEntropy.fill(b))?;
        let mut all = self.entries.lock().map_err(dev)?;
        if all.iter().any(|e| e.name == name) { return Err(HsmError::Exists { name: name.into(), store: self.info().name }); }
        all.push(Entry { name: name.into(), purpose: purpose.as_str().into(), scheme, secret: Hex(**k.secret()) });
        self.save(&all)?;
        Ok(Arc::new(SoftKey(k)))
    }
    fn list_keys(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, HsmError> { Err(dev("not here")) }
}
