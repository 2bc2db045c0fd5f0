//! Which library, which layout, which keys.

use crate::error::SdfError;
use hsm_api::{
    KeyPurpose,
    backend::{Limits, is_name},
};
use hsm_sdf_ffi::Layout;
use std::{collections::BTreeSet, path::PathBuf};

const MAX_KEYS: usize = 64;

/// A key of the device, and what the gateway calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdfKey {
    /// its name
    pub name: String,
    /// what it is for; the only place where that is bound
    pub purpose: KeyPurpose,
    /// of the signing key pair in the device, as the vendor's tool shows it
    pub index: u32,
    /// a file of mode 600 whose first line opens the key; none: the device wants no access right
    pub password_file: Option<PathBuf>,
}

/// How an SDF keystore is reached and used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdfOptions {
    /// the vendor's shared library
    pub library: PathBuf,
    /// none: found out by what the library writes; the vendor's header says (64 is [`Layout::Wide`])
    pub layout: Option<Layout>,
    /// all keys that may be used
    pub keys: Vec<SdfKey>,
    /// sessions and waiting; the device's own limit of sessions must not be below
    pub limits: Limits,
}

impl SdfOptions {
    /// With the default limits, the layout to be found out.
    pub fn new(library: PathBuf, keys: Vec<SdfKey>) -> Self {
        Self { library, layout: None, keys, limits: Limits::default() }
    }

    /// What cannot be meant.
    pub(crate) fn check(&self) -> Result<(), SdfError> {
        let wrong = |what: String| Err(SdfError::Options { what });
        if !(1..=64).contains(&self.limits.sessions) {
            return wrong(format!("{} sessions; 1 to 64 are possible", self.limits.sessions));
        }
        if self.keys.is_empty() || self.keys.len() > MAX_KEYS {
            return wrong(format!("{} keys; 1 to {MAX_KEYS} are possible", self.keys.len()));
        }
        let (mut names, mut indices) = (BTreeSet::new(), BTreeSet::new());
        for key in &self.keys {
            if !is_name(&key.name) {
                return wrong(format!(
                    "a key's name has 1 to 64 characters of a-z, 0-9 and hyphen: {:?}",
                    key.name
                ));
            }
            if !names.insert(&key.name) {
                return wrong(format!("two keys are named `{}`", key.name));
            }
            // one key under two names would have two purposes
            if !indices.insert(key.index) {
                return wrong(format!("two names for the key at index {}", key.index));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, index: u32) -> SdfKey {
        SdfKey { name: name.into(), purpose: KeyPurpose::Node, index, password_file: None }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let with = |keys| SdfOptions::new("l.so".into(), keys);
        with(vec![key("a", 1), key("b", 2)]).check().unwrap();
        let none = Limits { sessions: 0, ..Limits::default() };
        for bad in [
            with(vec![]),
            with(vec![key("a", 1), key("a", 2)]),
            with(vec![key("a", 1), key("b", 1)]),
            with(vec![key("A", 1)]),
            with((0..65).map(|i| key(&format!("k{i}"), i)).collect()),
            SdfOptions { limits: none, ..with(vec![key("a", 1)]) },
        ] {
            assert!(matches!(bad.check(), Err(SdfError::Options { .. })), "{bad:?}");
        }
    }
}
