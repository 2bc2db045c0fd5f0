//! What an entry of the journal says.
//!
//! Adding a field? Make it optional: files of older releases are opened, and an older release that is
//! started again after a rollback skips what it does not know. A new meaning is a [`Note`] kind or an intent
//! kind; a new frame kind only where recovery must understand it.

use crate::error::JournalError;
use gw_proto::{
    AuthzId, Digest, Dimension, Height, InstitutionId, NodeId, Purpose, ReportId, UnixMillis, jcs,
};
use serde::{Deserialize, Serialize};

/// The most bytes of an entry.
pub const MAX_ENTRY_BYTES: usize = 64 * 1024;

pub(crate) const KIND_INTENT: u8 = 1;
pub(crate) const KIND_OUTCOME: u8 = 2;
pub(crate) const KIND_NOTE: u8 = 3;
pub(crate) const KIND_SEEN: u8 = 4;

/// What is about to be done. Recorded before any effect. Never the subject's code, only a tag of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// when it was decided
    pub at: UnixMillis,
    /// what for: `query` (asker), `answer` (source), `authorize`, `look-up` (supervisor) …; a-z, 0-9, hyphens
    pub kind: String,
    /// whose request it is
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asker: Option<InstitutionId>,
    /// which node asks, where a gateway asks
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<NodeId>,
    /// under which authorization
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authz_id: Option<AuthzId>,
    /// which use
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_id: Option<ReportId>,
    /// whose data, as a tag under this box's key
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_tag: Option<Digest>,
    /// who asks, as a tag under the institution's key
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_tag: Option<Digest>,
    /// why
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// which dimensions
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dimensions: Vec<Dimension>,
    /// the verified height it was decided at
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<Height>,
    /// the trace id of W3C trace context, to find it in logs
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl Intent {
    /// An intent that says nothing more yet.
    pub fn new(kind: &str, at: UnixMillis) -> Self {
        Self {
            at,
            kind: kind.to_owned(),
            asker: None,
            peer: None,
            authz_id: None,
            report_id: None,
            subject_tag: None,
            operator_tag: None,
            purpose: None,
            dimensions: Vec::new(),
            height: None,
            trace_id: None,
        }
    }
}

/// How an intent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeStatus {
    /// done as asked: data released, received, or recorded
    Done,
    /// done, and there was nothing on the subject
    Empty,
    /// done in part: sources are missing
    Partial,
    /// refused by a rule
    Refused,
    /// something failed
    Failed,
    /// nobody said: the request's task ended, or the box stopped
    Abandoned,
}

/// What became of an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// how it ended
    pub status: OutcomeStatus,
    /// why, as a short code (a problem type's last segment, a reason): a-z, 0-9, hyphens
    pub code: String,
    /// which use, where the intent could not know it yet
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_id: Option<ReportId>,
    /// hash of the reply's leaf
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_leaf: Option<Digest>,
    /// what else is worth keeping: for example each source's part
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
}

impl Outcome {
    /// An outcome that says nothing more yet.
    pub fn new(status: OutcomeStatus, code: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            report_id: None,
            reply_leaf: None,
            data: serde_json::Value::Null,
        }
    }
    /// What is recorded for an intent whose guard was dropped, or that a crash left open.
    pub fn abandoned(code: &str) -> Self {
        Self::new(OutcomeStatus::Abandoned, code)
    }
}

/// An outcome with its intent. Each intent has at most one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// index of the intent
    pub intent: u64,
    /// when it ended
    pub at: UnixMillis,
    /// what became of it
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Anything else worth keeping: alarms, start and stop, administration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// when
    pub at: UnixMillis,
    /// `alarm`, `start`, `stop`, `config` …; a-z, 0-9, hyphens
    pub kind: String,
    /// what
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
}

/// A block this box has verified. It never serves from a lower one, nor at an earlier time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenHeight {
    /// when it was noted
    pub at: UnixMillis,
    /// the block
    pub height: Height,
    /// its hash
    pub hash: Digest,
    /// its time
    pub time: UnixMillis,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// before an effect
    Intent(Intent),
    /// after it
    Outcome(Finished),
    /// anything else
    Note(Note),
    /// highest verified block
    SeenHeight(SeenHeight),
    /// written by a release that knows more; read only
    Other {
        /// the frame's kind
        kind: u8,
        /// its payload
        payload: Vec<u8>,
    },
}

impl Entry {
    /// Kind and canonical JSON, within the bound.
    pub(crate) fn encode(&self) -> Result<(u8, Vec<u8>), JournalError> {
        let (kind, payload) = match self {
            Self::Intent(i) => (KIND_INTENT, jcs(check_name(&i.kind).map(|()| i)?)),
            Self::Outcome(f) => (KIND_OUTCOME, jcs(check_name(&f.outcome.code).map(|()| f)?)),
            Self::Note(n) => (KIND_NOTE, jcs(check_name(&n.kind).map(|()| n)?)),
            Self::SeenHeight(s) => (KIND_SEEN, jcs(s)),
            Self::Other { .. } => {
                return Err(JournalError::Encode("entries of unknown kind are only read".into()));
            }
        };
        let payload = payload.map_err(|e| JournalError::Encode(e.to_string()))?;
        if payload.len() > MAX_ENTRY_BYTES {
            return Err(JournalError::TooLarge { found: payload.len(), max: MAX_ENTRY_BYTES });
        }
        Ok((kind, payload))
    }

    /// Reads a frame's payload. What this release does not understand is kept as it is.
    pub(crate) fn decode(kind: u8, payload: Vec<u8>) -> Self {
        let known = match kind {
            KIND_INTENT => serde_json::from_slice(&payload).map(Self::Intent),
            KIND_OUTCOME => serde_json::from_slice(&payload).map(Self::Outcome),
            KIND_NOTE => serde_json::from_slice(&payload).map(Self::Note),
            KIND_SEEN => serde_json::from_slice(&payload).map(Self::SeenHeight),
            _ => return Self::Other { kind, payload },
        };
        known.unwrap_or(Self::Other { kind, payload })
    }
}

/// Kinds and codes are short names, so that no text of a peer gets into them.
pub(crate) fn check_name(name: &str) -> Result<(), JournalError> {
    let ok = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if ok {
        return Ok(());
    }
    Err(JournalError::Encode("a kind or code has 1 to 64 characters of a-z, 0-9 and hyphen".into()))
}
