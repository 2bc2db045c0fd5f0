//! Between identify and limit: does the ledger's verdict on a gateway let it ask, be asked, or be answered.
//!
//! The verdicts are the supervisors' records; what several of them come to is `gw_policy::trust_in`. What
//! that means here is the table in [`ruling`], by `[attestation]` of this gateway's configuration. It is read
//! at each request on the newest verified state, so that a verdict acts from its block on.

use super::{Accepted, identify::IdentifiedNode};
use crate::{
    app::App,
    config::{Mode, PeerPolicy},
    reject::{self, Problem, Rejection},
};
use gw_policy::{NodeRec, Trust, View, trust_in};
use gw_proto::{NodeId, record::Node};

/// A request of a node that may be answered.
pub struct TrustedNode {
    identified: IdentifiedNode,
}

impl TrustedNode {
    /// the request
    pub fn accepted(&self) -> &Accepted {
        self.identified.accepted()
    }
    /// the node's record
    pub fn node(&self) -> &Node {
        self.identified.node()
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// nothing
    Pass,
    /// it is said, and goes on
    Warn,
    /// it ends here
    Refuse,
}

/// THE table.
#[rustfmt::skip]
pub fn ruling(policy: &PeerPolicy, trust: &Trust) -> Ruling {
    let unless = |allowed| if allowed { Ruling::Pass } else { Ruling::Refuse };
    match (trust, policy.mode) {
        (Trust::Good { .. },                       _)             => Ruling::Pass,
        (_,                                        Mode::Observe) => Ruling::Pass,
        (Trust::Unjudged,                          Mode::Warn)    => Ruling::Pass,
        (_,                                        Mode::Warn)    => Ruling::Warn,
        (Trust::Bad { .. } | Trust::Silent { .. }, Mode::Enforce) => Ruling::Refuse,
        (Trust::Lapsed { .. },                     Mode::Enforce) => unless(policy.allow_lapsed),
        (Trust::Unjudged,                          Mode::Enforce) => unless(policy.allow_unjudged),
    }
}

/// The node behind a request may be answered.
pub fn asker(app: &App, identified: IdentifiedNode) -> Result<TrustedNode, Rejection> {
    let state = app.state.read();
    still(app, &View::new(&state), &identified.node().id)?;
    drop(state);
    Ok(TrustedNode { identified })
}

/// The same on a newer state: before data leaves.
pub fn still(app: &App, view: &View<'_>, asker: &NodeId) -> Result<(), Rejection> {
    require(app, view, asker, reject::PEER_NOT_TRUSTED)
}

/// This gateway would be answered, as far as it can tell: asked before a use is spent.
pub fn own(app: &App, view: &View<'_>) -> Result<(), Rejection> {
    require(app, view, &app.node, reject::OWN_NOT_TRUSTED)
}

/// Those of the sources that may be asked, and those that may not.
pub fn sources(
    app: &App,
    view: &View<'_>,
    sources: Vec<NodeRec>,
) -> Result<(Vec<Node>, Vec<Node>), Rejection> {
    let (mut asked, mut left) = (Vec::new(), Vec::new());
    for source in sources {
        let (trust, ruling) = decide(app, view, &source)?;
        if ruling == Ruling::Refuse {
            tracing::warn!(source = %source.record.id, %trust, "a source is not asked");
            left.push(source.record);
        } else {
            asked.push(source.record);
        }
    }
    Ok((asked, left))
}

fn require(app: &App, view: &View<'_>, id: &NodeId, problem: &'static Problem) -> Result<(), Rejection> {
    let nobody = || Rejection::new(reject::NOT_LISTED, "the ledger lists no active node of this name");
    let node = view.active_node(id).map_err(Rejection::internal)?.ok_or_else(nobody)?;
    let (trust, ruling) = decide(app, view, &node)?;
    match ruling {
        Ruling::Refuse => Err(Rejection::new(problem, trust.to_string())),
        Ruling::Pass | Ruling::Warn => Ok(()),
    }
}

/// Decides, counts what is not good, and says what is only warned of.
fn decide(app: &App, view: &View<'_>, node: &NodeRec) -> Result<(Trust, Ruling), Rejection> {
    let trust = trust_in(view, node, app.clock.now()).map_err(Rejection::internal)?;
    let ruling = ruling(&app.config.attestation.peers, &trust);
    if !matches!(trust, Trust::Good { .. } | Trust::Unjudged) {
        metrics::counter!("xinguan_untrusted_total", "trust" => trust.as_str()).increment(1);
    }
    if ruling == Ruling::Warn {
        tracing::warn!(node = %node.record.id, %trust, "traded with all the same: attestation.peers is \"warn\"");
    }
    Ok((trust, ruling))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::UnixMillis;

    #[test]
    fn every_finding_under_every_policy() {
        let (by, judged) = (NodeId::parse("pboc-1").unwrap(), UnixMillis(1));
        let all = [
            Trust::Good { by: by.clone(), judged, until: UnixMillis(9) },
            Trust::Bad { by: by.clone(), judged },
            Trust::Silent { by, judged },
            Trust::Lapsed { since: UnixMillis(9) },
            Trust::Unjudged,
        ];
        let row = |mode, allow_lapsed, allow_unjudged| {
            let policy = PeerPolicy { mode, allow_lapsed, allow_unjudged };
            all.each_ref().map(|t| ruling(&policy, t))
        };
        use Ruling::{Pass as P, Refuse as R, Warn as W};
        assert_eq!(row(Mode::Observe, false, false), [P, P, P, P, P]);
        assert_eq!(row(Mode::Warn, false, false), [P, W, W, W, P]);
        assert_eq!(row(Mode::Enforce, false, false), [P, R, R, R, R]);
        assert_eq!(row(Mode::Enforce, true, false), [P, R, R, P, R]);
        assert_eq!(row(Mode::Enforce, false, true), [P, R, R, R, P]);
        assert_eq!(row(Mode::Enforce, true, true), [P, R, R, P, P]);
    }
}
