//! Evidence of a simulated chip, checked by programs of others.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

mod common;

use base64::Engine as _;
use common::{Simulator, run};
use gw_proto::{PublicKey, Scheme, Signature};
use hsm_api::{
    KeyPurpose, KeyStore as _,
    attest::{MeasurementHash, Quote, Statement},
};
use hsm_tpm2::{commands, template};
use std::{path::Path, process::Command};
use tpm2_protocol::{
    TpmUnmarshal as _,
    data::{TpmsAttest, TpmuAttest},
};

const NONCE: [u8; 32] = [0xa5; 32];

fn attest(bytes: &[u8]) -> TpmsAttest {
    let (attest, rest) = TpmsAttest::unmarshal(bytes).unwrap();
    assert!(rest.is_empty());
    attest
}

fn hash(statement: &Statement) -> [u8; 32] {
    use sha2::Digest as _;
    match statement.hash {
        MeasurementHash::Sha256 => sha2::Sha256::digest(&statement.attested).into(),
        MeasurementHash::Sm3 => gw_proto::sm3(&statement.attested).0,
    }
}

/// SubjectPublicKeyInfo in PEM.
fn pem(key: &PublicKey) -> String {
    let prefix = match key.scheme {
        Scheme::Sm2Sm3 => "3059301306072a8648ce3d020106082a811ccf5501822d03420004",
        Scheme::EcdsaP256Sha256 => "3059301306072a8648ce3d020106082a8648ce3d03010703420004",
    };
    let spki = [hex::decode(prefix).unwrap(), key.point.0.to_vec()].concat();
    let text = base64::engine::general_purpose::STANDARD.encode(spki);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

/// SEQUENCE { r, s }: both with a leading zero, which is not minimal where it is not needed.
fn der(signature: &Signature) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let digits: Vec<u8> = half.iter().copied().skip_while(|b| *b == 0).collect();
        let sign = digits.first().is_none_or(|b| *b >= 0x80);
        let body = [vec![0; usize::from(sign)], digits].concat();
        [vec![2, u8::try_from(body.len()).unwrap()], body].concat()
    };
    let body = [integer(&signature.0[..32]), integer(&signature.0[32..])].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}

fn openssl_prehash(folder: &Path, key: &PublicKey, digest: &[u8], signature: &Signature) -> bool {
    std::fs::write(folder.join("key.pem"), pem(key)).unwrap();
    std::fs::write(folder.join("digest"), digest).unwrap();
    std::fs::write(folder.join("sig.der"), der(signature)).unwrap();
    let args = ["pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-in", "digest", "-sigfile", "sig.der"];
    run(folder, "openssl", &args).is_ok_and(|said| said.contains("Verified Successfully"))
}

/// OpenSSL's `pkeyutl` takes an SM2 digest as it is: no Z.
#[test]
fn openssl_verifies_the_quotes_of_both_schemes() {
    let chip = Simulator::start();
    let store = chip.init();
    store.extend_pcr(16, &[7; 32]).unwrap();
    for (name, scheme) in [("ak-sm2", Scheme::Sm2Sm3), ("ak-p256", Scheme::EcdsaP256Sha256)] {
        store.create_key(name, KeyPurpose::Attestation, scheme).unwrap();
        let attestor = store.attestor(name).unwrap();
        let quote = attestor.quote(&NONCE, &[16, 0, 7]).unwrap();
        check_quote(&quote);
        let key = attestor.attestation_key();
        assert_eq!(key.public.scheme, scheme);
        let digest = hash(&quote.statement);
        let folder = tempfile::tempdir().unwrap();
        let signature = &quote.statement.signature;
        assert!(openssl_prehash(folder.path(), &key.public, &digest, signature), "{scheme:?}");
        let mut other = digest;
        other[31] ^= 1;
        assert!(!openssl_prehash(folder.path(), &key.public, &other, signature), "openssl was not asked");
        gw_sm::verify_digest(&key.public, &digest, signature).unwrap();
        // what a verifier checks of the key
        let area = template::parse(&key.public_area).unwrap();
        assert!(template::is_restricted(&area) && template::signing_key(&area) == Some(key.public));
        assert_eq!(template::name_of(&area).unwrap(), key.name);
    }
}

fn check_quote(quote: &Quote) {
    let said = attest(&quote.statement.attested);
    assert_eq!(said.extra_data.as_ref(), NONCE);
    let TpmuAttest::Quote(info) = &said.attested else { panic!("{:?}", said.attested) };
    let numbers: Vec<u8> = quote.pcrs.iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, [0, 7, 16]);
    let values: Vec<u8> = quote.pcrs.iter().flat_map(|(_, v)| *v).collect();
    use sha2::Digest as _;
    let digest: [u8; 32] = sha2::Sha256::digest(&values).into();
    assert_eq!(info.pcr_digest.as_ref(), digest);
    assert_ne!(quote.pcrs[2].1, [0; 32], "it was extended");
}

