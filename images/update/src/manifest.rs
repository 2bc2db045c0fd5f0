//! The signed description of one release, `release.json`.

use crate::{error::UpdateError, slot::Version};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The only form there is so far.
pub const FORMAT: u32 = 1;

/// A kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    /// x86, 64 bits
    #[serde(rename = "x86-64")]
    X86_64,
    /// ARM, 64 bits
    #[serde(rename = "arm64")]
    Arm64,
}

impl Architecture {
    /// The one that this program was compiled for.
    pub const OURS: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::X86_64 };
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86-64",
            Self::Arm64 => "arm64",
        })
    }
}

impl FromStr for Architecture {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        [Self::X86_64, Self::Arm64]
            .into_iter()
            .find(|a| a.to_string() == s)
            .ok_or_else(|| "x86-64 or arm64".into())
    }
}

/// What a release is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// form of this file
    pub format: u32,
    /// of the system
    pub version: Version,
    /// machines that it is for
    pub architecture: Architecture,
    /// anti-rollback number: raised only by releases that close a hole
    pub number: u64,
    /// last ring that it is released to; ring 0 comes first
    pub ring: u8,
}

impl Manifest {
    /// Reads it; unknown keys and forms are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, UpdateError> {
        let found: Self =
            serde_json::from_slice(bytes).map_err(|e| UpdateError::Manifest { why: e.to_string() })?;
        if found.format != FORMAT {
            return Err(UpdateError::Manifest { why: format!("format {}, known is {FORMAT}", found.format) });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_form() {
        let good = r#"{"format":1,"version":"1.4.2","architecture":"arm64","number":3,"ring":0}"#;
        assert_eq!(Manifest::parse(good.as_bytes()).unwrap().version, Version(1, 4, 2));
        for (from, to) in
            [("\"format\":1", "\"format\":2"), ("1.4.2", "1.4"), ("arm64", "mips"), ("\"ring\"", "\"rang\"")]
        {
            let bad = good.replace(from, to);
            assert!(matches!(Manifest::parse(bad.as_bytes()), Err(UpdateError::Manifest { .. })), "{bad}");
        }
    }
}
