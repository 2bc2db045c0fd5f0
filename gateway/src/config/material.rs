//! What the configuration's files hold: genesis, roots, revocation lists, the node key's certificate.
//!
//! Read once at start, all problems at once. Keys are not here: only a keystore hands those out.

use super::{Config, Problem};
use crate::supervisor::attest::references::References;
use gw_proto::genesis::Genesis;
use gw_sm::{cert, tls::Trust};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use std::path::{Path, PathBuf};

/// A file of certificates is smaller.
const MAX_PEM_BYTES: usize = 512 * 1024;
/// A genesis document is smaller.
const MAX_GENESIS_BYTES: usize = 256 * 1024;
/// PEM takes a third more than the list itself.
const MAX_CRL_BYTES: usize = 2 * cert::MAX_CRL;

/// Everything read. Each certificate and list parses; whether it is in date is `doctor`'s to say.
#[derive(Debug, Clone)]
pub struct Material {
    /// the pinned trust root
    pub genesis: Genesis,
    /// for the MAN, both directions
    pub man: Trust,
    /// for the bank listener
    pub bank: Option<Trust>,
    /// for the admin listener
    pub admin: Trust,
    /// for `https` ledger endpoints
    pub ledger_roots: Vec<CertificateDer<'static>>,
    /// the node CA certificate first, then intermediates
    pub node_ca_chain: Vec<CertificateDer<'static>>,
    /// what gateways should measure; with [supervisor.attestation]
    pub references: Option<References>,
}

impl Material {
    /// Reads all files; lists all problems.
    pub fn load(config: &Config) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let p = &mut problems;
        let t = &config.trust;
        let genesis = genesis(p, &t.genesis);
        let man = trust(p, "trust.man_roots", &t.man_roots, "trust.man_crl", &t.man_crl);
        let bank = t
            .bank_roots
            .as_ref()
            .map(|roots| trust(p, "trust.bank_roots", roots, "trust.bank_crl", &t.bank_crl));
        let admin = trust(p, "trust.admin_roots", &t.admin_roots, "trust.admin_crl", &t.admin_crl);
        let ledger_roots =
            config.ledger.roots.as_ref().map_or_else(Vec::new, |f| certificates(p, "ledger.roots", f));
        let node_ca_chain = certificates(p, "identity.node_ca_chain", &config.identity.node_ca_chain);
        let verifier = config.supervisor.as_ref().and_then(|s| s.attestation.as_ref());
        let references = verifier.and_then(|v| References::load(v).map_err(|found| p.extend(found)).ok());
        // the TLS certificate comes before it in what peers are sent
        if node_ca_chain.len() >= cert::MAX_CHAIN {
            let what = format!("{} certificates", node_ca_chain.len());
            let remedy = format!("at most {}: leave the root out", cert::MAX_CHAIN - 1);
            note(p, "identity.node_ca_chain", what, remedy);
        }
        match genesis {
            Some(genesis) if problems.is_empty() => {
                Ok(Self { genesis, man, bank, admin, ledger_roots, node_ca_chain, references })
            }
            _ => Err(problems),
        }
    }
}

/// Reads a file of at most `max` bytes; the error says what and what to do.
fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>, (String, &'static str)> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|e| {
        (format!("cannot open {}: {e}", path.display()), "check the path and its permissions")
    })?;
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut out = Vec::new();
    file.take(limit)
        .read_to_end(&mut out)
        .map_err(|e| (format!("cannot read {}: {e}", path.display()), "check the file and the disk"))?;
    if out.len() > max {
        return Err((format!("{} is larger than {max} bytes", path.display()), "is it the right file?"));
    }
    Ok(out)
}

fn note(problems: &mut Vec<Problem>, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
    problems.push(Problem { key: key.to_owned(), what: what.into(), remedy: remedy.into() });
}

fn bytes(problems: &mut Vec<Problem>, key: &str, path: &Path, max: usize) -> Option<Vec<u8>> {
    read_bounded(path, max).map_err(|(what, remedy)| note(problems, key, what, remedy)).ok()
}

fn genesis(problems: &mut Vec<Problem>, path: &Path) -> Option<Genesis> {
    let key = "trust.genesis";
    let bytes = bytes(problems, key, path, MAX_GENESIS_BYTES)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| {
            let what = format!("{} is not a genesis document: {e}", path.display());
            note(problems, key, what, "take the file that came with the enrolment, unchanged");
        })
        .ok()
}

fn trust(
    problems: &mut Vec<Problem>,
    roots_key: &str,
    roots: &Path,
    crl_key: &str,
    crl: &[PathBuf],
) -> Trust {
    Trust { roots: certificates(problems, roots_key, roots), crls: crls(problems, crl_key, crl) }
}

/// The certificates of a PEM file.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read_bounded(path, MAX_PEM_BYTES).map_err(|(what, remedy)| format!("{what}; {remedy}"))?;
    let found = cert::certs_from_pem(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(found.into_iter().map(CertificateDer::from).collect())
}

fn certificates(problems: &mut Vec<Problem>, key: &str, path: &Path) -> Vec<CertificateDer<'static>> {
    let Some(bytes) = bytes(problems, key, path, MAX_PEM_BYTES) else { return Vec::new() };
    let parsed = cert::certs_from_pem(&bytes)
        .and_then(|all| all.iter().try_for_each(|c| cert::parse_cert(c).map(drop)).map(|()| all));
    match parsed {
        Ok(all) => all.into_iter().map(CertificateDer::from).collect(),
        Err(e) => {
            let what = format!("{}: {e}", path.display());
            note(problems, key, what, "give a PEM file of X.509 certificates (-----BEGIN CERTIFICATE-----)");
            Vec::new()
        }
    }
}

fn crls(
    problems: &mut Vec<Problem>,
    key: &str,
    paths: &[PathBuf],
) -> Vec<CertificateRevocationListDer<'static>> {
    let mut all = Vec::new();
    for (i, path) in paths.iter().enumerate() {
        let key = format!("{key}[{i}]");
        let Some(bytes) = bytes(problems, &key, path, MAX_CRL_BYTES) else { continue };
        // DER begins with a SEQUENCE; everything else must be PEM
        let found = if bytes.first() == Some(&0x30) { Ok(vec![bytes]) } else { cert::crls_from_pem(&bytes) };
        let parsed =
            found.and_then(|all| all.iter().try_for_each(|c| cert::Crl::from_der(c).map(drop)).map(|()| all));
        match parsed {
            Ok(found) => all.extend(found.into_iter().map(CertificateRevocationListDer::from)),
            Err(e) => {
                let what = format!("{}: {e}", path.display());
                note(problems, &key, what, "give the complete list as the CA publishes it, DER or PEM");
            }
        }
    }
    all
}
