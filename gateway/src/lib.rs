//! xinguan

// listeners, dialling, configuration
pub mod commands;
pub mod config;
pub mod dial;
pub mod listen;
pub mod telemetry;
