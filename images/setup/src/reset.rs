//! Factory reset: everything that this box knows is destroyed, and it asks its first questions again.
//!
//! The request carries the box's serial number, typed by whoever means it. Order, so that a power cut is completed by the next
//! start: a mark on the configuration partition; a note to the firmware, by which the initrd makes the data partition
//! anew; a request to the firmware to clear the TPM; every file of the configuration, overwritten and removed; the request by which
//! `data-clear.service` overwrites the data's key slots and restarts the box; the mark.

use crate::{SetupError, folder::Folder as _, places::Places};
use std::{
    fs::{self, File, OpenOptions},
    io::{Seek as _, Write as _},
    path::Path,
};

/// On the configuration partition until all is done.
pub const MARK: &str = "reset.pending";
/// systemd-repart(8) takes it at the next start: partitions with `FactoryReset=yes` are made anew.
const NOTE: &str = "/sys/firmware/efi/efivars/FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67";
/// Non-volatile, boot and run time access (UEFI 2.10 §8.2); then "1" and a zero in UTF-16.
const NOTE_BYTES: [u8; 8] = [7, 0, 0, 0, b'1', 0, 0, 0];
/// TCG PC Client physical presence interface: clear the TPM at the next start.
const PPI: &str = "/sys/class/tpm/tpm0/ppi/request";
const PPI_CLEAR: &[u8] = b"5";
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Whether the request is meant for this box.
pub fn check(places: &Places, typed: &str) -> Result<(), SetupError> {
    // a board without a serial number still has people who mean it
    let own = places.serial().unwrap_or_else(|| "no-serial-number".into());
    if typed.trim() == own {
        return Ok(());
    }
    let typed: String = typed.trim().chars().filter(|c| !c.is_control()).take(40).collect();
    Err(SetupError::unfit(
        "factory reset",
        format!("`{typed}` was typed, this box is `{own}`; nothing was changed"),
    ))
}

/// From here on there is no way back. Says what was done.
pub fn begin(places: &Places) -> Result<Vec<String>, SetupError> {
    places.config().write(MARK, b"")?;
    Ok(vec![
        tried("data partition is made anew at the next start", write(&places.at(NOTE), &NOTE_BYTES)),
        tried("TPM is cleared at the next start", write(&places.at(PPI), PPI_CLEAR)),
    ])
}

/// The configuration: overwritten, removed; then `last`, then the mark. At a start it completes what was interrupted.
pub fn finish(places: &Places, last: impl FnOnce() -> Result<(), SetupError>) -> Result<usize, SetupError> {
    let folder = places.config().place("");
    let count = wipe(&folder, &folder.join(MARK), 2)?;
    last()?;
    places.config().remove(MARK)?;
    Ok(count)
}

/// Whether a reset was interrupted.
pub fn pending(places: &Places) -> bool {
    places.config().place(MARK).exists()
}

fn tried(what: &str, done: Result<(), SetupError>) -> String {
    match done {
        Ok(()) => format!("done: {what}"),
        Err(e) => format!("NOT DONE: {what}: {e}"),
    }
}

/// One write: the firmware's files take a value whole. Only its own file systems make one.
fn write(path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    let fail = |source| SetupError::Folder { operation: "write", path: path.to_owned(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    file.and_then(|mut f| f.write_all(bytes)).map_err(fail)
}

fn wipe(folder: &Path, keep: &Path, depth: u8) -> Result<usize, SetupError> {
    let fail = |source| SetupError::Folder { operation: "wipe", path: folder.to_owned(), source };
    let mut count = 0;
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(fail)?);
        if path == keep {
            continue;
        }
        if kind.is_dir() && depth > 0 {
            count += wipe(&path, keep, depth - 1)?;
            fs::remove_dir_all(&path).map_err(fail)?;
        } else if kind.is_dir() {
            fs::remove_dir_all(&path).map_err(fail)?;
        } else {
            overwrite(&path).map_err(fail)?;
            fs::remove_file(&path).map_err(fail)?;
            count += 1;
        }
    }
    File::open(folder).and_then(|f| f.sync_all()).map_err(fail)?;
    Ok(count)
}

/// In place: FAT writes to the same clusters. What a flash disk keeps elsewhere is beyond us.
fn overwrite(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let mut left = file.seek(std::io::SeekFrom::End(0))?;
    file.rewind()?;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_all(ZEROS.get(..n).unwrap_or_default())?;
        left -= n as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_box() -> (tempfile::TempDir, Places) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(dir.path());
        for folder in
            ["/config/network", "/sys/firmware/efi/efivars", "/sys/class/tpm/tpm0/ppi", "/sys/class/dmi/id"]
        {
            fs::create_dir_all(places.at(folder)).unwrap();
        }
        fs::write(places.at("/sys/class/dmi/id/product_serial"), "XG-0001\n").unwrap();
        fs::write(places.at(PPI), "0\n").unwrap();
        (dir, places)
    }

    #[test]
    fn only_with_this_boxs_number() {
        let (_dir, places) = new_box();
        check(&places, " XG-0001\n").unwrap();
        for typed in ["", "XG-0002", "xg-0001", "XG-0001 XG-0001", "\u{1b}[2J"] {
            let text = check(&places, typed).unwrap_err().to_string();
            assert!(text.contains("this box is `XG-0001`") && !text.contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn nothing_is_left_in_the_files_clusters() {
        let (dir, places) = new_box();
        for name in ["config/xinguan.toml", "config/network/10.network", "config/._strange"] {
            fs::write(dir.path().join(name), vec![b's'; 100_000]).unwrap();
            // a second name shows what the clusters hold when the first is gone
            fs::hard_link(dir.path().join(name), dir.path().join(name.replace('/', "-"))).unwrap();
        }
        let said = begin(&places).unwrap();
        assert!(said.iter().all(|s| s.starts_with("done: ")), "{said:?}");
        assert!(pending(&places));
        assert_eq!(fs::read(places.at(NOTE)).unwrap(), NOTE_BYTES);
        assert!(fs::read(places.at(PPI)).unwrap().starts_with(PPI_CLEAR));
        assert_eq!(finish(&places, || Ok(())).unwrap(), 3);
        assert_eq!(fs::read_dir(places.at("/config")).unwrap().count(), 0);
        for name in ["config-xinguan.toml", "config-network-10.network", "config-._strange"] {
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), vec![0; 100_000], "{name}");
        }
        assert!(!pending(&places));
    }

    #[test]
    fn a_board_without_those_parts_says_so_and_goes_on() {
        let (dir, places) = new_box();
        fs::remove_dir_all(dir.path().join("sys")).unwrap();
        let said = begin(&places).unwrap();
        assert!(said.iter().all(|s| s.starts_with("NOT DONE: ")), "{said:?}");
        check(&places, "no-serial-number").unwrap();
        finish(&places, || Ok(())).unwrap();
    }
}
