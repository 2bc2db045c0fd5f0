//! What images/README.md claims, each as a look at the running box.
//!
//! Adding a claim? A function here, a line in `ALL`, a row in images/README.md, a case in the tests below.

use crate::{
    mounts::mount_at,
    tree::{Entry, Tree},
};

/// What holds, with what was seen; or what does not.
type Verdict = Result<String, String>;

/// A claim's name and the look that decides it.
pub(crate) type Claim = (&'static str, fn(&Tree) -> Verdict);

/// Every claim, in the order of the boot.
pub(crate) const ALL: &[Claim] = &[
    ("secure-boot", secure_boot),
    ("command-line", command_line),
    ("lockdown", lockdown),
    ("root-verified", root_verified),
    ("root-signature-required", root_signature_required),
    ("modules-signed", modules_signed),
    ("modules-locked", modules_locked),
    ("data-sealed", data_sealed),
    ("mounts", mounts),
    ("no-interpreter", no_interpreter),
    ("no-setuid", no_setuid),
    ("no-login", no_login),
    ("sysctls", sysctls),
];

const EFI: &str = "/sys/firmware/efi/efivars";
/// EFI_GLOBAL_VARIABLE, UEFI 2.10 section 3.3.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Programs that read other programs, let people in, or bring files in.
const REFUSED: &str = "sh bash dash ash zsh ksh csh busybox toybox perl lua ruby node tclsh awk mawk gawk env xargs find \
    login agetty getty sulogin su sudo passwd run0 systemd-run sshd ssh dpkg apt apt-get rpm curl wget nc gdb strace kexec \
    insmod modprobe dbus-daemon dbus-broker";
const HARDENING: &str = "/usr/lib/sysctl.d/10-hardening.conf";

/// An EFI variable: four bytes of attributes, then its value.
fn efi_switch(tree: &Tree, name: &str) -> Result<u8, String> {
    let path = format!("{EFI}/{name}-{GLOBAL}");
    let bytes = tree.bytes(&path).map_err(|e| format!("{path}: {e}"))?;
    bytes.get(4).copied().ok_or_else(|| format!("{path} is too short"))
}

fn secure_boot(tree: &Tree) -> Verdict {
    match (efi_switch(tree, "SecureBoot")?, efi_switch(tree, "SetupMode")?) {
        (1, 0) => Ok("on, and its keys cannot be changed by the system".to_owned()),
        (on, setup) => Err(format!("SecureBoot is {on}, SetupMode {setup}; expected 1 and 0")),
    }
}

/// The boot stub measures every addition to the kernel's command line into PCR 12, and nothing else of ours.
fn command_line(tree: &Tree) -> Verdict {
    let value = tree.text("/sys/class/tpm/tpm0/pcr-sha256/12")?;
    if value.len() == 64 && value.bytes().all(|b| b == b'0') {
        Ok("PCR 12 is zero: nothing was added".to_owned())
    } else {
        Err(format!("PCR 12 is {value}: something was added to the signed command line"))
    }
}

fn lockdown(tree: &Tree) -> Verdict {
    let text = tree.text("/sys/kernel/security/lockdown")?;
    if text.contains("[integrity]") || text.contains("[confidentiality]") { Ok(text) } else { Err(text) }
}

fn root_verified(tree: &Tree) -> Verdict {
    let mounts = tree.mounts()?;
    let root = mount_at(&mounts, "/").ok_or("no root is mounted")?;
    let kind = tree.mapper_kind(root)?;
    if root.kind == "erofs" && !root.is_writable() && kind.starts_with("CRYPT-VERITY-") {
        Ok(kind)
    } else {
        Err(format!("root is {} ({:?}) on {kind}", root.kind, root.options))
    }
}

fn switch_on(tree: &Tree, path: &str) -> Verdict {
    match tree.text(path)?.as_str() {
        "Y" | "1" => Ok(path.to_owned()),
        other => Err(format!("{path} is {other}")),
    }
}

fn root_signature_required(tree: &Tree) -> Verdict {
    switch_on(tree, "/sys/module/dm_verity/parameters/require_signatures")
}

fn modules_signed(tree: &Tree) -> Verdict {
    switch_on(tree, "/sys/module/module/parameters/sig_enforce")
}

fn modules_locked(tree: &Tree) -> Verdict {
    switch_on(tree, "/proc/sys/kernel/modules_disabled")
}

fn data_sealed(tree: &Tree) -> Verdict {
    let mounts = tree.mounts()?;
    let data = mount_at(&mounts, "/var/lib/xinguan").ok_or("the data partition is closed")?;
    let kind = tree.mapper_kind(data)?;
    if kind.starts_with("CRYPT-LUKS2-") { Ok(kind) } else { Err(format!("data lies on {kind}")) }
}

/// Data and configuration hold no programs; nothing that can be written gives rights by a file's mode.
fn mounts(tree: &Tree) -> Verdict {
    let mounts = tree.mounts()?;
    let mut wrong = Vec::new();
    for place in ["/var/lib/xinguan", "/config"] {
        match mount_at(&mounts, place) {
            None => wrong.push(format!("{place} is not mounted")),
            Some(m) if !["nosuid", "nodev", "noexec"].iter().all(|o| m.has(o)) => {
                wrong.push(format!("{place} has {:?}", m.options));
            }
            Some(_) => {}
        }
    }
    let loose = mounts.iter().filter(|m| m.is_writable() && !m.has("nosuid"));
    wrong.extend(loose.map(|m| format!("{} is writable without nosuid", m.at)));
    verdict(wrong, || format!("{} mounts", mounts.len()))
}

fn verdict(wrong: Vec<String>, held: impl FnOnce() -> String) -> Verdict {
    if wrong.is_empty() { Ok(held()) } else { Err(wrong.join("; ")) }
}

fn programs(tree: &Tree) -> Result<Vec<Entry>, String> {
    tree.walk("/usr").map_err(|e| format!("/usr: {e}"))
}

fn no_interpreter(tree: &Tree) -> Verdict {
    let all = programs(tree)?;
    let named = |name: &str| REFUSED.split_whitespace().any(|r| r == name);
    let bad = |e: &&Entry| named(&e.name()) || e.name().starts_with("python") || e.is_script();
    let wrong = all.iter().filter(bad).map(|e| e.path.display().to_string()).collect();
    verdict(wrong, || format!("{} files, none of them", all.len()))
}

fn no_setuid(tree: &Tree) -> Verdict {
    let all = programs(tree)?;
    let wrong = all.iter().filter(|e| e.mode & 0o6000 != 0).map(|e| e.path.display().to_string()).collect();
    verdict(wrong, || format!("{} files", all.len()))
}

/// No account has a program to log in with, and there are no passwords.
fn no_login(tree: &Tree) -> Verdict {
    let mut wrong = Vec::new();
    for line in tree.text("/etc/passwd")?.lines() {
        if !line.ends_with(":/nonexistent") {
            wrong.push(format!("/etc/passwd: `{line}`"));
        }
    }
    if tree.exists("/etc/shadow") {
        wrong.push("/etc/shadow is there".to_owned());
    }
    verdict(wrong, || "no account has a shell".to_owned())
}

/// The image's own list of settings, against what the kernel has.
fn sysctls(tree: &Tree) -> Verdict {
    let list = tree.text(HARDENING)?;
    let lines = list.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('='));
    let mut wrong = Vec::new();
    let mut count = 0;
    for (key, wanted) in lines {
        count += 1;
        let path = format!("/proc/sys/{}", key.trim().replace('.', "/"));
        match tree.text(&path) {
            Ok(is) if is == wanted.trim() => {}
            Ok(is) => wrong.push(format!("{} is {is}, not {}", key.trim(), wanted.trim())),
            Err(e) => wrong.push(e),
        }
    }
    if count == 0 {
        wrong.push(format!("{HARDENING} lists nothing"));
    }
    verdict(wrong, || format!("{count} settings"))
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
