//! The keystore: load, list, sign, draw.

use crate::{
    device::{KnownKey, Sdf, SdfSession},
    error::SdfError,
    options::SdfOptions,
};
use gw_proto::{Hex, PublicKey, Scheme, Signature};
use hsm_api::{
    Entropy, HsmError, KeyPurpose, KeyStore, Signer, StoreInfo,
    backend::{Pool, clip, is_name},
};
use hsm_sdf_ffi::{Code, FfiError, Layout};
use std::sync::Arc;

/// What a key signs once when it is loaded. No protocol signs this value.
const TRIAL: &[u8] = b"xinguan keystore: does this key fit its public half?";

/// GB/T 32918.5-2017 appendix A.2: public key, message, signature (identifier 1234567812345678).
const KNOWN_KEY: &str = "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020\
                         ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13";
const KNOWN_MESSAGE: &[u8] = b"message digest";
const KNOWN_SIGNATURE: &str = "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3\
                               b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa";

/// Keys of an SDF device. Its signers keep the device open.
pub struct SdfKeyStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool<Sdf>,
}

impl SdfKeyStore {
    /// Loads the library, opens the device, and tests it.
    pub fn open(options: &SdfOptions) -> Result<Self, SdfError> {
        options.check()?;
        let inner = Arc::new(Inner { pool: Pool::new(Sdf::new(options)?, options.limits) });
        inner.self_test()?;
        Ok(Self { inner })
    }

    /// Maker, model and serial number, as the device gives them.
    pub fn device(&self) -> Result<hsm_sdf_ffi::DeviceInfo, HsmError> {
        Ok(self.inner.pool.with(|s| s.session.device_info().map_err(|e| self.inner.sdf().failed(e)))?)
    }

    /// The layout of the library's structures; none before the first key was read.
    pub fn layout(&self) -> Option<Layout> {
        self.inner.sdf().known_layout()
    }
}

impl Inner {
    fn sdf(&self) -> &Sdf {
        self.pool.device()
    }

    fn answer(&self, what: &'static str) -> SdfError {
        SdfError::Answer { device: self.sdf().name.clone(), what }
    }

    fn self_test(&self) -> Result<(), SdfError> {
        let (mut a, mut b) = ([0u8; 32], [0u8; 32]);
        self.draw(&mut a)?;
        self.draw(&mut b)?;
        if a == b || a == [0; 32] {
            return Err(self.answer("its random bytes repeat"));
        }
        // the layout is told by a key; a device that is still empty is tested when it has one
        let with_key = self.sdf().keys.iter().try_fold(false, |found, known| {
            match self.pool.with(|s| self.sdf().public(&mut s.session, known)) {
                Ok(_) => Ok(true),
                Err(SdfError::Empty { .. }) => Ok(found),
                Err(e) => Err(e),
            }
        })?;
        if with_key { self.known_answer() } else { Ok(()) }
    }

