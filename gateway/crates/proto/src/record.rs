//! What stands on the ledger: records, and the signed batches that carry them.
//!
//! Adding a record type? Four places: here, the writer's table and the meaning in `gw-policy`
//! (`table.rs`, `apply.rs`), and, if it changes what others decide, a new rules version.

use crate::{
    bytes::{B64, Hex},
    canon::{self, CanonError, Digest, domain},
    clock::UnixMillis,
    ids::*,
    key::{PublicKey, Signature},
    message::Statement,
    terms::*,
};
use serde::{Deserialize, Serialize};

/// The most records in a batch.
pub const MAX_RECORDS: usize = 64;
/// The most bytes of a signed batch's canonical JSON.
pub const MAX_BATCH_BYTES: usize = 32 * 1024;
/// The version of batches and records that this program writes.
pub const VERSION: u32 = 1;
/// The farthest ahead that a batch may expire, in blocks.
pub const MAX_EXPIRY_BLOCKS: u64 = 600;

/// Who signs a batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "as", content = "id")]
pub enum Writer {
    /// k of n offline keys of the genesis document
    Governance,
    /// one listed node, by its node key
    Node(NodeId),
}

/// Records under one signature (BATCH in PROTOCOL.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// 1
    pub v: u32,
    /// the chain it is for
    pub chain: String,
    /// digest of the genesis document: a batch cannot be replayed on another consortium's chain
    pub genesis: Digest,
    /// who signs
    pub writer: Writer,
    /// last height at which it counts; at most 600 ahead of the block that holds it
    pub expires_height: Height,
    /// makes two batches of equal records differ; and with it the records' ids
    pub nonce: Hex<16>,
    /// 1 to 64 records
    pub records: Vec<Record>,
}

/// A batch and its signatures: one of the node, or k of governance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedBatch {
    /// what is signed
    pub batch: Batch,
    /// each over [`Batch::signing_input`]
    pub signatures: Vec<KeySignature>,
}

/// A signature and the key that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySignature {
    /// which key
    pub key_id: KeyId,
    /// r ‖ s
    pub signature: Signature,
}

impl Batch {
    /// What each signature covers.
    pub fn signing_input(&self) -> Result<Vec<u8>, CanonError> {
        canon::signing_input(domain::BATCH, self)
    }
}

/// Why the bytes of a transaction's payload are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Larger than 32 KiB.
    #[error("batch of {found} bytes, at most {MAX_BATCH_BYTES} are taken")]
    TooLarge {
        /// bytes found
        found: usize,
    },
    /// Not JSON of the expected shape.
    #[error("not a batch: {0}")]
    Shape(String),
    /// The bytes are not the canonical form of what they say.
    #[error("batch is not canonical JSON (RFC 8785)")]
    NotCanonical,
    /// No records, or more than 64.
    #[error("batch of {found} records, 1 to {MAX_RECORDS} are taken")]
    Count {
        /// records found
        found: usize,
    },
}

impl SignedBatch {
    /// Canonical bytes: what a transaction carries.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonError> {
        canon::jcs(self)
    }
    /// Parses what a transaction carries: bounded, canonical, complete.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() > MAX_BATCH_BYTES {
            return Err(BatchError::TooLarge { found: bytes.len() });
        }
        let this: Self = serde_json::from_slice(bytes).map_err(|e| BatchError::Shape(e.to_string()))?;
        match this.to_bytes() {
            Ok(canonical) if canonical == bytes => {}
            _ => return Err(BatchError::NotCanonical),
        }
        if this.batch.records.is_empty() || this.batch.records.len() > MAX_RECORDS {
            return Err(BatchError::Count { found: this.batch.records.len() });
        }
        Ok(this)
    }
}

