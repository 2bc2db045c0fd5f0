//! Endorsement certificates: those of swtpm_setup, and bent ones of openssl's making; openssl's own word beside ours.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

#[expect(dead_code, reason = "each test program uses its part")]
mod common;

use common::chip::{Simulator, program};
use gw_attest::endorsement::{
    CredentialError, Curve, Endorsed, EndorsementError as E, EndorsementKey, Manufacturers, Sealed,
    make_credential,
};
use gw_proto::{Clock as _, Scheme, UnixMillis, clock::SystemClock};
use hsm_api::{KeyPurpose, KeyStore as _, attest::Credential};
use std::{path::Path, time::Duration};

const DAY: Duration = Duration::from_secs(86_400);

fn done(folder: &Path, name: &str, args: &[&str]) -> Vec<u8> {
    let out = program(folder, name, args);
    assert!(out.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn der(folder: &Path, name: &str) -> Vec<u8> {
    done(folder, "openssl", &["x509", "-in", &format!("{name}.pem"), "-outform", "der"])
}

fn today() -> UnixMillis {
    SystemClock.now()
}

/// What openssl says of the same path.
fn openssl_agrees(folder: &Path, leaf: &str, between: &str, root: &str) -> bool {
    let [leaf, between, root] = [leaf, between, root].map(|n| format!("{n}.pem"));
    let args = ["verify", "-CAfile", &root, "-untrusted", &between, &leaf];
    program(folder, "openssl", &args).status.success()
}

/// A simulated chip as swtpm_setup makes it, its certificates beside it: root.pem, between.pem, chip.pem.
fn manufactured() -> tempfile::TempDir {
    manufactured_with(&["--ecc"], "ek-secp384r1.crt")
}

/// … with an endorsement key of another kind.
fn manufactured_with(kind: &[&str], certificate: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (at, path) = (folder.path().display(), folder.path());
    let write = |name: &str, text: String| std::fs::write(path.join(name), text).unwrap();
    write(
        "ca.conf",
        format!(
            "statedir = {at}\nsigningkey = {at}/ca-key.pem\nissuercert = {at}/between.pem\ncertserial = {at}/serial\n"
        ),
    );
    write("ca.options", "--platform-manufacturer Test\n".to_owned());
    write(
        "setup.conf",
        format!(
            "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {at}/ca.conf\n\
             create_certs_tool_options = {at}/ca.options\n"
        ),
    );
    let args = ["--tpm2", "--create-ek-cert", "--write-ek-cert-files", ".", "--config", "setup.conf"];
    done(path, "swtpm_setup", &[&args[..], &["--tpmstate", "."], kind].concat());
    std::fs::rename(path.join("swtpm-localca-rootca-cert.pem"), path.join("root.pem")).unwrap();
    let chip = ["x509", "-inform", "der", "-in", certificate, "-out", "chip.pem"];
    done(path, "openssl", &chip);
    folder
}

#[test]
fn a_chip_of_swtpm_setup_leads_to_its_pinned_root() {
    let (ours, others) = (manufactured(), manufactured());
    let (root, between, chip) =
        (der(ours.path(), "root"), der(ours.path(), "between"), der(ours.path(), "chip"));
    let pinned = Manufacturers::new([&root[..], &between]).unwrap();
    let endorsed: Endorsed = pinned.check(&chip, today()).unwrap();
    let EndorsementKey::Ecc { curve: Curve::P384, point } = endorsed.key() else { panic!("{endorsed:?}") };
    assert_eq!(point.len(), 96);
    assert_eq!(endorsed.make().manufacturer, "id:00001014");
    assert_eq!((endorsed.make().model.as_str(), endorsed.root()), ("swtpm", "CN=swtpm-localca-rootca"));
    // the point is the one that openssl finds in the certificate
    let spki = done(ours.path(), "openssl", &["x509", "-in", "chip.pem", "-noout", "-text"]);
    let hex: String = String::from_utf8(spki).unwrap().chars().filter(char::is_ascii_hexdigit).collect();
    assert!(hex.contains(&hex::encode(&point[..15])));
    assert!(openssl_agrees(ours.path(), "chip", "between", "root"));

    // the same names, another manufacturer's keys
    let wrong =
        Manufacturers::new([&der(others.path(), "root")[..], &der(others.path(), "between")]).unwrap();
    let refused = wrong.check(&chip, today()).unwrap_err();
    assert!(matches!(&refused, E::Signature { issuer, .. } if issuer == "CN=swtpm-localca"), "{refused}");
    std::fs::copy(others.path().join("root.pem"), ours.path().join("wrong.pem")).unwrap();
    assert!(!openssl_agrees(ours.path(), "chip", "between", "wrong"));
    // the right issuer under a root that is not pinned
    let half = Manufacturers::new([&der(others.path(), "root")[..], &between]).unwrap();
    assert!(matches!(half.check(&chip, today()), Err(E::Signature { .. })));
    // nothing between
    let short = Manufacturers::new([&root[..]]).unwrap();
    let refused = short.check(&chip, today()).unwrap_err();
    assert!(matches!(&refused, E::NotPinned { issuer, .. } if issuer == "CN=swtpm-localca"), "{refused}");
    // an issuer is not trusted for standing in the file
    assert_eq!(Manufacturers::new([&between[..]]).unwrap_err(), E::NoRoot);
    // the manufacturer's own certificate is no chip's
    assert!(matches!(pinned.check(&between, today()), Err(E::NotEndorsement { .. })));
    // no byte of it may be another
    for at in [40, chip.len() / 2, chip.len() - 1] {
        let mut bent = chip.clone();
        bent[at] ^= 1;
        assert!(pinned.check(&bent, today()).is_err(), "byte {at}");
    }
    for cut in [0, 1, 100, chip.len() - 1] {
        assert!(matches!(pinned.check(&chip[..cut], today()), Err(E::Malformed { .. })), "cut at {cut}");
    }
    assert!(matches!(pinned.check(&vec![0x30; 9000], today()), Err(E::Malformed { .. })));
}

/// A manufacturer of openssl's making: sections of extensions, and keys of any kind.
struct Maker(tempfile::TempDir);

/// openssl takes the first number of an attribute's name for a counter.
const EXTENSIONS: &str = "
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[between]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
[no_ca]
basicConstraints = critical, CA:FALSE
[no_cert_sign]
basicConstraints = critical, CA:TRUE
keyUsage = critical, cRLSign
[chip]
basicConstraints = critical, CA:FALSE
keyUsage = critical, keyAgreement
extendedKeyUsage = 2.23.133.8.1
subjectAltName = critical, dirName:make
[tls]
subjectAltName = critical, dirName:make
extendedKeyUsage = serverAuth
[encipherment]
subjectAltName = critical, dirName:make
keyUsage = critical, keyEncipherment
[no_make]
extendedKeyUsage = 2.23.133.8.1
subjectAltName = critical, DNS:chip.example
[chip_ca]
basicConstraints = critical, CA:TRUE
subjectAltName = critical, dirName:make
[unknown]
subjectAltName = critical, dirName:make
1.2.3.4 = critical, ASN1:NULL
[encipherment_none]
subjectAltName = critical, dirName:make
[make]
1.2.23.133.2.1 = id:4E535A00
2.2.23.133.2.2 = NS350
3.2.23.133.2.3 = id:00010203
";

impl Maker {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.conf"), EXTENSIONS).unwrap();
        Self(folder)
    }

    /// A certificate `name`, signed by `by` (itself, if that is its own name), for some days from now on.
    fn make(&self, name: &str, by: &str, section: &str, key: &[&str], days: u32) -> Vec<u8> {
        let (folder, subject) = (self.0.path(), format!("/CN={name}"));
        let file = |end: &str| format!("{name}.{end}");
        let [secret, request, certificate] = ["key", "csr", "pem"].map(file);
        done(folder, "openssl", &[&["genpkey", "-out", &secret], key].concat());
        done(folder, "openssl", &["req", "-new", "-key", &secret, "-subj", &subject, "-out", &request]);
        let days = days.to_string();
        let (issuer, signer) = (format!("{by}.pem"), format!("{by}.key"));
        let own = ["-signkey", &secret];
        let of_another = ["-CA", &issuer, "-CAkey", &signer, "-CAcreateserial"];
        let signed = if name == by { &own[..] } else { &of_another };
        let rest = ["-extfile", "x.conf", "-extensions", section, "-sha256", "-days", &days];
        let args = ["x509", "-req", "-in", &request, "-out", &certificate];
        done(folder, "openssl", &[&args[..], signed, &rest].concat());
        der(folder, name)
    }
}

const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
const P521: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
const RSA: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

#[test]
fn each_way_a_path_can_be_wrong_has_its_name() {
    let m = Maker::new();
    let root = m.make("root", "root", "root", &P384, 3650);
    let between = m.make("between", "root", "between", &RSA, 10);
    let pinned = Manufacturers::new([&root[..], &between]).unwrap();
    let chip = m.make("chip", "between", "chip", &P256, 30);
    // certificates are made one after the other, on whatever machine: tomorrow all are valid
    let now = today().plus(DAY);
    let endorsed = pinned.check(&chip, now).unwrap();
    assert!(matches!(endorsed.key(), EndorsementKey::Ecc { curve: Curve::P256, .. }), "{endorsed:?}");
    assert_eq!(endorsed.make().model, "NS350");
    assert!(openssl_agrees(m.0.path(), "chip", "between", "root"));
    // directly under the root, too
    assert_eq!(pinned.check(&m.make("direct", "root", "chip", &P384, 30), now).unwrap().root(), "CN=root");

    let late = |days| now.plus(DAY * days);
    assert!(
        matches!(pinned.check(&chip, late(20)), Err(E::Expired { subject, .. }) if subject == "CN=between")
    );
    assert!(matches!(pinned.check(&chip, late(31)), Err(E::Expired { subject, .. }) if subject == "CN=chip"));
    assert!(matches!(pinned.check(&chip, UnixMillis(1)), Err(E::NotYetValid { .. })));

    let why = |name: &str, by: &str, section: &str, key: &[&str]| {
        let certificate = m.make(name, by, section, key, 5);
        pinned.check(&certificate, now).unwrap_err()
    };
    for (section, expected) in [
        ("tls", "it is for another purpose (extendedKeyUsage)"),
        ("encipherment", "its key may not agree on keys (keyUsage)"),
        ("no_make", "it does not name the chip's manufacturer, model and version (subjectAltName)"),
        ("chip_ca", "it is a CA's"),
    ] {
        assert_eq!(why(section, "between", section, &P256), E::NotEndorsement { why: expected });
    }
    let unknown = E::CriticalExtension { subject: "CN=unknown".to_owned(), oid: "1.2.3.4".to_owned() };
    assert_eq!(why("unknown", "between", "unknown", &P256), unknown);
    assert!(!openssl_agrees(m.0.path(), "unknown", "between", "root"));
    // RSA enciphers keys, curves agree on them; of RSA only what the templates make
    let rsa = m.make("rsa-chip", "between", "encipherment", &RSA, 5);
    assert!(matches!(pinned.check(&rsa, now).unwrap().key(), EndorsementKey::Rsa2048 { .. }));
    let agrees = E::NotEndorsement { why: "its key may not encipher keys (keyUsage)" };
    assert_eq!(why("rsa-agrees", "between", "chip", &RSA), agrees);
    let exponent = [&RSA[..], &["-pkeyopt", "rsa_keygen_pubexp:3"]].concat();
    let long = [RSA[0], RSA[1], RSA[2], "rsa_keygen_bits:3072"];
    for (name, key) in [("rsa-3", &exponent[..]), ("rsa-3072", &long), ("p521", &P521)] {
        assert_eq!(why(name, "between", "encipherment_none", key), E::KeyKind, "{name}");
    }

    // who may not sign, or not for so many below
    let refused = |pinned: [&[u8]; 3], leaf: &[u8]| Manufacturers::new(pinned).unwrap().check(leaf, now);
    for (section, expected) in [
        ("no_ca", "it is no CA (basicConstraints)"),
        ("no_cert_sign", "it may not sign certificates (keyUsage)"),
    ] {
        let issuer = m.make(&format!("i-{section}"), "root", section, &P256, 10);
        let leaf = m.make(&format!("l-{section}"), &format!("i-{section}"), "chip", &P256, 5);
        let said = refused([&root, &between, &issuer], &leaf).unwrap_err();
        assert!(matches!(&said, E::NotIssuer { why, .. } if *why == expected), "{section}: {said}");
    }
    let below = m.make("below", "between", "between", &P256, 10);
    let leaf = m.make("leaf", "below", "chip", &P256, 5);
    let said = refused([&root, &between, &below], &leaf).unwrap_err();
    assert!(matches!(&said, E::NotIssuer { why, .. } if *why == "its path length forbids it"), "{said}");
    assert!(!openssl_agrees(m.0.path(), "leaf", "below", "root"));
    // a critical extension above is no better than one below
    let strange = m.make("strange", "root", "unknown", &P256, 10);
    assert!(matches!(Manufacturers::new([&root[..], &strange]), Err(E::CriticalExtension { .. })));
}

/// Certificates that sign each other in a ring end, and so does a path that is too long.
#[test]
fn a_path_ends() {
    let m = Maker::new();
    let mut all = vec![m.make("c0", "c0", "root", &P256, 30)];
    for i in 1..=5 {
        all.push(m.make(&format!("c{i}"), &format!("c{}", i - 1), "root", &P256, 30));
    }
    let pinned = Manufacturers::new(all.iter().map(Vec::as_slice)).unwrap();
    // certificates are made one after the other, on whatever machine: tomorrow all are valid
    let now = today().plus(DAY);
    let under = |name: &str| pinned.check(&m.make(&format!("under-{name}"), name, "chip", &P256, 5), now);
    assert_eq!(under("c3").unwrap().root(), "CN=c0");
    assert_eq!(under("c4").unwrap_err(), E::PathTooLong);
}

fn credential(sealed: &Sealed) -> Credential {
    Credential { blob: sealed.blob.clone(), secret: sealed.secret.clone() }
}

/// libtpms opens what we seal, and only in the chip that both keys are in.
#[test]
fn only_the_certified_chip_opens_a_credential_and_only_for_the_key_it_names() {
    let folder = manufactured();
    let pinned =
        Manufacturers::new([&der(folder.path(), "root")[..], &der(folder.path(), "between")]).unwrap();
    let chip = Simulator::on(folder);
    let store = chip.init();
    for (name, scheme) in [("ak", Scheme::Sm2Sm3), ("ak2", Scheme::EcdsaP256Sha256)] {
        store.create_key(name, KeyPurpose::Attestation, scheme).unwrap();
    }
    let attestor = store.attestor("ak").unwrap();
    let endorsed = pinned.check(&attestor.endorsement_certificate().unwrap(), today()).unwrap();
    let name = attestor.attestation_key().name;
    for secret in [&[0x3c; 32][..], &[7], &[0x5a; 48]] {
        let sealed = make_credential(endorsed.key(), &name, secret).unwrap();
        assert_eq!(*attestor.activate_credential(&credential(&sealed)).unwrap(), secret);
    }
    let sealed = make_credential(endorsed.key(), &name, &[0x3c; 32]).unwrap();
    assert_ne!(sealed, make_credential(endorsed.key(), &name, &[0x3c; 32]).unwrap(), "the same twice");
    // another key of the same chip
    assert!(store.attestor("ak2").unwrap().activate_credential(&credential(&sealed)).is_err());
    let for_the_other = make_credential(endorsed.key(), &name[..33], &[0x3c; 32]).unwrap();
    assert!(attestor.activate_credential(&credential(&for_the_other)).is_err());
    // nothing of it may be another
    for bend in [
        |s: &mut Sealed| s.blob[4] ^= 1,
        |s: &mut Sealed| *s.blob.last_mut().unwrap() ^= 1,
        |s: &mut Sealed| s.secret[9] ^= 1,
    ] {
        let mut bent = sealed.clone();
        bend(&mut bent);
        assert!(attestor.activate_credential(&credential(&bent)).is_err());
    }
    // another chip, though it was made in the same way
    let other = Simulator::on(manufactured());
    let theirs = other.init();
    theirs.create_key("ak", KeyPurpose::Attestation, Scheme::Sm2Sm3).unwrap();
    assert!(theirs.attestor("ak").unwrap().activate_credential(&credential(&sealed)).is_err());
    // bounds, and a point on no curve
    let nowhere = EndorsementKey::Ecc { curve: Curve::P384, point: vec![9; 96] };
    assert_eq!(make_credential(&nowhere, &name, &[1]), Err(CredentialError::Point));
    assert_eq!(make_credential(endorsed.key(), &[0; 65], &[1]), Err(CredentialError::Length));
    assert_eq!(make_credential(endorsed.key(), &name, &[0; 65]), Err(CredentialError::Length));
}

/// Chips whose certificate is for a P-256 key: another hash, another cipher.
#[test]
fn a_p256_chip_opens_its_credential() {
    let chip = Simulator::start();
    let store = chip.init();
    store.create_key("ak", KeyPurpose::Attestation, Scheme::Sm2Sm3).unwrap();
    store.disconnect().unwrap();
    // what the index holds does not matter here: that it is there chooses the key
    std::fs::write(chip.path("ek.der"), [&[0x30, 0x82, 0, 200][..], &[7; 200]].concat()).unwrap();
    chip.tool("tpm2_nvdefine", &["0x1c0000a", "-s", "204", "-a", "authread|authwrite|no_da"]);
    chip.tool("tpm2_nvwrite", &["0x1c0000a", "-i", "ek.der"]);
    let attestor = store.attestor("ak").unwrap();
    // TPMT_PUBLIC ends with the point: two parts of 32 bytes, each with its size
    let area = attestor.endorsement_key().unwrap();
    let unique = &area[area.len() - 68..];
    let key = EndorsementKey::Ecc { curve: Curve::P256, point: [&unique[2..34], &unique[36..]].concat() };
    let sealed = make_credential(&key, &attestor.attestation_key().name, &[0x77; 32]).unwrap();
    assert_eq!(*attestor.activate_credential(&credential(&sealed)).unwrap(), [0x77; 32]);
}

/// The common kind of real chips: an RSA key of template L-1, certified by swtpm_setup, opened by libtpms.
#[test]
fn a_chip_with_an_rsa_certificate_opens_its_credential() {
    let folder = manufactured_with(&[], "ek-rsa2048.crt");
    assert!(openssl_agrees(folder.path(), "chip", "between", "root"));
    let pinned =
        Manufacturers::new([&der(folder.path(), "root")[..], &der(folder.path(), "between")]).unwrap();
    let certificate = der(folder.path(), "chip");
    let chip = Simulator::on(folder);
    let store = chip.init();
    store.create_key("ak", KeyPurpose::Attestation, Scheme::Sm2Sm3).unwrap();
    store.disconnect().unwrap();
    // swtpm_setup certifies a key of P-384 besides, which would be taken first
    chip.tool("tpm2_nvundefine", &["0x1c00016", "-C", "p"]);
    let attestor = store.attestor("ak").unwrap();
    assert!(attestor.endorsement_certificate().unwrap() == certificate, "another certificate");
    let endorsed = pinned.check(&certificate, today()).unwrap();
    let EndorsementKey::Rsa2048 { public } = endorsed.key() else { panic!("{endorsed:?}") };
    // the chip makes that very key: TPMT_PUBLIC ends with the modulus, RSAPublicKey has it before the exponent
    let area = attestor.endorsement_key().unwrap();
    assert_eq!(area[area.len() - 256..], public[public.len() - 5 - 256..public.len() - 5]);
    let name = attestor.attestation_key().name;
    for secret in [&[0x3c; 32][..], &[7], &[0x5a; 64]] {
        let sealed = make_credential(endorsed.key(), &name, secret).unwrap();
        assert_eq!(sealed.secret.len(), 256);
        assert_eq!(*attestor.activate_credential(&credential(&sealed)).unwrap(), secret);
    }
    let sealed = make_credential(endorsed.key(), &name, &[1; 32]).unwrap();
    assert_ne!(sealed, make_credential(endorsed.key(), &name, &[1; 32]).unwrap(), "the same twice");
    for bend in [|s: &mut Sealed| s.blob[4] ^= 1, |s: &mut Sealed| s.secret[200] ^= 1] {
        let mut bent = sealed.clone();
        bend(&mut bent);
        assert!(attestor.activate_credential(&credential(&bent)).is_err());
    }
    let for_the_other = make_credential(endorsed.key(), &name[..33], &[1; 32]).unwrap();
    assert!(attestor.activate_credential(&credential(&for_the_other)).is_err());
}

/// Chips whose certificate is for an RSA key of the high range, which is used by its value.
#[test]
fn a_chip_with_an_rsa_key_of_the_high_range_opens_its_credential() {
    let chip = Simulator::start();
    let store = chip.init();
    store.create_key("ak", KeyPurpose::Attestation, Scheme::EcdsaP256Sha256).unwrap();
    store.disconnect().unwrap();
    // what the index holds does not matter here: that it is there chooses the key
    std::fs::write(chip.path("ek.der"), [&[0x30, 0x82, 0, 200][..], &[7; 200]].concat()).unwrap();
    chip.tool("tpm2_nvdefine", &["0x1c00012", "-s", "204", "-a", "authread|authwrite|no_da"]);
    chip.tool("tpm2_nvwrite", &["0x1c00012", "-i", "ek.der"]);
    let attestor = store.attestor("ak").unwrap();
    let area = attestor.endorsement_key().unwrap();
    // RSAPublicKey: SEQUENCE { INTEGER 0 ‖ modulus, INTEGER 65537 }
    let head = hex::decode("3082010a0282010100").unwrap();
    let public = [&head[..], &area[area.len() - 256..], &[2, 3, 1, 0, 1]].concat();
    let key = EndorsementKey::Rsa2048 { public };
    let sealed = make_credential(&key, &attestor.attestation_key().name, &[0x77; 32]).unwrap();
    assert_eq!(*attestor.activate_credential(&credential(&sealed)).unwrap(), [0x77; 32]);
    let nothing = EndorsementKey::Rsa2048 { public: vec![0x30, 0] };
    assert_eq!(make_credential(&nothing, &[0; 34], &[1]), Err(CredentialError::Point));
}
