//! The journal and the outbox, over disks that fail, lose power, or hold a sync back.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

mod common;
mod crash;
mod golden;
mod journal;
mod outbox;
mod outbox_crash;
mod tamper;
