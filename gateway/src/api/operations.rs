//! Who may call what: the one table of operations × callers.
//!
//! The black-box test walks it (`xinguan dev operations`): every operation with every kind of caller. A test
//! below holds the routers against it: a route without a row, or a row without a route, fails.

use crate::{config::OperatorRole, listen::ListenerKind};

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// an operator with this role
    Role(OperatorRole),
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
    /// The name for `xinguan dev operations`: a role's, or what else is needed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Role(role) => role.as_str(),
            Self::AnyOperator => "any-operator",
            Self::ListedNode => "listed-node",
            Self::AnyCertificate => "any-certificate",
        }
    }
}

/// The table as JSON, for the black-box test.
pub fn to_json() -> serde_json::Value {
    let row = |o: &Operation| {
        serde_json::json!({
            "listener": o.listener.as_str(), "method": o.method, "path": o.path, "who": o.who.as_str(),
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
    row(ListenerKind::Admin, "GET", "/healthz", Who::AnyOperator),
    row(ListenerKind::Admin, "GET", "/readyz", Who::AnyOperator),
    row(ListenerKind::Admin, "GET", "/metrics", Who::AnyOperator),
    row(ListenerKind::Admin, "GET", "/admin/v1/status", Who::Role(OperatorRole::View)),
    row(ListenerKind::Admin, "POST", "/admin/v1/drain", Who::Role(OperatorRole::Operator)),
    row(ListenerKind::Admin, "POST", "/admin/v1/looks", Who::Role(OperatorRole::Auditor)),
    row(ListenerKind::Admin, "GET", "/admin/v1/reconciliation", Who::Role(OperatorRole::Auditor)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::man_client::{DELIVERY_PATH, QUERY_PATH};
    use std::collections::BTreeSet;

    type Routes = BTreeSet<(&'static str, String, String)>;

    /// (METHOD, path) of each `.route(path, method(…))` in a router's source: axum tells no routes.
    fn routes(listener: &'static str, source: &str) -> Routes {
        let arguments = source.split(".route(").skip(1);
        arguments
            .map(|text| {
                let (path, rest) = text.split_once(',').unwrap();
                let path = match path.trim() {
                    "QUERY_PATH" => QUERY_PATH,
                    "DELIVERY_PATH" => DELIVERY_PATH,
                    literal => literal.trim_matches('"'),
                };
                let method = rest.split_once('(').unwrap().0.rsplit("::").next().unwrap();
                (listener, method.trim().to_ascii_uppercase(), path.to_owned())
            })
            .collect()
    }

    /// What OpenAPI documents is routed by the same functions.
    fn documented() -> Routes {
        let document = serde_json::to_value(crate::api::bank::document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(move |m| ("bank", m.to_ascii_uppercase(), path.clone()))
            })
            .collect()
    }

    #[test]
    fn every_route_has_a_row_and_every_row_a_route() {
        let mut routed = documented();
        routed.extend(routes("bank", include_str!("bank.rs")));
        routed.extend(routes("man", include_str!("man.rs")));
        routed.extend(routes("admin", include_str!("admin.rs")));
        let rows = TABLE.iter().map(|o| (o.listener.as_str(), o.method.to_owned(), o.path.to_owned()));
        assert_eq!(routed, rows.collect::<Routes>());
    }
}
