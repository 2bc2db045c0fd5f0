//! The development keystore: the suite of all keystores, and what a file adds.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

use gw_proto::Scheme;
use hsm_api::{Entropy, HsmError, KeyPurpose, KeyStore, OsEntropy, sign_message};
use hsm_conformance::{
    Target,
    secrets::{RecordingEntropy, shows},
};
use hsm_soft::{KdfCost, NAME, Passphrase, SoftError, SoftKeyStore, SoftOptions};
use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const WORDS: &str = "correct horse battery staple";

struct Place {
    folder: tempfile::TempDir,
    options: SoftOptions,
    entropy: RecordingEntropy,
}

impl Place {
    fn new() -> Self {
        let cost = KdfCost { memory_kib: 64, passes: 1 };
        Self {
            folder: tempfile::tempdir().unwrap(),
            options: SoftOptions { cost, ..SoftOptions::default() },
            entropy: RecordingEntropy::new(Arc::new(OsEntropy)),
        }
    }
    fn path(&self) -> PathBuf {
        self.folder.path().join("keys")
    }
    fn create(&self) -> Result<SoftKeyStore, SoftError> {
        SoftKeyStore::create(&self.path(), &passphrase(WORDS), &self.options, Arc::new(self.entropy.clone()))
    }
    fn open(&self) -> Result<SoftKeyStore, SoftError> {
        self.open_with(WORDS)
    }
    fn open_with(&self, words: &str) -> Result<SoftKeyStore, SoftError> {
        SoftKeyStore::open(&self.path(), &passphrase(words), &self.options, Arc::new(self.entropy.clone()))
    }
}

