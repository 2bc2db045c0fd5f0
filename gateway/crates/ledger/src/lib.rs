//! Follows the chain, verifies every block, holds the verified state, submits records.
//!
//! ```text
//! endpoint ──RawBlock──▶ verify ──VerifiedBlock──▶ state (apply, one store transaction) ──Cursor──▶ readers
//!     ▲                    ▲                                                               │
//!     └── driver ── follower (events → actions, no I/O)          submit ◀── records ◀──────┘
//! ```
//!
//! No endpoint is believed: whole blocks are fetched, the sealers' signatures counted against the pinned
//! set, both roots recomputed. What comes out of [`verify`] cannot be made in any other way.
//!
//! | module | what |
//! |---|---|
//! | [`endpoint`] | the [`Ledger`] trait: what one endpoint of the chain can be asked |
//! | [`adapter`] | [`FiscoRpc`]: FISCO BCOS 3's JSON-RPC over HTTP or HTTPS |
//! | [`verify`] | a raw block, checked as a whole; the records in it |
//! | [`follower`] | which endpoint to ask what, when to commit, alarm, halt: no I/O |
//! | [`state`] | [`StateHandle`]: the verified state, its cursor, its health |
//! | [`driver`] | [`follow`]: the follower's actions done |
//! | [`submit`] | [`Submitter`]: records into batches into transactions, and their fate |
//! | [`tx`] | building and account-signing transactions |
//! | [`inclusion`] | [`fetch_inclusion`]: the proof that a record stands on the chain |
//! | [`heartbeat()`] | a block on an idle chain, by the node whose turn it is |
//! | `dev` | the development ledger, cargo feature `dev` |

pub mod adapter;
#[cfg(feature = "dev")]
pub mod dev;
pub mod driver;
pub mod endpoint;
pub mod error;
#[cfg(any(test, feature = "dev"))]
pub mod fake;
pub mod follower;
pub mod heartbeat;
pub mod inclusion;
pub mod state;
pub mod submit;
pub mod tx;
pub mod verify;

pub use adapter::{FiscoRpc, RpcOptions};
pub use driver::{FollowOptions, follow};
pub use endpoint::{Ledger, RawBlock};
pub use error::{Blame, BlockFault, LedgerError};
pub use follower::{Action, Alarm, Event, Follower, FollowerOptions, Moment};
pub use heartbeat::heartbeat;
pub use inclusion::fetch_inclusion;
pub use state::{Cursor, EndpointStatus, Health, StateGuard, StateHandle, TxOutcome};
pub use submit::{Recorded, SubmitConfig, Submitted, Submitter, SubmitterTask};
pub use verify::{Skip, Skipped, VerifiedBlock, verify_block};

#[cfg(test)]
mod tests;
