//! Keys, bundles and boxes for the tests.
#![expect(dead_code, reason = "each test program uses a part")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "helpers of tests may fail the test"
)]

pub(crate) mod sim;

use gw_proto::{PublicKey, Scheme, Signature, UnixMillis};
use gw_sm::KeyPair;
use hsm_api::{HsmError, Signer};
use image_update::{
    Architecture, Bundle, BundleFiles, Manifest, Seen, Trust, UpdateError,
    make::{self, BundleSpec, RoleKeys, RootSpec},
};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// The time of all tests: 2026-09-21.
pub(crate) const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
pub(crate) const DAY: u64 = 86_400_000;

/// A key in memory. The number is all its secret.
pub(crate) struct Key(KeyPair);

impl Key {
    pub(crate) fn p256(n: u8) -> Self {
        Self(KeyPair::from_secret(Scheme::EcdsaP256Sha256, [n; 32]).unwrap())
    }
    pub(crate) fn sm2(n: u8) -> Self {
        Self(KeyPair::from_secret(Scheme::Sm2Sm3, [n; 32]).unwrap())
    }
}

impl Signer for Key {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        self.0.sign_digest(digest).map_err(|e| HsmError::Device(e.to_string()))
    }
}

/// The root keys of the tests, the release keys, the key that states freshness, the countersigner's.
pub(crate) const ROOT_KEYS: [u8; 3] = [1, 2, 3];
pub(crate) const RELEASE_KEYS: [u8; 3] = [11, 12, 13];
pub(crate) const ONLINE_KEY: u8 = 21;
pub(crate) const SM2_KEY: u8 = 31;

pub(crate) fn keys(numbers: &[u8]) -> Vec<Key> {
    numbers.iter().map(|n| Key::p256(*n)).collect()
}
pub(crate) fn signers(keys: &[Key]) -> Vec<&dyn Signer> {
    keys.iter().map(|k| k as &dyn Signer).collect()
}

/// Root metadata of the tests' keys, signed by those with these numbers.
pub(crate) fn root(version: u64, threshold: u64, expires: UnixMillis, by: &[u8]) -> Vec<u8> {
    let (root_keys, release, online) = (keys(&ROOT_KEYS), keys(&RELEASE_KEYS), keys(&[ONLINE_KEY]));
    let (root_keys, release, online) = (signers(&root_keys), signers(&release), signers(&online));
    let spec = RootSpec {
        version,
        expires,
        root: RoleKeys { keys: &root_keys, threshold },
        targets: RoleKeys { keys: &release, threshold },
        online: RoleKeys { keys: &online, threshold: 1 },
    };
    make::root(&spec, &signers(&keys(by))).unwrap()
}

pub(crate) fn trust() -> Trust {
    Trust { root: root(1, 2, UnixMillis(NOW.0 + 1000 * DAY), &[1, 2]), sm2: None }
}

/// How a bundle is made; the default is a good one.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) manifest: Manifest,
    pub(crate) roots: Vec<Vec<u8>>,
    pub(crate) versions: Seen,
    pub(crate) expires: UnixMillis,
    pub(crate) release: Vec<u8>,
    pub(crate) online: Vec<u8>,
    pub(crate) sm2: Option<u8>,
    pub(crate) root_bytes: usize,
    pub(crate) verity_bytes: usize,
}

pub(crate) fn manifest(version: &str) -> Manifest {
    Manifest {
        format: 1,
        version: version.parse().unwrap(),
        architecture: Architecture::X86_64,
        number: 5,
        ring: 1,
    }
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            manifest: manifest("2.0.0"),
            roots: vec![trust().root],
            versions: Seen { root: 1, timestamp: 7, snapshot: 7, targets: 7 },
            expires: UnixMillis(NOW.0 + 30 * DAY),
            release: vec![11, 13],
            online: vec![ONLINE_KEY],
            sm2: None,
            root_bytes: 1_100_001,
            verity_bytes: 20_000,
        }
    }
}

/// Bytes that differ between systems.
pub(crate) fn filler(label: &str, len: usize) -> Vec<u8> {
    let start = Sha256::digest(label);
    let mut chance = Chance(u64::from_le_bytes(start[..8].try_into().unwrap()));
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend_from_slice(&chance.next().to_le_bytes());
    }
    out.truncate(len);
    out
}

/// A kernel that knows its root and hash tree, as a real one knows its root hash.
pub(crate) fn kernel(root: &[u8], verity: &[u8]) -> Vec<u8> {
    let head = format!(
        "{} {} {} {}\n",
        root.len(),
        hex::encode(Sha256::digest(root)),
        verity.len(),
        hex::encode(Sha256::digest(verity))
    );
    [head.as_bytes(), &filler(&head, 9000)].concat()
}

impl Recipe {
    pub(crate) fn system(&self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let v = self.manifest.version;
        let root = filler(&format!("root {v}"), self.root_bytes);
        let verity = filler(&format!("verity {v}"), self.verity_bytes);
        let uki = kernel(&root, &verity);
        (root, verity, uki)
    }
    /// Makes it in a new folder.
    pub(crate) fn make(&self) -> TempDir {
        let (dir, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, verity, uki) = self.system();
        let put = |name: &str, bytes: &[u8]| -> PathBuf {
            let path = parts.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let (release, online, sm2) = (keys(&self.release), keys(&self.online), self.sm2.map(Key::sm2));
        let spec = BundleSpec {
            manifest: &self.manifest,
            root_image: &put("root", &root),
            verity_image: &put("verity", &verity),
            uki: &put("uki", &uki),
            roots: &self.roots,
            versions: self.versions,
            expires: self.expires,
            targets: &signers(&release),
            online: &signers(&online),
            sm2: sm2.as_ref().map(|k| k as &dyn Signer),
        };
        make::bundle(dir.path(), &spec).unwrap();
        dir
    }
}

/// Verifies a folder on a small runtime of its own.
pub(crate) fn verify(folder: &Path, trust: &Trust, seen: Seen) -> Result<Bundle, UpdateError> {
    verify_at(folder, trust, seen, NOW)
}

pub(crate) fn verify_at(
    folder: &Path,
    trust: &Trust,
    seen: Seen,
    now: UnixMillis,
) -> Result<Bundle, UpdateError> {
    let files = BundleFiles::read(folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(Bundle::verify(&files, trust, seen, now))
}

/// The only file of a bundle's folder whose name ends so.
pub(crate) fn find(folder: &Path, under: &str, end: &str) -> PathBuf {
    let found = fs::read_dir(folder.join(under)).unwrap().map(|f| f.unwrap().path());
    let mut found: Vec<_> = found.filter(|p| p.to_str().unwrap().ends_with(end)).collect();
    assert_eq!(found.len(), 1, "{end}: {found:?}");
    found.remove(0)
}

/// SplitMix64: chances of a seed.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}
