//! From files to a verified bundle: TUF by `tough`, then what TUF leaves to us.
//!
//! `tough` checks signatures, thresholds, root rotation and the chain timestamp → snapshot → targets. Ours are: the
//! least threshold, expiry by the caller's clock (a box that woke up in 1970 has a better one than the machine's),
//! versions seen before (kept durably, which `tough`'s own store is not), the SM2 countersignature, names and files.

use super::{
    Bundle, BundleFiles, MAX_RELEASE, RELEASE, ROOT, TARGETS, Target, UKI, VERITY,
    files::{MAX_FILES, MAX_METADATA},
};
use crate::{error::UpdateError, manifest::Manifest};
use gw_proto::{PublicKey, Scheme, UnixMillis};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tough::{
    Bytes, ExpirationEnforcement, Limits, Repository, RepositoryLoader, Transport, TransportError,
    TransportErrorKind, TransportStream,
    schema::{Role, RoleType, Root},
};

/// What a bundle is measured against.
#[derive(Debug, Clone)]
pub struct Trust {
    /// `root.json` out of the image: the root of trust
    pub root: Vec<u8>,
    /// if there is one, every bundle must be countersigned with it (SM2 with SM3, the default identifier)
    pub sm2: Option<PublicKey>,
}

/// The highest versions of metadata that this box has accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// of root
    pub root: u64,
    /// of timestamp
    pub timestamp: u64,
    /// of snapshot
    pub snapshot: u64,
    /// of targets
    pub targets: u64,
}

impl Seen {
    /// Refuses older metadata. A new root may restart the others: that heals versions that an attacker with stolen
    /// online keys has driven up (TUF 5.3.11).
    fn check(self, before: Self) -> Result<(), UpdateError> {
        let same_root = self.root == before.root;
        let roles = [
            ("root", self.root, before.root, true),
            ("timestamp", self.timestamp, before.timestamp, same_root),
            ("snapshot", self.snapshot, before.snapshot, same_root),
            ("targets", self.targets, before.targets, same_root),
        ];
        match roles.into_iter().find(|(_, found, seen, counts)| *counts && found < seen) {
            Some((role, found, seen, _)) => Err(UpdateError::RolledBack { role, found, seen }),
            None => Ok(()),
        }
    }
}

impl Bundle {
    /// Verifies everything but the content of the three images, which is checked when they are copied.
    pub async fn verify(
        files: &BundleFiles,
        trust: &Trust,
        seen: Seen,
        now: UnixMillis,
    ) -> Result<Self, UpdateError> {
        let repository = load(files, &trust.root).await?;
        check_root(&repository.root().signed)?;
        check_expiry(&repository, now)?;
        let found = versions(&repository);
        found.check(seen)?;
        check_countersignature(files, trust, found.targets)?;
        let mut targets = targets(files, &repository)?;
        check_files(files, found, &targets)?;
        let mut take = |name| targets.remove(name).ok_or(UpdateError::TargetMissing { name });
        let manifest = Manifest::parse(&take(RELEASE)?.read_all(MAX_RELEASE)?)?;
        Ok(Self { manifest, root: take(ROOT)?, verity: take(VERITY)?, uki: take(UKI)?, seen: found })
    }
}

async fn load(files: &BundleFiles, root: &[u8]) -> Result<Repository, UpdateError> {
    let base = url::Url::parse("bundle:///").map_err(|e| UpdateError::Metadata { source: Box::new(e) })?;
    let limits = Limits {
        max_root_size: MAX_METADATA,
        max_targets_size: MAX_METADATA,
        max_timestamp_size: MAX_METADATA,
        max_snapshot_size: MAX_METADATA,
        max_root_updates: MAX_FILES as u64,
    };
    let loader = RepositoryLoader::new(&root, base.clone(), base)
        .transport(InMemory(Arc::new(files.metadata.clone())))
        .limits(limits)
        .expiration_enforcement(ExpirationEnforcement::Unsafe); // checked below, by the caller's clock
    Ok(loader.load().await?)
}

/// The bytes that were read at first, and nothing else.
#[derive(Debug, Clone)]
struct InMemory(Arc<BTreeMap<String, Bytes>>);

#[tough::async_trait]
impl Transport for InMemory {
    async fn fetch(&self, url: url::Url) -> Result<TransportStream, TransportError> {
        match self.0.get(url.path().trim_start_matches('/')) {
            Some(bytes) => Ok(Box::pin(futures_util::stream::iter([Ok::<_, TransportError>(bytes.clone())]))),
            None => Err(TransportError::new(TransportErrorKind::FileNotFound, url)),
        }
    }
}

