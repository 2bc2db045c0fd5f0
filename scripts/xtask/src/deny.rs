//! `.deny.toml` as far as it can be checked without a network: licences, banned crates, sources.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::{collections::HashSet, path::Path};

/// The parts of cargo-deny's file that are read here; it reads the rest.
#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}
#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}
#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}
#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    /// crates that may depend on it all the same; none: nobody may have it
    wrappers: Option<Vec<String>>,
    reason: String,
}

impl Ban {
    /// How the ban is broken, given who depends on the crate.
    fn breach(&self, by: &[&str]) -> Option<String> {
        let Some(wrappers) = &self.wrappers else { return Some(String::new()) };
        let others: Vec<&str> = by.iter().copied().filter(|b| !wrappers.iter().any(|w| w == b)).collect();
        (!others.is_empty()).then(|| format!(" for {}", others.join(", ")))
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}
#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}
#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}
#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

const REGISTRY: &str = "registry+";

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join(".deny.toml")).context("cannot read .deny.toml")?;
    let rules: Rules = toml::from_str(&text).context(".deny.toml")?;
    let raw = crate::metadata(&["--all-features"])?;
    let metadata: Metadata = serde_json::from_value(raw).context("cargo metadata has another form")?;
    let used: HashSet<&str> = metadata.resolve.nodes.iter().map(|n| n.id.as_str()).collect();
    let packages = metadata.packages.iter().filter(|p| used.contains(p.id.as_str()));
    Ok(packages.flat_map(|p| problems(&rules, p, &dependents(&metadata, p))).collect())
}

/// Names of the crates that depend on one, in any kind of build.
fn dependents<'a>(metadata: &'a Metadata, p: &Package) -> Vec<&'a str> {
    let nodes = metadata.resolve.nodes.iter().filter(|n| n.dependencies.contains(&p.id));
    let by: HashSet<&str> = nodes.map(|n| n.id.as_str()).collect();
    metadata.packages.iter().filter(|p| by.contains(p.id.as_str())).map(|p| p.name.as_str()).collect()
}

/// What is wrong with a crate that `by` depend on.
fn problems(rules: &Rules, p: &Package, by: &[&str]) -> Vec<String> {
    let who = format!("{} {}", p.name, p.version);
    let mut out = Vec::new();
    if let Some(ban) = rules.bans.deny.iter().find(|b| b.name == p.name) {
        out.extend(ban.breach(by).map(|how| format!("{who}: banned{how}: {}", ban.reason)));
    }
    let Some(source) = &p.source else { return out }; // ours
    if !source.starts_with(REGISTRY) {
        out.push(format!("{who}: comes from {source}; only the registry's releases are taken"));
    }
    match &p.license {
        Some(l) if allowed(l, &rules.licenses.allow) => {}
        Some(l) => out.push(format!("{who}: the licence `{l}` is not among those allowed in .deny.toml")),
        None => out.push(format!("{who}: names no licence")),
    }
    out
}

/// An SPDX expression: OR of ANDs, parentheses, WITH taken as part of the name, `/` as the old way to say OR.
fn allowed(expression: &str, allow: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let ok = any(&tokens, &mut at, allow);
    ok && at == tokens.len()
}

fn any(tokens: &[&str], at: &mut usize, allow: &[String]) -> bool {
    let mut ok = all(tokens, at, allow);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        ok |= all(tokens, at, allow);
    }
    ok
}

fn all(tokens: &[&str], at: &mut usize, allow: &[String]) -> bool {
    let mut ok = term(tokens, at, allow);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        ok &= term(tokens, at, allow);
    }
    ok
}

fn term(tokens: &[&str], at: &mut usize, allow: &[String]) -> bool {
    let Some(&token) = tokens.get(*at) else { return false };
    *at += 1;
    if token == "(" {
        let ok = any(tokens, at, allow);
        let closed = tokens.get(*at) == Some(&")");
        *at += usize::from(closed);
        return ok && closed;
    }
    let mut name = token.to_owned();
    if tokens.get(*at) == Some(&"WITH") {
        name = format!("{token} WITH {}", tokens.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
    }
    allow.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        let allow =
            ["MIT", "Apache-2.0", "ISC", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"].map(String::from);
        for ok in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 / MIT",
            "Apache-2.0 AND ISC",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(allowed(ok, &allow), "{ok}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "",
            "(MIT",
            "MIT)",
            "AND MIT",
            "MIT MIT",
            "(MIT OR ISC) AND GPL-3.0",
            "GPL-3.0 OR MIT AND GPL-3.0",
            "MIT WITH Other-exception",
        ] {
            assert!(!allowed(bad, &allow), "{bad}");
        }
    }

    #[test]
    fn bans_sources_and_missing_licences_are_named() {
        let rules: Rules = toml::from_str(
            r#"licenses.allow = ["MIT"]
            [bans]
            deny = [
              { crate = "native-tls", reason = "rustls" },
              { crate = "aws-lc", wrappers = ["tough", "x"], reason = "ring" },
            ]"#,
        )
        .unwrap();
        let p = |name: &str, license: Option<&str>, source: Option<&str>| Package {
            id: String::new(),
            name: name.into(),
            version: "1.0.0".into(),
            license: license.map(Into::into),
            source: source.map(Into::into),
        };
        let registry = Some("registry+index");
        let wrapped = p("aws-lc", Some("MIT"), registry);
        assert_eq!(problems(&rules, &wrapped, &["tough"]), [] as [String; 0]);
        assert_eq!(
            problems(&rules, &wrapped, &["tough", "xinguan"]),
            ["aws-lc 1.0.0: banned for xinguan: ring"]
        );
        assert_eq!(problems(&rules, &p("a", Some("MIT"), registry), &[]), [] as [String; 0]);
        assert_eq!(problems(&rules, &p("ours", Some("Apache-2.0"), None), &[]), [] as [String; 0]);
        assert!(problems(&rules, &p("native-tls", Some("MIT"), registry), &[])[0].contains("banned: rustls"));
        assert!(problems(&rules, &p("a", Some("MIT"), Some("git+x")), &[])[0].contains("only the registry"));
        assert!(problems(&rules, &p("a", None, registry), &[])[0].contains("names no licence"));
        assert!(problems(&rules, &p("a", Some("GPL-3.0"), registry), &[])[0].contains("GPL-3.0"));
    }
}