    fn known_answer(&self) -> Result<(), SdfError> {
        let damaged = || self.answer("the known answer of the self test is damaged");
        let point = Hex::parse(KNOWN_KEY).map_err(|_| damaged())?;
        let key = PublicKey { scheme: Scheme::Sm2Sm3, point };
        let signature: Signature = Hex::parse(KNOWN_SIGNATURE).map_err(|_| damaged())?;
        let digest = gw_sm::message_digest(&key, KNOWN_MESSAGE).map_err(|_| damaged())?;
        for (digest, expected) in [(digest, true), ([1; 32], false)] {
            match self.verify(&key, &digest, &signature)? {
                Some(verifies) if verifies != expected => {
                    return Err(self.answer("it verifies a known signature wrongly"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What the device says of a signature; none if it has no such call.
    fn verify(
        &self,
        key: &PublicKey,
        digest: &[u8; 32],
        signature: &Signature,
    ) -> Result<Option<bool>, SdfError> {
        let Some(layout) = self.sdf().known_layout() else { return Ok(None) };
        self.pool.with(|s| match s.session.verify(&key.point.0, digest, &signature.0, layout) {
            Ok(verifies) => Ok(Some(verifies)),
            Err(FfiError::Symbol { .. } | FfiError::Call { code: Code::NOTSUPPORT, .. }) => Ok(None),
            Err(e) => Err(self.sdf().failed(e)),
        })
    }

    fn draw(&self, out: &mut [u8]) -> Result<(), SdfError> {
        // into a buffer of its own: a call that is made again begins at its beginning
        let drawn = self.pool.with(|s| {
            let mut bytes = zeroize::Zeroizing::new(vec![0; out.len()]);
            s.session.random(&mut bytes).map_err(|e| self.sdf().failed(e))?;
            Ok(bytes)
        })?;
        out.copy_from_slice(&drawn);
        Ok(())
    }

    fn known(&self, name: &str) -> Result<&KnownKey, SdfError> {
        let missing = || HsmError::NoSuchKey { name: clip(name), store: self.sdf().name.clone() };
        Ok(self.sdf().known(name).ok_or_else(missing)?)
    }

    fn sign_with(
        &self,
        s: &mut SdfSession,
        known: &KnownKey,
        digest: &[u8; 32],
    ) -> Result<Signature, SdfError> {
        let index = known.key.index;
        let signed = self.sdf().layout(&mut s.session, index).and_then(|l| s.session.sign(index, digest, l));
        signed.map(Hex).map_err(|e| match self.sdf().failed(e) {
            e if e.code() == Some(Code::PARDENY) && known.key.password_file.is_none() => {
                SdfError::NoPassword { device: self.sdf().name.clone(), name: known.key.name.clone(), index }
            }
            e => e,
        })
    }

    fn load(self: &Arc<Self>, name: &str, purpose: KeyPurpose) -> Result<DeviceKey, SdfError> {
        let known = self.known(name)?;
        if known.key.purpose != purpose {
            let (found, wanted) = (known.key.purpose.as_str(), purpose.as_str());
            return Err(HsmError::WrongPurpose { name: clip(name), found, wanted }.into());
        }
        self.pool.with(|s| {
            let public = self.sdf().ready(s, known)?;
            let digest = gw_sm::message_digest(&public, TRIAL)
                .map_err(|_| self.answer("a public key is no point of the curve"))?;
            let signature = self.sign_with(s, known, &digest)?;
            gw_sm::verify_digest(&public, &digest, &signature)
                .map_err(|_| self.answer("a key's signature does not verify with its public half"))?;
            Ok(DeviceKey { inner: self.clone(), name: name.to_owned(), public })
        })
    }

    fn sign(&self, key: &DeviceKey, digest: &[u8; 32]) -> Result<Signature, SdfError> {
        let known = self.known(&key.name)?;
        self.pool.with(|s| {
            if self.sdf().ready(s, known)? != key.public {
                let (device, name) = (self.sdf().name.clone(), key.name.clone());
                return Err(SdfError::Changed { device, name, index: known.key.index });
            }
            self.sign_with(s, known, digest)
        })
    }

    /// Why a key is not made here.
    fn not_made(&self, name: &str) -> SdfError {
        let store = self.sdf().name.clone();
        let Some(known) = self.sdf().known(name) else {
            let remedy = "make an SM2 signing key pair with the vendor's tool and add its name, purpose and index \
                          to the keystore's keys in the configuration";
            return HsmError::CannotMake { name: name.to_owned(), store, remedy: remedy.to_owned() }.into();
        };
        match self.pool.with(|s| self.sdf().public(&mut s.session, known)) {
            Ok(_) => HsmError::Exists { name: name.to_owned(), store }.into(),
            Err(SdfError::Empty { index, .. }) => {
                let remedy = format!("make an SM2 signing key pair at index {index} with the vendor's tool");
                HsmError::CannotMake { name: name.to_owned(), store, remedy }.into()
            }
            Err(e) => e,
        }
    }

    fn list(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, SdfError> {
        let mut out = Vec::new();
        for known in &self.sdf().keys {
            match self.pool.with(|s| self.sdf().public(&mut s.session, known)) {
                Ok(public) => out.push((known.key.name.clone(), known.key.purpose, public)),
                Err(SdfError::Empty { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(out)
    }
}

impl KeyStore for SdfKeyStore {
    fn info(&self) -> StoreInfo {
        StoreInfo { name: self.inner.sdf().name.clone(), development: false }
    }

    fn load_key(&self, name: &str, purpose: KeyPurpose) -> Result<Arc<dyn Signer>, HsmError> {
        Ok(Arc::new(self.inner.load(name, purpose)?))
    }

    /// Always refused: GM/T 0018 has no call that makes a key at an index. The error says who can.
    fn create_key(
        &self,
        name: &str,
        _purpose: KeyPurpose,
        scheme: Scheme,
    ) -> Result<Arc<dyn Signer>, HsmError> {
        if !is_name(name) {
            return Err(HsmError::BadName);
        }
        if scheme != Scheme::Sm2Sm3 {
            return Err(HsmError::Unsupported { scheme, store: self.inner.sdf().name.clone() });
        }
        Err(self.inner.not_made(name).into())
    }

    fn list_keys(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, HsmError> {
        Ok(self.inner.list()?)
    }
}

impl Entropy for SdfKeyStore {
    fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
        Ok(self.inner.draw(out)?)
    }
}

impl std::fmt::Debug for SdfKeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SdfKeyStore({})", self.inner.sdf().name)
    }
}

/// A key in the device.
struct DeviceKey {
    inner: Arc<Inner>,
    name: String,
    public: PublicKey,
}

impl Signer for DeviceKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        Ok(self.inner.sign(self, digest)?)
    }
}
