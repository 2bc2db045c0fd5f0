//! May this institution see this subject's data now? The only place that makes a [`Permit`].
//!
//! PROTOCOL, "Who checks what": the asker decides before it reserves ([`Uses::Available`]), a source after it
//! opened the commitments ([`Uses::ReservedBy`], [`At::Source`]), a replayed answer like the asker with
//! [`Uses::ReservedBy`]. Before data leaves, [`decide_release`] looks again.

use crate::evidence::check_evidence;
use crate::fate::Fate;
use crate::refusal::Refusal;
use crate::view::{AuthzState, Head, ReservationState, View};
use gw_proto::message::{Evidence, Opening, Statement, VERSION};
use gw_proto::record::{Authorization, Policy};
use gw_proto::{
    AuthzId, Dimension, EvidenceLevel, Height, InstitutionId, Purpose, Region, ReportId, Standing,
    UnixMillis, Uscc,
};
use std::time::Duration;

/// A head this far ahead of the clock is still taken: clocks differ.
pub const MAX_AHEAD: Duration = Duration::from_secs(5);

/// Whose turn it is to spend a use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uses {
    /// one must be left to reserve
    Available,
    /// this report has reserved one
    ReservedBy {
        /// whose reservation
        asker: InstitutionId,
        /// of which report
        report_id: ReportId,
    },
}

/// Where the decision is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// at the institution that asks
    Asker,
    /// at a source: it answers reservations only, for its region only, until the deadline only
    Source {
        /// the answering node's region
        region: Region,
    },
}

/// What is asked, opened.
#[derive(Debug, Clone)]
pub struct AccessRequest<'a> {
    /// S
    pub statement: &'a Statement,
    /// E
    pub evidence: &'a Evidence,
    /// T
    pub opening: &'a Opening,
    /// institution of the node that signed the request; at the asker, its own
    pub asker: &'a InstitutionId,
    /// whose turn it is to spend a use
    pub uses: Uses,
    /// where the decision is made
    pub at: At,
}

/// Leave to go on, made by [`decide_authorization`] alone. It cannot be built, copied or changed elsewhere:
/// ```compile_fail,E0451
/// fn forge(real: gw_policy::Permit, asker: gw_proto::InstitutionId) -> gw_policy::Permit {
///     gw_policy::Permit { asker, ..real }
/// }
/// ```
/// ```compile_fail,E0599
/// fn twice(real: gw_policy::Permit) -> (gw_policy::Permit, gw_policy::Permit) {
///     (real.clone(), real)
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    asker: InstitutionId,
    holder: InstitutionId,
    report_id: ReportId,
    authz_id: AuthzId,
    subject: Uscc,
    purpose: Purpose,
    dimensions: Vec<Dimension>,
    regions: Vec<Region>,
    level: EvidenceLevel,
    uses: Uses,
    at: At,
    deadline: Option<UnixMillis>,
    decided_at: Height,
    decided_at_time: UnixMillis,
}

impl Permit {
    /// who may go on
    pub fn asker(&self) -> &InstitutionId {
        &self.asker
    }
    /// whom the enterprise authorized; equals the asker
    pub fn holder(&self) -> &InstitutionId {
        &self.holder
    }
    /// which use
    pub fn report_id(&self) -> ReportId {
        self.report_id
    }
    /// under which authorization
    pub fn authz_id(&self) -> AuthzId {
        self.authz_id
    }
    /// about whom
    pub fn subject(&self) -> &Uscc {
        &self.subject
    }
    /// for what
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }
    /// which dimensions, and no others
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }
    /// which regions' sources may be asked
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }
    /// how the authorization is proved
    pub fn level(&self) -> EvidenceLevel {
        self.level
    }
    /// whether a use is yet to be reserved
    pub fn uses(&self) -> &Uses {
        &self.uses
    }
    /// where it was decided
    pub fn at(&self) -> At {
        self.at
    }
    /// of the reservation, if there is one
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.deadline
    }
    /// on the state after this block
    pub fn decided_at(&self) -> Height {
        self.decided_at
    }
    /// the local time given to the decision
    pub fn decided_at_time(&self) -> UnixMillis {
        self.decided_at_time
    }
}

