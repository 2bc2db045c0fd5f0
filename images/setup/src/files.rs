//! A set of configuration files: bounded, plainly named, one folder deep.

use crate::{SetupError, folder::Folder};
use std::collections::BTreeMap;

/// The most bytes of one file: a revocation list is the largest.
pub const MAX_FILE: u64 = 1 << 20;
/// The most bytes of all.
pub const MAX_ALL: usize = 4 << 20;
/// The most files.
pub const MAX_FILES: usize = 64;
/// The only folder in the configuration.
pub const NETWORK: &str = "network";
/// Names that [`crate::commit`] and [`crate::trial`] use for themselves.
const OURS: &[&str] = &["next", "pending.json", "network.previous"];

/// Files by name: `xinguan.toml`, `network/10-inside.network`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a file, or replaces it. The partition is FAT: lower case only, so that no two names are one.
    pub fn put(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Result<(), SetupError> {
        let bytes = bytes.into();
        check_name(name)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(SetupError::unfit(name, format!("larger than {MAX_FILE} bytes")));
        }
        self.0.insert(name.to_owned(), bytes);
        let all: usize = self.0.values().map(Vec::len).sum();
        if all > MAX_ALL || self.0.len() > MAX_FILES {
            let why = format!("with it there are more than {MAX_FILES} files or {MAX_ALL} bytes");
            return Err(SetupError::unfit(name, why));
        }
        Ok(())
    }
    /// A file's bytes.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }
    /// All files, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(n, b)| (n.as_str(), b.as_slice()))
    }
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Those in `network/`.
    pub fn network(&self) -> Self {
        let inside = |name: &str| name.starts_with("network/");
        Self(self.0.iter().filter(|(n, _)| inside(n)).map(|(n, b)| (n.clone(), b.clone())).collect())
    }
    /// Reads what lies in a folder, and in `network/` below it. What people's machines left there (`._x`, `README.TXT`) is no
    /// configuration.
    pub fn load(folder: &dyn Folder) -> Result<Self, SetupError> {
        let mut files = Self::new();
        for (at, prefix) in [("", ""), (NETWORK, "network/")] {
            for name in folder.list(at)?.iter().map(|n| format!("{prefix}{n}")) {
                if check_name(&name).is_ok() {
                    files.put(&name, folder.read(&name, MAX_FILE)?.unwrap_or_default())?;
                }
            }
        }
        Ok(files)
    }
    /// Reads all files of one folder, for `network/`; another name than one of those is an error.
    pub fn load_network(folder: &dyn Folder, from: &str) -> Result<Self, SetupError> {
        let mut files = Self::new();
        for name in folder.list(from)? {
            let at = if from.is_empty() { name.clone() } else { format!("{from}/{name}") };
            files.put(&format!("{NETWORK}/{name}"), folder.read(&at, MAX_FILE)?.unwrap_or_default())?;
        }
        Ok(files)
    }
}

fn check_name(name: &str) -> Result<(), SetupError> {
    let plain = |part: &str| {
        (1..=64).contains(&part.len())
            && !part.starts_with('.')
            && !part.ends_with(".new")
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    let good = match name.split_once('/') {
        None => plain(name) && name != NETWORK && !OURS.contains(&name),
        Some((folder, file)) => {
            folder == NETWORK
                && plain(file)
                && [".network", ".netdev", ".link"].iter().any(|end| file.ends_with(end))
        }
    };
    if good {
        return Ok(());
    }
    let shown: String = name.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
    let why = "not a name for the configuration: lower-case letters, digits, `.`, `_`, `-`, at most 64; in network/ only \
               *.network, *.netdev and *.link";
    Err(SetupError::unfit(shown, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let mut files = Files::new();
        for name in ["xinguan.toml", "man-root.pem", "network/10-inside.network", "network/20-bond.netdev"] {
            files.put(name, "x").unwrap();
        }
        for name in [
            "../x",
            "/etc/passwd",
            "network/../x.network",
            "network",
            "network/a/b.network",
            "other/x.network",
            "network/x.conf",
            ".hidden",
            "",
            "X.toml",
            "a\0b",
            "next",
            "pending.json",
            "a.new",
            "\u{1b}[2J",
        ] {
            let text = files.put(name, "x").unwrap_err().to_string();
            assert!(!text.contains('\u{1b}') && !text.contains('\0'), "{text:?}");
        }
        assert_eq!(files.names().count(), 4);
        assert_eq!(files.network().names().count(), 2);
    }

    #[test]
    fn sizes_are_bounded() {
        let mut files = Files::new();
        assert!(files.put("a", vec![0; (1 << 20) + 1]).is_err());
        let full = (0..).find(|n| files.put(&format!("f{n}"), vec![0; 1 << 20]).is_err()).unwrap();
        assert_eq!(full, 4);
        let mut files = Files::new();
        assert_eq!((0..).find(|n| files.put(&format!("f{n}"), "").is_err()).unwrap(), MAX_FILES);
    }
}
