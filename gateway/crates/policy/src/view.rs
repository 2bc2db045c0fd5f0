//! Typed reads of a state.

use crate::fate::Fate;
use crate::keys;
use crate::state::{Overlay, StateError, StateRead};
use gw_proto::record::{
    Authorization, CatalogueVersion, DeviceVerdict, EvidenceRoot, Institution, Node, Policy,
    ReferenceManifest, Reservation, Rules, TlsBinding, Trace,
};
use gw_proto::{
    AuthzId, ConsortiumId, Digest, EvidenceLevel, Height, InstitutionId, KeyId, NodeId, Region, ReportId,
    Role, Standing, UnixMillis,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The most nodes, institutions or reservations that one read gives.
pub const MAX_LISTED: usize = 4096;
/// The most evidence roots on the ledger.
pub const MAX_ROOTS: usize = 64;
/// The most reference manifests on the ledger, withdrawn ones included.
pub const MAX_REFERENCES: usize = 1024;
/// The most TLS bindings of one node; the oldest gives way.
pub const MAX_BINDINGS: usize = 8;

/// Where the state stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// after this block
    pub height: Height,
    /// its hash
    pub hash: Digest,
    /// the highest block time so far
    pub time: UnixMillis,
    /// rolling digest of the state
    pub state_digest: Digest,
}

/// Whose state this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// the consortium
    pub consortium: ConsortiumId,
    /// digest of its genesis document
    pub genesis: Digest,
    /// rules in force from height 1
    pub rules: u32,
}

/// A listed member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstitutionRec {
    /// as listed; its standing is the current one
    pub record: Institution,
    /// height of the newest record about it
    pub height: Height,
    /// a supervisor's reason, where a supervisor changed its standing last
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A listed gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRec {
    /// as listed
    pub record: Node,
    /// height of the newest record about it
    pub height: Height,
}

impl NodeRec {
    /// Has the role.
    pub fn has(&self, role: Role) -> bool {
        self.record.roles.contains(&role)
    }
}

/// A TLS key that a node bound to itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingRec {
    /// which node
    pub node: NodeId,
    /// the record
    pub record: TlsBinding,
    /// where it stands
    pub height: Height,
    /// transaction in the block
    pub tx_index: u32,
    /// record in the batch
    pub record_index: u32,
}

/// What the chain knows of an authorization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthzState {
    /// its public part
    pub record: Authorization,
    /// the node that registered it
    pub node: NodeId,
    /// in which block
    pub accepted_at: Height,
    /// transaction in the block
    pub tx_index: u32,
    /// record in the batch
    pub record_index: u32,
    /// the chain's time at that block
    pub block_time: UnixMillis,
    /// uses reserved and not given back
    pub spent: u32,
    /// since when it is revoked
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Height>,
}

/// What the chain knows of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationState {
    /// the record
    pub record: Reservation,
    /// institution of the writer
    pub asker: InstitutionId,
    /// the writer
    pub node: NodeId,
    /// in which block
    pub height: Height,
    /// transaction in the block
    pub tx_index: u32,
    /// record in the batch
    pub record_index: u32,
    /// the chain's time at that block
    pub block_time: UnixMillis,
    /// accepted or refused, for good
    pub fate: Fate,
    /// since when its use is given back
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Height>,
}

impl ReservationState {
    /// It was accepted. It may have been refunded since.
    pub fn accepted(&self) -> bool {
        self.fate == Fate::Accepted
    }
}

/// What one side told of one source's part in a use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceState {
    /// the newest record
    pub record: Trace,
    /// its writer
    pub node: NodeId,
    /// in which block
    pub height: Height,
    /// transaction in the block
    pub tx_index: u32,
    /// record in the batch
    pub record_index: u32,
    /// the chain's time at that block
    pub block_time: UnixMillis,
    /// the leaves of all replies told so far, oldest first: a retry is signed anew
    pub reply_leaves: Vec<Digest>,
}

/// What one supervisor found of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictState {
    /// its newest record about the gateway
    pub record: DeviceVerdict,
    /// the supervisor
    pub by: NodeId,
    /// its node key then
    pub by_key: KeyId,
    /// in which block
    pub height: Height,
    /// it lasts until then, exclusive
    pub until: UnixMillis,
}

/// A digest that a supervisor confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// after which block
    pub height: Height,
    /// the digest
    pub digest: Digest,
    /// who
    pub by: NodeId,
}

pub(crate) fn load<T: DeserializeOwned>(
    state: &dyn StateRead,
    table: &'static str,
    key: &[u8],
) -> Result<Option<T>, StateError> {
    state.read(key)?.map(|bytes| decode(table, &bytes)).transpose()
}

