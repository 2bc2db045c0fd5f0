//! Every refusal of a request, and what is permitted.

use crate::common::*;
use crate::evidence::{CODE, issue, signed, world_with_roots};
use gw_policy::{
    AccessRequest, At, Entry, Fate, Permit, Refusal, RefusalReason, StateError, StateRead, Uses, View,
    decide_authorization, decide_release,
};
use gw_proto::message::{Evidence, Opening, Statement, StatementError};
use gw_proto::record::*;
use gw_proto::*;
use gw_sm::cert::{CertError, CertKind};
use std::collections::BTreeSet;

/// A request and the world it is decided in. Built step by step; each row of the table spoils one thing.
#[derive(Clone)]
struct Case {
    w: World,
    s: Statement,
    e: Evidence,
    t: Opening,
    asker: InstitutionId,
    uses: Uses,
    at: At,
    now: UnixMillis,
    head_time: UnixMillis,
}

impl Case {
    /// An asker before it reserves; nothing registered yet.
    fn new() -> Self {
        let s = statement(1);
        let asker = inst("bank-a");
        let t = opening(&s, &asker, 1);
        let now = at(0);
        let (uses, place) = (Uses::Available, At::Asker);
        Self { w: World::standard(), s, e: asserted(), t, asker, uses, at: place, now, head_time: now }
    }
    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self::new();
        change(&mut case);
        case.t.authz_id = Authorization::of(&case.s).map_or(case.t.authz_id, |a| a.id);
        case.renew_report_id();
        case
    }
    fn renew_report_id(&mut self) {
        self.t.report_id = self.t.derive_report_id(&self.asker).unwrap();
    }
    fn registered(mut self) -> Self {
        assert_eq!(self.w.one("bank-a-1", authorization(&self.s)), Fate::Accepted);
        self
    }
    /// At a source, with an accepted reservation.
    fn reserved(mut self) -> Self {
        assert_eq!(self.reserve(), Fate::Accepted);
        self.at_source()
    }
    fn reserve(&mut self) -> Fate {
        let deadline = UnixMillis(self.w.time.0 + 60_000);
        self.w.one("bank-a-1", reservation(&self.t, deadline))
    }
    fn at_source(mut self) -> Self {
        self.uses = Uses::ReservedBy { asker: self.asker.clone(), report_id: self.t.report_id };
        self.at = At::Source { region: region("330100") };
        self
    }
    fn spoil(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
    /// Another opening that its own id derives from.
    fn reopen(mut self, change: impl FnOnce(&mut Opening)) -> Self {
        change(&mut self.t);
        self.renew_report_id();
        self
    }
    fn decide(&self) -> Result<Permit, Refusal> {
        self.decide_on(&self.w.state)
    }
    fn decide_on(&self, state: &dyn StateRead) -> Result<Permit, Refusal> {
        let request = AccessRequest {
            statement: &self.s,
            evidence: &self.e,
            opening: &self.t,
            asker: &self.asker,
            uses: self.uses.clone(),
            at: self.at,
        };
        decide_authorization(&View::new(state), &request, self.now, self.head_time)
    }
    fn revoke(&mut self) {
        let r = Revocation { authz_id: self.t.authz_id, preimage: None };
        assert_eq!(self.w.one("pboc-1", Record::Revocation(r)), Fate::Accepted);
    }
    fn refund(&mut self) {
        let r = Refund { asker: self.asker.clone(), report_id: self.t.report_id };
        assert_eq!(self.w.one("pboc-1", Record::Refund(r)), Fate::Accepted);
    }
    fn block_asker(&mut self) {
        let r = StandingChange {
            institution: self.asker.clone(),
            standing: Standing::Blocked,
            reason: "no deliveries".into(),
        };
        assert_eq!(self.w.one("pboc-1", Record::Standing(r)), Fate::Accepted);
    }
    fn set_policy(&mut self, change: impl FnOnce(&mut Policy)) {
        let mut p = policy(2);
        change(&mut p);
        assert_eq!(self.w.govern_one(Record::Policy(p)), Fate::Accepted);
    }
}

