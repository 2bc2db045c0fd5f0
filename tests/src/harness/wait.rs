//! Waiting until something is so, never longer than a deadline; no test sleeps.

use anyhow::{Result, bail};
use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until `look` gives something. A look that fails is a look that saw nothing yet; what it said last
/// stands in the error at the deadline.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    // nobody sends: the time-out is the pause
    let (_keep, nothing) = mpsc::channel::<()>();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(e) if Instant::now() >= end => bail!("not within {limit:?}: {what}; at last: {e:#}"),
            Err(_) => {}
        }
        let _ = nothing.recv_timeout(PAUSE);
    }
}

/// Looks for as long as `limit`, and fails as soon as one look does: for what must stay so.
pub fn stays(what: &str, limit: Duration, mut look: impl FnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + limit;
    let (_keep, nothing) = mpsc::channel::<()>();
    while Instant::now() < end {
        if let Err(e) = look() {
            bail!("did not stay so: {what}: {e:#}");
        }
        let _ = nothing.recv_timeout(PAUSE);
    }
    Ok(())
}
