//! Libraries, devices and passwords that are not as they should be.

use crate::place::Place;
use hsm_api::{Blame, Entropy as _, HsmError, KeyPurpose, KeyStore as _, backend::SecretError, sign_message};
use hsm_sdf::{SdfError, SdfKeyStore, SdfOptions};
use std::sync::{Arc, Barrier};

#[test]
fn a_wrong_password_is_tried_once() {
    for fault in ["", "fault vendor-codes"] {
        let place = Place::new("wide");
        place.set("wide", &[fault]);
        place.write_password("node", "not the password");
        let store = place.open();
        for _ in 0..3 {
            let e = store.load_key("node", KeyPurpose::Node).err().unwrap();
            let HsmError::Closed(text) = e else { panic!("{e}") };
            assert!(text.contains("refuses the password of key `node` (index 1"), "{text}");
            assert!(!text.contains("not the password"), "{text}");
        }
        assert_eq!(place.wrong_passwords(), 1, "{fault}");
        // others are not affected
        let other = store.load_key("account", KeyPurpose::Account).unwrap();
        sign_message(&*other, b"m").unwrap();
        place.write_password("node", "8715309246170953");
        place.open().load_key("node", KeyPurpose::Node).unwrap();
        assert_eq!(place.wrong_passwords(), 1);
    }
}

#[test]
fn a_password_file_that_is_missing_or_not_private_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new("wide");
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(place.password_file("node"), mode).unwrap();
    let e = SdfKeyStore::open(&place.options()).unwrap_err();
    assert!(matches!(e, SdfError::Secret(SecretError::Exposed { mode: 0o644, .. })), "{e}");
    std::fs::remove_file(place.password_file("node")).unwrap();
    let e = SdfKeyStore::open(&place.options()).unwrap_err();
    assert!(matches!(e, SdfError::Secret(SecretError::Io { .. })), "{e}");
    let mut options = place.options();
    options.keys[0].password_file = None;
    let store = SdfKeyStore::open(&options).unwrap();
    let e = store.load_key("node", KeyPurpose::Node).err().unwrap();
    assert!(e.to_string().contains("name its file in password_file"), "{e}");
}

#[test]
fn a_device_that_is_lost_is_named_and_used_again_when_it_is_back() {
    let place = Place::new("narrow");
    let store = place.open();
    let signer = store.load_key("node", KeyPurpose::Node).unwrap();
    for boot in 1..4 {
        place.set("narrow", &["fault lost"]);
        for _ in 0..2 {
            let e = sign_message(&*signer, b"m").unwrap_err();
            assert!(matches!(&e, HsmError::Device(t) if t.contains("is lost")), "{e}");
            assert_eq!(e.blame(), Blame::Device);
        }
        assert!(store.fill(&mut [0; 8]).is_err() && store.list_keys().is_err());
        // back, and its old handles mean nothing
        place.set("narrow", &[&format!("boot {boot}")]);
        let signature = sign_message(&*signer, b"back").unwrap();
        gw_sm::verify(signer.public_key(), b"back", &signature).unwrap();
    }
    // a reset between two calls is not even noticed
    place.set("narrow", &["boot 9"]);
    sign_message(&*signer, b"m").unwrap();
    assert_eq!(place.wrong_passwords(), 0);
}

#[test]
fn losses_under_load_give_right_signatures_or_named_errors() {
    let place = Place::new("wide");
    let store = place.open();
    let signer = store.load_key("node", KeyPurpose::Node).unwrap();
    let started = Arc::new(Barrier::new(5));
    let outcomes: Vec<(usize, usize)> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..4u8)
            .map(|n| {
                let (signer, started) = (signer.clone(), started.clone());
                s.spawn(move || {
                    let (mut good, mut bad) = (0, 0);
                    started.wait();
                    for i in 0..150u8 {
                        match sign_message(&*signer, &[n, i]) {
                            Ok(signature) => {
                                gw_sm::verify(signer.public_key(), &[n, i], &signature).unwrap();
                                good += 1;
                            }
                            Err(HsmError::Device(_)) => bad += 1,
                            Err(e) => panic!("{e}"),
                        }
                    }
                    (good, bad)
                })
            })
            .collect();
        started.wait();
        for boot in 1..20 {
            place.set("wide", &["fault lost"]);
            // as long as it takes to notice, and no longer
            while sign_message(&*signer, b"gone").is_ok() {}
            place.set("wide", &[&format!("boot {boot}")]);
            sign_message(&*signer, b"back").unwrap();
        }
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    println!("(signed, refused) by thread: {outcomes:?}");
    assert_eq!(outcomes.iter().map(|(good, bad)| good + bad).sum::<usize>(), 600);
    assert_eq!(place.wrong_passwords(), 0);
}

