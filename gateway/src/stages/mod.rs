//! The stages of a query, one file each; `pipeline.rs` has their order.
//!
//! Asker: [`identify`] → [`limit_stage`] → [`authorize`] → [`record`] → [`reserve`] → [`broker`] →
//! [`merge`] → [`trace`] → [`answer`]. Source: [`identify`] → [`trust`] → [`limit_stage`] →
//! [`open`] → [`authorize`] → [`record`] → [`fetch`] → [`release`] → [`trace`] → [`answer`].
//! A stage's type has private fields: only its stage makes it.

pub mod answer;
pub mod authorize;
pub mod broker;
pub mod fetch;
pub mod identify;
pub mod limit;
pub mod limit_stage;
pub mod merge;
pub mod open;
pub mod record;
pub mod release;
pub mod reserve;
pub mod trace;
pub mod trust;

use crate::listen::ConnInfo;
use gw_proto::{Budget, UnixMillis};

/// A request as it came off a listener: mutual TLS stands, nobody is identified yet.
#[derive(Clone)]
pub struct Accepted {
    /// the connection it came on
    pub conn: ConnInfo,
    /// what is left of its time
    pub budget: Budget,
    /// W3C trace id, 32 hex digits
    pub trace_id: String,
    /// when it came
    pub at: UnixMillis,
}
