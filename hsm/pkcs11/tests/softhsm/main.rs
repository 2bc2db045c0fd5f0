//! The keystore on SoftHSM2, a token that we did not write.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may fail the test")]

mod login;
mod place;
mod token;
