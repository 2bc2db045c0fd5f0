//! The web console: pages of HTML made here, on the administration listener under `/console/`.
//!
//! | file | what |
//! |---|---|
//! | [`fleet`] | every device's newest verdict |
//! | [`device`] | one device: what does not hold, what was expected and found, its timeline |
//! | [`proposals`] | what waits for a second person; who did what |
//! | [`traces`] | who looked at a firm, under which authorization, with proofs |
//! | [`chain`] | the ledger's health |
//! | [`limits`] | the chain's limits, and who ran into them |
//! | [`visit`] | who looks, in which language; headers; refusals as pages |
//! | [`form`] | queries and forms, and whether a form is ours |
//! | [`layout`] | what every page has |
//! | [`words`] | Chinese and English |
//!
//! No script, nothing from elsewhere, and no text that is not escaped: `maud` escapes what it is given, and the
//! one thing that it is told not to escape is our own style sheet. Times are UTC+8, as everybody concerned
//! reads them. Adding a page? A file, a line in [`routes`], one in [`layout::NAV`], and a row in
//! `api/operations.rs`: who may see it.

mod chain;
mod device;
mod fleet;
mod form;
mod layout;
mod limits;
mod proposals;
mod traces;
mod visit;
mod words;

use crate::app::App;
use axum::{Router, routing::get};
use std::sync::Arc;

/// The console's pages.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(fleet::PATH, get(fleet::page))
        .route("/console/devices/{id}", get(device::page))
        .route(proposals::PATH, get(proposals::page))
        .route(traces::PATH, get(traces::page).post(traces::found))
        .route(chain::PATH, get(chain::page))
        .route(limits::PATH, get(limits::page))
}
