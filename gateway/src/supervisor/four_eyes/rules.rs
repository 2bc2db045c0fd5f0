//! Who may decide on a proposal, and what becomes of it: pure functions.

use crate::attester::Enrolment;
use gw_proto::{Digest, NodeId, UnixMillis};
use serde::{Deserialize, Serialize};

/// One of the supervisor's people, as far as certificate and configuration tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// the operator's name in the configuration
    pub operator: String,
    /// who holds it, where the configuration says so; else the operator's name
    pub person: String,
    /// SM3 of the certificate's key
    pub spki: Digest,
    /// the certificate's subject
    pub subject: String,
}

/// Why two operators count as one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Same {
    /// One key.
    #[error("it is the same certificate key")]
    Key,
    /// One entry, or two of one person.
    #[error("the list of operators has both as one person")]
    Person,
    /// Two certificates of one name.
    #[error("both certificates have the same subject")]
    Subject,
}

impl Person {
    /// Whether this is, as far as can be told, the same person. Case and spaces around a name make no other one.
    pub fn is_same(&self, other: &Self) -> Option<Same> {
        let alike = |a: &str, b: &str| a.trim().to_lowercase() == b.trim().to_lowercase();
        if self.spki == other.spki {
            Some(Same::Key)
        } else if alike(&self.person, &other.person) || alike(&self.operator, &other.operator) {
            Some(Same::Person)
        } else if alike(&self.subject, &other.subject) {
            Some(Same::Subject)
        } else {
            None
        }
    }
}

/// What is proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// end a device's enrolment
    Decommission {
        /// whose
        device: NodeId,
    },
    /// enrol another chip or key for a known device, or one whose enrolment was ended
    Enrol {
        /// what `attest record` printed
        record: Box<Enrolment>,
    },
}

impl Act {
    /// The device.
    pub fn device(&self) -> &NodeId {
        match self {
            Self::Decommission { device } => device,
            Self::Enrol { record } => &record.device,
        }
    }
    /// Its name in logs and on pages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Decommission { .. } => "decommission",
            Self::Enrol { .. } => "enrol",
        }
    }
}

/// The enrolment that a proposal is about: another one is not touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meant {
    /// SM3 of its endorsement certificate
    pub endorsement: Digest,
    /// since when
    pub at: UnixMillis,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", deny_unknown_fields)]
pub enum State {
    /// nobody has decided
    Open,
    /// to be done; it is done again and again until it is
    Approved {
        /// by whom
        by: Person,
        /// when
        at: UnixMillis,
    },
    /// done
    Executed {
        /// who approved
        by: Person,
        /// when
        at: UnixMillis,
        /// when it was done
        executed: UnixMillis,
    },
    /// approved, but the device is not any more what was proposed about
    Overtaken {
        /// who approved
        by: Person,
        /// when
        at: UnixMillis,
        /// by what
        why: String,
    },
    /// another person said no
    Refused {
        /// who
        by: Person,
        /// when
        at: UnixMillis,
        /// why
        reason: String,
    },
    /// who proposed it took it back
    Withdrawn {
        /// when
        at: UnixMillis,
        /// why
        reason: String,
    },
    /// nobody decided in time
    Expired {
        /// when
        at: UnixMillis,
    },
}

impl State {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved { .. } => "approved",
            Self::Executed { .. } => "executed",
            Self::Overtaken { .. } => "overtaken",
            Self::Refused { .. } => "refused",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Expired { .. } => "expired",
        }
    }
    /// Whether nothing more becomes of it.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Open | Self::Approved { .. })
    }
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// counted from 1; 0 before it is kept
    pub id: u64,
    /// what
    pub what: Act,
    /// why
    pub reason: String,
    /// by whom
    pub by: Person,
    /// when
    pub at: UnixMillis,
    /// nobody decides from then on
    pub expires: UnixMillis,
    /// what is ended by it
    pub meant: Option<Meant>,
    /// what became of it
    pub state: State,
}

/// What somebody does with a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// yes
    Approve,
    /// no, and why
    Refuse(String),
    /// never mind, and why
    Withdraw(String),
}

impl Decision {
    /// Its name in the audit.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Refuse(_) => "refuse",
            Self::Withdraw(_) => "withdraw",
        }
    }
}

/// Why a decision does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum No {
    /// Somebody else was faster, or nobody was.
    #[error("the proposal is {0}, and nothing is decided on it any more")]
    Closed(&'static str),
    /// Approving or refusing takes two.
    #[error("who proposed it does not decide on it: {0}")]
    Same(Same),
    /// Only the proposer takes it back.
    #[error("another operator proposed it: refuse it instead")]
    NotYours,
}

/// What a decision makes of a proposal. `proposer`: as the list of operators has him now, where it still does.
pub fn decide(
    p: &Proposal,
    proposer: Option<&Person>,
    decision: Decision,
    by: &Person,
    at: UnixMillis,
) -> Result<State, No> {
    if p.state != State::Open {
        return Err(No::Closed(p.state.name()));
    }
    if at >= p.expires {
        return Err(No::Closed("expired"));
    }
    // the list may have been corrected since
    let same = p.by.is_same(by).or_else(|| proposer.and_then(|p| p.is_same(by)));
    let by = by.clone();
    match (decision, same) {
        (Decision::Approve, None) => Ok(State::Approved { by, at }),
        (Decision::Refuse(reason), None) => Ok(State::Refused { by, at, reason }),
        (Decision::Approve | Decision::Refuse(_), Some(same)) => Err(No::Same(same)),
        (Decision::Withdraw(reason), Some(_)) => Ok(State::Withdrawn { at, reason }),
        (Decision::Withdraw(_), None) => Err(No::NotYours),
    }
}

