//! Who may call what: the one table of operations × callers.
//!
//! The black-box test walks it (`xinguan dev operations`): every operation with every kind of caller. The
//! routers are held to it: a route without a row does not answer (`router.rs`), a row without a route fails
//! a test there.

use crate::{config::OperatorRole, listen::ListenerKind};

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// an operator with this role
    Role(OperatorRole),
    /// an operator with one of the two
    Either(OperatorRole, OperatorRole),
    /// any operator of the configuration
    AnyOperator,
    /// a node that the ledger lists
    ListedNode,
    /// whoever passed mutual TLS: the page holds nothing of anybody
    AnyCertificate,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// on which listener
    pub listener: ListenerKind,
    /// method
    pub method: &'static str,
    /// path, as routed
    pub path: &'static str,
    /// who may
    pub who: Who,
}

impl Who {
    /// The name for `xinguan dev operations`: a role's, two with `|` between, or what else is needed.
    pub fn name(self) -> String {
        match self {
            Self::Role(role) => role.as_str().to_owned(),
            Self::Either(a, b) => format!("{}|{}", a.as_str(), b.as_str()),
            Self::AnyOperator => "any-operator".to_owned(),
            Self::ListedNode => "listed-node".to_owned(),
            Self::AnyCertificate => "any-certificate".to_owned(),
        }
    }
}

/// The table as JSON, for the black-box test.
pub fn to_json() -> serde_json::Value {
    let row = |o: &Operation| {
        serde_json::json!({
            "listener": o.listener.as_str(), "method": o.method, "path": o.path, "who": o.who.name(),
        })
    };
    TABLE.iter().map(row).collect()
}

const fn row(listener: ListenerKind, method: &'static str, path: &'static str, who: Who) -> Operation {
    Operation { listener, method, path, who }
}

/// Every operation.
pub const TABLE: &[Operation] = &[
    row(ListenerKind::Bank, "POST", "/v1/authorizations", Who::Role(OperatorRole::Upload)),
    row(ListenerKind::Bank, "GET", "/v1/authorizations/{id}", Who::Role(OperatorRole::View)),
    row(ListenerKind::Bank, "POST", "/v1/authorizations/{id}/revocation", Who::Role(OperatorRole::Upload)),
    row(ListenerKind::Bank, "POST", "/v1/reports", Who::Role(OperatorRole::Query)),
    row(ListenerKind::Bank, "GET", "/v1/traces", Who::Role(OperatorRole::View)),
    row(ListenerKind::Bank, "GET", "/v1/catalogue", Who::Role(OperatorRole::View)),
    row(ListenerKind::Bank, "GET", "/v1/catalogue/schema", Who::Role(OperatorRole::View)),
    row(ListenerKind::Bank, "GET", "/openapi.json", Who::AnyCertificate),
    row(ListenerKind::Bank, "GET", "/problems", Who::AnyCertificate),
    row(ListenerKind::Man, "POST", "/man/v1/queries", Who::ListedNode),
    row(ListenerKind::Man, "POST", "/man/v1/deliveries", Who::ListedNode),
    row(ListenerKind::Man, "POST", "/man/v1/activations", Who::ListedNode),
    row(ListenerKind::Man, "POST", "/man/v1/activations/{id}/secret", Who::ListedNode),
    row(ListenerKind::Man, "POST", "/man/v1/challenges", Who::ListedNode),
    row(ListenerKind::Man, "POST", "/man/v1/summons", Who::ListedNode),
    row(ListenerKind::Man, "POST", "/man/v1/challenges/{id}/evidence", Who::ListedNode),
    row(ListenerKind::Admin, "GET", "/healthz", Who::AnyOperator),
    row(ListenerKind::Admin, "GET", "/readyz", Who::AnyOperator),
    row(ListenerKind::Admin, "GET", "/metrics", Who::AnyOperator),
    row(ListenerKind::Admin, "GET", "/admin/v1/status", Who::Role(OperatorRole::View)),
    row(ListenerKind::Admin, "GET", "/admin/v1/verdicts/{id}", Who::Role(OperatorRole::View)),
    row(ListenerKind::Admin, "POST", "/admin/v1/drain", Who::Role(OperatorRole::Operator)),
    row(ListenerKind::Admin, "POST", "/admin/v1/looks", Who::Role(OperatorRole::Auditor)),
    row(ListenerKind::Admin, "GET", "/admin/v1/reconciliation", Who::Role(OperatorRole::Auditor)),
    row(ListenerKind::Admin, "POST", "/admin/v1/enrolments", Who::Role(OperatorRole::Operator)),
    row(ListenerKind::Admin, "GET", "/admin/v1/devices", Who::Role(OperatorRole::View)),
    row(ListenerKind::Admin, "GET", "/admin/v1/devices/{id}/appraisal", Who::Role(OperatorRole::Auditor)),
    row(ListenerKind::Admin, "POST", "/admin/v1/devices/{id}/challenge", Who::Role(OperatorRole::Operator)),
    row(ListenerKind::Admin, "GET", "/admin/v1/policy", Who::Role(OperatorRole::View)),
    row(ListenerKind::Admin, "POST", "/admin/v1/proposals", Who::Role(OperatorRole::Operator)),
    row(
        ListenerKind::Admin,
        "GET",
        "/admin/v1/proposals",
        Who::Either(OperatorRole::View, OperatorRole::Operator),
    ),
    row(ListenerKind::Admin, "POST", "/admin/v1/proposals/{id}/approval", Who::Role(OperatorRole::Operator)),
    row(ListenerKind::Admin, "POST", "/admin/v1/proposals/{id}/refusal", Who::Role(OperatorRole::Operator)),
    row(
        ListenerKind::Admin,
        "POST",
        "/admin/v1/proposals/{id}/withdrawal",
        Who::Role(OperatorRole::Operator),
    ),
    row(ListenerKind::Admin, "GET", "/admin/v1/audit", Who::Role(OperatorRole::Auditor)),
    row(ListenerKind::Admin, "GET", "/console/", Who::Role(OperatorRole::View)),
    row(ListenerKind::Admin, "GET", "/console/devices/{id}", Who::Role(OperatorRole::View)),
    row(ListenerKind::Admin, "GET", "/console/proposals", Who::Role(OperatorRole::View)),
    row(ListenerKind::Admin, "GET", "/console/traces", Who::Role(OperatorRole::Auditor)),
    row(ListenerKind::Admin, "POST", "/console/traces", Who::Role(OperatorRole::Auditor)),
    row(ListenerKind::Admin, "GET", "/console/chain", Who::Role(OperatorRole::View)),
    row(ListenerKind::Admin, "GET", "/console/limits", Who::Role(OperatorRole::Auditor)),
];

/// The methods that have a row at a path; none where the path has none. HEAD shows no more than GET.
pub fn methods(listener: ListenerKind, path: &str) -> Vec<&'static str> {
    let rows = TABLE.iter().filter(|o| o.listener == listener && o.path == path);
    rows.flat_map(|o| if o.method == "GET" { vec!["GET", "HEAD"] } else { vec![o.method] }).collect()
}