#[test]
fn the_devices_own_limit_of_sessions_is_an_error_not_a_hang() {
    let place = Place::new("wide");
    place.set("wide", &["sessions 1"]);
    let store = place.open();
    let signer = store.load_key("node", KeyPurpose::Node).unwrap();
    let second = place.open_error();
    assert!(second.to_string().contains("SDR_OPENSESSION"), "{second}");
    sign_message(&*signer, b"m").unwrap();
}

#[test]
fn another_key_at_the_index_does_not_sign_in_the_keys_place() {
    let place = Place::new("wide");
    let store = place.open();
    let signer = store.load_key("node", KeyPurpose::Node).unwrap();
    // replaced while the device was off
    place.set_text(&format!("layout wide\nboot 1\nkey 1 {} 8715309246170953\n", "44".repeat(32)));
    let e = sign_message(&*signer, b"m").unwrap_err();
    assert!(e.to_string().contains("has another key at index 1"), "{e}");
    let again = store.load_key("node", KeyPurpose::Node).unwrap();
    assert_ne!(again.public_key(), signer.public_key());
    sign_message(&*again, b"m").unwrap();
}

#[test]
fn a_device_that_answers_wrongly_stays_closed() {
    for (fault, said) in
        [("stuck-random", "random bytes repeat"), ("verifies-all", "verifies a known signature wrongly")]
    {
        let place = Place::new("wide");
        place.set("wide", &[&format!("fault {fault}")]);
        let e = place.open_error();
        assert!(e.to_string().contains(said), "{e}");
        assert!(matches!(HsmError::from(e), HsmError::Closed(_)));
    }
    for fault in ["bad-signature", "other-public"] {
        let place = Place::new("wide");
        place.set("wide", &[&format!("fault {fault}")]);
        let e = place.open().load_key("node", KeyPurpose::Node).err().unwrap();
        assert!(matches!(&e, HsmError::Closed(t) if t.contains("does not verify")), "{fault}: {e}");
    }
    let place = Place::new("wide");
    place.set("wide", &["fault no-random"]);
    let e = place.open_error();
    assert!(e.to_string().contains("SDR_RANDERR"), "{e}");
}

#[test]
fn a_library_that_is_none_is_named() {
    let place = Place::new("wide");
    let with = |library: std::path::PathBuf| {
        let options = SdfOptions { library, ..place.options() };
        SdfKeyStore::open(&options).unwrap_err().to_string()
    };
    let e = with("/nowhere/libsdf.so".into());
    assert!(e.contains("cannot load the SDF library `/nowhere/libsdf.so`"), "{e}");
    let e = with(place.password_file("node"));
    assert!(e.contains("cannot load the SDF library"), "{e}");
}

#[test]
fn a_missing_function_is_named_when_it_is_needed() {
    for symbol in [
        "SDF_OpenDevice",
        "SDF_OpenSession",
        "SDF_InternalSign_ECC",
        "SDF_GenerateRandom",
        "SDF_CloseSession",
    ] {
        let place = Place::new("wide");
        place.without(symbol);
        let e = place.open_error();
        assert!(e.to_string().contains(&format!("has no function {symbol};")), "{e}");
    }
    let place = Place::new("wide");
    place.without("SDF_GetPrivateKeyAccessRight");
    let e = place.open().load_key("node", KeyPurpose::Node).err().unwrap();
    assert!(e.to_string().contains("has no function SDF_GetPrivateKeyAccessRight;"), "{e}");
    // nobody needs these to sign
    let place = Place::new("wide");
    for symbol in ["SDF_ExternalVerify_ECC", "SDF_GetDeviceInfo", "SDF_ReleasePrivateKeyAccessRight"] {
        place.without(symbol);
    }
    let store = place.open();
    assert!(store.device().is_err());
    sign_message(&*store.load_key("node", KeyPurpose::Node).unwrap(), b"m").unwrap();
}
