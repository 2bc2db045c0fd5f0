//! Development tools: a whole consortium in a folder, statements signed by an enterprise's key.
//!
//! Compiled only with the feature `dev`, which a release build does not have. What they make calls itself a
//! development consortium everywhere.

pub mod board;
pub mod configs;
pub mod consortium;
pub mod keystore;
pub mod ledger;
pub mod pki;
pub mod reference;
pub mod statement;
