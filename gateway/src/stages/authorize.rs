//! Stage 4, authorize: a pure decision on verified state mints the `Permit`.
//!
//! At the asker: S and E come from its own documents, T is made here (or remembered by Idempotency-Key).
//! At a source: all three were opened to it, and the use must be reserved already. The decision itself is
//! `gw_policy::decide_authorization`, the same for both.

use super::{
    Accepted,
    identify::{self, IdentifiedOperator},
    limit::Quota,
    limit_stage::{AdmittedOperator, AdmittedRequest},
    open::CaughtUp,
    trust,
};
use crate::{
    app::App,
    documents::{Authorized, IdempotencyScope, Remembered},
    reject::{self, Rejection},
};
use gw_policy::{AccessRequest, At, Permit, Refusal, Uses, View};
use gw_proto::{
    AuthzId, Digest, Dimension, Height, Hex, Purpose, Role, UnixMillis, Uscc,
    message::{Evidence, Opening, Request, Statement},
    record::Node,
};

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct Query {
    /// under which authorization
    pub authorization_id: AuthzId,
    /// about whom
    pub subject: Uscc,
    /// for what
    pub purpose: Purpose,
    /// which dimensions; sorted, no duplicates
    pub dimensions: Vec<Dimension>,
    /// Idempotency-Key and the digest of the body
    pub idempotency: Option<(String, Digest)>,
}

/// Where a decision was made.
#[derive(Debug, Clone, Copy)]
pub struct DecidedAt {
    /// height of the verified state
    pub height: Height,
    /// hash of that block
    pub hash: Digest,
}

/// An operator's query that policy allows.
pub struct PermittedQuery {
    pub(super) identified: IdentifiedOperator,
    pub(super) quotas: Vec<Quota>,
    pub(super) permit: Permit,
    pub(super) documents: Authorized,
    pub(super) opening: Opening,
    pub(super) at: DecidedAt,
    /// reserved already: a replay by Idempotency-Key
    pub(super) replay: bool,
}

impl PermittedQuery {
    /// the request
    pub fn accepted(&self) -> &Accepted {
        self.identified.accepted()
    }
}

/// A gateway's request that policy allows on this source's own state.
pub struct PermittedRequest {
    pub(super) accepted: Accepted,
    pub(super) node: Node,
    pub(super) request: Request,
    pub(super) request_leaf: Digest,
    pub(super) permit: Permit,
    pub(super) quotas: Vec<Quota>,
}

/// Decides an operator's query.
pub fn at_asker(app: &App, admitted: AdmittedOperator, query: Query) -> Result<PermittedQuery, Rejection> {
    let AdmittedOperator { identified, quotas } = admitted;
    let missing = || Rejection::new(reject::AUTHZ_MISSING, "no authorization with this id was uploaded here");
    let documents =
        app.documents.find(&query.authorization_id).map_err(Rejection::internal)?.ok_or_else(missing)?;
    let opening = opening_of(app, &identified, &query)?;

    let state = app.serving_state()?;
    let cursor = state.cursor();
    let view = View::new(&state);
    identify::own_node(&view, &app.node, Role::Institution)?;
    trust::own(app, &view)?;
    let reserved = view
        .reservation(&app.institution, &opening.report_id)
        .map_err(Rejection::internal)?
        .is_some_and(|r| r.accepted());
    let uses = if reserved {
        Uses::ReservedBy { asker: app.institution.clone(), report_id: opening.report_id }
    } else {
        Uses::Available
    };
    let request = AccessRequest {
        statement: &documents.statement,
        evidence: &documents.evidence,
        opening: &opening,
        asker: &app.institution,
        uses,
        at: At::Asker,
    };
    let permit = gw_policy::decide_authorization(&view, &request, app.clock.now(), cursor.time)
        .map_err(|r| refusal(&r))?;
    if !reserved {
        check_sources(app, &view, &permit)?;
    }
    let at = DecidedAt { height: cursor.height, hash: cursor.hash };
    drop(state);
    Ok(PermittedQuery { identified, quotas, permit, documents, opening, at, replay: reserved })
}

