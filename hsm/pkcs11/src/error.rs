//! What can fail between the gateway and a token, where, and what to do.

use crate::options::TokenName;
use cryptoki::error::RvError;
use hsm_api::{HsmError, backend::SecretError};
use std::path::PathBuf;

/// Why the token is not logged in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinTrouble {
    /// it was tried once and refused; it is not tried again
    Refused,
    /// a wrong one was given before, by whomever; it is not tried
    WrongBefore,
    /// the next wrong one locks the token; it is not tried
    LastTry,
    /// the token is locked already
    Locked,
    /// nobody has set one
    NotSet,
    /// it must be changed first
    Expired,
}

impl PinTrouble {
    fn says(self) -> &'static str {
        match self {
            Self::Refused => {
                "refuses the PIN; it is not tried again. Correct the PIN file, set login_after_wrong_pin for \
                 one start, and restart"
            }
            Self::WrongBefore => {
                "was given a wrong PIN before, so the PIN is not tried. Check the PIN file, then log in once \
                 with the vendor's tool or set login_after_wrong_pin for one start"
            }
            Self::LastTry => {
                "would be locked by one more wrong PIN, so the PIN is not tried. Log in once with the vendor's \
                 tool to make sure of the PIN"
            }
            Self::Locked => "is locked. Its security officer can set a new PIN with the vendor's tool",
            Self::NotSet => "has no user PIN. Set one with the vendor's tool",
            Self::Expired => "wants a new user PIN. Change it with the vendor's tool, then the PIN file",
        }
    }
}

/// Why a token did not do it. Never carries the PIN.
#[derive(Debug, thiserror::Error)]
pub enum Pkcs11Error {
    /// The configuration cannot be meant.
    #[error("PKCS#11 keystore: {what}")]
    Options {
        /// what is wrong
        what: String,
    },
    /// The PIN file cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The module is not there or cannot be loaded.
    #[error(
        "cannot load the PKCS#11 module `{path}` ({reason}); install the vendor's library or correct the path"
    )]
    Module {
        /// which
        path: PathBuf,
        /// what the loader says
        reason: String,
    },
    /// The library is no PKCS#11 module.
    #[error("`{path}` is no PKCS#11 module: it has no {symbol}; name the vendor's PKCS#11 library instead")]
    Symbol {
        /// which
        path: PathBuf,
        /// what is missing
        symbol: &'static str,
    },
    /// The module does not start.
    #[error("the PKCS#11 module `{path}` does not start ({code}); check its own configuration and log")]
    Start {
        /// which
        path: PathBuf,
        /// its return code
        code: String,
    },
    /// No such token.
    #[error("no {wanted}; the module shows: {seen}. Plug it in, or correct the configuration")]
    NoToken {
        /// which
        wanted: TokenName,
        /// labels and serial numbers that are there
        seen: String,
    },
    /// The name does not say which.
    #[error("{count} tokens are a {wanted}; name the token by its serial number")]
    TwoTokens {
        /// which
        wanted: TokenName,
        /// how many
        count: usize,
    },
    /// No log-in.
    #[error("{token} {}", .trouble.says())]
    Pin {
        /// which
        token: TokenName,
        /// why
        trouble: PinTrouble,
    },
    /// The token was removed or reset, or the way to it is down.
    #[error("{token} is lost ({call}: {code}); it is used again as soon as it is back")]
    Lost {
        /// which
        token: TokenName,
        /// the function
        call: String,
        /// its return code
        code: String,
    },
    /// A call failed.
    #[error("{token}: {call} failed ({code}); see the module's documentation or log")]
    Call {
        /// which
        token: TokenName,
        /// the function
        call: String,
        /// its return code
        code: String,
    },
    /// The token lacks what the configuration names.
    #[error("{token} has no mechanism {id:#x} ({what}); take the number from the vendor's header file")]
    NoMechanism {
        /// which
        token: TokenName,
        /// its number
        id: std::ffi::c_ulong,
        /// what for
        what: &'static str,
    },
    /// Every session is in use.
    #[error("all sessions of {token} are in use")]
    Busy {
        /// which
        token: TokenName,
    },
    /// An answer that cannot be right.
    #[error("{token}: {what}; do not use it, and ask its vendor")]
    Answer {
        /// which
        token: TokenName,
        /// what is wrong
        what: &'static str,
    },
    /// A key that is not as it was made.
    #[error("key `{name}` on {token} is refused: {what}")]
    Key {
        /// its name
        name: String,
        /// which
        token: TokenName,
        /// what is wrong, and what to do
        what: &'static str,
    },
    /// A key that was in use and is no longer there.
    #[error("key `{name}` is no longer on {token}; put the right token back, or restart to use a new key")]
    Gone {
        /// its name
        name: String,
        /// which
        token: TokenName,
    },
    /// What any keystore says.
    #[error(transparent)]
    Refused(#[from] HsmError),
}

impl Pkcs11Error {
    /// From a call's failure.
    pub(crate) fn call(token: &TokenName, error: &cryptoki::error::Error) -> Self {
        use cryptoki::error::Error as E;
        let token = token.clone();
        match error {
            E::Pkcs11(code, call) => {
                let (call, lost) = (format!("C_{call:?}"), is_lost(*code));
                let code = format!("{code:?}");
                if lost { Self::Lost { token, call, code } } else { Self::Call { token, call, code } }
            }
            E::NullFunctionPointer => {
                Self::Call { token, call: "a function".to_owned(), code: "the module lacks it".to_owned() }
            }
            other => Self::Call { token, call: "a call".to_owned(), code: other.to_string() },
        }
    }
}

/// Return codes after which session and log-in are of no use. A handle that was good and no longer is means
/// that the token was reset behind the module's back.
fn is_lost(code: RvError) -> bool {
    matches!(
        code,
        RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::GeneralError
            | RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::UserNotLoggedIn
            | RvError::CryptokiNotInitialized
            | RvError::KeyHandleInvalid
            | RvError::ObjectHandleInvalid
    )
}

impl From<Pkcs11Error> for HsmError {
    fn from(e: Pkcs11Error) -> Self {
        let text = std::error::Error::source(&e).map_or_else(|| e.to_string(), |s| format!("{e}: {s}"));
        match e {
            Pkcs11Error::Refused(e) => e,
            Pkcs11Error::Busy { .. } => Self::Busy,
            Pkcs11Error::Pin { .. } | Pkcs11Error::Answer { .. } => Self::Closed(text),
            _ => Self::Device(text),
        }
    }
}
