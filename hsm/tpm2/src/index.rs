//! The index: which key has which name and purpose, and its blob. One file, replaced atomically.
//!
//! Nothing in it is secret: a blob is useless without its chip. Nothing in it is believed either: the key's
//! own public area carries name, purpose and scheme (see [`crate::template::label`]), and the chip checks the
//! public area. What a writer of the file can do is to take keys away, or to bring old ones back.

use crate::{chip, commands::keys::Blob, error::TpmError, template};
use gw_proto::{B64, PublicKey, Scheme};
use hsm_api::KeyPurpose;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const FORMAT: &str = "xinguan index of tpm keys";
const VERSION: u32 = 1;
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The most keys in an index.
pub const MAX_KEYS: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    v: u32,
    storage_key_name: String,
    keys: Vec<Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    purpose: String,
    scheme: Scheme,
    public: B64,
    private: B64,
}

/// A key of the index, checked against its own label.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) purpose: KeyPurpose,
    pub(crate) public: PublicKey,
    pub(crate) blob: Blob,
}

/// What stands in the file.
#[derive(Clone)]
pub(crate) struct Index {
    /// the storage key that the blobs belong to, in hex
    pub(crate) storage_key_name: String,
    pub(crate) keys: BTreeMap<String, Held>,
}

const PURPOSES: [KeyPurpose; 4] =
    [KeyPurpose::Node, KeyPurpose::Storage, KeyPurpose::Account, KeyPurpose::Attestation];

/// Reads the index; every key in it must be what it says.
pub(crate) fn read(path: &Path) -> Result<Index, TpmError> {
    let io = |source| TpmError::Io { operation: "read", path: path.to_owned(), source };
    let format = |what: String| TpmError::Format { path: path.to_owned(), what };
    let mut text = Vec::new();
    File::open(path).map_err(io)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format("larger than any index".to_owned()));
    }
    let document: Document = serde_json::from_slice(&text).map_err(|e| format(e.to_string()))?;
    if document.format != FORMAT || document.v != VERSION {
        return Err(format(format!("format `{}` version {}", clip(&document.format), document.v)));
    }
    if document.keys.len() > MAX_KEYS {
        return Err(format(format!("more than {MAX_KEYS} keys")));
    }
    let mut keys = BTreeMap::new();
    for entry in document.keys {
        let (name, held) = check(path, entry)?;
        if keys.insert(name.clone(), held).is_some() {
            return Err(format(format!("two keys are named `{name}`")));
        }
    }
    Ok(Index { storage_key_name: document.storage_key_name, keys })
}

fn check(path: &Path, entry: Entry) -> Result<(String, Held), TpmError> {
    let name = entry.name.clone();
    let tampered = |what| TpmError::Tampered { name: clip(&name), path: path.to_owned(), what };
    if !is_name(&entry.name) {
        return Err(tampered("its name"));
    }
    let purpose = PURPOSES.into_iter().find(|p| p.as_str() == entry.purpose);
    let purpose = purpose.ok_or_else(|| tampered("its purpose"))?;
    let area = template::parse(&entry.public.0).ok_or_else(|| tampered("its public area"))?;
    let public = template::signing_key(&area).ok_or_else(|| tampered("its kind"))?;
    if template::is_restricted(&area) != (purpose == KeyPurpose::Attestation) {
        return Err(tampered("its purpose"));
    }
    let label = template::label(&entry.name, purpose, entry.scheme);
    if area.auth_policy.as_ref() != label || public.scheme != entry.scheme {
        return Err(tampered("its name, purpose or scheme is not what it was made with"));
    }
    let blob = Blob { public: entry.public.0, private: entry.private.0 };
    Ok((entry.name, Held { purpose, public, blob }))
}

/// Puts an index in the file's place: new file, fsync, rename, fsync of the folder. A crash leaves the old
/// file or the new one.
pub(crate) fn replace(path: &Path, index: &Index) -> Result<(), TpmError> {
    let keys = index.keys.iter().map(|(name, held)| Entry {
        name: name.clone(),
        purpose: held.purpose.as_str().to_owned(),
        scheme: held.public.scheme,
        public: B64(held.blob.public.clone()),
        private: B64(held.blob.private.clone()),
    });
    let document = Document {
        format: FORMAT.to_owned(),
        v: VERSION,
        storage_key_name: index.storage_key_name.clone(),
        keys: keys.collect(),
    };
    let text = serde_json::to_vec_pretty(&document)
        .map_err(|e| TpmError::Format { path: path.to_owned(), what: e.to_string() })?;
    put(path, &text).map_err(|source| TpmError::Io { operation: "write", path: path.to_owned(), source })
}

fn put(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let new = beside(path, ".new");
    // left by a crash; the lock says that nobody is writing it
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// How long another writer is waited for: he writes one small file.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Keeps other processes from writing until it is dropped.
pub(crate) fn lock(path: &Path) -> Result<File, TpmError> {
    let lock = beside(path, ".lock");
    let io = |source| TpmError::Io { operation: "lock", path: lock.clone(), source };
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&lock).map_err(io)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(io(source)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                chip::pause(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => return Err(TpmError::Locked { path: path.to_owned() }),
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

const MAX_NAME: usize = 64;

pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A name that was asked for goes into messages: bounded.
pub(crate) fn clip(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}
