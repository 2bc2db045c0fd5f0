//! The index: which key has which name and purpose, and its blob. One file, replaced atomically.
//!
//! Nothing in it is secret: a blob is useless without its chip. Nothing in it is believed either: the key's
//! own public area carries name, purpose and scheme (see [`crate::template::label`]), and the chip checks the
//! public area. What a writer of the file can do is to take keys away, or to bring old ones back.

use crate::{commands::keys::Blob, error::TpmError, template};
use gw_proto::{B64, PublicKey, Scheme};
use hsm_api::{
    KeyPurpose,
    backend::{clip, file, is_name},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path, time::Duration};

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

/// Puts an index in the file's place.
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
    file::replace(path, &text).map_err(|source| TpmError::Io {
        operation: "write",
        path: path.to_owned(),
        source,
    })
}

/// How long another writer is waited for: he writes one small file.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Keeps other processes from writing until it is dropped.
pub(crate) fn lock(path: &Path) -> Result<File, TpmError> {
    let io = |source| TpmError::Io { operation: "lock", path: file::lock_of(path), source };
    let locked = || TpmError::Locked { path: path.to_owned() };
    file::lock(path, LOCK_PATIENCE).map_err(io)?.ok_or_else(locked)
}
