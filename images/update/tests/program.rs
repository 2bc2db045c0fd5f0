//! The programs themselves, on a box of files: words, exit codes, what is remembered.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use common::{DAY, Recipe, manifest, trust};
use gw_proto::{Clock as _, UnixMillis, clock::SystemClock};
use image_update::{Architecture, Manifest, Seen};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const BAD_CONFIG: i32 = 3;
const STORAGE: i32 = 5;

/// A good bundle for the machine that the tests run on, by its own clock.
fn recipe(version: &str) -> Recipe {
    Recipe {
        manifest: Manifest { architecture: Architecture::OURS, ..manifest(version) },
        expires: UnixMillis(SystemClock.now().0 + DAY),
        ..Recipe::default()
    }
}

/// A box of files that runs 1.0.0 from slot a.
fn new_box() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for folder in ["esp", "state"] {
        fs::create_dir(at(folder)).unwrap();
    }
    for name in ["root-a", "root-b", "verity-a", "verity-b"] {
        fs::write(at(name), vec![0; 1_200_000]).unwrap();
    }
    let mut running = vec![6, 0, 0, 0];
    running.extend("xinguan_1.0.0_a.efi\0".encode_utf16().flat_map(u16::to_le_bytes));
    let release = Manifest { number: 4, ..recipe("1.0.0").manifest };
    fs::write(at("esp/xinguan_1.0.0_a.efi"), b"kernel").unwrap();
    fs::write(at("running"), running).unwrap();
    fs::write(at("release.json"), serde_json::to_vec(&release).unwrap()).unwrap();
    fs::write(at("root.json"), trust().root).unwrap();
    let mut settings = String::from("ring = 1\n");
    for (key, name) in [
        ("esp", "esp"),
        ("state", "state"),
        ("trust_root", "root.json"),
        ("release", "release.json"),
        ("running", "running"),
        ("slots.a.root", "root-a"),
        ("slots.a.verity", "verity-a"),
        ("slots.b.root", "root-b"),
        ("slots.b.verity", "verity-b"),
    ] {
        settings.push_str(&format!("{key} = {:?}\n", at(name)));
    }
    fs::write(at("update.toml"), settings).unwrap();
    dir
}

fn update(dir: &Path, what: &str, bundle: Option<&Path>) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_xinguan-update"));
    program.arg(what).args(bundle).arg("--settings").arg(dir.join("update.toml")).output().unwrap()
}

fn good(dir: &Path, what: &str, bundle: Option<&Path>) -> String {
    let out = update(dir, what, bundle);
    assert_eq!(out.status.code(), Some(0), "{what}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn bad(dir: &Path, what: &str, bundle: Option<&Path>, code: i32) -> String {
    let out = update(dir, what, bundle);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(code), "{what}: {text}");
    text
}

#[test]
fn from_check_to_rollback() {
    let (dir, bundle) = (new_box(), recipe("2.0.0").make());
    let run = |what| {
        let with = ["check", "apply"].contains(&what).then_some(bundle.path());
        good(dir.path(), what, with)
    };
    assert!(run("status").contains("slot a    1.0.0, good, never confirmed\nslot b    empty\n"));
    assert_eq!(run("confirm"), "floor     4\n");
    let found = run("check");
    assert!(found.starts_with("good      2.0.0 for ") && found.contains("anti-rollback number 5"), "{found}");
    assert!(run("status").contains("slot b    empty\n"), "a check changes nothing");
    let applied = run("apply");
    assert!(applied.contains("100 %") && applied.contains("xinguan_2.0.0_b+3-0.efi"), "{applied}");
    assert_eq!(
        run("status"),
        "running   slot a\nnext      slot b\nfloor     4\n\
         slot a    1.0.0, good, anti-rollback number 4\n\
         slot b    2.0.0, on trial: 3 left, 0 done, anti-rollback number 5\n"
    );
    assert_eq!(run("rollback"), "next      slot a, at the next boot\n");
    assert!(run("status").contains("next      slot a\n"));
}

