//! Institutions, nodes, standing, TLS keys: who is there and may act.

use super::{Place, Stop, Work, ensure};
use crate::fate::RefusalReason as Why;
use crate::keys;
use crate::table::Author;
use crate::view::{BindingRec, InstitutionRec, MAX_BINDINGS, MAX_LISTED, NodeRec};
use gw_proto::record::{Institution, Node, StandingChange, TlsBinding};
use gw_proto::{NodeId, Role};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A TLS key is bound for at most this long, and at most this long ahead, ms.
const DAY_MS: u64 = 86_400_000;
const MAX_NAME: usize = 120;
const MAX_REASON: usize = 200;

pub(super) fn institution(work: &mut Work<'_>, r: &Institution) -> Result<(), Stop> {
    ensure(is_text(&r.name, MAX_NAME), Why::TextInvalid)?;
    if work.view().institution(&r.id)?.is_none() {
        ensure(work.view().institutions()?.len() < MAX_LISTED, Why::TooMany)?;
    }
    let rec = InstitutionRec { record: r.clone(), height: work.height, reason: None };
    Ok(work.put(keys::institution(&r.id), &rec)?)
}

pub(super) fn node(work: &mut Work<'_>, r: &Node) -> Result<(), Stop> {
    let repeated = r.roles.iter().enumerate().any(|(i, role)| r.roles.iter().skip(i + 1).any(|x| x == role));
    ensure(!r.roles.is_empty() && !repeated, Why::RolesInvalid)?;
    ensure(r.roles.len() == 1 || !r.roles.contains(&Role::Supervisor), Why::SupervisorNotAlone)?;
    ensure(is_endpoint(&r.endpoint), Why::EndpointInvalid)?;
    ensure(work.view().institution(&r.institution)?.is_some(), Why::UnknownInstitution)?;
    // one key, one node: a signature must never count for two
    let owner = work.view().node_by_key(&r.key.id())?;
    ensure(owner.is_none_or(|n| n.record.id == r.id), Why::KeyInUse)?;
    match work.view().node(&r.id)? {
        None => ensure(work.view().nodes()?.len() < MAX_LISTED, Why::TooMany)?,
        Some(old) if old.record.key != r.key || old.record.institution != r.institution => {
            // what the old key has signed for TLS must not outlive it
            work.remove(keys::node_key(&old.record.key.id()));
            drop_bindings(work, &r.id)?;
        }
        Some(_) => {}
    }
    work.put(keys::node_key(&r.key.id()), &r.id)?;
    Ok(work.put(keys::node(&r.id), &NodeRec { record: r.clone(), height: work.height })?)
}

/// A supervisor blocks a member or admits it again. Governance's later record about the institution prevails.
pub(super) fn standing(work: &mut Work<'_>, r: &StandingChange) -> Result<(), Stop> {
    ensure(is_text(&r.reason, MAX_REASON), Why::TextInvalid)?;
    let mut rec = work.view().institution(&r.institution)?.ok_or(Why::UnknownInstitution)?;
    // one supervisor cannot silence another
    let nodes = work.view().nodes()?;
    let supervises = nodes.iter().any(|n| n.record.institution == r.institution && n.has(Role::Supervisor));
    ensure(!supervises, Why::StandingOfSupervisor)?;
    rec.record.standing = r.standing;
    rec.reason = Some(r.reason.clone());
    rec.height = work.height;
    Ok(work.put(keys::institution(&r.institution), &rec)?)
}

pub(super) fn tls_binding(
    work: &mut Work<'_>,
    author: &Author,
    place: Place,
    r: &TlsBinding,
) -> Result<(), Stop> {
    let node = author.node_id().ok_or(Why::WriterNotAllowed)?.clone();
    let length = r.not_after.0.saturating_sub(r.not_before.0);
    ensure((1..=DAY_MS).contains(&length), Why::BindingInvalid)?;
    let farthest = work.time.0.saturating_add(DAY_MS);
    ensure(r.not_after > work.time && r.not_before.0 <= farthest, Why::BindingInvalid)?;
    make_room(work, &node, r)?;
    let rec = BindingRec {
        node: node.clone(),
        record: r.clone(),
        height: work.height,
        tx_index: place.tx_index,
        record_index: place.record_index,
    };
    work.put(keys::claim(&r.spki, &node), &node)?;
    Ok(work.put(keys::binding(&node, &r.spki), &rec)?)
}

/// Keys that are over go; of those in force, the oldest in chain order gives way to the ninth.
fn make_room(work: &mut Work<'_>, node: &NodeId, r: &TlsBinding) -> Result<(), Stop> {
    let mut others = work.view().bindings_of(node)?;
    others.retain(|b| b.record.spki != r.spki);
    others.sort_by_key(|b| (b.height, b.tx_index, b.record_index));
    let over: Vec<_> = others.extract_if(.., |b| b.record.not_after <= work.time).collect();
    let too_many = (others.len() + 1).saturating_sub(MAX_BINDINGS);
    for gone in over.iter().chain(others.iter().take(too_many)) {
        drop_binding(work, gone);
    }
    Ok(())
}

fn drop_bindings(work: &mut Work<'_>, node: &NodeId) -> Result<(), Stop> {
    for binding in work.view().bindings_of(node)? {
        drop_binding(work, &binding);
    }
    Ok(())
}

fn drop_binding(work: &mut Work<'_>, b: &BindingRec) {
    work.remove(keys::claim(&b.record.spki, &b.node));
    work.remove(keys::binding(&b.node, &b.record.spki));
}

fn is_text(s: &str, max: usize) -> bool {
    !s.trim().is_empty() && s.len() <= max && !s.chars().any(char::is_control)
}

/// host:port with a DNS name, an IPv4 address or an IPv6 address in brackets; port 1 to 65535 without sign or
/// leading zero, so that one endpoint has one text.
fn is_endpoint(s: &str) -> bool {
    let Some((host, port)) = s.rsplit_once(':') else { return false };
    let port_good = port.parse::<u16>().is_ok_and(|p| p > 0 && p.to_string() == port);
    let host_good = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.len() <= 45 && v6.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || is_dns_name(host),
    };
    port_good && host_good
}

/// RFC 1123 §2.1: letters, digits and inner hyphens; the last label is not all digits.
fn is_dns_name(host: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let last_numeric = host.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    host.len() <= 253 && host.split('.').all(label) && !last_numeric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for good in ["a:1", "bank.example:8443", "127.0.0.1:65535", "[::1]:443", "localhost:8080", "a-1.b2:9"]
        {
            assert!(is_endpoint(good), "{good}");
        }
        let long = format!("{}.com:1", "a".repeat(64));
        for bad in [
            "",
            "a",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:01",
            "a b:1",
            "-a:1",
            "a-:1",
            "a..b:1",
            "a.:1",
            "::1:443",
            "[::1]",
            "[a]:1",
            "http://a:1",
            "256.0.0.1:1",
            "A:1",
            "a@b:1",
            "a/b:1",
            "信:1",
            &long,
        ] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }

    #[test]
    fn texts() {
        assert!(is_text("苏州银行", 12));
        assert!(!is_text("苏州银行", 11));
        for bad in ["", "  ", "a\nb", "a\u{7f}"] {
            assert!(!is_text(bad, 100), "{bad:?}");
        }
    }
}
