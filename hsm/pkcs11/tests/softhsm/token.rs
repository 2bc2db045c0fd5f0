//! SoftHSM2: the suite of all keystores, what other programs see, loss and return of the token.

use crate::place::{LABEL, PIN, Place, ok, with_token};
use gw_proto::Scheme;
use hsm_api::{Blame, Entropy as _, HsmError, KeyPurpose, KeyStore as _, sign_message};
use hsm_conformance::Target;
use hsm_pkcs11::{Pkcs11KeyStore, Sm2Mechanisms, keys::key_id};
use std::{sync::Arc, time::Duration};

const P256: Scheme = Scheme::EcdsaP256Sha256;

#[test]
fn it_keeps_the_promises_of_every_keystore() {
    with_token("token::it_keeps_the_promises_of_every_keystore", |place| {
        let store = place.open();
        let printed = || {
            let signer = store.load_key("nobody", KeyPurpose::Node).err().unwrap();
            vec![
                format!("{store:?} {store:#?} {:?}", store.info()),
                format!("{:?}", place.options()),
                format!("{signer} {signer:?}"),
            ]
        };
        let report = hsm_conformance::run(&Target {
            store: &store,
            schemes: &[P256],
            unsupported: &[Scheme::Sm2Sm3],
            prefix: "t",
            patience: Duration::from_secs(60),
            reopen: &|| Ok(Arc::new(Pkcs11KeyStore::open(&place.options())?)),
            printed: &printed,
            secrets: &|| vec![PIN.as_bytes().to_vec()],
        });
        assert!(report.passed(), "{report}");
        assert!(report.openssl, "the openssl command is not there: apt install openssl");
    });
}

#[test]
fn names_that_no_keystore_takes_are_refused() {
    with_token("token::names_that_no_keystore_takes_are_refused", |place| {
        let store = place.open();
        for name in ["", "Node", "a b", &"a".repeat(65)] {
            let made = store.create_key(name, KeyPurpose::Node, P256).err().unwrap();
            let loaded = store.load_key(name, KeyPurpose::Node).err().unwrap();
            assert!(matches!((made, loaded), (HsmError::BadName, HsmError::BadName)), "{name}");
        }
    });
}

#[test]
fn random_bytes_come_in_any_number() {
    with_token("token::random_bytes_come_in_any_number", |place| {
        let store = place.open();
        store.fill(&mut []).unwrap();
        let (mut a, mut b) = (vec![0; 5000], vec![0; 5000]);
        store.fill(&mut a).unwrap();
        store.fill(&mut b).unwrap();
        assert_ne!(a, b);
        // the last part is filled too
        assert!(a.chunks(100).all(|c| c.iter().any(|x| *x != 0)));
    });
}

#[test]
fn one_session_serves_many_threads() {
    with_token("token::one_session_serves_many_threads", |place| {
        let mut options = place.options();
        options.limits.sessions = 1;
        let store = Pkcs11KeyStore::open(&options).unwrap();
        let signer = store.create_key("node", KeyPurpose::Node, P256).unwrap();
        std::thread::scope(|s| {
            for n in 0..6u8 {
                s.spawn({
                    let signer = signer.clone();
                    move || {
                        for i in 0..20u8 {
                            let signature = sign_message(&*signer, &[n, i]).unwrap();
                            gw_sm::verify(signer.public_key(), &[n, i], &signature).unwrap();
                        }
                    }
                });
            }
        });
    });
}

/// OpenSC shows what we made as we meant it.
#[test]
fn another_program_sees_the_key_and_cannot_change_it() {
    with_token("token::another_program_sees_the_key_and_cannot_change_it", |place| {
        let store = place.open();
        let signer = store.create_key("node", KeyPurpose::Node, P256).unwrap();
        let id = hex::encode(key_id("node", KeyPurpose::Node, P256));
        let seen = ok(&place.pkcs11_tool(&["--list-objects"]));
        let private = seen.split("Private Key Object").nth(1).expect("a private key is listed");
        let private = private.split("Public Key Object").next().unwrap();
        for wanted in
            ["label:      node", &format!("ID:         {id}"), "sign", "sensitive", "never extractable"]
        {
            assert!(private.contains(wanted), "{wanted}:\n{seen}");
        }
        for unwanted in ["decrypt", "unwrap", "derive"] {
            assert!(!private.contains(unwanted), "{unwanted}:\n{seen}");
        }
        assert!(seen.contains(&hex::encode(signer.public_key().point.0)), "{seen}");
        // written into the purpose's place
        let account = hex::encode(key_id("node", KeyPurpose::Account, P256));
        let changed = place.pkcs11_tool(&["--id", &id, "--type", "privkey", "--set-id", &account]);
        let again = ok(&place.pkcs11_tool(&["--list-objects"]));
        assert!(!changed.status.success() && !again.contains(&account), "{again}");
        assert!(place.open().load_key("node", KeyPurpose::Node).is_ok());
    });
}

