//! Reconciliation: what the chain says of a use against what the two sides delivered.
//!
//! Pure. A gap names who lacks what, so that a supervisor can ask for it, and a policy record can block a
//! defaulter. Within [`GRACE`] of the reservation's deadline nothing is called missing yet.

use gw_policy::TraceState;
use gw_proto::{
    InstitutionId, NodeId, ReportId, UnixMillis,
    message::Delivery,
    record::{Side, TraceStatus},
};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// How long after a reservation's deadline a side may still deliver (PROTOCOL: 24 h until the alarm).
pub const GRACE: Duration = Duration::from_secs(24 * 3600);

/// One accepted use as the chain has it.
#[derive(Debug, Clone)]
pub struct UseOnChain {
    /// whose
    pub asker: InstitutionId,
    /// which
    pub report_id: ReportId,
    /// until when sources answered
    pub deadline: UnixMillis,
    /// what both sides traced
    pub traces: Vec<TraceState>,
}

/// Something that one side lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "gap")]
pub enum Gap {
    /// The asker reserved but never told the chain what came of it.
    AskerUntraced,
    /// The asker did not deliver S, E, T.
    AskerUndelivered,
    /// A source answered, by its own trace, but did not deliver.
    SourceUndelivered {
        /// which source
        source: NodeId,
    },
    /// The asker traced an answer that the source did not trace.
    SourceUntraced {
        /// which source
        source: NodeId,
    },
    /// A source traced an answer that the asker denies or does not mention.
    AskerDenies {
        /// which source
        source: NodeId,
    },
    /// Both traced an answer, but of different replies.
    RepliesDiffer {
        /// which source
        source: NodeId,
    },
    /// The two sides opened the same use differently.
    OpeningsDiffer {
        /// the delivering node that differs from the first
        node: NodeId,
    },
}

/// A gap, and whether it is late already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// what
    #[serde(flatten)]
    pub gap: Gap,
    /// past the grace period: an alarm
    pub overdue: bool,
}

fn has_replied(trace: &TraceState) -> bool {
    matches!(trace.record.status, TraceStatus::Answered | TraceStatus::Empty)
}

/// Names every gap of one use.
pub fn gaps(of: &UseOnChain, deliveries: &[Delivery], now: UnixMillis) -> Vec<Finding> {
    let overdue = now > of.deadline.plus(GRACE);
    let mut found = Vec::new();
    let told = |side: Side| -> BTreeMap<&NodeId, &TraceState> {
        of.traces.iter().filter(|t| t.record.side == side).map(|t| (&t.record.source, t)).collect()
    };
    let (asker, sources) = (told(Side::Asker), told(Side::Source));
    if asker.is_empty() {
        found.push(Gap::AskerUntraced);
    }
    if !deliveries.iter().any(|d| d.side == Side::Asker) {
        found.push(Gap::AskerUndelivered);
    }
    for (source, trace) in &sources {
        if !has_replied(trace) {
            continue;
        }
        if !deliveries.iter().any(|d| d.side == Side::Source && &d.node == *source) {
            found.push(Gap::SourceUndelivered { source: (*source).clone() });
        }
        match asker.get(source) {
            Some(a) if a.record.status == trace.record.status => {
                // a reply that was lost on its way was signed anew: what the asker has must be one of the source's
                if !a.reply_leaves.iter().all(|l| trace.reply_leaves.contains(l)) {
                    found.push(Gap::RepliesDiffer { source: (*source).clone() });
                }
            }
            // while the asker has told nothing at all, that gap alone says it
            _ if asker.is_empty() => {}
            _ => found.push(Gap::AskerDenies { source: (*source).clone() }),
        }
    }
    for (source, trace) in &asker {
        if has_replied(trace) && !sources.get(source).is_some_and(|t| has_replied(t)) {
            found.push(Gap::SourceUntraced { source: (*source).clone() });
        }
    }
    if let Some((first, rest)) = deliveries.split_first() {
        for d in rest.iter().filter(|d| d.opening != first.opening || d.statement != first.statement) {
            found.push(Gap::OpeningsDiffer { node: d.node.clone() });
        }
    }
    found.into_iter().map(|gap| Finding { gap, overdue }).collect()
}
