//! Which nodes are asked: every active source of the statement's regions, each once, at most 64.
//!
//! Without an index of subjects (a later issue) every source of the regions is asked. A source beyond
//! the bound is not forgotten: it stands in the report as `not-asked`.

use crate::merge::BrokerError;
use gw_policy::View;
use gw_proto::{NodeId, Region, record::Node};
use std::collections::BTreeMap;

/// The most sources one report asks.
pub const MAX_SOURCES: usize = 64;

/// The sources of one exchange.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// to be asked; in the order of their ids
    pub asked: Vec<Node>,
    /// beyond the bound: named in the report, not asked
    pub left_out: Vec<Node>,
    /// whose verdict on the ledger forbids it: named in the report, not asked
    pub not_trusted: Vec<Node>,
}

impl Plan {
    /// Plans over the verified state: all active sources of active institutions in `regions`.
    pub fn of(view: &View<'_>, regions: &[Region]) -> Result<Self, BrokerError> {
        Ok(Self::over(view.sources_in(regions)?.into_iter().map(|n| n.record)))
    }

    /// Plans over nodes that are known to be active sources of the regions. One node counts once.
    pub fn over(nodes: impl IntoIterator<Item = Node>) -> Self {
        let by_id: BTreeMap<NodeId, Node> = nodes.into_iter().map(|n| (n.id.clone(), n)).collect();
        let mut asked: Vec<Node> = by_id.into_values().collect();
        let left_out = asked.split_off(asked.len().min(MAX_SOURCES));
        Self { asked, left_out, not_trusted: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{key_of, node};
    use gw_policy::{Fate, MapState, apply_block};
    use gw_proto::{
        Height, Hex, Role, Standing, UnixMillis,
        genesis::{Engine, Genesis, Governance},
        record::{Batch, Institution, KeySignature, Record, SignedBatch, Writer},
    };

    #[test]
    fn each_node_once_in_order_and_bounded() {
        let p = Plan::over([5, 1, 5, 3, 1].map(node));
        assert_eq!(p.asked, [1, 3, 5].map(node));
        assert!(p.left_out.is_empty());
        let p = Plan::over((0..70).map(node));
        assert_eq!((p.asked.len(), p.left_out.len()), (MAX_SOURCES, 6));
        assert_eq!(p.left_out[0], node(64));
        assert_eq!(Plan::over([]), Plan::default());
    }

    /// A state that one governance batch made.
    fn state_of(records: Vec<Record>) -> MapState {
        let governor = key_of(&"governor".parse().unwrap());
        let genesis = Genesis {
            v: 1,
            consortium: "delta".parse().unwrap(),
            engine: Engine::Development,
            chain: "chain0".into(),
            group: "group0".into(),
            contract: format!("0x{}", "0".repeat(40)),
            block0: Hex([0; 32]),
            sealers: vec![],
            governance: Governance { threshold: 1, keys: vec![*governor.public_key()] },
            rules: 1,
        };
        let batch = Batch {
            v: 1,
            chain: "chain0".into(),
            genesis: genesis.digest().unwrap(),
            writer: Writer::Governance,
            expires_height: Height(10),
            nonce: Hex([1; 16]),
            records,
        };
        let signature = governor.sign(&batch.signing_input().unwrap()).unwrap();
        let signatures = vec![KeySignature { key_id: governor.public_key().id(), signature }];
        let (height, hash, time) = (Height(1), Hex([2; 32]), UnixMillis(1));
        let batches = vec![(0, SignedBatch { batch, signatures })];
        let mut state = MapState::default();
        let block = gw_policy::BlockInput { height, hash, time, batches };
        let outcome = apply_block(&genesis, &state, &block).unwrap();
        assert!(outcome.fates.iter().all(|f| f.fate == Fate::Accepted), "{:?}", outcome.fates);
        state.commit(&outcome.changes);
        state
    }

    #[test]
    fn active_sources_of_the_regions_as_the_ledger_lists_them() {
        let regions = |codes: &[&str]| codes.iter().map(|c| Region::parse(c).unwrap()).collect::<Vec<_>>();
        let institution = |i: usize, standing| {
            let id = format!("bureau-{i}").parse().unwrap();
            let region = Region::parse("330100").unwrap();
            Record::Institution(Institution { id, name: "bureau".into(), region, standing })
        };
        let hefei = Node { region: Region::parse("340100").unwrap(), ..node(2) };
        let blocked = Node { standing: Standing::Blocked, ..node(3) };
        let no_source = Node { roles: vec![Role::Institution], ..node(4) };
        let nodes = [node(0), node(1), hefei.clone(), blocked, no_source, node(6)];
        let mut records: Vec<_> = (0..3).map(|i| institution(i, Standing::Active)).collect();
        records.push(institution(3, Standing::Blocked));
        records.extend(nodes.map(Record::Node));
        let state = state_of(records);
        let plan = |codes: &[&str]| Plan::of(&View::new(&state), &regions(codes)).unwrap().asked;
        assert_eq!(plan(&["330100"]), [node(0), node(1)]);
        assert_eq!(plan(&["330100", "340100"]), [node(0), node(1), hefei]);
        assert_eq!(plan(&["320500"]), []);
    }
}
