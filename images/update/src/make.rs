//! Making bundles: for the image's build and for tests.
//!
//! Keys are any [`Signer`]: of a PKCS#11 or SDF token for a release, of memory for tests. TUF's are ECDSA P-256, because
//! every token has it; the countersignature is SM2. Nothing here checks that a bundle will be accepted: verify it
//! with [`crate::Bundle::verify`] before it leaves the house.

use crate::{
    bundle::{RELEASE, ROOT, Seen, UKI, VERITY, file_name},
    error::UpdateError,
    manifest::Manifest,
    record::Content,
};
use gw_proto::{Hex, Scheme, UnixMillis};
use hsm_api::Signer;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    io::{ErrorKind, Read as _},
    path::Path,
};
use tough::schema::{
    Role, Root, Snapshot, Targets, Timestamp,
    decoded::Decoded,
    key::{EcdsaKey, EcdsaScheme, Key},
};

/// The specification that the metadata follows.
const SPEC: &str = "1.0.0";

/// Keys of one role, and how many must sign.
pub struct RoleKeys<'a> {
    /// those that may
    pub keys: &'a [&'a dyn Signer],
    /// how many must
    pub threshold: u64,
}

/// A root of trust.
pub struct RootSpec<'a> {
    /// one more than its predecessor
    pub version: u64,
    /// past this it must be renewed
    pub expires: UnixMillis,
    /// who may sign the next root
    pub root: RoleKeys<'a>,
    /// who releases
    pub targets: RoleKeys<'a>,
    /// who states freshness: snapshot and timestamp
    pub online: RoleKeys<'a>,
}

/// A bundle to be made.
pub struct BundleSpec<'a> {
    /// the release
    pub manifest: &'a Manifest,
    /// file of the root partition's image
    pub root_image: &'a Path,
    /// file of its hash tree
    pub verity_image: &'a Path,
    /// file of its kernel
    pub uki: &'a Path,
    /// root metadata, oldest first; the last has the number `versions.root`
    pub roots: &'a [Vec<u8>],
    /// versions of the metadata
    pub versions: Seen,
    /// of targets, snapshot and timestamp
    pub expires: UnixMillis,
    /// keys that sign the targets
    pub targets: &'a [&'a dyn Signer],
    /// keys that sign snapshot and timestamp
    pub online: &'a [&'a dyn Signer],
    /// key of the countersignature
    pub sm2: Option<&'a dyn Signer>,
}

/// Root metadata, signed. A root that follows another must be signed by enough keys of both.
pub fn root(spec: &RootSpec<'_>, signers: &[&dyn Signer]) -> Result<Vec<u8>, UpdateError> {
    let mut keys = Map::new();
    for signer in [spec.root.keys, spec.targets.keys, spec.online.keys].into_iter().flatten() {
        let key = tuf_key(*signer)?;
        keys.insert(key_id(&key)?, serde_json::to_value(key).map_err(|e| unsigned("root", e))?);
    }
    let role = |r: &RoleKeys<'_>| -> Result<Value, UpdateError> {
        let ids: Result<Vec<_>, _> = r.keys.iter().map(|k| key_id(&tuf_key(*k)?)).collect();
        Ok(json!({ "keyids": ids?, "threshold": r.threshold }))
    };
    let online = role(&spec.online)?;
    let value = json!({
        "_type": "root", "spec_version": SPEC, "consistent_snapshot": true, "version": spec.version,
        "expires": whole_seconds(spec.expires), "keys": keys,
        "roles": {
            "root": role(&spec.root)?, "targets": role(&spec.targets)?,
            "snapshot": online, "timestamp": online,
        },
    });
    sign::<Root>("root", value, signers)
}

/// Targets metadata, signed.
pub fn targets(
    entries: &[(&str, Content)],
    version: u64,
    expires: UnixMillis,
    signers: &[&dyn Signer],
) -> Result<Vec<u8>, UpdateError> {
    let list: Map<String, Value> = entries
        .iter()
        .map(|(name, c)| ((*name).to_owned(), json!({ "length": c.len, "hashes": { "sha256": c.sha256 } })))
        .collect();
    let value = json!({
        "_type": "targets", "spec_version": SPEC, "version": version, "expires": whole_seconds(expires), "targets": list,
    });
    sign::<Targets>("targets", value, signers)
}

/// Writes targets metadata into a bundle, and the snapshot and timestamp that lead to it.
pub fn seal(
    folder: &Path,
    targets: &[u8],
    versions: Seen,
    expires: UnixMillis,
    online: &[&dyn Signer],
) -> Result<(), UpdateError> {
    let snapshot = json!({
        "_type": "snapshot", "spec_version": SPEC, "version": versions.snapshot, "expires": whole_seconds(expires),
        "meta": { "targets.json": describe(targets, versions.targets) },
    });
    let snapshot = sign::<Snapshot>("snapshot", snapshot, online)?;
    let timestamp = json!({
        "_type": "timestamp", "spec_version": SPEC, "version": versions.timestamp, "expires": whole_seconds(expires),
        "meta": { "snapshot.json": describe(&snapshot, versions.snapshot) },
    });
    let timestamp = sign::<Timestamp>("timestamp", timestamp, online)?;
    let metadata = folder.join("metadata");
    write(&metadata.join(format!("{}.targets.json", versions.targets)), targets)?;
    write(&metadata.join(format!("{}.snapshot.json", versions.snapshot)), &snapshot)?;
    write(&metadata.join("timestamp.json"), &timestamp)
}

