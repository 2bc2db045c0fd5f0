//! The supervisor's side: deliveries in, who looked out, gaps named.
//!
//! Both sides of a use deliver its openings; one honest side suffices. [`intake`] believes a delivery only
//! as far as it matches the chain, [`look`] follows a firm's looks to their authorizations, and
//! [`reconcile`] names what one side lacks. [`attest`] judges what the gateways say of themselves, [`timeline`]
//! reads one device's verdicts back, [`four_eyes`] lets no one person revoke, [`audit`] remembers what people did, and
//! [`console`] shows all of it to them. All is kept in [`store`], over [`db`].

pub mod attest;
pub mod audit;
pub mod console;
pub mod db;
pub mod four_eyes;
pub mod intake;
pub mod look;
#[cfg(test)]
mod people_suite;
pub mod reconcile;
#[cfg(test)]
mod reconcile_tests;
pub mod store;
#[cfg(test)]
mod suite;
pub mod timeline;
