//! Two slots, and the names of boot entries that say which may be tried how often.
//!
//! A name is `xinguan_<version>_<slot>[+<left>[-<done>]].efi`, counted as systemd-boot's automatic boot assessment
//! does: it renames the entry before each try; `systemd-bless-boot` takes the counter away once the system is healthy.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One of the two sets of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotName {
    /// the first
    A,
    /// the second
    B,
}

impl SlotName {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
    /// Its letter in file names.
    pub fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.letter())
    }
}

/// A release's version: three numbers, compared in order. systemd-boot compares the same text in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl From<Version> for String {
    fn from(v: Version) -> Self {
        v.to_string()
    }
}

impl TryFrom<String> for Version {
    type Error = String;
    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

impl FromStr for Version {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let parts: Option<Vec<u32>> = s.split('.').map(decimal).collect();
        match parts.as_deref() {
            Some(&[a, b, c]) => Ok(Self(a, b, c)),
            _ => Err("a version is three numbers, as 1.4.2".into()),
        }
    }
}

/// Decimal digits without sign or leading zero: one text per number.
fn decimal(s: &str) -> Option<u32> {
    let canonical = s == "0" || (!s.starts_with('0') && s.bytes().all(|b| b.is_ascii_digit()));
    if canonical { s.parse().ok() } else { None }
}

/// How the boot loader treats an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tries {
    /// no counter: it was healthy
    Good,
    /// still on trial, or given up where none are left
    Counting {
        /// tries left
        left: u32,
        /// tries done
        done: u32,
    },
}

impl Tries {
    /// A new system's: three tries.
    pub const NEW: Self = Self::Counting { left: 3, done: 0 };
    /// Whether the loader passes it over while there is another.
    pub fn is_given_up(self) -> bool {
        matches!(self, Self::Counting { left: 0, .. })
    }
}

impl fmt::Display for Tries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("good"),
            Self::Counting { left: 0, done } => write!(f, "given up after {done}"),
            Self::Counting { left, done } => write!(f, "on trial: {left} left, {done} done"),
        }
    }
}

/// A boot entry's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// of the system in it
    pub version: Version,
    /// where its root lies
    pub slot: SlotName,
    /// its counter
    pub tries: Tries,
}

const PREFIX: &str = "xinguan_";
const SUFFIX: &str = ".efi";

impl Entry {
    /// Reads a name; none for files that are not ours.
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (id, tries) = match stem.split_once('+') {
            None => (stem, Tries::Good),
            Some((id, counter)) => (id, parse_tries(counter)?),
        };
        let (version, letter) = id.split_once('_')?;
        let slot = SlotName::ALL.into_iter().find(|s| s.to_string() == letter)?;
        Some(Self { version: version.parse().ok()?, slot, tries })
    }
    /// The same entry with another counter.
    pub fn with_tries(self, tries: Tries) -> Self {
        Self { tries, ..self }
    }
    /// Its place in the loader's choice: the greatest is taken. Given up come last, then the version decides.
    pub fn rank(&self) -> (bool, Version, SlotName) {
        (!self.tries.is_given_up(), self.version, self.slot)
    }
}

fn parse_tries(counter: &str) -> Option<Tries> {
    let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
    Some(Tries::Counting { left: decimal(left)?, done: decimal(done)? })
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_{}", self.version, self.slot)?;
        if let Tries::Counting { left, done } = self.tries {
            write!(f, "+{left}-{done}")?;
        }
        f.write_str(SUFFIX)
    }
}

/// The slot that the boot loader says it started.
///
/// `variable` is the content of the EFI variable `LoaderEntrySelected` as efivarfs gives it: four bytes of
/// attributes, then the entry's name in UTF-16, ended by zero, without its counter.
pub fn running_slot(variable: &[u8]) -> Option<SlotName> {
    let text = variable.get(4..)?;
    let units = text.chunks_exact(2).filter_map(|c| Some(u16::from_le_bytes(c.try_into().ok()?)));
    let units: Vec<u16> = units.take_while(|u| *u != 0).take(256).collect();
    Entry::parse(&String::from_utf16(&units).ok()?).map(|e| e.slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_boot_entries() {
        for name in ["xinguan_1.4.2_a.efi", "xinguan_1.4.2_b+3-0.efi", "xinguan_0.0.10_a+0-3.efi"] {
            assert_eq!(Entry::parse(name).unwrap().to_string(), name);
        }
        let short = Entry::parse("xinguan_1.4.2_b+3.efi").unwrap();
        assert_eq!(short.tries, Tries::NEW);
        for bad in [
            "xinguan_1.4_a.efi",
            "xinguan_1.4.2_c.efi",
            "xinguan_1.4.2_a+.efi",
            "xinguan_1.4.2_a+x-1.efi",
            "xinguan_1.04.2_a.efi",
            "xinguan_1.+4.2_a.efi",
            "linux_1.4.2_a.efi",
            "xinguan-new.tmp",
            "",
        ] {
            assert_eq!(Entry::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_loader_prefers_new_and_passes_over_given_up() {
        let rank = |n: &str| Entry::parse(n).unwrap().rank();
        assert!(rank("xinguan_1.10.0_b+3-0.efi") > rank("xinguan_1.9.9_a.efi"));
        assert!(rank("xinguan_1.10.0_b+0-3.efi") < rank("xinguan_1.9.9_a.efi"));
        assert!(rank("xinguan_1.10.0_b+1-2.efi") > rank("xinguan_1.9.9_a.efi"));
    }

    #[test]
    fn the_loaders_variable() {
        let mut v = vec![6, 0, 0, 0];
        v.extend("xinguan_1.4.2_b.efi\0".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(running_slot(&v), Some(SlotName::B));
        assert_eq!(running_slot(&v[..20]), None);
        assert_eq!(running_slot(&[]), None);
    }
}
