//! The data partition's key: this program may not destroy it, and asks the system to.
//!
//! The request is a file. A service of the image waits for it, destroys the key, removes the file and restarts the box
//! (images/recipe/root: `data-clear.path`). Asking twice is harmless.

use board_api::BoardError;
use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::mpsc::channel,
    time::Duration,
};

/// How often it is looked whether the request was taken, and how many times.
const LOOK: (Duration, u32) = (Duration::from_millis(100), 50);

/// Where the system is asked.
#[derive(Debug, Clone)]
pub struct Request(PathBuf);

impl Request {
    /// By the file `path`, whose folder the system makes.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Asks. The key is not destroyed yet.
    pub fn place(&self) -> Result<(), BoardError> {
        match OpenOptions::new().write(true).create_new(true).open(&self.0).and_then(|f| f.sync_all()) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(self.failed(&e)),
            _ => self.sync_folder().map_err(|e| self.failed(&e)),
        }
    }

    /// Asks, and waits up to 5 s until the system has taken the request away, which it does when the key is gone.
    pub fn carry_out(&self) -> Result<(), BoardError> {
        self.place()?;
        let (_open, nothing) = channel::<()>();
        let (every, times) = LOOK;
        for _ in 0..times {
            if self.is_taken().map_err(|e| self.failed(&e))? {
                return Ok(());
            }
            let _over = nothing.recv_timeout(every);
        }
        Err(self.failed(&"nobody has taken the request; is data-clear.path running?"))
    }

    fn is_taken(&self) -> std::io::Result<bool> {
        self.0.try_exists().map(|there| !there)
    }
    fn sync_folder(&self) -> std::io::Result<()> {
        File::open(self.0.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
    fn failed(&self, what: &dyn std::fmt::Display) -> BoardError {
        let what = format!("{}: {what}", self.0.display());
        BoardError::Part { part: "storage key".into(), operation: "clear it", what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::RecvTimeoutError;

    #[test]
    fn asked_twice_and_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let request = Request::at(&dir.path().join("clear"));
        request.place().unwrap();
        request.place().unwrap();
        let file = dir.path().join("clear");
        let (stop, stopped) = channel::<()>();
        let taker = std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                let _gone = std::fs::remove_file(&file);
            }
        });
        request.carry_out().unwrap();
        drop(stop);
        taker.join().unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let text = Request::at(&dir.path().join("no/clear")).place().unwrap_err().to_string();
        assert!(text.contains("no/clear") && text.contains("storage key"), "{text}");
    }
}
