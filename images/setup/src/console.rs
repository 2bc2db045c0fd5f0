//! Lines on every console of the box: serial ports and the screen. No escape sequences, no shell behind them.

use crate::{
    SetupError,
    answers::Said,
    places::{Places, read_text},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// A longer line is no answer.
const MAX_LINE: usize = 256;
/// A terminal that takes nothing for so long has nobody in front of it, s.
const WRITE_S: i64 = 5;
/// A question is asked again after so long: somebody may have plugged in a terminal since, s.
const ASK_AGAIN_S: i64 = 300;

/// Which language a person chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// 中文
    Chinese,
    /// English
    English,
}

/// Somebody who is asked.
pub trait Talk {
    /// Says one thing.
    fn say(&mut self, what: &Said) -> Result<(), SetupError>;
    /// Asks, and waits for a line.
    fn ask(&mut self, what: &Said) -> Result<String, SetupError>;
    /// Which language to use from now on; both before.
    fn speak(&mut self, language: Language);
}

struct Terminal {
    path: PathBuf,
    file: File,
    /// the kernel's screen has no Chinese letters
    letters: bool,
    line: Vec<u8>,
}

/// Every console at once; whoever types first is heard.
pub struct Consoles {
    terminals: Vec<Terminal>,
    language: Option<Language>,
}

impl Consoles {
    /// Those that the kernel writes to; or the ones given.
    pub fn open(places: &Places, given: &[PathBuf]) -> Result<Self, SetupError> {
        let mut paths = given.to_vec();
        if paths.is_empty() {
            let active = read_text(&places.at("/sys/class/tty/console/active"), 256)?;
            paths.extend(active.split_whitespace().map(|name| places.at("/dev").join(name)));
        }
        let terminals: Vec<_> = paths.iter().filter_map(|p| Terminal::open(p).ok()).collect();
        if terminals.is_empty() {
            return Err(SetupError::unfit("console", "none of the box's consoles can be opened"));
        }
        Ok(Self { terminals, language: None })
    }
    fn write(&mut self, text: &Said, end: &str) {
        let language = self.language;
        for terminal in &mut self.terminals {
            let chosen = match language {
                _ if !terminal.letters => text.en.clone(),
                Some(Language::English) => text.en.clone(),
                Some(Language::Chinese) => text.zh.clone(),
                None if text.zh == text.en => text.en.clone(),
                None => format!("{}\r\n{}", text.zh, text.en),
            };
            terminal.write(&format!("{}{end}", chosen.replace('\n', "\r\n")));
        }
    }
    /// A line of any of them; none when nobody typed.
    fn read(&mut self) -> Result<Option<String>, SetupError> {
        loop {
            let mut wanted: Vec<_> =
                self.terminals.iter().map(|t| PollFd::new(&t.file, PollFlags::IN)).collect();
            let wait = Timespec { tv_sec: ASK_AGAIN_S, tv_nsec: 0 };
            match poll(&mut wanted, Some(&wait)) {
                Ok(0) => return Ok(None),
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => return Err(SetupError::unfit("console", e.to_string())),
                Ok(_) => {}
            }
            let ready: Vec<PollFlags> = wanted.iter().map(PollFd::revents).collect();
            drop(wanted);
            let mut gone = Vec::new();
            for (terminal, flags) in self.terminals.iter_mut().zip(ready).filter(|(_, f)| !f.is_empty()) {
                match terminal.read() {
                    Ok(Some(line)) => return Ok(Some(line)),
                    Ok(None) if !flags.contains(PollFlags::HUP) => {}
                    Ok(None) | Err(_) => gone.push(terminal.path.clone()),
                }
            }
            self.terminals.retain(|t| !gone.contains(&t.path));
            if self.terminals.is_empty() {
                return Err(SetupError::unfit("console", "every console is gone"));
            }
        }
    }
}

impl Talk for Consoles {
    fn say(&mut self, what: &Said) -> Result<(), SetupError> {
        self.write(what, "\r\n");
        Ok(())
    }
    fn ask(&mut self, what: &Said) -> Result<String, SetupError> {
        loop {
            self.write(what, "\r\n> ");
            if let Some(line) = self.read()? {
                return Ok(line);
            }
        }
    }
    fn speak(&mut self, language: Language) {
        self.language = Some(language);
    }
}

impl Terminal {
    fn open(path: &Path) -> std::io::Result<Self> {
        // a serial port without a cable must not stop us, and none may become our controlling terminal
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        let flags = i32::try_from(flags.bits()).map_err(|_| ErrorKind::InvalidInput)?;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let screen = name.strip_prefix("tty").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()));
        Ok(Self { path: path.to_owned(), file, letters: !screen, line: Vec::new() })
    }
    /// What a terminal does not take in time is lost: another one may be read.
    fn write(&mut self, text: &str) {
        let mut left = text.as_bytes();
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(n) => left = left.get(n..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let wait = Timespec { tv_sec: WRITE_S, tv_nsec: 0 };
                    match poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&wait)) {
                        Ok(n) if n > 0 => {}
                        _ => return,
                    }
                }
                Err(_) => return,
            }
        }
    }
    /// A whole line, if there is one now.
    fn read(&mut self) -> std::io::Result<Option<String>> {
        let mut bytes = [0; MAX_LINE];
        let n = match self.file.read(&mut bytes) {
            Ok(n) => n, // 0: somebody typed Ctrl-D
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(e) => return Err(e),
        };
        for byte in bytes.iter().take(n) {
            if matches!(byte, b'\n' | b'\r') {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                return Ok(Some(
                    line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned(),
                ));
            }
            if self.line.len() < MAX_LINE {
                self.line.push(*byte);
            }
        }
        Ok(None)
    }
}
