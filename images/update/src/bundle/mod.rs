//! A bundle: files on a medium, and what of them is proven.
//!
//! ```text
//! metadata/  N.root.json  timestamp.json  N.snapshot.json  N.targets.json  N.targets.sm2
//! targets/   <sha256>.root.img  <sha256>.verity.img  <sha256>.uki.efi  <sha256>.release.json
//! ```
//!
//! The metadata is read once, bounded, into memory: what is verified is what is used, whatever the medium does
//! meanwhile. Targets are read when they are copied, and hashed each time.

mod files;
mod verify;

pub use files::BundleFiles;
pub(crate) use verify::file_name;
pub use verify::{Seen, Trust};

use crate::{error::UpdateError, manifest::Manifest};
use sha2::{Digest as _, Sha256};
use std::{fs::File, io::Read as _, path::PathBuf};

/// Names of the four targets.
pub const ROOT: &str = "root.img";
/// The hash tree over the root.
pub const VERITY: &str = "verity.img";
/// Kernel, initrd and command line in one signed program.
pub const UKI: &str = "uki.efi";
/// The [`Manifest`].
pub const RELEASE: &str = "release.json";
/// All of them.
pub const TARGETS: [&str; 4] = [ROOT, VERITY, UKI, RELEASE];

/// The most bytes of a kernel image: it is held in memory once.
pub const MAX_UKI: u64 = 96 << 20;
/// The most bytes of `release.json`.
pub const MAX_RELEASE: u64 = 16 << 10;
/// Bytes copied at once.
pub(crate) const CHUNK: usize = 1 << 20;

/// A file whose length and digest are signed.
#[derive(Debug, Clone)]
pub struct Target {
    /// one of [`TARGETS`]
    pub name: &'static str,
    /// bytes
    pub len: u64,
    /// SHA-256
    pub sha256: [u8; 32],
    pub(crate) path: PathBuf,
}

/// A bundle whose metadata is verified. Its targets are checked by reading them.
#[derive(Debug)]
pub struct Bundle {
    /// what it is
    pub manifest: Manifest,
    /// root partition's image
    pub root: Target,
    /// its hash tree
    pub verity: Target,
    /// its kernel
    pub uki: Target,
    /// to be kept: an older bundle is refused from now on
    pub seen: Seen,
}

impl Bundle {
    /// Reads the three images and compares them with what was signed.
    pub fn check_images(&self) -> Result<(), UpdateError> {
        [&self.root, &self.verity, &self.uki].into_iter().try_for_each(|t| t.read_chunks(|_| Ok(())))
    }
}

impl Target {
    /// Reads the file in chunks of at most 1 MiB. Fails, after the last one, if it is not what was signed.
    pub(crate) fn read_chunks(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), UpdateError>,
    ) -> Result<(), UpdateError> {
        let mut file = self.open()?;
        let (mut hash, mut left, mut buffer) = (Sha256::new(), self.len, vec![0; CHUNK]);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let part = buffer.get_mut(..want).unwrap_or_default();
            file.read_exact(part).map_err(|e| self.unreadable(e))?;
            hash.update(&*part);
            each(part)?;
            left = left.saturating_sub(want as u64);
        }
        if file.read(&mut [0]).map_err(|e| self.unreadable(e))? != 0 {
            return Err(self.damaged("longer than signed"));
        }
        if <[u8; 32]>::from(hash.finalize()) != self.sha256 {
            return Err(self.damaged("its digest is another"));
        }
        Ok(())
    }
    /// The whole content, at most `max` bytes, checked.
    pub(crate) fn read_all(&self, max: u64) -> Result<Vec<u8>, UpdateError> {
        if self.len > max {
            return Err(UpdateError::TooLarge { name: self.name, found: self.len, max });
        }
        let mut all = Vec::new();
        self.read_chunks(|part| {
            all.extend_from_slice(part);
            Ok(())
        })?;
        Ok(all)
    }
    fn open(&self) -> Result<File, UpdateError> {
        files::open_regular(&self.path).map_err(|e| self.unreadable(e))
    }
    fn unreadable(&self, source: std::io::Error) -> UpdateError {
        match source.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged("shorter than signed"),
            std::io::ErrorKind::NotFound => self.damaged("absent"),
            _ => UpdateError::Unreadable { path: self.path.clone(), source },
        }
    }
    fn damaged(&self, why: &str) -> UpdateError {
        UpdateError::TargetDamaged { name: self.name, why: why.to_owned() }
    }
}