pub(crate) fn load_all<T: DeserializeOwned>(
    state: &dyn StateRead,
    table: &'static str,
    prefix: &[u8],
    limit: usize,
) -> Result<Vec<T>, StateError> {
    state.scan(prefix, limit)?.iter().map(|(_, bytes)| decode(table, bytes)).collect()
}

fn decode<T: DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<T, StateError> {
    serde_json::from_slice(bytes).map_err(|e| StateError::Corrupt { table, why: e.to_string() })
}

/// Typed reads over a state.
#[derive(Clone, Copy)]
pub struct View<'a> {
    state: &'a dyn StateRead,
}

impl<'a> View<'a> {
    /// Over a state.
    pub fn new(state: &'a dyn StateRead) -> Self {
        Self { state }
    }
    pub(crate) fn over(overlay: &'a Overlay<'_>) -> Self {
        Self { state: overlay }
    }
    /// Where the state stands; none before block 1.
    pub fn head(&self) -> Result<Option<Head>, StateError> {
        load(self.state, "head", &keys::head())
    }
    /// Whose state this is; none before block 1.
    pub fn origin(&self) -> Result<Option<Origin>, StateError> {
        load(self.state, "origin", &keys::origin())
    }
    /// The state digest after an earlier block, for as long as it is kept.
    pub fn digest_at(&self, height: Height) -> Result<Option<Digest>, StateError> {
        load(self.state, "state digest", &keys::digest_at(height))
    }
    /// The newest state digest that a supervisor confirmed.
    pub fn anchor(&self) -> Result<Option<Anchor>, StateError> {
        load(self.state, "anchor", &keys::anchor())
    }
    /// A member, blocked or not.
    pub fn institution(&self, id: &InstitutionId) -> Result<Option<InstitutionRec>, StateError> {
        load(self.state, "institution", &keys::institution(id))
    }
    /// All members, by id.
    pub fn institutions(&self) -> Result<Vec<InstitutionRec>, StateError> {
        load_all(self.state, "institution", &keys::institutions(), MAX_LISTED)
    }
    /// A gateway, blocked or not.
    pub fn node(&self, id: &NodeId) -> Result<Option<NodeRec>, StateError> {
        load(self.state, "node", &keys::node(id))
    }
    /// All gateways, by id, blocked or not.
    pub fn nodes(&self) -> Result<Vec<NodeRec>, StateError> {
        load_all(self.state, "node", &keys::nodes(), MAX_LISTED)
    }
    /// The gateway that has a node key now.
    pub fn node_by_key(&self, key: &KeyId) -> Result<Option<NodeRec>, StateError> {
        match load::<NodeId>(self.state, "node key", &keys::node_key(key))? {
            Some(id) => self.node(&id),
            None => Ok(None),
        }
    }
    /// The gateway and its institution are both active.
    pub fn is_active(&self, node: &NodeRec) -> Result<bool, StateError> {
        let institution = self.institution(&node.record.institution)?;
        Ok(node.record.standing == Standing::Active
            && institution.is_some_and(|i| i.record.standing == Standing::Active))
    }
    /// A gateway that may act: listed, active, of an active institution.
    pub fn active_node(&self, id: &NodeId) -> Result<Option<NodeRec>, StateError> {
        match self.node(id)? {
            Some(node) if self.is_active(&node)? => Ok(Some(node)),
            _ => Ok(None),
        }
    }
    /// The active gateway that bound a TLS key, if exactly one did. A node can claim a key that it does not
    /// hold: where the certificate names its node, [`View::node_with_tls`] is right, and not disturbed by it.
    pub fn node_by_tls(
        &self,
        spki: &Digest,
        now: UnixMillis,
    ) -> Result<Option<(NodeRec, TlsBinding)>, StateError> {
        let mut found = None;
        for id in load_all::<NodeId>(self.state, "TLS claim", &keys::claims_of(spki), MAX_LISTED)? {
            if let Some(hit) = self.node_with_tls(&id, spki, now)?
                && found.replace(hit).is_some()
            {
                return Ok(None);
            }
        }
        Ok(found)
    }
    /// The named gateway, if it is active and has bound this TLS key, and the binding is in force.
    pub fn node_with_tls(
        &self,
        node: &NodeId,
        spki: &Digest,
        now: UnixMillis,
    ) -> Result<Option<(NodeRec, TlsBinding)>, StateError> {
        let binding: Option<BindingRec> = load(self.state, "TLS binding", &keys::binding(node, spki))?;
        let Some(binding) = binding.filter(|b| b.record.not_before <= now && now < b.record.not_after) else {
            return Ok(None);
        };
        Ok(self.active_node(node)?.map(|n| (n, binding.record)))
    }
    /// The TLS keys that a node bound, also those that are over.
    pub fn bindings_of(&self, node: &NodeId) -> Result<Vec<BindingRec>, StateError> {
        load_all(self.state, "TLS binding", &keys::bindings_of(node), MAX_BINDINGS + 1)
    }
    /// What one supervisor found of a gateway last, whether it still counts or not.
    pub fn verdict(&self, node: &NodeId, by: &NodeId) -> Result<Option<VerdictState>, StateError> {
        load(self.state, "verdict", &keys::verdict(node, by))
    }
    /// What each supervisor found of a gateway last. What they come to: [`crate::trust_in`].
    pub fn verdicts_on(&self, node: &NodeId) -> Result<Vec<VerdictState>, StateError> {
        load_all(self.state, "verdict", &keys::verdicts_on(node), MAX_LISTED)
    }
    /// All reference manifests that governance listed, withdrawn ones included, by digest.
    pub fn references(&self) -> Result<Vec<ReferenceManifest>, StateError> {
        load_all(self.state, "reference manifest", &keys::references(), MAX_REFERENCES)
    }
    /// Active sources that hold data of one of these regions, by id.
    pub fn sources_in(&self, regions: &[Region]) -> Result<Vec<NodeRec>, StateError> {
        let mut out = Vec::new();
        for node in self.nodes()? {
            if node.has(Role::Source) && regions.contains(&node.record.region) && self.is_active(&node)? {
                out.push(node);
            }
        }
        Ok(out)
    }
    /// Active evidence roots of a level.
    pub fn evidence_roots(&self, level: EvidenceLevel) -> Result<Vec<EvidenceRoot>, StateError> {
        let mut all = self.all_evidence_roots()?;
        all.retain(|r| r.level == level && r.standing == Standing::Active);
        Ok(all)
    }
    /// All evidence roots, blocked or not.
    pub fn all_evidence_roots(&self) -> Result<Vec<EvidenceRoot>, StateError> {
        load_all(self.state, "evidence root", &keys::evidence_roots(), MAX_ROOTS)
    }
    /// The policy in force.
    pub fn policy(&self) -> Result<Option<Policy>, StateError> {
        load(self.state, "policy", &keys::policy())
    }
    /// The catalogue in force.
    pub fn catalogue(&self) -> Result<Option<CatalogueVersion>, StateError> {
        load(self.state, "catalogue", &keys::catalogue())
    }
    /// A catalogue by its version, in force or earlier.
    pub fn catalogue_version(&self, version: &str) -> Result<Option<CatalogueVersion>, StateError> {
        load(self.state, "catalogue", &keys::catalogue_version(version))
    }
    /// Rules that governance has set, by height; those of the genesis document are in [`View::origin`].
    pub fn rules(&self) -> Result<Vec<Rules>, StateError> {
        load_all(self.state, "rules", &keys::all_rules(), MAX_LISTED)
    }
    /// The rules version in force at a height: what governance set last for it, else the genesis document's.
    pub fn rules_at(&self, height: Height) -> Result<Option<u32>, StateError> {
        let set = self.rules()?;
        match set.iter().rev().find(|r| r.from_height <= height) {
            Some(rules) => Ok(Some(rules.version)),
            None => Ok(self.origin()?.map(|o| o.rules)),
        }
    }
    /// An authorization, revoked and used up ones included.
    pub fn authorization(&self, id: &AuthzId) -> Result<Option<AuthzState>, StateError> {
        load(self.state, "authorization", &keys::authorization(id))
    }
    /// A reservation, refused ones included.
    pub fn reservation(
        &self,
        asker: &InstitutionId,
        report: &ReportId,
    ) -> Result<Option<ReservationState>, StateError> {
        load(self.state, "reservation", &keys::reservation(asker, report))
    }
    /// Every reservation that is remembered, by asker, refused ones included; at most `limit`.
    pub fn reservations(&self, limit: usize) -> Result<Vec<ReservationState>, StateError> {
        load_all(self.state, "reservation", &keys::reservations(), limit)
    }
    /// The reservations under an authorization, in chain order, refused ones included; the first 4,096.
    pub fn reservations_of(&self, authz: &AuthzId) -> Result<Vec<ReservationState>, StateError> {
        let Some(holder) = self.authorization(authz)?.map(|a| a.record.holder) else {
            return Ok(Vec::new());
        };
        let mut out = Vec::new();
        for report in load_all::<ReportId>(self.state, "use", &keys::uses_of(authz), MAX_LISTED)? {
            out.extend(self.reservation(&holder, &report)?);
        }
        Ok(out)
    }
    /// What both sides told of a use.
    pub fn traces(&self, asker: &InstitutionId, report: &ReportId) -> Result<Vec<TraceState>, StateError> {
        load_all(self.state, "trace", &keys::traces(asker, report), MAX_LISTED)
    }
}
