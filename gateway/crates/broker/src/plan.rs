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
        Self { asked, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;

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
}
