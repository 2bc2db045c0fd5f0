//! Root, intermediate, node CA, TLS leaf, an operator, revocation lists: all into one folder, as PEM.

use anyhow::{Result, anyhow};
use gw_proto::{Clock as _, Scheme, UnixMillis, clock::SystemClock};
use gw_sm::{
    KeyPair,
    cert::{self, CertKind, CertSpec, CrlSpec, Issuer, RevokedSerial, Subject},
};
use std::path::Path;

const HOUR: u64 = 60 * 60 * 1000;

struct Entity {
    key: KeyPair,
    der: Vec<u8>,
}

fn issue(scheme: Scheme, name: &str, kind: CertKind, hours: u64, by: Option<&Entity>) -> Result<Entity> {
    let now = SystemClock.now();
    let key = KeyPair::generate(scheme, getrandom::fill)?;
    let mut serial = [0; 16];
    getrandom::fill(&mut serial)?;
    let dns = match kind {
        CertKind::TlsServerClient => vec!["localhost".to_owned()],
        _ => vec![],
    };
    let spec = CertSpec {
        kind,
        subject: Subject { common_name: Some(name.into()), organization: None, serial_number: None },
        public_key: *key.public_key(),
        not_before: UnixMillis(now.0 - HOUR),
        not_after: UnixMillis(now.0 + hours * HOUR),
        serial,
        dns,
        ips: vec![],
    };
    let signer = by.map_or(&key, |e| &e.key);
    let sign = |digest: &[u8; 32]| signer.sign_digest(digest).map_err(|e| e.to_string());
    let issuer = Issuer { certificate: by.map(|e| &e.der[..]), key: signer.public_key(), sign: &sign };
    let der = cert::build_cert(&spec, &issuer)?;
    Ok(Entity { key, der })
}

fn list(by: &Entity, revoked: Option<&Entity>) -> Result<String> {
    let now = SystemClock.now();
    let line = |e: &Entity| -> Result<RevokedSerial> {
        Ok(RevokedSerial { serial: cert::parse_cert(&e.der)?.serial.clone(), at: now })
    };
    let spec = CrlSpec {
        this_update: UnixMillis(now.0 - HOUR),
        next_update: UnixMillis(now.0 + 24 * HOUR),
        number: 1,
        revoked: revoked.map(line).transpose()?.into_iter().collect(),
    };
    let sign = |digest: &[u8; 32]| by.key.sign_digest(digest).map_err(|e| e.to_string());
    let issuer = Issuer { certificate: Some(&by.der), key: by.key.public_key(), sign: &sign };
    Ok(cert::crl_to_pem(&cert::build_crl(&spec, &issuer)?)?)
}

/// Writes everything; fails when the folder is not there.
pub(crate) fn write(scheme: Scheme, folder: &Path) -> Result<()> {
    let root = issue(scheme, "interop root", CertKind::Root, 48, None)?;
    let middle = issue(scheme, "interop middle", CertKind::Intermediate, 48, Some(&root))?;
    let node_kind = || CertKind::NodeCa { dns: "localhost".into() };
    let node = issue(scheme, "interop node", node_kind(), 48, Some(&middle))?;
    let gone = issue(scheme, "revoked node", node_kind(), 48, Some(&middle))?;
    let stranger = issue(scheme, "another root", CertKind::Root, 48, None)?;
    for (name, by, chain) in [
        ("tls", &node, vec![&node, &middle]),
        ("revoked", &gone, vec![&gone, &middle]),
        ("stranger", &stranger, vec![]),
    ] {
        let leaf = issue(scheme, name, CertKind::TlsServerClient, 12, Some(by))?;
        let all = std::iter::once(&leaf).chain(chain.iter().copied());
        std::fs::write(folder.join(format!("{name}.pem")), cert::certs_to_pem(all.map(|e| &e.der[..]))?)?;
        let above = cert::certs_to_pem(chain.iter().map(|e| &e.der[..]))?;
        std::fs::write(folder.join(format!("{name}-above.pem")), above)?;
        let key = cert::key_to_pem(&leaf.key).map_err(|e| anyhow!(e))?;
        std::fs::write(folder.join(format!("{name}.key")), &*key)?;
    }
    std::fs::write(folder.join("root.pem"), cert::certs_to_pem([&root.der[..]])?)?;
    let lists = [list(&root, None)?, list(&middle, Some(&gone))?, list(&node, None)?, list(&gone, None)?];
    std::fs::write(folder.join("crls.pem"), lists.concat())?;
    Ok(())
}
