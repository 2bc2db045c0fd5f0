//! The verifier (RFC 9334): judges the evidence of each enrolled gateway, and keeps what it found.
//!
//! ```text
//! POST /man/v1/activations              ─▶ once per enrolment: the chip's keys are its own
//! POST /man/v1/challenges               ─▶ a nonce: once, for one node, in one TLS session, for 30 s
//! POST /man/v1/challenges/{id}/evidence ─▶ gw-attest decides ─▶ history ─▶ the box is told why
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`references`] | whose manifests count, and the manifests |
//! | [`enrol`] | which chip is whose |
//! | [`activate`] | the chip proves that it is the one |
//! | [`decommission`] | what the end of an enrolment does on the ledger |
//! | [`appraise`] | one bundle, from bytes to a kept verdict |
//! | [`appraisal`] | the same once more, offline, from what was exported |
//! | [`enrolments`] | enrolments, in the database |
//! | [`history`] | verdicts, in the database |
//! | [`verdict_log`] | the same as a Merkle log, whose heads the ledger has |
//! | [`summons`] | evidence at any moment, over calls that gateways hold open |
//! | [`rules`] | the policy in force, for people |
//! | [`silence`] | no evidence is a verdict too |
//! | [`announce`] | verdicts go to the ledger: others act on them |
//! | [`fleet`] | what an operator sees |

pub mod activate;
pub mod announce;
pub mod appraisal;
pub mod appraise;
pub mod decommission;
pub mod enrol;
pub mod enrolments;
pub mod fleet;
pub mod history;
pub mod references;
pub mod rules;
pub mod silence;
pub mod summons;
pub mod verdict_log;

use crate::{
    app::App,
    attester::wire::{self, Asked},
    config,
    reject::{self, Rejection},
    stages::identify::IdentifiedNode,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use gw_attest::{
    challenge::{Challenge, Challenges, NoChallenge},
    decide::Policy,
};
use gw_proto::{Hex, NodeId};
use references::References;
use std::{
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A chip of ten signatures a second answers in a second; the rest is for a busy box.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// More nodes than a consortium has.
const MAX_OPEN: usize = 4096;
/// Challenges of one node: an attester asks once per interval, and again after failures.
const PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// A supervisor's verifier.
pub struct Verifier {
    policy: Policy,
    references: References,
    open: Mutex<Challenges>,
    limiter: DefaultKeyedRateLimiter<NodeId>,
    announcements: announce::Announcements,
    activations: Mutex<activate::Activations>,
    /// one approved proposal is carried out at a time
    pub(in crate::supervisor) acting: tokio::sync::Mutex<()>,
    proposals_expire: Duration,
    /// calls that gateways hold open
    pub calls: summons::Calls,
}

impl Verifier {
    /// With the configuration's policy and its files' content.
    pub fn new(config: &config::Verifier, references: References) -> Self {
        Self {
            policy: config.policy.clone(),
            references,
            open: Mutex::new(Challenges::new(MAX_OPEN)),
            limiter: RateLimiter::keyed(Quota::per_minute(PER_MINUTE).allow_burst(BURST)),
            announcements: announce::Announcements::default(),
            activations: Mutex::default(),
            acting: tokio::sync::Mutex::default(),
            proposals_expire: config.proposals_expire,
            calls: summons::Calls::default(),
        }
    }

    /// How long a proposal waits for a second person.
    pub fn proposals_expire(&self) -> Duration {
        self.proposals_expire
    }

    fn open(&self) -> MutexGuard<'_, Challenges> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn activations(&self) -> MutexGuard<'_, activate::Activations> {
        self.activations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// The verifier.
    pub fn verifier(&self) -> Result<&Verifier, Rejection> {
        self.verifier.as_ref().ok_or_else(|| {
            Rejection::new(reject::NOT_ENROLLED, "this supervisor has no [supervisor.attestation]")
        })
    }
}

/// Asks an enrolled node for evidence.
pub fn challenge(app: &App, node: &IdentifiedNode) -> Result<Asked, Rejection> {
    let (verifier, device) = (app.verifier()?, &node.node().id);
    if verifier.limiter.check_key(device).is_err() {
        return Err(Rejection::new(reject::QUOTA, "too many challenges of one node"));
    }
    let store = app.supervisor_store()?;
    let enrolled = store.enrolment(device).map_err(Rejection::internal)?;
    let none = || Rejection::new(reject::NOT_ENROLLED, "this supervisor has no enrolment of this node");
    if activate::is_missing(&enrolled.ok_or_else(none)?) {
        return Err(Rejection::new(
            reject::NOT_ACTIVATED,
            "the chip has not shown that its keys are its own",
        ));
    }
    let mut nonce = Hex([0; 32]);
    app.entropy.fill(&mut nonce.0).map_err(Rejection::internal)?;
    let now = app.clock.now();
    let channel = wire::channel(&node.accepted().conn.exporter, &nonce).map_err(Rejection::internal)?;
    let expires = now.plus(ANSWER_WITHIN);
    let challenge = Challenge { nonce, device: device.clone(), channel, expires };
    verifier.open().open(challenge, now).map_err(|e| refused(&e))?;
    Ok(Asked { nonce, pcrs: verifier.policy.get().pcrs.clone(), expires })
}

/// The same words to the box as in our log.
fn refused(why: &NoChallenge) -> Rejection {
    let problem = match why {
        NoChallenge::Full { .. } => reject::BUSY,
        NoChallenge::Unknown | NoChallenge::Expired => reject::CHALLENGE,
    };
    Rejection::new(problem, why.to_string())
}
