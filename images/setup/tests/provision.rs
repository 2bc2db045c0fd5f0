//! Provisioning files: each rule is broken once, and what was there stays.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may fail the test")]

use gw_proto::Scheme;
use gw_sm::KeyPair;
use image_setup::{
    SetupError,
    answers::{Answers, Side},
    bundle::{self, Pins},
    code::Code,
    files::Files,
    folder::{DirFolder, Folder as _},
    judge::Judge,
    places::Places,
    provision::{self, Outcome},
};
use proptest::prelude::*;
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

const NOW: u64 = 1_800_000_000;

/// A box of files, with a gateway that refuses a configuration in which "bad" stands.
struct TestBox {
    dir: tempfile::TempDir,
    now_s: u64,
}

impl TestBox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let this = Self { dir, now_s: NOW };
        for folder in ["config", "var/lib/xinguan", "stick", "usr/lib/xinguan", "sys/class/dmi/id"] {
            fs::create_dir_all(this.path(folder)).unwrap();
        }
        fs::write(this.path("sys/class/dmi/id/product_serial"), "XG-0001\n").unwrap();
        let program = "#!/bin/sh\nif grep -q bad \"$2\"; then echo \"$2: bad\"; exit 3; fi\n";
        fs::write(this.path("xinguan"), program).unwrap();
        fs::set_permissions(this.path("xinguan"), fs::Permissions::from_mode(0o755)).unwrap();
        this
    }
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
    fn pin(&self, keys: &[&KeyPair]) {
        let keys: Vec<_> = keys.iter().map(|k| *k.public_key()).collect();
        let text = serde_json::to_vec(&keys).unwrap();
        fs::write(self.path("usr/lib/xinguan/provisioners.json"), text).unwrap();
    }
    fn answer(&self, code: Option<&KeyPair>) {
        let side = |mac: &str, address: &str, gateway: Option<&str>| Side {
            mac: mac.into(),
            address: address.into(),
            gateway: gateway.map(|g| g.parse().unwrap()),
        };
        let answers = Answers {
            inside: side("52:54:00:00:00:01", "10.1.0.5/24", None),
            man: side("52:54:00:00:00:02", "10.200.3.7/24", Some("10.200.3.1")),
            time_servers: vec![],
            institution: "bank-suzhou".into(),
            node: "bank-suzhou-1".into(),
            code: code.map(|k| Code::of(k.public_key()).to_string()),
        };
        let mut config = DirFolder::new(self.path("config"));
        for (name, bytes) in answers.files().unwrap().iter() {
            config.write(name, bytes).unwrap();
        }
    }
    fn plug(&self, bytes: &[u8]) {
        fs::write(self.path("stick/xinguan.provision"), bytes).unwrap();
    }
    fn take(&self) -> Result<Outcome, SetupError> {
        let places = Places::new(self.dir.path());
        let judge = Judge { program: self.path("xinguan"), scratch: self.path("scratch") };
        provision::take(
            &self.path("stick"),
            &mut provision::Host {
                places: &places,
                config: &mut places.config(),
                records: &mut places.records(),
                now_s: self.now_s,
                judge: &judge,
            },
        )
    }
    /// Refused for a reason that names `why`, and the configuration is as before.
    fn refuses(&self, why: &str) {
        let before = self.config();
        let text = self.take().expect_err(why).to_string();
        assert!(text.contains(why), "expected `{why}`: {text}");
        assert!(text.contains("nothing was changed"), "{text}");
        assert_eq!(self.config(), before);
    }
    fn config(&self) -> Files {
        Files::load(&DirFolder::new(self.path("config"))).unwrap()
    }
}

fn key(n: u8) -> KeyPair {
    let scheme = if n.is_multiple_of(2) { Scheme::Sm2Sm3 } else { Scheme::EcdsaP256Sha256 };
    KeyPair::from_secret(scheme, [n; 32]).unwrap()
}

fn files(toml: &str) -> Files {
    let mut files = Files::new();
    files.put("xinguan.toml", toml).unwrap();
    files.put("genesis.json", "{}").unwrap();
    files
}

fn signed(number: u64, serial: Option<&str>, toml: &str, keys: &[KeyPair]) -> Vec<u8> {
    bundle::make(number, NOW + 100, "bank-suzhou", serial, &files(toml), keys).unwrap()
}

#[test]
fn without_a_question_by_a_pinned_key() {
    for n in [2, 3] {
        let b = TestBox::new();
        b.pin(&[&key(n)]);
        b.plug(&signed(1, Some("XG-0001"), "good = 1", &[key(n)]));
        assert_eq!(b.take().unwrap(), Outcome::Applied { number: 1, missing: vec![] });
        assert_eq!(b.config().file("xinguan.toml").unwrap(), b"good = 1");
        assert_eq!(b.take().unwrap(), Outcome::Nothing, "the stick is still in at the next start");
    }
}

#[test]
fn by_the_typed_code_with_the_typed_answers() {
    let b = TestBox::new();
    b.answer(Some(&key(2)));
    let toml = "[node]\nid = \"@NODE@\"\ninstitution = \"@INSTITUTION@\"\nbank = \"@INSIDE@:8443\"\nman = \"@MAN@:9443\"\n";
    b.plug(&signed(1, None, toml, &[key(2), key(3)]));
    assert!(matches!(b.take().unwrap(), Outcome::Applied { number: 1, .. }));
    let written = b.config();
    assert_eq!(
        String::from_utf8_lossy(written.file("xinguan.toml").unwrap()),
        "[node]\nid = \"bank-suzhou-1\"\ninstitution = \"bank-suzhou\"\nbank = \"10.1.0.5:8443\"\nman = \"10.200.3.7:9443\"\n"
    );
    assert_eq!(written.network().names().count(), 2, "the typed network stays");
}

