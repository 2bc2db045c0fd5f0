//! What the README claims: folders exist, commands can be run, links lead somewhere.

use crate::files;
use anyhow::{Context as _, Result};
use std::{os::unix::fs::PermissionsExt as _, path::Path};

/// The two commands of the README.
const COMMANDS: &[&str] = &["scripts/demo", "scripts/test"];

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    let all = files::list(root)?;
    let mut out = readme_problems(root, &text, &all);
    for page in all.iter().filter(|f| f.ends_with(".md")) {
        let text = std::fs::read_to_string(root.join(page)).with_context(|| format!("cannot read {page}"))?;
        out.extend(link_problems(root, page, &text));
    }
    Ok(out)
}

fn readme_problems(root: &Path, text: &str, all: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    for command in COMMANDS {
        if !text.contains(command) {
            out.push(format!("README.md: does not name `{command}`"));
        }
    }
    for claim in claims(text) {
        let path = root.join(&claim);
        match path.metadata() {
            Err(_) => out.push(format!("README.md: `{claim}` does not exist")),
            Ok(m) if claim.ends_with('/') && !m.is_dir() => {
                out.push(format!("README.md: `{claim}` is not a folder"))
            }
            Ok(m) if is_command(&claim) && m.is_file() && m.permissions().mode() & 0o111 == 0 => {
                out.push(format!("README.md: `{claim}` cannot be run: chmod +x"));
            }
            Ok(_) => {}
        }
    }
    for folder in files::TOP.iter().filter(|t| all.iter().any(|f| f.starts_with(&format!("{t}/")))) {
        if !text.contains(&format!("{folder}/")) {
            out.push(format!("README.md: has no line for the folder `{folder}/`"));
        }
    }
    out
}

/// A script without an extension.
fn is_command(claim: &str) -> bool {
    claim.starts_with("scripts/") && !claim.rsplit('/').next().unwrap_or_default().contains('.')
}

/// Paths into our folders that stand as code: `gateway/crates/proto/`, `scripts/demo --keep`.
fn claims(text: &str) -> Vec<String> {
    let mut out: Vec<String> = code(text)
        .iter()
        .flat_map(|c| c.split_whitespace())
        .map(|t| t.trim_start_matches("./").trim_matches(|c| "()[],;:\"'".contains(c)))
        .filter(|t| t.split_once('/').is_some_and(|(top, _)| files::TOP.contains(&top)))
        .filter(|t| t.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)))
        .map(str::to_owned)
        .collect();
    out.sort();
    out.dedup();
    out
}

/// What stands between backticks: inline, and whole fenced blocks.
fn code(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            out.push(line.to_owned());
        } else {
            out.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    out
}

/// Relative links `[…](…)` of a page, anchors included.
fn link_problems(root: &Path, page: &str, text: &str) -> Vec<String> {
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    let mut out = Vec::new();
    for target in links(text) {
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let file = if path.is_empty() { root.join(page) } else { root.join(folder).join(path) };
        if !file.exists() {
            out.push(format!("{page}: the link `{target}` leads nowhere"));
        } else if !anchor.is_empty() && file.extension().is_some_and(|e| e == "md") {
            let there = std::fs::read_to_string(&file).unwrap_or_default();
            if !anchors(&there).iter().any(|a| a == anchor) {
                out.push(format!("{page}: the link `{target}` names a heading that is not there"));
            }
        }
    }
    out
}

fn links(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`"); // code is no link
        for rest in prose.split("](").skip(1) {
            let target =
                rest.split(')').next().unwrap_or_default().split_whitespace().next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                out.push(target.to_owned());
            }
        }
    }
    out
}

/// Anchors of headings, as forges make them: lower case, blanks to hyphens, other marks left out.
fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut out = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim().to_lowercase();
        out.push(
            title
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                    _ => None,
                })
                .collect(),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    const README: &str = "# Xinguan\nrun `scripts/demo --keep` or `./scripts/test`, see [limits](#what-is-not-there)\n\
        ```\ngateway/   the binary\ngateway/src/pipeline.rs  the path\ncargo run\n```\n[b](docs/b.md#two-words) [c](https://x.y)\n\
        ## What is *not* there\n`[x](nowhere)`\n";

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (f, mode) in [
            ("scripts/demo", 0o755),
            ("scripts/test", 0o755),
            ("gateway/src/pipeline.rs", 0o644),
            ("docs/b.md", 0o644),
        ] {
            let path = dir.path().join(f);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "# Two words\n").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        std::fs::write(dir.path().join("README.md"), format!("{README}\n`docs/`")).unwrap();
        dir
    }

    fn found(dir: &Path) -> String {
        check(dir).unwrap().join("\n")
    }

    #[test]
    fn a_true_readme_passes() {
        assert_eq!(found(tree().path()), "");
        assert_eq!(claims(README), ["gateway/", "gateway/src/pipeline.rs", "scripts/demo", "scripts/test"]);
    }

    #[test]
    fn each_false_claim_is_named() {
        let dir = tree();
        let at = |f: &str| dir.path().join(f);
        std::fs::set_permissions(at("scripts/demo"), Permissions::from_mode(0o644)).unwrap();
        std::fs::remove_file(at("gateway/src/pipeline.rs")).unwrap();
        std::fs::write(at("docs/b.md"), "# Other\n[gone](gone.md)\n").unwrap();
        std::fs::create_dir(at("hsm")).unwrap();
        std::fs::write(at("hsm/x"), "").unwrap();
        let list = found(dir.path());
        for expected in [
            "`scripts/demo` cannot be run",
            "`gateway/src/pipeline.rs` does not exist",
            "the link `docs/b.md#two-words` names a heading",
            "docs/b.md: the link `gone.md` leads nowhere",
            "no line for the folder `hsm/`",
        ] {
            assert!(list.contains(expected), "{expected}\nin\n{list}");
        }
        std::fs::write(at("README.md"), "nothing").unwrap();
        assert!(found(dir.path()).contains("does not name `scripts/demo`"));
    }
}
