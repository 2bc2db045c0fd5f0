//! What the configuration's files hold: genesis, roots, revocation lists, the node key's certificate.
//!
//! Read once at start, all problems at once. Keys are not here: only a keystore hands those out.

use super::{Config, Problem};
use gw_proto::genesis::Genesis;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject as _};
use std::path::{Path, PathBuf};

/// A file of certificates is smaller.
const MAX_PEM_BYTES: u64 = 256 * 1024;
/// A genesis document is smaller.
const MAX_GENESIS_BYTES: u64 = 256 * 1024;
/// A CRL of a consortium is smaller: 8 MiB hold some 200,000 revoked certificates.
const MAX_CRL_BYTES: u64 = 8 * 1024 * 1024;
/// More roots than any consortium has.
const MAX_CERTIFICATES: usize = 64;

/// Roots and revocation lists of one listener or of dialling.
#[derive(Debug, Clone, Default)]
pub struct TrustMaterial {
    /// not empty
    pub roots: Vec<CertificateDer<'static>>,
    /// empty: nothing is revoked by CRL
    pub crls: Vec<CertificateRevocationListDer<'static>>,
}

/// Everything read.
#[derive(Debug, Clone)]
pub struct Material {
    /// the pinned trust root
    pub genesis: Genesis,
    /// for the MAN, both directions
    pub man: TrustMaterial,
    /// for the bank listener
    pub bank: Option<TrustMaterial>,
    /// for the admin listener
    pub admin: TrustMaterial,
    /// for `https` ledger endpoints
    pub ledger_roots: Vec<CertificateDer<'static>>,
    /// the node CA certificate first, then intermediates
    pub node_ca_chain: Vec<CertificateDer<'static>>,
}

impl Material {
    /// Reads all files; lists all problems.
    pub fn load(config: &Config) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let p = &mut problems;
        let t = &config.trust;
        let genesis = genesis(p, &t.genesis);
        let man = TrustMaterial {
            roots: certificates(p, "trust.man_roots", &t.man_roots),
            crls: crls(p, "trust.man_crl", &t.man_crl),
        };
        let bank = t.bank_roots.as_ref().map(|roots| TrustMaterial {
            roots: certificates(p, "trust.bank_roots", roots),
            crls: crls(p, "trust.bank_crl", &t.bank_crl),
        });
        let admin = TrustMaterial {
            roots: certificates(p, "trust.admin_roots", &t.admin_roots),
            crls: crls(p, "trust.admin_crl", &t.admin_crl),
        };
        let ledger_roots =
            config.ledger.roots.as_ref().map_or_else(Vec::new, |f| certificates(p, "ledger.roots", f));
        let node_ca_chain = certificates(p, "identity.node_ca_chain", &config.identity.node_ca_chain);
        match genesis {
            Some(genesis) if problems.is_empty() => {
                Ok(Self { genesis, man, bank, admin, ledger_roots, node_ca_chain })
            }
            _ => Err(problems),
        }
    }
}

/// Reads a file of at most `max` bytes; the error says what and what to do.
pub(crate) fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, (String, String)> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|e| {
        (format!("cannot open {}: {e}", path.display()), "check the path and its permissions".to_owned())
    })?;
    let mut out = Vec::new();
    file.take(max + 1).read_to_end(&mut out).map_err(|e| {
        (format!("cannot read {}: {e}", path.display()), "check the file and the disk".to_owned())
    })?;
    if u64::try_from(out.len()).unwrap_or(u64::MAX) > max {
        return Err((
            format!("{} is larger than {max} bytes", path.display()),
            "is it the right file?".to_owned(),
        ));
    }
    Ok(out)
}

fn note(problems: &mut Vec<Problem>, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
    problems.push(Problem { key: key.to_owned(), what: what.into(), remedy: remedy.into() });
}

fn bytes(problems: &mut Vec<Problem>, key: &str, path: &Path, max: u64) -> Option<Vec<u8>> {
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

fn certificates(problems: &mut Vec<Problem>, key: &str, path: &PathBuf) -> Vec<CertificateDer<'static>> {
    let Some(bytes) = bytes(problems, key, path, MAX_PEM_BYTES) else { return Vec::new() };
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match parsed {
        Ok(all) if !all.is_empty() && all.len() <= MAX_CERTIFICATES => all,
        Ok(all) => {
            let what = format!("{} holds {} certificates", path.display(), all.len());
            note(problems, key, what, format!("give a PEM file of 1 to {MAX_CERTIFICATES} certificates"));
            Vec::new()
        }
        Err(e) => {
            let what = format!("{} is not PEM: {e}", path.display());
            note(problems, key, what, "give a PEM file (-----BEGIN CERTIFICATE-----)");
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
        // DER begins with SEQUENCE; everything else must be PEM
        if bytes.first() == Some(&0x30) {
            all.push(CertificateRevocationListDer::from(bytes));
            continue;
        }
        match CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
            Ok(found) if !found.is_empty() => all.extend(found),
            _ => {
                let what = format!("{} is neither a DER nor a PEM revocation list", path.display());
                note(problems, &key, what, "give the CRL as the CA publishes it");
            }
        }
    }
    all
}