#[test]
fn each_rule_is_named() {
    let b = TestBox::new();
    b.plug(&signed(5, None, "good = 1", &[key(2)]));
    b.refuses("knows nobody's key yet");
    b.answer(None);
    b.refuses("knows nobody's key yet");
    b.answer(Some(&key(4)));
    b.refuses("whom this box does not know");
    b.pin(&[&key(3)]);
    b.refuses(&Code::of(key(2).public_key()).to_string());
    b.pin(&[&key(2)]);
    b.plug(&signed(5, Some("XG-0002"), "good = 1", &[key(2)]));
    b.refuses("for the box XG-0002; this one's serial number is XG-0001");
    let other = bundle::make(5, NOW + 100, "bank-wuxi", None, &files("good = 1"), &[key(2)]).unwrap();
    b.plug(&other);
    b.refuses("for a box of bank-wuxi; this one is of bank-suzhou");
    b.plug(&bundle::make(5, NOW - 1, "bank-suzhou", None, &files("good = 1"), &[key(2)]).unwrap());
    b.refuses("expired");
    b.plug(&signed(5, None, "bad = 1", &[key(2)]));
    b.refuses("check-config");
    b.plug(b"{}");
    b.refuses("not a provisioning file");
    b.plug(&[b' '; (8 << 20) + 1]);
    assert!(b.take().unwrap_err().to_string().contains("larger than"));
    fs::remove_file(b.path("stick/xinguan.provision")).unwrap();
    assert!(b.take().unwrap_err().to_string().contains("cannot read"));
}

#[test]
fn open_names_need_answers() {
    let b = TestBox::new();
    b.pin(&[&key(2)]);
    b.plug(&signed(1, None, "id = \"@NODE@\"", &[key(2)]));
    b.refuses("answer the questions");
}

#[test]
fn an_old_file_is_refused_also_after_a_power_cut() {
    let b = TestBox::new();
    b.pin(&[&key(2)]);
    b.plug(&signed(7, None, "seven = 1", &[key(2)]));
    b.take().unwrap();
    for number in [6, 7] {
        b.plug(&signed(number, None, "other = 1", &[key(2)]));
        b.refuses("it is an old one");
    }
    // the record of number 8 is written, then the power goes
    b.plug(&signed(8, None, "eight = 1", &[key(2)]));
    b.take().unwrap();
    let record = b.path("var/lib/xinguan/setup/provision.json");
    let text = fs::read_to_string(&record).unwrap();
    assert!(text.contains("\"done\":true"));
    fs::write(&record, text.replace("\"done\":true", "\"done\":false")).unwrap();
    fs::write(b.path("config/xinguan.toml"), "seven = 1").unwrap();
    b.plug(&signed(7, None, "seven = 1", &[key(2)]));
    b.refuses("it is an old one");
    b.plug(&signed(8, None, "eight = 1", &[key(2)]));
    assert!(matches!(b.take().unwrap(), Outcome::Applied { number: 8, .. }));
    assert_eq!(b.config().file("xinguan.toml").unwrap(), b"eight = 1");
}

#[test]
fn an_unreadable_record_stops_everything() {
    let b = TestBox::new();
    b.pin(&[&key(2)]);
    b.plug(&signed(1, None, "good = 1", &[key(2)]));
    fs::create_dir_all(b.path("var/lib/xinguan/setup")).unwrap();
    fs::write(b.path("var/lib/xinguan/setup/provision.json"), "{").unwrap();
    assert!(matches!(b.take().unwrap_err(), SetupError::Unfit { .. }));
    assert!(b.config().is_empty());
}

#[test]
fn both_signatures_must_hold() {
    let pins = Pins { keys: vec![*key(2).public_key()], code: None };
    let bytes = signed(1, None, "good = 1", &[key(2), key(3)]);
    bundle::open(&bytes, &pins).unwrap();
    let other = signed(1, None, "good = 2", &[key(2), key(3)]);
    let mut mixed: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let other: serde_json::Value = serde_json::from_slice(&other).unwrap();
    mixed["signatures"][1]["signature"] = other["signatures"][1]["signature"].clone();
    let text = bundle::open(&serde_json::to_vec(&mixed).unwrap(), &pins).unwrap_err().to_string();
    assert!(text.contains("does not verify"), "{text}");
    mixed["signatures"] = serde_json::json!([]);
    assert!(bundle::open(&serde_json::to_vec(&mixed).unwrap(), &pins).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_byte_passes(at: prop::sample::Index, bit in 0u8..8) {
        let bytes = signed(1, None, "good = 1", &[key(3)]);
        let mut bent = bytes.clone();
        *at.get_mut(&mut bent) ^= 1 << bit;
        let pins = Pins { keys: vec![*key(3).public_key()], code: None };
        if let Ok(found) = bundle::open(&bent, &pins) {
            let good = bundle::open(&bytes, &pins).unwrap();
            prop_assert_eq!(found.digest, good.digest, "only a byte that says nothing may differ");
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let pins = Pins { keys: vec![*key(3).public_key()], code: None };
        prop_assert!(bundle::open(&bytes, &pins).is_err());
    }
}
