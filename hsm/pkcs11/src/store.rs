//! The keystore: make, load, list, sign, draw.

use crate::{
    error::Pkcs11Error,
    keys::{Found, Keys, unsupported},
    options::{EC_KEY_PAIR_GEN, Pkcs11Options, Sm2Mechanisms},
    token::{Connection, Token, TokenSession},
};
use cryptoki::{
    error::{Error, RvError},
    mechanism::MechanismType,
    session::Session,
};
use gw_proto::{Hex, PublicKey, Scheme, Signature};
use hsm_api::{
    Entropy, HsmError, KeyPurpose, KeyStore, Signer, StoreInfo,
    backend::{Pool, clip, is_name},
};
use std::sync::{Arc, Mutex, TryLockError};

/// What a key signs once when it is loaded, so that a private half that does not fit its public half is found
/// before it is used. No protocol signs this value.
const TRIAL: &[u8] = b"xinguan keystore: does this key fit its public half?";
/// The most random bytes asked for in one call.
const MAX_DRAW: usize = 1024;

/// Keys on a token behind a PKCS#11 module. Clones of its signers keep the sessions open.
pub struct Pkcs11KeyStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool<Token>,
    sm2: Option<Sm2Mechanisms>,
    /// one key is made at a time: the standard does not keep labels apart
    making: Mutex<()>,
}

impl Pkcs11KeyStore {
    /// Loads the module, logs in to the token, and draws twice from its random generator.
    pub fn open(options: &Pkcs11Options) -> Result<Self, Pkcs11Error> {
        options.check()?;
        let pool = Pool::new(Token::new(options)?, options.limits);
        let store =
            Self { inner: Arc::new(Inner { pool, sm2: options.sm2.clone(), making: Mutex::new(()) }) };
        store.inner.self_test()?;
        Ok(store)
    }
}

impl Inner {
    fn token(&self) -> &Token {
        self.pool.device()
    }

    fn keys<'a>(&'a self, session: &'a Session) -> Keys<'a> {
        Keys { session, token: &self.token().name, sm2: self.sm2.as_ref() }
    }

    fn answer(&self, what: &'static str) -> Pkcs11Error {
        Pkcs11Error::Answer { token: self.token().name.clone(), what }
    }

    fn self_test(&self) -> Result<(), Pkcs11Error> {
        let (mut a, mut b) = ([0u8; 32], [0u8; 32]);
        self.draw(&mut a)?;
        self.draw(&mut b)?;
        if a == b || a == [0; 32] {
            return Err(self.answer("its random bytes repeat"));
        }
        Ok(())
    }

    fn draw(&self, out: &mut [u8]) -> Result<(), Pkcs11Error> {
        for part in out.chunks_mut(MAX_DRAW) {
            let length = u32::try_from(part.len()).unwrap_or(0);
            let drawn = self
                .pool
                .with(|s| s.session.generate_random_vec(length).map_err(|e| self.token().failed(&e)))?;
            if drawn.len() != part.len() {
                return Err(self.answer("it gives fewer random bytes than asked for"));
            }
            part.copy_from_slice(&drawn);
        }
        Ok(())
    }

    /// The private half of a key that is known: found once per session, and only if it is still the same.
    fn sign(
        &self,
        s: &mut TokenSession,
        key: &TokenKey,
        digest: &[u8; 32],
    ) -> Result<Signature, Pkcs11Error> {
        let handle = match s.handles.get(&key.name) {
            Some(handle) => *handle,
            None => {
                let found = self.keys(&s.session).find(&key.name).map_err(|e| self.gone(&key.name, e))?;
                if found.public != key.public || found.purpose != key.purpose {
                    let (name, token) = (key.name.clone(), self.token().name.clone());
                    let what = "another key has taken its place on the token; restart to use that";
                    return Err(Pkcs11Error::Key { name, token, what });
                }
                s.handles.insert(key.name.clone(), found.handle);
                found.handle
            }
        };
        self.sign_with(&s.session, handle, key.public.scheme, digest)
    }

    /// A key in use does not vanish: the module shows a token that is not the one it was, or not there.
    fn gone(&self, name: &str, e: Pkcs11Error) -> Pkcs11Error {
        let Pkcs11Error::Refused(HsmError::NoSuchKey { .. }) = e else { return e };
        Pkcs11Error::Gone { name: name.to_owned(), token: self.token().name.clone() }
    }

    fn sign_with(
        &self,
        session: &Session,
        handle: cryptoki::object::ObjectHandle,
        scheme: Scheme,
        digest: &[u8; 32],
    ) -> Result<Signature, Pkcs11Error> {
        let mechanism = self.keys(session).signing(scheme)?;
        let signature = session.sign(&mechanism, handle, digest).map_err(|e| match e {
            Error::Pkcs11(RvError::MechanismInvalid, _) => self.no_mechanism(scheme, true),
            e => self.token().failed(&e),
        })?;
        let signature = signature.try_into().map_err(|_| self.answer("a signature has not 64 bytes"))?;
        Ok(Hex(signature))
    }

    fn try_key(&self, session: &Session, found: &Found) -> Result<(), Pkcs11Error> {
        let digest = gw_sm::message_digest(&found.public, TRIAL)
            .map_err(|_| self.answer("a public key is no point of its curve"))?;
        let signature = self.sign_with(session, found.handle, found.public.scheme, &digest)?;
        gw_sm::verify_digest(&found.public, &digest, &signature)
            .map_err(|_| self.answer("a key's signature does not verify with its public half"))
    }

