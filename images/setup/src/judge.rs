//! What `xinguan check-config` says of a set of files, before they are put in place.
//!
//! The gateway's own verdict, by its own program: the two can never disagree. Files that enrolment brings later, or that the
//! box makes itself, may be absent; a file that is there must be right.

use crate::{SetupError, files::Files, folder::DirFolder, folder::Folder as _};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// What may be absent when the configuration is written.
const LATER: &[&str] = &[
    "identity.node_ca_chain",
    "keystore.path",
    "ledger.roots",
    "trust.admin_roots",
    "trust.bank_roots",
    "trust.genesis",
    "trust.man_roots",
];
const WITHIN: Duration = Duration::from_secs(60);
const MAX_OUTPUT: u64 = 64 << 10;

/// The gateway's program, and a folder that may be written for a moment.
#[derive(Debug, Clone)]
pub struct Judge {
    /// `/usr/bin/xinguan`
    pub program: PathBuf,
    /// in memory
    pub scratch: PathBuf,
}

impl Judge {
    /// Refuses a set that the gateway would not start with. Says what is still missing.
    pub fn judge(&self, files: &Files) -> Result<Vec<String>, SetupError> {
        let mut folder = DirFolder::new(self.scratch.clone());
        folder.remove("")?;
        for (name, bytes) in files.iter() {
            folder.write(name, bytes)?;
        }
        let (good, said) = self.ask(&folder.place("xinguan.toml"))?;
        folder.remove("")?;
        let said = said.replace(&format!("{}/", self.scratch.display()), "");
        let open = problems(&said);
        match open {
            _ if good => Ok(Vec::new()),
            Some(missing) => Ok(missing),
            None => Err(SetupError::Judged { said }),
        }
    }
    fn ask(&self, file: &Path) -> Result<(bool, String), SetupError> {
        let fail = |source| SetupError::Folder { operation: "run", path: self.program.clone(), source };
        let mut child = Command::new(&self.program)
            .arg("check-config")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(fail)?;
        let said = read_within(&mut child, MAX_OUTPUT, WITHIN);
        let status = child.wait().map_err(fail)?;
        let said = said.ok_or_else(|| fail(std::io::Error::from(std::io::ErrorKind::TimedOut)))?;
        Ok((status.success(), String::from_utf8_lossy(&said).into_owned()))
    }
}

/// A program's output, at most `max` bytes; none, and the program is ended, if it takes longer.
pub(crate) fn read_within(child: &mut Child, max: u64, within: Duration) -> Option<Vec<u8>> {
    let (send, receive) = mpsc::sync_channel(1);
    let out = child.stdout.take();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(out) = out {
            let _ = out.take(max).read_to_end(&mut bytes);
        }
        let _ = send.send(bytes);
    });
    let said = receive.recv_timeout(within).ok();
    if said.is_none() {
        let _ = child.kill();
    }
    said
}

/// What is missing, if that is all that is wrong.
fn problems(said: &str) -> Option<Vec<String>> {
    let mut missing = Vec::new();
    for line in said.lines() {
        if line.starts_with("weaker than the default: ") || line.ends_with("in the files it names") {
            continue;
        }
        let key = line.strip_prefix("  ").and_then(|l| l.split_once(": ")).map(|(key, _)| key)?;
        if !LATER.contains(&key) || !line.contains("No such file") {
            return None;
        }
        missing.push(line.trim().to_owned());
    }
    (!missing.is_empty()).then_some(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    #[test]
    fn only_what_comes_later_may_be_missing() {
        let head = "x.toml: 1 problem(s) in the files it names\n";
        let absent = "cannot open genesis.json: No such file or directory (os error 2); check the path";
        assert_eq!(problems(&format!("{head}  trust.genesis: {absent}\n")).unwrap().len(), 1);
        assert_eq!(problems(&format!("{head}  source.mapping: {absent}\n")), None);
        assert_eq!(problems(&format!("{head}  trust.genesis: not JSON\n")), None);
        assert_eq!(problems("x.toml: 1 problem(s)\n  node.id: missing\n"), None);
        assert_eq!(problems("x.toml:1:2: No such file\n  because: No such file\n"), None);
        assert_eq!(problems(""), None, "a program that fails without a word");
    }

    #[test]
    fn the_programs_words_reach_the_person() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("xinguan");
        let scratch = dir.path().join("scratch");
        fs::write(&program, "#!/bin/sh\ntest -e \"$2\" || exit 9\necho \"$2:1:1: no such key\"\nexit 3\n")
            .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let judge = Judge { program, scratch: scratch.clone() };
        let mut files = Files::new();
        files.put("xinguan.toml", "x = 1").unwrap();
        let text = judge.judge(&files).unwrap_err().to_string();
        assert!(text.ends_with("\nxinguan.toml:1:1: no such key\n"), "{text}");
        assert!(!scratch.exists());
    }
}
