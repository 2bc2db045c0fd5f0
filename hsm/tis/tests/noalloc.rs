//! The driver needs no allocator: a program without one links, runs, and names none.

use std::{path::Path, process::Command};

#[test]
fn links_and_runs_without_an_allocator() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("noalloc");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("noalloc");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--offline", "--locked", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let program = target.join("release/hsm-tis-noalloc");
    let ran = Command::new(&program).status().expect("the program runs");
    assert!(ran.success(), "the command over the driver failed: {ran}");

    let bytes = std::fs::read(&program).expect("the program is there");
    let names = |what: &str| bytes.windows(what.len()).any(|w| w == what.as_bytes());
    assert!(names("__libc_start_main"), "symbols of dynamic linking can be read here");
    for allocator in ["malloc", "calloc", "realloc", "__rust_alloc", "__rdl_alloc"] {
        assert!(!names(allocator), "the program names {allocator}");
    }
}