fn passphrase(words: &str) -> Passphrase {
    Passphrase::new(words.to_owned().into()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn conformance(schemes: &[Scheme], unsupported: &[Scheme]) {
    let mut place = Place::new();
    place.options.schemes = schemes.to_vec();
    let store = place.create().unwrap();
    let printed = || {
        let missing = store.load_key("nobody", KeyPurpose::Node).err().unwrap();
        let wrong = place.open_with("another passphrase").unwrap_err();
        vec![
            format!("{store:?}"),
            format!("{store:#?}"),
            format!("{:?}", store.info()),
            format!("{:?}", passphrase(WORDS)),
            format!("{missing} {missing:?} {wrong} {wrong:?}"),
            std::fs::read_to_string(place.path()).unwrap(),
        ]
    };
    // salts and nonces stand in the file; keys are the draws of 32 bytes
    let secrets = || {
        let keys = place.entropy.drawn().into_iter().filter(|d| d.len() == 32);
        keys.chain([WORDS.as_bytes().to_vec()]).collect()
    };
    let report = hsm_conformance::run(&Target {
        store: &store,
        schemes,
        unsupported,
        prefix: "t",
        patience: Duration::from_secs(30),
        reopen: &|| Ok(Arc::new(place.open()?)),
        printed: &printed,
        secrets: &secrets,
    });
    assert!(report.passed(), "{report}");
    assert!(place.entropy.drawn().iter().filter(|d| d.len() == 32).count() > 10);
}

#[test]
fn it_keeps_the_promises_of_every_keystore() {
    conformance(&[Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256], &[]);
}

#[test]
fn it_can_be_limited_to_one_scheme() {
    conformance(&[Scheme::Sm2Sm3], &[Scheme::EcdsaP256Sha256]);
}

#[test]
fn it_says_that_it_is_for_development() {
    let info = Place::new().create().unwrap().info();
    assert!(info.development);
    assert_eq!(info.name, "development software keystore");
    assert_eq!(info.name, NAME);
}

#[test]
fn a_wrong_passphrase_and_every_changed_byte_are_refused() {
    let place = Place::new();
    place.create().unwrap().create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    let e = place.open_with("correct horse battery stapler").unwrap_err();
    assert!(matches!(e, SoftError::Seal { .. }), "{e}");
    assert!(!e.to_string().contains("horse"));
    let good = std::fs::read(place.path()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(place.path(), &bad).unwrap();
        // white space between the fields may change: it says nothing
        if let Ok(store) = place.open() {
            assert!(good[at].is_ascii_whitespace(), "byte {at} changed unnoticed");
            assert_eq!(store.list_keys().unwrap().len(), 1);
        }
    }
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        std::fs::write(place.path(), &good[..cut]).unwrap();
        assert!(matches!(place.open(), Err(SoftError::Format { .. })));
    }
    std::fs::write(place.path(), vec![b' '; 300 * 1024]).unwrap();
    assert!(matches!(place.open(), Err(SoftError::Format { .. })));
}

/// A prepared file must not make the gateway take all memory.
#[test]
fn a_file_that_asks_for_too_much_work_is_refused() {
    let place = Place::new();
    drop(place.create().unwrap());
    let good = std::fs::read_to_string(place.path()).unwrap();
    for (from, to) in
        [("\"memory_kib\": 64", "\"memory_kib\": 4000000000"), ("\"passes\": 1", "\"passes\": 4000000000")]
    {
        assert!(good.contains(from), "{good}");
        std::fs::write(place.path(), good.replace(from, to)).unwrap();
        assert!(matches!(place.open(), Err(SoftError::Format { .. })));
    }
}

#[test]
fn no_secret_stands_in_the_file_and_nobody_else_reads_it() {
    let place = Place::new();
    let store = place.create().unwrap();
    store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    assert_eq!(mode(&place.path()), 0o600);
    let text = std::fs::read_to_string(place.path()).unwrap();
    let key = place.entropy.drawn().into_iter().rfind(|d| d.len() == 32).unwrap();
    assert!(!shows(&text, &key) && !text.contains("horse") && !text.contains("\"node\""));
    assert!(text.contains("development"), "whoever finds the file sees what it is");
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let e = place.open().unwrap_err();
    assert!(
        matches!(e, SoftError::Exposed { mode: 0o640, .. }) && e.to_string().contains("chmod 600"),
        "{e}"
    );
}

#[test]
fn creating_never_replaces_a_file() {
    let place = Place::new();
    let key =
        *place.create().unwrap().create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap().public_key();
    assert!(matches!(place.create(), Err(SoftError::Exists { .. })));
    assert_eq!(place.open().unwrap().list_keys().unwrap(), [("node".to_owned(), KeyPurpose::Node, key)]);
}

/// `xinguan dev pki` and a gateway may have the same file open: neither loses the other's keys.
#[test]
fn two_handles_do_not_lose_each_others_keys() {
    let place = Place::new();
    let (a, b) = (place.create().unwrap(), place.open().unwrap());
    a.create_key("one", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    b.create_key("two", KeyPurpose::Account, Scheme::Sm2Sm3).unwrap();
    assert!(matches!(a.create_key("two", KeyPurpose::Node, Scheme::Sm2Sm3), Err(HsmError::Exists { .. })));
    let names: Vec<_> = place.open().unwrap().list_keys().unwrap().into_iter().map(|k| k.0).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(a.list_keys().unwrap().len(), 2);
}

#[test]
fn a_writer_that_holds_the_lock_makes_others_busy() {
    let place = Place::new();
    let store = place.create().unwrap();
    let lock = std::fs::File::open(place.folder.path().join("keys.lock")).unwrap();
    lock.lock().unwrap();
    let e = store.create_key("one", KeyPurpose::Node, Scheme::Sm2Sm3).err().unwrap();
    assert!(matches!(e, HsmError::Busy) && e.may_retry());
    drop(lock);
    store.create_key("one", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
}

/// Whatever a crash leaves beside the file, the file itself is the old one, and writing goes on.
#[test]
fn what_a_crash_left_beside_it_does_no_harm() {
    let place = Place::new();
    let store = place.create().unwrap();
    store.create_key("one", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    std::fs::write(place.folder.path().join("keys.new"), "half a keyst").unwrap();
    let store = place.open().unwrap();
    store.create_key("two", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    assert!(!place.folder.path().join("keys.new").exists());
    assert_eq!(place.open().unwrap().list_keys().unwrap().len(), 2);
}

/// A write that fails leaves the keys as they were, in the file and in memory.
#[test]
fn a_failed_write_changes_nothing() {
    let place = Place::new();
    let store = place.create().unwrap();
    let one = store.create_key("one", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    // a folder in the place of the new file cannot be removed as a file, whoever runs the test
    std::fs::create_dir(place.folder.path().join("keys.new")).unwrap();
    let e = store.create_key("two", KeyPurpose::Node, Scheme::Sm2Sm3).err().unwrap();
    assert!(matches!(e, HsmError::Device(_)), "{e}");
    assert!(matches!(store.load_key("two", KeyPurpose::Node), Err(HsmError::NoSuchKey { .. })));
    assert_eq!(store.list_keys().unwrap().len(), 1);
    sign_message(&*one, b"still").unwrap();
    assert_eq!(place.open().unwrap().list_keys().unwrap().len(), 1);
}

#[test]
fn names_and_counts_are_bounded() {
    let place = Place::new();
    let store = place.create().unwrap();
    for name in ["", "A", "a b", "../a", "信", &"a".repeat(65)] {
        let e = store.create_key(name, KeyPurpose::Node, Scheme::Sm2Sm3).err().unwrap();
        assert!(matches!(e, HsmError::BadName), "{name}");
    }
    let long = "x".repeat(100_000);
    let e = store.load_key(&long, KeyPurpose::Node).err().unwrap();
    assert!(e.to_string().len() < 500, "a long name is clipped");
    for n in 0..hsm_soft::store::MAX_KEYS {
        store.create_key(&format!("k{n}"), KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    }
    let e = store.create_key("one-more", KeyPurpose::Node, Scheme::Sm2Sm3).err().unwrap();
    assert!(matches!(e, HsmError::Device(_)), "{e}");
    assert_eq!(place.open().unwrap().list_keys().unwrap().len(), hsm_soft::store::MAX_KEYS);
}

struct Failing;
impl Entropy for Failing {
    fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
        out.fill(0);
        Err(HsmError::Device("no randomness".into()))
    }
}

struct Stuck;
impl Entropy for Stuck {
    fn fill(&self, out: &mut [u8]) -> Result<(), HsmError> {
        out.fill(3);
        Ok(())
    }
}

#[test]
fn without_randomness_it_stays_closed() {
    let place = Place::new();
    drop(place.create().unwrap());
    let open = |entropy| SoftKeyStore::open(&place.path(), &passphrase(WORDS), &place.options, entropy);
    assert!(matches!(
        open(Arc::new(Failing)),
        Err(SoftError::SelfTest(hsm_api::selftest::SelfTestError::Entropy { .. }))
    ));
    let e = open(Arc::new(Stuck)).unwrap_err();
    assert!(matches!(HsmError::from(e), HsmError::Closed(_)));
    std::fs::remove_file(place.path()).unwrap();
    let create = SoftKeyStore::create(&place.path(), &passphrase(WORDS), &place.options, Arc::new(Stuck));
    assert!(create.is_err() && !place.path().exists(), "nothing is made before the self test");
}

#[test]
fn the_passphrase_file_is_private_one_line_and_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passphrase");
    let write = |text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Passphrase::from_file(&path)
    };
    for text in ["twelve bytes", "twelve bytes\n", "twelve bytes\r\n", "信关信关"] {
        assert!(write(text, 0o600).is_ok(), "{text:?}");
    }
    for text in ["", "\n", "eleven byte\n", "two lines are\nrefused", &"x".repeat(1025)] {
        assert!(matches!(write(text, 0o600), Err(SoftError::Passphrase { .. })), "{text:?}");
    }
    assert!(matches!(write("twelve bytes", 0o604), Err(SoftError::Exposed { .. })));
    assert!(matches!(Passphrase::from_file(&folder.path().join("none")), Err(SoftError::Io { .. })));
    // the line's end is not part of it: both open the same keystore
    let place = Place::new();
    drop(place.create().unwrap());
    let read = write(&format!("{WORDS}\n"), 0o600).unwrap();
    assert!(SoftKeyStore::open(&place.path(), &read, &place.options, Arc::new(OsEntropy)).is_ok());
}

/// The shipped cost is not the test's cost.
#[test]
fn the_default_cost_is_what_owasp_recommends() {
    let cost = KdfCost::default();
    assert!(cost.memory_kib >= 19 * 1024 && cost.passes >= 2);
    let place = Place::new();
    SoftKeyStore::create(&place.path(), &passphrase(WORDS), &SoftOptions::default(), Arc::new(OsEntropy))
        .unwrap();
    assert!(std::fs::read_to_string(place.path()).unwrap().contains("\"memory_kib\": 19456"));
    place.open().unwrap();
}
