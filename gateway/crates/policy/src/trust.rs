//! What all supervisors' verdicts on a gateway come to.
//!
//! A bad verdict counts at once, and until some supervisor found the gateway good *later*: one verifier that
//! is down stops nobody, and an older good word does not outlive a newer bad one. Silence towards one
//! supervisor takes back that supervisor's word, and is nothing against another's good one.

use crate::state::StateError;
use crate::view::{NodeRec, VerdictState, View};
use gw_proto::record::VerdictResult;
use gw_proto::{NodeId, Role, UnixMillis};
use serde::{Deserialize, Serialize};

/// How far a gateway can be trusted, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "trust")]
pub enum Trust {
    /// a supervisor's good verdict stands
    Good {
        /// which supervisor's
        by: NodeId,
        /// when it was judged
        judged: UnixMillis,
        /// until when it lasts
        until: UnixMillis,
    },
    /// a supervisor found something, and none has found it good since
    Bad {
        /// which supervisor
        by: NodeId,
        /// when
        judged: UnixMillis,
    },
    /// no evidence came to a supervisor, and no other has a good verdict
    Silent {
        /// which supervisor
        by: NodeId,
        /// since when
        judged: UnixMillis,
    },
    /// every verdict is older than 24 hours
    Lapsed {
        /// when the newest ended
        since: UnixMillis,
    },
    /// no supervisor has judged it, with its key of now
    Unjudged,
}

impl Trust {
    /// One word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Good { .. } => "good",
            Self::Bad { .. } => "bad",
            Self::Silent { .. } => "silent",
            Self::Lapsed { .. } => "lapsed",
            Self::Unjudged => "unjudged",
        }
    }
}

impl std::fmt::Display for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Good { by, judged, until } => {
                write!(f, "good: judged by {by} at {}, until {}", judged.rfc3339(), until.rfc3339())
            }
            Self::Bad { by, judged } => write!(f, "bad: judged by {by} at {}", judged.rfc3339()),
            Self::Silent { by, judged } => {
                write!(f, "silent: no evidence came to {by} by {}", judged.rfc3339())
            }
            Self::Lapsed { since } => write!(f, "lapsed: its last verdict ended at {}", since.rfc3339()),
            Self::Unjudged => f.write_str("unjudged: no supervisor has a verdict on it"),
        }
    }
}

/// What the verdicts on a listed gateway come to.
pub fn trust_in(view: &View<'_>, node: &NodeRec, now: UnixMillis) -> Result<Trust, StateError> {
    let mut counted = Vec::new();
    for verdict in view.verdicts_on(&node.record.id)? {
        if counts(view, node, &verdict)? {
            counted.push(verdict);
        }
    }
    let newest = |result| {
        let standing = counted.iter().filter(|v| v.record.result == result && now < v.until);
        standing.max_by_key(|v| (v.record.judged, &v.by))
    };
    let (good, bad, silent) =
        (newest(VerdictResult::Good), newest(VerdictResult::Bad), newest(VerdictResult::Silent));
    Ok(match (good, bad, silent) {
        (Some(good), bad, _) if bad.is_none_or(|bad| good.record.judged > bad.record.judged) => {
            Trust::Good { by: good.by.clone(), judged: good.record.judged, until: good.until }
        }
        (_, Some(bad), _) => Trust::Bad { by: bad.by.clone(), judged: bad.record.judged },
        (_, None, Some(silent)) => Trust::Silent { by: silent.by.clone(), judged: silent.record.judged },
        _ => match counted.iter().map(|v| v.until).max() {
            Some(since) => Trust::Lapsed { since },
            None => Trust::Unjudged,
        },
    })
}

/// Of the keys that both have now, and by one that still supervises.
fn counts(view: &View<'_>, node: &NodeRec, verdict: &VerdictState) -> Result<bool, StateError> {
    if verdict.record.key != node.record.key.id() {
        return Ok(false);
    }
    let by = view.active_node(&verdict.by)?;
    Ok(by.is_some_and(|by| by.has(Role::Supervisor) && by.record.key.id() == verdict.by_key))
}
