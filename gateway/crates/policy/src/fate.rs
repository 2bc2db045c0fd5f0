//! What apply takes and gives: blocks, fates, refusals, alarms, errors.

use crate::state::{Change, StateError};
use gw_proto::record::SignedBatch;
use gw_proto::{Digest, Height, NodeId, UnixMillis};
use serde::{Deserialize, Serialize};

/// A verified block's part that is ours.
#[derive(Debug, Clone)]
pub struct BlockInput {
    /// its number
    pub height: Height,
    /// its hash
    pub hash: Digest,
    /// its header's time
    pub time: UnixMillis,
    /// (index of the transaction, batch), ascending; empty where the block holds nothing of ours
    pub batches: Vec<(u32, SignedBatch)>,
}

/// What a block does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockOutcome {
    /// to be written in one store transaction, in ascending order of keys
    pub changes: Vec<Change>,
    /// one per record, in chain order
    pub fates: Vec<RecordFate>,
    /// of the state after the block
    pub state_digest: Digest,
    /// the chain's time after the block: never below an earlier block's
    pub time: UnixMillis,
    /// what the operator must know
    pub alarms: Vec<Alarm>,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFate {
    /// index of the transaction in its block
    pub tx: u32,
    /// index of the record in its batch
    pub record: u32,
    /// its type's name on the wire
    pub kind: &'static str,
    /// what became of it
    pub fate: Fate,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fate", content = "reason")]
pub enum Fate {
    /// It has its effect.
    Accepted,
    /// It was decided before; no second effect. The state tells what was decided.
    Repeated,
    /// No effect.
    Refused(RefusalReason),
}

/// Why a record has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// batch: unknown version
    #[error("the batch's version is not known")]
    BatchVersion,
    /// batch: for another chain
    #[error("the batch is for another chain")]
    OtherChain,
    /// batch: for another consortium's genesis
    #[error("the batch is for another genesis document")]
    OtherGenesis,
    /// batch: below the block that holds it
    #[error("the batch expired before this block")]
    BatchExpired,
    /// batch: more than 600 blocks ahead
    #[error("the batch expires more than 600 blocks ahead")]
    ExpiryTooFar,
    /// batch: no records or too many
    #[error("a batch has 1 to 64 records")]
    RecordCount,
    /// batch or record: no canonical form
    #[error("no canonical JSON form")]
    NotCanonical,
    /// batch: node not listed
    #[error("the writing node is not listed")]
    UnknownWriter,
    /// batch: node or its institution blocked
    #[error("the writing node or its institution is blocked")]
    WriterBlocked,
    /// batch: not one signature of a node, or fewer than k or more than n of governance
    #[error("wrong number of signatures")]
    SignatureCount,
    /// batch: a key that is not the node's, not governance's, or used twice
    #[error("signed with a key that does not count here")]
    SignatureKey,
    /// batch: does not verify
    #[error("a signature does not verify")]
    BadSignature,
    /// see `table.rs`
    #[error("this writer may not write this type of record")]
    WriterNotAllowed,
    /// empty, too long or with control characters
    #[error("text is empty, too long or holds control characters")]
    TextInvalid,
    /// not host:port
    #[error("the endpoint is not host:port")]
    EndpointInvalid,
    /// none or repeated
    #[error("roles are empty or repeated")]
    RolesInvalid,
    /// with another role
    #[error("supervisor must be a node's only role")]
    SupervisorNotAlone,
    /// not listed
    #[error("the institution is not listed")]
    UnknownInstitution,
    /// another node's
    #[error("the key is another node's")]
    KeyInUse,
    /// size, digest or level
    #[error("the evidence root's size, digest or level is wrong")]
    RootInvalid,
    /// a bound of the state
    #[error("too many of these are listed already")]
    TooMany,
    /// not the next version
    #[error("the version does not follow the one in force")]
    VersionNotNext,
    /// out of bounds
    #[error("a bound or cap of the policy is out of range")]
    PolicyInvalid,
    /// not above this block
    #[error("rules must come into force above the block that holds them")]
    RulesNotAhead,
    /// over, empty or longer than 24 h
    #[error("the binding is over, empty, too far ahead or longer than 24 hours")]
    BindingInvalid,
    /// id ≠ H(holder ‖ C_a)
    #[error("the authorization's id is not H(holder, commitment)")]
    IdMismatch,
    /// holder ≠ writer's institution
    #[error("the holder is not the writer's institution")]
    ForeignHolder,
    /// same id, other content
    #[error("the id is taken by other content")]
    Conflict,
    /// not_before ≥ not_after
    #[error("the validity is empty")]
    ValidityInvalid,
    /// block time < not_before
    #[error("not yet in force")]
    NotYetValid,
    /// block time ≥ not_after
    #[error("expired")]
    Expired,
    /// no policy on the ledger yet
    #[error("governance has put no policy on the ledger yet")]
    NoPolicy,
    /// zero, or above the cap of the level
    #[error("uses are zero or above the cap of the evidence level")]
    UsesAboveCap,
    /// per holder and day
    #[error("the holder's authorizations of this level for the day are used up")]
    DayCap,
    /// not known or forgotten
    #[error("the authorization is not known")]
    UnknownAuthorization,
    /// before
    #[error("the authorization is revoked")]
    Revoked,
    /// hash differs
    #[error("the preimage does not match the revocation hash")]
    PreimageWrong,
    /// spent = max_uses
    #[error("all uses are spent")]
    UsedUp,
    /// past or too far
    #[error("the deadline is past or too far ahead")]
    DeadlineInvalid,
    /// not known
    #[error("the reservation is not known")]
    UnknownReservation,
    /// known, but it was refused
    #[error("the reservation was refused")]
    ReservationRefused,
    /// not a listed source
    #[error("the source is not listed as one")]
    UnknownSource,
    /// the writer is not that side
    #[error("the writer does not stand on that side")]
    WrongSide,
    /// a later trace may not say less
    #[error("a later trace may not take back an earlier one")]
    TraceFinal,
    /// governance's matter
    #[error("an institution with a supervisor is governance's matter")]
    StandingOfSupervisor,
    /// batch: holds a type that the rules in force do not know
    #[error("the rules in force do not know this type of record yet")]
    RulesTooOld,
    /// not listed
    #[error("the node is not listed")]
    UnknownNode,
    /// the ledger lists another one
    #[error("the node has another key")]
    OtherKey,
    /// about its writer
    #[error("nobody judges himself")]
    VerdictOnSelf,
    /// over, or dated ahead
    #[error("the verdict is older than 24 hours or dated ahead")]
    VerdictInvalid,
    /// not newer than the one that stands
    #[error("a verdict of this supervisor stands that is as new")]
    VerdictOlder,
    /// not below this block
    #[error("the height lies ahead")]
    HeightAhead,
    /// below what is kept
    #[error("the height is too old to compare")]
    HeightForgotten,
}

