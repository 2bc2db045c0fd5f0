//! Certificates of enterprises and seal services: what proves a statement.

use crate::common::*;
use gw_policy::{Fate, Refusal, check_evidence};
use gw_proto::message::{Evidence, Statement};
use gw_proto::record::*;
use gw_proto::*;
use gw_sm::KeyPair;
use gw_sm::cert::{CertError, CertKind, CertSpec, Issuer, Subject, build_cert};
use std::sync::Arc;

/// A key with its certificate.
#[derive(Clone)]
pub(crate) struct Entity {
    pub(crate) key: Arc<KeyPair>,
    pub(crate) der: Vec<u8>,
}

pub(crate) fn issue(kind: CertKind, code: Option<&str>, seed: u8, by: Option<&Entity>) -> Entity {
    issue_until(kind, code, seed, by, at(60 * DAY))
}
fn issue_until(kind: CertKind, code: Option<&str>, seed: u8, by: Option<&Entity>, end: UnixMillis) -> Entity {
    let own = key(seed);
    let spec = CertSpec {
        kind,
        subject: Subject {
            common_name: Some(format!("entity {seed}")),
            organization: None,
            serial_number: code.map(Into::into),
        },
        public_key: *own.public_key(),
        not_before: UnixMillis(START - DAY),
        not_after: end,
        serial: [seed; 16],
        dns: Vec::new(),
        ips: Vec::new(),
    };
    let signer = by.map_or(&own, |e| &e.key);
    let sign = |d: &[u8; 32]| signer.sign_digest(d).map_err(|e| e.to_string());
    let issuer = Issuer { certificate: by.map(|e| e.der.as_slice()), key: signer.public_key(), sign: &sign };
    let der = build_cert(&spec, &issuer).unwrap();
    Entity { key: own, der }
}
pub(crate) fn root_record(root: &Entity, level: EvidenceLevel, standing: Standing) -> Record {
    let certificate = B64(root.der.clone());
    Record::EvidenceRoot(EvidenceRoot { id: sm3(&root.der), level, certificate, standing })
}
pub(crate) fn signed_by(s: &Statement, signer: &Entity) -> (Signature, Vec<B64>) {
    (signer.key.sign(&s.signing_input().unwrap()).unwrap(), vec![B64(signer.der.clone())])
}
pub(crate) fn signed(s: &Statement, signer: &Entity) -> Evidence {
    let (signature, chain) = signed_by(s, signer);
    Evidence::Signed { signature, chain }
}

pub(crate) const CODE: &str = "91350100M000100Y43";

/// An enterprise root and a seal root are listed; the enterprise's root is SM2, the seal's P-256.
pub(crate) fn world_with_roots() -> (World, Entity, Entity) {
    let mut w = World::standard();
    let firms = issue(CertKind::Root, None, 40, None);
    let seals = issue(CertKind::Root, None, 41, None);
    for (root, level) in [(&firms, EvidenceLevel::Signed), (&seals, EvidenceLevel::Sealed)] {
        assert_eq!(w.govern_one(root_record(root, level, Standing::Active)), Fate::Accepted);
    }
    (w, firms, seals)
}

fn of_level(level: EvidenceLevel) -> Statement {
    Statement { level, ..statement(1) }
}

#[test]
fn each_level_is_proved_by_its_own_evidence() {
    let (w, firms, seals) = world_with_roots();
    let firm = issue(CertKind::EvidenceSigner, Some(CODE), 42, Some(&firms));
    let seal = issue(CertKind::EvidenceSigner, None, 43, Some(&seals));
    let (s, view) = (of_level(EvidenceLevel::Signed), w.view());
    check_evidence(&view, &s, &signed(&s, &firm), at(0)).unwrap();
    let s = of_level(EvidenceLevel::Sealed);
    let (signature, chain) = signed_by(&s, &seal);
    check_evidence(&view, &s, &Evidence::Sealed { signature, chain }, at(0)).unwrap();
    check_evidence(&view, &statement(1), &asserted(), at(0)).unwrap();
}

