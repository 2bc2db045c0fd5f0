//! Source side: the last look before data leaves: still not revoked, deadline not passed, asker still trusted.

use super::{
    authorize::{PermittedRequest, refusal},
    fetch::Fetched,
    record::Trail,
    trust,
};
use crate::{app::App, reject::Rejection};
use gw_policy::View;
use gw_proto::{Digest, Height};
use gw_source::Snapshot;
use std::sync::Arc;

/// Data that may leave, as of a verified block.
pub struct Released {
    pub(super) permitted: PermittedRequest,
    pub(super) trail: Trail,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) height: Height,
    pub(super) hash: Digest,
}

/// Revocation again, on the newest state.
pub async fn once_more(app: &App, fetched: Fetched) -> Result<Released, Rejection> {
    let Fetched { permitted, trail, snapshot } = fetched;
    match look(app, &permitted) {
        Ok((height, hash)) => Ok(Released { permitted, trail, snapshot, height, hash }),
        Err(e) => Err(trail.fail(e).await),
    }
}

fn look(app: &App, permitted: &PermittedRequest) -> Result<(Height, Digest), Rejection> {
    let state = app.serving_state()?;
    let cursor = state.cursor();
    let view = View::new(&state);
    gw_policy::decide_release(&view, &permitted.permit).map_err(|r| refusal(&r))?;
    trust::still(app, &view, &permitted.node.id)?;
    Ok((cursor.height, cursor.hash))
}
