//! A small public-key infrastructure for tests: root, intermediate, node CA, leaves.

use crate::{
    KeyPair,
    cert::{CertKind, CertSpec, CrlSpec, Issuer, RevokedSerial, Subject, build_cert, build_crl},
};
use gw_proto::{Scheme, UnixMillis};
use std::net::IpAddr;

pub(crate) const DAY: u64 = 24 * 60 * 60 * 1000;
/// 2026-01-01
pub(crate) const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
pub(crate) const HOST: &str = "node-a.bank.example";

/// A key with its certificate.
pub(crate) struct Entity {
    pub(crate) key: KeyPair,
    pub(crate) der: Vec<u8>,
}

/// A key that depends on `seed` only.
pub(crate) fn key(scheme: Scheme, seed: u8) -> KeyPair {
    KeyPair::from_secret(scheme, [seed; 32]).unwrap()
}

pub(crate) fn named(name: &str) -> Subject {
    Subject { common_name: Some(name.into()), organization: Some("信关测试".into()), serial_number: None }
}

/// A spec valid around [`NOW`]; tests change what they are about.
pub(crate) fn spec(kind: CertKind, name: &str, key: &KeyPair, seed: u8) -> CertSpec {
    let leaf = matches!(kind, CertKind::TlsServerClient | CertKind::TlsClient);
    CertSpec {
        subject: named(name),
        public_key: *key.public_key(),
        not_before: UnixMillis(NOW.0 - if leaf { DAY / 2 } else { 300 * DAY }),
        not_after: UnixMillis(NOW.0 + if leaf { DAY / 2 } else { 300 * DAY }),
        serial: [seed; 16],
        dns: if leaf { vec![HOST.into()] } else { vec![] },
        ips: vec![],
        kind,
    }
}

/// Builds under `by`; None = self-signed.
pub(crate) fn issue(spec: &CertSpec, key: KeyPair, by: Option<&Entity>) -> Entity {
    let signer = by.map_or(&key, |e| &e.key);
    let sign = |d: &[u8; 32]| signer.sign_digest(d).map_err(|e| e.to_string());
    let issuer = Issuer { certificate: by.map(|e| &e.der[..]), key: signer.public_key(), sign: &sign };
    let der = build_cert(spec, &issuer).unwrap();
    Entity { key, der }
}

/// A list by `by` that revokes `serials`, from `from` for a day.
pub(crate) fn crl(by: &Entity, serials: &[&[u8]], from: UnixMillis) -> Vec<u8> {
    let revoked = serials.iter().map(|s| RevokedSerial { serial: s.to_vec(), at: from }).collect();
    let spec = CrlSpec { this_update: from, next_update: UnixMillis(from.0 + DAY), number: 7, revoked };
    let sign = |d: &[u8; 32]| by.key.sign_digest(d).map_err(|e| e.to_string());
    build_crl(&spec, &Issuer { certificate: Some(&by.der), key: by.key.public_key(), sign: &sign }).unwrap()
}

/// Root → intermediate → node CA → TLS leaf; root → evidence signer; root → operator.
pub(crate) struct Pki {
    pub(crate) root: Entity,
    pub(crate) middle: Entity,
    pub(crate) node: Entity,
    pub(crate) tls: Entity,
    pub(crate) evidence: Entity,
    pub(crate) operator: Entity,
}

impl Pki {
    pub(crate) fn new(scheme: Scheme) -> Self {
        let k = |seed| key(scheme, seed);
        let root = issue(&spec(CertKind::Root, "root", &k(1), 1), k(1), None);
        let middle = issue(&spec(CertKind::Intermediate, "middle", &k(2), 2), k(2), Some(&root));
        let node = CertKind::NodeCa { dns: HOST.into() };
        let node = issue(&spec(node, "node-a", &k(3), 3), k(3), Some(&middle));
        let tls = issue(&spec(CertKind::TlsServerClient, "node-a tls", &k(4), 4), k(4), Some(&node));
        let evidence = issue(&spec(CertKind::EvidenceSigner, "firm", &k(5), 5), k(5), Some(&root));
        let operator = CertSpec { dns: vec![], ..spec(CertKind::TlsClient, "operator", &k(6), 6) };
        let operator = issue(&operator, k(6), Some(&root));
        Self { root, middle, node, tls, evidence, operator }
    }
    /// The TLS leaf's chain without the root.
    pub(crate) fn tls_chain(&self) -> [&[u8]; 3] {
        [&self.tls.der, &self.node.der, &self.middle.der]
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
