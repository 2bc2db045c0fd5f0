//! Which crate may depend on which: always on a lower level.

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// Every crate of the workspace has a row. An ordinary or build dependency points to a lower level, always.
const LEVELS: &[(&str, u8)] = &[
    ("gw-proto", 0),  // ids and wire formats: depends on none of ours
    ("gw-sm", 1),     // algorithms, certificates, TLS providers
    ("gw-store", 1),  // Store and Disk
    ("gw-policy", 2), // pure decisions
    ("gw-proof", 2),  // batches and the offline verifier
    ("hsm-api", 2),   // traits of keystores
    ("gw-attest", 3), // judges evidence; its tests speak hsm-api
    ("gw-journal", 3),
    ("gw-ledger", 3),
    ("gw-source", 3),
    ("gw-broker", 3),
    ("hsm-conformance", 3), // the suite that backends pass
    ("hsm-tis", 0),         // registers of a TPM over embedded-hal: depends on none of ours
    ("hsm-tis-model", 1),   // the other side of those registers
    ("hsm-sdf-ffi", 0),     // a C interface, nothing else
    ("hsm-sdf-testlib", 2), // the other side of it
    ("board-linux-ffi", 0), // a kernel interface, nothing else
    ("board-api", 3),
    ("board-linux", 4), // boards and backends: seen only by the binary
    ("board-sim", 4),
    ("hsm-tpm2", 4),
    ("hsm-pkcs11", 4),
    ("hsm-sdf", 4),
    ("hsm-soft", 4),
    ("xinguan", 5),
    ("image-checks", 9),   // runs in the image, depends on none of ours
    ("image-manifest", 9), // a program of the image's builder
    ("image-update", 9),   // a program: who depended on it would have its second crypto library
    ("xtask", 9),          // depends on none of ours
    ("blackbox", 9),
];

/// Crates that decide or describe and so never touch network, disk, threads or chance.
const PURE: &[&str] = &["gw-proto", "gw-policy", "gw-proof", "gw-attest"];
const NOT_IN_PURE: &[&str] =
    &["tokio", "hyper", "hyper-util", "rusqlite", "sled", "getrandom", "rand", "rustls", "axum", "socket2"];

/// What only the binary may take in.
const BACKENDS: &[&str] = &[
    "hsm-soft",
    "hsm-tis-model",
    "hsm-tpm2",
    "hsm-pkcs11",
    "hsm-sdf",
    "hsm-sdf-testlib",
    "board-linux",
    "board-sim",
];
/// … and these only behind a feature: never in a release.
const DEVELOPMENT: &[&str] = &["hsm-soft", "hsm-tis-model", "hsm-sdf-testlib", "board-sim"];
/// What the black-box tests may see of ours: the formats, never the gateway's insides. A peer's formats are
/// JSON (proto), Merkle batches with their signatures (proof), certificates and RFC 8998 (sm), all of which a
/// malicious gateway speaks too; and the development keystore's file, which a thief of keys opens.
/// So are evidence and manifests (attest); and boxes of a test's own attest with a simulated chip (hsm-tpm2).
const FORMATS: &[&str] = &["gw-proto", "gw-proof", "gw-sm", "gw-attest", "hsm-api", "hsm-soft", "hsm-tpm2"];
/// Help for tests, allowed to any crate's tests.
const TEST_HELP: &[&str] = &["hsm-soft", "hsm-conformance", "hsm-tis-model", "hsm-sdf-testlib", "hsm-tpm2"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// One crate of the workspace.
#[derive(Deserialize, Debug, Clone)]
pub(crate) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    #[serde(default)]
    features: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize, Debug, Clone)]
struct Dependency {
    name: String,
    kind: Option<String>,
    #[serde(default)]
    optional: bool,
}

/// All arrows of the workspace.
pub(crate) fn check() -> Result<Vec<String>> {
    let raw = crate::metadata(&["--no-deps"])?;
    let metadata: Metadata = serde_json::from_value(raw).context("cargo metadata has another form")?;
    Ok(problems(&metadata.packages))
}

fn level(name: &str) -> Option<u8> {
    LEVELS.iter().find(|(n, _)| *n == name).map(|(_, l)| *l)
}

fn problems(packages: &[Package]) -> Vec<String> {
    let mut out = Vec::new();
    for p in packages {
        match level(&p.name) {
            None => out.push(format!(
                "{}: has no level; add a row to LEVELS in scripts/xtask/src/arrows.rs",
                p.name
            )),
            Some(own) => out.extend(p.dependencies.iter().filter_map(|d| arrow(p, own, d))),
        }
    }
    for (name, _) in LEVELS {
        if !packages.iter().any(|p| p.name == *name) {
            out.push(format!("{name}: stands in LEVELS but not in the workspace; remove the row"));
        }
    }
    let binary = packages.iter().filter(|p| p.name == "xinguan");
    let on = binary.flat_map(|p| p.features.get("default")).flatten();
    out.extend(on.filter(|f| *f == "dev").map(|_| "xinguan: `dev` must not be a default feature".to_owned()));
    out
}

