//! What gateways say to each other (PROTOCOL.md): S, E, T, REQUEST, REPLY, DELIVERY.

use crate::{
    bytes::{B64, Hex},
    canon::{self, CanonError, Digest, domain},
    clock::UnixMillis,
    ids::*,
    key::Signature,
    merkle::SignedLeaf,
    report::Item,
    terms::*,
    uscc::Uscc,
};
use serde::{Deserialize, Serialize};

/// The most bytes of a request between gateways.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// The most bytes of a reply between gateways.
pub const MAX_REPLY_BYTES: usize = 1024 * 1024;
/// The most certificates in an evidence's chain.
pub const MAX_CHAIN: usize = 4;
/// Version of these messages.
pub const VERSION: u32 = 1;
/// TLS exporter label (RFC 5705, RFC 8446 §7.5); the context is the report id's 32 bytes.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-xinguan-1";

/// S: what the enterprise agrees to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// 1
    pub v: u32,
    /// which consortium
    pub consortium: ConsortiumId,
    /// whose data
    pub subject: Uscc,
    /// who may ask
    pub holder: InstitutionId,
    /// for what; sorted, no duplicates, not empty
    pub purposes: Vec<Purpose>,
    /// which dimensions; sorted, no duplicates, not empty
    pub dimensions: Vec<Dimension>,
    /// where; sorted, no duplicates, not empty
    pub regions: Vec<Region>,
    /// from
    pub not_before: UnixMillis,
    /// until, exclusive
    pub not_after: UnixMillis,
    /// how often, at least 1
    pub max_uses: u32,
    /// how it is proved
    pub level: EvidenceLevel,
    /// SM3(domain `xinguan/revoke/1` ‖ 0 ‖ preimage): the enterprise keeps the preimage
    pub revoke_hash: Digest,
    /// fixed before the enterprise signs
    pub salt: Hex<32>,
}

/// Why a statement is not well-formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Unknown version.
    #[error("statement version {0} is not known, expected {VERSION}")]
    Version(u32),
    /// A list is empty, unsorted or repeats itself.
    #[error("`{0}` must be sorted, without duplicates and not empty")]
    List(&'static str),
    /// not_before is not before not_after.
    #[error("`not_before` must lie before `not_after`")]
    Validity,
    /// Zero uses.
    #[error("`max_uses` must be at least 1")]
    Uses,
}

fn strictly_sorted<T: Ord>(v: &[T]) -> bool {
    !v.is_empty() && v.windows(2).all(|w| matches!(w, [a, b] if a < b))
}

impl Statement {
    /// Checks the form: version, sorted lists, validity, uses.
    pub fn check_form(&self) -> Result<(), StatementError> {
        if self.v != VERSION {
            return Err(StatementError::Version(self.v));
        }
        if !strictly_sorted(&self.purposes) {
            return Err(StatementError::List("purposes"));
        }
        if !strictly_sorted(&self.dimensions) {
            return Err(StatementError::List("dimensions"));
        }
        if !strictly_sorted(&self.regions) {
            return Err(StatementError::List("regions"));
        }
        if self.not_before >= self.not_after {
            return Err(StatementError::Validity);
        }
        if self.max_uses == 0 {
            return Err(StatementError::Uses);
        }
        Ok(())
    }
    /// C_a = H(S).
    pub fn commitment(&self) -> Result<Commitment, CanonError> {
        Ok(Commitment(canon::jcs_digest(domain::STATEMENT, self)?))
    }
    /// What the enterprise or the seal service signs.
    pub fn signing_input(&self) -> Result<Vec<u8>, CanonError> {
        canon::signing_input(domain::STATEMENT, self)
    }
}

/// The revocation hash of a preimage.
pub fn revoke_hash(preimage: &Hex<32>) -> Digest {
    canon::domain_digest(domain::REVOKE, &preimage.0)
}

/// E: what proves S.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "level", deny_unknown_fields)]
pub enum Evidence {
    /// The enterprise's own signature. The leaf's subject serialNumber (2.5.4.5) is the USCC.
    Signed {
        /// over [`Statement::signing_input`]
        signature: Signature,
        /// leaf first, without the root; 1 to 4
        chain: Vec<B64>,
    },
    /// The seal of a recognised service.
    Sealed {
        /// over [`Statement::signing_input`]
        signature: Signature,
        /// leaf first, without the root; 1 to 4
        chain: Vec<B64>,
    },
    /// The institution's word; the document is produced on demand.
    Asserted {
        /// SM3 of the document
        document: Digest,
    },
}

impl Evidence {
    /// The level it claims.
    pub fn level(&self) -> EvidenceLevel {
        match self {
            Self::Signed { .. } => EvidenceLevel::Signed,
            Self::Sealed { .. } => EvidenceLevel::Sealed,
            Self::Asserted { .. } => EvidenceLevel::Asserted,
        }
    }
}