/// What the operator must know, found while applying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// A supervisor's digest of an earlier state is not ours: one of both is wrong.
    DigestMismatch {
        /// after which block
        height: Height,
        /// what we have
        ours: Digest,
        /// what the supervisor has
        theirs: Digest,
        /// which supervisor
        by: NodeId,
    },
}

/// Why a block cannot be applied at all. The follower stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The store below failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// Rules that this program does not know are in force.
    #[error(
        "rules version {version} is in force at height {height}; this program does not know it: update it"
    )]
    UnknownRules {
        /// rules version
        version: u32,
        /// at which height
        height: Height,
    },
    /// Not the block after the state's head.
    #[error("block {found} does not follow; the state expects block {expected}")]
    NotNext {
        /// expected
        expected: Height,
        /// found
        found: Height,
    },
    /// Transactions out of order.
    #[error("the transactions of block {height} are not in ascending order")]
    TransactionOrder {
        /// of which block
        height: Height,
    },
    /// Height or time beyond 2⁵³ − 1.
    #[error("height or time of block {height} is out of range")]
    OutOfRange {
        /// of which block
        height: Height,
    },
    /// Governance of the genesis document cannot work.
    #[error("genesis document: governance needs 1 to n of n distinct keys")]
    Governance,
    /// The state was made under another genesis document.
    #[error("the state belongs to another genesis document: rebuild it from the chain")]
    OtherGenesis,
    /// A value has no canonical form.
    #[error("no canonical JSON form of {0}")]
    Canon(&'static str),
}
