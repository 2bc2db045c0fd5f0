//! The one table: internal refusal → what the peer sees → what audit records.
//!
//! Only this file knows HTTP status codes and problem types (RFC 9457). A refusal anywhere in the
//! gateway becomes a [`Rejection`] here; docs/problems.md is printed from [`TABLE`] and a test holds
//! the two together. Hidden and missing look identical to the peer: an authorization of somebody else
//! is `authorization-missing`.
//!
//! Adding a problem? One row in [`TABLE`], then `xinguan problems > docs/problems.md`.

use serde::Serialize;
use std::time::Duration;

/// Who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SideAtFault {
    /// the caller
    Caller,
    /// the gateway or its operators
    Gateway,
    /// another gateway or the ledger
    Upstream,
}

/// One kind of refusal.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// last segment of the type URI
    pub name: &'static str,
    /// HTTP status
    pub status: u16,
    /// short title
    pub title: &'static str,
    /// the same in Chinese
    pub title_zh: &'static str,
    /// who can do something about it
    pub side: SideAtFault,
    /// what happened
    pub cause: &'static str,
    /// what to do
    pub remedy: &'static str,
    /// whether the same request may succeed later
    pub may_retry: bool,
}

impl Problem {
    /// The type URI: stable, never reused for something else.
    pub fn type_uri(&self) -> String {
        format!("urn:xinguan:problem:{}", self.name)
    }
}

macro_rules! problems {
    ($( $konst:ident = $name:literal, $status:literal, $side:ident, $retry:literal, $title:literal, $zh:literal, $cause:literal, $remedy:literal; )*) => {
        $(
            #[doc = $cause]
            pub const $konst: &Problem = &Problem {
                name: $name, status: $status, title: $title, title_zh: $zh,
                side: SideAtFault::$side, cause: $cause, remedy: $remedy, may_retry: $retry,
            };
        )*
        /// Every problem, in the order of docs/problems.md.
        pub const TABLE: &[&Problem] = &[$($konst),*];
    };
}

