//! Enrolment: which chip is whose, brought by an operator, checked against the ledger and the manufacturer.
//!
//! Where manufacturers are pinned, the chip's certificate must lead to one of them, and before its first evidence
//! the chip proves that certificate and keys are its own (`activate.rs`). Else it rests on the operator.

use super::enrolments::{self, EnrolError};
use crate::{
    app::App,
    attester::Enrolment,
    reject::{self, Rejection},
    supervisor::{db::Session, store::StoreError},
};
use gw_attest::{
    attest_structure::{Signs, parse_chip_key},
    decide::{ApprovedFiles, Enrolled},
    endorsement::{Make, Manufacturers},
};
use gw_policy::View;
use gw_proto::{B64, Digest, HexBytes, InstitutionId, UnixMillis, sm3};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Configurations approved for one device at most: the oldest goes.
const MAX_CONFIGURATIONS: usize = 16;
/// Files that one configuration names at most.
const MAX_FILES: usize = 300;
/// A key of the configuration.
const MAX_ROLE_BYTES: usize = 150;
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
    /// the manufacturer's word, where it was asked for
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsed: Option<EndorsedBy>,
}

/// What the chip's manufacturer says, and whether the chip has proved that it is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndorsedBy {
    /// of the endorsement key, DER
    pub certificate: B64,
    /// the chip's make
    pub make: Make,
    /// the pinned root
    pub root: String,
    /// since when it is proved that both keys are in the chip
    pub activated: Option<UnixMillis>,
}

impl Device {
    /// SM3 of the endorsement certificate: one per chip.
    pub fn endorsement(&self) -> &Digest {
        &self.enrolled.endorsement_certificate
    }
}

/// Enrols a device, or approves one more configuration of one that is enrolled. Whether it was new.
///
/// One operator does this, where nothing is replaced and nobody ended an enrolment of device or chip before.
/// Recorded, refused or not.
pub async fn enrol(app: &Arc<App>, by: &str, record: Enrolment) -> Result<bool, Rejection> {
    app.verifier()?;
    let what = serde_json::json!({
        "device": &record.device, "endorsement_certificate": sm3(&record.endorsement_certificate.0),
        "configuration": &record.configuration,
    });
    let (work, who) = (Arc::clone(app), by.to_owned());
    let fresh = tokio::task::spawn_blocking(move || examine(&work, &who, &record));
    let fresh = fresh.await.map_err(Rejection::internal)?;
    let keep = move |s: &mut dyn Session| match fresh {
        Ok(fresh) => by_one(s, fresh),
        Err(refused) => Ok(Err(refused)),
    };
    app.act(by, "enrol", what, keep).await?
}

fn by_one(s: &mut dyn Session, fresh: Device) -> Result<Result<bool, Rejection>, StoreError> {
    let (kept, new) = match enrolments::load(s, &fresh.enrolled.device)? {
        None if enrolments::was_ended(s, &fresh)? => {
            return Ok(Err(Rejection::new(
                reject::SECOND_OPERATOR,
                "an enrolment of this device or chip was ended: propose the new one, with a reason",
            )));
        }
        None => (fresh, true),
        Some(known) => match more(&known, &fresh) {
            Ok(kept) => (kept, false),
            Err(refused) => return Ok(Err(refused)),
        },
    };
    match enrolments::keep(s, &kept) {
        Err(EnrolError::Store(e)) => Err(e),
        other => Ok(other.map(|()| new).map_err(not_kept)),
    }
}

/// Whether this record's enrolment takes two people. Refused where not even two may. Blocks.
pub fn takes_two(app: &App, by: &str, record: &Enrolment) -> Result<bool, Rejection> {
    let fresh = examine(app, by, record)?;
    let known = app.supervisor_store()?.enrolment(&record.device).map_err(Rejection::internal)?;
    match known {
        None => {
            let ended = app.supervisor_store()?.db().read(|s| enrolments::was_ended(s, &fresh));
            ended.map_err(Rejection::internal)
        }
        Some(known) => Ok(more(&known, &fresh).is_err()),
    }
}

/// Enrols what two people agreed on, where nothing is enrolled any more. Blocks.
pub fn anew(app: &App, by: &str, record: &Enrolment) -> Result<(), Rejection> {
    app.supervisor_store()?.enrol(&examine(app, by, record)?).map_err(not_kept)
}

fn examine(app: &App, by: &str, record: &Enrolment) -> Result<Device, Rejection> {
    let manufacturers = app.verifier()?.references.manufacturers.as_ref();
    matches_the_ledger(app, record)?;
    device(record, by, manufacturers, app.clock.now())
}