/// pkcs11-tool makes keys that only look like ours.
#[test]
fn keys_that_are_not_as_we_make_them_are_refused() {
    with_token("token::keys_that_are_not_as_we_make_them_are_refused", |place| {
        let make = |label: &str, id: &str, curve: &str, more: &[&str]| {
            let fixed = ["--keypairgen", "--key-type", curve, "--label", label, "--id", id, "--usage-sign"];
            ok(&place.pkcs11_tool(&[&fixed[..], more].concat()));
        };
        let id = |name: &str, scheme| hex::encode(key_id(name, KeyPurpose::Node, scheme));
        let p256 = "EC:prime256v1";
        make("foreign", "01", p256, &["--sensitive"]);
        let store = place.open();
        // a stranger's key on the same token is none of our business
        assert_eq!(store.list_keys().unwrap(), []);
        make("renamed", &id("node", P256), p256, &["--sensitive"]);
        make("open", &id("open", P256), p256, &["--extractable"]);
        make("curve", &id("curve", P256), "EC:secp384r1", &["--sensitive"]);
        make("sm2", &id("sm2", Scheme::Sm2Sm3), p256, &["--sensitive"]);
        for _ in 0..2 {
            make("twice", &id("twice", P256), p256, &["--sensitive"]);
        }
        for (name, why) in [
            ("foreign", "does not bind this name"),
            ("renamed", "does not bind this name"),
            ("open", "can be read out"),
            ("curve", "another curve"),
            ("sm2", "another curve"),
            ("twice", "two private keys"),
        ] {
            let e = store.load_key(name, KeyPurpose::Node).err().unwrap();
            assert!(matches!(&e, HsmError::Device(text) if text.contains(why) && text.contains(name)), "{e}");
        }
        // a listing that left one out would hide it
        assert!(store.list_keys().is_err());
        let e = store.create_key("foreign", KeyPurpose::Node, P256).err().unwrap();
        assert!(matches!(e, HsmError::Exists { .. }), "{e}");
        // the curve's parameters are as configured, its points are not SM2's
        let mut options = place.options();
        let p256_curve = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        options.sm2 = Some(Sm2Mechanisms { curve: p256_curve, ..Sm2Mechanisms::new(0x8000_0001, 0x1040) });
        let store = Pkcs11KeyStore::open(&options).unwrap();
        let e = store.load_key("sm2", KeyPurpose::Node).err().unwrap();
        assert!(e.to_string().contains("no point of its curve"), "{e}");
    });
}

#[test]
fn sm2_numbers_that_the_token_lacks_are_named() {
    with_token("token::sm2_numbers_that_the_token_lacks_are_named", |place| {
        let mut options = place.options();
        options.sm2 = Some(Sm2Mechanisms::new(0x8000_0042, 0x8000_0043));
        let store = Pkcs11KeyStore::open(&options).unwrap();
        let e = store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).err().unwrap();
        assert!(e.to_string().contains("no mechanism 0x80000042 (signs with SM2)"), "{e}");
        assert!(matches!(store.load_key("node", KeyPurpose::Node), Err(HsmError::NoSuchKey { .. })));
        // what it can do is not affected
        store.create_key("node", KeyPurpose::Node, P256).unwrap();
    });
}

fn lost(place: &Place, signer: &dyn hsm_api::Signer) -> String {
    place.unplug();
    let e = sign_message(signer, b"m").unwrap_err();
    assert!(matches!(e, HsmError::Device(_)) && e.blame() == Blame::Device, "{e}");
    e.to_string()
}

#[test]
fn a_token_that_is_lost_is_named_and_used_again_when_it_is_back() {
    with_token("token::a_token_that_is_lost_is_named_and_used_again_when_it_is_back", |place| {
        let store = place.open();
        let signer = store.create_key("node", KeyPurpose::Node, P256).unwrap();
        for _ in 0..3 {
            let said = lost(place, &*signer);
            assert!(said.contains("token labelled `xinguan`"), "{said}");
            assert!(store.fill(&mut [0; 8]).is_err() && store.list_keys().is_err());
            place.plug_in();
            let signature = sign_message(&*signer, b"back").unwrap();
            gw_sm::verify(signer.public_key(), b"back", &signature).unwrap();
        }
        assert_eq!(store.list_keys().unwrap().len(), 1);
    });
}

#[test]
fn a_loss_under_load_gives_right_signatures_or_named_errors() {
    with_token("token::a_loss_under_load_gives_right_signatures_or_named_errors", |place| {
        let store = place.open();
        let signer = store.create_key("node", KeyPurpose::Node, P256).unwrap();
        let started = std::sync::Barrier::new(5);
        let outcomes: Vec<(usize, usize)> = std::thread::scope(|s| {
            let work = |_: u8| {
                s.spawn(|| {
                    let (mut good, mut bad) = (0, 0);
                    started.wait();
                    for i in 0..400u16 {
                        match sign_message(&*signer, &i.to_be_bytes()) {
                            Ok(signature) => {
                                gw_sm::verify(signer.public_key(), &i.to_be_bytes(), &signature).unwrap();
                                good += 1;
                            }
                            Err(HsmError::Device(_) | HsmError::Busy) => bad += 1,
                            Err(e) => panic!("{e}"),
                        }
                    }
                    (good, bad)
                })
            };
            let threads: Vec<_> = (0..4).map(work).collect();
            started.wait();
            for _ in 0..5 {
                place.unplug();
                // as long as it takes to notice, and no longer
                while sign_message(&*signer, b"gone").is_ok() {}
                place.plug_in();
            }
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        println!("(signed, refused) by thread: {outcomes:?}");
        let signature = sign_message(&*signer, b"after").unwrap();
        gw_sm::verify(signer.public_key(), b"after", &signature).unwrap();
    });
}

#[test]
fn another_token_under_the_same_name_does_not_sign_in_the_keys_place() {
    with_token("token::another_token_under_the_same_name_does_not_sign_in_the_keys_place", |place| {
        let store = place.open();
        let signer = store.create_key("node", KeyPurpose::Node, P256).unwrap();
        lost(place, &*signer);
        place.init_token(LABEL);
        let e = sign_message(&*signer, b"m").unwrap_err();
        assert!(e.to_string().contains("`node` is no longer on"), "{e}");
        store.create_key("node", KeyPurpose::Node, P256).unwrap();
        let e = sign_message(&*signer, b"m").unwrap_err();
        assert!(e.to_string().contains("another key has taken its place"), "{e}");
    });
}
