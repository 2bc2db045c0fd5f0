//! A PIN or password from a file named in the configuration: private, first line, wiped.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const MAX_BYTES: u64 = 1024;

/// Why a secret cannot be read. Never carries what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("cannot read `{path}`; check that it exists and belongs to this user")]
    Io {
        /// which
        path: PathBuf,
        /// what the system says
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("`{path}` can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    Exposed {
        /// which
        path: PathBuf,
        /// its mode
        mode: u32,
    },
    /// Empty, too long, or not text.
    #[error("the first line of `{path}` is not usable: 1 to 255 bytes of UTF-8 are expected")]
    Unusable {
        /// which
        path: PathBuf,
    },
}

/// The first line of a file that only its owner may read or write, without the line's end.
pub fn read_secret_line(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let io = |source| SecretError::Io { path: path.to_owned(), source };
    let unusable = || SecretError::Unusable { path: path.to_owned() };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    // capacity in advance: a growing buffer would leave copies behind
    let mut bytes = Zeroizing::new(Vec::with_capacity(2048));
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    let line = bytes.split(|b| matches!(b, b'\n' | b'\r')).next().unwrap_or_default();
    let text = std::str::from_utf8(line).map_err(|_| unusable())?;
    if text.is_empty() || text.len() > 255 || text.contains('\0') {
        return Err(unusable());
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], mode: u32) -> Result<Zeroizing<String>, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        read_secret_line(&path)
    }

    #[test]
    fn the_first_line_is_the_secret() {
        for text in ["1234", "1234\n", "1234\r\n", "1234\nnot this"] {
            assert_eq!(*read(text.as_bytes(), 0o600).unwrap(), "1234");
        }
        assert_eq!(*read(b" 12 34 \n", 0o400).unwrap(), " 12 34 ");
    }

    #[test]
    fn what_others_can_read_is_refused() {
        for mode in [0o640, 0o604, 0o620] {
            assert!(matches!(read(b"1234", mode), Err(SecretError::Exposed { .. })), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_line_is_refused_and_not_repeated() {
        for bytes in [&b""[..], b"\n1234", b"\xff\xfe", b"12\x0034", &[b'7'; 256], &[b'7'; 5000]] {
            let e = read(bytes, 0o600).unwrap_err();
            assert!(matches!(e, SecretError::Unusable { .. }), "{e}");
            assert!(!format!("{e} {e:?}").contains("34"));
        }
        assert!(matches!(read_secret_line(Path::new("/nowhere/pin")), Err(SecretError::Io { .. })));
    }
}