/// What time makes of a proposal.
pub fn expired(p: &Proposal, now: UnixMillis) -> Option<State> {
    (p.state == State::Open && now >= p.expires).then_some(State::Expired { at: now })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::Hex;

    fn person(n: u8) -> Person {
        Person {
            operator: format!("op-{n}"),
            person: format!("person {n}"),
            spki: Hex([n; 32]),
            subject: format!("CN=p{n}"),
        }
    }

    fn open(by: u8) -> Proposal {
        Proposal {
            id: 1,
            what: Act::Decommission { device: NodeId::parse("bank-a-1").unwrap() },
            reason: "broken".to_owned(),
            by: person(by),
            at: UnixMillis(100),
            expires: UnixMillis(200),
            meant: None,
            state: State::Open,
        }
    }

    #[test]
    fn one_person_with_two_certificates_is_one() {
        let a = person(1);
        let with = |change: fn(&mut Person)| {
            let mut other = person(2);
            change(&mut other);
            a.is_same(&other)
        };
        assert_eq!(with(|_| {}), None);
        assert_eq!(with(|o| o.spki = Hex([1; 32])), Some(Same::Key));
        assert_eq!(with(|o| o.operator = "op-1".to_owned()), Some(Same::Person));
        assert_eq!(with(|o| o.person = " Person 1 ".to_owned()), Some(Same::Person));
        assert_eq!(with(|o| o.subject = "cn=P1".to_owned()), Some(Same::Subject));
        let nameless = |n| Person { subject: String::new(), ..person(n) };
        assert_eq!(nameless(1).is_same(&nameless(2)), Some(Same::Subject), "cannot be told apart");
    }

    #[test]
    fn another_person_decides_in_time_and_the_proposer_only_withdraws() {
        let (p, at) = (open(1), UnixMillis(199));
        let reason = || "no".to_owned();
        let [own, other] = [person(1), person(2)];
        let by = |d, who: &Person| decide(&p, None, d, who, at);
        assert_eq!(by(Decision::Approve, &other), Ok(State::Approved { by: person(2), at }));
        assert_eq!(
            by(Decision::Refuse(reason()), &other),
            Ok(State::Refused { by: person(2), at, reason: reason() })
        );
        assert_eq!(by(Decision::Withdraw(reason()), &other), Err(No::NotYours));
        assert_eq!(by(Decision::Approve, &own), Err(No::Same(Same::Key)));
        assert_eq!(by(Decision::Refuse(reason()), &own), Err(No::Same(Same::Key)));
        assert_eq!(by(Decision::Withdraw(reason()), &own), Ok(State::Withdrawn { at, reason: reason() }));
        // the list was corrected after the proposal: both entries are one person
        let corrected = Person { person: "person 2".to_owned(), ..person(1) };
        let found = decide(&p, Some(&corrected), Decision::Approve, &other, at);
        assert_eq!(found, Err(No::Same(Same::Person)));
        // too late
        let late = decide(&p, None, Decision::Approve, &other, UnixMillis(200));
        assert_eq!(late, Err(No::Closed("expired")));
        assert_eq!(expired(&p, at), None);
        assert_eq!(expired(&p, UnixMillis(200)), Some(State::Expired { at: UnixMillis(200) }));
    }

    /// Whatever three people try in whatever order, three times, early or late: one state follows at most, and an
    /// approval is another person's, in time.
    #[test]
    fn nothing_follows_a_decision() {
        let one = |i: u16| (i % 3, u8::try_from(1 + i / 3 % 3).unwrap(), 199 + u64::from(i / 9));
        let all = (0..18 * 18 * 18).map(|i| [one(i % 18), one(i / 18 % 18), one(i / 324)]);
        let mut seen = std::collections::BTreeSet::new();
        for sequence in all {
            let (mut p, mut decided) = (open(1), 0);
            for (what, who, at) in sequence {
                let decision = match what {
                    0 => Decision::Approve,
                    1 => Decision::Refuse("r".to_owned()),
                    _ => Decision::Withdraw("w".to_owned()),
                };
                let Ok(state) = decide(&p, None, decision, &person(who), UnixMillis(at)) else { continue };
                assert!(at < 200, "{sequence:?}: too late");
                assert_eq!(matches!(state, State::Withdrawn { .. }), who == 1, "{sequence:?}");
                decided += 1;
                p.state = state;
            }
            assert!(decided <= 1, "{sequence:?}: decided {decided} times");
            seen.insert(p.state.name());
        }
        let expected = ["approved", "open", "refused", "withdrawn"];
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_proposal_comes_back_as_it_was_written() {
        let at = UnixMillis(5);
        let states = [
            State::Open,
            State::Approved { by: person(2), at },
            State::Executed { by: person(2), at, executed: at },
            State::Overtaken { by: person(2), at, why: "w".to_owned() },
            State::Refused { by: person(2), at, reason: "r".to_owned() },
            State::Withdrawn { at, reason: "r".to_owned() },
            State::Expired { at },
        ];
        for state in states {
            let p = Proposal { state, ..open(1) };
            let text = serde_json::to_string(&p).unwrap();
            assert_eq!(serde_json::from_str::<Proposal>(&text).unwrap(), p);
        }
    }
}
