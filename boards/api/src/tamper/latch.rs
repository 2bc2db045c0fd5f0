//! The latch: a record on disk that keeps the box closed until an operator enrols it again.
//!
//! Written beside its place, synced, renamed, folder synced. Whatever cannot be understood counts as latched:
//! an unreadable file, and a half-written one that a power cut left before the rename.

use super::Cause;
use crate::BoardError;
use gw_proto::UnixMillis;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// A latch larger than this is not one.
const MAX_BYTES: u64 = 64 * 1024;

/// What happens to the key of the data partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKey {
    /// not configured to be cleared
    Kept,
    /// to be cleared, also after a power cut
    ToClear,
    /// cleared
    Cleared,
}

/// Why the box is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatchRecord {
    /// why
    pub cause: Cause,
    /// when, by the box's clock
    pub at: UnixMillis,
    /// board and revision
    pub board: String,
    /// its serial number, if it has one
    pub serial: Option<String>,
    /// the key of the data partition
    pub storage_key: StorageKey,
    /// who enrolled it again and when; only in a released record
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
}

/// Who released a latch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// the operator
    pub by: String,
    /// when, by the box's clock
    pub at: UnixMillis,
}

/// What the latch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Latch {
    /// nothing happened
    Open,
    /// closed
    Closed(LatchRecord),
    /// there is something that cannot be read: closed
    Unreadable(String),
}

/// Where the latch is kept.
pub trait LatchStore: Send {
    /// Looks; a failure to look is [`Latch::Unreadable`].
    fn load(&self) -> Latch;
    /// Writes durably; on return a power cut does not lose it.
    fn save(&self, record: &LatchRecord) -> Result<(), BoardError>;
    /// An operator has enrolled the box again: the latch opens, its record is kept for the auditor.
    /// A case that is still open closes the box at the next look.
    fn release(&self, operator: &str, at: UnixMillis) -> Result<(), BoardError>;
}

/// A latch in a file of the data partition.
#[derive(Debug, Clone)]
pub struct FileLatch {
    path: PathBuf,
}

impl FileLatch {
    /// At `path`; its folder must exist. Nothing is touched yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }
    fn error(&self, operation: &'static str) -> impl Fn(std::io::Error) -> BoardError {
        let path = self.path.clone();
        move |source| BoardError::Latch { operation, path: path.clone(), source }
    }
    fn folder(&self) -> &Path {
        self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
    fn write(&self, to: &Path, record: &LatchRecord) -> std::io::Result<()> {
        let new = self.beside(".new");
        let mut file = File::create(&new)?;
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, to)?;
        File::open(self.folder())?.sync_all()
    }
}

impl LatchStore for FileLatch {
    fn load(&self) -> Latch {
        for path in [self.path.clone(), self.beside(".new")] {
            match read(&path) {
                Ok(record) => return Latch::Closed(record),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Latch::Unreadable(format!("{}: {e}", path.display())),
            }
        }
        Latch::Open
    }
    fn save(&self, record: &LatchRecord) -> Result<(), BoardError> {
        self.write(&self.path, record).map_err(self.error("write"))
    }
    fn release(&self, operator: &str, at: UnixMillis) -> Result<(), BoardError> {
        let failed = self.error("release");
        let archive = self.beside(&format!(".released-{}", at.0));
        match self.load() {
            Latch::Open => return Err(BoardError::NotLatched { path: self.path.clone() }),
            Latch::Closed(mut record) => {
                record.released = Some(Released { by: operator.to_owned(), at });
                // over the latch first: a cut between the two steps leaves it closed
                self.write(&self.path, &record).map_err(&failed)?;
            }
            Latch::Unreadable(_) if !exists(&self.path) => {
                fs::rename(self.beside(".new"), &self.path).map_err(&failed)?;
            }
            Latch::Unreadable(_) => remove(&self.beside(".new")).map_err(&failed)?,
        }
        fs::rename(&self.path, &archive).map_err(&failed)?;
        File::open(self.folder()).and_then(|f| f.sync_all()).map_err(&failed)
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> std::io::Result<LatchRecord> {
    let mut text = String::new();
    let got = File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(got).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(std::io::Error::other("larger than a latch can be"));
    }
    Ok(serde_json::from_str(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LatchRecord {
        LatchRecord {
            cause: Cause::CaseOpened,
            at: UnixMillis(1_764_000_000_000),
            board: "sim rev-a".into(),
            serial: Some("S-1".into()),
            storage_key: StorageKey::ToClear,
            released: None,
        }
    }

    #[test]
    fn survives_reopening_and_is_released_once_with_its_history() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tamper.json");
        assert_eq!(FileLatch::at(&path).load(), Latch::Open);
        FileLatch::at(&path).save(&record()).unwrap();
        assert_eq!(FileLatch::at(&path).load(), Latch::Closed(record()));
        FileLatch::at(&path).release("op-7", UnixMillis(9)).unwrap();
        assert_eq!(FileLatch::at(&path).load(), Latch::Open);
        let archived: LatchRecord =
            serde_json::from_slice(&fs::read(dir.path().join("tamper.json.released-9")).unwrap()).unwrap();
        assert_eq!(archived.released, Some(Released { by: "op-7".into(), at: UnixMillis(9) }));
        let again = FileLatch::at(&path).release("op-7", UnixMillis(10)).unwrap_err();
        assert!(again.to_string().contains("nothing to release"), "{again}");
    }

    #[test]
    fn whatever_cannot_be_understood_is_closed_and_can_be_released() {
        for text in ["", "{", "{\"cause\":\"case-opened\"}", &"x".repeat(70_000)] {
            for name in ["tamper.json", "tamper.json.new"] {
                let dir = tempfile::tempdir().unwrap();
                fs::write(dir.path().join(name), text).unwrap();
                let latch = FileLatch::at(dir.path().join("tamper.json"));
                assert!(matches!(latch.load(), Latch::Unreadable(_)), "{name} {:.20}", text);
                latch.release("op-7", UnixMillis(9)).unwrap();
                assert_eq!(latch.load(), Latch::Open, "{name}");
                let kept = fs::read_to_string(dir.path().join("tamper.json.released-9")).unwrap();
                assert_eq!(kept, text);
            }
        }
    }

    #[test]
    fn a_cut_between_writing_and_renaming_leaves_it_closed() {
        let dir = tempfile::tempdir().unwrap();
        let latch = FileLatch::at(dir.path().join("tamper.json"));
        latch.save(&record()).unwrap();
        fs::rename(dir.path().join("tamper.json"), dir.path().join("tamper.json.new")).unwrap();
        assert_eq!(latch.load(), Latch::Closed(record()));
        latch.release("op-7", UnixMillis(9)).unwrap();
        assert_eq!(latch.load(), Latch::Open);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let latch = FileLatch::at(dir.path().join("no/tamper.json"));
        let text = latch.save(&record()).unwrap_err().to_string();
        assert!(text.contains("cannot write the tamper latch") && text.contains("no/tamper.json"), "{text}");
    }
}
