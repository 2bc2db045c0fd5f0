//! Why a request is refused: one variant per reason.

use crate::fate::RefusalReason;
use crate::state::StateError;
use gw_proto::{Dimension, EvidenceLevel};

/// Who has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// whoever asks
    Peer,
    /// the chain or governance
    Upstream,
    /// this box
    Us,
}

/// Why data is not given. No variant carries a subject's code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// our own state
    #[error(transparent)]
    State(#[from] StateError),
    /// no block yet
    #[error("no block of the ledger is known yet")]
    NoBlock,
    /// no policy yet
    #[error("governance has put no policy on the ledger yet")]
    NoPolicy,
    /// head too old
    #[error("the newest verified block is {age_ms} ms old, the bound is {bound_ms} ms")]
    Stale {
        /// its age
        age_ms: u64,
        /// policy.staleness_ms
        bound_ms: u64,
    },
    /// head in the future
    #[error("the newest verified block lies {ahead_ms} ms ahead of the clock")]
    Ahead {
        /// by how much
        ahead_ms: u64,
    },
    /// S is not well-formed
    #[error("statement: {0}")]
    StatementInvalid(gw_proto::message::StatementError),
    /// T is not well-formed
    #[error("opening: unknown version, or dimensions not sorted, repeated or empty")]
    OpeningInvalid,
    /// S or T has no canonical form
    #[error("statement or opening has no canonical JSON form")]
    NotCanonical,
    /// S is for another consortium
    #[error("the statement is for another consortium")]
    OtherConsortium,
    /// the asker is not S's holder
    #[error("the authorization is another institution's")]
    ForeignHolder,
    /// the asker is not listed or blocked
    #[error("the asking institution is not listed or is blocked")]
    AskerInactive,
    /// T names another authorization than S gives
    #[error("the opening names another authorization than the statement's")]
    StatementMismatch,
    /// not on the ledger
    #[error("the authorization is not on the ledger")]
    AuthorizationMissing,
    /// public fields differ from S
    #[error("the authorization on the ledger says something else than the statement")]
    PublicFieldsMismatch,
    /// before not_before
    #[error("the authorization is not in force yet")]
    NotYetValid,
    /// at or after not_after
    #[error("the authorization has expired")]
    Expired,
    /// revoked
    #[error("the authorization is revoked")]
    Revoked,
    /// T's subject is not S's
    #[error("the opening's subject is not the statement's")]
    SubjectMismatch,
    /// purpose not in S
    #[error("the purpose is not among those authorized")]
    PurposeMismatch,
    /// dimensions not in S
    #[error("dimensions outside the authorization: {}", names(.0))]
    DimensionOutside(Vec<Dimension>),
    /// region not in S
    #[error("this source's region is outside the authorization")]
    RegionOutside,
    /// S claims more than E proves
    #[error("the statement claims level {claimed:?}, its evidence proves {proved:?}")]
    LevelAboveProof {
        /// S
        claimed: EvidenceLevel,
        /// E
        proved: EvidenceLevel,
    },
    /// E is of a stronger level than S
    #[error("the statement is of level {claimed:?}, its evidence of {proved:?}: they must be equal")]
    LevelMismatch {
        /// S
        claimed: EvidenceLevel,
        /// E
        proved: EvidenceLevel,
    },
    /// dimensions that the level may not see
    #[error("the evidence level does not allow: {}", names(.0))]
    CapDimensions(Vec<Dimension>),
    /// uses that the level does not allow (any more)
    #[error("the policy's cap of uses of this evidence level is reached")]
    CapUses,
    /// no use left
    #[error("all uses of the authorization are spent")]
    UsedUp,
    /// not in a block that we know
    #[error("there is no reservation for this report in a verified block")]
    NoReservation,
    /// the report id is not this asker's
    #[error("the report id was not made by this asker for this opening")]
    ReservationOfAnother,
    /// the chain refused it
    #[error("the reservation was refused: {0}")]
    ReservationRefused(RefusalReason),
    /// given back
    #[error("the reservation was refunded")]
    Refunded,
    /// C_r differs
    #[error("the opening does not match the reservation's commitment")]
    OpeningMismatch,
    /// too late
    #[error("the reservation's deadline has passed")]
    DeadlinePassed,
    /// no accepted chain under an evidence root
    #[error("evidence: no valid certificate chain under an evidence root of its level")]
    EvidenceChain(#[source] gw_sm::cert::CertError),
    /// certificate of another enterprise
    #[error("evidence: the certificate is not the subject's")]
    EvidenceSubject,
    /// signature
    #[error("evidence: the signature over the statement does not verify")]
    EvidenceSignature,
}

fn names(dimensions: &[Dimension]) -> String {
    dimensions.iter().map(|d| d.as_str()).collect::<Vec<_>>().join(", ")
}

impl Refusal {
    /// Who has to do something about it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::State(_) | Self::Ahead { .. } => Blame::Us,
            Self::NoBlock | Self::NoPolicy | Self::Stale { .. } => Blame::Upstream,
            _ => Blame::Peer,
        }
    }
    /// The same request may succeed a little later.
    pub fn may_retry(&self) -> bool {
        matches!(
            self,
            Self::NoBlock
                | Self::Stale { .. }
                | Self::Ahead { .. }
                | Self::AuthorizationMissing
                | Self::NotYetValid
                | Self::NoReservation
        )
    }
}
