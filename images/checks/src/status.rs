//! What state the box is in, for the person at its console: there is no shell to find out with.

use crate::{mounts::mount_at, tree::Tree};

/// Lines for the console; the last one is for programs.
pub(crate) fn lines(tree: &Tree) -> Vec<String> {
    let data = tree.mounts().is_ok_and(|m| mount_at(&m, "/var/lib/xinguan").is_some());
    let configured = tree.exists("/config/xinguan.toml");
    let running = gateway_runs(tree);
    let mut out = Vec::new();
    if !data {
        out.push("data: CLOSED. This disk was made with another TPM, or the firmware's keys or the kernel's command line changed.".to_owned());
        out.push(
            "  Put the disk back into its box, or undo the change. Nothing on it was altered.".to_owned(),
        );
    }
    if !configured {
        out.push(
            "configuration: missing. Put xinguan.toml, the files that it names and network/*.network on the"
                .to_owned(),
        );
        out.push("  partition labelled `config`, then restart. The box waits.".to_owned());
    } else if !running {
        out.push(
            "gateway: not running. What is wrong stands above; nothing is tried again before a restart."
                .to_owned(),
        );
    }
    // what a verifier compares with the image's manifest
    let pcr = tree.text("/sys/class/tpm/tpm0/pcr-sha256/11");
    out.push(format!("pcr11: {}", pcr.map_or_else(|_| "unknown".to_owned(), |p| p.to_lowercase())));
    out.extend(memory(tree));
    let word = |is, yes, no| if is { yes } else { no };
    out.push(format!(
        "state: data={} configuration={} gateway={}",
        word(data, "open", "closed"),
        word(configured, "present", "missing"),
        word(running, "running", "stopped")
    ));
    out
}

/// What is not available to programs, of what there is, in MiB; none where the kernel does not say.
fn memory(tree: &Tree) -> Option<String> {
    let text = tree.text("/proc/meminfo").ok()?;
    let mib = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
    };
    let total = mib("MemTotal")?;
    Some(format!("memory: {} MiB used of {total}", total.checked_sub(mib("MemAvailable")?)?))
}

/// A process whose command line is `… run …` of the gateway's program.
fn gateway_runs(tree: &Tree) -> bool {
    tree.names("/proc").iter().filter(|n| n.bytes().all(|b| b.is_ascii_digit())).any(|pid| {
        tree.bytes(&format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.starts_with(b"/usr/bin/xinguan\0run\0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn state(tree: &Tree) -> String {
        lines(tree).pop().unwrap()
    }

    #[test]
    fn an_empty_box_waits() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path());
        assert_eq!(state(&tree), "state: data=closed configuration=missing gateway=stopped");
        assert!(lines(&tree).iter().any(|l| l.contains("CLOSED")));
    }

    #[test]
    fn a_serving_box_says_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["proc/self", "proc/77", "config"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let mount = "41 22 253:1 / /var/lib/xinguan rw,nosuid - ext4 /dev/mapper/data rw\n";
        fs::write(dir.path().join("proc/self/mountinfo"), mount).unwrap();
        fs::write(dir.path().join("config/xinguan.toml"), "").unwrap();
        let meminfo = "MemTotal:        1004640 kB\nMemFree:  500000 kB\nMemAvailable:     800000 kB\n";
        fs::write(dir.path().join("proc/meminfo"), meminfo).unwrap();
        let tree = Tree::new(dir.path());
        assert_eq!(state(&tree), "state: data=open configuration=present gateway=stopped");
        fs::write(dir.path().join("proc/77/cmdline"), "/usr/bin/xinguan\0run\0--config\0x\0").unwrap();
        assert_eq!(
            lines(&tree),
            [
                "pcr11: unknown",
                "memory: 200 MiB used of 981",
                "state: data=open configuration=present gateway=running"
            ]
        );
    }
}
