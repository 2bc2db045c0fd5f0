//! Many replies become one list of items: pure, deterministic, the same for broker and verifier.
//!
//! Items that agree in id, key, value and date stand once, with all their sources. Sources that disagree
//! on a value stand side by side, marked: the gateway never chooses between bureaus. One source's
//! objection mark (异议) marks the item.

use gw_proto::{
    Dimension, NodeId,
    message::Reply,
    report::{Item, Part, PartState, ReportItem, Value},
};
use std::collections::{BTreeMap, BTreeSet};

/// The order of a report: dimension, id, key, date, value.
type Place<'a> = (Dimension, &'a str, Option<&'a str>, &'a str, ValueKey<'a>);
/// A total order over values; only equality matters to anybody but the sort.
type ValueKey<'a> = (u8, &'a str, i64);
/// What may conflict: the same fact of the same period.
type Fact<'a> = (Dimension, &'a str, Option<&'a str>);

#[derive(Default)]
struct Group {
    sources: BTreeSet<NodeId>,
    disputed: bool,
}

/// The items of a report made of these replies. The order of the replies does not matter.
pub fn merge_items<'a>(replies: impl IntoIterator<Item = &'a Reply>) -> Vec<ReportItem> {
    let mut groups: BTreeMap<Place<'a>, (&'a Item, Group)> = BTreeMap::new();
    let mut values: BTreeMap<Fact<'a>, BTreeMap<ValueKey<'a>, BTreeSet<&'a NodeId>>> = BTreeMap::new();
    for reply in replies {
        for item in &reply.items {
            let (place, fact) = places(item);
            let (_, group) = groups.entry(place).or_insert_with(|| (item, Group::default()));
            group.sources.insert(reply.source.clone());
            group.disputed |= item.disputed;
            values.entry(fact).or_default().entry(place.4).or_default().insert(&reply.source);
        }
    }
    groups
        .into_values()
        .map(|(item, group)| ReportItem {
            conflicting: values.get(&places(item).1).is_some_and(disagree),
            item: Item { disputed: group.disputed, ..item.clone() },
            sources: group.sources.into_iter().collect(),
        })
        .collect()
}

/// Every source answered or said that it holds nothing. Nobody asked is not complete.
pub fn is_complete(parts: &[Part]) -> bool {
    !parts.is_empty() && parts.iter().all(|p| matches!(p.outcome, PartState::Answered | PartState::Empty))
}

fn places(item: &Item) -> (Place<'_>, Fact<'_>) {
    let (id, key) = (item.id.as_str(), item.key.as_deref());
    ((item.dimension, id, key, item.as_of.as_str(), value_key(&item.value)), (item.dimension, id, key))
}

/// Two sources gave different values: not one source giving two (which [`crate::check_items`] refuses).
fn disagree(by_value: &BTreeMap<ValueKey<'_>, BTreeSet<&NodeId>>) -> bool {
    let all: BTreeSet<_> = by_value.values().flatten().collect();
    by_value.len() > 1 && all.len() > 1
}

fn value_key(value: &Value) -> ValueKey<'_> {
    match value {
        Value::Text(t) => (0, t, 0),
        Value::Integer(n) => (1, "", *n),
        Value::Money(n) => (2, "", *n),
        Value::Rate(n) => (3, "", *n),
        Value::Date(d) => (4, d, 0),
        Value::Code(c) => (5, c, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::{Height, Hex, ReportId, UnixMillis, message::ReplyStatus};
    use proptest::prelude::*;

    fn reply(source: &str, items: Vec<Item>) -> Reply {
        Reply {
            v: 1,
            report_id: ReportId(Hex([1; 32])),
            request_leaf: Hex([2; 32]),
            source: source.parse().unwrap(),
            asker: "bank-suzhou".parse().unwrap(),
            height: Height(7),
            hash: Hex([3; 32]),
            channel: Hex([4; 32]),
            status: ReplyStatus::Answered,
            catalogue: "2026.1".into(),
            as_of: UnixMillis(1),
            items,
        }
    }
    fn money(id: &str, fen: i64) -> Item {
        Item {
            id: id.into(),
            dimension: Dimension::Tax,
            value: Value::Money(fen),
            as_of: "2026-01-31".into(),
            key: None,
            disputed: false,
        }
    }

    #[test]
    fn equal_values_share_a_line_and_different_ones_conflict() {
        let a = reply("bureau-a", vec![money("tax.paid", 5), money("tax.owed", 1)]);
        let b =
            reply("bureau-b", vec![Item { disputed: true, ..money("tax.paid", 5) }, money("tax.owed", 2)]);
        let merged = merge_items([&b, &a]);
        assert_eq!(merged.len(), 3);
        let names = |i: usize| merged[i].sources.iter().map(NodeId::as_str).collect::<Vec<_>>();
        assert_eq!(merged[0].item.id, "tax.owed");
        assert!(merged[0].conflicting && merged[1].conflicting);
        assert_eq!((names(0), names(1)), (vec!["bureau-a"], vec!["bureau-b"]));
        assert_eq!(names(2), vec!["bureau-a", "bureau-b"]);
        assert!(merged[2].item.disputed && !merged[2].conflicting);
    }

    #[test]
    fn same_value_of_another_date_is_listed_but_no_conflict() {
        let a = reply("bureau-a", vec![money("tax.paid", 5)]);
        let b = reply("bureau-b", vec![Item { as_of: "2026-02-28".into(), ..money("tax.paid", 5) }]);
        let merged = merge_items([&a, &b]);
        assert_eq!(merged.len(), 2);
        assert!(merged.iter().all(|m| !m.conflicting));
    }

    #[test]
    fn another_key_or_another_kind_of_number() {
        let a = reply("bureau-a", vec![Item { key: Some("2024".into()), ..money("tax.paid", 5) }]);
        let b = reply("bureau-b", vec![Item { key: Some("2025".into()), ..money("tax.paid", 6) }]);
        assert!(merge_items([&a, &b]).iter().all(|m| !m.conflicting));
        let b = reply("bureau-b", vec![Item { value: Value::Integer(5), ..money("tax.paid", 0) }]);
        let a = reply("bureau-a", vec![money("tax.paid", 5)]);
        assert!(merge_items([&a, &b]).iter().all(|m| m.conflicting));
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_nothing_is_lost_or_invented(
            facts in proptest::collection::vec((0usize..4, 0usize..3, 0i64..3, any::<bool>()), 0..24),
        ) {
            let names = ["bureau-a", "bureau-b", "bureau-c", "bureau-d"];
            let ids = ["tax.a", "tax.b", "tax.c"];
            let mut replies: Vec<Reply> = names.iter().map(|n| reply(n, vec![])).collect();
            for (who, id, fen, disputed) in facts {
                let items = &mut replies[who].items;
                if items.iter().all(|i| i.id != ids[id]) {
                    items.push(Item { disputed, ..money(ids[id], fen) });
                }
            }
            let forward = merge_items(&replies);
            let backward = merge_items(replies.iter().rev());
            prop_assert_eq!(&forward, &backward);
            let given: usize = replies.iter().map(|r| r.items.len()).sum();
            prop_assert_eq!(forward.iter().map(|m| m.sources.len()).sum::<usize>(), given);
            for m in &forward {
                for s in &m.sources {
                    let r = replies.iter().find(|r| &r.source == s).unwrap();
                    prop_assert!(r.items.iter().any(|i| i.id == m.item.id && i.value == m.item.value));
                }
                let others = forward.iter().filter(|o| o.item.id == m.item.id).count();
                prop_assert_eq!(m.conflicting, others > 1);
            }
        }
    }
}
