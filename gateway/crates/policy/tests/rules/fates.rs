//! Every reason for which a record has no effect.

use crate::common::*;
use crate::fates_of_uses::{authorization_rows, use_rows};
use crate::verdicts::verdict_rows;
use gw_policy::{Fate, RefusalReason as Why};
use gw_proto::record::*;
use gw_proto::*;
use std::collections::BTreeSet;

pub(crate) type Row = (&'static str, Fate, Why);

pub(crate) fn row(name: &'static str, why: Why, run: impl FnOnce(&mut World) -> Fate) -> Row {
    let mut w = World::standard();
    let fate = run(&mut w);
    (name, fate, why)
}

/// A heartbeat by `bureau-c-1` whose batch is changed before it is signed.
fn batch_with(w: &mut World, change: impl FnOnce(&mut Batch)) -> Fate {
    let mut batch = w.batch(Writer::Node(node("bureau-c-1")), vec![beat(w)]);
    change(&mut batch);
    let key = w.keys[&node("bureau-c-1")].clone();
    let signed = sign(batch, &[&key]);
    w.single(signed)
}
fn beat(w: &World) -> Record {
    Record::Heartbeat(Heartbeat { seen: w.height() })
}

fn release(n: u8, name: &str) -> Record {
    digest_release([n, 255], name)
}
fn digest_release(n: [u8; 2], name: &str) -> Record {
    let mut digest = Hex([0; 32]);
    digest.0[..2].copy_from_slice(&n);
    Record::Reference(ReferenceManifest { digest, release: name.into(), standing: Standing::Active })
}

fn batch_rows() -> Vec<Row> {
    vec![
        row("version", Why::BatchVersion, |w| batch_with(w, |b| b.v = 2)),
        row("chain", Why::OtherChain, |w| batch_with(w, |b| b.chain = "chain1".into())),
        row("genesis", Why::OtherGenesis, |w| batch_with(w, |b| b.genesis = Hex([0; 32]))),
        row("expired", Why::BatchExpired, |w| {
            let head = w.height();
            batch_with(w, |b| b.expires_height = head)
        }),
        row("too far", Why::ExpiryTooFar, |w| {
            let next = w.height().0 + 1;
            batch_with(w, |b| b.expires_height = Height(next + 601))
        }),
        row("65 records", Why::RecordCount, |w| {
            let beat = beat(w);
            batch_with(w, |b| b.records = vec![beat; 65])
        }),
        row("a number beyond 2^53", Why::NotCanonical, |w| {
            let signed = w.by("bureau-c-1", vec![beat(w)]);
            let mut spoiled = signed.clone();
            spoiled.batch.records = vec![Record::Heartbeat(Heartbeat { seen: Height(1 << 60) })];
            w.single(spoiled)
        }),
        row("unlisted node", Why::UnknownWriter, |w| w.one("stranger-1", beat(w))),
        row("institution blocked", Why::WriterBlocked, |w| w.one("blocked-1", beat(w))),
        row("node blocked", Why::WriterBlocked, |w| {
            let blocked = Node { standing: Standing::Blocked, ..listed("bureau-c-1") };
            assert_eq!(w.govern_one(Record::Node(blocked)), Fate::Accepted);
            w.one("bureau-c-1", beat(w))
        }),
        row("no signature", Why::SignatureCount, |w| {
            let mut signed = w.by("bureau-c-1", vec![beat(w)]);
            signed.signatures.clear();
            w.single(signed)
        }),
        row("two signatures of a node", Why::SignatureCount, |w| {
            let mut signed = w.by("bureau-c-1", vec![beat(w)]);
            signed.signatures.push(signed.signatures[0].clone());
            w.single(signed)
        }),
        row("one of two governance keys", Why::SignatureCount, |w| {
            let mut signed = w.govern(vec![institution("bank-e")]);
            signed.signatures.pop();
            w.single(signed)
        }),
        row("one governance key twice", Why::SignatureKey, |w| {
            let mut signed = w.govern(vec![institution("bank-e")]);
            signed.signatures[1] = signed.signatures[0].clone();
            w.single(signed)
        }),
        row("a governance key and a node's", Why::SignatureKey, |w| {
            let batch = w.batch(Writer::Governance, vec![institution("bank-e")]);
            let signed = sign(batch, &[&w.governance[0], &w.keys[&node("pboc-1")]]);
            w.single(signed)
        }),
        row("another node's key", Why::SignatureKey, |w| {
            let batch = w.batch(Writer::Node(node("bureau-c-1")), vec![beat(w)]);
            let signed = sign(batch, &[&w.keys[&node("bureau-d-1")]]);
            w.single(signed)
        }),
        row("changed after signing", Why::BadSignature, |w| {
            let mut signed = w.by("bureau-c-1", vec![beat(w)]);
            signed.batch.nonce = Hex([0xff; 16]);
            w.single(signed)
        }),
        row("one bad signature of three of governance", Why::BadSignature, |w| {
            let batch = w.batch(Writer::Governance, vec![institution("bank-e")]);
            let mut signed = sign(batch, &[&w.governance[0], &w.governance[1], &w.governance[2]]);
            signed.signatures[2].signature.0[40] ^= 1;
            w.single(signed)
        }),
    ]
}

fn member_rows() -> Vec<Row> {
    let node_with = |w: &mut World, change: &dyn Fn(&mut Node)| {
        let mut n = listed("bank-a-1");
        change(&mut n);
        w.govern_one(Record::Node(n))
    };
    let bind = |w: &mut World, from: u64, to: u64| {
        let record = TlsBinding { spki: Hex([3; 32]), not_before: at(from), not_after: at(to) };
        w.one("bank-a-1", Record::TlsBinding(record))
    };
    let stand = |w: &mut World, id: &str, reason: &str| {
        let record =
            StandingChange { institution: inst(id), standing: Standing::Blocked, reason: reason.into() };
        w.one("pboc-1", Record::Standing(record))
    };
    vec![
        row("bank lists a member", Why::WriterNotAllowed, |w| w.one("bank-a-1", institution("bank-e"))),
        row("no name", Why::TextInvalid, |w| {
            w.govern_one(Record::Institution(Institution {
                id: inst("bank-e"),
                name: " ".into(),
                region: region("320500"),
                standing: Standing::Active,
            }))
        }),
        row("reason too long", Why::TextInvalid, |w| stand(w, "bank-a", &"x".repeat(201))),
        row("endpoint", Why::EndpointInvalid, |w| node_with(w, &|n| n.endpoint = "https://x".into())),
        row("no roles", Why::RolesInvalid, |w| node_with(w, &|n| n.roles.clear())),
        row("a role twice", Why::RolesInvalid, |w| node_with(w, &|n| n.roles = vec![Role::Source; 2])),
        row("supervisor and source", Why::SupervisorNotAlone, |w| {
            node_with(w, &|n| n.roles = vec![Role::Supervisor, Role::Source])
        }),
        row("institution unlisted", Why::UnknownInstitution, |w| {
            node_with(w, &|n| n.institution = inst("nobody"))
        }),
        row("standing of nobody", Why::UnknownInstitution, |w| stand(w, "nobody", "x")),
        row("another node's key", Why::KeyInUse, |w| node_with(w, &|n| n.key = *key(12).public_key())),
        row("standing of a supervisor", Why::StandingOfSupervisor, |w| stand(w, "pboc", "x")),
        row("binding over 24 h", Why::BindingInvalid, |w| bind(w, 0, DAY + 1)),
        row("binding over", Why::BindingInvalid, |w| {
            w.time = at(HOUR);
            bind(w, 0, HOUR)
        }),
        row("binding empty", Why::BindingInvalid, |w| bind(w, HOUR, HOUR)),
        row("binding far ahead", Why::BindingInvalid, |w| bind(w, DAY + 1, DAY + 2)),
    ]
}

fn setting_rows() -> Vec<Row> {
    let root = |w: &mut World, certificate: Vec<u8>, id: Digest, level| {
        let certificate = B64(certificate);
        w.govern_one(Record::EvidenceRoot(EvidenceRoot {
            id,
            level,
            certificate,
            standing: Standing::Active,
        }))
    };
    let policy_with = |w: &mut World, change: &dyn Fn(&mut Policy)| {
        let mut p = policy(2);
        change(&mut p);
        w.govern_one(Record::Policy(p))
    };
    let digest_of = |w: &mut World, height| {
        w.one("pboc-1", Record::StateDigest(StateDigest { height, digest: Hex([0; 32]) }))
    };
    let rules =
        |w: &mut World, from| w.govern_one(Record::Rules(Rules { version: 1, from_height: Height(from) }));
    let (signed, big) = (EvidenceLevel::Signed, vec![0; 4097]);
    vec![
        row("root's digest", Why::RootInvalid, |w| root(w, vec![1], Hex([0; 32]), signed)),
        row("root empty", Why::RootInvalid, |w| root(w, vec![], sm3(&[]), signed)),
        row("root too big", Why::RootInvalid, |w| root(w, big.clone(), sm3(&big), signed)),
        row("root of level asserted", Why::RootInvalid, |w| {
            root(w, vec![1], sm3(&[1]), EvidenceLevel::Asserted)
        }),
        row("a 65th root", Why::TooMany, |w| {
            let mut fates = (0..65u8).map(|i| root(w, vec![i], sm3(&[i]), signed)).collect::<Vec<_>>();
            assert!(fates.iter().take(64).all(|f| *f == Fate::Accepted));
            fates.remove(64)
        }),
        row("policy's version", Why::VersionNotNext, |w| policy_with(w, &|p| p.version = 3)),
        row("policy's version repeated", Why::VersionNotNext, |w| policy_with(w, &|p| p.version = 1)),
        row("staleness", Why::PolicyInvalid, |w| policy_with(w, &|p| p.staleness_ms = 3_600_001)),
        row("no reservations", Why::PolicyInvalid, |w| policy_with(w, &|p| p.reservation_ms = 0)),
        row("over ten minutes", Why::PolicyInvalid, |w| policy_with(w, &|p| p.reservation_ms = 600_001)),
        row("a dimension twice", Why::PolicyInvalid, |w| {
            policy_with(w, &|p| p.caps.signed.dimensions = vec![Dimension::Tax; 2])
        }),
        row("rules 2 know no reference manifests", Why::RulesTooOld, |w| {
            *w = World::empty();
            w.genesis.rules = 2;
            w.govern_one(release(1, "1.4.2"))
        }),
        row("a release without a name", Why::TextInvalid, |w| w.govern_one(release(1, ""))),
        row("a release's name that moves a terminal's cursor", Why::TextInvalid, |w| {
            w.govern_one(release(1, "1.4.2\n"))
        }),
        row("a manifest of two releases", Why::Conflict, |w| {
            assert_eq!(w.govern_one(release(1, "1.4.2")), Fate::Accepted);
            w.govern_one(release(1, "1.4.3"))
        }),
        row("more manifests than are listed", Why::TooMany, |w| {
            for first in 0..u8::try_from(gw_policy::view::MAX_REFERENCES / 64).unwrap() {
                let all = (0..64).map(|n| digest_release([first, n], "1")).collect();
                let batch = w.govern(all);
                w.apply(vec![batch]);
            }
            w.govern_one(release(255, "1"))
        }),
        row("catalogue version", Why::TextInvalid, |w| {
            let record = CatalogueVersion { version: "2026 1".into(), digest: Hex([4; 32]) };
            w.govern_one(Record::Catalogue(record))
        }),
        row("catalogue version with another meaning", Why::Conflict, |w| {
            let record = CatalogueVersion { version: "2026.1".into(), digest: Hex([5; 32]) };
            w.govern_one(Record::Catalogue(record))
        }),
        row("rules at once", Why::RulesNotAhead, |w| {
            let now = w.height().0 + 1;
            rules(w, now)
        }),
        row("a 33rd change of rules", Why::TooMany, |w| {
            assert!((0..32).all(|i| rules(w, 1000 + i) == Fate::Accepted));
            rules(w, 2000)
        }),
        row("heartbeat of the future", Why::HeightAhead, |w| {
            let seen = Height(w.height().0 + 1);
            w.one("bureau-c-1", Record::Heartbeat(Heartbeat { seen }))
        }),
        row("digest of the future", Why::HeightAhead, |w| digest_of(w, Height(w.height().0 + 1))),
        row("digest of block 0", Why::HeightForgotten, |w| digest_of(w, Height(0))),
    ]
}

/// Before governance has put a policy on the ledger, nothing can be authorized.
fn no_policy_row() -> Row {
    let mut w = World::empty();
    let batch = w.govern(vec![institution("bank-a"), Record::Node(listed("bank-a-1"))]);
    w.apply(vec![batch]);
    let fate = w.one("bank-a-1", authorization(&statement(1)));
    ("no policy", fate, Why::NoPolicy)
}

/// A new reason does not compile without a number here, and fails without a row above.
fn number(why: Why) -> usize {
    match why {
        Why::BatchVersion => 0,
        Why::OtherChain => 1,
        Why::OtherGenesis => 2,
        Why::BatchExpired => 3,
        Why::ExpiryTooFar => 4,
        Why::RecordCount => 5,
        Why::NotCanonical => 6,
        Why::UnknownWriter => 7,
        Why::WriterBlocked => 8,
        Why::SignatureCount => 9,
        Why::SignatureKey => 10,
        Why::BadSignature => 11,
        Why::WriterNotAllowed => 12,
        Why::TextInvalid => 13,
        Why::EndpointInvalid => 14,
        Why::RolesInvalid => 15,
        Why::SupervisorNotAlone => 16,
        Why::UnknownInstitution => 17,
        Why::KeyInUse => 18,
        Why::RootInvalid => 19,
        Why::TooMany => 20,
        Why::VersionNotNext => 21,
        Why::PolicyInvalid => 22,
        Why::RulesNotAhead => 23,
        Why::BindingInvalid => 24,
        Why::IdMismatch => 25,
        Why::ForeignHolder => 26,
        Why::Conflict => 27,
        Why::ValidityInvalid => 28,
        Why::NotYetValid => 29,
        Why::Expired => 30,
        Why::NoPolicy => 31,
        Why::UsesAboveCap => 32,
        Why::DayCap => 33,
        Why::UnknownAuthorization => 34,
        Why::Revoked => 35,
        Why::PreimageWrong => 36,
        Why::UsedUp => 37,
        Why::DeadlineInvalid => 38,
        Why::UnknownReservation => 39,
        Why::ReservationRefused => 40,
        Why::UnknownSource => 41,
        Why::WrongSide => 42,
        Why::TraceFinal => 43,
        Why::StandingOfSupervisor => 44,
        Why::HeightAhead => 45,
        Why::HeightForgotten => 46,
        Why::RulesTooOld => 47,
        Why::UnknownNode => 48,
        Why::OtherKey => 49,
        Why::VerdictOnSelf => 50,
        Why::VerdictInvalid => 51,
        Why::VerdictOlder => 52,
    }
}
const REASONS: usize = 53;

#[test]
fn every_reason() {
    let mut seen = BTreeSet::new();
    let rows =
        [batch_rows(), member_rows(), setting_rows(), authorization_rows(), use_rows(), verdict_rows()];
    for (name, fate, why) in rows.into_iter().flatten().chain([no_policy_row()]) {
        seen.insert(number(why));
        assert_eq!(fate, Fate::Refused(why), "{name}");
    }
    assert_eq!(seen.len(), REASONS, "a reason without a row; seen: {seen:?}");
}

/// A withdrawn manifest stays listed as such, so that nobody takes it from elsewhere.
#[test]
fn a_reference_manifest_is_withdrawn_and_stays_listed() {
    let mut w = World::standard();
    assert_eq!(w.view().references().unwrap(), []);
    for standing in [Standing::Active, Standing::Blocked] {
        let Record::Reference(listed) = release(1, "1.4.2") else { unreachable!() };
        let listed = ReferenceManifest { standing, ..listed };
        assert_eq!(w.govern_one(Record::Reference(listed.clone())), Fate::Accepted);
        assert_eq!(w.view().references().unwrap(), [listed]);
    }
}
