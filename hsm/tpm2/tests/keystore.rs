//! The suite of all keystores on a simulated chip, and what a chip adds.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod common;

use common::{Simulator, Tapped};
use gw_proto::Scheme;
use hsm_api::{Blame, HsmError, KeyPurpose, KeyStore as _, OsEntropy, sign_message};
use hsm_conformance::{Target, removable::Removable, secrets::RecordingEntropy};
use hsm_tpm2::{Options, Secret, Tpm2KeyStore, TpmError};
use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

const BOTH: [Scheme; 2] = [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256];

fn secret(byte: u8) -> Secret {
    Secret::new((0..32).map(|n| byte ^ n).collect::<Vec<_>>().into()).unwrap()
}

#[test]
fn it_keeps_the_promises_of_every_keystore() {
    let chip = Simulator::start();
    let entropy = RecordingEntropy::new(Arc::new(OsEntropy));
    let options = Options { key_auth: secret(0x55), entropy: Arc::new(entropy.clone()), ..chip.options() };
    let store = Tpm2KeyStore::init(options.clone()).unwrap();
    let printed = || {
        let missing = store.load_key("nobody", KeyPurpose::Node).err().unwrap();
        vec![
            format!("{store:?} {store:#?}"),
            format!("{:?}", store.info()),
            format!("{:?}", store.chip_info().unwrap()),
            format!("{:?} {:?}", secret(0x55), options.key_auth),
            format!("{missing} {missing:?}"),
            std::fs::read_to_string(chip.path("keys.json")).unwrap(),
        ]
    };
    let secrets = || {
        let value = (0..32).map(|n| 0x55 ^ n).collect();
        entropy.drawn().into_iter().chain([value]).collect()
    };
    let reopen = || {
        // one chip, one way to it: the old way must go
        store.disconnect()?;
        Ok(Arc::new(Tpm2KeyStore::open(options.clone())?) as Arc<dyn hsm_api::KeyStore>)
    };
    let report = hsm_conformance::run(&Target {
        store: &store,
        schemes: &BOTH,
        unsupported: &[],
        prefix: "t",
        patience: Duration::from_secs(60),
        reopen: &reopen,
        printed: &printed,
        secrets: &secrets,
    });
    assert!(report.passed(), "{report}");
    assert!(report.openssl, "openssl does not start: apt-get install openssl");
    assert!(!store.info().development);
}

#[test]
fn it_comes_back_when_the_chip_does() {
    for scheme in BOTH {
        let chip = Simulator::start();
        let store = chip.init();
        let report = hsm_conformance::removable::run(&Removable {
            store: &store,
            scheme,
            prefix: "t",
            patience: Duration::from_secs(60),
            lose: &|| chip.power_off(),
            restore: &|| chip.power_on(),
            close: &|| store.close("the case was opened"),
        });
        assert!(report.passed(), "{report}");
    }
}

/// Every field of the index that says what a key is for is bound by the chip.
#[test]
fn a_changed_index_is_refused() {
    let chip = Simulator::start();
    let store = chip.init();
    for (name, purpose) in [("aa", KeyPurpose::Account), ("bb", KeyPurpose::Node)] {
        store.create_key(name, purpose, Scheme::Sm2Sm3).unwrap();
    }
    let path = chip.path("keys.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let fields = |text: &str, what: &str| -> Vec<String> {
        let value = |l: &str| l.split('"').nth(3).unwrap().to_owned();
        text.lines().filter(|l| l.contains(what)).map(value).collect()
    };
    let (publics, privates) = (fields(&good, "\"public\""), fields(&good, "\"private\""));
    let swap = |a: &str, b: &str| good.replace(a, "#").replace(b, a).replace('#', b);
    for (what, bad) in [
        ("purpose", good.replace("\"account\"", "\"node\"")),
        ("attestation", good.replace("\"account\"", "\"attestation\"")),
        ("scheme", good.replacen("\"sm2-sm3\"", "\"ecdsa-p256-sha256\"", 1)),
        ("name", good.replace("\"aa\"", "\"cc\"")),
        ("names swapped", swap("\"aa\"", "\"bb\"")),
        ("publics swapped", swap(&publics[0], &publics[1])),
        ("privates swapped", swap(&privates[0], &privates[1])),
        ("name twice", good.replace("\"aa\"", "\"bb\"")),
    ] {
        assert_ne!(bad, good, "{what}");
        std::fs::write(&path, bad).unwrap();
        assert!(store.load_key("aa", KeyPurpose::Node).is_err(), "{what}");
        let refused = [("aa", KeyPurpose::Account), ("bb", KeyPurpose::Node)].map(|(name, purpose)| {
            let text = store.load_key(name, purpose).err().map(|e| e.to_string()).unwrap_or_default();
            text.contains("was changed") || text.contains("is not an index")
        });
        assert_ne!(refused, [false, false], "{what}");
    }
    std::fs::write(&path, &good).unwrap();
    store.load_key("aa", KeyPurpose::Account).unwrap();
}