/// One record. A repeated id is a no-op.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type", deny_unknown_fields)]
pub enum Record {
    /// A member (governance).
    Institution(Institution),
    /// A gateway and its node key (governance).
    Node(Node),
    /// A root under which evidence counts (governance).
    EvidenceRoot(EvidenceRoot),
    /// Caps and bounds (governance).
    Policy(Policy),
    /// The catalogue in force (governance).
    Catalogue(CatalogueVersion),
    /// Rules from a height on (governance). A box that does not know them stops.
    Rules(Rules),
    /// A node's TLS key (the node itself).
    TlsBinding(TlsBinding),
    /// An enterprise's authorization (its holder).
    Authorization(Authorization),
    /// Its end (holder, supervisor, or whoever knows the preimage).
    Revocation(Revocation),
    /// One use (the holder's node).
    Reservation(Reservation),
    /// A use given back (supervisor).
    Refund(Refund),
    /// What became of a use (asker and source).
    Trace(Trace),
    /// Makes a block on an idle chain (source, supervisor).
    Heartbeat(Heartbeat),
    /// The supervisor's digest of the state at a height.
    StateDigest(StateDigest),
    /// A member's standing changed for a reason (supervisor).
    Standing(StandingChange),
    /// What a supervisor found of a gateway's evidence.
    Verdict(DeviceVerdict),
    /// A release's reference manifest, by digest (governance).
    Reference(ReferenceManifest),
}

impl Record {
    /// The name of the type on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Institution(_) => "institution",
            Self::Node(_) => "node",
            Self::EvidenceRoot(_) => "evidence-root",
            Self::Policy(_) => "policy",
            Self::Catalogue(_) => "catalogue",
            Self::Rules(_) => "rules",
            Self::TlsBinding(_) => "tls-binding",
            Self::Authorization(_) => "authorization",
            Self::Revocation(_) => "revocation",
            Self::Reservation(_) => "reservation",
            Self::Refund(_) => "refund",
            Self::Trace(_) => "trace",
            Self::Heartbeat(_) => "heartbeat",
            Self::StateDigest(_) => "state-digest",
            Self::Standing(_) => "standing",
            Self::Verdict(_) => "verdict",
            Self::Reference(_) => "reference",
        }
    }
    /// The first rules version that knows the type: before it, a batch that holds one is nobody's.
    pub fn since_rules(&self) -> u32 {
        match self {
            Self::Verdict(_) => 2,
            Self::Reference(_) => 3,
            _ => 1,
        }
    }
}

/// A member of the consortium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Institution {
    /// its id
    pub id: InstitutionId,
    /// its name, at most 120 bytes
    pub name: String,
    /// where it sits
    pub region: Region,
    /// may it act
    pub standing: Standing,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// its id
    pub id: NodeId,
    /// whose it is
    pub institution: InstitutionId,
    /// what it may do; supervisor stands alone
    pub roles: Vec<Role>,
    /// which region's data it holds
    pub region: Region,
    /// its node key
    pub key: PublicKey,
    /// host:port of its MAN listener
    pub endpoint: String,
    /// may it act
    pub standing: Standing,
}

/// A root under which an enterprise's or a seal service's certificate counts as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRoot {
    /// digest of the certificate: SM3(DER)
    pub id: Digest,
    /// which level it supports: signed or sealed
    pub level: EvidenceLevel,
    /// the certificate, DER, at most 4 KiB
    pub certificate: B64,
    /// may it be used
    pub standing: Standing,
}

/// Caps and bounds of the consortium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// grows by one
    pub version: u32,
    /// what each level may do
    pub caps: Caps,
    /// a state older than this is not served from, ms
    pub staleness_ms: u64,
    /// a reservation's deadline lies at most this far after its block, ms
    pub reservation_ms: u64,
}

/// Caps per evidence level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// signed by the enterprise's own key
    pub signed: Cap,
    /// sealed by a recognised service
    pub sealed: Cap,
    /// asserted by the institution
    pub asserted: Cap,
}

impl Caps {
    /// The cap of a level.
    pub fn of(&self, level: EvidenceLevel) -> &Cap {
        match level {
            EvidenceLevel::Signed => &self.signed,
            EvidenceLevel::Sealed => &self.sealed,
            EvidenceLevel::Asserted => &self.asserted,
        }
    }
}

/// What one evidence level may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// most uses of one authorization
    pub max_uses: u32,
    /// dimensions that may be seen
    pub dimensions: Vec<Dimension>,
    /// most authorizations of this level per holder and UTC day; none = no cap
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_holder_day: Option<u32>,
}

/// What a release should measure, by digest: a verifier takes no other manifest once one is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceManifest {
    /// SM3 of what the manifest's makers sign
    pub digest: Digest,
    /// the release's name, for people: at most 200 bytes
    pub release: String,
    /// may boxes be judged by it; suspended: withdrawn
    pub standing: Standing,
}

