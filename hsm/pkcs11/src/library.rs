//! A module is loaded and started once per process, and stays.
//!
//! Modules start threads of their own: unloading the code under them crashes. C_Initialize and C_Finalize
//! count for the whole process, so keystores on the same module share it.

use crate::error::Pkcs11Error;
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

static LOADED: Mutex<Vec<Arc<Library>>> = Mutex::new(Vec::new());

fn loaded() -> MutexGuard<'static, Vec<Arc<Library>>> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A started module.
pub(crate) struct Library {
    path: PathBuf,
    pub(crate) pkcs11: Pkcs11,
    /// something else in this process started it: it is not ours to stop
    shared: bool,
}

impl Library {
    pub(crate) fn load(path: &Path) -> Result<Arc<Self>, Pkcs11Error> {
        let mut loaded = loaded();
        if let Some(known) = loaded.iter().find(|l| l.path == path) {
            return Ok(known.clone());
        }
        let pkcs11 = Pkcs11::new(path).map_err(|e| refused(path, &e))?;
        let shared = match start(&pkcs11) {
            Ok(()) => false,
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => true,
            Err(e) => return Err(Pkcs11Error::Start { path: path.to_owned(), code: code(&e) }),
        };
        let library = Arc::new(Self { path: path.to_owned(), pkcs11, shared });
        loaded.push(library.clone());
        Ok(library)
    }

    /// Stops and starts the module, if nobody else uses it: some only then see a token that came back. The
    /// caller has no session open.
    pub(crate) fn restart(self: &Arc<Self>) -> Result<bool, Pkcs11Error> {
        let _loading = loaded();
        // one for the list, one for the caller
        if self.shared || Arc::strong_count(self) > 2 {
            return Ok(false);
        }
        let failed = |e: &Error| Pkcs11Error::Start { path: self.path.clone(), code: code(e) };
        match self.pkcs11.clone().finalize() {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            Err(e) => return Err(failed(&e)),
        }
        start(&self.pkcs11).map_err(|e| failed(&e))?;
        Ok(true)
    }
}

fn start(pkcs11: &Pkcs11) -> Result<(), Error> {
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
}

fn refused(path: &Path, error: &Error) -> Pkcs11Error {
    let path = path.to_owned();
    match error {
        Error::MissingSymbol(symbol) => Pkcs11Error::Symbol { path, symbol },
        Error::NullFunctionPointer => Pkcs11Error::Symbol { path, symbol: "C_Initialize" },
        Error::LibraryLoading(e) => Pkcs11Error::Module { path, reason: e.to_string() },
        other => Pkcs11Error::Start { path, code: code(other) },
    }
}

fn code(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, _) => format!("{code:?}"),
        other => other.to_string(),
    }
}
