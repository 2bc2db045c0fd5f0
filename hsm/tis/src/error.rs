//! What failed, in which step, and what it means for the command.

use crate::{BusError, HEADER, Locality, Register};
use core::fmt;

/// An operation failed. The next one starts clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// where
    pub step: Step,
    /// why
    pub cause: Cause,
}

/// The steps of an operation, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// looking at the caller's command
    Check,
    /// setting the bus up, asking for the locality
    Open,
    /// making the chip ready for a command
    Ready,
    /// writing the command
    Send,
    /// waiting for the response
    Execute,
    /// reading the response
    Receive,
}

/// Why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A transfer failed.
    Bus(BusError),
    /// The operation as a whole took too long.
    Deadline,
    /// Nothing answers: `TPM_DID_VID` is all ones or zeros.
    NoChip {
        /// as read
        did_vid: u32,
    },
    /// Another vendor than the pinned one.
    WrongVendor {
        /// pinned
        expected: u16,
        /// as read
        found: u16,
    },
    /// `TPM_ACCESS` did not become valid within `TIMEOUT_D`.
    AccessNotValid {
        /// as read last
        access: u8,
    },
    /// The locality was not granted within `TIMEOUT_A`.
    LocalityRefused {
        /// asked for
        locality: Locality,
        /// `TPM_ACCESS` as read last
        access: u8,
    },
    /// The locality was ours and is no more: a higher one took it, or the chip was reset.
    LocalityLost {
        /// ours
        locality: Locality,
        /// `TPM_ACCESS` as read
        access: u8,
    },
    /// Bits are set that always read as 0.
    Garbage {
        /// where
        register: Register,
        /// as read
        value: u8,
    },
    /// Not ready for a command within `TIMEOUT_B`.
    NotReady {
        /// `TPM_STS` as read last
        sts: u8,
    },
    /// `stsValid` did not come within `TIMEOUT_C`.
    StatusNotValid {
        /// `TPM_STS` as read last
        sts: u8,
    },
    /// The burst count stayed 0 for `TIMEOUT_A`.
    NoBurst {
        /// `TPM_STS` as read last
        sts: u8,
    },
    /// The caller's command is no command: shorter than its header, longer than any chip takes, or its header
    /// gives another size.
    CommandSize {
        /// bytes given
        length: usize,
    },
    /// The caller's buffer cannot hold even a header.
    ResponseBuffer {
        /// its bytes
        capacity: usize,
    },
    /// The chip took the command for complete before its last byte: bytes were doubled or changed on the way.
    CommandCutShort {
        /// bytes of the command
        length: usize,
    },
    /// The chip wants more after the last byte: bytes were lost or changed on the way.
    CommandIncomplete {
        /// bytes of the command
        length: usize,
    },
    /// The command arrived changed (I2C).
    CommandChecksum {
        /// ours
        host: u16,
        /// the chip's
        chip: u16,
    },
    /// No response within the caller's budget.
    NoResponse {
        /// that budget, µs
        budget_us: u32,
        /// `TPM_STS` as read last
        sts: u8,
    },
    /// The command was cancelled, and the chip did not answer within `TIMEOUT_B`.
    CancelNotAnswered {
        /// `TPM_STS` as read last
        sts: u8,
    },
    /// The response's header is none: unknown tag, or a size below the header's.
    ResponseHeader {
        /// as read
        header: [u8; HEADER],
    },
    /// The response is larger than the caller's buffer. The command has run.
    ResponseTooLarge {
        /// its bytes
        size: u32,
        /// the buffer's
        capacity: usize,
    },
    /// The response ended before its size.
    ResponseCutShort {
        /// bytes read
        got: usize,
        /// bytes announced
        size: usize,
    },
    /// More came than the response's size.
    ResponseTooLong {
        /// bytes announced
        size: usize,
    },
    /// The response arrived changed (I2C).
    ResponseChecksum {
        /// ours
        host: u16,
        /// the chip's
        chip: u16,
    },
}

impl Error {
    /// True if the chip may have executed the command: repeating it may do its effect twice.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        self.step >= Step::Execute
    }
}

impl Cause {
    /// The response is still in the chip and can be read again (`responseRetry`).
    pub(crate) const fn can_read_again(&self) -> bool {
        matches!(
            self,
            Self::ResponseHeader { .. }
                | Self::ResponseTooLarge { .. }
                | Self::ResponseCutShort { .. }
                | Self::ResponseTooLong { .. }
                | Self::ResponseChecksum { .. }
        )
    }
}