/// T: what one use is for. C_r = H(T).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// 1
    pub v: u32,
    /// derived, see [`Opening::derive_report_id`]
    pub report_id: ReportId,
    /// under which authorization
    pub authz_id: AuthzId,
    /// whose data
    pub subject: Uscc,
    /// for what
    pub purpose: Purpose,
    /// which dimensions; sorted, no duplicates, not empty
    pub dimensions: Vec<Dimension>,
    /// who asks, as a tag keyed by the institution
    pub operator_tag: Digest,
    /// fresh randomness
    pub salt: Hex<32>,
}

impl Opening {
    /// Makes an opening; its report id is H(writer ‖ everything but the id).
    pub fn new(
        writer: &InstitutionId,
        authz_id: AuthzId,
        subject: Uscc,
        purpose: Purpose,
        dimensions: Vec<Dimension>,
        operator_tag: Digest,
        salt: Hex<32>,
    ) -> Result<Self, CanonError> {
        let zero = ReportId(Hex([0; 32]));
        let mut t =
            Self { v: VERSION, report_id: zero, authz_id, subject, purpose, dimensions, operator_tag, salt };
        t.report_id = t.derive_report_id(writer)?;
        Ok(t)
    }
    /// The id that this content has when `writer` reserves it.
    pub fn derive_report_id(&self, writer: &InstitutionId) -> Result<ReportId, CanonError> {
        let v = serde_json::json!({
            "v": self.v, "writer": writer, "authz_id": self.authz_id, "subject": self.subject,
            "purpose": self.purpose, "dimensions": self.dimensions,
            "operator_tag": self.operator_tag, "salt": self.salt,
        });
        Ok(ReportId(canon::jcs_digest(domain::REPORT_ID, &v)?))
    }
    /// C_r = H(T).
    pub fn commitment(&self) -> Result<Commitment, CanonError> {
        Ok(Commitment(canon::jcs_digest(domain::OPENING, self)?))
    }
    /// Sorted, no duplicates, not empty.
    pub fn dimensions_well_formed(&self) -> bool {
        strictly_sorted(&self.dimensions)
    }
}

/// REQUEST: one asker's question to one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// 1
    pub v: u32,
    /// height at which the asker decided
    pub height: Height,
    /// hash of that block
    pub hash: Digest,
    /// single use at the source, until `expires`
    pub nonce: Hex<32>,
    /// after it the source does not answer
    pub expires: UnixMillis,
    /// the asking node
    pub asker: NodeId,
    /// the source asked
    pub audience: NodeId,
    /// S
    pub statement: Statement,
    /// E
    pub evidence: Evidence,
    /// T
    pub opening: Opening,
}

impl Request {
    /// The digest in its leaf.
    pub fn digest(&self) -> Result<Digest, CanonError> {
        canon::jcs_digest(domain::REQUEST, self)
    }
}

/// A request and its signature (leaf kind request, audience = source node).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRequest {
    /// what is asked
    pub request: Request,
    /// leaf, path, root, signature of the asker's node key
    pub proof: SignedLeaf,
}

/// What a source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyStatus {
    /// items follow
    Answered,
    /// nothing on this subject
    Empty,
}

/// REPLY: one source's answer to one asker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// 1
    pub v: u32,
    /// which use
    pub report_id: ReportId,
    /// hash of the request's leaf
    pub request_leaf: Digest,
    /// who answers
    pub source: NodeId,
    /// to whom
    pub asker: NodeId,
    /// height of the source's verified state at release
    pub height: Height,
    /// hash of that block
    pub hash: Digest,
    /// TLS exporter value of the connection, label [`EXPORTER_LABEL`], context = report id
    pub channel: Hex<32>,
    /// something or nothing
    pub status: ReplyStatus,
    /// the catalogue version the items follow
    pub catalogue: String,
    /// when the source took its snapshot
    pub as_of: UnixMillis,
    /// the data; at most 4,096
    pub items: Vec<Item>,
}

impl Reply {
    /// The digest in its leaf.
    pub fn digest(&self) -> Result<Digest, CanonError> {
        canon::jcs_digest(domain::REPLY, self)
    }
}

/// A reply and its signature (leaf kind reply, audience = asker node).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReply {
    /// what is answered
    pub reply: Reply,
    /// leaf, path, root, signature of the source's node key
    pub proof: SignedLeaf,
}

/// DELIVERY: the openings of one use, from either side to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// 1
    pub v: u32,
    /// who delivers
    pub node: NodeId,
    /// whose reservation
    pub asker: InstitutionId,
    /// which side
    pub side: crate::record::Side,
    /// S
    pub statement: Statement,
    /// E
    pub evidence: Evidence,
    /// T
    pub opening: Opening,
    /// which source, what became of it, and the hash of the reply's leaf
    pub outcomes: Vec<DeliveredOutcome>,
}

/// One source's part in a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveredOutcome {
    /// the source
    pub source: NodeId,
    /// what became of it
    pub status: crate::record::TraceStatus,
    /// hash of the reply's leaf
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_leaf: Option<Digest>,
}
