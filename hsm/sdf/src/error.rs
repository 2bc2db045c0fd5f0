//! What can fail between the gateway and an SDF device, where, and what to do.

use hsm_api::{HsmError, backend::SecretError};
use hsm_sdf_ffi::{Code, FfiError};

/// Why a device did not do it. Never carries a password.
#[derive(Debug, thiserror::Error)]
pub enum SdfError {
    /// The configuration cannot be meant.
    #[error("SDF keystore: {what}")]
    Options {
        /// what is wrong
        what: String,
    },
    /// A password file cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The library, one of its functions, or what it writes is not as it must be.
    #[error(transparent)]
    Library(FfiError),
    /// The device is gone, was reset, or the way to it is down.
    #[error(
        "{device} is lost ({call}: {code}); check its power, cable and driver: it is used again when it is back"
    )]
    Lost {
        /// which
        device: String,
        /// the function
        call: &'static str,
        /// what it returned
        code: Code,
    },
    /// A call failed.
    #[error("{device}: {call} failed: {code}")]
    Call {
        /// which
        device: String,
        /// the function
        call: &'static str,
        /// what it returned
        code: Code,
    },
    /// No key where the configuration says.
    #[error(
        "{device} has no SM2 signing key at index {index} (`{name}`); make it there with the vendor's tool or \
         correct the index"
    )]
    Empty {
        /// which
        device: String,
        /// the key's name
        name: String,
        /// its index
        index: u32,
    },
    /// The device refuses the password; it is not tried again.
    #[error(
        "{device} refuses the password of key `{name}` (index {index}: {code}); it is not tried again. Correct \
         its password file, then restart: each restart tries once"
    )]
    Password {
        /// which
        device: String,
        /// the key's name
        name: String,
        /// its index
        index: u32,
        /// what it returned
        code: Code,
    },
    /// The key needs a password.
    #[error("{device} wants a password for key `{name}` (index {index}); name its file in password_file")]
    NoPassword {
        /// which
        device: String,
        /// the key's name
        name: String,
        /// its index
        index: u32,
    },
    /// Another key than was loaded.
    #[error(
        "{device} has another key at index {index} than `{name}` was when it was loaded; restart to use that"
    )]
    Changed {
        /// which
        device: String,
        /// the key's name
        name: String,
        /// its index
        index: u32,
    },
    /// Every session is in use.
    #[error("all sessions of {device} are in use")]
    Busy {
        /// which
        device: String,
    },
    /// An answer that cannot be right.
    #[error("{device}: {what}; do not use it, and ask its vendor")]
    Answer {
        /// which
        device: String,
        /// what is wrong
        what: &'static str,
    },
    /// What any keystore says.
    #[error(transparent)]
    Refused(#[from] HsmError),
}

impl SdfError {
    /// From a call's failure.
    pub(crate) fn call(device: &str, error: FfiError) -> Self {
        let device = device.to_owned();
        match error {
            FfiError::Call { call, code } if is_lost(code) => Self::Lost { device, call, code },
            FfiError::Call { call, code } => Self::Call { device, call, code },
            other => Self::Library(other),
        }
    }

    /// The standard's code, if a call gave one.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Call { code, .. } | Self::Lost { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Return codes after which handles are of no use. The standard has none for a dead handle: vendors use codes
/// of their own, so each of those is taken for a loss. That costs a new session, no more.
fn is_lost(code: Code) -> bool {
    is_unreachable(code) || code.name().is_none()
}

/// Return codes that say that the device was not reached.
pub(crate) fn is_unreachable(code: Code) -> bool {
    matches!(code, Code::COMMFAIL | Code::HARDFAIL | Code::OPENDEVICE)
}

impl From<SdfError> for HsmError {
    fn from(e: SdfError) -> Self {
        let text = std::error::Error::source(&e).map_or_else(|| e.to_string(), |s| format!("{e}: {s}"));
        match e {
            SdfError::Refused(e) => e,
            SdfError::Busy { .. } => Self::Busy,
            SdfError::Password { .. } | SdfError::Answer { .. } => Self::Closed(text),
            _ => Self::Device(text),
        }
    }
}
