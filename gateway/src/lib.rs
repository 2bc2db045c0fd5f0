//! Xinguan (信关): the edge gateway for credit data.
//!
//! # The life of a query
//! `pipeline.rs` has it on one screen. A bank's operator asks over the bank listener; the stages in
//! [`stages`] identify, limit, authorize, record the intent, reserve one use on the ledger, ask the sources,
//! merge, trace and answer. A source runs its own stages on its own verified state.
//!
//! | module | what |
//! |---|---|
//! | [`pipeline`] | THE request path |
//! | [`stages`] | one file per stage |
//! | [`reject`] | the one table: refusal → what the peer sees |
//! | [`assemble`] | composition root: the only file that names concrete backends |
//! | [`app`] | what the stages share |
//! | [`chain_clock`] | local time, never below the chain's |
//! | [`listen`], [`dial`], [`tls`] | accepting, calling, TLS keys in memory |
//! | [`api`] | HTTP: bank, MAN, admin |
//! | [`supervisor`] | deliveries, who looked, reconciliation, verdicts on the gateways |
//! | [`attester`] | what this box says of itself to supervisors |
//! | [`board`] | tamper switch, watchdog, lights, sensors |
//! | [`signing`] | Merkle batches: one thread per device |
//! | [`config`], [`commands`], [`telemetry`] | file, command line, logs |

pub mod api;
pub mod app;
pub mod assemble;
pub mod attester;
pub mod board;
pub mod certificates;
pub mod chain_clock;
pub mod commands;
pub mod config;
#[cfg(feature = "dev")]
pub mod dev;
pub mod dial;
pub mod documents;
pub mod housekeeping;
pub mod ledger_endpoint;
pub mod listen;
pub mod man_client;
pub mod nonces;
pub mod outbox_worker;
pub mod pipeline;
#[cfg(test)]
#[cfg(feature = "dev")]
mod pipeline_tests;
pub mod readiness;
mod ready_file;
pub mod reject;
pub mod signing;
pub mod stages;
pub mod supervisor;
pub mod tags;
pub mod telemetry;
#[cfg(test)]
#[cfg(feature = "dev")]
pub(crate) mod testkit;
pub mod tls;
#[cfg(test)]
#[cfg(feature = "dev")]
mod trust_tests;
