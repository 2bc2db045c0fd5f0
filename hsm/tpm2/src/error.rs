//! What can fail between a key's name and the chip, and what to do about it.

use hsm_api::HsmError;
use std::{path::PathBuf, time::Duration};
use tpm2_protocol::data::TpmCc;

/// Why a TPM operation did not happen. Never carries key material or authorization values.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// The transport cannot be opened.
    #[error("cannot reach the TPM at {place}; check the path, its owner, and that no other program holds it")]
    Connect {
        /// path or address
        place: String,
        /// what the system says
        source: std::io::Error,
    },
    /// The connection broke in the middle.
    #[error("the TPM at {place} went away ({what}); the next call connects again, no key is lost")]
    Lost {
        /// path or address
        place: String,
        /// what was seen
        what: String,
    },
    /// The bus or the chip's interface failed.
    #[error("the TPM at {place} cannot be used; the next call starts its interface anew, no key is lost")]
    Bus {
        /// the board's name for it
        place: String,
        /// step and cause
        source: hsm_tis::Error,
    },
    /// No answer in time.
    #[error("the TPM gave no answer to {command} within {budget:?}; the next call connects again")]
    TimedOut {
        /// what was asked
        command: &'static str,
        /// how long it was waited for
        budget: Duration,
    },
    /// The command was cancelled by [`crate::Tpm2KeyStore::cancel`].
    #[error("{command} was cancelled")]
    Cancelled {
        /// what was asked
        command: &'static str,
    },
    /// This transport cannot cancel.
    #[error("the transport {place} has no way to cancel a command; wait for its deadline")]
    CannotCancel {
        /// path or address
        place: String,
    },
    /// The TPM still says `retry`, `yielded` or `testing` at the deadline.
    #[error("the TPM stayed busy with other work for {waited:?} ({command}); try again")]
    StillBusy {
        /// what was asked
        command: &'static str,
        /// how long it was tried
        waited: Duration,
    },
    /// Other callers fill the queue to the chip.
    #[error("the TPM is busy with other callers")]
    Queue,
    /// Not a TPM response.
    #[error("the TPM's answer to {command} is malformed ({what}); check the wiring if it happens again")]
    Malformed {
        /// what was asked
        command: &'static str,
        /// what is wrong
        what: String,
    },
    /// A command of ours does not fit.
    #[error("{command} would be longer than a TPM takes")]
    TooLong {
        /// which
        command: &'static str,
    },
    /// The answer's HMAC is wrong: bits changed on the bus, by accident or on purpose.
    #[error(
        "the answer to {command} was changed on its way (HMAC differs); check the bus, and the box for tampering"
    )]
    Forged {
        /// what was asked
        command: &'static str,
    },
    /// The key that salts sessions is not the pinned one.
    #[error(
        "the TPM's storage key is {found}, pinned is {expected}: another chip, a cleared chip, or a listener \
         on the bus; do not enter secrets, re-enrol the box if the chip was replaced"
    )]
    PinMismatch {
        /// name in hex
        expected: String,
        /// name in hex
        found: String,
    },
    /// TPM_RC_FAILURE.
    #[error("the TPM is in failure mode ({detail}); power-cycle it, and replace it if that does not help")]
    FailureMode {
        /// its test result
        detail: String,
    },
    /// Dictionary-attack lockout.
    #[error(
        "the TPM is locked after too many wrong authorizations; {wait}, or reset it with the lockout authorization"
    )]
    Lockout {
        /// how long to wait, in words
        wait: String,
    },
    /// No room in the chip's NV memory.
    #[error("the TPM's NV memory is full; remove unused keys and indices (`tpm2_getcap handles-persistent`)")]
    NvFull,
    /// A value that authorizes is wrong.
    #[error(
        "{command} was refused: wrong authorization value; correct it in the sealed configuration before the TPM locks"
    )]
    WrongAuth {
        /// what was asked
        command: &'static str,
    },
    /// The state of the platform is not the one that was sealed to.
    #[error(
        "{command} was refused by policy: PCRs differ from those sealed to, or the anti-rollback floor is higher"
    )]
    Policy {
        /// what was asked
        command: &'static str,
    },
    /// The hierarchy is switched off.
    #[error("{command}: the hierarchy is disabled; enable it in the firmware's set-up")]
    Disabled {
        /// what was asked
        command: &'static str,
    },
    /// Something of ours is no longer in the chip (reset, or flushed by others).
    #[error("the TPM no longer knows a handle used by {command}; it was reset or another program flushed it")]
    Stale {
        /// what was asked
        command: &'static str,
    },
    /// No NV index there.
    #[error("NV index {index:#010x} is not defined; {remedy}")]
    NoIndex {
        /// which
        index: u32,
        /// what to do
        remedy: &'static str,
    },
    /// A handle that this program wants holds something else.
    #[error(
        "handle {handle:#010x} holds another object ({found}); choose another handle in the configuration"
    )]
    HandleTaken {
        /// which
        handle: u32,
        /// its name in hex
        found: String,
    },
    /// Any other response code (TPM 2.0 part 2, 6.6).
    #[error("{command} failed: {text} ({code:#x})")]
    Code {
        /// what was asked
        command: &'static str,
        /// response code
        code: u32,
        /// its name
        text: String,
    },
    /// The chip cannot do it.
    #[error("this TPM has no {what}")]
    Lacks {
        /// what is missing
        what: String,
    },
    /// A value that the caller gave is unusable.
    #[error("{what}")]
    Input {
        /// what and why
        what: String,
    },
    /// The index file does not match the keys.
    #[error(
        "key `{name}` in `{path}` was changed ({what}); restore the file from a backup, or make the key anew and re-enrol"
    )]
    Tampered {
        /// which key
        name: String,
        /// the file
        path: PathBuf,
        /// what differs
        what: &'static str,
    },
    /// There is a keystore already.
    #[error("`{path}` exists already: the keystore was made before; `xinguan hsm keys` lists what is in it")]
    Exists {
        /// the index file
        path: PathBuf,
    },
    /// The index file cannot be read or written.
    #[error(
        "cannot {operation} `{path}`; check that it exists and belongs to this user, and that the disk is not full"
    )]
    Io {
        /// read, write, lock …
        operation: &'static str,
        /// which
        path: PathBuf,
        /// what the system says
        source: std::io::Error,
    },
    /// The index file is not one.
    #[error("`{path}` is not an index of TPM keys: {what}")]
    Format {
        /// which
        path: PathBuf,
        /// what is wrong
        what: String,
    },
    /// Another process is writing the index.
    #[error("`{path}` is being written by another process; try again")]
    Locked {
        /// which
        path: PathBuf,
    },
    /// Closed by tamper or by a failed self test.
    #[error("{0}")]
    Closed(String),
    /// The host's randomness or self test failed, or an error of the keystore traits.
    #[error("{0}")]
    Host(HsmError),
}

