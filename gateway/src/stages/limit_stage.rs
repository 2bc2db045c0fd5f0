//! Stage 3 in the pipeline: which limits an operator's or a node's request passes.

use super::{
    Accepted,
    authorize::Query,
    identify::IdentifiedOperator,
    limit::{Dimension, Quota},
    open::Opened,
    trust::TrustedNode,
};
use crate::{app::App, reject::Rejection};
use gw_proto::{InstitutionId, record::Node, sm3};

/// An operator's request within its limits.
pub struct AdmittedOperator {
    pub(super) identified: IdentifiedOperator,
    pub(super) quotas: Vec<Quota>,
}

/// A node's request within its institution's limit; nothing of its body is believed yet.
pub struct AdmittedNode {
    pub(super) trusted: TrustedNode,
    pub(super) quotas: Vec<Quota>,
}

impl AdmittedNode {
    /// the request
    pub fn accepted(&self) -> &Accepted {
        self.trusted.accepted()
    }
    /// the asking node
    pub fn node(&self) -> &Node {
        self.trusted.node()
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
pub fn institution(app: &App, trusted: TrustedNode) -> Result<AdmittedNode, Rejection> {
    let key = sm3(trusted.node().institution.as_str().as_bytes());
    let quotas = vec![app.limits.check(Dimension::Institution, &key.0)?];
    Ok(AdmittedNode { trusted, quotas })
}

/// What is counted at a source is counted per asking institution. Ids of authorizations are public and a firm
/// is anybody's guess: one institution must not use up what another may ask.
fn of_asker(asker: &InstitutionId, key: &[u8; 32]) -> [u8; 32] {
    sm3(&[asker.as_str().as_bytes(), &[0], key].concat()).0
}

/// By subject and authorization, once the request is opened.
pub fn subject(app: &App, mut opened: Opened) -> Result<AdmittedRequest, Rejection> {
    let (asker, opening) = (opened.asker(), &opened.request().opening);
    let more = [
        app.limits.check(Dimension::Subject, &of_asker(asker, &app.tags.subject(&opening.subject).0))?,
        app.limits.check(Dimension::Authorization, &of_asker(asker, &opening.authz_id.0.0))?,
    ];
    let mut quotas = opened.take_quotas();
    quotas.extend(more);
    Ok(AdmittedRequest { opened, quotas })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::limit::{Limits, Rate, Rates};
    use std::num::NonZeroU32;

    /// A bank that asks for a firm again and again leaves the other banks' quota for that firm alone.
    #[test]
    fn one_institution_does_not_use_up_anothers_quota() {
        let once = Rate { per_minute: NonZeroU32::MIN, burst: NonZeroU32::MIN };
        let rates = Rates { institution: once, operator: once, subject: once, authorization: once };
        let limits = Limits::new(rates);
        let [a, b] = ["bank-a", "bank-b"].map(|n| InstitutionId::parse(n).unwrap());
        for dimension in [Dimension::Subject, Dimension::Authorization] {
            assert!(limits.check(dimension, &of_asker(&a, &[7; 32])).is_ok());
            assert!(limits.check(dimension, &of_asker(&a, &[7; 32])).is_err());
            assert!(limits.check(dimension, &of_asker(&b, &[7; 32])).is_ok());
        }
    }
}
