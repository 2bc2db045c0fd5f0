//! What a record means and who may see what: pure functions, no clock, no I/O.
//!
//! Two questions are answered here and nowhere else:
//! *what does this block do to the state* ([`apply_block`], the same on every box and every engine) and
//! *may this institution see this subject's data now* ([`decide_authorization`], [`decide_release`]).
//!
//! | module | what |
//! |---|---|
//! | [`state`] | reading and changing a state: `StateRead`, `Change`, `MapState`, the overlay of one block |
//! | [`view`] | typed reads: institutions, nodes, authorizations, reservations, traces |
//! | [`table`] | THE table: which writer may write which record |
//! | [`apply`] | blocks, batches, records: fates, changes, the rolling state digest |
//! | [`authorize`] | requests: the only place that makes a [`Permit`] |
//! | [`evidence`] | whether E proves S |
//! | [`trust`] | what the supervisors' verdicts on a gateway come to |

pub mod apply;
pub mod authorize;
pub mod evidence;
pub mod fate;
mod keys;
pub mod refusal;
pub mod state;
pub mod table;
pub mod trust;
pub mod view;

pub use apply::{KNOWN_RULES, TraceNeed, apply_block, record_id, trace_need};
pub use authorize::{AccessRequest, At, Permit, Uses, decide_authorization, decide_release};
pub use evidence::check_evidence;
pub use fate::{Alarm, ApplyError, BlockInput, BlockOutcome, Fate, RecordFate, RefusalReason};
pub use keys::LAYOUT;
pub use refusal::{Blame, Refusal};
pub use state::{Change, Entry, MapState, Overlay, StateError, StateRead};
pub use trust::{Trust, trust_in};
pub use view::{
    AuthzState, BindingRec, Head, InstitutionRec, NodeRec, ReservationState, TraceState, VerdictState, View,
};
