//! Enrolment: which chip is whose, by an operator's word, checked against the ledger.
//!
//! The endorsement certificate's chain is not checked yet, and the chip is not asked to prove that both keys
//! are its own (ActivateCredential): the record rests on the operator who brings it from the box.

use crate::{
    app::App,
    attester::Enrolment,
    reject::{self, Rejection},
};
use gw_attest::{
    attest_structure::{Signs, parse_chip_key},
    decide::Enrolled,
};
use gw_policy::View;
use gw_proto::{Digest, HexBytes, InstitutionId, UnixMillis, sm3};
use serde::{Deserialize, Serialize};

/// Configurations approved for one device at most: the oldest goes.
const MAX_CONFIGURATIONS: usize = 16;
/// An endorsement certificate is smaller.
const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;

/// A device as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// what evidence is judged by
    pub enrolled: Enrolled,
    /// whose it is
    pub institution: InstitutionId,
    /// first enrolled
    pub at: UnixMillis,
    /// by which operator
    pub by: String,
}

impl Device {
    /// SM3 of the endorsement certificate: one per chip.
    pub fn endorsement(&self) -> &Digest {
        &self.enrolled.endorsement_certificate
    }
}

/// Enrols a device, or approves one more configuration of one that is enrolled. Whether it was new.
pub fn enrol(app: &App, by: &str, record: &Enrolment) -> Result<bool, Rejection> {
    app.verifier()?;
    matches_the_ledger(app, record)?;
    let fresh = device(record, by, app.clock.now())?;
    let store = app.supervisor_store()?;
    let known = store.enrolment(&record.device).map_err(Rejection::internal)?;
    let kept = match &known {
        None => fresh,
        Some(known) => more(known, &fresh)?,
    };
    store.enrol(&kept).map_err(|e| match e {
        super::history::EnrolError::Endorsement { device } => {
            refuse(format!("this endorsement key is enrolled as {device}: one chip is one device"))
        }
        other => Rejection::internal(other),
    })?;
    Ok(known.is_none())
}

fn refuse(detail: impl Into<String>) -> Rejection {
    Rejection::new(reject::ENROLMENT, detail)
}

fn matches_the_ledger(app: &App, record: &Enrolment) -> Result<(), Rejection> {
    let state = app.serving_state()?;
    let node = View::new(&state).active_node(&record.device).map_err(Rejection::internal)?;
    let node = node.ok_or_else(|| refuse("the ledger lists no active node of this name"))?.record;
    if node.institution != record.institution {
        return Err(refuse("the ledger says that the node is another institution's"));
    }
    if node.key != record.node_key {
        return Err(refuse("the ledger lists another node key"));
    }
    Ok(())
}

fn device(record: &Enrolment, by: &str, at: UnixMillis) -> Result<Device, Rejection> {
    let key = parse_chip_key(&record.attestation_key.0).map_err(|e| refuse(e.to_string()))?;
    key.public_key().map_err(|e| refuse(format!("attestation key: {e}")))?;
    let wrong = key.wrong_attributes(Signs::OnlyAttestations);
    if !wrong.is_empty() {
        return Err(refuse(format!("attestation key: {}", wrong.join(", "))));
    }
    let certificate = &record.endorsement_certificate.0;
    // a SEQUENCE of DER: what it certifies is for the chain's check to say
    if certificate.first() != Some(&0x30) || certificate.len() > MAX_CERTIFICATE_BYTES {
        return Err(refuse("endorsement_certificate is no certificate in DER"));
    }
    let name = HexBytes(key.name().to_vec());
    let enrolled = Enrolled {
        device: record.device.clone(),
        attestation_key: name.clone(),
        // one chip for both roles, as long as the keystore is the only chip that attests
        signing_key: Some(name),
        node_key: record.node_key,
        endorsement_certificate: sm3(certificate),
        configurations: vec![record.configuration],
    };
    Ok(Device { enrolled, institution: record.institution.clone(), at, by: by.to_owned() })
}

/// Only the configuration may be another.
fn more(known: &Device, fresh: &Device) -> Result<Device, Rejection> {
    let same = |d: &Device| Enrolled { configurations: Vec::new(), ..d.enrolled.clone() };
    if same(known) != same(fresh) {
        return Err(refuse("this device is enrolled with another chip or key; decommission it first"));
    }
    let mut kept = known.clone();
    let all = &mut kept.enrolled.configurations;
    all.retain(|c| !fresh.enrolled.configurations.contains(c));
    all.extend(&fresh.enrolled.configurations);
    let over = all.len().saturating_sub(MAX_CONFIGURATIONS);
    all.drain(..over);
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::{Hex, NodeId, PublicKey, Scheme};

    fn device(endorsement: u8, configuration: u8) -> Device {
        let enrolled = Enrolled {
            device: NodeId::parse("bank-a-1").unwrap(),
            attestation_key: HexBytes(vec![1]),
            signing_key: Some(HexBytes(vec![1])),
            node_key: PublicKey { scheme: Scheme::Sm2Sm3, point: Hex([2; 64]) },
            endorsement_certificate: Hex([endorsement; 32]),
            configurations: vec![Hex([configuration; 32])],
        };
        let institution = InstitutionId::parse("bank-a").unwrap();
        Device { enrolled, institution, at: UnixMillis(1), by: "op".to_owned() }
    }

    #[test]
    fn a_known_device_may_get_another_configuration_and_nothing_else() {
        let mut known = device(1, 1);
        for c in 2..=20 {
            known = more(&known, &device(1, c)).unwrap();
        }
        let all = &known.enrolled.configurations;
        assert_eq!((all.len(), all.last(), all.first()), (16, Some(&Hex([20; 32])), Some(&Hex([5; 32]))));
        let again = more(&known, &device(1, 7)).unwrap();
        assert_eq!(again.enrolled.configurations.len(), 16, "an approval counts once");
        let refused = more(&known, &device(2, 1)).unwrap_err();
        assert_eq!(refused.problem.name, "enrolment-refused");
    }
}
