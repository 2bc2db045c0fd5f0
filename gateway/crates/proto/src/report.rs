//! Items, reports, and the answer a bank gets with its proofs.

use crate::{
    bytes::B64,
    canon::{self, CanonError, Digest, domain},
    clock::UnixMillis,
    fisco,
    ids::*,
    merkle::SignedLeaf,
    message::{SignedReply, VERSION},
    terms::*,
    uscc::Uscc,
};
use serde::{Deserialize, Serialize};

/// A typed value. Money is in fen (1/100 yuan), rates in basis points; there are no floats.
/// `Debug` hides it: a value is a source's data, and may be another company's code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "value")]
pub enum Value {
    /// text, at most 1,000 bytes
    Text(String),
    /// a whole number
    Integer(i64),
    /// fen
    Money(i64),
    /// basis points
    Rate(i64),
    /// YYYY-MM-DD
    Date(String),
    /// a code of the catalogue's enumeration
    Code(String),
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(hidden)",
            Self::Integer(_) => "Integer(hidden)",
            Self::Money(_) => "Money(hidden)",
            Self::Rate(_) => "Rate(hidden)",
            Self::Date(_) => "Date(hidden)",
            Self::Code(_) => "Code(hidden)",
        })
    }
}

/// One fact about a subject. `Debug` hides value and key: the key may name a person or a company.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// the catalogue's id, `dimension.name`
    pub id: String,
    /// its dimension
    pub dimension: Dimension,
    /// its value
    pub value: Value,
    /// date the fact is of, YYYY-MM-DD
    pub as_of: String,
    /// the period or part it is about, where an item occurs more than once (for example `2025`)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// an objection is open (异议): the item is disputed
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disputed: bool,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key.as_ref().map(|_| "hidden");
        f.debug_struct("Item")
            .field("id", &self.id)
            .field("dimension", &self.dimension)
            .field("value", &self.value)
            .field("as_of", &self.as_of)
            .field("key", &key)
            .field("disputed", &self.disputed)
            .finish()
    }
}

/// An item in a report, with where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportItem {
    /// the item
    pub item: Item,
    /// the sources that gave exactly this value
    pub sources: Vec<NodeId>,
    /// other sources gave another value for the same id and key: both are listed
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conflicting: bool,
}

/// What became of one source in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state", deny_unknown_fields)]
pub enum PartState {
    /// its items are in the report
    Answered,
    /// it holds nothing on the subject
    Empty,
    /// it refused; the code is a problem type
    Refused {
        /// problem type's last segment
        problem: String,
    },
    /// it did not answer in time or not acceptably
    Missing {
        /// why, in a word: `unreachable`, `timeout`, `bad-reply`, `not-asked`, `not-trusted`
        reason: String,
    },
}

/// One source's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// the node asked
    pub source: NodeId,
    /// whose it is
    pub institution: InstitutionId,
    /// which region's data
    pub region: Region,
    /// what became of it
    pub outcome: PartState,
}

/// The merged report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// 1
    pub v: u32,
    /// which use
    pub report_id: ReportId,
    /// under which authorization
    pub authz_id: AuthzId,
    /// about whom
    pub subject: Uscc,
    /// for what
    pub purpose: Purpose,
    /// which dimensions were asked
    pub dimensions: Vec<Dimension>,
    /// which institution asked
    pub asker: InstitutionId,
    /// which of its nodes made the report
    pub node: NodeId,
    /// who asked, as a tag
    pub operator_tag: Digest,
    /// when it was made
    pub created: UnixMillis,
    /// where the use was reserved
    pub reserved_at: Height,
    /// catalogue version
    pub catalogue: String,
    /// every asked source answered or said that it has nothing
    pub complete: bool,
    /// what became of each source
    pub parts: Vec<Part>,
    /// the data
    pub items: Vec<ReportItem>,
    /// leaf hashes of the replies it is made of
    pub replies: Vec<Digest>,
}

impl Report {
    /// The digest in its leaf.
    pub fn digest(&self) -> Result<Digest, CanonError> {
        canon::jcs_digest(domain::REPORT, self)
    }
}

/// What a bank gets and keeps: the report, its signature, and everything that an offline verifier needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// 1
    pub v: u32,
    /// the report
    pub report: Report,
    /// its signature (leaf kind report, audience = operator tag, node key of the asker)
    pub proof: SignedLeaf,
    /// the signed parts
    pub replies: Vec<SignedReply>,
    /// the reservation on the chain
    pub reservation: InclusionProof,
    /// the opening of the reservation's commitment, so that it can be recomputed
    pub opening: crate::message::Opening,
    /// for each node that signed something here: its certificate chain, leaf first, without the root
    pub certificates: Vec<NodeCertificates>,
}

/// Version of [`Answer`] and [`Report`].
pub const ANSWER_VERSION: u32 = VERSION;

/// The certificates of a node key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeCertificates {
    /// the node; also the leaf's common name
    pub node: NodeId,
    /// leaf first, without the root; 1 to 4
    pub chain: Vec<B64>,
}

/// A record's transaction proved to stand in a block that a quorum of sealers signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// the block's header with its sealers' signatures
    pub header: fisco::BlockHeader,
    /// the transaction whose input carries the batch
    pub transaction: fisco::Transaction,
    /// its position in the block
    pub index: u32,
    /// number of transactions in the block
    pub count: u32,
    /// siblings up to txsRoot
    pub tx_path: Vec<Digest>,
    /// its receipt, status 0
    pub receipt: fisco::Receipt,
    /// siblings up to receiptsRoot
    pub receipt_path: Vec<Digest>,
    /// which record of the batch
    pub record: u32,
}