/// Before a use is spent on an empty report.
fn check_sources(app: &App, view: &View<'_>, permit: &Permit) -> Result<(), Rejection> {
    let all = view.sources_in(permit.regions()).map_err(Rejection::internal)?;
    if all.is_empty() {
        return Err(Rejection::new(
            reject::NO_SOURCE,
            "none of the statement's regions has an active source",
        ));
    }
    let (asked, left) = trust::sources(app, view, all)?;
    if asked.is_empty() {
        let names: Vec<_> = left.iter().map(|n| n.id.as_str()).collect();
        return Err(Rejection::new(reject::SOURCE_NOT_TRUSTED, format!("not trusted: {}", names.join(", "))));
    }
    Ok(())
}

/// T: fresh, or the one that this Idempotency-Key stands for. Kept before anything is reserved.
fn opening_of(app: &App, identified: &IdentifiedOperator, query: &Query) -> Result<Opening, Rejection> {
    let Some((key, body)) = &query.idempotency else { return fresh_opening(app, identified, query) };
    let scope = IdempotencyScope::new(&app.institution, identified.name(), key);
    let now = app.clock.now();
    if let Some(r) = app.documents.remembered(&scope, now).map_err(Rejection::internal)? {
        if &r.body != body {
            return Err(Rejection::new(reject::IDEMPOTENCY_CONFLICT, "the key was used with another body"));
        }
        return Ok(r.opening);
    }
    let opening = fresh_opening(app, identified, query)?;
    let remembered = Remembered { body: *body, opening: opening.clone(), created: now };
    // waits for the disk: the runtime moves its other work elsewhere meanwhile
    let kept = tokio::task::block_in_place(|| app.documents.remember(&scope, &remembered));
    if !kept.map_err(Rejection::internal)? {
        return Err(Rejection::new(reject::BUSY, "too many idempotency keys are held"));
    }
    Ok(opening)
}

fn fresh_opening(app: &App, identified: &IdentifiedOperator, query: &Query) -> Result<Opening, Rejection> {
    let mut salt = [0u8; 32];
    app.entropy.fill(&mut salt).map_err(Rejection::internal)?;
    Opening::new(
        &app.institution,
        query.authorization_id,
        query.subject.clone(),
        query.purpose,
        query.dimensions.clone(),
        *identified.tag(),
        Hex(salt),
    )
    .map_err(Rejection::internal)
}

/// Decides another gateway's request.
pub fn at_source(app: &App, caught_up: CaughtUp) -> Result<PermittedRequest, Rejection> {
    let AdmittedRequest { opened, quotas } = caught_up.into_admitted();
    let (accepted, node, request, request_leaf) = opened.into_parts();
    let state = app.serving_state()?;
    let cursor = state.cursor();
    let view = View::new(&state);
    let own = identify::own_node(&view, &app.node, Role::Source)?;
    let opening = &request.opening;
    let access = AccessRequest {
        statement: &request.statement,
        evidence: &request.evidence,
        opening,
        asker: &node.institution,
        uses: Uses::ReservedBy { asker: node.institution.clone(), report_id: opening.report_id },
        at: At::Source { region: own.region },
    };
    let permit = gw_policy::decide_authorization(&view, &access, app.clock.now(), cursor.time)
        .map_err(|r| refusal(&r))?;
    drop(state);
    Ok(PermittedRequest { accepted, node, request, request_leaf, permit, quotas })
}

/// Checks an upload: form, holder, evidence and caps, before a record is written.
pub fn check_upload(app: &App, statement: &Statement, evidence: &Evidence) -> Result<(), Rejection> {
    statement.check_form().map_err(|e| Rejection::new(reject::MALFORMED, e.to_string()))?;
    if statement.holder != app.institution || statement.consortium != app.genesis.consortium {
        return Err(Rejection::new(
            reject::HOLDER,
            format!("this gateway is of `{}` in `{}`", app.institution, app.genesis.consortium),
        ));
    }
    check_size(statement, evidence)?;
    let now: UnixMillis = app.clock.now();
    if statement.not_after <= now {
        return Err(Rejection::new(reject::AUTHZ_EXPIRED, "`not_after` has passed"));
    }
    let state = app.serving_state()?;
    let view = View::new(&state);
    identify::own_node(&view, &app.node, Role::Institution)?;
    gw_policy::check_evidence(&view, statement, evidence, now).map_err(|r| refusal(&r))?;
    check_caps(&view, statement)
}