#[test]
fn tpm2_checkquote_verifies_a_quote() {
    let chip = Simulator::start();
    let store = chip.init();
    store.create_key("ak", KeyPurpose::Attestation, Scheme::EcdsaP256Sha256).unwrap();
    let attestor = store.attestor("ak").unwrap();
    let quote = attestor.quote(&NONCE, &[0, 1, 2]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("key.pem", pem(&attestor.attestation_key().public).as_bytes());
    write("quote.msg", &quote.statement.attested);
    // TPMT_SIGNATURE: ECDSA, SHA-256, r and s
    let (r, s) = quote.statement.signature.0.split_at(32);
    write("quote.sig", &[&[0, 0x18, 0, 0x0b, 0, 32][..], r, &[0, 32], s].concat());
    let nonce = hex::encode(NONCE);
    let check = |nonce: &str| {
        let args = ["-u", "key.pem", "-m", "quote.msg", "-s", "quote.sig", "-g", "sha256", "-q", nonce];
        run(folder.path(), "tpm2_checkquote", &args)
    };
    check(&nonce).unwrap();
    assert!(check(&nonce.replace('a', "b")).is_err(), "tpm2_checkquote was not really asked");
}

#[test]
fn a_key_of_the_chip_is_certified() {
    let chip = Simulator::start();
    let store = chip.init();
    for (name, scheme) in [("ak-sm2", Scheme::Sm2Sm3), ("ak-p256", Scheme::EcdsaP256Sha256)] {
        store.create_key(name, KeyPurpose::Attestation, scheme).unwrap();
    }
    store.create_key("node", KeyPurpose::Node, Scheme::Sm2Sm3).unwrap();
    for name in ["ak-sm2", "ak-p256"] {
        let attestor = store.attestor(name).unwrap();
        let statement = attestor.certify("node", &NONCE).unwrap();
        let said = attest(&statement.attested);
        assert_eq!(said.extra_data.as_ref(), NONCE);
        let TpmuAttest::Certify(info) = &said.attested else { panic!("{:?}", said.attested) };
        // the certified name is that of the public area, which has the key's purpose in it
        let document: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(chip.path("keys.json")).unwrap()).unwrap();
        let entries = document["keys"].as_array().unwrap();
        let node = entries.iter().find(|k| k["name"] == "node").unwrap();
        let engine = base64::engine::general_purpose::STANDARD;
        let area = template::parse(&engine.decode(node["public"].as_str().unwrap()).unwrap()).unwrap();
        assert_eq!(info.name.as_ref(), template::name_of(&area).unwrap());
        let label = template::label("node", KeyPurpose::Node, Scheme::Sm2Sm3);
        assert_eq!(area.auth_policy.as_ref(), label);
        let key = attestor.attestation_key().public;
        gw_sm::verify_digest(&key, &hash(&statement), &statement.signature).unwrap();
    }
    let attestor = store.attestor("ak-sm2").unwrap();
    assert!(attestor.certify("ak-sm2", &NONCE).is_err());
    assert!(matches!(attestor.certify("nobody", &NONCE), Err(hsm_api::HsmError::NoSuchKey { .. })));
    for e in [attestor.certify("node", &[0; 33]).err(), attestor.quote(&[0; 33], &[0]).err()] {
        assert!(e.unwrap().to_string().contains("at most 32 bytes"));
    }
    assert!(attestor.quote(&NONCE, &[]).unwrap_err().to_string().contains("no PCRs"));
    assert!(attestor.quote(&NONCE, &[24]).unwrap_err().to_string().contains("no PCR 24"));
}

/// swtpm_setup makes an endorsement key and its certificate as a manufacturer does.
fn manufactured() -> std::sync::Arc<Simulator> {
    let chip = Simulator::stopped();
    let folder = chip.path("");
    let config = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let folder_text = folder.display();
    let ca = config(
        "ca.conf",
        format!(
            "statedir = {folder_text}\nsigningkey = {folder_text}/ca-key.pem\n\
             issuercert = {folder_text}/ca-cert.pem\ncertserial = {folder_text}/serial\n"
        ),
    );
    let options = config("ca.options", "--platform-manufacturer Test\n".to_owned());
    let setup = config(
        "setup.conf",
        format!(
            "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {ca}\n\
             create_certs_tool_options = {options}\n"
        ),
    );
    let out = Command::new("swtpm_setup")
        .args(["--tpm2", "--ecc", "--create-ek-cert", "--config", &setup, "--tpmstate"])
        .arg(&folder)
        .output()
        .expect("swtpm_setup does not start: apt-get install swtpm-tools");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    chip.power_on();
    chip
}