/// Two of three, or stricter: a single stolen key must never be enough, whatever the image was given.
fn check_root(root: &Root) -> Result<(), UpdateError> {
    for role in [RoleType::Root, RoleType::Targets] {
        let (threshold, keys) = match root.roles.get(&role) {
            Some(k) => (k.threshold.get(), k.keyids.iter().collect::<BTreeSet<_>>().len()),
            None => (0, 0),
        };
        if threshold < 2 || keys < 3 {
            return Err(UpdateError::WeakRoot { role: role.to_string(), threshold, keys });
        }
    }
    Ok(())
}

fn check_expiry(r: &Repository, now: UnixMillis) -> Result<(), UpdateError> {
    fn of<R: Role>(name: &'static str, role: &R) -> (&'static str, u64) {
        // a date before 1970 is past in any case
        (name, u64::try_from(role.expires().as_millisecond()).unwrap_or(0))
    }
    let roles = [
        of("root", &r.root().signed),
        of("timestamp", &r.timestamp().signed),
        of("snapshot", &r.snapshot().signed),
        of("targets", &r.targets().signed),
    ];
    match roles.into_iter().find(|(_, expires)| *expires <= now.0) {
        Some((role, expires)) => {
            let expired = UnixMillis(expires).rfc3339();
            Err(UpdateError::Expired { role, expired, now: now.rfc3339() })
        }
        None => Ok(()),
    }
}

fn versions(r: &Repository) -> Seen {
    Seen {
        root: r.root().signed.version.get(),
        timestamp: r.timestamp().signed.version.get(),
        snapshot: r.snapshot().signed.version.get(),
        targets: r.targets().signed.version.get(),
    }
}

/// The countersignature covers the file that the verified targets were read from, byte for byte (GM/T 0009 form).
fn check_countersignature(files: &BundleFiles, trust: &Trust, version: u64) -> Result<(), UpdateError> {
    let Some(key) = &trust.sm2 else { return Ok(()) };
    let name = format!("{version}.targets.sm2");
    let Some(signature) = files.metadata.get(&name) else {
        return Err(UpdateError::CountersignatureMissing { name });
    };
    let signed = files.metadata.get(&format!("{version}.targets.json"));
    let signature = gw_sm::cert::signature_from_der(signature);
    let good = match (signed, signature) {
        (Some(bytes), Some(s)) => key.scheme == Scheme::Sm2Sm3 && gw_sm::verify(key, bytes, &s).is_ok(),
        _ => false,
    };
    if good { Ok(()) } else { Err(UpdateError::CountersignatureWrong { name }) }
}

/// The four targets by name. A name is compared as it stands: nothing is resolved, so nothing leads elsewhere.
fn targets(files: &BundleFiles, r: &Repository) -> Result<BTreeMap<&'static str, Target>, UpdateError> {
    let mut out = BTreeMap::new();
    for (name, signed) in &r.targets().signed.targets {
        let wrong = || UpdateError::TargetName { name: name.raw().chars().take(100).collect() };
        let name = TARGETS.into_iter().find(|t| *t == name.raw()).ok_or_else(wrong)?;
        let sha256 = <[u8; 32]>::try_from(&*signed.hashes.sha256).map_err(|_| wrong())?;
        let path = files.target_path(&file_name(&sha256, name));
        out.insert(name, Target { name, len: signed.length, sha256, path });
    }
    Ok(out)
}

/// A target's file: its digest comes first (TUF's consistent snapshots), so that two releases can share a folder.
pub(crate) fn file_name(sha256: &[u8; 32], name: &str) -> String {
    format!("{}.{name}", hex::encode(sha256))
}

/// Refuses files that nothing signed names: what has no use has no place beside a signature.
fn check_files(
    files: &BundleFiles,
    found: Seen,
    targets: &BTreeMap<&'static str, Target>,
) -> Result<(), UpdateError> {
    let roots = found.root.saturating_sub(MAX_FILES as u64)..=found.root;
    let mut known: BTreeSet<String> = roots.map(|n| format!("{n}.root.json")).collect();
    known.insert("timestamp.json".into());
    known.insert(format!("{}.snapshot.json", found.snapshot));
    known.insert(format!("{}.targets.json", found.targets));
    known.insert(format!("{}.targets.sm2", found.targets));
    if let Some(name) = files.metadata.keys().find(|n| !known.contains(*n)) {
        return Err(UpdateError::UnknownFile { name: format!("metadata/{name}") });
    }
    let known: BTreeSet<String> = targets.values().map(|t| file_name(&t.sha256, t.name)).collect();
    match files.targets.difference(&known).next() {
        Some(name) => Err(UpdateError::UnknownFile { name: format!("targets/{name}") }),
        None => Ok(()),
    }
}
