//! What this supervisor judges by, as an operator sees it: `xinguan attest policy`.

use crate::{app::App, config::Mode, reject::Rejection};
use gw_attest::{Bank, verdict::LASTS};
use gw_policy::View;
use gw_proto::UnixMillis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a release stands today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseStanding {
    /// evidence of it can be good
    Valid,
    /// its time has not begun
    NotYet,
    /// its time is over
    Expired,
    /// its number is too low
    BelowFloor,
    /// another manifest of the same name has a higher number: that one counts
    Replaced,
}

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// its name
    pub release: String,
    /// its number
    pub number: u32,
    /// valid from
    pub not_before: UnixMillis,
    /// valid until, exclusive
    pub not_after: UnixMillis,
    /// today
    pub standing: ReleaseStanding,
}

/// The policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InForce {
    /// when this was
    pub at: UnixMillis,
    /// PCRs that must be quoted
    pub pcrs: BTreeSet<u8>,
    /// banks that are accepted
    pub banks: Vec<Bank>,
    /// the lowest manifest number that may run
    pub floor: u32,
    /// without evidence for so long a device is silent
    pub silence_s: u64,
    /// a good verdict lasts
    pub lasts_s: u64,
    /// node keys that no chip certifies are accepted
    pub uncertified_node_key: bool,
    /// chips must be of pinned manufacturers
    pub pinned_manufacturers: bool,
    /// a proposal waits so long for a second person
    pub proposals_expire_s: u64,
    /// what this gateway itself does with one whose verdict is not good: `observe`, `warn`, `enforce`
    pub peers: String,
    /// those that count now, by name, then number
    pub releases: Vec<Release>,
}

/// Looks at configuration and manifests.
pub fn show(app: &App) -> Result<InForce, Rejection> {
    let (verifier, at) = (app.verifier()?, app.clock.now());
    let rules = verifier.policy.get();
    let trusted = {
        let state = app.state.read();
        let trusted = verifier.references.in_force(&View::new(&state)).map_err(Rejection::internal)?;
        trusted.into_owned()
    };
    let manifests: Vec<_> = trusted.iter().map(|m| m.get()).collect();
    let mut releases: Vec<Release> = manifests
        .iter()
        .map(|m| {
            let highest = manifests.iter().filter(|o| o.release == m.release).map(|o| o.number).max();
            let valid = (m.not_before, m.not_after);
            Release {
                release: m.release.clone(),
                number: m.number,
                not_before: m.not_before,
                not_after: m.not_after,
                standing: standing(m.number, highest, rules.floor, valid, at),
            }
        })
        .collect();
    releases.sort_by(|a, b| (&a.release, a.number).cmp(&(&b.release, b.number)));
    Ok(InForce {
        at,
        pcrs: rules.pcrs.clone(),
        banks: rules.banks.clone(),
        floor: rules.floor,
        silence_s: rules.interval_ms / 1000,
        lasts_s: LASTS.as_secs(),
        uncertified_node_key: rules.uncertified_node_key,
        pinned_manufacturers: verifier.references.manufacturers.is_some(),
        proposals_expire_s: verifier.proposals_expire.as_secs(),
        peers: mode(app.config.attestation.peers.mode).to_owned(),
        releases,
    })
}

/// The word of the configuration.
pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Warn => "warn",
        Mode::Enforce => "enforce",
    }
}

/// As `gw_attest` judges it: the highest number of a name counts, then its dates, then the floor.
fn standing(
    number: u32,
    highest: Option<u32>,
    floor: u32,
    (from, until): (UnixMillis, UnixMillis),
    at: UnixMillis,
) -> ReleaseStanding {
    if highest.is_some_and(|h| h > number) {
        ReleaseStanding::Replaced
    } else if number < floor {
        ReleaseStanding::BelowFloor
    } else if at < from {
        ReleaseStanding::NotYet
    } else if at >= until {
        ReleaseStanding::Expired
    } else {
        ReleaseStanding::Valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_valid_from_to_and_above() {
        use ReleaseStanding::{BelowFloor, Expired, NotYet, Replaced, Valid};
        let at = |number, highest, at| {
            standing(number, Some(highest), 5, (UnixMillis(10), UnixMillis(20)), UnixMillis(at))
        };
        assert_eq!([9, 10, 19, 20].map(|t| at(5, 5, t)), [NotYet, Valid, Valid, Expired]);
        assert_eq!((at(4, 4, 15), at(5, 6, 15), at(6, 6, 15)), (BelowFloor, Replaced, Valid));
    }
}
