//! xinguan

pub mod signing;
