//! Keyed tags: how operators and subjects appear where their names must not.
//!
//! An operator's tag stands in openings (others see that the same person asks, not who); a subject's tag
//! stands in this box's journal and limits. Both keys are 32 random bytes made at first start, kept in the
//! data folder with mode 0600. Losing them loses only the link between old and new tags.

use gw_proto::{
    Digest, Uscc,
    canon::{domain, keyed_tag},
};
use hsm_api::Entropy;
use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};
use zeroize::Zeroizing;

/// The two keys.
pub struct Tags {
    keys: Zeroizing<[u8; 64]>,
}

/// Why the keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// which
        path: String,
        /// why
        source: std::io::Error,
    },
    /// It has another size.
    #[error(
        "{path} has not 64 bytes: restore it from a backup, or remove it (tags of operators and subjects then change)"
    )]
    Size {
        /// which
        path: String,
    },
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] hsm_api::HsmError),
}

impl Tags {
    /// Loads the keys, or makes them.
    pub fn open(folder: &Path, entropy: &dyn Entropy) -> Result<Self, TagError> {
        let path = folder.join("tags.key");
        let file = |source| TagError::File { path: path.display().to_string(), source };
        match std::fs::read(&path) {
            Ok(bytes) => {
                let keys = <[u8; 64]>::try_from(bytes.as_slice())
                    .map_err(|_| TagError::Size { path: path.display().to_string() })?;
                Ok(Self { keys: Zeroizing::new(keys) })
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let mut keys = Zeroizing::new([0u8; 64]);
                entropy.fill(&mut *keys)?;
                let mut f = std::fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path)
                    .map_err(file)?;
                f.write_all(&*keys).and_then(|()| f.sync_all()).map_err(file)?;
                Ok(Self { keys })
            }
            Err(e) => Err(file(e)),
        }
    }
    /// The key of operator tags.
    pub fn operator_key(&self) -> &[u8] {
        self.keys.split_at(32).0
    }
    /// A subject's tag on this box.
    pub fn subject(&self, subject: &Uscc) -> Digest {
        keyed_tag(domain::SUBJECT_TAG, self.keys.split_at(32).1, subject.expose().as_bytes())
    }
}