#[test]
fn a_credential_is_activated_by_the_certified_chip_and_no_other() {
    let chip = manufactured();
    let store = chip.init();
    for (name, scheme) in [("ak", Scheme::Sm2Sm3), ("ak2", Scheme::EcdsaP256Sha256)] {
        store.create_key(name, KeyPurpose::Attestation, scheme).unwrap();
    }
    let attestor = store.attestor("ak").unwrap();
    // the certificate is DER and covers the key that the chip shows
    let certificate = attestor.endorsement_certificate().unwrap();
    let area = attestor.endorsement_key().unwrap();
    std::fs::write(chip.path("ek.der"), &certificate).unwrap();
    let args = ["x509", "-inform", "der", "-in", "ek.der", "-noout", "-pubkey"];
    let certified = run(&chip.path(""), "openssl", &args).unwrap();
    let base64: String = certified.lines().filter(|l| !l.starts_with('-')).collect();
    let spki = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    let tpm2_protocol::data::TpmuPublicId::Ecc(point) = &template::parse(&area).unwrap().unique else {
        panic!("an elliptic key was asked for")
    };
    assert!(spki.ends_with(&[point.x.as_ref(), point.y.as_ref()].concat()), "another key is certified");
    // a verifier makes a challenge on a chip of his own
    let verifier = Simulator::start();
    let theirs = verifier.init();
    let secret = [0x3c; 32];
    let credential = theirs
        .with_chip(|their_chip, _| {
            let key = commands::keys::load_external(their_chip, &area)?;
            let made = commands::attest::make_credential(
                their_chip,
                &key.entity,
                &secret,
                &attestor.attestation_key().name,
            );
            commands::flush(their_chip, key.entity.handle)?;
            made
        })
        .unwrap();
    assert_eq!(*attestor.activate_credential(&credential).unwrap(), secret);
    // twice: nothing is left in the slots
    assert_eq!(*attestor.activate_credential(&credential).unwrap(), secret);
    assert!(store.attestor("ak2").unwrap().activate_credential(&credential).is_err(), "made for another key");
    let mut changed = credential.clone();
    changed.blob[10] ^= 1;
    assert!(attestor.activate_credential(&changed).is_err());
    changed.blob = vec![0; 5000];
    assert!(attestor.activate_credential(&changed).is_err());
    // the verifier's chip has no certificate, and says so
    theirs.create_key("ak", KeyPurpose::Attestation, Scheme::Sm2Sm3).unwrap();
    let e = theirs.attestor("ak").unwrap().activate_credential(&credential).unwrap_err();
    assert!(e.to_string().contains("without a certificate"), "{e}");
}

/// A chip with a certificate where most have theirs (P-256): there the endorsement key is used by its policy.
#[test]
fn a_p256_endorsement_key_is_used_by_its_policy() {
    let chip = Simulator::start();
    let store = chip.init();
    store.create_key("ak", KeyPurpose::Attestation, Scheme::Sm2Sm3).unwrap();
    store.disconnect().unwrap();
    // what stands in the index is padded, as some manufacturers do
    let der = [&[0x30, 0x82, 0, 200][..], &[7; 200]].concat();
    std::fs::write(chip.path("ek.der"), [&der[..], &[0xff; 96]].concat()).unwrap();
    for args in [
        ["tpm2_nvdefine", "0x1c0000a", "-s", "300", "-a", "authread|authwrite|no_da"].as_slice(),
        &["tpm2_nvwrite", "0x1c0000a", "-i", "ek.der"],
    ] {
        let out = chip.tool(args[0], &args[1..]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    let attestor = store.attestor("ak").unwrap();
    assert_eq!(attestor.endorsement_certificate().unwrap(), der);
    let area = attestor.endorsement_key().unwrap();
    // tpm2-tools make the same key from the same seed
    store.disconnect().unwrap();
    let made = chip.tool("tpm2_createek", &["-G", "ecc", "-c", "ek.ctx", "-u", "ek.pub"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(std::fs::read(chip.path("ek.pub")).unwrap()[2..], area);
    let secret = [0x77; 20];
    let name = attestor.attestation_key().name;
    let credential = store
        .with_chip(|chip, _| {
            let key = commands::keys::load_external(chip, &area)?;
            let made = commands::attest::make_credential(chip, &key.entity, &secret, &name);
            commands::flush(chip, key.entity.handle)?;
            made
        })
        .unwrap();
    assert_eq!(*attestor.activate_credential(&credential).unwrap(), secret);
}
