//! Dates of certificates and revocation lists, and the node key's chain.

use super::{Finding, Status};
use crate::config::{Config, Material};
use gw_proto::UnixMillis;
use gw_sm::{
    cert::{self, CertError, Crl, Expect},
    tls::Trust,
};
use std::time::Duration;

const CHECK: &str = "certificate";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// An enrolment takes paperwork.
const NODE_CA_WARN: Duration = Duration::from_secs(30 * 24 * 3600);
/// A new root must reach every member.
const ROOT_WARN: Duration = Duration::from_secs(180 * 24 * 3600);
/// Lists are issued daily at the most rarely; after its end every handshake fails.
const CRL_WARN: Duration = Duration::from_secs(12 * 3600);

pub(super) fn check(config: &Config, material: &Material, now: UnixMillis) -> Vec<Finding> {
    let mut found = vec![node_ca(material, now)];
    found.extend(set("trust.man", &material.man, now));
    if let Some(bank) = &material.bank {
        found.extend(set("trust.bank", bank, now));
    }
    found.extend(set("trust.admin", &material.admin, now));
    if config.ledger.roots.is_some() {
        found.extend(material.ledger_roots.iter().map(|c| root("ledger.roots", c, now)));
    }
    found
}

/// The node key's certificate chains to a root of the MAN.
fn node_ca(material: &Material, now: UnixMillis) -> Finding {
    let chain: Vec<&[u8]> = material.node_ca_chain.iter().map(AsRef::as_ref).collect();
    let roots: Vec<&[u8]> = material.man.roots.iter().map(AsRef::as_ref).collect();
    match cert::verify_chain(&chain, &roots, now, Expect::NodeKey) {
        Ok(cert) => {
            dated("identity.node_ca_chain", cert.not_after, now, NODE_CA_WARN, "enrol the node key again")
        }
        Err(e @ (CertError::Expired { .. } | CertError::NotYetValid { .. })) => Finding::fail(
            CHECK,
            format!("identity.node_ca_chain: {e}"),
            "check the clock; if it is right, enrol the node key again",
        ),
        Err(e) => Finding::fail(
            CHECK,
            format!("identity.node_ca_chain: {e}"),
            "take the chain that enrolment gave, node CA certificate first, and the MAN's roots",
        ),
    }
}

fn set(name: &str, trust: &Trust, now: UnixMillis) -> Vec<Finding> {
    let roots = trust.roots.iter().map(|c| root(&format!("{name}_roots"), c, now));
    let crls =
        trust.crls.iter().enumerate().map(|(i, c)| crl(&format!("{name}_crl, list {}", i + 1), c, now));
    roots.chain(crls).collect()
}

fn root(name: &str, der: &[u8], now: UnixMillis) -> Finding {
    const REMEDY: &str = "get the new root certificate from its CA and add it to the file";
    match cert::parse_cert(der) {
        Ok(c) => {
            let name =
                format!("{name}, {}", c.subject.common_name.as_deref().unwrap_or("a root without a name"));
            if now < c.not_before {
                return Finding::fail(
                    CHECK,
                    format!("{name}: not valid before {}", c.not_before.rfc3339()),
                    "check the clock",
                );
            }
            dated(&name, c.not_after, now, ROOT_WARN, REMEDY)
        }
        Err(e) => Finding::fail(CHECK, format!("{name}: {e}"), REMEDY),
    }
}

fn crl(name: &str, der: &[u8], now: UnixMillis) -> Finding {
    const REMEDY: &str = "fetch the CA's newest revocation list: after its end every handshake is refused";
    match Crl::from_der(der) {
        Ok(list) => dated(name, list.next_update(), now, CRL_WARN, REMEDY),
        Err(e) => Finding::fail(CHECK, format!("{name}: {e}"), REMEDY),
    }
}

fn dated(name: &str, until: UnixMillis, now: UnixMillis, warn: Duration, remedy: &'static str) -> Finding {
    let left = until.since(now);
    let status = if until < now {
        Status::Fail
    } else if left < warn {
        Status::Warn
    } else {
        Status::Ok
    };
    let left = match status {
        Status::Fail => "over".to_owned(),
        _ if left >= 2 * DAY => format!("{} days left", left.as_secs() / DAY.as_secs()),
        _ => format!("{} h left", left.as_secs() / 3600),
    };
    let what = format!("{name}: until {}, {left}", until.rfc3339());
    Finding { status, check: CHECK, what, remedy: (status != Status::Ok).then_some(remedy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_judged_against_their_own_margin() {
        let now = UnixMillis(1_800_000_000_000);
        let at = |d: Duration, warn| dated("x", now.plus(d), now, warn, "renew").status;
        assert_eq!(at(31 * DAY, NODE_CA_WARN), Status::Ok);
        assert_eq!(at(29 * DAY, NODE_CA_WARN), Status::Warn);
        assert_eq!(at(13 * DAY / 24, CRL_WARN), Status::Ok);
        assert_eq!(at(11 * DAY / 24, CRL_WARN), Status::Warn);
        assert_eq!(dated("x", UnixMillis(now.0 - 1), now, CRL_WARN, "renew").status, Status::Fail);
    }
}
