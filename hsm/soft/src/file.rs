//! The encrypted file: read bounded, replaced atomically.
//!
//! JSON in clear: format, cost of the passphrase's derivation, salt, nonce, and the sealed keys. Everything
//! but the sealed keys is bound to them as associated data. A 24-byte nonce is drawn for each writing, so
//! that two writings never share one by chance.

use crate::{
    error::SoftError,
    passphrase::{Passphrase, check_private},
};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{AeadInPlace as _, KeyInit as _, XChaCha20Poly1305, XNonce};
use gw_proto::{B64, Hex};
use hsm_api::{Entropy, backend::file};
use serde::{Deserialize, Serialize};
use std::{fs::File, io::Read as _, path::Path, time::Duration};
use zeroize::Zeroizing;

const FORMAT: &str = "xinguan development software keystore";
const VERSION: u32 = 1;
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// A file that asks for more than this to be opened is refused.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;

/// How much work a guess of the passphrase takes (Argon2id, RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KdfCost {
    /// memory
    pub memory_kib: u32,
    /// passes over it
    pub passes: u32,
}

impl Default for KdfCost {
    /// 19 MiB and two passes: the least that OWASP recommends for Argon2id.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

/// What stands in clear.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    v: u32,
    kdf: String,
    cost: KdfCost,
    salt: Hex<16>,
    cipher: String,
    nonce: Hex<24>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    head: Head,
    sealed: B64,
}

/// The key of a file: derived once, because deriving is slow on purpose.
pub(crate) struct FileKey {
    cost: KdfCost,
    salt: Hex<16>,
    key: Zeroizing<[u8; 32]>,
}

impl FileKey {
    /// A key for a new file.
    pub(crate) fn fresh(
        path: &Path,
        passphrase: &Passphrase,
        cost: KdfCost,
        entropy: &dyn Entropy,
    ) -> Result<Self, SoftError> {
        let mut salt = Hex([0; 16]);
        entropy.fill(&mut salt.0).map_err(|source| SoftError::Entropy { source })?;
        Self::derive(path, passphrase, cost, salt)
    }

    fn derive(path: &Path, passphrase: &Passphrase, cost: KdfCost, salt: Hex<16>) -> Result<Self, SoftError> {
        let format = |what: String| SoftError::Format { path: path.to_owned(), what };
        if cost.memory_kib > MAX_MEMORY_KIB || cost.passes > MAX_PASSES {
            return Err(format(format!("it asks for too much work: {cost:?}")));
        }
        let params =
            Params::new(cost.memory_kib, cost.passes, 1, Some(32)).map_err(|e| format(e.to_string()))?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.bytes(), &salt.0, &mut *key)
            .map_err(|e| format(e.to_string()))?;
        Ok(Self { cost, salt, key })
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.key).into())
    }

    fn associated(path: &Path, head: &Head) -> Result<Vec<u8>, SoftError> {
        gw_proto::jcs(head).map_err(|e| SoftError::Format { path: path.to_owned(), what: e.to_string() })
    }
}

/// What was read, and which writing it was.
pub(crate) struct Content {
    pub(crate) plain: Zeroizing<Vec<u8>>,
    pub(crate) writing: Writing,
}

/// Each writing draws its own nonce, which so names it.
pub(crate) type Writing = Hex<24>;

/// Opens a file with its passphrase: the content, and the key to write it again.
pub(crate) fn open(path: &Path, passphrase: &Passphrase) -> Result<(FileKey, Content), SoftError> {
    let document = read(path)?;
    let key = FileKey::derive(path, passphrase, document.head.cost, document.head.salt)?;
    let content = unseal(path, &key, document)?;
    Ok((key, content))
}

/// Opens a file again with the key of an earlier opening; none if it is still the writing that is known.
pub(crate) fn reopen(path: &Path, key: &FileKey, known: &Writing) -> Result<Option<Content>, SoftError> {
    let document = read(path)?;
    if document.head.nonce == *known {
        return Ok(None);
    }
    unseal(path, key, document).map(Some)
}

fn unseal(path: &Path, key: &FileKey, document: Document) -> Result<Content, SoftError> {
    let associated = FileKey::associated(path, &document.head)?;
    let mut plain = Zeroizing::new(document.sealed.0);
    key.cipher()
        .decrypt_in_place(XNonce::from_slice(&document.head.nonce.0), &associated, &mut *plain)
        .map_err(|_| SoftError::Seal { path: path.to_owned() })?;
    Ok(Content { plain, writing: document.head.nonce })
}

fn read(path: &Path) -> Result<Document, SoftError> {
    let io = |source| SoftError::Io { operation: "read", path: path.to_owned(), source };
    let format = |what: &str| SoftError::Format { path: path.to_owned(), what: what.to_owned() };
    let file = File::open(path).map_err(io)?;
    check_private(&file, path)?;
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format("larger than any keystore"));
    }
    // serde's own text may repeat the file's content
    let document: Document = serde_json::from_slice(&text)
        .map_err(|e| format(&format!("line {}: unexpected content", e.line())))?;
    let head = &document.head;
    if head.format != FORMAT || head.kdf != "argon2id" || head.cipher != "xchacha20-poly1305" {
        return Err(format("unknown format"));
    }
    if head.v != VERSION {
        return Err(format(&format!("version {}, this release knows {VERSION}", head.v)));
    }
    Ok(document)
}

/// Seals the content (its buffer is used up) and puts it in the file's place.
pub(crate) fn replace(
    path: &Path,
    key: &FileKey,
    mut plain: Zeroizing<Vec<u8>>,
    entropy: &dyn Entropy,
) -> Result<Writing, SoftError> {
    let mut nonce = Hex([0; 24]);
    entropy.fill(&mut nonce.0).map_err(|source| SoftError::Entropy { source })?;
    let head = Head {
        format: FORMAT.to_owned(),
        v: VERSION,
        kdf: "argon2id".to_owned(),
        cost: key.cost,
        salt: key.salt,
        cipher: "xchacha20-poly1305".to_owned(),
        nonce,
    };
    let associated = FileKey::associated(path, &head)?;
    key.cipher()
        .encrypt_in_place(XNonce::from_slice(&nonce.0), &associated, &mut *plain)
        .map_err(|_| SoftError::Seal { path: path.to_owned() })?;
    let document = Document { head, sealed: B64(plain.to_vec()) };
    let text = serde_json::to_vec_pretty(&document)
        .map_err(|e| SoftError::Format { path: path.to_owned(), what: e.to_string() })?;
    file::replace(path, &text).map_err(|source| SoftError::Io {
        operation: "write",
        path: path.to_owned(),
        source,
    })?;
    Ok(nonce)
}

/// Keeps other processes from writing until it is dropped.
pub(crate) fn lock(path: &Path) -> Result<File, SoftError> {
    let io = |source| SoftError::Io { operation: "lock", path: file::lock_of(path), source };
    let locked = || SoftError::Locked { path: path.to_owned() };
    file::lock(path, Duration::ZERO).map_err(io)?.ok_or_else(locked)
}
