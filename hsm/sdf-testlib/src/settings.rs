//! The file beside the library: keys, layout, faults. One setting a line.
//!
//! ```text
//! layout wide            or narrow
//! key 1 <64 hex digits> <password>
//! boot 3                 handles of another boot are dead
//! sessions 2             no more at a time
//! fault lost             a fault of `device::Fault`
//! ```

use crate::device::Fault;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Its name, beside the library.
pub const FILE: &str = "sdf-testlib.conf";
/// Beside the library too: a line for each wrong password.
pub const ATTEMPTS: &str = "sdf-testlib.attempts";

/// A key in the device.
#[derive(Clone)]
pub struct Key {
    /// private scalar
    pub secret: [u8; 32],
    /// opens it
    pub password: String,
}

/// What the file says.
#[derive(Clone, Default)]
pub struct Settings {
    /// fields of 32 bytes
    pub narrow: bool,
    /// by index
    pub keys: BTreeMap<u32, Key>,
    /// the device's boots so far
    pub boot: u32,
    /// the most sessions; none is no limit
    pub sessions: Option<usize>,
    /// what goes wrong
    pub faults: Vec<Fault>,
}

impl Settings {
    /// None if a line is not understood: the device is then broken, and the test fails.
    pub fn parse(text: &str) -> Option<Self> {
        let mut out = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["layout", "wide"] => out.narrow = false,
                ["layout", "narrow"] => out.narrow = true,
                ["key", index, secret, password] => {
                    let secret = hex::decode(secret).ok()?.try_into().ok()?;
                    let key = Key { secret, password: (*password).to_owned() };
                    out.keys.insert(index.parse().ok()?, key);
                }
                ["boot", n] => out.boot = n.parse().ok()?,
                ["sessions", n] => out.sessions = Some(n.parse().ok()?),
                ["fault", name] => out.faults.push(Fault::named(name)?),
                [] => {}
                _ => return None,
            }
        }
        Some(out)
    }

    /// As the file is now.
    pub fn load() -> Option<Self> {
        let text = std::fs::read_to_string(folder()?.join(FILE)).ok()?;
        Self::parse(&text)
    }

    /// Whether this goes wrong.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

/// Where this library was loaded from: the mapping that holds its code (proc(5), `maps`).
pub(crate) fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let here = (crate::abi::SDF_CloseDevice as *const ()).addr();
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let path = maps.lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let start = usize::from_str_radix(start, 16).ok()?;
            let end = usize::from_str_radix(end, 16).ok()?;
            (start..end).contains(&here).then(|| rest.get(rest.find('/')?..)).flatten()
        })?;
        Some(Path::new(path).parent()?.to_owned())
    };
    FOLDER.get_or_init(find).as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_or_refused() {
        let key = format!("key 7 {} secret", "01".repeat(32));
        let s =
            Settings::parse(&format!("layout narrow\n\n{key}\nboot 2\nsessions 3\nfault lost\n")).unwrap();
        assert!(s.narrow && s.has(Fault::Lost) && !s.has(Fault::StuckRandom));
        assert_eq!((s.boot, s.sessions, s.keys[&7].secret), (2, Some(3), [1; 32]));
        for bad in ["layout", "layout tall", "key 1 00 p", "fault none-such", "boot x", "hello"] {
            assert!(Settings::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_folder_is_that_of_the_code() {
        let exe = std::env::current_exe().unwrap();
        assert_eq!(folder(), exe.parent());
    }
}