#[test]
fn a_version_that_was_given_up_is_tried_again_only_if_asked_for() {
    let (dir, bundle) = (new_box(), recipe("2.0.0").make());
    good(dir.path(), "apply", Some(bundle.path()));
    let entry = |name: &str| dir.path().join("esp").join(name);
    fs::rename(entry("xinguan_2.0.0_b+3-0.efi"), entry("xinguan_2.0.0_b+0-3.efi")).unwrap();
    assert!(bad(dir.path(), "apply", Some(bundle.path()), REFUSED).contains("given up"));
    let asked = dir.path().join("RETRY");
    let retry = || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_xinguan-update"));
        program.arg("apply").arg("--retry-file").arg(&asked).arg(bundle.path());
        program.arg("--settings").arg(dir.path().join("update.toml")).output().unwrap().status.code()
    };
    assert_eq!(retry(), Some(REFUSED), "the file is not there");
    fs::write(&asked, "").unwrap();
    assert_eq!(retry(), Some(0));
    assert!(entry("xinguan_2.0.0_b+3-0.efi").exists());
}

#[test]
fn what_was_seen_is_kept() {
    let (dir, seen) = (new_box(), |n| Seen { root: 1, timestamp: n, snapshot: n, targets: n });
    let bundle = |recipe: &dyn Fn(&mut Recipe), n| {
        let mut made = recipe_at(n, seen(n));
        recipe(&mut made);
        made.make()
    };
    let kept = || fs::read_to_string(dir.path().join("state/seen.json")).unwrap_or_default();
    // of one key: refused, and forgotten
    let one = bundle(&|r| r.release = vec![11], 9);
    let text = bad(dir.path(), "apply", Some(one.path()), REFUSED);
    assert!(text.contains("1 valid signatures, 2 are needed"), "{text}");
    assert_eq!(kept(), "");
    // not meant for this box: it must not shut out the one that is
    let other =
        if Architecture::OURS == Architecture::Arm64 { Architecture::X86_64 } else { Architecture::Arm64 };
    let foreign = bundle(&|r| r.manifest.architecture = other, 9);
    assert!(bad(dir.path(), "check", Some(foreign.path()), REFUSED).contains("the bundle is for"));
    let early = bundle(&|r| r.manifest.ring = 0, 9);
    assert!(bad(dir.path(), "check", Some(early.path()), REFUSED).contains("this box is in ring 1"));
    assert_eq!(kept(), "");
    // a good one, looked at only, and one that was signed before it
    let (newer, older) = (bundle(&|_| (), 8), bundle(&|_| (), 7));
    good(dir.path(), "check", Some(newer.path()));
    assert!(kept().contains("\"targets\":8"), "{}", kept());
    let text = bad(dir.path(), "apply", Some(older.path()), REFUSED);
    assert!(text.contains("timestamp is version 7, this box has seen 8"), "{text}");
    assert!(good(dir.path(), "status", None).contains("slot b    empty\n"));
    good(dir.path(), "apply", Some(newer.path()));
}

fn recipe_at(minor: u64, versions: Seen) -> Recipe {
    Recipe { versions, ..recipe(&format!("2.{minor}.0")) }
}

#[test]
fn exit_codes_tell_what_to_look_at() {
    let (dir, bundle) = (new_box(), recipe("2.0.0").make());
    bad(dir.path(), "explode", None, USAGE);
    assert!(bad(dir.path(), "apply", Some(&dir.path().join("none")), REFUSED).contains("medium"));
    fs::write(dir.path().join("state/floor.json"), b"{").unwrap();
    assert!(bad(dir.path(), "apply", Some(bundle.path()), STORAGE).contains("floor.json"));
    fs::remove_file(dir.path().join("state/floor.json")).unwrap();
    fs::remove_file(dir.path().join("esp/xinguan_1.0.0_a.efi")).unwrap();
    assert!(bad(dir.path(), "apply", Some(bundle.path()), STORAGE).contains("no boot entry"));
    fs::write(dir.path().join("update.toml"), b"ring = 1\nunknown = 2\n").unwrap();
    assert!(bad(dir.path(), "status", None, BAD_CONFIG).contains("update.toml"));
}

