//! One suite that every keystore must pass: the promises of `hsm_api::KeyStore`, tried one by one.
//!
//! The suite does not panic: it gives a [`Report`] of all checks, so that a keystore on real hardware can be
//! examined by a command as well as by a test.
//!
//! | module | what |
//! |---|---|
//! | [`checks`] | the checks |
//! | [`existing`] | the checks for a keystore that cannot make keys: on keys that are there |
//! | [`openssl`] | a second opinion on signatures by a program of others |
//! | [`secrets`] | an entropy source that remembers, and a search for what it gave |

pub mod checks;
pub mod existing;
pub mod openssl;
pub mod secrets;

use gw_proto::Scheme;
use hsm_api::{HsmError, KeyStore};
use std::{sync::Arc, time::Duration};

/// A keystore to examine, and what the examiner must know of it.
pub struct Target<'a> {
    /// the keystore, writable
    pub store: &'a dyn KeyStore,
    /// what it can do
    pub schemes: &'a [Scheme],
    /// what it must refuse
    pub unsupported: &'a [Scheme],
    /// begins each name that is made, so that a device can be examined twice
    pub prefix: &'a str,
    /// how long a busy device is asked again
    pub patience: Duration,
    /// opens the same keystore anew, as after a restart
    pub reopen: &'a dyn Fn() -> Result<Arc<dyn KeyStore>, HsmError>,
    /// everything the keystore prints: Debug and Display of the store, its signers, its errors
    pub printed: &'a dyn Fn() -> Vec<String>,
    /// byte strings that must not be in there; empty where the device keeps its secrets
    pub secrets: &'a dyn Fn() -> Vec<Vec<u8>>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// what was tried
    pub name: &'static str,
    /// what went wrong; none if it holds
    pub problem: Option<String>,
}

/// All checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// in the order they ran
    pub checks: Vec<Check>,
    /// whether the openssl command was there to check signatures too
    pub openssl: bool,
}

impl Report {
    /// Whether all hold.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|c| c.problem.is_none())
    }
    /// The checks that do not hold.
    pub fn failures(&self) -> Vec<&'static str> {
        self.checks.iter().filter(|c| c.problem.is_some()).map(|c| c.name).collect()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in &self.checks {
            match &c.problem {
                None => writeln!(f, "ok    {}", c.name)?,
                Some(p) => writeln!(f, "FAIL  {}: {p}", c.name)?,
            }
        }
        let openssl = if self.openssl { "checked" } else { "not there" };
        write!(f, "openssl command: {openssl}")
    }
}

/// Runs the whole suite. It makes keys and leaves them.
pub fn run(target: &Target<'_>) -> Report {
    let checks =
        checks::ALL.iter().map(|(name, check)| Check { name, problem: check(target).err() }).collect();
    Report { checks, openssl: openssl::is_there() }
}

/// Runs the suite on keys that are there, for a keystore whose keys only its vendor's tool makes.
pub fn run_existing(target: &Target<'_>, keys: &[existing::ExistingKey]) -> Report {
    let run = |(name, check): &existing::NamedCheck| Check { name, problem: check(target, keys).err() };
    Report { checks: existing::ALL.iter().map(run).collect(), openssl: openssl::is_there() }
}
