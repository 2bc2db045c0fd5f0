//! Bodies of the bank API: what OpenAPI shows.
//!
//! Wire types of `gw-proto` do the parsing; the types here that are only for the document say so.

use gw_proto::{
    AuthzId, Dimension, EvidenceLevel, Height, Purpose, UnixMillis, Uscc,
    message::{Evidence, Statement},
    report::Item,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An enterprise's authorization with what proves it.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationUpload {
    /// what the enterprise agrees to
    #[schema(value_type = StatementShape)]
    pub statement: Statement,
    /// what proves it
    #[schema(value_type = EvidenceShape)]
    pub evidence: Evidence,
}

/// Shape of a statement (document only).
#[derive(ToSchema)]
#[schema(as = Statement)]
#[expect(dead_code, reason = "only for the OpenAPI document")]
pub struct StatementShape {
    /// 1
    #[schema(minimum = 1, maximum = 1)]
    v: u32,
    /// the consortium's id
    consortium: String,
    /// unified social credit code of the enterprise (GB 32100)
    #[schema(min_length = 18, max_length = 18, pattern = "^[0-9A-HJ-NPQRTUWXY]{18}$")]
    subject: String,
    /// institution that may ask
    holder: String,
    /// sorted, no duplicates
    #[schema(min_items = 1, max_items = 5)]
    purposes: Vec<Purpose>,
    /// sorted, no duplicates
    #[schema(min_items = 1, max_items = 6)]
    dimensions: Vec<Dimension>,
    /// six digits of GB/T 2260 each; sorted, no duplicates
    #[schema(min_items = 1)]
    regions: Vec<String>,
    /// ms since 1970
    not_before: u64,
    /// ms since 1970, exclusive
    not_after: u64,
    /// at least 1
    #[schema(minimum = 1)]
    max_uses: u32,
    /// how it is proved
    level: EvidenceLevel,
    /// 64 hex digits: SM3 of `xinguan/revoke/1` ‖ 00 ‖ preimage
    revoke_hash: String,
    /// 64 hex digits, random
    salt: String,
}

/// Shape of evidence (document only).
#[derive(ToSchema)]
#[schema(as = Evidence)]
#[expect(dead_code, reason = "only for the OpenAPI document")]
pub struct EvidenceShape {
    /// signed, sealed or asserted
    level: EvidenceLevel,
    /// signed and sealed: r ‖ s over `xinguan/statement/1` ‖ 00 ‖ JCS(statement), 128 hex digits
    signature: Option<String>,
    /// signed and sealed: certificates, base64 DER, leaf first, without the root
    #[schema(max_items = 4)]
    chain: Option<Vec<String>>,
    /// asserted: SM3 of the document, 64 hex digits
    document: Option<String>,
}

/// Where an authorization stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuthorizationState {
    /// 64 hex digits
    #[schema(value_type = String)]
    pub authorization_id: AuthzId,
    /// how it is proved
    pub level: EvidenceLevel,
    /// from, ms since 1970
    pub not_before: UnixMillis,
    /// until, exclusive
    pub not_after: UnixMillis,
    /// how often in all
    pub max_uses: u32,
    /// reserved so far
    pub uses_spent: u32,
    /// ended before its time
    pub revoked: bool,
    /// block in which the ledger accepted it
    pub accepted_at: Height,
}

/// Ends an authorization.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevocationRequest {
    /// the enterprise's preimage of `revoke_hash`, 64 hex digits; without it the institution itself gives the authorization up
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub preimage: Option<gw_proto::Hex<32>>,
}

/// Asks for a report.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// 64 hex digits
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub authorization_id: AuthzId,
    /// unified social credit code of the enterprise
    #[schema(value_type = String, min_length = 18, max_length = 18)]
    pub subject: Uscc,
    /// reason of the query
    pub purpose: Purpose,
    /// dimensions asked for; duplicates are merged
    #[schema(min_items = 1, max_items = 6)]
    pub dimensions: Vec<Dimension>,
}

/// An answer: report, signature, proofs (document only; docs/answer.md describes each field).
#[derive(ToSchema)]
#[schema(as = Answer)]
#[expect(dead_code, reason = "only for the OpenAPI document")]
pub struct AnswerShape {
    /// 1
    v: u32,
    /// the merged report
    report: ReportShape,
    /// leaf, path, root and signature of the report
    #[schema(value_type = Object)]
    proof: (),
    /// the signed parts of the sources
    #[schema(value_type = Vec<Object>)]
    replies: (),
    /// the reservation on the chain: header, transaction, receipt, paths
    #[schema(value_type = Object)]
    reservation: (),
    /// the opening of the reservation's commitment
    #[schema(value_type = Object)]
    opening: (),
    /// certificate chains of the nodes that signed
    #[schema(value_type = Vec<Object>)]
    certificates: (),
}

/// The merged report (document only).
#[derive(ToSchema)]
#[schema(as = Report)]
#[expect(dead_code, reason = "only for the OpenAPI document")]
pub struct ReportShape {
    /// 1
    v: u32,
    /// 64 hex digits: one use
    report_id: String,
    /// 64 hex digits
    authz_id: String,
    /// unified social credit code
    subject: String,
    /// reason of the query
    purpose: Purpose,
    /// asked for
    dimensions: Vec<Dimension>,
    /// institution
    asker: String,
    /// its node
    node: String,
    /// who asked, as a tag
    operator_tag: String,
    /// ms since 1970
    created: u64,
    /// block of the reservation
    reserved_at: u64,
    /// catalogue version
    catalogue: String,
    /// every source answered or has nothing
    complete: bool,
    /// what became of each source
    #[schema(value_type = Vec<Object>)]
    parts: (),
    /// the data with its provenance
    items: Vec<ReportItemShape>,
    /// leaf hashes of the replies
    replies: Vec<String>,
}

/// An item with its provenance (document only).
#[derive(ToSchema)]
#[schema(as = ReportItem)]
#[expect(dead_code, reason = "only for the OpenAPI document")]
pub struct ReportItemShape {
    /// the item
    item: Item,
    /// nodes that gave exactly this value
    sources: Vec<String>,
    /// other nodes gave another value
    conflicting: bool,
}

/// What became of one use of this institution's.
#[derive(Debug, Serialize, ToSchema)]
pub struct UseState {
    /// 64 hex digits
    #[schema(value_type = String)]
    pub report_id: gw_proto::ReportId,
    /// 64 hex digits
    #[schema(value_type = String)]
    pub authorization_id: AuthzId,
    /// block of the reservation
    pub height: Height,
    /// its time
    pub reserved: UnixMillis,
    /// accepted by the rules
    pub accepted: bool,
    /// given back by a supervisor
    pub refunded: bool,
    /// what both sides told the ledger
    #[schema(value_type = Vec<Object>)]
    pub traces: Vec<gw_proto::record::Trace>,
}

/// Uses of one authorization.
#[derive(Debug, Serialize, ToSchema)]
pub struct UseList {
    /// in chain order, at most 1,000
    pub uses: Vec<UseState>,
    /// height of the verified state that was read
    pub height: Height,
}

/// A refusal (RFC 9457); /problems lists them all (document only).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "only for the OpenAPI document")]
pub struct ProblemShape {
    /// stable URI `urn:xinguan:problem:…`
    r#type: String,
    /// short title
    title: String,
    /// the same in Chinese
    title_zh: String,
    /// HTTP status
    status: u16,
    /// what and where
    detail: String,
    /// what to do
    remedy: String,
    /// `urn:xinguan:trace:` and the trace id
    instance: String,
}
