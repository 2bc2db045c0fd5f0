//! The three listeners' HTTP interfaces; each handler is a few lines around a pipeline.
//!
//! | file | listener | for |
//! |---|---|---|
//! | [`bank`] | bank | an institution's own systems: `/v1/…`, OpenAPI 3.1 |
//! | [`man`] | MAN | other gateways: `/man/v1/…` |
//! | [`admin`], [`supervision`] | admin | operators of the box, the command line: `/admin/v1/…`, health, metrics |
//!
//! Adding an operation? A row in [`operations::TABLE`] too: who may call it. Without one it answers like a
//! path that is not there.

pub mod admin;
pub mod bank;
pub mod call;
pub mod dto;
pub mod man;
pub mod operations;
mod router;
pub mod supervision;

pub use router::router;