#[test]
fn one_at_a_time_but_status_always() {
    let (dir, bundle) = (new_box(), recipe("2.0.0").make());
    let state = image_update::DirFolder::open(&dir.path().join("state")).unwrap();
    let held = state.lock().unwrap();
    for (what, bundle) in [("apply", Some(bundle.path())), ("rollback", None), ("confirm", None)] {
        assert!(bad(dir.path(), what, bundle, REFUSED).contains("another update"), "{what}");
    }
    good(dir.path(), "status", None);
    drop(held);
    good(dir.path(), "apply", Some(bundle.path()));
}

/// What `xinguan-bundle` makes of keys that OpenSSL made, `xinguan-update` takes; one key less, and it does not.
#[test]
fn bundles_of_keys_in_files() {
    let (dir, keys) = (new_box(), tempfile::tempdir().unwrap());
    let at = |name: &str| keys.path().join(name).display().to_string();
    for (name, curve) in [
        ("r1", "P-256"),
        ("r2", "P-256"),
        ("r3", "P-256"),
        ("t1", "P-256"),
        ("t2", "P-256"),
        ("t3", "P-256"),
        ("online", "P-256"),
        ("sm2", "SM2"),
    ] {
        let curve = format!("ec_paramgen_curve:{curve}");
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "EC", "-pkeyopt", &curve, "-out", &at(name)])
            .output()
            .expect("openssl is missing; apt-get install openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let bundle =
        |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_xinguan-bundle")).args(args).output().unwrap();
    let (r, t) = (["r1", "r2", "r3"].map(at), ["t1", "t2", "t3"].map(at));
    let mut root = vec!["root"];
    r.iter().for_each(|k| root.extend(["--root", k]));
    t.iter().for_each(|k| root.extend(["--release", k]));
    let (online, trust) = (at("online"), dir.path().join("root.json").display().to_string());
    root.extend(["--online", &online, &trust]);
    let out = bundle(&root);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));

    let parts = ["root", "verity", "uki"].map(|n| {
        fs::write(at(n), n.repeat(1000)).unwrap();
        at(n)
    });
    let (arch, out_folder, sm2) = (Architecture::OURS.to_string(), at("bundle"), at("sm2"));
    let mut make =
        vec!["make", "--version", "2.1.0", "--architecture", &arch, "--number", "5", "--ring", "3"];
    make.extend(["--root-image", &parts[0], "--verity-image", &parts[1], "--uki", &parts[2]]);
    make.extend(["--trust-root", &trust, "--metadata", "12", "--online", &online, "--sm2", &sm2]);
    make.extend(["--release", &t[0]]);
    let one = bundle(&[&make[..], &[&at("one")]].concat());
    assert!(String::from_utf8_lossy(&one.stderr).contains("1 valid signatures, 2 are needed"), "{one:?}");
    make.extend(["--release", &t[2], &out_folder]);
    let made = bundle(&make);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let said = String::from_utf8(made.stdout).unwrap();
    let pin = said.lines().find_map(|l| l.strip_prefix("sm2       ")).unwrap();
    let settings = fs::read_to_string(dir.path().join("update.toml")).unwrap();
    fs::write(dir.path().join("update.toml"), format!("sm2 = \"{pin}\"\n{settings}")).unwrap();
    // other TUF clients take whole seconds only
    let timestamp = fs::read(Path::new(&out_folder).join("metadata/timestamp.json")).unwrap();
    let timestamp: serde_json::Value = serde_json::from_slice(&timestamp).unwrap();
    assert_eq!(timestamp["signed"]["expires"].as_str().unwrap().len(), "2026-09-21T12:00:00Z".len());
    good(dir.path(), "apply", Some(Path::new(&out_folder)));
    assert!(good(dir.path(), "status", None).contains("slot b    2.1.0, on trial"));
}