/// The catalogue in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueVersion {
    /// for example `2026.1`
    pub version: String,
    /// digest of the catalogue document
    pub digest: Digest,
}

/// Rules from a height on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// rules version
    pub version: u32,
    /// first height it is in force, above the block that holds this record
    pub from_height: Height,
}

/// A TLS key bound to the node key by the batch's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsBinding {
    /// SM3 of the certificate's SubjectPublicKeyInfo, DER
    pub spki: Digest,
    /// from
    pub not_before: UnixMillis,
    /// until, at most 24 h later
    pub not_after: UnixMillis,
}

/// The public part of an authorization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// H(holder ‖ C_a)
    pub id: AuthzId,
    /// the institution that may ask
    pub holder: InstitutionId,
    /// C_a
    pub commitment: Commitment,
    /// how well it is proved
    pub level: EvidenceLevel,
    /// from
    pub not_before: UnixMillis,
    /// until, exclusive
    pub not_after: UnixMillis,
    /// how often
    pub max_uses: u32,
    /// whoever shows its preimage revokes
    pub revoke_hash: Digest,
}

impl Authorization {
    /// The record that a statement calls for.
    pub fn of(statement: &Statement) -> Result<Self, CanonError> {
        let commitment = statement.commitment()?;
        Ok(Self {
            id: authz_id(&statement.holder, &commitment)?,
            holder: statement.holder.clone(),
            commitment,
            level: statement.level,
            not_before: statement.not_before,
            not_after: statement.not_after,
            max_uses: statement.max_uses,
            revoke_hash: statement.revoke_hash,
        })
    }
}

/// authz_id = H(holder ‖ C_a).
pub fn authz_id(holder: &InstitutionId, commitment: &Commitment) -> Result<AuthzId, CanonError> {
    let v = serde_json::json!({"holder": holder, "commitment": commitment});
    Ok(AuthzId(canon::jcs_digest(domain::AUTHZ_ID, &v)?))
}

/// The end of an authorization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// which
    pub authz_id: AuthzId,
    /// SM3(domain `xinguan/revoke/1` ‖ 0 ‖ preimage) = revoke_hash; needed unless the holder or a supervisor writes
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preimage: Option<Hex<32>>,
}

/// One use, spent when accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// unique per writing institution
    pub report_id: ReportId,
    /// of which authorization
    pub authz_id: AuthzId,
    /// C_r
    pub commitment: Commitment,
    /// no source answers after it
    pub deadline: UnixMillis,
}

/// A use given back by a supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    /// whose reservation
    pub asker: InstitutionId,
    /// which
    pub report_id: ReportId,
}

/// Which side tells what became of a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// the institution that asked
    Asker,
    /// a source that answered or refused
    Source,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceStatus {
    /// data released (source) or received (asker)
    Answered,
    /// the source holds nothing on the subject
    Empty,
    /// the source refused
    Refused,
    /// no answer came (asker)
    Missing,
}

/// What became of a use, as one side tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// whose reservation
    pub asker: InstitutionId,
    /// which
    pub report_id: ReportId,
    /// who tells
    pub side: Side,
    /// the source it is about
    pub source: NodeId,
    /// what became of it
    pub status: TraceStatus,
    /// hash of the reply's leaf, where there was one
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_leaf: Option<Digest>,
}

/// Makes a block, so that followers see a fresh time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// head that was seen
    pub seen: Height,
}

/// The supervisor's digest of the state after a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateDigest {
    /// after which block
    pub height: Height,
    /// the digest
    pub digest: Digest,
}

/// A member is blocked or admitted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingChange {
    /// who
    pub institution: InstitutionId,
    /// to what
    pub standing: Standing,
    /// why, at most 200 bytes; no personal or commercial data
    pub reason: String,
}

/// What evidence comes to, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictResult {
    /// everything holds
    Good,
    /// it does not
    Bad,
    /// no evidence came in time
    Silent,
}

/// A gateway's verdict by the supervisor that writes it. It lasts 24 h.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceVerdict {
    /// about which gateway
    pub node: NodeId,
    /// with which node key: evidence of one key says nothing of the next
    pub key: KeyId,
    /// the finding
    pub result: VerdictResult,
    /// when it was judged
    pub judged: UnixMillis,
    /// of the supervisor's history of this gateway, up to and with this verdict
    pub history: Digest,
}
