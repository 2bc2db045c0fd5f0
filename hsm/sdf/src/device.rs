//! Opens the device and its sessions; gets the right to use a key, once per session.

use crate::{
    error::{SdfError, is_unreachable},
    options::{SdfKey, SdfOptions},
};
use gw_proto::{Hex, PublicKey, Scheme};
use hsm_api::backend::{Connect, read_secret_line};
use hsm_sdf_ffi::{Code, Device, FfiError, Layout, SdfLibrary, Session};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};
use zeroize::Zeroizing;

/// A key of the configuration, its password at hand for sessions to come.
pub(crate) struct KnownKey {
    pub(crate) key: SdfKey,
    password: Option<Zeroizing<String>>,
    /// how the device has refused the password
    refused: OnceLock<Code>,
}

/// The way to one device.
pub(crate) struct Sdf {
    library: Arc<SdfLibrary>,
    /// for people
    pub(crate) name: String,
    layout: OnceLock<Layout>,
    pub(crate) keys: Vec<KnownKey>,
}

/// One session, and the keys that it may use.
pub(crate) struct SdfSession {
    pub(crate) session: Session,
    /// by index, with the public half that was there when the right was given
    ready: BTreeMap<u32, PublicKey>,
}

impl Sdf {
    pub(crate) fn new(options: &SdfOptions) -> Result<Self, SdfError> {
        let keys = options.keys.iter().map(|key| {
            let password = key.password_file.as_deref().map(read_secret_line).transpose()?;
            Ok(KnownKey { key: key.clone(), password, refused: OnceLock::new() })
        });
        let keys = keys.collect::<Result<_, SdfError>>()?;
        let library = SdfLibrary::load(&options.library).map_err(SdfError::Library)?;
        // at start, not when the first batch is to be signed
        for symbol in ["SDF_OpenSession", "SDF_CloseSession", "SDF_CloseDevice", "SDF_InternalSign_ECC"] {
            if !library.has(symbol) {
                let path = options.library.clone();
                return Err(SdfError::Library(FfiError::Symbol { path, symbol }));
            }
        }
        let layout = options.layout.map_or_else(OnceLock::new, OnceLock::from);
        let name = format!("SDF device of `{}`", options.library.display());
        Ok(Self { library, name, layout, keys })
    }

    pub(crate) fn failed(&self, error: FfiError) -> SdfError {
        SdfError::call(&self.name, error)
    }

    pub(crate) fn known(&self, name: &str) -> Option<&KnownKey> {
        self.keys.iter().find(|k| k.key.name == name)
    }

    /// The layout as configured, or as the key at an index shows it.
    pub(crate) fn layout(&self, session: &mut Session, index: u32) -> Result<Layout, FfiError> {
        if let Some(known) = self.layout.get() {
            return Ok(*known);
        }
        let found = session.detect_layout(index)?;
        Ok(*self.layout.get_or_init(|| found))
    }

    /// The layout, if it is known yet.
    pub(crate) fn known_layout(&self) -> Option<Layout> {
        self.layout.get().copied()
    }

    /// The public half at a key's index.
    pub(crate) fn public(&self, session: &mut Session, known: &KnownKey) -> Result<PublicKey, SdfError> {
        let (name, index) = (&known.key.name, known.key.index);
        let exported = self.layout(session, index).and_then(|l| session.sign_public_key(index, l));
        let point = exported.map_err(|e| match self.failed(e) {
            e if e.code() == Some(Code::KEYNOTEXIST) => {
                SdfError::Empty { device: self.name.clone(), name: name.clone(), index }
            }
            e => e,
        })?;
        let key = PublicKey { scheme: Scheme::Sm2Sm3, point: Hex(point) };
        gw_sm::sig::check_key(&key).map_err(|_| {
            let what = "a public key is no point of the curve (is the layout right?)";
            SdfError::Answer { device: self.name.clone(), what }
        })?;
        Ok(key)
    }

    /// Makes a key usable in this session: the right to it, and its public half.
    pub(crate) fn ready(&self, s: &mut SdfSession, known: &KnownKey) -> Result<PublicKey, SdfError> {
        if let Some(key) = s.ready.get(&known.key.index) {
            return Ok(*key);
        }
        let key = self.public(&mut s.session, known)?;
        self.unlock(&mut s.session, known)?;
        s.ready.insert(known.key.index, key);
        Ok(key)
    }

    /// Whatever refuses the password is taken for a wrong one: vendors have codes of their own, and a second try
    /// may lock the key.
    fn unlock(&self, session: &mut Session, known: &KnownKey) -> Result<(), SdfError> {
        let (name, index) = (known.key.name.clone(), known.key.index);
        let Some(password) = &known.password else { return Ok(()) };
        let refused = |code: Code| SdfError::Password { device: self.name.clone(), name, index, code };
        if let Some(code) = known.refused.get() {
            return Err(refused(*code));
        }
        match session.access_right(index, password.as_bytes()) {
            Ok(()) => Ok(()),
            Err(FfiError::Call { code, .. }) if !is_unreachable(code) => {
                Err(refused(*known.refused.get_or_init(|| code)))
            }
            Err(e) => Err(self.failed(e)),
        }
    }
}

impl Connect for Sdf {
    type Connection = Arc<Device>;
    type Session = SdfSession;
    type Error = SdfError;

    fn connect(&self) -> Result<Arc<Device>, SdfError> {
        self.library.open_device().map_err(|e| self.failed(e))
    }

    fn open(&self, device: &Arc<Arc<Device>>) -> Result<SdfSession, SdfError> {
        let session = device.open_session().map_err(|e| self.failed(e))?;
        Ok(SdfSession { session, ready: BTreeMap::new() })
    }

    fn is_lost(&self, error: &SdfError) -> bool {
        matches!(error, SdfError::Lost { .. })
    }

    fn busy(&self) -> SdfError {
        SdfError::Busy { device: self.name.clone() }
    }
}