problems! {
    // --- the request itself
    MALFORMED = "malformed-request", 400, Caller, false, "The request is malformed", "请求格式错误",
        "The body is not JSON of the documented shape, too deep, or a field has a wrong value.",
        "Compare the request with the OpenAPI document at /openapi.json; `detail` names the place.";
    BAD_SUBJECT = "subject-code-invalid", 400, Caller, false, "The unified social credit code is invalid", "统一社会信用代码无效",
        "The code has not 18 characters of GB 32100's alphabet, or its check character does not match.",
        "Check the code for a typing error.";
    DIGEST_MISMATCH = "content-digest-mismatch", 400, Caller, false, "The body does not match Content-Digest", "内容摘要不符",
        "The sha-256 of the received body differs from the Content-Digest field (RFC 9530), or the field has no sha-256.",
        "Send the digest of the exact bytes of the body.";
    TOO_LARGE = "body-too-large", 413, Caller, false, "The body is too large", "请求体过大",
        "The body is larger than the listener's bound.",
        "Send less; the bound is `body_bytes` in the gateway's configuration.";
    TOO_SLOW = "body-too-slow", 408, Caller, true, "The body came too slowly", "请求体传输过慢",
        "The body was not complete within the listener's time limit.",
        "Check the network between the system and the gateway, then repeat.";
    UNSUPPORTED_MEDIA = "unsupported-media-type", 415, Caller, false, "The body must be application/json", "媒体类型不支持",
        "Content-Type is missing or is not application/json.",
        "Send `Content-Type: application/json`.";
    NOT_FOUND = "not-found", 404, Caller, false, "There is nothing here", "资源不存在",
        "No such path, or no such thing that this caller may see.",
        "Check the path and the id; /openapi.json lists the paths.";
    METHOD = "method-not-allowed", 405, Caller, false, "The method is not allowed here", "方法不允许",
        "The path exists but not with this method.",
        "See the Allow field and /openapi.json.";
    // --- who asks
    NOT_LISTED = "caller-not-listed", 403, Caller, false, "The caller is not listed", "调用方未登记",
        "The certificate is valid but nobody that this gateway knows: not among its operators, or not bound to an active node on the verified ledger.",
        "An operator is added in the gateway's configuration; a node by its TLS binding on the ledger.";
    CERT_EXPIRED = "certificate-expired", 403, Caller, false, "The client certificate is no longer valid", "客户端证书已过期",
        "The certificate has expired or was revoked since the connection was made.",
        "Renew the certificate and connect again.";
    FORBIDDEN = "role-missing", 403, Caller, false, "The caller lacks the role for this", "权限不足",
        "The caller is known but its roles do not include this operation.",
        "Ask the gateway's administrator for the role that `detail` names.";
    CROSS_SITE = "cross-site-request", 403, Caller, false, "The form comes from elsewhere", "表单来自其他站点",
        "A form of the console was sent, but the browser does not say that it comes from the console's own page.",
        "Open the console itself and send the form from there; a program uses `/admin/v1/…`.";
    // --- limits
    QUOTA = "quota-exceeded", 429, Caller, true, "Too many requests", "超出限额",
        "A limit of institution, operator, subject or authorization is used up for now.",
        "Wait for Retry-After seconds; RateLimit-Policy says which limit it was.";
    BUSY = "busy", 503, Gateway, true, "The gateway is busy", "系统繁忙",
        "A bounded queue in the gateway is full.",
        "Repeat after Retry-After seconds with the same Idempotency-Key.";
    // --- authorization
    AUTHZ_MISSING = "authorization-missing", 403, Caller, false, "There is no such authorization", "授权不存在",
        "No authorization of this institution with this id, or its documents were never uploaded here.",
        "Upload the enterprise's authorization with POST /v1/authorizations first.";
    AUTHZ_NOT_YET = "authorization-not-yet-valid", 403, Caller, true, "The authorization is not valid yet", "授权尚未生效",
        "Its `not_before` lies ahead.", "Ask again when it has begun.";
    AUTHZ_EXPIRED = "authorization-expired", 403, Caller, false, "The authorization has expired", "授权已过期",
        "Its `not_after` has passed.", "Ask the enterprise for a new authorization.";
    AUTHZ_REVOKED = "authorization-revoked", 403, Caller, false, "The authorization was revoked", "授权已撤销",
        "The enterprise, the institution or a supervisor ended it.", "Ask the enterprise for a new authorization.";
    AUTHZ_USED = "authorization-used-up", 403, Caller, false, "All uses of the authorization are spent", "授权次数已用完",
        "As many uses as the enterprise agreed to are reserved on the ledger.", "Ask the enterprise for a new authorization.";
    PURPOSE = "purpose-mismatch", 403, Caller, false, "The purpose is not authorized", "查询目的不符",
        "The enterprise did not agree to this purpose.", "Ask for a purpose that the authorization names.";
    DIMENSION = "dimension-not-authorized", 403, Caller, false, "A dimension is not authorized", "查询维度超出授权",
        "At least one dimension asked for is outside the authorization or above the cap of its evidence level.",
        "Ask only for dimensions that the authorization and the policy allow.";
    SUBJECT_MISMATCH = "subject-mismatch", 403, Caller, false, "The authorization is about another enterprise", "授权主体不符",
        "The subject of the query is not the subject of the statement.", "Use the authorization of the enterprise that is asked about.";
    EVIDENCE = "evidence-insufficient", 403, Caller, false, "The evidence does not prove its level", "授权证据不足",
        "The signature, seal or certificate chain does not hold, or the evidence is of a lower level than claimed.",
        "Check the signature and its certificate against the evidence roots on the ledger; `detail` says what failed.";
    CAP = "level-cap-exceeded", 403, Caller, false, "The cap of the evidence level is exceeded", "超出证据级别上限",
        "Policy on the ledger caps uses, dimensions and daily authorizations of this evidence level.",
        "Ask for less, or bring stronger evidence.";
    HOLDER = "holder-mismatch", 403, Caller, false, "The statement names another holder or consortium", "授权持有方不符",
        "`holder` or `consortium` of the statement is not this institution or its consortium.",
        "Upload at the institution that the enterprise named.";
    NO_SOURCE = "no-source", 422, Caller, false, "No source is there to be asked", "授权地区无数据源",
        "The regions of the authorization have no active source on the ledger. No use was spent.",
        "Ask the enterprise for an authorization that covers a region with a source.";
    // --- reservation and source side
    RESERVATION_MISSING = "reservation-missing", 403, Caller, true, "There is no reservation", "未见预约记录",
        "The source has seen no accepted reservation of this use by the asker's institution.",
        "Reserve on the ledger first; if it is on the chain, the source was behind: repeat.";
    RESERVATION_REFUSED = "reservation-refused", 403, Caller, false, "The ledger did not accept the reservation", "预约未被接受",
        "The record stands in a block but the rules refused it; `detail` names the rule.",
        "See `detail`.";
    RESERVATION_LATE = "reservation-expired", 403, Caller, false, "The reservation's deadline has passed", "预约已过期",
        "Sources answer only until the deadline in the reservation.", "Ask again; this is a new use.";
    OPENING = "commitment-mismatch", 403, Caller, false, "The opening does not match the commitment", "承诺不匹配",
        "Recomputed from what was opened, a digest differs from the one on the ledger.",
        "Send exactly the statement and opening that were committed.";
    SIGNATURE = "signature-invalid", 403, Caller, false, "The signature does not hold", "签名无效",
        "The request's leaf, path, root or signature does not verify under the node key on the ledger, or it is meant for somebody else.",
        "Sign with the node key that the ledger lists, for this audience.";
    REPLAYED = "request-replayed", 409, Caller, false, "The request was seen before", "请求重放",
        "The nonce was used already, or the request has expired.", "Make a new request with a fresh nonce.";
    RECORD_REFUSED = "record-refused", 403, Caller, false, "The ledger did not accept the record", "账本未接受该记录",
        "The record stands in a block but the consortium's rules refused it; `detail` names the rule.",
        "See `detail`; a refused reservation needs a new request with a fresh Idempotency-Key.";
    // --- attestation
    NOT_ENROLLED = "attestation-not-enrolled", 403, Caller, false, "The device is not enrolled here", "设备未登记",
        "This supervisor has no enrolment of the device, or does not judge evidence.",
        "Have the supervisor's operator enrol it: `xinguan attest record` at the gateway, `xinguan attest enrol` at the supervisor.";
    NOT_ACTIVATED = "attestation-not-activated", 403, Caller, true, "The chip has not proved its keys", "芯片尚未证明其密钥",
        "The device is enrolled, but its chip has not yet shown that endorsement key and attestation key are both its own.",
        "The gateway does it by itself: POST /man/v1/activations.";
    ACTIVATION = "attestation-activation-failed", 403, Caller, false, "The chip did not prove its keys", "芯片密钥证明失败",
        "What came back is not what was sealed to the certified endorsement key and the enrolled attestation key: the keys lie in two chips, or the challenge was over.",
        "Take the record from the box itself; a disk in another box has its keys no more.";
    CHALLENGE = "attestation-challenge", 409, Caller, true, "The challenge is not open", "质询无效",
        "The nonce was used, replaced, has expired, belongs to another node or TLS session, or the supervisor restarted.",
        "Ask for another challenge and make new evidence.";
    ENROLMENT = "enrolment-refused", 409, Caller, false, "The device cannot be enrolled", "设备登记被拒绝",
        "The record does not agree with the ledger, its chip is of no pinned manufacturer, its key is no attestation key, or chip or device are enrolled already; `detail` says which.",
        "Take the record from the box itself; a chip is enrolled once, for one device, until that is decommissioned. Another chip or key for a known device is proposed: `xinguan attest enrol --reason`.";
    SECOND_OPERATOR = "second-operator-needed", 403, Caller, false, "It takes another person", "须由另一人办理",
        "Ending or replacing an enrolment takes two people, and as far as certificates and the list of operators tell this is one: the same key, the same subject, or one person's entries. Or it was tried without a proposal.",
        "Propose it (`xinguan attest decommission`, `xinguan attest enrol --reason`), and have another operator approve it: `xinguan attest approve`.";
    PROPOSAL_REFUSED = "proposal-refused", 409, Caller, false, "The proposal is not taken", "提议未被接受",
        "One about this device waits already, too many wait, it needs no second person, or somebody else proposed it; `detail` says which.",
        "See `detail`, and what waits: `xinguan attest pending`.";
    PROPOSAL_CLOSED = "proposal-closed", 409, Caller, false, "The proposal is decided", "提议已结束",
        "Somebody approved, refused or withdrew it before, or nobody did in time; `detail` says which.",
        "See `xinguan attest pending --all`; propose it again if it is still wanted.";
    DEVICE_AWAY = "device-not-connected", 504, Upstream, true, "The device gave no evidence", "设备未连接",
        "Gateways dial out: evidence can be wanted only of one that holds a connection to this supervisor, or dials in before the time is up. `detail` says which it was.",
        "See whether the box runs and reaches this supervisor (`xinguan doctor` there, `/admin/v1/status`), then ask again.";
    PEER_NOT_TRUSTED = "gateway-not-trusted", 403, Caller, false, "The asking gateway is not trusted", "请求方网关未通过远程证明",
        "A supervisor's verdict on the asking gateway is bad on the ledger, or it gives no evidence any more, and this gateway enforces that.",
        "See `detail`, and `/admin/v1/status` of the asking gateway for what failed; it is answered again from the block with a good verdict on.";
    SOURCE_NOT_TRUSTED = "source-not-trusted", 503, Upstream, true, "No source is trusted", "数据源网关未通过远程证明",
        "The verdict on each source of the authorization's regions is bad on the ledger, or it gives no evidence any more. No use was spent.",
        "Call the sources' operators or the supervisor; repeat when the ledger has a good verdict.";
    OWN_NOT_TRUSTED = "own-gateway-not-trusted", 503, Gateway, true, "This gateway is not trusted", "本网关未通过远程证明",
        "A supervisor's verdict on this gateway is bad on the ledger, or it gives no evidence any more: no source would answer it. No use was spent.",
        "Call the gateway's operators: `/admin/v1/status` says which check failed. Use the institution's other gateway meanwhile.";
    // --- idempotency
    IDEMPOTENCY_CONFLICT = "idempotency-key-reused", 422, Caller, false, "The Idempotency-Key belongs to another request", "幂等键冲突",
        "The same key was used with another body within its lifetime.", "Use a fresh key for every different request.";
    IDEMPOTENCY_RUNNING = "idempotency-in-progress", 409, Caller, true, "The same request is still running", "相同请求处理中",
        "A request with this Idempotency-Key has not ended yet.", "Wait, then repeat with the same key.";
    // --- ledger and others
    STALE = "ledger-stale", 503, Upstream, true, "The ledger's state is too old", "账本状态过期",
        "No verified block is younger than the consortium's staleness bound: the gateway refuses rather than decide on old state.",
        "Check the ledger's endpoints (`xinguan doctor`); repeat when it is fresh.";
    LEDGER_DOWN = "ledger-unavailable", 503, Upstream, true, "The ledger does not take records", "账本不可用",
        "No endpoint accepted the transaction, or it did not appear in a verified block in time.",
        "Repeat with the same Idempotency-Key: a use is never spent twice.";
    LEDGER_ALARM = "ledger-alarm", 503, Upstream, false, "The ledger contradicts itself", "账本告警",
        "Two heads at one height, a regression, a short quorum or unknown rules: the gateway stopped serving.",
        "Call the consortium's supervisor; see `xinguan doctor`.";
    BEHIND = "height-not-reached", 503, Gateway, true, "The gateway is behind the chain", "尚未同步到该高度",
        "The height at which the asker decided was not reached within 2 s.", "Repeat.";
    SOURCE_DOWN = "source-unavailable", 503, Gateway, true, "The source's database does not answer", "数据源不可用",
        "The source's own database failed or was too slow.", "Repeat; its operators see the reason in their log.";
    TIMEOUT = "deadline-exceeded", 504, Gateway, true, "The request's time is used up", "处理超时",
        "A stage did not finish within the request's budget.", "Repeat with the same Idempotency-Key.";
    DRAINING = "draining", 503, Gateway, true, "The gateway is shutting down", "系统正在停止",
        "It no longer takes new requests.", "Use the institution's other gateway, or repeat later.";
    INTERNAL = "internal", 500, Gateway, true, "The gateway failed", "内部错误",
        "The journal, the signer or a store failed; details are in the gateway's log under the trace id.",
        "Call the gateway's operators with the trace id.";
}

