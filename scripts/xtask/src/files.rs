//! The repository's files: nothing new at the top, none too long, no path of a build machine.

use anyhow::{Context as _, Result};
use std::{
    path::{Component, Path, PathBuf},
    process::Command,
};

/// What may lie at the top, besides dot-files. Adding a folder? A row in the README too.
pub(crate) const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE",
    "gateway",
    "hsm",
    "boards",
    "images",
    "scripts",
    "tests",
    "docs",
];
/// A file longer than this has more than one job.
const MAX_LINES: usize = 800;
/// Made by tools or taken from outside.
const NOT_COUNTED: &[&str] = &["Cargo.lock", "LICENSE", "tests/fixtures/", "tests/golden/"];
/// Larger files are data.
const MAX_READ: u64 = 4 * 1024 * 1024;

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let files = list(root)?;
    let mut out = top_problems(&files);
    let prefixes = machine_prefixes(root, std::env::home_dir().as_deref());
    for file in &files {
        let path = root.join(file);
        let Ok(meta) = path.symlink_metadata() else { continue }; // listed, but deleted in the work tree
        if !meta.is_file() || meta.len() > MAX_READ {
            continue;
        }
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        out.extend(text_problems(file, &bytes, &prefixes));
    }
    Ok(out)
}

/// What git tracks or would add; without git, what lies there.
pub(crate) fn list(root: &Path) -> Result<Vec<String>> {
    let git = Command::new("git")
        .arg("-c")
        .arg(format!("safe.directory={}", root.display()))
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    match git {
        Ok(out) if out.status.success() => {
            let text = String::from_utf8(out.stdout).context("a file name is not UTF-8")?;
            Ok(text.split('\0').filter(|f| !f.is_empty()).map(str::to_owned).collect())
        }
        _ => {
            let mut all = Vec::new();
            walk(root, Path::new(""), &mut all)?;
            Ok(all)
        }
    }
}

fn walk(root: &Path, below: &Path, all: &mut Vec<String>) -> Result<()> {
    let folder = root.join(below);
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let skipped = [".git", "target", "demo-data"].iter().any(|s| path == Path::new(s));
        if entry.file_type()?.is_dir() && !skipped {
            walk(root, &path, all)?;
        } else if !skipped {
            all.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

fn top_problems(files: &[String]) -> Vec<String> {
    let mut tops: Vec<&str> = files.iter().filter_map(|f| f.split('/').next()).collect();
    tops.sort_unstable();
    tops.dedup();
    let strange = tops.into_iter().filter(|t| !t.starts_with('.') && !TOP.contains(t));
    strange.map(|t| format!("{t}: is not allowed at the top; put it into one of the folders")).collect()
}

fn text_problems(file: &str, bytes: &[u8], prefixes: &[String]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Vec::new() };
    let mut out = Vec::new();
    let lines = text.lines().count();
    let counted = !NOT_COUNTED.iter().any(|n| file.starts_with(n)) && !file.ends_with("/Cargo.lock");
    if lines > MAX_LINES && counted {
        out.push(format!("{file}: {lines} lines, at most {MAX_LINES}; split it by its jobs"));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(p) = prefixes.iter().find(|p| names_path(line, p)) {
            out.push(format!(
                "{file}:{}: contains `{p}`, a path of this machine; make it relative",
                number + 1
            ));
        }
    }
    out
}

/// The prefix stands there as the beginning of a path, not in the middle of another one.
fn names_path(line: &str, prefix: &str) -> bool {
    line.match_indices(prefix).any(|(at, _)| {
        let before = line.get(..at).and_then(|b| b.chars().next_back());
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-~".contains(c))
    })
}

/// Beginnings of paths that exist on this machine only: of the workspace and of the home folder.
fn machine_prefixes(root: &Path, home: Option<&Path>) -> Vec<String> {
    // folders that every system has say nothing about this one: take one more part of the path
    let everywhere =
        ["tmp", "var", "usr", "home", "opt", "srv", "mnt", "media", "run", "etc", "build", "src"];
    let prefix = |path: &Path| {
        let parts: Vec<_> = path
            .components()
            .filter_map(|c| match c {
                Component::Normal(p) => p.to_str(),
                _ => None,
            })
            .collect();
        let take = if parts.first().is_some_and(|p| everywhere.contains(p)) { 2 } else { 1 };
        (parts.len() >= take).then(|| {
            let shown: PathBuf = std::iter::once("/").chain(parts.into_iter().take(take)).collect();
            format!("{}/", shown.display())
        })
    };
    let mut all: Vec<String> = [Some(root), home].into_iter().flatten().filter_map(prefix).collect();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_entries_at_the_top() {
        let files =
            ["Cargo.toml", ".gitignore", "gateway/src/lib.rs", "notes/a.md", "todo.txt"].map(String::from);
        let found = top_problems(&files);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("notes:") && found[1].starts_with("todo.txt:"));
    }

    #[test]
    fn long_files_and_machine_paths_are_named() {
        let prefixes = machine_prefixes(Path::new("/elsewhere/checkout"), Some(Path::new("/home/somebody")));
        assert_eq!(prefixes, ["/elsewhere/", "/home/somebody/"]);
        let at = |s: &str| text_problems("docs/a.md", s.as_bytes(), &prefixes);
        assert_eq!(at("a/elsewhere/b and $X_/elsewhere/"), [] as [String; 0], "the middle of another path");
        assert_eq!(at("see gateway/src\nand /home/other/x"), [] as [String; 0]);
        assert!(at("a\nsee \"/elsewhere/checkout/x\"")[0].starts_with("docs/a.md:2: contains `/elsewhere/`"));
        assert!(at(&"x\n".repeat(801))[0].contains("801 lines"));
        assert_eq!(at(&"x\n".repeat(800)), [] as [String; 0]);
        assert_eq!(
            text_problems("tests/fixtures/a.json", "x\n".repeat(900).as_bytes(), &[]),
            [] as [String; 0]
        );
        assert_eq!(text_problems("a.bin", b"\xff/elsewhere/", &prefixes), [] as [String; 0]);
        assert_eq!(machine_prefixes(Path::new("/"), None), [] as [String; 0]);
        assert_eq!(machine_prefixes(Path::new("/tmp/clone/x"), None), ["/tmp/clone/"]);
    }

    #[test]
    fn without_git_the_folder_is_walked() {
        let dir = tempfile::tempdir().unwrap();
        for f in ["gateway/src/a.rs", "target/x", "demo-data/y", ".git/z"] {
            let path = dir.path().join(f);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let mut all = Vec::new();
        walk(dir.path(), Path::new(""), &mut all).unwrap();
        assert_eq!(all, ["gateway/src/a.rs"]);
    }
}