fn signed_case() -> Case {
    let (w, firms, _) = world_with_roots();
    let firm = issue(CertKind::EvidenceSigner, Some(CODE), 42, Some(&firms));
    let mut case = Case::with(|c| c.s.level = EvidenceLevel::Signed);
    case.e = signed(&case.s, &firm);
    case.w = w;
    case.registered()
}

/// A store whose disk is gone.
struct Broken;
impl StateRead for Broken {
    fn read(&self, _: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Err(StateError::Store("disk".into()))
    }
    fn scan(&self, _: &[u8], _: usize) -> Result<Vec<Entry>, StateError> {
        Err(StateError::Store("disk".into()))
    }
}

type Row = (&'static str, Result<Permit, Refusal>, Refusal);

fn general_rows() -> Vec<Row> {
    let good = || Case::new().registered();
    let row = |name, case: Case, want| (name, case.decide(), want);
    vec![
        ("disk gone", good().decide_on(&Broken), Refusal::State(StateError::Store("disk".into()))),
        row("no block", good().spoil(|c| c.w = World::empty()), Refusal::NoBlock),
        row(
            "no policy",
            good().spoil(|c| {
                c.w = World::empty();
                c.w.apply(Vec::new());
            }),
            Refusal::NoPolicy,
        ),
        row(
            "stale by a millisecond",
            good().spoil(|c| c.now = at(60_001)),
            Refusal::Stale { age_ms: 60_001, bound_ms: 60_000 },
        ),
        row("head ahead", good().spoil(|c| c.head_time = at(5_001)), Refusal::Ahead { ahead_ms: 5_001 }),
        row(
            "statement's version",
            good().spoil(|c| c.s.v = 2),
            Refusal::StatementInvalid(StatementError::Version(2)),
        ),
        row(
            "statement's list",
            good().spoil(|c| c.s.dimensions.clear()),
            Refusal::StatementInvalid(StatementError::List("dimensions")),
        ),
        row("opening's version", good().reopen(|t| t.v = 2), Refusal::OpeningInvalid),
        row("opening's list", good().reopen(|t| t.dimensions.clear()), Refusal::OpeningInvalid),
        row(
            "opening's list unsorted",
            good().reopen(|t| t.dimensions = vec![Dimension::Operation, Dimension::Basic]),
            Refusal::OpeningInvalid,
        ),
        row(
            "a number beyond 2^53",
            good().spoil(|c| c.s.not_after = UnixMillis(1 << 60)),
            Refusal::NotCanonical,
        ),
        row(
            "another consortium's statement",
            Case::with(|c| c.s.consortium = ConsortiumId::parse("elsewhere").unwrap()).registered(),
            Refusal::OtherConsortium,
        ),
        row("foreign", good().spoil(|c| c.asker = inst("bank-b")), Refusal::ForeignHolder),
        row("blocked asker", good().spoil(Case::block_asker), Refusal::AskerInactive),
        row(
            "asker never listed",
            Case::with(|c| {
                c.s.holder = inst("nobody");
                c.asker = inst("nobody");
            }),
            Refusal::AskerInactive,
        ),
        row(
            "statement changed after the fact",
            good().spoil(|c| c.s.max_uses = 5),
            Refusal::StatementMismatch,
        ),
        row(
            "opening for another authorization",
            good().reopen(|t| t.authz_id = AuthzId(Hex([1; 32]))),
            Refusal::StatementMismatch,
        ),
        row("never registered", Case::new(), Refusal::AuthorizationMissing),
        row(
            "registered with more uses than stated",
            Case::new().spoil(|c| {
                let more = Authorization { max_uses: 5, ..Authorization::of(&c.s).unwrap() };
                assert_eq!(c.w.one("bank-a-1", Record::Authorization(more)), Fate::Accepted);
            }),
            Refusal::PublicFieldsMismatch,
        ),
    ]
}

fn scope_rows() -> Vec<Row> {
    let good = || Case::new().registered();
    let row = |name, case: Case, want| (name, case.decide(), want);
    let other = Uscc::parse(&other_code()).unwrap();
    let later = |ms| {
        move |c: &mut Case| {
            (c.now, c.head_time) = (at(ms), at(ms));
        }
    };
    vec![
        row("not yet in force", Case::with(|c| c.s.not_before = at(1)).registered(), Refusal::NotYetValid),
        row("expired", good().spoil(later(30 * DAY)), Refusal::Expired),
        row("revoked", good().spoil(Case::revoke), Refusal::Revoked),
        row("another subject", good().reopen(|t| t.subject = other), Refusal::SubjectMismatch),
        row("another purpose", good().reopen(|t| t.purpose = Purpose::Other), Refusal::PurposeMismatch),
        row(
            "more dimensions",
            good().reopen(|t| t.dimensions = vec![Dimension::Basic, Dimension::Tax]),
            Refusal::DimensionOutside(vec![Dimension::Tax]),
        ),
        row(
            "dimensions above the level's cap",
            Case::with(|c| {
                c.s.dimensions = vec![Dimension::Basic, Dimension::Tax];
                c.t.dimensions = c.s.dimensions.clone();
            })
            .registered(),
            Refusal::CapDimensions(vec![Dimension::Tax]),
        ),
        row(
            "the level was closed since",
            good().spoil(|c| c.set_policy(|p| p.caps.asserted.dimensions.clear())),
            Refusal::CapDimensions(vec![Dimension::Basic]),
        ),
        row(
            "the cap of uses was lowered since",
            good().spoil(|c| c.set_policy(|p| p.caps.asserted.max_uses = 0)),
            Refusal::CapUses,
        ),
        row(
            "used up",
            Case::with(|c| c.s.max_uses = 1).registered().spoil(|c| {
                assert_eq!(c.reserve(), Fate::Accepted);
            }),
            Refusal::UsedUp,
        ),
        row(
            "region outside, at the source",
            good().reserved().spoil(|c| c.at = At::Source { region: region("320500") }),
            Refusal::RegionOutside,
        ),
    ]
}

/// A second valid code: the first one's last two characters replaced by a value and its check character.
fn other_code() -> String {
    let all = "0123456789ABCDEFGHJKLMNPQRTUWXY";
    let stem = &CODE[..16];
    all.chars()
        .flat_map(|a| all.chars().map(move |b| format!("{stem}{a}{b}")))
        .find(|c| c != CODE && Uscc::parse(c).is_ok())
        .unwrap()
}

fn reservation_rows() -> Vec<Row> {
    let good = || Case::new().registered();
    let row = |name, case: Case, want| (name, case.decide(), want);
    vec![
        row("no reservation", good().at_source(), Refusal::NoReservation),
        row(
            "a source never decides on uses that are left",
            good().reserved().spoil(|c| c.uses = Uses::Available),
            Refusal::NoReservation,
        ),
        row(
            "the report id of another writer",
            good().reserved().spoil(|c| c.t = opening(&c.s, &inst("bank-b"), 1)),
            Refusal::ReservationOfAnother,
        ),
        row(
            "reserved by another institution",
            good().reserved().spoil(|c| {
                c.uses = Uses::ReservedBy { asker: inst("bank-b"), report_id: c.t.report_id };
            }),
            Refusal::ReservationOfAnother,
        ),
        row(
            "reserved for another report",
            good().reserved().spoil(|c| c.t = opening(&c.s, &inst("bank-a"), 2)),
            Refusal::ReservationOfAnother,
        ),
        row(
            "the opening was changed, its id kept",
            good().reserved().spoil(|c| c.t.purpose = Purpose::PostLoan),
            Refusal::ReservationOfAnother,
        ),
        row(
            "lost the race for the last use",
            Case::with(|c| c.s.max_uses = 1)
                .registered()
                .spoil(|c| assert_eq!(c.reserve(), Fate::Accepted))
                .reopen(|t| t.salt = Hex([77; 32]))
                .spoil(|c| assert_eq!(c.reserve(), Fate::Refused(RefusalReason::UsedUp)))
                .at_source(),
            Refusal::ReservationRefused(RefusalReason::UsedUp),
        ),
        row("refunded", good().reserved().spoil(Case::refund), Refusal::Refunded),
        row("revoked since", good().reserved().spoil(Case::revoke), Refusal::Revoked),
        row(
            "committed to something else",
            good()
                .spoil(|c| {
                    let r = Reservation {
                        report_id: c.t.report_id,
                        authz_id: c.t.authz_id,
                        commitment: Commitment(Hex([2; 32])),
                        deadline: at(60_000),
                    };
                    assert_eq!(c.w.one("bank-a-1", Record::Reservation(r)), Fate::Accepted);
                })
                .at_source(),
            Refusal::OpeningMismatch,
        ),
        row("too late", good().reserved().spoil(|c| c.now = at(60_000)), Refusal::DeadlinePassed),
    ]
}

fn evidence_rows() -> Vec<Row> {
    let row = |name, case: Case, want| (name, case.decide(), want);
    let (_, firms, _) = world_with_roots();
    let stranger = issue(CertKind::Root, None, 50, None);
    let other = issue(CertKind::EvidenceSigner, Some(&other_code()), 51, Some(&firms));
    let unknown = issue(CertKind::EvidenceSigner, Some(CODE), 52, Some(&stranger));
    let of_other_root = |c: &mut Case| c.e = signed(&c.s, &unknown);
    let of_other_firm = |c: &mut Case| c.e = signed(&c.s, &other);
    let (strong, weak) = (EvidenceLevel::Signed, EvidenceLevel::Asserted);
    vec![
        row(
            "level above its proof",
            signed_case().spoil(|c| c.e = asserted()),
            Refusal::LevelAboveProof { claimed: strong, proved: weak },
        ),
        row(
            "level below its proof",
            Case::new().registered().spoil(of_other_firm),
            Refusal::LevelMismatch { claimed: weak, proved: strong },
        ),
        row(
            "signed under an unlisted root",
            signed_case().spoil(of_other_root),
            Refusal::EvidenceChain(CertError::UnknownIssuer),
        ),
        row("signed by another enterprise", signed_case().spoil(of_other_firm), Refusal::EvidenceSubject),
        row(
            "a signature over something else",
            signed_case().spoil(|c| {
                if let Evidence::Signed { signature, .. } = &mut c.e {
                    signature.0[63] ^= 1;
                }
            }),
            Refusal::EvidenceSignature,
        ),
    ]
}

/// A new refusal does not compile without a number here, and fails without a row above.
fn number(refusal: &Refusal) -> usize {
    match refusal {
        Refusal::State(_) => 0,
        Refusal::NoBlock => 1,
        Refusal::NoPolicy => 2,
        Refusal::Stale { .. } => 3,
        Refusal::Ahead { .. } => 4,
        Refusal::StatementInvalid(_) => 5,
        Refusal::OpeningInvalid => 6,
        Refusal::NotCanonical => 7,
        Refusal::OtherConsortium => 8,
        Refusal::ForeignHolder => 9,
        Refusal::AskerInactive => 10,
        Refusal::StatementMismatch => 11,
        Refusal::AuthorizationMissing => 12,
        Refusal::PublicFieldsMismatch => 13,
        Refusal::NotYetValid => 14,
        Refusal::Expired => 15,
        Refusal::Revoked => 16,
        Refusal::SubjectMismatch => 17,
        Refusal::PurposeMismatch => 18,
        Refusal::DimensionOutside(_) => 19,
        Refusal::RegionOutside => 20,
        Refusal::LevelAboveProof { .. } => 21,
        Refusal::LevelMismatch { .. } => 22,
        Refusal::CapDimensions(_) => 23,
        Refusal::CapUses => 24,
        Refusal::UsedUp => 25,
        Refusal::NoReservation => 26,
        Refusal::ReservationOfAnother => 27,
        Refusal::ReservationRefused(_) => 28,
        Refusal::Refunded => 29,
        Refusal::OpeningMismatch => 30,
        Refusal::DeadlinePassed => 31,
        Refusal::EvidenceChain(_) => 32,
        Refusal::EvidenceSubject => 33,
        Refusal::EvidenceSignature => 34,
    }
}
const REFUSALS: usize = 35;

#[test]
fn every_refusal() {
    let mut seen = BTreeSet::new();
    let rows = [general_rows(), scope_rows(), reservation_rows(), evidence_rows()];
    for (name, got, want) in rows.into_iter().flatten() {
        seen.insert(number(&want));
        assert!(!want.to_string().contains(CODE), "{name} prints the code");
        assert_eq!(got, Err(want), "{name}");
    }
    assert_eq!(seen.len(), REFUSALS, "a refusal without a row; seen: {seen:?}");
}

#[test]
fn a_permit_says_what_was_decided() {
    let case = Case::new().registered();
    let permit = case.decide().unwrap();
    assert_eq!((permit.asker(), permit.holder()), (&inst("bank-a"), &inst("bank-a")));
    assert_eq!((permit.report_id(), permit.authz_id()), (case.t.report_id, case.t.authz_id));
    assert_eq!((permit.subject(), permit.purpose()), (&case.s.subject, Purpose::PreLoan));
    assert_eq!(permit.dimensions(), [Dimension::Basic]);
    assert_eq!(permit.regions(), case.s.regions);
    assert_eq!((permit.level(), permit.uses()), (EvidenceLevel::Asserted, &Uses::Available));
    assert_eq!((permit.at(), permit.deadline()), (At::Asker, None));
    assert_eq!((permit.decided_at(), permit.decided_at_time()), (case.w.height(), at(0)));
    let source = case.reserved();
    let permit = source.decide().unwrap();
    assert_eq!((permit.uses(), permit.deadline()), (&source.uses, Some(at(60_000))));
}

#[test]
fn the_bounds_of_freshness_are_inclusive() {
    let mut case = Case::new().registered();
    case.now = at(60_000);
    case.decide().unwrap();
    case.now = at(0);
    case.head_time = at(5_000);
    case.decide().unwrap();
}

/// The use was spent while the authorization was in force: what follows may take until the deadline.
#[test]
fn validity_is_judged_at_the_reservation() {
    let mut case = Case::with(|c| c.s.not_after = at(1_000)).registered().reserved();
    (case.now, case.head_time) = (at(30_000), at(30_000));
    case.decide().unwrap();
    // an asker's replay does not need the deadline
    case.at = At::Asker;
    (case.now, case.head_time) = (at(HOUR), at(HOUR));
    case.decide().unwrap();
    // but nothing new can be asked for
    case.uses = Uses::Available;
    assert_eq!(case.decide(), Err(Refusal::Expired));
}

#[test]
fn a_certificate_may_end_before_the_authorization() {
    let mut case = signed_case();
    case.s = Statement { level: EvidenceLevel::Signed, not_after: at(300 * DAY), ..statement(2) };
    let (w, firms, _) = world_with_roots();
    case.w = w;
    case.e = signed(&case.s, &issue(CertKind::EvidenceSigner, Some(CODE), 42, Some(&firms)));
    case.t = opening(&case.s, &case.asker, 1);
    let mut case = case.registered();
    (case.now, case.head_time) = (at(100 * DAY), at(100 * DAY));
    case.decide().unwrap();
}

#[test]
fn a_lowered_cap_lets_finish_what_is_reserved() {
    let mut case = Case::new().registered().reserved();
    case.set_policy(|p| p.caps.asserted.max_uses = 0);
    case.decide().unwrap();
}

/// What happens between the decision and the release.
#[test]
fn release_looks_again() {
    let good = Case::new().registered().reserved();
    let permit = good.decide().unwrap();
    decide_release(&good.w.view(), &permit).unwrap();
    let after = |change: fn(&mut Case)| decide_release(&good.clone().spoil(change).w.view(), &permit);
    assert_eq!(after(Case::revoke), Err(Refusal::Revoked));
    assert_eq!(after(Case::refund), Err(Refusal::Refunded));
    assert_eq!(after(Case::block_asker), Err(Refusal::AskerInactive));
    let late = |c: &mut Case| {
        c.w.time = at(60_000);
        c.w.apply(Vec::new());
    };
    assert_eq!(after(late), Err(Refusal::DeadlinePassed));
    assert_eq!(after(|c| c.w = World::empty()), Err(Refusal::NoBlock));
    // leave to reserve is no leave to release
    let mut asker = Case::new().registered();
    let permit = asker.decide().unwrap();
    assert_eq!(decide_release(&asker.w.view(), &permit), Err(Refusal::NoReservation));
    assert_eq!(asker.reserve(), Fate::Accepted);
    decide_release(&asker.w.view(), &permit).unwrap();
}