    fn load(self: &Arc<Self>, name: &str, purpose: KeyPurpose) -> Result<TokenKey, Pkcs11Error> {
        self.pool.with(|s| {
            let found = self.keys(&s.session).find(name)?;
            if found.purpose != purpose {
                let (found, wanted) = (found.purpose.as_str(), purpose.as_str());
                return Err(HsmError::WrongPurpose { name: clip(name), found, wanted }.into());
            }
            self.try_key(&s.session, &found)?;
            s.handles.insert(name.to_owned(), found.handle);
            Ok(self.key(name, &found))
        })
    }

    fn key(self: &Arc<Self>, name: &str, found: &Found) -> TokenKey {
        TokenKey { inner: self.clone(), name: name.to_owned(), purpose: found.purpose, public: found.public }
    }

    fn create(
        self: &Arc<Self>,
        name: &str,
        purpose: KeyPurpose,
        scheme: Scheme,
    ) -> Result<TokenKey, Pkcs11Error> {
        let _making = match self.making.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(e)) => e.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(HsmError::Busy.into()),
        };
        self.pool.with(|s| {
            self.check_mechanisms(&s.connection, scheme)?;
            let pkcs11 = &self.token().library.pkcs11;
            let writable = pkcs11.open_rw_session(s.connection.slot).map_err(|e| self.token().failed(&e))?;
            self.make(&writable, name, purpose, scheme)
        })
    }

    fn make(
        self: &Arc<Self>,
        writable: &Session,
        name: &str,
        purpose: KeyPurpose,
        scheme: Scheme,
    ) -> Result<TokenKey, Pkcs11Error> {
        let exists = || HsmError::Exists { name: name.to_owned(), store: self.token().name.to_string() };
        let keys = self.keys(writable);
        if keys.count(name)? > 0 {
            return Err(exists().into());
        }
        let pair = keys.make(name, purpose, scheme)?;
        let checked = (|| {
            // another process may have made one in the same moment
            if keys.count(name)? != 1 {
                return Err(exists().into());
            }
            let found = keys.find(name)?;
            self.try_key(writable, &found)?;
            Ok(self.key(name, &found))
        })();
        if checked.is_err() {
            keys.unmake(pair)?;
        }
        checked
    }

    /// What a scheme needs of the token: numbers for signing and for making keys.
    fn mechanisms(&self, scheme: Scheme) -> Result<[MechanismType; 2], Pkcs11Error> {
        let vendor = |id| MechanismType::new_vendor_defined(id).map_err(|e| self.token().failed(&e));
        match (scheme, &self.sm2) {
            (Scheme::EcdsaP256Sha256, _) => Ok([MechanismType::ECDSA, MechanismType::ECC_KEY_PAIR_GEN]),
            (Scheme::Sm2Sm3, Some(sm2)) if sm2.generate == EC_KEY_PAIR_GEN => {
                Ok([vendor(sm2.sign)?, MechanismType::ECC_KEY_PAIR_GEN])
            }
            (Scheme::Sm2Sm3, Some(sm2)) => Ok([vendor(sm2.sign)?, vendor(sm2.generate)?]),
            (Scheme::Sm2Sm3, None) => Err(unsupported(scheme, &self.token().name)),
        }
    }

    fn check_mechanisms(&self, connection: &Connection, scheme: Scheme) -> Result<(), Pkcs11Error> {
        for (mechanism, signs) in self.mechanisms(scheme)?.into_iter().zip([true, false]) {
            match self.token().library.pkcs11.get_mechanism_info(connection.slot, mechanism) {
                Ok(_) => {}
                Err(Error::Pkcs11(RvError::MechanismInvalid, _)) => {
                    return Err(self.no_mechanism(scheme, signs));
                }
                Err(e) => return Err(self.token().failed(&e)),
            }
        }
        Ok(())
    }

    fn no_mechanism(&self, scheme: Scheme, signs: bool) -> Pkcs11Error {
        let token = self.token().name.clone();
        match (scheme, &self.sm2) {
            (Scheme::Sm2Sm3, Some(sm2)) => {
                let (id, what) =
                    if signs { (sm2.sign, "signs with SM2") } else { (sm2.generate, "makes SM2 keys") };
                Pkcs11Error::NoMechanism { token, id, what }
            }
            _ => unsupported(scheme, &token),
        }
    }
}

impl KeyStore for Pkcs11KeyStore {
    fn info(&self) -> StoreInfo {
        StoreInfo { name: format!("PKCS#11 {}", self.inner.token().name), development: false }
    }

    fn load_key(&self, name: &str, purpose: KeyPurpose) -> Result<Arc<dyn Signer>, HsmError> {
        if !is_name(name) {
            return Err(HsmError::BadName);
        }
        Ok(Arc::new(self.inner.load(name, purpose)?))
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
        Ok(Arc::new(self.inner.create(name, purpose, scheme)?))
    }

    fn list_keys(&self) -> Result<Vec<(String, KeyPurpose, PublicKey)>, HsmError> {
        Ok(self.inner.pool.with(|s| self.inner.keys(&s.session).list())?)
    }
}

impl Entropy for Pkcs11KeyStore {
    fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
        Ok(self.inner.draw(out)?)
    }
}

impl std::fmt::Debug for Pkcs11KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pkcs11KeyStore({})", self.inner.token().name)
    }
}

/// A key on the token.
struct TokenKey {
    inner: Arc<Inner>,
    name: String,
    purpose: KeyPurpose,
    public: PublicKey,
}

impl Signer for TokenKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        Ok(self.inner.pool.with(|s| self.inner.sign(s, self, digest))?)
    }
}
