//! Where each kind of entry stands: the layout of keys.
//!
//! key = `p` ‖ layout version ‖ table ‖ parts. Names end with a zero byte (no name holds one), digests have
//! 32 bytes, numbers are big-endian: ascending keys are ascending numbers. Values are canonical JSON.

use gw_proto::record::Side;
use gw_proto::{AuthzId, Digest, EvidenceLevel, Height, InstitutionId, KeyId, NodeId, ReportId, UnixMillis};

/// The first bytes of every key of this crate: a store may hold other entries beside them.
/// The second byte is the layout's version; a box that finds another one rebuilds from the chain.
pub const LAYOUT: [u8; 2] = [b'p', 1];

pub(crate) struct Key(Vec<u8>);

impl Key {
    fn table(table: u8) -> Self {
        Self([LAYOUT.as_slice(), &[table]].concat())
    }
    fn byte(mut self, b: u8) -> Self {
        self.0.push(b);
        self
    }
    fn name(mut self, s: &str) -> Self {
        self.0.extend_from_slice(s.as_bytes());
        self.byte(0)
    }
    fn digest(mut self, d: &Digest) -> Self {
        self.0.extend_from_slice(&d.0);
        self
    }
    fn long(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    fn int(mut self, n: u32) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Head: height, hash, time, state digest.
pub(crate) fn head() -> Vec<u8> {
    Key::table(b'h').done()
}
/// Which consortium and genesis this state belongs to.
pub(crate) fn origin() -> Vec<u8> {
    Key::table(b'o').done()
}
/// State digest after a height, for a while.
pub(crate) fn digest_at(height: Height) -> Vec<u8> {
    Key::table(b'g').long(height.0).done()
}
/// The newest digest that a supervisor confirmed.
pub(crate) fn anchor() -> Vec<u8> {
    Key::table(b'G').done()
}
pub(crate) fn institutions() -> Vec<u8> {
    Key::table(b'i').done()
}
pub(crate) fn institution(id: &InstitutionId) -> Vec<u8> {
    Key::table(b'i').name(id.as_str()).done()
}
pub(crate) fn nodes() -> Vec<u8> {
    Key::table(b'n').done()
}
pub(crate) fn node(id: &NodeId) -> Vec<u8> {
    Key::table(b'n').name(id.as_str()).done()
}
/// Key id → node id.
pub(crate) fn node_key(id: &KeyId) -> Vec<u8> {
    Key::table(b'k').digest(&id.0).done()
}
pub(crate) fn bindings_of(node: &NodeId) -> Vec<u8> {
    Key::table(b't').name(node.as_str()).done()
}
pub(crate) fn binding(node: &NodeId, spki: &Digest) -> Vec<u8> {
    Key::table(b't').name(node.as_str()).digest(spki).done()
}
/// SPKI → nodes that claim it. Several may: a node can claim a key that it does not hold, but not take it
/// away from the node that does.
pub(crate) fn claims_of(spki: &Digest) -> Vec<u8> {
    Key::table(b'T').digest(spki).done()
}
pub(crate) fn claim(spki: &Digest, node: &NodeId) -> Vec<u8> {
    Key::table(b'T').digest(spki).name(node.as_str()).done()
}
pub(crate) fn evidence_roots() -> Vec<u8> {
    Key::table(b'r').done()
}
pub(crate) fn evidence_root(id: &Digest) -> Vec<u8> {
    Key::table(b'r').digest(id).done()
}
pub(crate) fn policy() -> Vec<u8> {
    Key::table(b'p').done()
}
/// Version in force.
pub(crate) fn catalogue() -> Vec<u8> {
    Key::table(b'C').done()
}
pub(crate) fn catalogue_version(version: &str) -> Vec<u8> {
    Key::table(b'c').name(version).done()
}
/// All listed reference manifests.
pub(crate) fn references() -> Vec<u8> {
    Key::table(b'm').done()
}
pub(crate) fn reference(digest: &Digest) -> Vec<u8> {
    Key::table(b'm').digest(digest).done()
}
pub(crate) fn all_rules() -> Vec<u8> {
    Key::table(b'u').done()
}
pub(crate) fn rules(from: Height) -> Vec<u8> {
    Key::table(b'u').long(from.0).done()
}
pub(crate) fn authorization(id: &AuthzId) -> Vec<u8> {
    Key::table(b'a').digest(&id.0).done()
}
/// Authorizations of one level that a holder registered on one UTC day.
pub(crate) fn day_count(level: EvidenceLevel, holder: &InstitutionId, day: u64) -> Vec<u8> {
    let level = match level {
        EvidenceLevel::Asserted => 1,
        EvidenceLevel::Sealed => 2,
        EvidenceLevel::Signed => 3,
    };
    Key::table(b'd').byte(level).name(holder.as_str()).long(day).done()
}
pub(crate) fn reservation(asker: &InstitutionId, report: &ReportId) -> Vec<u8> {
    Key::table(b'v').name(asker.as_str()).digest(&report.0).done()
}
/// All reservations, by asker.
pub(crate) fn reservations() -> Vec<u8> {
    Key::table(b'v').done()
}
/// Authorization → its reservations in chain order.
pub(crate) fn uses_of(authz: &AuthzId) -> Vec<u8> {
    Key::table(b'V').digest(&authz.0).done()
}
pub(crate) fn use_at(authz: &AuthzId, height: Height, tx: u32, record: u32) -> Vec<u8> {
    Key::table(b'V').digest(&authz.0).long(height.0).int(tx).int(record).done()
}
pub(crate) fn traces(asker: &InstitutionId, report: &ReportId) -> Vec<u8> {
    Key::table(b'w').name(asker.as_str()).digest(&report.0).done()
}
pub(crate) fn trace(asker: &InstitutionId, report: &ReportId, side: Side, source: &NodeId) -> Vec<u8> {
    let side = match side {
        Side::Asker => b'a',
        Side::Source => b's',
    };
    Key::table(b'w').name(asker.as_str()).digest(&report.0).byte(side).name(source.as_str()).done()
}
/// Gateway → what each supervisor found of it.
pub(crate) fn verdicts_on(node: &NodeId) -> Vec<u8> {
    Key::table(b'y').name(node.as_str()).done()
}
pub(crate) fn verdict(node: &NodeId, by: &NodeId) -> Vec<u8> {
    Key::table(b'y').name(node.as_str()).name(by.as_str()).done()
}
/// Record ids that were seen, by the height at which their batch expires.
pub(crate) fn seen_until(expires: Height) -> Vec<u8> {
    Key::table(b's').long(expires.0).done()
}
pub(crate) fn seen(expires: Height, id: &Digest) -> Vec<u8> {
    Key::table(b's').long(expires.0).digest(id).done()
}
/// What is forgotten when, oldest first.
pub(crate) fn expiries() -> Vec<u8> {
    Key::table(b'e').done()
}
pub(crate) fn expiry(at: UnixMillis, target: &[u8]) -> Vec<u8> {
    let mut key = Key::table(b'e').long(at.0).done();
    key.extend_from_slice(target);
    key
}
/// The parts of an expiry key.
pub(crate) fn parse_expiry(key: &[u8]) -> Option<(UnixMillis, &[u8])> {
    let rest = key.strip_prefix(expiries().as_slice())?;
    let (at, target) = rest.split_first_chunk::<8>()?;
    Some((UnixMillis(u64::from_be_bytes(*at)), target))
}
/// The id in the key of an authorization.
pub(crate) fn parse_authorization(key: &[u8]) -> Option<AuthzId> {
    let rest = key.strip_prefix(Key::table(b'a').done().as_slice())?;
    Some(AuthzId(gw_proto::Hex(rest.try_into().ok()?)))
}
