//! Where things lie on the box, below one root: tests have a root of their own.

use crate::{SetupError, folder::DirFolder};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Maker's entries that are no serial number.
const NO_SERIAL: &[&str] =
    &["", "none", "default string", "not specified", "to be filled by o.e.m.", "system serial number", "0"];

/// The box, seen from one root.
#[derive(Debug, Clone)]
pub struct Places {
    root: PathBuf,
}

impl Places {
    /// `/` on the box.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
    /// An absolute path of the box.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
    /// The configuration partition.
    pub fn config(&self) -> DirFolder {
        DirFolder::new(self.at("/config"))
    }
    /// Our records: on the data partition, which an older copy of cannot be put back unseen.
    pub fn records(&self) -> DirFolder {
        DirFolder::new(self.at("/var/lib/xinguan/setup"))
    }
    /// What networkd reads: in memory.
    pub fn network(&self) -> DirFolder {
        DirFolder::new(self.at("/run/systemd/network"))
    }
    /// The maker's serial number of this box, if its firmware knows one.
    pub fn serial(&self) -> Option<String> {
        ["/sys/class/dmi/id/product_serial", "/sys/firmware/devicetree/base/serial-number"]
            .iter()
            .filter_map(|path| read_text(&self.at(path), 256).ok())
            .map(|text| text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
            .find(|text| {
                text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
                    && !NO_SERIAL.contains(&text.to_lowercase().as_str())
            })
    }
    /// This start of the system.
    pub fn boot(&self) -> Result<String, SetupError> {
        let text = read_text(&self.at("/proc/sys/kernel/random/boot_id"), 64)?;
        Ok(text.trim().to_owned())
    }
}

/// A file's text; more than `max` bytes is an error.
pub fn read_text(path: &Path, max: u64) -> Result<String, SetupError> {
    String::from_utf8(read_bytes(path, max)?)
        .map_err(|_| SetupError::Unfit { what: path.display().to_string(), why: "not UTF-8".into() })
}

/// A file's bytes; more than `max` is an error.
pub fn read_bytes(path: &Path, max: u64) -> Result<Vec<u8>, SetupError> {
    let fail = |source| SetupError::Folder { operation: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(fail)?.take(max + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > max {
        let why = format!("larger than {max} bytes");
        return Err(SetupError::Unfit { what: path.display().to_string(), why });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_makers_phrase_is_no_serial_number() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(dir.path());
        assert_eq!(places.serial(), None);
        let dmi = places.at("/sys/class/dmi/id");
        fs::create_dir_all(&dmi).unwrap();
        for text in ["Default string\n", "\n", "To Be Filled By O.E.M.\n", "a\x07b"] {
            fs::write(dmi.join("product_serial"), text).unwrap();
            assert_eq!(places.serial(), None, "{text}");
        }
        fs::write(dmi.join("product_serial"), "XG-0001\n").unwrap();
        assert_eq!(places.serial().as_deref(), Some("XG-0001"));
    }

    #[test]
    fn reading_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "12345").unwrap();
        assert_eq!(read_text(&dir.path().join("f"), 5).unwrap(), "12345");
        assert!(matches!(read_text(&dir.path().join("f"), 4), Err(SetupError::Unfit { .. })));
    }
}
