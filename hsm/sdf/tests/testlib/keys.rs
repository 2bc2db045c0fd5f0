//! The suite of all keystores in both layouts, layouts told apart, keys that are not made here.

use crate::place::{PASSWORDS, Place, SECRETS};
use gw_proto::Scheme;
use gw_sm::KeyPair;
use hsm_api::{Entropy as _, HsmError, KeyPurpose, KeyStore as _, sign_message};
use hsm_conformance::{Target, existing::ExistingKey, run_existing};
use hsm_sdf::{Layout, SdfError, SdfKeyStore, SdfOptions};
use std::{sync::Arc, time::Duration};

const SM2: Scheme = Scheme::Sm2Sm3;

fn conformance(layout: &str) {
    let place = Place::new(layout);
    let store = place.open();
    let options = place.options();
    let printed = || {
        let missing = store.load_key("nobody", KeyPurpose::Node).err().unwrap();
        vec![
            format!("{store:?} {store:#?} {:?} {options:?}", store.info()),
            format!("{missing} {missing:?} {:?}", store.device()),
        ]
    };
    let passwords = PASSWORDS.iter().map(|(_, _, p)| p.as_bytes().to_vec());
    let secrets: Vec<Vec<u8>> = passwords.chain(SECRETS.map(|s| s.to_vec())).collect();
    let target = Target {
        store: &store,
        schemes: &[SM2],
        unsupported: &[Scheme::EcdsaP256Sha256],
        prefix: "t",
        patience: Duration::from_secs(60),
        reopen: &|| Ok(Arc::new(SdfKeyStore::open(&options)?)),
        printed: &printed,
        secrets: &|| secrets.clone(),
    };
    let keys =
        options.keys.iter().map(|k| ExistingKey { name: k.name.clone(), purpose: k.purpose, scheme: SM2 });
    let report = run_existing(&target, &keys.collect::<Vec<_>>());
    assert!(report.passed(), "{layout}: {report}");
    assert!(report.openssl, "the openssl command is not there: apt install openssl");
}

#[test]
fn it_keeps_the_promises_of_every_keystore_in_the_standards_layout() {
    conformance("wide");
}

#[test]
fn it_keeps_the_promises_of_every_keystore_in_the_short_layout() {
    conformance("narrow");
}

/// The device's keys are known to the test: what comes out is their public halves, whatever the layout.
#[test]
fn the_layout_is_found_out_or_as_configured() {
    for (written, layout) in [("wide", Layout::Wide), ("narrow", Layout::Narrow)] {
        let place = Place::new(written);
        for configured in [None, Some(layout)] {
            let options = SdfOptions { layout: configured, ..place.options() };
            let store = SdfKeyStore::open(&options).unwrap();
            assert_eq!(store.layout(), Some(layout));
            let signer = store.load_key("node", KeyPurpose::Node).unwrap();
            let known = KeyPair::from_secret(SM2, SECRETS[0]).unwrap();
            assert_eq!(signer.public_key(), known.public_key());
        }
    }
    for (written, wrong) in [("wide", Layout::Narrow), ("narrow", Layout::Wide)] {
        let place = Place::new(written);
        let options = SdfOptions { layout: Some(wrong), ..place.options() };
        let e = SdfKeyStore::open(&options).unwrap_err();
        assert!(e.to_string().contains("layout"), "{e}");
    }
}

#[test]
fn numbers_at_the_other_end_of_their_fields_are_refused() {
    let place = Place::new("wide");
    place.set("wide", &["fault left-aligned"]);
    let e = SdfKeyStore::open(&place.options()).unwrap_err();
    assert!(e.to_string().contains("fits neither known layout"), "{e}");
    let options = SdfOptions { layout: Some(Layout::Wide), ..place.options() };
    let e = SdfKeyStore::open(&options).unwrap_err();
    assert!(e.to_string().contains("64-byte layout"), "{e}");
}

#[test]
fn an_empty_index_is_named_and_filled_by_the_vendors_tool_only() {
    let place = Place::new("wide");
    place.set_text("layout wide\n");
    // an empty device opens: how else could an operator see what is missing
    let store = place.open();
    assert_eq!(store.list_keys().unwrap(), []);
    let e = store.load_key("node", KeyPurpose::Node).err().unwrap();
    assert!(e.to_string().contains("no SM2 signing key at index 1 (`node`)"), "{e}");
    let e = store.create_key("node", KeyPurpose::Node, SM2).err().unwrap();
    assert!(matches!(&e, HsmError::CannotMake { remedy, .. } if remedy.contains("index 1")), "{e}");
    let e = store.create_key("second", KeyPurpose::Node, SM2).err().unwrap();
    assert!(matches!(&e, HsmError::CannotMake { remedy, .. } if remedy.contains("configuration")), "{e}");
    let e = store.create_key("No name", KeyPurpose::Node, SM2).err().unwrap();
    assert!(matches!(e, HsmError::BadName), "{e}");
    // the vendor's tool makes them
    place.set("wide", &[]);
    assert_eq!(store.list_keys().unwrap().len(), 3);
    let signer = store.load_key("node", KeyPurpose::Node).unwrap();
    sign_message(&*signer, b"m").unwrap();
}

#[test]
fn the_device_says_what_it_is_and_draws_any_number_of_bytes() {
    let place = Place::new("wide");
    let store = place.open();
    let info = store.device().unwrap();
    assert_eq!((&*info.issuer, &*info.name, &*info.serial), ("Xinguan tests", "in memory", "0001"));
    store.fill(&mut []).unwrap();
    let (mut a, mut b) = (vec![0; 5000], vec![0; 5000]);
    store.fill(&mut a).unwrap();
    store.fill(&mut b).unwrap();
    assert_ne!(a, b);
    assert!(a.chunks(100).all(|c| c.iter().any(|x| *x != 0)));
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused() {
    let place = Place::new("wide");
    let mut options = place.options();
    options.keys[1].index = 1;
    let e = SdfKeyStore::open(&options).unwrap_err();
    assert!(matches!(e, SdfError::Options { .. }), "{e}");
}
