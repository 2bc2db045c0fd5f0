//! Source side: one snapshot per report id.
//!
//! The database is asked once per use; a retry of the same use gets the same payload, signed anew. The
//! snapshot is kept in memory until the reservation's deadline and never touches a disk.

use super::record::{RecordedRequest, Trail};
use crate::{
    app::App,
    reject::{self, Rejection},
    stages::authorize::PermittedRequest,
};
use gw_proto::{InstitutionId, ReportId, UnixMillis};
use gw_source::{FetchLimits, Snapshot, SourceError};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// The most snapshots held at once.
pub const MAX_SNAPSHOTS: usize = 10_000;

/// One use: whose, which.
type Use = (InstitutionId, ReportId);

/// Snapshots by use.
#[derive(Default)]
pub struct Snapshots {
    inner: Mutex<HashMap<Use, (UnixMillis, Arc<Snapshot>)>>,
}

impl Snapshots {
    fn find(&self, key: &Use) -> Option<Arc<Snapshot>> {
        let inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.get(key).map(|(_, s)| Arc::clone(s))
    }
    /// Keeps a snapshot; if another was kept meanwhile, that one counts.
    fn keep(
        &self,
        key: Use,
        until: UnixMillis,
        snapshot: Snapshot,
        now: UnixMillis,
    ) -> Result<Arc<Snapshot>, Rejection> {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if inner.len() >= MAX_SNAPSHOTS {
            inner.retain(|_, (until, _)| *until > now);
            if inner.len() >= MAX_SNAPSHOTS {
                return Err(Rejection::new(reject::BUSY, "too many answers are held for retries"));
            }
        }
        let entry = inner.entry(key).or_insert_with(|| (until, Arc::new(snapshot)));
        Ok(Arc::clone(&entry.1))
    }
    /// Forgets what is past its deadline; called now and then.
    pub fn sweep(&self, now: UnixMillis) {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.retain(|_, (until, _)| *until > now);
    }
}

/// A permitted request with the source's own data.
pub struct Fetched {
    pub(super) permitted: PermittedRequest,
    pub(super) trail: Trail,
    pub(super) snapshot: Arc<Snapshot>,
}

/// Asks the database, or finds what it said.
pub async fn snapshot(app: &App, recorded: RecordedRequest) -> Result<Fetched, Rejection> {
    let RecordedRequest { permitted, trail } = recorded;
    match ask(app, &permitted).await {
        Ok(snapshot) => Ok(Fetched { permitted, trail, snapshot }),
        Err(e) => Err(trail.fail(e).await),
    }
}

async fn ask(app: &App, permitted: &PermittedRequest) -> Result<Arc<Snapshot>, Rejection> {
    let opening = &permitted.request.opening;
    let key = (permitted.node.institution.clone(), opening.report_id);
    if let Some(found) = app.snapshots.find(&key) {
        return Ok(found);
    }
    let source = app.source.as_ref().ok_or_else(|| Rejection::internal("no database is configured"))?;
    let left = permitted.accepted.budget.left(&*app.clock)?;
    let (subject, dimensions) = (permitted.permit.subject().clone(), permitted.permit.dimensions().to_vec());
    // signing and tracing need time after it
    let limits = FetchLimits::until(std::time::Instant::now() + left.mul_f32(0.7));
    let snapshot = source.fetch(subject, dimensions, limits).await.map_err(source_rejection)?;
    let now = app.clock.now();
    app.snapshots.keep(key, permitted.permit.deadline().unwrap_or(now), snapshot, now)
}

/// The database's failure as the peer sees it: what it was stands in our own log only.
fn source_rejection(e: SourceError) -> Rejection {
    let problem = match e {
        SourceError::Busy { .. } => reject::BUSY,
        _ => reject::SOURCE_DOWN,
    };
    Rejection::new(problem, "the source's database is busy or does not answer as its mapping says").because(e)
}