#[test]
fn what_does_not_prove() {
    let (mut w, firms, seals) = world_with_roots();
    let firm = issue(CertKind::EvidenceSigner, Some(CODE), 42, Some(&firms));
    let other_firm = issue(CertKind::EvidenceSigner, Some("91350100M000100Y4X"), 44, Some(&firms));
    let nameless = issue(CertKind::EvidenceSigner, None, 45, Some(&firms));
    let by_seals = issue(CertKind::EvidenceSigner, Some(CODE), 46, Some(&seals));
    let tls = issue(CertKind::TlsClient, Some(CODE), 47, Some(&firms));
    let over = issue_until(CertKind::EvidenceSigner, Some(CODE), 48, Some(&firms), UnixMillis(START - HOUR));
    let s = of_level(EvidenceLevel::Signed);
    let check = |w: &World, e: &Evidence| check_evidence(&w.view(), &s, e, at(0));
    let (claimed, proved) = (EvidenceLevel::Signed, EvidenceLevel::Asserted);
    assert_eq!(check(&w, &asserted()), Err(Refusal::LevelAboveProof { claimed, proved }));
    let (claimed, proved) = (proved, claimed);
    let weak = check_evidence(&w.view(), &statement(1), &signed(&statement(1), &firm), at(0));
    assert_eq!(weak, Err(Refusal::LevelMismatch { claimed, proved }));
    assert_eq!(check(&w, &signed(&s, &other_firm)), Err(Refusal::EvidenceSubject));
    assert_eq!(check(&w, &signed(&s, &nameless)), Err(Refusal::EvidenceSubject));
    // a root of another level, another usage, over
    let chain = |e: CertError| Err(Refusal::EvidenceChain(e));
    assert_eq!(check(&w, &signed(&s, &by_seals)), chain(CertError::UnknownIssuer));
    assert!(matches!(check(&w, &signed(&s, &tls)), Err(Refusal::EvidenceChain(CertError::WrongUsage(_)))));
    assert!(matches!(check(&w, &signed(&s, &over)), Err(Refusal::EvidenceChain(CertError::Expired { .. }))));
    // another statement's signature
    let mut wider = s.clone();
    wider.max_uses += 1;
    assert_eq!(check(&w, &signed(&wider, &firm)), Err(Refusal::EvidenceSignature));
    // no chain, a long chain
    let (signature, one) = signed_by(&s, &firm);
    let empty = Evidence::Signed { signature, chain: Vec::new() };
    assert_eq!(check(&w, &empty), chain(CertError::Empty));
    let long = Evidence::Signed { signature, chain: vec![one[0].clone(); 5] };
    assert!(matches!(check(&w, &long), Err(Refusal::EvidenceChain(CertError::TooMany { .. }))));
    // the signature is good until governance blocks the root
    check(&w, &signed(&s, &firm)).unwrap();
    let blocked = root_record(&firms, EvidenceLevel::Signed, Standing::Blocked);
    assert_eq!(w.govern_one(blocked), Fate::Accepted);
    assert_eq!(check(&w, &signed(&s, &firm)), chain(CertError::UnknownIssuer));
}

/// A root that this program cannot read does not take the others with it.
#[test]
fn an_unreadable_root_is_skipped() {
    let (mut w, firms, _) = world_with_roots();
    let firm = issue(CertKind::EvidenceSigner, Some(CODE), 42, Some(&firms));
    let junk = Entity { key: key(49), der: b"not a certificate".to_vec() };
    assert_eq!(w.govern_one(root_record(&junk, EvidenceLevel::Signed, Standing::Active)), Fate::Accepted);
    let s = of_level(EvidenceLevel::Signed);
    check_evidence(&w.view(), &s, &signed(&s, &firm), at(0)).unwrap();
}
