//! Across regions: plan which sources to ask, ask them in parallel, merge what they say.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | which nodes are asked |
//! | [`mod@exchange`] | the state machine: who is asked when, retries, what is believed; no sockets, no clock |
//! | [`reply`] | whether one reply is believed |
//! | [`peer`] | asking one region; the trait, and its fake |
//! | [`driver`] | runs an exchange over a peer |
//! | [`merge`] | from outcomes to a report |
//!
//! The asking gateway trusts nobody: a reply counts only if it answers *our* request to *that* node over
//! *this* connection, from a state not older than the reservation. A source that fails leaves a named gap.

pub mod driver;
pub mod exchange;
pub mod merge;
pub mod peer;
pub mod plan;
pub mod reply;

pub use driver::exchange;
pub use exchange::{Ask, Event, Exchange, Limits, Outcome, Terms};
pub use merge::{BrokerError, Merged, ReportHead, assemble, delivered_outcomes};
pub use peer::{AskError, FakePeer, RegionPeer, RequestMaker, RequestTemplate};
pub use plan::{MAX_SOURCES, Plan};
pub use reply::{ReplyFault, check_reply};

#[cfg(test)]
mod testing;
