//! Why evidence, a log or a manifest cannot be read.

use crate::hash::Bank;

/// Everything that goes wrong in this crate outside a verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// More bytes than are read.
    #[error("{what} of {found} bytes, at most {limit} are read")]
    Size {
        /// which document
        what: &'static str,
        /// bytes found
        found: usize,
        /// bytes read at most
        limit: usize,
    },
    /// No JSON of the expected shape.
    #[error("not {what} ({detail}); see the published schema")]
    Form {
        /// which document
        what: &'static str,
        /// what the parser says
        detail: String,
    },
    /// A list or a text is longer than any real one.
    #[error("{what} has {found} entries or bytes, at most {limit} are taken")]
    TooMany {
        /// which list or text
        what: &'static str,
        /// found
        found: usize,
        /// taken at most
        limit: usize,
    },
    /// No canonical JSON.
    #[error("{what} has no canonical form")]
    Canon {
        /// which document
        what: &'static str,
    },
    /// A TPMS_ATTEST that no chip made.
    #[error("the statement starts with {found:#010x}, a chip's start with 0xff544347")]
    Magic {
        /// the first four bytes
        found: u32,
    },
    /// A TPM structure is malformed.
    #[error("{what} is malformed: {detail}")]
    Structure {
        /// which structure
        what: &'static str,
        /// what the parser says
        detail: String,
    },
    /// An event log ends inside an event.
    #[error("the event log ends inside event {event}, at byte {at}")]
    LogTruncated {
        /// number of the event, the header being 0
        event: usize,
        /// where the missing bytes should start
        at: usize,
    },
    /// An event log does not start with the header of the crypto-agile format.
    #[error("the event log has no header of the crypto-agile format: {detail}")]
    LogHeader {
        /// what is wrong with it
        detail: String,
    },
    /// A hash that nobody knows the size of.
    #[error("the event log uses the unknown hash {id:#06x}")]
    LogAlgorithm {
        /// TPM_ALG_ID
        id: u16,
    },
    /// The header gives a hash a size that it does not have.
    #[error("the event log says that hash {id:#06x} has {found} bytes, it has {expected}")]
    LogDigestSize {
        /// TPM_ALG_ID
        id: u16,
        /// the real size
        expected: usize,
        /// the size in the header
        found: usize,
    },
    /// The quoted bank is not in the log.
    #[error("the event log has no digests of the quoted bank {bank}")]
    LogBank {
        /// the quoted bank
        bank: Bank,
    },
    /// An event has not exactly one digest of each hash in the header.
    #[error("event {event} of the log does not have one digest of each hash in the header")]
    LogDigests {
        /// number of the event
        event: usize,
    },
    /// There is no such PCR.
    #[error("event {event} of the log names PCR {pcr}, there are 24")]
    LogPcr {
        /// number of the event
        event: usize,
        /// the PCR
        pcr: u32,
    },
    /// A startup locality that cannot be.
    #[error("event {event} of the log gives a startup locality that cannot be: {detail}")]
    LogLocality {
        /// number of the event
        event: usize,
        /// why
        detail: &'static str,
    },
    /// A manifest or policy expects something of a PCR that software can reset.
    #[error("{what} names PCR {pcr}, which software can reset; use PCRs 0 to 15")]
    ResettablePcr {
        /// manifest or policy
        what: &'static str,
        /// the PCR
        pcr: u8,
    },
    /// A PCR or component appears twice, or a list that may not be empty is.
    #[error("{what} is contradictory: {detail}")]
    Contradiction {
        /// which document
        what: &'static str,
        /// what does not fit
        detail: String,
    },
    /// Fewer good signatures of known keys than are needed.
    #[error("the manifest of release `{release}` has {found} good signatures, {needed} are needed")]
    ManifestSignatures {
        /// which release
        release: String,
        /// good signatures of different known keys
        found: usize,
        /// needed
        needed: usize,
    },
}

/// One line, at most 200 characters, nothing that moves a terminal's cursor.
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 200;
    text.chars().take(LONGEST).map(|c| if c.is_control() { '·' } else { c }).collect()
}

pub(crate) fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), AttestError> {
    if found > limit { Err(AttestError::TooMany { what, found, limit }) } else { Ok(()) }
}