fn ensure(holds: bool, otherwise: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// Decides on one consistent state. `now` is local time, `head_time` that of the newest verified block.
/// Cheap checks first; the evidence's certificates and signature last.
pub fn decide_authorization(
    view: &View<'_>,
    request: &AccessRequest<'_>,
    now: UnixMillis,
    head_time: UnixMillis,
) -> Result<Permit, Refusal> {
    let head = view.head()?.ok_or(Refusal::NoBlock)?;
    let policy = view.policy()?.ok_or(Refusal::NoPolicy)?;
    check_fresh(&policy, now, head_time)?;
    check_form(view, request)?;
    check_asker(view, request)?;
    let authz = find_authorization(view, request)?;
    let reservation = find_reservation(view, request)?;
    check_in_force(&authz, reservation.as_ref(), now)?;
    check_scope(&policy, request)?;
    check_uses(&policy, request, &authz, reservation.as_ref(), now)?;
    // E proves S; the chain took C_a = H(S) at this time, so that a certificate may end before S does
    check_evidence(view, request.statement, request.evidence, authz.block_time)?;
    Ok(grant(request, &authz, reservation.as_ref(), &head, now))
}

/// Looks again before data leaves: nothing has been revoked, blocked or given back since.
/// `view` is the newest state, not the one that was decided on.
pub fn decide_release(view: &View<'_>, permit: &Permit) -> Result<(), Refusal> {
    let head = view.head()?.ok_or(Refusal::NoBlock)?;
    check_active(view, &permit.asker)?;
    let authz = view.authorization(&permit.authz_id)?.ok_or(Refusal::AuthorizationMissing)?;
    ensure(authz.revoked.is_none(), Refusal::Revoked)?;
    // leave to reserve is no leave to release: by now the reservation must be there
    let reservation = view.reservation(&permit.asker, &permit.report_id)?.ok_or(Refusal::NoReservation)?;
    check_reservation_stands(&reservation)?;
    let late = matches!(permit.at, At::Source { .. }) && head.time >= reservation.record.deadline;
    ensure(!late, Refusal::DeadlinePassed)
}

fn check_fresh(policy: &Policy, now: UnixMillis, head_time: UnixMillis) -> Result<(), Refusal> {
    let ahead = head_time.since(now);
    let ahead_ms = head_time.0.saturating_sub(now.0);
    ensure(ahead <= MAX_AHEAD, Refusal::Ahead { ahead_ms })?;
    let age_ms = now.0.saturating_sub(head_time.0);
    ensure(age_ms <= policy.staleness_ms, Refusal::Stale { age_ms, bound_ms: policy.staleness_ms })
}

fn check_form(view: &View<'_>, request: &AccessRequest<'_>) -> Result<(), Refusal> {
    let (s, t) = (request.statement, request.opening);
    s.check_form().map_err(Refusal::StatementInvalid)?;
    ensure(t.v == VERSION && t.dimensions_well_formed(), Refusal::OpeningInvalid)?;
    let origin = view.origin()?.ok_or(Refusal::NoBlock)?;
    ensure(s.consortium == origin.consortium, Refusal::OtherConsortium)
}

fn check_asker(view: &View<'_>, request: &AccessRequest<'_>) -> Result<(), Refusal> {
    ensure(request.statement.holder == *request.asker, Refusal::ForeignHolder)?;
    check_active(view, request.asker)
}

fn check_active(view: &View<'_>, id: &InstitutionId) -> Result<(), Refusal> {
    let listed = view.institution(id)?;
    ensure(listed.is_some_and(|i| i.record.standing == Standing::Active), Refusal::AskerInactive)
}

/// The authorization that S gives, and that T names, with the public fields that S says.
fn find_authorization(view: &View<'_>, request: &AccessRequest<'_>) -> Result<AuthzState, Refusal> {
    let public = Authorization::of(request.statement).map_err(|_| Refusal::NotCanonical)?;
    ensure(request.opening.authz_id == public.id, Refusal::StatementMismatch)?;
    let known = view.authorization(&public.id)?.ok_or(Refusal::AuthorizationMissing)?;
    ensure(known.record == public, Refusal::PublicFieldsMismatch)?;
    Ok(known)
}

/// The reservation that the report id and C_r stand for; none where one is yet to be made.
fn find_reservation(
    view: &View<'_>,
    request: &AccessRequest<'_>,
) -> Result<Option<ReservationState>, Refusal> {
    let t = request.opening;
    let derived = t.derive_report_id(request.asker).map_err(|_| Refusal::NotCanonical)?;
    ensure(derived == t.report_id, Refusal::ReservationOfAnother)?;
    let Uses::ReservedBy { asker, report_id } = &request.uses else {
        let at_source = matches!(request.at, At::Source { .. });
        return if at_source { Err(Refusal::NoReservation) } else { Ok(None) };
    };
    ensure(asker == request.asker && *report_id == t.report_id, Refusal::ReservationOfAnother)?;
    let found = view.reservation(asker, report_id)?.ok_or(Refusal::NoReservation)?;
    let commitment = t.commitment().map_err(|_| Refusal::NotCanonical)?;
    let opens = found.record.authz_id == t.authz_id && found.record.commitment == commitment;
    ensure(opens, Refusal::OpeningMismatch)?;
    Ok(Some(found))
}

fn check_reservation_stands(reservation: &ReservationState) -> Result<(), Refusal> {
    match reservation.fate {
        Fate::Accepted if reservation.refunded.is_some() => Err(Refusal::Refunded),
        Fate::Accepted => Ok(()),
        Fate::Refused(reason) => Err(Refusal::ReservationRefused(reason)),
        Fate::Repeated => Err(Refusal::NoReservation),
    }
}

/// Validity at the reservation's block time, where there is one: the use was spent then. Revocation is now.
fn check_in_force(
    authz: &AuthzState,
    reservation: Option<&ReservationState>,
    now: UnixMillis,
) -> Result<(), Refusal> {
    let at = reservation.map_or(now, |r| r.block_time);
    ensure(at >= authz.record.not_before, Refusal::NotYetValid)?;
    ensure(at < authz.record.not_after, Refusal::Expired)?;
    ensure(authz.revoked.is_none(), Refusal::Revoked)
}

/// T within S, and within what the policy allows S's level.
fn check_scope(policy: &Policy, request: &AccessRequest<'_>) -> Result<(), Refusal> {
    let (s, t) = (request.statement, request.opening);
    ensure(t.subject == s.subject, Refusal::SubjectMismatch)?;
    ensure(s.purposes.contains(&t.purpose), Refusal::PurposeMismatch)?;
    let outside = |allowed: &[Dimension]| -> Vec<Dimension> {
        t.dimensions.iter().filter(|d| !allowed.contains(d)).copied().collect()
    };
    let beyond = outside(&s.dimensions);
    ensure(beyond.is_empty(), Refusal::DimensionOutside(beyond))?;
    if let At::Source { region } = request.at {
        ensure(s.regions.contains(&region), Refusal::RegionOutside)?;
    }
    let beyond = outside(&policy.caps.of(s.level).dimensions);
    ensure(beyond.is_empty(), Refusal::CapDimensions(beyond))
}

fn check_uses(
    policy: &Policy,
    request: &AccessRequest<'_>,
    authz: &AuthzState,
    reservation: Option<&ReservationState>,
    now: UnixMillis,
) -> Result<(), Refusal> {
    let Some(reservation) = reservation else {
        ensure(authz.spent < authz.record.max_uses, Refusal::UsedUp)?;
        return ensure(authz.spent < policy.caps.of(authz.record.level).max_uses, Refusal::CapUses);
    };
    check_reservation_stands(reservation)?;
    // the asker may give out again what it has; a source answers until the deadline
    let late = matches!(request.at, At::Source { .. }) && now >= reservation.record.deadline;
    ensure(!late, Refusal::DeadlinePassed)
}

fn grant(
    request: &AccessRequest<'_>,
    authz: &AuthzState,
    reservation: Option<&ReservationState>,
    head: &Head,
    now: UnixMillis,
) -> Permit {
    let (s, t) = (request.statement, request.opening);
    Permit {
        asker: request.asker.clone(),
        holder: authz.record.holder.clone(),
        report_id: t.report_id,
        authz_id: authz.record.id,
        subject: t.subject.clone(),
        purpose: t.purpose,
        dimensions: t.dimensions.clone(),
        regions: s.regions.clone(),
        level: s.level,
        uses: request.uses.clone(),
        at: request.at,
        deadline: reservation.map(|r| r.record.deadline),
        decided_at: head.height,
        decided_at_time: now,
    }
}
