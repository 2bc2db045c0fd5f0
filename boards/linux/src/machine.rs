//! Where the kernel's files are: `/` on a box, a folder in tests.

use std::path::{Path, PathBuf};

/// The machine whose devices are opened.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
    arch: &'static str,
}

impl Machine {
    /// The one we run on.
    pub fn this() -> Self {
        Self { root: PathBuf::from("/"), arch: std::env::consts::ARCH }
    }
    /// A tree with `dev`, `sys` and `proc` in it, as seen by a processor of that name.
    pub fn at(root: impl Into<PathBuf>, arch: &'static str) -> Self {
        Self { root: root.into(), arch }
    }
    /// The processor, as Rust names it.
    pub(crate) fn arch(&self) -> &'static str {
        self.arch
    }
    /// An absolute path of a description on this machine.
    pub(crate) fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let path = absolute.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
    /// Entries of a folder by name; empty if there is no such folder.
    pub(crate) fn list(&self, folder: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut all: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        all.sort();
        all
    }
}

/// A short text file of the kernel: without the newline, or the NUL of a device tree. `None` if it cannot be read.
pub(crate) fn read_short(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(256).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim_matches(['\0', '\n', ' ']).to_owned())
}
