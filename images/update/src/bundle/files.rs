//! Reading a bundle's folder: bounded, plain files only.

use crate::error::UpdateError;
use rustix::fs::OFlags;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{DirEntry, File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};
use tough::Bytes;

/// The most bytes of one metadata file; ours have about 4 KiB.
pub(super) const MAX_METADATA: u64 = 256 << 10;
/// The most files in either folder: years of root rotations.
pub(super) const MAX_FILES: usize = 64;

/// The metadata's bytes, and the names of the targets' files. Nothing is verified yet.
#[derive(Debug, Clone)]
pub struct BundleFiles {
    pub(super) metadata: BTreeMap<String, Bytes>,
    pub(super) targets: BTreeSet<String>,
    pub(super) folder: PathBuf,
}

impl BundleFiles {
    /// Reads the folder of a bundle, as on a USB stick or in a download's place.
    pub fn read(folder: &Path) -> Result<Self, UpdateError> {
        for item in entries(folder)? {
            let name = item.file_name();
            if name != "metadata" && name != "targets" {
                return Err(unknown(folder, &item.path()));
            }
        }
        let mut metadata = BTreeMap::new();
        for (name, path) in plain_files(folder, "metadata")? {
            metadata.insert(name, read_metadata(&path)?);
        }
        let targets = plain_files(folder, "targets")?.into_iter().map(|(name, _)| name).collect();
        Ok(Self { metadata, targets, folder: folder.to_owned() })
    }
    /// Where a target's file lies.
    pub(super) fn target_path(&self, name: &str) -> PathBuf {
        self.folder.join("targets").join(name)
    }
}

/// Opens a regular file; never follows a link and never waits for a pipe.
pub(super) fn open_regular(path: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    Ok(file)
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>, UpdateError> {
    let fail = |source| UpdateError::Unreadable { path: folder.to_owned(), source };
    let found: Result<Vec<_>, _> = std::fs::read_dir(folder).map_err(fail)?.take(MAX_FILES + 1).collect();
    let found = found.map_err(fail)?;
    if found.len() > MAX_FILES {
        let what = format!("the folder `{}`", folder.display());
        return Err(UpdateError::MetadataTooBig { what, found: found.len() as u64, max: MAX_FILES as u64 });
    }
    Ok(found)
}

fn plain_files(folder: &Path, under: &str) -> Result<Vec<(String, PathBuf)>, UpdateError> {
    let mut out = Vec::new();
    for item in entries(&folder.join(under))? {
        let path = item.path();
        let plain =
            item.file_type().map_err(|source| UpdateError::Unreadable { path: path.clone(), source })?;
        match item.file_name().into_string() {
            Ok(name) if plain.is_file() => out.push((name, path)),
            _ => return Err(unknown(folder, &path)),
        }
    }
    Ok(out)
}

fn read_metadata(path: &Path) -> Result<Bytes, UpdateError> {
    let fail = |source| UpdateError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    open_regular(path).map_err(fail)?.take(MAX_METADATA + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_METADATA {
        let what = format!("`{}`", path.display());
        return Err(UpdateError::MetadataTooBig { what, found: bytes.len() as u64, max: MAX_METADATA });
    }
    Ok(bytes.into())
}

fn unknown(folder: &Path, path: &Path) -> UpdateError {
    UpdateError::UnknownFile { name: path.strip_prefix(folder).unwrap_or(path).display().to_string() }
}