impl TpmError {
    /// What the chip refers to is gone: connecting anew and asking again may help. The command had no effect.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::Stale { .. })
    }
    /// The link is unusable from here on.
    pub(crate) fn breaks_link(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. }
                | Self::Bus { .. }
                | Self::TimedOut { .. }
                | Self::Connect { .. }
                | Self::Malformed { .. }
        )
    }
    pub(crate) fn malformed(command: TpmCc, what: impl Into<String>) -> Self {
        Self::Malformed { command: crate::rc::name(command), what: what.into() }
    }
}

impl From<TpmError> for HsmError {
    fn from(e: TpmError) -> Self {
        let text = std::error::Error::source(&e).map_or_else(|| e.to_string(), |s| format!("{e}: {s}"));
        match e {
            TpmError::Queue | TpmError::StillBusy { .. } | TpmError::Locked { .. } => Self::Busy,
            TpmError::Closed(what) => Self::Closed(what),
            TpmError::Host(inner) => inner,
            TpmError::Lost { .. }
            | TpmError::Bus { .. }
            | TpmError::TimedOut { .. }
            | TpmError::Connect { .. } => Self::Lost(text),
            TpmError::Cancelled { .. } => Self::Cancelled,
            _ => Self::Device(text),
        }
    }
}

impl From<HsmError> for TpmError {
    fn from(e: HsmError) -> Self {
        Self::Host(e)
    }
}
