//! Stage 2, identify: certificate → who, per request and not per connection.
//!
//! A connection or a resumed session outlives certificates, bindings and standings, so each request asks
//! again: is the certificate still in date, not on the current CRL, and listed. An operator is listed in
//! this gateway's configuration; a node by a TLS binding on the verified ledger. A valid certificate that
//! nobody lists is nobody.

use super::Accepted;
use crate::{
    app::App,
    reject::{self, Rejection},
};
use gw_policy::View;
use gw_proto::{
    Digest, InstitutionId, NodeId, Role, UnixMillis,
    canon::{domain, keyed_tag},
    record::Node,
};

pub use crate::config::OperatorRole;

/// A request of a known operator of this institution.
pub struct IdentifiedOperator {
    accepted: Accepted,
    name: String,
    tag: Digest,
    institution: InstitutionId,
}

impl IdentifiedOperator {
    /// the request
    pub fn accepted(&self) -> &Accepted {
        &self.accepted
    }
    /// its name in the configuration
    pub fn name(&self) -> &str {
        &self.name
    }
    /// its name as others see it: keyed by the institution
    pub fn tag(&self) -> &Digest {
        &self.tag
    }
    /// this institution
    pub fn institution(&self) -> &InstitutionId {
        &self.institution
    }
}

/// A request of a node that the verified ledger lists and binds to this TLS key.
pub struct IdentifiedNode {
    accepted: Accepted,
    node: Node,
}

impl IdentifiedNode {
    /// the request
    pub fn accepted(&self) -> &Accepted {
        &self.accepted
    }
    /// the node's record
    pub fn node(&self) -> &Node {
        &self.node
    }
}

fn still_valid(app: &App, accepted: &Accepted) -> Result<(), Rejection> {
    let now = app.clock.now();
    let cert = &accepted.conn.cert;
    if now >= cert.not_after {
        return Err(Rejection::new(
            reject::CERT_EXPIRED,
            "the certificate expired after the connection was made",
        ));
    }
    app.revoked
        .check(accepted.conn.listener, cert, now)
        .map_err(|why| Rejection::new(reject::CERT_EXPIRED, why))
}

/// The operator behind a request, who must hold `role`.
pub fn operator(app: &App, accepted: Accepted, role: OperatorRole) -> Result<IdentifiedOperator, Rejection> {
    operator_with(app, accepted, &[role])
}

/// The same, where one of several roles will do.
pub fn operator_with(
    app: &App,
    accepted: Accepted,
    roles: &[OperatorRole],
) -> Result<IdentifiedOperator, Rejection> {
    still_valid(app, &accepted)?;
    let spki = accepted.conn.cert.spki;
    let Some(found) = app.config.operators.iter().find(|o| o.spki == spki) else {
        return Err(Rejection::new(
            reject::NOT_LISTED,
            "no operator of this gateway has this certificate's key",
        )
        .because(format!("spki {spki}")));
    };
    if !roles.iter().any(|role| found.has(*role)) {
        let names: Vec<_> = roles.iter().map(|r| format!("`{}`", r.as_str())).collect();
        return Err(Rejection::new(reject::FORBIDDEN, format!("role {} is needed", names.join(" or "))));
    }
    let tag = keyed_tag(domain::OPERATOR_TAG, app.tags.operator_key(), found.name.as_bytes());
    Ok(IdentifiedOperator { accepted, name: found.name.clone(), tag, institution: app.institution.clone() })
}

/// The node behind a request on the MAN listener.
pub fn node(app: &App, accepted: Accepted) -> Result<IdentifiedNode, Rejection> {
    still_valid(app, &accepted)?;
    let state = app.state.read();
    let view = View::new(&state);
    let node = listed_node(
        &view,
        accepted.conn.cert.common_name.as_deref(),
        &accepted.conn.cert.spki,
        app.clock.now(),
    )?;
    Ok(IdentifiedNode { accepted, node })
}

/// The active node that the certificate names and the ledger binds to its TLS key now.
pub fn listed_node(
    view: &View<'_>,
    name: Option<&str>,
    spki: &Digest,
    now: UnixMillis,
) -> Result<Node, Rejection> {
    let nobody =
        || Rejection::new(reject::NOT_LISTED, "the ledger binds no active node to this certificate's key");
    let name = name.and_then(|n| NodeId::parse(n).ok()).ok_or_else(nobody)?;
    let (node, _) = view.node_with_tls(&name, spki, now).map_err(Rejection::internal)?.ok_or_else(nobody)?;
    Ok(node.record)
}

/// Our own node must be listed and active too: a blocked gateway neither asks nor answers.
pub fn own_node(view: &View<'_>, id: &NodeId, role: Role) -> Result<Node, Rejection> {
    let blocked = || {
        Rejection::new(
            reject::NOT_LISTED,
            "this gateway's own node is not active on the ledger in the role needed",
        )
    };
    let node =
        view.active_node(id).map_err(Rejection::internal)?.filter(|n| n.has(role)).ok_or_else(blocked)?;
    Ok(node.record)
}
