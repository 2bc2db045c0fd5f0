//! Reference manifests: who must sign, what is refused; and the published schemas.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[expect(dead_code, reason = "each test program uses its part")]
mod common;

use common::{NOW, makers, manifest, signed, two_of_three};
use gw_attest::{
    AttestError, Bundle,
    reference::{Makers, Manifest, PcrReference, SignedManifest, TrustedManifest, Want},
};
use gw_proto::{Scheme, UnixMillis};
use gw_sm::KeyPair;

fn refused(bytes: &[u8]) -> AttestError {
    TrustedManifest::parse(bytes, &two_of_three()).unwrap_err()
}

#[test]
fn two_of_three_makers_must_sign() {
    let [a, b, c] = makers();
    let m = manifest();
    for by in [[&a, &b], [&b, &c], [&c, &a]] {
        assert_eq!(TrustedManifest::parse(&signed(&m, &by), &two_of_three()).unwrap().get(), &m);
    }
    let found = |bytes: &[u8]| match refused(bytes) {
        AttestError::ManifestSignatures { found, needed: 2, .. } => found,
        other => panic!("{other}"),
    };
    let stranger = KeyPair::from_secret(Scheme::Sm2Sm3, [9; 32]).unwrap();
    assert_eq!(found(&signed(&m, &[&a])), 1);
    assert_eq!(found(&signed(&m, &[&a, &a])), 1, "twice the same maker");
    assert_eq!(found(&signed(&m, &[&a, &stranger])), 1);
    assert_eq!(found(&signed(&m, &[])), 0);
    // changed after it was signed
    let mut changed: SignedManifest = serde_json::from_slice(&signed(&m, &[&a, &b, &c])).unwrap();
    changed.manifest.number += 1;
    assert_eq!(found(&serde_json::to_vec(&changed).unwrap()), 0);
    // a signature under another maker's name
    let mut changed: SignedManifest = serde_json::from_slice(&signed(&m, &[&a, &b])).unwrap();
    changed.signatures[1].key = c.public_key().id();
    assert_eq!(found(&serde_json::to_vec(&changed).unwrap()), 1);
}

#[test]
fn manifests_that_make_no_sense_are_refused_though_signed() {
    let [a, b, _] = makers();
    let bend = |edit: &dyn Fn(&mut Manifest)| {
        let mut m = manifest();
        edit(&mut m);
        refused(&signed(&m, &[&a, &b]))
    };
    let resettable = |m: &mut Manifest| m.pcrs.push(PcrReference { pcr: 16, want: Want::Events(vec![]) });
    assert_eq!(bend(&resettable), AttestError::ResettablePcr { what: "a reference manifest", pcr: 16 });
    let contradictions: [&dyn Fn(&mut Manifest); 6] = [
        &|m| m.v = 2,
        &|m| m.not_before = UnixMillis(NOW.0 + 1000),
        &|m| m.release = String::new(),
        &|m| m.pcrs.swap(0, 1),
        &|m| m.pcrs.push(m.pcrs.last().unwrap().clone()),
        &|m| m.pcrs.clear(),
    ];
    for edit in contradictions {
        assert!(matches!(bend(edit), AttestError::Contradiction { .. }), "{}", bend(edit));
    }
    assert!(matches!(bend(&|m| m.release = "r".repeat(201)), AttestError::TooMany { .. }));
    assert!(matches!(refused(&vec![b' '; 600_000]), AttestError::Size { .. }));
    assert!(matches!(refused(b"{}"), AttestError::Form { .. }));
    // makers that would let anybody sign
    let key = *a.public_key();
    assert!(Makers::new(vec![key], 0).is_err() && Makers::new(vec![key], 2).is_err());
    assert!(Makers::new(vec![key, key], 1).is_err());
}

/// The schemas beside the crate are those of the types; a new one is written where the message says.
#[test]
fn schemas_are_as_published() {
    let evidence = serde_json::to_value(schemars::schema_for!(Bundle)).unwrap();
    let reference = serde_json::to_value(schemars::schema_for!(SignedManifest)).unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    for (name, schema) in [("evidence", &evidence), ("reference", &reference)] {
        let file = format!("{name}.schema.json");
        let text = serde_json::to_string_pretty(schema).unwrap() + "\n";
        if std::fs::read_to_string(folder.join(&file)).ok().as_ref() != Some(&text) {
            let new = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(&file);
            std::fs::write(&new, text).unwrap();
            panic!(
                "{file} is not that of the types; if the change is meant: cp {} {}",
                new.display(),
                folder.display()
            );
        }
    }
    // and say what is accepted
    let validator = jsonschema::validator_for(&reference).unwrap();
    let [a, b, _] = makers();
    let good: serde_json::Value = serde_json::from_slice(&signed(&manifest(), &[&a, &b])).unwrap();
    validator.validate(&good).unwrap();
    let mut bad = good;
    bad["manifest"]["pcrs"][0]["pcr"] = 16.into();
    assert!(validator.validate(&bad).is_err());
}

/// A bundle of the attester's shape satisfies the published schema.
#[test]
fn a_bundle_satisfies_its_schema() {
    use gw_attest::evidence::NodeKey;
    let device = common::Device::new(Scheme::Sm2Sm3);
    let machine = common::Machine::good();
    let mut bundle = device.attest(device.claims(&machine), &common::PCRS);
    let schema = serde_json::to_value(schemars::schema_for!(Bundle)).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.validate(&serde_json::to_value(&bundle).unwrap()).unwrap();
    bundle.claims.node_key = NodeKey::NotCertified { reason: "an SDF card".to_owned() };
    bundle.claims.boot_log = None;
    let mut json = serde_json::to_value(&bundle).unwrap();
    validator.validate(&json).unwrap();
    json["claims"]["eat_nonce"] = "00".into();
    assert!(validator.validate(&json).is_err());
}