/// What is wrong with one dependency.
fn arrow(p: &Package, own: u8, d: &Dependency) -> Option<String> {
    let for_tests = d.kind.as_deref() == Some("dev");
    if PURE.contains(&p.name.as_str()) && !for_tests && NOT_IN_PURE.contains(&d.name.as_str()) {
        return Some(format!("{} → {}: a pure crate does no I/O; put it behind a trait", p.name, d.name));
    }
    let other = level(&d.name)?;
    let name = (p.name.as_str(), d.name.as_str());
    match name {
        // the whole package is tests
        ("blackbox", other) if FORMATS.contains(&other) => None,
        ("blackbox", other) => {
            Some(format!("blackbox → {other}: it sees binaries and formats only ({})", FORMATS.join(", ")))
        }
        ("xtask", other) => Some(format!("xtask → {other}: it checks the others and uses none")),
        // a crate's own tests may turn on its own features
        (a, b) if for_tests && a == b => None,
        (_, b) if for_tests && TEST_HELP.contains(&b) => None,
        ("board-sim", "hsm-tis-model") => None,
        (a, b) if BACKENDS.contains(&b) && a != "xinguan" => {
            Some(format!("{a} → {b}: a backend is seen only by xinguan; depend on its api crate"))
        }
        (a, b) if DEVELOPMENT.contains(&b) && !d.optional => {
            Some(format!("{a} → {b}: it stands behind the feature `dev`, so that a release has none of it"))
        }
        (a, b) if other >= own => {
            Some(format!("{a} (level {own}) → {b} (level {other}): arrows point to lower levels only"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>, bool)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(n, k, o)| Dependency { name: (*n).into(), kind: k.map(Into::into), optional: *o })
            .collect();
        Package { name: name.into(), dependencies, features: Default::default() }
    }

    fn one(name: &str, dependency: &str, kind: Option<&str>, optional: bool) -> Option<String> {
        let p = package(name, &[(dependency, kind, optional)]);
        let own = level(name).unwrap();
        p.dependencies.iter().find_map(|d| arrow(&p, own, d))
    }

    #[test]
    fn arrows_point_down() {
        assert_eq!(one("gw-policy", "gw-sm", None, false), None);
        assert_eq!(one("gw-ledger", "gw-store", None, false), None);
        assert_eq!(one("xinguan", "hsm-soft", None, true), None);
        assert_eq!(one("gw-journal", "hsm-soft", Some("dev"), false), None);
        assert_eq!(one("blackbox", "gw-proto", None, false), None);
        assert_eq!(one("blackbox", "hsm-soft", None, false), None);
        for (from, to, kind, optional) in [
            ("gw-proto", "gw-sm", None, false),
            ("gw-policy", "gw-proof", None, false),
            ("gw-broker", "gw-ledger", None, true),
            ("gw-broker", "gw-ledger", Some("dev"), false),
            ("gw-ledger", "hsm-soft", None, true),
            ("xinguan", "hsm-soft", None, false),
            ("blackbox", "gw-policy", None, false),
            ("blackbox", "gw-ledger", Some("dev"), false),
            ("blackbox", "xinguan", Some("dev"), false),
            ("xtask", "gw-proto", None, false),
            ("xinguan", "image-update", None, false),
            ("gw-policy", "tokio", None, false),
            ("gw-sm", "xinguan", Some("build"), false),
        ] {
            assert!(one(from, to, kind, optional).is_some(), "{from} → {to}");
        }
        assert_eq!(one("gw-policy", "tokio", Some("dev"), false), None);
    }

    #[test]
    fn each_crate_has_a_row_and_each_row_a_crate() {
        let mut all: Vec<_> = LEVELS.iter().map(|(n, _)| package(n, &[])).collect();
        assert_eq!(problems(&all), [] as [String; 0]);
        all.push(package("gw-new", &[]));
        assert!(problems(&all)[0].contains("gw-new: has no level"));
        all.retain(|p| p.name != "gw-new" && p.name != "gw-sm");
        assert!(problems(&all)[0].contains("gw-sm: stands in LEVELS"));
        let mut bad = LEVELS.iter().map(|(n, _)| package(n, &[])).collect::<Vec<_>>();
        let binary = bad.iter_mut().find(|p| p.name == "xinguan").unwrap();
        binary.features.insert("default".into(), vec!["dev".into()]);
        assert!(problems(&bad)[0].contains("default feature"));
    }
}
