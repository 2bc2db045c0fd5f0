//! Each claim on a tree where it holds, then on one where it does not.

use super::*;
use std::{fs, os::unix::fs::PermissionsExt as _};

struct Fixture(tempfile::TempDir);

const MOUNTS: &str = "22 1 253:0 / / ro,relatime - erofs /dev/mapper/root ro\n\
    23 22 0:30 / /run rw,nosuid,nodev - tmpfs tmpfs rw\n\
    24 22 254:5 / /config ro,nosuid,nodev,noexec - vfat /dev/vda5 ro\n\
    25 22 253:1 / /var/lib/xinguan rw,nosuid,nodev,noexec - ext4 /dev/mapper/data rw\n";

impl Fixture {
    /// A tree where everything holds.
    fn good() -> Self {
        let it = Self(tempfile::tempdir().unwrap());
        it.put(&format!("{EFI}/SecureBoot-{GLOBAL}"), b"\x06\0\0\0\x01");
        it.put(&format!("{EFI}/SetupMode-{GLOBAL}"), b"\x06\0\0\0\0");
        it.put("/sys/class/tpm/tpm0/pcr-sha256/12", format!("{}\n", "0".repeat(64)).as_bytes());
        it.put("/sys/kernel/security/lockdown", b"none [integrity] confidentiality\n");
        it.put("/proc/self/mountinfo", MOUNTS.as_bytes());
        it.put("/sys/dev/block/253:0/dm/uuid", b"CRYPT-VERITY-00-root\n");
        it.put("/sys/dev/block/253:1/dm/uuid", b"CRYPT-LUKS2-00-data\n");
        it.put("/sys/module/dm_verity/parameters/require_signatures", b"Y\n");
        it.put("/sys/module/module/parameters/sig_enforce", b"Y\n");
        it.put("/proc/sys/kernel/modules_disabled", b"1\n");
        it.put("/usr/bin/xinguan", b"\x7fELF");
        it.put("/etc/passwd", b"root:x:0:0:root:/nonexistent:/nonexistent\n");
        it.put(HARDENING, b"# comment\nkernel.kptr_restrict = 2\n");
        it.put("/proc/sys/kernel/kptr_restrict", b"2\n");
        it
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn mode(&self, path: &str, mode: u32) {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn failing(&self) -> Vec<&'static str> {
        let tree = Tree::new(self.0.path());
        ALL.iter().filter(|(_, look)| look(&tree).is_err()).map(|(name, _)| *name).collect()
    }
}

#[test]
fn a_good_box_holds_every_claim() {
    assert!(Fixture::good().failing().is_empty());
}

#[test]
fn an_empty_tree_holds_none() {
    let empty = Fixture(tempfile::tempdir().unwrap());
    assert_eq!(empty.failing().len(), ALL.len());
}

/// One change, and exactly that claim fails.
#[test]
fn every_claim_can_fail_alone() {
    let setup_mode = format!("{EFI}/SetupMode-{GLOBAL}");
    let secure_boot = format!("{EFI}/SecureBoot-{GLOBAL}");
    let cases: &[(&str, &[u8], &str)] = &[
        (&secure_boot, b"\x06\0\0\0\0", "secure-boot"),
        (&secure_boot, b"\x06", "secure-boot"),
        (&setup_mode, b"\x06\0\0\0\x01", "secure-boot"),
        ("/sys/class/tpm/tpm0/pcr-sha256/12", b"0000ab", "command-line"),
        ("/sys/kernel/security/lockdown", b"[none] integrity confidentiality", "lockdown"),
        ("/sys/dev/block/253:0/dm/uuid", b"LVM-x", "root-verified"),
        ("/sys/module/dm_verity/parameters/require_signatures", b"N", "root-signature-required"),
        ("/sys/module/module/parameters/sig_enforce", b"N", "modules-signed"),
        ("/proc/sys/kernel/modules_disabled", b"0", "modules-locked"),
        ("/sys/dev/block/253:1/dm/uuid", b"CRYPT-PLAIN-data", "data-sealed"),
        ("/usr/bin/bash", b"\x7fELF", "no-interpreter"),
        ("/usr/lib/python3.13", b"\x7fELF", "no-interpreter"),
        ("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh", "no-login"),
        ("/etc/shadow", b"root:*:0::::::", "no-login"),
        ("/proc/sys/kernel/kptr_restrict", b"0", "sysctls"),
        (HARDENING, b"# nothing", "sysctls"),
    ];
    for (path, bytes, claim) in cases {
        let it = Fixture::good();
        it.put(path, bytes);
        assert_eq!(it.failing(), [*claim], "{path}");
    }
}

#[test]
fn a_script_and_a_setuid_file_are_found() {
    let it = Fixture::good();
    it.put("/usr/lib/hook", b"#!/usr/bin/xinguan\n");
    assert!(it.failing().is_empty(), "not executable");
    it.mode("/usr/lib/hook", 0o755);
    assert_eq!(it.failing(), ["no-interpreter"]);
    let it = Fixture::good();
    it.mode("/usr/bin/xinguan", 0o4755);
    assert_eq!(it.failing(), ["no-setuid"]);
}

#[test]
fn mounts_are_strict() {
    for (from, to) in [
        ("/config ro,nosuid,nodev,noexec", "/config ro,nosuid,nodev"),
        ("/run rw,nosuid", "/run rw"),
        ("/config ro", "/elsewhere ro"),
    ] {
        let it = Fixture::good();
        it.put("/proc/self/mountinfo", MOUNTS.replace(from, to).as_bytes());
        assert_eq!(it.failing(), ["mounts"], "{to}");
    }
}
