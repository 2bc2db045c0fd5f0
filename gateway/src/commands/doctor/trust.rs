//! What the ledger said of this gateway last, as the running gateway read it, and what follows.

use super::Finding;
use crate::{
    attester::standing::{FILE, Written},
    config::{Config, Mode},
    supervisor::attest::{references, rules},
};
use gw_policy::Trust;
use gw_proto::UnixMillis;
use std::time::Duration;

const CHECK: &str = "trust";
/// The gateway writes it every minute.
const OLD: Duration = Duration::from_secs(5 * 60);
/// The file has one sentence.
const MAX_BYTES: u64 = 4 * 1024;
/// A verdict of 24 hours is written anew after six: one that ends within this was not.
const SOON: Duration = Duration::from_secs(6 * 3600);

pub(super) fn check(config: &Config, now: UnixMillis) -> Vec<Finding> {
    let path = config.node.data_dir.join(FILE);
    let read = references::read(&path, MAX_BYTES)
        .and_then(|bytes| serde_json::from_slice::<Written>(&bytes).map_err(|e| e.to_string()));
    match read {
        Ok(written) => found(config.attestation.peers.mode, &written, now),
        Err(why) => vec![Finding::warn(
            CHECK,
            format!("{}: {why}", path.display()),
            "start the gateway: it writes there what the ledger says of it",
        )],
    }
}

fn found(mode: Mode, written: &Written, now: UnixMillis) -> Vec<Finding> {
    let age = now.since(written.at);
    let mut all = vec![said(mode, written, now)];
    if age > OLD {
        let what = format!("this is of {}, {} min ago", written.at.rfc3339(), age.as_secs() / 60);
        all.push(Finding::warn(CHECK, what, "start the gateway, or look why it does not follow the ledger"));
    }
    all
}

fn said(mode: Mode, written: &Written, now: UnixMillis) -> Finding {
    let follows = match mode {
        Mode::Enforce => "gateways that enforce neither ask nor answer it, and it asks nobody itself",
        Mode::Warn | Mode::Observe => "gateways that enforce neither ask nor answer it",
    };
    let policy = rules::mode(mode);
    let bad = |trust: &Trust, remedy| {
        Finding::fail(CHECK, format!("{trust}; {follows} (attestation.peers here: {policy})"), remedy)
    };
    let trust = match &written.trust {
        None => {
            return Finding::warn(
                CHECK,
                "the ledger does not list this gateway",
                "have governance list it, or wait until the gateway has caught up",
            );
        }
        Some(trust) => trust,
    };
    match trust {
        // it was good when it was read, and may have lapsed since
        Trust::Good { until, .. } if now >= *until => bad(
            &Trust::Lapsed { since: *until },
            "see whether the gateway runs and reaches a supervisor: /admin/v1/status, attestation",
        ),
        Trust::Good { until, .. } if until.since(now) < SOON => Finding::warn(
            CHECK,
            trust.to_string(),
            "no supervisor has renewed it: see whether the gateway reaches one, /admin/v1/status, attestation",
        ),
        Trust::Good { .. } => Finding::ok(CHECK, trust.to_string()),
        Trust::Bad { .. } => bad(
            trust,
            "see /admin/v1/status, attestation: it names the check and the component; put that right and boot the box",
        ),
        Trust::Silent { .. } => bad(
            trust,
            "see /admin/v1/status, attestation, for why no evidence arrives; ask whether it is enrolled",
        ),
        Trust::Lapsed { .. } => {
            bad(trust, "see whether the gateway reaches a supervisor: /admin/v1/status, attestation")
        }
        Trust::Unjudged => Finding::warn(
            CHECK,
            format!("{trust}; gateways with attestation.unjudged = \"refuse\" do not trade with it"),
            "where its keystore attests, have a supervisor enrol it: xinguan attest record",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Status;
    use gw_proto::NodeId;

    const HOUR: u64 = 3_600_000;
    const NOW: UnixMillis = UnixMillis(100 * HOUR);

    fn by() -> NodeId {
        NodeId::parse("pboc-1").unwrap()
    }

    fn one(trust: Option<Trust>) -> Finding {
        let all = found(Mode::Enforce, &Written { at: NOW, trust }, NOW);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    fn good(until: u64) -> Option<Trust> {
        Some(Trust::Good { by: by(), judged: UnixMillis(90 * HOUR), until: UnixMillis(until) })
    }

    #[test]
    fn a_good_word_is_fine_while_it_lasts() {
        let fine = one(good(114 * HOUR));
        assert_eq!((fine.status, fine.remedy), (Status::Ok, None));
        assert!(fine.what.contains("judged by pboc-1"), "{fine}");
        assert_eq!(one(good(105 * HOUR)).status, Status::Warn, "nobody renewed it");
        let lapsed = one(good(100 * HOUR));
        assert!(lapsed.status == Status::Fail && lapsed.what.starts_with("lapsed: "), "{lapsed}");
    }

    #[test]
    fn anything_else_says_what_follows_and_what_to_do() {
        let judged = UnixMillis(99 * HOUR);
        for trust in [
            Trust::Bad { by: by(), judged },
            Trust::Silent { by: by(), judged },
            Trust::Lapsed { since: judged },
        ] {
            let finding = one(Some(trust.clone()));
            assert_eq!(finding.status, Status::Fail, "{finding}");
            assert!(finding.what.starts_with(trust.as_str()), "{finding}");
            assert!(finding.what.contains("neither ask nor answer it"), "{finding}");
            assert!(finding.remedy.is_some());
        }
        assert_eq!(one(Some(Trust::Unjudged)).status, Status::Warn);
        assert_eq!(one(None).status, Status::Warn);
    }

    #[test]
    fn an_old_word_is_said_to_be_old() {
        let written =
            |minutes: u64| Written { at: UnixMillis(NOW.0 - minutes * 60_000), trust: good(114 * HOUR) };
        assert_eq!(found(Mode::Enforce, &written(5), NOW).len(), 1);
        let old = found(Mode::Enforce, &written(6), NOW);
        assert!(
            old.len() == 2 && old[1].status == Status::Warn && old[1].what.ends_with("6 min ago"),
            "{old:?}"
        );
    }
}