/// The blob itself: the chip's own check.
#[test]
fn a_damaged_blob_is_refused_by_the_chip() {
    let chip = Simulator::start();
    let store = chip.init();
    store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    let path = chip.path("keys.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&good).unwrap();
    let private = document["keys"][0]["private"].as_str().unwrap().to_owned();
    for at in [0, 10, private.len() / 2, private.len() - 4] {
        let mut changed = private.clone().into_bytes();
        changed[at] = if changed[at] == b'B' { b'C' } else { b'B' };
        document["keys"][0]["private"] = String::from_utf8(changed).unwrap().into();
        std::fs::write(&path, document.to_string()).unwrap();
        let e = store.load_key("node", KeyPurpose::Node).err().unwrap();
        assert!(e.to_string().contains("refuses its blob"), "{at}: {e}");
    }
    for text in
        ["", "{}", "[]", &good.replace("\"v\": 1", "\"v\": 2"), &good[..good.len() / 2], &" ".repeat(2 << 20)]
    {
        std::fs::write(&path, text).unwrap();
        let e = store.list_keys().err().unwrap();
        assert!(e.to_string().contains("is not an index"), "{e}");
    }
}

#[test]
fn a_key_of_another_chip_is_refused() {
    let (one, two) = (Simulator::start(), Simulator::start());
    let store = one.init();
    store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    let other = two.init();
    // the other chip's pin, the first chip's keys
    let pin = hex::encode(store.pin().unwrap());
    let text = std::fs::read_to_string(one.path("keys.json")).unwrap();
    std::fs::write(two.path("keys.json"), text.replace(&pin, &hex::encode(other.pin().unwrap()))).unwrap();
    let e = other.load_key("node", KeyPurpose::Node).err().unwrap();
    assert!(e.to_string().contains("refuses its blob"), "{e}");
    // the first chip's index on the other chip
    std::fs::write(two.path("keys.json"), text).unwrap();
    other.disconnect().unwrap();
    let e = Tpm2KeyStore::open(two.options()).unwrap_err();
    assert!(matches!(e, TpmError::PinMismatch { .. }), "{e}");
}

#[test]
fn keys_need_their_authorization_value() {
    let chip = Simulator::start();
    let right = Options { key_auth: secret(1), ..chip.options() };
    let store = Tpm2KeyStore::init(right.clone()).unwrap();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    store.disconnect().unwrap();
    for wrong in [secret(2), Secret::empty()] {
        let store = Tpm2KeyStore::open(Options { key_auth: wrong, ..chip.options() }).unwrap();
        let key = store.load_key("node", KeyPurpose::Node).unwrap();
        let e = sign_message(&*key, b"m").unwrap_err();
        assert!(e.to_string().contains("wrong authorization value"), "{e}");
        store.disconnect().unwrap();
    }
    sign_message(&*key, b"m").unwrap();
}

#[test]
fn an_attestation_key_signs_nothing_of_the_callers() {
    let chip = Simulator::start();
    let store = chip.init();
    for scheme in BOTH {
        let name = if scheme == Scheme::Sm2Sm3 { "ak-sm2" } else { "ak-p256" };
        let key = store.create_key(name, KeyPurpose::Attestation, scheme).unwrap();
        let e = key.sign_digest(&[7; 32]).unwrap_err();
        assert!(matches!(e, HsmError::NotPossible { .. }) && e.blame() == Blame::Caller, "{e}");
        assert!(matches!(store.load_key(name, KeyPurpose::Node), Err(HsmError::WrongPurpose { .. })));
    }
    assert!(matches!(store.attestor("nobody"), Err(HsmError::NoSuchKey { .. })));
    store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    assert!(matches!(store.attestor("node"), Err(HsmError::WrongPurpose { .. })));
}

#[test]
fn more_keys_than_slots_take_turns() {
    let chip = Simulator::start();
    let store = chip.init();
    let keys: Vec<_> =
        (0..5).map(|n| store.create_key(&format!("k{n}"), KeyPurpose::Node, BOTH[n % 2]).unwrap()).collect();
    for round in 0..3u8 {
        for key in &keys {
            let signature = sign_message(&**key, &[round]).unwrap();
            gw_sm::verify(key.public_key(), &[round], &signature).unwrap();
        }
    }
}

#[test]
fn names_and_places_are_checked_before_the_chip_is_asked() {
    let chip = Simulator::start();
    let store = chip.init();
    for name in ["", "A", "a b", "../a", "信", &"a".repeat(65)] {
        let e = store.create_key(name, KeyPurpose::Node, Scheme::Sm2Sm3).err().unwrap();
        assert!(matches!(e, HsmError::BadName), "{name}");
    }
    let e = store.load_key(&"x".repeat(100_000), KeyPurpose::Node).err().unwrap();
    assert!(e.to_string().len() < 500);
    // init never replaces an index
    store.disconnect().unwrap();
    let e = Tpm2KeyStore::init(chip.options()).unwrap_err();
    assert!(matches!(e, TpmError::Exists { .. }), "{e}");
    let lock = std::fs::File::open(chip.path("keys.json.lock")).unwrap();
    lock.lock().unwrap();
    let e = store.create_key("one", KeyPurpose::Node, Scheme::Sm2Sm3).err().unwrap();
    assert!(matches!(e, HsmError::Busy), "{e}");
}

/// One caller at the chip, one waiting; the third is told at once that the chip is busy.
#[test]
fn a_full_queue_is_busy() {
    let chip = Simulator::start();
    chip.init().disconnect().unwrap();
    let (arrived, arrivals) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let held = Tapped::new(chip.swtpm(), move |command, pass| {
        // PCR_Read
        if command.get(6..10) == Some(&[0, 0, 1, 0x7e]) {
            arrived.send(()).unwrap();
            gate.lock().unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
        }
        pass(command)
    });
    let options = Options { queue: 1, ..chip.options_over(Arc::new(held)) };
    let store = Tpm2KeyStore::open(options).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| store.read_pcrs(&[0]));
        arrivals.recv_timeout(Duration::from_secs(60)).unwrap();
        let (said, heard) = mpsc::channel();
        for _ in 0..2 {
            let (said, store) = (said.clone(), &store);
            scope.spawn(move || said.send(store.read_pcrs(&[0])).unwrap());
        }
        // whichever comes second finds the queue full, while the first is still at the chip
        let refused = heard.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(matches!(refused, Err(TpmError::Queue)));
        for _ in 0..2 {
            release.send(()).unwrap();
        }
        first.join().unwrap().unwrap();
        heard.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
    });
    release.send(()).unwrap();
    store.read_pcrs(&[0]).unwrap();
}

/// The simulator's other kind of socket: keys survive a power loss, and there is only one beginning.
#[test]
fn over_tcp_too() {
    let chip = Simulator::stopped();
    let options = chip.options_over(Arc::new(chip.power_on_tcp()));
    let store = Tpm2KeyStore::init(options.clone()).unwrap();
    let key = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    gw_sm::verify(key.public_key(), b"one", &sign_message(&*key, b"one").unwrap()).unwrap();
    let again = Tpm2KeyStore::init(options).unwrap_err();
    assert!(matches!(again, TpmError::Exists { .. }), "{again}");
    chip.power_off();
    let lost = sign_message(&*key, b"two").unwrap_err();
    assert!(matches!(lost, HsmError::Lost(_)), "{lost}");
    let options = chip.options_over(Arc::new(chip.power_on_tcp()));
    let key = Tpm2KeyStore::open(options).unwrap().load_key("node", KeyPurpose::Node).unwrap();
    gw_sm::verify(key.public_key(), b"two", &sign_message(&*key, b"two").unwrap()).unwrap();
}
