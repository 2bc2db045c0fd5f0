//! The board under the gateway: opened first, watched as long as it runs.
//!
//! | file | what |
//! |---|---|
//! | this one | which board, its latch, its report |
//! | [`keeper`] | readiness → watchdog, lights, sensors |
//! | [`tamper`] | the case was opened: signer closed, recorded, stopped |
//! | [`storage_key`] | … and the system asked to destroy the data partition's key |
//!
//! Without `[board]` there is no tamper switch, no watchdog and no light, and the start says so.

pub mod keeper;
pub mod storage_key;
pub mod tamper;

use crate::config::BoardConfig;
use board_api::{
    Board as _, Parts,
    tamper::{FileLatch, Latch, LatchStore as _, StorageKey},
};
use board_linux::{LinuxBoard, Machine};
use std::{path::Path, time::Duration};

/// Why the board keeps the gateway from starting.
#[derive(Debug, thiserror::Error)]
pub enum BoardStartError {
    /// The description, or a part that it promises.
    #[error("{0}")]
    Board(String),
    /// The case was opened, now or before.
    #[error(
        "{0}: this box serves nobody until an operator has looked at it, enrolled it again, and said so with \
         `xinguan board release`"
    )]
    Latched(String),
}

/// An opened board, and how its switch is watched.
pub struct Opened {
    /// its parts
    pub parts: Parts,
    /// debounce and poll interval of the tamper switch
    pub timing: Option<(Duration, Duration)>,
}

/// Opens the configured board.
pub fn open(config: &BoardConfig) -> Result<Opened, BoardStartError> {
    let failed = |e: &dyn std::error::Error| BoardStartError::Board(crate::assemble::chain(e));
    let board = match config {
        #[cfg(feature = "dev")]
        BoardConfig::CaseFile(path) => return Ok(crate::dev::board::open(path)),
        BoardConfig::File(path) => LinuxBoard::from_file(path, Machine::this()),
        BoardConfig::BuiltIn(name) => LinuxBoard::named(name, Machine::this()),
    };
    let board = board.map_err(|e| failed(&e))?;
    let timing = board.tamper_timing();
    let parts = Box::new(board).open().map_err(|e| failed(&e))?;
    Ok(Opened { parts, timing })
}

/// The latch of this data folder.
pub fn latch(data: &Path) -> FileLatch {
    FileLatch::at(data.join("tamper.json"))
}

/// Refuses a box whose latch is closed; asked before the keystore is opened at all.
pub fn refuse_latched(data: &Path) -> Result<(), BoardStartError> {
    match latch(data).load() {
        Latch::Open => Ok(()),
        Latch::Closed(record) => {
            let (why, at) = (record.cause.as_str(), record.at);
            Err(BoardStartError::Latched(format!("{why} at {} ms since 1970 (board {})", at.0, record.board)))
        }
        Latch::Unreadable(what) => {
            Err(BoardStartError::Latched(format!("the tamper latch is unreadable ({what})")))
        }
    }
}

/// A box that stopped before the system had taken its request asks again. Done at each start, before the refusal.
pub fn ask_again(data: &Path, request: Option<&Path>) {
    let due =
        matches!(latch(data).load(), Latch::Closed(record) if record.storage_key == StorageKey::ToClear);
    if let (true, Some(path)) = (due, request)
        && let Err(e) = storage_key::Request::at(path).place()
    {
        tracing::error!(error = %e, "TAMPER: the storage key is still there");
    }
}
