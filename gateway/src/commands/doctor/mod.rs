//! `xinguan doctor`: looks at the world the gateway lives in, and says what to do.
//!
//! Each check gives [`Finding`]s and never stops the others. What has to be asked is handed in as trait
//! objects, so that `main` decides how, and tests need no network.

mod certificates;
mod command;
mod disk;
mod network;
mod trust;

pub use command::{DoctorArgs, main};
pub use network::{Head, HeadSource, PeerProbe};

use super::Exit;
use crate::{
    config::{Config, Material},
    dial::Peer,
};
use gw_proto::{Clock, UnixMillis};
use std::{io::Write, sync::Arc, time::Duration};

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// as it should be
    Ok,
    /// works, but not for long or not well
    Warn,
    /// does not work
    Fail,
}

impl Status {
    /// The word on the line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// how bad
    pub status: Status,
    /// which check: `clock`, `certificate`, `ledger`, `disk`, `peer`, `trust`
    pub check: &'static str,
    /// what was seen
    pub what: String,
    /// what to do; nothing when it is ok
    pub remedy: Option<&'static str>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { status: Status::Ok, check, what: what.into(), remedy: None }
    }
    fn warn(check: &'static str, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { status: Status::Warn, check, what: what.into(), remedy: Some(remedy) }
    }
    fn fail(check: &'static str, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { status: Status::Fail, check, what: what.into(), remedy: Some(remedy) }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:<4}  {:<11}  {}", self.status.as_str(), self.check, self.what)?;
        match self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// What is examined, and with what.
pub struct Patient<'a> {
    /// the validated configuration
    pub config: &'a Config,
    /// what its files hold
    pub material: &'a Material,
    /// this machine's clock
    pub clock: &'a dyn Clock,
    /// the ledger's endpoints
    pub ledgers: &'a [Arc<dyn HeadSource>],
    /// a head older than this is not served from: the policy record's, or 60 s before there is one
    pub staleness: Duration,
    /// peers that were asked for on the command line, or all that the ledger lists
    pub peers: &'a [Peer],
    /// how peers are tried
    pub probe: &'a dyn PeerProbe,
}

/// Runs every check.
pub async fn examine(p: &Patient<'_>) -> Vec<Finding> {
    let now = p.clock.now();
    let mut found = certificates::check(p.config, p.material, now);
    found.extend(at_home(p.config, now));
    found.extend(network::ledgers(p.ledgers, now, p.staleness).await);
    found.extend(network::peers(p.probe, p.peers, now).await);
    found
}

/// What needs neither keys nor network.
fn at_home(config: &Config, now: UnixMillis) -> Vec<Finding> {
    let mut found = trust::check(config, now);
    found.extend(disk::check(&config.node.data_dir));
    found
}

/// Prints the findings, the worst last, and says how it ends.
pub fn report(findings: &[Finding], out: &mut dyn Write) -> std::io::Result<Exit> {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|f| f.status);
    for finding in &sorted {
        writeln!(out, "{finding}")?;
    }
    let failed = sorted.last().is_some_and(|f| f.status == Status::Fail);
    Ok(if failed { Exit::CheckFailed } else { Exit::Ok })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_stands_last() {
        let mut out = Vec::new();
        let findings = [
            Finding::fail("disk", "no space", "free some"),
            Finding::ok("clock", "in step"),
            Finding::warn("certificate", "10 days left", "enrol again"),
        ];
        assert_eq!(report(&findings, &mut out).unwrap(), Exit::CheckFailed);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ok    clock        in step\n\
             warn  certificate  10 days left; enrol again\n\
             fail  disk         no space; free some\n"
        );
        assert_eq!(report(&findings[1..], &mut Vec::new()).unwrap(), Exit::Ok);
    }
}
