//! `[attestation]` and `[supervisor.attestation]`.

use super::value::Notes;
use crate::config::{
    attestation::{Attestation, BANKS, Mode, PeerPolicy, Verifier},
    raw::{RawAttestation, RawVerifier},
};
use gw_attest::decide::{Policy, Rules};
use std::{collections::BTreeSet, time::Duration};

/// A proposal waits a working day, and the night: the default, and what other bounds are multiples of.
const DAY_S: u64 = 24 * 3600;

pub(super) fn attestation(n: &mut Notes, raw: RawAttestation) -> Option<Attestation> {
    let interval = n.number("attestation.interval_s", raw.interval_s, 1, 86_400);
    let event_log = match raw.event_log {
        None => Some(None),
        Some(path) => n.path("attestation.event_log", Some(path)).map(Some),
    };
    let peers = peers(n, raw.peers, raw.lapsed, raw.unjudged);
    Some(Attestation { interval: Duration::from_secs(interval?), event_log: event_log?, peers: peers? })
}

fn peers(
    n: &mut Notes,
    mode: Option<String>,
    lapsed: Option<String>,
    unjudged: Option<String>,
) -> Option<PeerPolicy> {
    let modes = [("observe", Mode::Observe), ("warn", Mode::Warn), ("enforce", Mode::Enforce)];
    let allowed = [("refuse", false), ("allow", true)];
    let mode = n.word("attestation.peers", mode, &modes);
    let lapsed = n.word("attestation.lapsed", lapsed, &allowed);
    let unjudged = n.word("attestation.unjudged", unjudged, &allowed);
    let policy = PeerPolicy { mode: mode?, allow_lapsed: lapsed?, allow_unjudged: unjudged? };
    if policy.mode != Mode::Enforce {
        n.weak("attestation.peers is not \"enforce\": a gateway that a supervisor found bad is traded with");
    }
    if policy.allow_lapsed {
        n.weak("attestation.lapsed = \"allow\": a gateway that gives no evidence any more is traded with");
    }
    Some(policy)
}

pub(super) fn verifier(n: &mut Notes, raw: RawVerifier) -> Option<Verifier> {
    let k = |name: &str| format!("supervisor.attestation.{name}");
    let manifests = n.path(&k("manifests"), raw.manifests);
    let makers = n.path(&k("makers"), raw.makers);
    let manufacturers = match raw.manufacturers {
        Some(path) => n.path(&k("manufacturers"), Some(path)).map(Some),
        None => {
            n.weak(
                "supervisor.attestation.manufacturers is not set: an enrolment rests on the operator's word",
            );
            Some(None)
        }
    };
    let floor = n.number(&k("floor"), raw.floor, 0, u64::from(u32::MAX));
    let silence = n.number(&k("silence_s"), raw.silence_s, 2, 86_400);
    let pcrs = pcrs(n, &k("pcrs"), raw.pcrs);
    let uncertified_node_key = raw.uncertified_node_key.unwrap_or(false);
    if uncertified_node_key {
        n.weak("supervisor.attestation.uncertified_node_key = true: a node key may lie outside any chip");
    }
    let rules = Rules {
        banks: BANKS.to_vec(),
        pcrs: pcrs?,
        floor: u32::try_from(floor?).ok()?,
        uncertified_node_key,
        interval_ms: silence? * 1000,
    };
    let policy = Policy::new(rules).map_err(|e| {
        n.problem("supervisor.attestation", e.to_string(), "correct it");
    });
    let expire = raw.proposals_expire_s.or(Some(DAY_S));
    let expire = n.number(&k("proposals_expire_s"), expire, 1, 30 * DAY_S);
    Some(Verifier {
        manifests: manifests?,
        makers: makers?,
        manufacturers: manufacturers?,
        policy: policy.ok()?,
        proposals_expire: Duration::from_secs(expire?),
    })
}

fn pcrs(n: &mut Notes, key: &str, raw: Option<Vec<u64>>) -> Option<BTreeSet<u8>> {
    let all = raw.unwrap_or_default();
    let good: BTreeSet<u8> = all.iter().filter_map(|p| u8::try_from(*p).ok().filter(|p| *p < 16)).collect();
    if good.is_empty() || good.len() != all.len() {
        n.problem(
            key,
            "not a list of different PCRs from 0 to 15",
            "list those that the manifests have; software can reset the others",
        );
        return None;
    }
    Some(good)
}
