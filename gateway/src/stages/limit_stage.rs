//! Stage 3 in the pipeline: which limits an operator's or a node's request passes.

use super::{
    Accepted,
    authorize::Query,
    identify::{IdentifiedNode, IdentifiedOperator},
    limit::{Dimension, Quota},
    open::Opened,
};
use crate::{app::App, reject::Rejection};
use gw_proto::{record::Node, sm3};

/// An operator's request within its limits.
pub struct AdmittedOperator {
    pub(super) identified: IdentifiedOperator,
    pub(super) quotas: Vec<Quota>,
}

/// A node's request within its institution's limit; nothing of its body is believed yet.
pub struct AdmittedNode {
    pub(super) identified: IdentifiedNode,
    pub(super) quotas: Vec<Quota>,
}

impl AdmittedNode {
    /// the request
    pub fn accepted(&self) -> &Accepted {
        self.identified.accepted()
    }
    /// the asking node
    pub fn node(&self) -> &Node {
        self.identified.node()
    }
}

/// A node's opened request within all limits.
pub struct AdmittedRequest {
    pub(super) opened: Opened,
    pub(super) quotas: Vec<Quota>,
}

/// Operator, subject, authorization; the operator first, so that probing costs the prober.
pub fn operator(
    app: &App,
    identified: IdentifiedOperator,
    query: &Query,
) -> Result<AdmittedOperator, Rejection> {
    let quotas = vec![
        app.limits.check(Dimension::Operator, &identified.tag().0)?,
        app.limits.check(Dimension::Subject, &app.tags.subject(&query.subject).0)?,
        app.limits.check(Dimension::Authorization, &query.authorization_id.0.0)?,
    ];
    Ok(AdmittedOperator { identified, quotas })
}

/// By institution, before a signature is verified.
pub fn institution(app: &App, identified: IdentifiedNode) -> Result<AdmittedNode, Rejection> {
    let key = sm3(identified.node().institution.as_str().as_bytes());
    let quotas = vec![app.limits.check(Dimension::Institution, &key.0)?];
    Ok(AdmittedNode { identified, quotas })
}

/// By subject and authorization, once the request is opened.
pub fn subject(app: &App, mut opened: Opened) -> Result<AdmittedRequest, Rejection> {
    let opening = &opened.request().opening;
    let more = [
        app.limits.check(Dimension::Subject, &app.tags.subject(&opening.subject).0)?,
        app.limits.check(Dimension::Authorization, &opening.authz_id.0.0)?,
    ];
    let mut quotas = opened.take_quotas();
    quotas.extend(more);
    Ok(AdmittedRequest { opened, quotas })
}