/// Finds a row by name.
pub fn find(name: &str) -> Option<&'static Problem> {
    TABLE.iter().find(|p| p.name == name).copied()
}

/// A refusal on its way to the peer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {detail}", problem.name)]
pub struct Rejection {
    /// which row
    pub problem: &'static Problem,
    /// what and where, for the peer: no secret, no company code, no report data
    pub detail: String,
    /// when to come back
    pub retry_after: Option<Duration>,
    /// what stands in our own log and never reaches the peer
    pub cause: Option<String>,
    /// RateLimit fields, where a limit spoke
    pub limits: Vec<crate::stages::limit::Quota>,
}

impl Rejection {
    /// A refusal with what and where.
    pub fn new(problem: &'static Problem, detail: impl Into<String>) -> Self {
        let retry_after = problem.may_retry.then(|| Duration::from_secs(1));
        Self { problem, detail: detail.into(), retry_after, cause: None, limits: Vec::new() }
    }
    /// With a cause for our own log.
    pub fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
    /// Our own failure: the peer learns no more than that.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(INTERNAL, "see the gateway's log under this trace id").because(cause)
    }
    /// The RFC 9457 document.
    pub fn document(&self, trace_id: &str) -> serde_json::Value {
        serde_json::json!({
            "type": self.problem.type_uri(),
            "title": self.problem.title,
            "title_zh": self.problem.title_zh,
            "status": self.problem.status,
            "detail": self.detail,
            "remedy": self.problem.remedy,
            "instance": format!("urn:xinguan:trace:{trace_id}"),
        })
    }
}

