//! Configuration files: read with a bound, errors with a line.

use crate::{Problem, SourceError};
use std::{io::Read, path::Path};

/// A text file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<String, SourceError> {
    let failed = |source| SourceError::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let read = file.take(limit + 1).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(read).is_ok_and(|n| n <= limit) {
        Ok(text)
    } else {
        Err(failed(std::io::Error::new(std::io::ErrorKind::FileTooLarge, format!("more than {limit} bytes"))))
    }
}

/// The 1-based line of a byte offset.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&b| b == b'\n').count()
}

/// A syntax or type error: the parser stops at the first.
pub(crate) fn toml_problem(text: &str, error: &toml::de::Error) -> Problem {
    let place =
        error.span().map_or_else(|| "file".to_owned(), |s| format!("line {}", line_of(text, s.start)));
    Problem::new(place, error.message(), "correct the TOML; what follows is checked after that")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), "12345");
        assert!(matches!(read_bounded(&path, 4), Err(SourceError::File { .. })));
        assert!(matches!(read_bounded(dir.path(), 4), Err(SourceError::File { .. })));
    }
}
