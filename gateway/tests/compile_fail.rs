//! No stage of a query can be skipped: each of these programs must not compile, for the reason told.
//!
//! The `.stderr` beside each program is what the workspace's Rust says; `TRYBUILD=overwrite` rewrites them.
//! A diff there is read: the error must still be about the missing stage, not about a renamed function.

use std::process::Command;

/// Another compiler words its errors otherwise: they are compared under the workspace's own.
#[test]
fn compile_fail_no_stage_can_be_skipped() {
    let version = Command::new("rustc").arg("--version").output().expect("rustc is there: cargo found it");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    if version.starts_with(concat!("rustc ", env!("CARGO_PKG_RUST_VERSION"), ".")) {
        trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
    } else {
        eprintln!(
            "not compared: these are the errors of Rust {}, this is {version}",
            env!("CARGO_PKG_RUST_VERSION")
        );
    }
}