fn not_kept(e: EnrolError) -> Rejection {
    match e {
        EnrolError::Endorsement { device } => refuse(format!(
            "second enrolment: this endorsement key is enrolled as {device}; one chip is one device"
        )),
        EnrolError::Store(e) => Rejection::internal(e),
    }
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

fn device(
    record: &Enrolment,
    by: &str,
    manufacturers: Option<&Manufacturers>,
    at: UnixMillis,
) -> Result<Device, Rejection> {
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
    let endorsed = manufacturers.map(|m| endorsed(m, certificate, at)).transpose()?;
    let name = HexBytes(key.name().to_vec());
    let enrolled = Enrolled {
        device: record.device.clone(),
        attestation_key: name.clone(),
        // one chip for both roles, as long as the keystore is the only chip that attests
        signing_key: Some(name),
        node_key: record.node_key,
        endorsement_certificate: sm3(certificate),
        configurations: vec![record.configuration],
        files: files(record)?,
    };
    Ok(Device { enrolled, institution: record.institution.clone(), at, by: by.to_owned(), endorsed })
}

/// None where the gateway's release measures none.
fn files(record: &Enrolment) -> Result<Vec<ApprovedFiles>, Rejection> {
    let fits =
        |role: &String| (1..=MAX_ROLE_BYTES).contains(&role.len()) && !role.chars().any(char::is_control);
    if record.files.len() > MAX_FILES || !record.files.keys().all(fits) {
        return Err(refuse(format!(
            "files: more than {MAX_FILES}, or a role of more than {MAX_ROLE_BYTES} bytes"
        )));
    }
    let one = ApprovedFiles { configuration: record.configuration, files: record.files.clone() };
    Ok(if one.files.is_empty() { Vec::new() } else { vec![one] })
}

fn endorsed(
    manufacturers: &Manufacturers,
    certificate: &[u8],
    at: UnixMillis,
) -> Result<EndorsedBy, Rejection> {
    let found = manufacturers.check(certificate, at).map_err(|e| refuse(format!("manufacturer: {e}")))?;
    let (make, root) = (found.make().clone(), found.root().to_owned());
    Ok(EndorsedBy { certificate: B64(certificate.to_vec()), make, root, activated: None })
}

/// Only the configuration and its files may be others.
fn more(known: &Device, fresh: &Device) -> Result<Device, Rejection> {
    if known.endorsement() != fresh.endorsement() {
        return Err(refuse(
            "chip swapped: this device is enrolled with another chip; another takes a proposal with a reason, and two people",
        ));
    }
    let same = |d: &Device| Enrolled { configurations: Vec::new(), files: Vec::new(), ..d.enrolled.clone() };
    if same(known) != same(fresh) || known.institution != fresh.institution {
        return Err(refuse(
            "keys changed: this device is enrolled with another key; another takes a proposal with a reason, and two people",
        ));
    }
    let mut kept = known.clone();
    // enrolled before manufacturers were pinned
    kept.endorsed = kept.endorsed.or_else(|| fresh.endorsed.clone());
    let all = &mut kept.enrolled.configurations;
    all.retain(|c| !fresh.enrolled.configurations.contains(c));
    all.extend(&fresh.enrolled.configurations);
    let over = all.len().saturating_sub(MAX_CONFIGURATIONS);
    all.drain(..over);
    let files = &mut kept.enrolled.files;
    files.retain(|f| !fresh.enrolled.files.contains(f));
    files.extend(fresh.enrolled.files.iter().cloned());
    let over = files.len().saturating_sub(MAX_CONFIGURATIONS);
    files.drain(..over);
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
            files: Vec::new(),
        };
        let institution = InstitutionId::parse("bank-a").unwrap();
        Device { enrolled, institution, at: UnixMillis(1), by: "op".to_owned(), endorsed: None }
    }

    #[test]
    fn a_known_device_may_get_another_configuration_and_nothing_else() {
        let mut known = device(1, 1);
        for c in 2..=20 {
            known = more(&known, &device(1, c)).unwrap();
        }
        let all = &known.enrolled.configurations;
        assert_eq!((all.len(), all.last(), all.first()), (16, Some(&Hex([20; 32])), Some(&Hex([5; 32]))));
        // so do its files: the newest approval last, each once, the oldest goes
        let with = |file: u8| {
            let mut device = device(1, 20);
            let files = [("trust.genesis".to_owned(), Hex([file; 32]))].into();
            device.enrolled.files = vec![ApprovedFiles { configuration: Hex([20; 32]), files }];
            device
        };
        let mut filed = known.clone();
        for file in (1..=20).chain([18]) {
            filed = more(&filed, &with(file)).unwrap();
        }
        let kept = &filed.enrolled.files;
        assert_eq!((kept.len(), kept.last()), (16, with(18).enrolled.files.last()));
        assert_eq!(filed.enrolled.configurations.len(), 16);
        let again = more(&known, &device(1, 7)).unwrap();
        assert_eq!(again.enrolled.configurations.len(), 16, "an approval counts once");
        let refused = |fresh: &Device| {
            let refused = more(&known, fresh).unwrap_err();
            assert_eq!(refused.problem.name, "enrolment-refused");
            refused.detail
        };
        assert!(refused(&device(2, 1)).starts_with("chip swapped: "));
        let mut other = device(1, 1);
        other.enrolled.attestation_key = HexBytes(vec![9]);
        assert!(refused(&other).starts_with("keys changed: "));
        let other = Device { institution: InstitutionId::parse("bank-b").unwrap(), ..device(1, 1) };
        assert!(refused(&other).starts_with("keys changed: "));
        // the manufacturer's word may come later, and what was proved stays
        let endorsed = |activated| EndorsedBy {
            certificate: B64(vec![0x30]),
            make: Make { manufacturer: "id:1".into(), model: "m".into(), version: "1".into() },
            root: "CN=root".into(),
            activated,
        };
        let fresh = Device { endorsed: Some(endorsed(None)), ..device(1, 1) };
        assert_eq!(more(&known, &fresh).unwrap().endorsed, Some(endorsed(None)));
        let proved = Device { endorsed: Some(endorsed(Some(UnixMillis(5)))), ..known.clone() };
        assert_eq!(more(&proved, &fresh).unwrap().endorsed, Some(endorsed(Some(UnixMillis(5)))));
    }
}