impl From<gw_proto::clock::OutOfTime> for Rejection {
    fn from(_: gw_proto::clock::OutOfTime) -> Self {
        Self::new(TIMEOUT, "the request's budget ran out before this stage")
    }
}

/// docs/problems.md, printed from the table.
pub fn markdown() -> String {
    use std::fmt::Write as _;
    let mut out = String::from(
        "# Problem types\n\nEvery refusal is an RFC 9457 document of type `application/problem+json` whose `type` is one of these.\n\
         The URIs are stable: a name is never reused for something else. Printed by `xinguan problems`.\n\n\
         | type `urn:xinguan:problem:…` | status | 标题 | cause | side | remedy | repeat? |\n|---|---|---|---|---|---|---|\n",
    );
    for p in TABLE {
        let side = match p.side {
            SideAtFault::Caller => "caller",
            SideAtFault::Gateway => "gateway",
            SideAtFault::Upstream => "ledger or other gateway",
        };
        let again = if p.may_retry { "yes" } else { "no" };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            p.name, p.status, p.title_zh, p.cause, side, p.remedy, again
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        let mut names: Vec<_> = TABLE.iter().map(|p| p.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        assert!(TABLE.iter().all(|p| (400..600).contains(&p.status)));
    }

    #[test]
    fn the_page_is_the_table() {
        let page = include_str!("../../docs/problems.md");
        assert!(page == markdown(), "docs/problems.md is not what `xinguan problems` prints: rewrite it");
    }
}
