//! Puts a set of files in place: all of it or nothing, wherever the power goes. FAT gives no such promise by itself.
//!
//! The set is first stored whole in `next/`, with a list of digests written last: that list is the decision. Then it is moved file
//! by file; the next start completes what was interrupted ([`recover`]), or forgets what was never decided.

use crate::{
    SetupError,
    files::{Files, MAX_FILE, NETWORK},
    folder::{Folder, replace},
};
use gw_proto::{Digest, sm3};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const NEXT: &str = "next";
/// The last file of a stored set.
const LIST: &str = "complete";
const MAX_LIST: u64 = 64 << 10;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// whether network/ is to have these files and no others
    whole_network: bool,
    files: BTreeMap<String, Digest>,
}

/// Puts the files in place. With `whole_network`, `network/` has no other files afterwards.
pub fn put_in_place(folder: &mut dyn Folder, files: &Files, whole_network: bool) -> Result<(), SetupError> {
    store(folder, NEXT, files, whole_network)?;
    finish(folder, files, whole_network)
}

/// At the start: completes a set that was decided, forgets one that was not. Says whether it completed one.
pub fn recover(folder: &mut dyn Folder) -> Result<bool, SetupError> {
    if let Some((files, whole_network)) = stored(folder, NEXT)? {
        finish(folder, &files, whole_network)?;
        return Ok(true);
    }
    if !folder.list(NEXT)?.is_empty() {
        remove_scratch(folder)?;
    }
    folder.remove(NEXT)?;
    Ok(false)
}

/// A rename that was interrupted may have left both names.
fn remove_scratch(folder: &mut dyn Folder) -> Result<(), SetupError> {
    for (at, prefix) in [("", ""), (NETWORK, "network/")] {
        for name in folder.list(at)?.iter().filter(|n| n.ends_with(".new")) {
            folder.remove(&format!("{prefix}{name}"))?;
        }
    }
    Ok(())
}

/// Stores a set in a folder of its own; only its last write makes it one.
pub(crate) fn store(
    folder: &mut dyn Folder,
    at: &str,
    files: &Files,
    whole_network: bool,
) -> Result<(), SetupError> {
    folder.remove(&format!("{at}/{LIST}"))?; // first: what is half removed must not pass for a set
    folder.remove(at)?;
    for (name, bytes) in files.iter() {
        folder.write(&inside(at, name), bytes)?;
    }
    let digests = files.iter().map(|(name, bytes)| (name.to_owned(), sm3(bytes))).collect();
    let list = List { whole_network, files: digests };
    let text = serde_json::to_vec(&list).map_err(|e| SetupError::unfit(LIST, e.to_string()))?;
    folder.write(&format!("{at}/{LIST}"), &text)
}

/// A set that was stored whole; none if anything of it is missing or differs.
pub(crate) fn stored(folder: &dyn Folder, at: &str) -> Result<Option<(Files, bool)>, SetupError> {
    let Some(text) = folder.read(&format!("{at}/{LIST}"), MAX_LIST)? else { return Ok(None) };
    let Ok(list) = serde_json::from_slice::<List>(&text) else { return Ok(None) };
    let mut files = Files::new();
    for (name, digest) in &list.files {
        match folder.read(&inside(at, name), MAX_FILE)? {
            Some(bytes) if sm3(&bytes) == *digest => files.put(name, bytes)?,
            _ => return Ok(None),
        }
    }
    Ok(Some((files, list.whole_network)))
}

/// Removes a stored set, its list first.
pub(crate) fn forget(folder: &mut dyn Folder, at: &str) -> Result<(), SetupError> {
    folder.remove(&format!("{at}/{LIST}"))?;
    folder.remove(at)
}

fn finish(folder: &mut dyn Folder, files: &Files, whole_network: bool) -> Result<(), SetupError> {
    for (name, bytes) in files.iter() {
        // what is right already is not written again
        if folder.read(name, MAX_FILE).ok().flatten().as_deref() != Some(bytes) {
            replace(folder, name, bytes)?;
        }
    }
    if whole_network {
        for name in folder.list(NETWORK)? {
            let name = format!("{NETWORK}/{name}");
            if files.file(&name).is_none() {
                folder.remove(&name)?;
            }
        }
    }
    remove_scratch(folder)?;
    forget(folder, NEXT) // last: as long as it is there, all of this is done again
}

fn inside(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('/', "@"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::DirFolder;

    /// A disk that acknowledges what it has not written.
    #[test]
    fn a_list_without_its_files_decides_nothing() {
        for file in ["next/xinguan.toml", "next/network@a.network", "next/complete"] {
            let dir = tempfile::tempdir().unwrap();
            let mut folder = DirFolder::new(dir.path().to_owned());
            let mut files = Files::new();
            files.put("xinguan.toml", "new").unwrap();
            files.put("network/a.network", "new").unwrap();
            for damage in ["n", "neww", ""] {
                store(&mut folder, NEXT, &files, true).unwrap();
                assert!(stored(&folder, NEXT).unwrap().is_some());
                folder.write(file, damage.as_bytes()).unwrap();
                assert!(!recover(&mut folder).unwrap(), "{file} is `{damage}`");
                assert!(Files::load(&folder).unwrap().is_empty() && !dir.path().join("next").exists());
            }
        }
    }
}
