//! The supervisor's side: deliveries in, who looked out, gaps named.
//!
//! Both sides of a use deliver its openings; one honest side suffices. [`intake`] believes a delivery only
//! as far as it matches the chain, [`look`] follows a firm's looks to their authorizations, and
//! [`reconcile`] names what one side lacks. [`attest`] judges what the gateways say of themselves, [`timeline`]
//! reads one device's verdicts back, and [`console`] shows all of it to people. All is kept in [`store`], over [`db`].

pub mod attest;
pub mod console;
pub mod db;
pub mod intake;
pub mod look;
pub mod reconcile;
#[cfg(test)]
mod reconcile_tests;
pub mod store;
#[cfg(test)]
mod suite;
pub mod timeline;