/// The most bytes of S and E together. Both travel in every request and every delivery, which are bounded:
/// what does not fit there must not be taken here, or each question about it would spend a use for nothing.
const MAX_DOCUMENTS: usize = 32 * 1024;

fn check_size(statement: &Statement, evidence: &Evidence) -> Result<(), Rejection> {
    let size = |v: Result<Vec<u8>, gw_proto::canon::CanonError>| {
        v.map(|b| b.len()).map_err(|e| Rejection::new(reject::MALFORMED, e.to_string()))
    };
    let found = size(gw_proto::jcs(statement))? + size(gw_proto::jcs(evidence))?;
    if found <= MAX_DOCUMENTS {
        return Ok(());
    }
    let detail =
        format!("statement and evidence have {found} bytes together, at most {MAX_DOCUMENTS} are taken");
    Err(Rejection::new(reject::TOO_LARGE, detail))
}

/// What the ledger's rules would refuse anyway, said before a transaction is spent on it.
fn check_caps(view: &View<'_>, statement: &Statement) -> Result<(), Rejection> {
    let policy = view.policy().map_err(Rejection::internal)?;
    let policy = policy.ok_or_else(|| Rejection::new(reject::STALE, "no policy on the ledger yet"))?;
    let cap = policy.caps.of(statement.level);
    if statement.max_uses > cap.max_uses {
        let detail =
            format!("`max_uses` is {}, this evidence level has at most {}", statement.max_uses, cap.max_uses);
        return Err(Rejection::new(reject::CAP, detail));
    }
    match statement.dimensions.iter().find(|d| !cap.dimensions.contains(d)) {
        Some(d) => Err(Rejection::new(
            reject::CAP,
            format!("this evidence level does not allow the dimension `{}`", d.as_str()),
        )),
        None => Ok(()),
    }
}

/// Policy's refusal as the peer sees it. A match without a wildcard: a new reason needs its row.
pub fn refusal(r: &Refusal) -> Rejection {
    let problem = match r {
        Refusal::State(_) => return Rejection::internal(r),
        Refusal::NoBlock | Refusal::NoPolicy | Refusal::Stale { .. } | Refusal::Ahead { .. } => reject::STALE,
        Refusal::StatementInvalid(_) | Refusal::OpeningInvalid | Refusal::NotCanonical => reject::MALFORMED,
        Refusal::OtherConsortium => reject::HOLDER,
        Refusal::AskerInactive => reject::NOT_LISTED,
        // of somebody else and not there look the same
        Refusal::ForeignHolder | Refusal::AuthorizationMissing => {
            return Rejection::new(reject::AUTHZ_MISSING, "no such authorization of the asking institution")
                .because(r);
        }
        Refusal::StatementMismatch | Refusal::PublicFieldsMismatch | Refusal::OpeningMismatch => {
            reject::OPENING
        }
        Refusal::NotYetValid => reject::AUTHZ_NOT_YET,
        Refusal::Expired => reject::AUTHZ_EXPIRED,
        Refusal::Revoked => reject::AUTHZ_REVOKED,
        Refusal::SubjectMismatch => reject::SUBJECT_MISMATCH,
        Refusal::PurposeMismatch => reject::PURPOSE,
        Refusal::DimensionOutside(_) | Refusal::RegionOutside | Refusal::CapDimensions(_) => {
            reject::DIMENSION
        }
        Refusal::LevelAboveProof { .. }
        | Refusal::LevelMismatch { .. }
        | Refusal::EvidenceChain(_)
        | Refusal::EvidenceSubject
        | Refusal::EvidenceSignature => reject::EVIDENCE,
        Refusal::CapUses => reject::CAP,
        Refusal::UsedUp => reject::AUTHZ_USED,
        Refusal::NoReservation | Refusal::ReservationOfAnother | Refusal::Refunded => {
            reject::RESERVATION_MISSING
        }
        Refusal::ReservationRefused(_) => reject::RESERVATION_REFUSED,
        Refusal::DeadlinePassed => reject::RESERVATION_LATE,
    };
    Rejection::new(problem, r.to_string())
}
