//! The files that the configuration names, by role: measured beside it, each as an event of its own.
//!
//! A role is the file's key in the configuration. What is not here, and why: PINs, passwords and key blobs are
//! secrets; revocation lists change daily and are signed under roots that are here; databases are data.

use super::measure::MeasureError;
use crate::{
    config::{BoardConfig, Config},
    supervisor::attest::references,
};
use gw_proto::{Digest, sm3};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The largest that is read: what the gateway itself reads of any of these is less.
const MAX_BYTES: u64 = 1024 * 1024;
/// More manifests than a consortium keeps in force, and one to see that there are more.
const MAX_MANIFESTS: usize = 256;

/// SM3 of each file by its role. Reads files: blocks.
pub fn digests(config: &Config) -> Result<BTreeMap<String, Digest>, MeasureError> {
    named(config).into_iter().map(|(role, path)| Ok((role, sm3(&read(&path)?)))).collect()
}

fn named(config: &Config) -> Vec<(String, PathBuf)> {
    let trust = &config.trust;
    let mut all = vec![
        ("trust.genesis", &trust.genesis),
        ("trust.man_roots", &trust.man_roots),
        ("trust.admin_roots", &trust.admin_roots),
        ("identity.node_ca_chain", &config.identity.node_ca_chain),
    ];
    all.extend(trust.bank_roots.iter().map(|p| ("trust.bank_roots", p)));
    all.extend(config.ledger.roots.iter().map(|p| ("ledger.roots", p)));
    all.extend(config.source.iter().map(|s| ("source.mapping", &s.mapping)));
    if let Some(BoardConfig::File(path)) = &config.board {
        all.push(("board.file", path));
    }
    let mut all: Vec<_> = all.into_iter().map(|(role, path)| (role.to_owned(), path.clone())).collect();
    if let Some(v) = config.supervisor.as_ref().and_then(|s| s.attestation.as_ref()) {
        let role = |name: &str| format!("supervisor.attestation.{name}");
        all.push((role("makers"), v.makers.clone()));
        all.extend(v.manufacturers.iter().map(|p| (role("manufacturers"), p.clone())));
        all.extend(
            manifests(&v.manifests)
                .into_iter()
                .map(|(name, path)| (role(&format!("manifests/{name}")), path)),
        );
    }
    all
}

/// Those that the verifier reads, by file name. A folder that cannot be read stops the start elsewhere.
fn manifests(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let json = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json"));
    let name = |p: PathBuf| Some((p.file_name()?.to_str()?.chars().take(100).collect(), p));
    json.filter_map(name).take(MAX_MANIFESTS).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, MeasureError> {
    references::read(path, MAX_BYTES).map_err(|what| MeasureError::File {
        path: path.display().to_string(),
        source: std::io::Error::other(what),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every path of the configuration is measured or is in this list of those that are not, each with its reason.
    #[test]
    fn no_secret_is_measured_and_nothing_is_forgotten() {
        let text = include_str!("../../xinguan.example.toml");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("xinguan.toml");
        std::fs::write(&file, text).unwrap();
        let config = crate::config::load(&file).unwrap();
        let roles: Vec<_> = named(&config).into_iter().map(|(role, _)| role).collect();
        for expected in [
            "trust.genesis",
            "trust.man_roots",
            "trust.admin_roots",
            "trust.bank_roots",
            "identity.node_ca_chain",
            "ledger.roots",
            "source.mapping",
        ] {
            assert!(roles.iter().any(|r| r == expected), "{expected} is missing: {roles:?}");
        }
        for secret in ["pin_file", "pass", "_auth", "keystore", "crl", "database", "data_dir"] {
            assert!(roles.iter().all(|r| !r.contains(secret)), "{secret}: {roles:?}");
        }
    }

    #[test]
    fn what_is_too_large_or_absent_is_said_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        let said = |path: &Path| read(path).unwrap_err().to_string();
        assert!(said(&path).contains("roots.pem"));
        std::fs::write(&path, vec![0; usize::try_from(MAX_BYTES).unwrap()]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1024 * 1024);
        std::fs::write(&path, vec![0; usize::try_from(MAX_BYTES).unwrap() + 1]).unwrap();
        assert!(said(&path).contains("roots.pem"));
    }
}
