//! The keystore on an SDF library of ours, written to the standard.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may fail the test")]

mod faults;
mod keys;
mod place;