impl From<BusError> for Cause {
    fn from(e: BusError) -> Self {
        Self::Bus(e)
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.cause {
            Cause::Bus(e) => Some(e),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TPM, {}: {}", self.step, self.cause)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "checking the command",
            Self::Open => "opening the interface",
            Self::Ready => "making ready",
            Self::Send => "sending the command",
            Self::Execute => "waiting for the response",
            Self::Receive => "reading the response",
        })
    }
}

impl fmt::Display for Cause {
    #[expect(clippy::too_many_lines, reason = "one line per cause: a table")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(_) => f.write_str("a transfer on the bus failed"),
            Self::Deadline => {
                f.write_str("the operation took too long as a whole; check the bus frequency and wiring")
            }
            Self::NoChip { did_vid } => {
                write!(
                    f,
                    "no chip answers (TPM_DID_VID reads {did_vid:#010x}); check power, reset, chip select and bus"
                )
            }
            Self::WrongVendor { expected, found } => {
                write!(
                    f,
                    "the chip is of vendor {found:#06x}, but {expected:#06x} is pinned; put the right chip in, or pin this one"
                )
            }
            Self::AccessNotValid { access } => {
                write!(f, "TPM_ACCESS stays invalid ({access:#04x}); the chip is not out of reset")
            }
            Self::LocalityRefused { locality, access } => {
                write!(
                    f,
                    "locality {} is not granted (TPM_ACCESS {access:#04x}); does another program use the chip?",
                    locality.number()
                )
            }
            Self::LocalityLost { locality, access } => {
                write!(
                    f,
                    "locality {} was lost (TPM_ACCESS {access:#04x}): another took it, or the chip was reset",
                    locality.number()
                )
            }
            Self::Garbage { register, value } => {
                write!(
                    f,
                    "{} reads {value:#04x}, with bits set that are always 0; the bus is disturbed",
                    register.name()
                )
            }
            Self::NotReady { sts } => {
                write!(f, "the chip does not become ready (TPM_STS {sts:#04x}); reset it")
            }
            Self::StatusNotValid { sts } => {
                write!(f, "the status stays invalid (TPM_STS {sts:#04x}); reset the chip")
            }
            Self::NoBurst { sts } => {
                write!(f, "the chip takes and gives no data (burst count 0, TPM_STS {sts:#04x}); reset it")
            }
            Self::CommandSize { length } => {
                write!(f, "{length} bytes are no command: 10 to 4096, as many as its header says")
            }
            Self::ResponseBuffer { capacity } => {
                write!(f, "a buffer of {capacity} bytes holds no response; give at least 10")
            }
            Self::CommandCutShort { length } => {
                write!(
                    f,
                    "the chip took the command for complete before its {length} bytes; the bus is disturbed"
                )
            }
            Self::CommandIncomplete { length } => {
                write!(f, "the chip did not get all {length} bytes of the command; the bus is disturbed")
            }
            Self::CommandChecksum { host, chip } => {
                write!(
                    f,
                    "the command arrived changed (CRC {chip:#06x}, not {host:#06x}); the bus is disturbed"
                )
            }
            Self::NoResponse { budget_us, sts } => {
                write!(
                    f,
                    "no response within {budget_us} µs (TPM_STS {sts:#04x}); give it longer, or reset the chip"
                )
            }
            Self::CancelNotAnswered { sts } => {
                write!(f, "the chip did not answer the cancelled command (TPM_STS {sts:#04x}); reset it")
            }
            Self::ResponseHeader { header } => {
                write!(f, "what came is no response ({header:02x?}); the bus is disturbed")
            }
            Self::ResponseTooLarge { size, capacity } => {
                write!(
                    f,
                    "a response of {size} bytes does not fit {capacity}; give a larger buffer, unless the bus is disturbed"
                )
            }
            Self::ResponseCutShort { got, size } => {
                write!(f, "the response ended after {got} of {size} bytes; the bus is disturbed")
            }
            Self::ResponseTooLong { size } => {
                write!(f, "the chip holds more than the response's {size} bytes; the bus is disturbed")
            }
            Self::ResponseChecksum { host, chip } => {
                write!(
                    f,
                    "the response arrived changed (CRC {host:#06x}, not {chip:#06x}); the bus is disturbed"
                )
            }
        }
    }
}
