//! A keystore's one file: replaced as a whole, locked against other writers.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

/// Between two tries for a lock.
const PAUSE: Duration = Duration::from_millis(5);

/// Puts `bytes` in the file's place, for its owner only: new file, fsync, rename, fsync of the folder. A crash
/// leaves the old file or the new one. Hold the [`lock`].
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    // left by a crash; the lock says that nobody is writing it
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Keeps other processes from writing until it is dropped; `None` if another has it for all of `patience`.
pub fn lock(path: &Path, patience: Duration) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(lock_of(path))?;
    let deadline = Instant::now() + patience;
    // nobody sends: the time-out is the pause
    let (_keep, nothing) = mpsc::channel::<()>();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(e)) => return Err(e),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(None),
            Err(TryLockError::WouldBlock) => {
                let _over = nothing.recv_timeout(PAUSE);
            }
        }
    }
}

/// The file that [`lock`] locks, for messages.
pub fn lock_of(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_whole_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        // what a crash leaves does not stop the next writer
        std::fs::write(beside(&path, ".new"), "half of").unwrap();
        for text in ["one", "two"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert!(!beside(&path, ".new").exists());
        }
        assert!(replace(&folder.path().join("no/folder"), b"").is_err());
    }

    #[test]
    fn a_second_writer_waits_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let first = lock(&path, Duration::ZERO).unwrap().unwrap();
        assert!(lock(&path, Duration::from_millis(20)).unwrap().is_none());
        let waiting = {
            let path = path.clone();
            std::thread::spawn(move || lock(&path, Duration::from_secs(60)).unwrap().is_some())
        };
        drop(first);
        assert!(waiting.join().unwrap());
        assert!(lock(&folder.path().join("no/folder"), Duration::ZERO).is_err());
    }
}
