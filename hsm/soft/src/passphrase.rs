//! The passphrase of the keystore, from a file named in the configuration.

use crate::error::SoftError;
use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const MIN_BYTES: usize = 12;
const MAX_BYTES: u64 = 1024;
const RULE: &str = "12 to 1,024 bytes of UTF-8 in one line";

/// Wiped on drop; never printed.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Reads the file, without the line's end. Nobody else may be able to read it.
    pub fn from_file(path: &Path) -> Result<Self, SoftError> {
        let io = |source| SoftError::Io { operation: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        check_private(&file, path)?;
        // capacity in advance: a growing string would leave copies behind
        let mut text = Zeroizing::new(String::with_capacity(2048));
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(io)?;
        let end = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(end);
        Self::new(text).ok_or(SoftError::Passphrase { path: path.to_owned(), rule: RULE })
    }

    /// From memory; none unless it has 12 to 1,024 bytes in one line.
    pub fn new(text: Zeroizing<String>) -> Option<Self> {
        let fits = text.len() >= MIN_BYTES && text.len() as u64 <= MAX_BYTES;
        (fits && !text.contains(['\n', '\r', '\0'])).then_some(Self(text))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(hidden)")
    }
}

/// Refuses a file that group or others can read or write.
pub(crate) fn check_private(file: &File, path: &Path) -> Result<(), SoftError> {
    let meta = file.metadata();
    let meta = meta.map_err(|source| SoftError::Io { operation: "read", path: path.to_owned(), source })?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SoftError::Exposed { path: PathBuf::from(path), mode });
    }
    Ok(())
}
