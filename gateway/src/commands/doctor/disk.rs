//! The data folder: space, and whether a write and its sync work there.

use super::Finding;
use std::{fs, io::Write as _, path::Path};

const CHECK: &str = "disk";
/// A block's state and a day's journal of a busy gateway fit; less is a stop within days.
const WARN_FREE: u64 = 2 * 1024 * 1024 * 1024;
/// Below this the journal may fail at any moment, and with it every request.
const FAIL_FREE: u64 = 256 * 1024 * 1024;

pub(super) fn check(data_dir: &Path) -> Vec<Finding> {
    vec![space(data_dir), durable(data_dir)]
}

fn space(dir: &Path) -> Finding {
    match rustix::fs::statvfs(dir) {
        Err(e) => Finding::fail(
            CHECK,
            format!("node.data_dir {}: {e}", dir.display()),
            "make the folder, owned by this program's user",
        ),
        Ok(s) => judge_space(&dir.display().to_string(), s.f_bavail.saturating_mul(s.f_frsize)),
    }
}

fn judge_space(dir: &str, free: u64) -> Finding {
    let what = format!("node.data_dir {dir}: {} MiB free", free / (1024 * 1024));
    if free < FAIL_FREE {
        Finding::fail(CHECK, what, "free space now: without the journal no request is answered")
    } else if free < WARN_FREE {
        Finding::warn(CHECK, what, "free space, or give it a larger partition")
    } else {
        Finding::ok(CHECK, what)
    }
}

/// Writes, syncs and removes a small file.
fn durable(dir: &Path) -> Finding {
    let path = dir.join(format!(".doctor-{}", std::process::id()));
    let tried = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
        file.write_all(&[0x5a; 4096])?;
        file.sync_all()?;
        fs::File::open(dir)?.sync_all()
    })();
    let removed = fs::remove_file(&path);
    match tried.and(removed) {
        Ok(()) => Finding::ok(CHECK, format!("node.data_dir {}: written and synced", dir.display())),
        Err(e) => Finding::fail(
            CHECK,
            format!("node.data_dir {}: cannot write and sync: {e}", dir.display()),
            "check owner, mount options (read-only?) and the disk itself",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Status;

    #[test]
    fn a_folder_that_takes_a_sync_is_ok_and_stays_empty() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(durable(dir.path()).status, Status::Ok);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_absent_folder_fails_twice() {
        let dir = tempfile::tempdir().unwrap();
        let found = check(&dir.path().join("none"));
        assert!(found.iter().all(|f| f.status == Status::Fail && f.remedy.is_some()), "{found:?}");
    }

    #[test]
    fn space_is_judged() {
        assert_eq!(judge_space("d", FAIL_FREE - 1).status, Status::Fail);
        assert_eq!(judge_space("d", WARN_FREE - 1).status, Status::Warn);
        assert_eq!(judge_space("d", WARN_FREE).status, Status::Ok);
    }
}