/// Makes a whole bundle in a new folder.
pub fn bundle(folder: &Path, spec: &BundleSpec<'_>) -> Result<(), UpdateError> {
    for name in ["metadata", "targets"] {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(|e| failed("make", &path, e))?;
    }
    let release = serde_json::to_vec_pretty(spec.manifest).map_err(|e| unsigned(RELEASE, e))?;
    let mut entries = vec![(RELEASE, add_bytes(folder, RELEASE, &release)?)];
    for (name, path) in [(ROOT, spec.root_image), (VERITY, spec.verity_image), (UKI, spec.uki)] {
        entries.push((name, add_file(folder, name, path)?));
    }
    let signed = targets(&entries, spec.versions.targets, spec.expires, spec.targets)?;
    if let Some(key) = spec.sm2 {
        countersign(folder, &signed, spec.versions.targets, key)?;
    }
    let first = (spec.versions.root + 1).saturating_sub(spec.roots.len() as u64);
    for (n, root) in (first..).zip(spec.roots) {
        write(&folder.join(format!("metadata/{n}.root.json")), root)?;
    }
    seal(folder, &signed, spec.versions, spec.expires, spec.online)
}

/// Writes the SM2 signature over targets metadata: DER, default identifier (GM/T 0009), so that any SM2 tool checks it.
pub fn countersign(folder: &Path, targets: &[u8], version: u64, key: &dyn Signer) -> Result<(), UpdateError> {
    const WHAT: &str = "countersignature";
    if key.public_key().scheme != Scheme::Sm2Sm3 {
        return Err(unsigned(WHAT, "not an SM2 key"));
    }
    let signature = hsm_api::sign_message(key, targets).map_err(|e| unsigned(WHAT, e))?;
    let der = gw_sm::cert::signature_to_der(&signature).map_err(|e| unsigned(WHAT, e))?;
    write(&folder.join(format!("metadata/{version}.targets.sm2")), &der)
}

/// Puts bytes among a bundle's targets.
pub fn add_bytes(folder: &Path, name: &str, bytes: &[u8]) -> Result<Content, UpdateError> {
    let sha256: [u8; 32] = Sha256::digest(bytes).into();
    write(&folder.join("targets").join(file_name(&sha256, name)), bytes)?;
    Ok(Content { len: bytes.len() as u64, sha256: Hex(sha256) })
}

fn add_file(folder: &Path, name: &str, from: &Path) -> Result<Content, UpdateError> {
    let content = digest_file(from).map_err(|e| failed("read", from, e))?;
    let to = folder.join("targets").join(file_name(&content.sha256.0, name));
    fs::copy(from, &to).map_err(|e| failed("write", &to, e))?;
    Ok(content)
}

fn digest_file(path: &Path) -> std::io::Result<Content> {
    let (mut file, mut hash, mut len) = (fs::File::open(path)?, Sha256::new(), 0u64);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Content { len, sha256: Hex(hash.finalize().into()) }),
            Ok(n) => {
                hash.update(buffer.get(..n).unwrap_or_default());
                len = len.saturating_add(n as u64);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Version, length and digest of metadata, as the next role up states them.
fn describe(bytes: &[u8], version: u64) -> Value {
    let sha256 = hex::encode(Sha256::digest(bytes));
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": sha256 } })
}

/// TUF's dates have no fractions (TUF 4.2); other clients refuse one.
fn whole_seconds(time: UnixMillis) -> String {
    UnixMillis(time.0 - time.0 % 1000).rfc3339()
}

/// Signs the canonical form (OLPC canonical JSON, as TUF 4.2 has it).
fn sign<R: Role + Serialize + DeserializeOwned>(
    what: &'static str,
    value: Value,
    signers: &[&dyn Signer],
) -> Result<Vec<u8>, UpdateError> {
    let role: R = serde_json::from_value(value).map_err(|e| unsigned(what, e))?;
    let message = role.canonical_form().map_err(|e| unsigned(what, e))?;
    let mut signatures = Vec::new();
    for signer in signers {
        let signature = hsm_api::sign_message(*signer, &message).map_err(|e| unsigned(what, e))?;
        let der = gw_sm::cert::signature_to_der(&signature).map_err(|e| unsigned(what, e))?;
        signatures.push(json!({ "keyid": key_id(&tuf_key(*signer)?)?, "sig": hex::encode(der) }));
    }
    let signed = json!({ "signed": role, "signatures": signatures });
    serde_json::to_vec_pretty(&signed).map_err(|e| unsigned(what, e))
}

fn tuf_key(signer: &dyn Signer) -> Result<Key, UpdateError> {
    let key = signer.public_key();
    if key.scheme != Scheme::EcdsaP256Sha256 {
        return Err(unsigned("metadata", "TUF's keys are ECDSA P-256"));
    }
    let public = Decoded::from([[4].as_slice(), key.point.0.as_slice()].concat());
    Ok(Key::Ecdsa {
        keyval: EcdsaKey { public, _extra: Default::default() },
        scheme: EcdsaScheme::EcdsaSha2Nistp256,
        _extra: Default::default(),
    })
}

fn key_id(key: &Key) -> Result<String, UpdateError> {
    Ok(hex::encode(&*key.key_id().map_err(|e| unsigned("metadata", e))?))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), UpdateError> {
    fs::write(path, bytes).map_err(|e| failed("write", path, e))
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> UpdateError {
    UpdateError::Folder { operation, path: path.to_owned(), source }
}

fn unsigned(what: &str, why: impl std::fmt::Display) -> UpdateError {
    UpdateError::Signing { what: what.to_owned(), why: why.to_string() }
}
