//! Xinguan (信关): the edge gateway for credit data.

// listeners, dialling, configuration
pub mod commands;
pub mod config;
pub mod dial;
pub mod listen;
pub mod telemetry;

pub mod signing;
