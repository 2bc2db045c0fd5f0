//! The chip proves that the certified endorsement key and the enrolled attestation key are both its own.
//!
//! TPM2_ActivateCredential: a secret is sealed to the one key and the name of the other; only a chip that has both
//! opens it. A disk in another box, or a record made of two boxes, does not.

use super::enrol::{Device, EndorsedBy};
use crate::{
    app::App,
    attester::wire::Activation,
    reject::{self, Rejection},
    stages::identify::IdentifiedNode,
};
use gw_attest::endorsement::make_credential;
use gw_proto::{B64, Digest, Hex, NodeId, UnixMillis, sm3};
use std::{collections::BTreeMap, time::Duration};

/// The chip makes its endorsement key anew for it, which takes a slow one seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What was asked and not answered: one per node, bounded by the enrolments.
#[derive(Debug, Default)]
pub struct Activations(BTreeMap<NodeId, Open>);

#[derive(Debug)]
struct Open {
    id: Hex<32>,
    secret: Digest,
    expires: UnixMillis,
}

impl Activations {
    /// A newer one replaces an older one of the same node.
    fn open(&mut self, node: NodeId, open: Open) {
        self.0.insert(node, open);
    }
    /// Right or wrong: it counts once.
    fn take(&mut self, node: &NodeId, id: &Hex<32>, secret: &Hex<32>, now: UnixMillis) -> bool {
        let open = self.0.remove(node);
        open.is_some_and(|o| o.id == *id && now < o.expires && o.secret == sm3(&secret.0))
    }
}

/// Whether something is still to be proved before evidence counts.
pub fn is_missing(device: &Device) -> bool {
    device.endorsed.as_ref().is_some_and(|e| e.activated.is_none())
}

fn enrolled(app: &App, node: &NodeId) -> Result<(Device, EndorsedBy), Rejection> {
    let none = || Rejection::new(reject::NOT_ENROLLED, "there is nothing to be proved by this node");
    let device = app.supervisor_store()?.enrolment(node).map_err(Rejection::internal)?.ok_or_else(none)?;
    let endorsed = device.endorsed.clone().ok_or_else(none)?;
    Ok((device, endorsed))
}

/// Seals a secret for the enrolled chip. Reads SQLite: blocks.
pub fn ask(app: &App, node: &IdentifiedNode) -> Result<Activation, Rejection> {
    let (verifier, id) = (app.verifier()?, &node.node().id);
    if verifier.limiter.check_key(id).is_err() {
        return Err(Rejection::new(reject::QUOTA, "too many challenges of one node"));
    }
    let (device, endorsed) = enrolled(app, id)?;
    let now = app.clock.now();
    let manufacturers = verifier.references.manufacturers.as_ref();
    let manufacturers = manufacturers
        .ok_or_else(|| Rejection::new(reject::ACTIVATION, "no manufacturers are pinned any more"))?;
    // again: certificates end, and pins are taken away
    let chip = manufacturers.check(&endorsed.certificate.0, now);
    let chip = chip.map_err(|e| Rejection::new(reject::ACTIVATION, format!("manufacturer: {e}")))?;
    let (mut number, mut secret) = (Hex([0; 32]), Hex([0; 32]));
    app.entropy.fill(&mut number.0).map_err(Rejection::internal)?;
    app.entropy.fill(&mut secret.0).map_err(Rejection::internal)?;
    let name = &device.enrolled.attestation_key.0;
    let sealed = make_credential(chip.key(), name, &secret.0).map_err(Rejection::internal)?;
    let expires = now.plus(ANSWER_WITHIN);
    let open = Open { id: number, secret: sm3(&secret.0), expires };
    verifier.activations().open(id.clone(), open);
    Ok(Activation { id: number, blob: B64(sealed.blob), secret: B64(sealed.secret), expires })
}

/// Takes what the chip opened. Writes SQLite with fsync: blocks.
pub fn answer(app: &App, node: &IdentifiedNode, number: &Hex<32>, secret: &Hex<32>) -> Result<(), Rejection> {
    let (verifier, id, now) = (app.verifier()?, &node.node().id, app.clock.now());
    if !verifier.activations().take(id, number, secret, now) {
        tracing::error!(device = %id, "the chip did NOT prove that its keys are its own");
        return Err(Rejection::new(reject::ACTIVATION, "not the secret that was sealed, or too late"));
    }
    let (mut device, endorsed) = enrolled(app, id)?;
    device.endorsed = Some(EndorsedBy { activated: Some(now), ..endorsed });
    app.supervisor_store()?.enrol(&device).map_err(Rejection::internal)?;
    tracing::info!(device = %id, "the chip has proved that its keys are its own");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_counts_once_in_time_for_its_node() {
        let [a, b] = ["bank-a-1", "bank-b-1"].map(|n| NodeId::parse(n).unwrap());
        let (id, secret) = (Hex([1; 32]), Hex([2; 32]));
        let now = UnixMillis(100);
        let fresh = || {
            let mut all = Activations::default();
            all.open(a.clone(), Open { id, secret: sm3(&secret.0), expires: UnixMillis(200) });
            all
        };
        let mut all = fresh();
        assert!(!all.take(&b, &id, &secret, now), "another node's");
        assert!(all.take(&a, &id, &secret, UnixMillis(199)));
        assert!(!all.take(&a, &id, &secret, now), "twice");
        assert!(!fresh().take(&a, &id, &secret, UnixMillis(200)), "too late");
        assert!(!fresh().take(&a, &Hex([3; 32]), &secret, now), "another challenge's");
        let mut all = fresh();
        assert!(!all.take(&a, &id, &Hex([3; 32]), now), "a guess");
        assert!(!all.take(&a, &id, &secret, now), "and no second one");
    }
}
