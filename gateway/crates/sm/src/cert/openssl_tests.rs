//! What we build, read and verified by the `openssl` program, and the other way round.
//!
//! Without OpenSSL 3 on the machine these tests say so and check nothing; with it, disagreement fails.

use super::*;
use crate::testpki::{NOW, Pki, crl};
use gw_proto::Scheme;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

const SCHEMES: [Scheme; 2] = [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256];

/// Runs openssl in `folder`: whether it succeeded, and all that it said.
fn openssl(folder: &Path, args: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(args).current_dir(folder).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn accepts(folder: &Path, args: &[&str]) -> String {
    let (success, text) = openssl(folder, args);
    assert!(success, "openssl {args:?}: {text}");
    text
}

/// A folder to work in, or None when there is no OpenSSL 3 or later.
fn folder() -> Option<tempfile::TempDir> {
    let version = Command::new("openssl").arg("version").output().ok()?.stdout;
    let version = String::from_utf8_lossy(&version).into_owned();
    let major = version.strip_prefix("OpenSSL ").and_then(|v| v.split('.').next()?.parse::<u32>().ok());
    if major.is_none_or(|m| m < 3) {
        eprintln!("not checked: no OpenSSL 3 here ({version:?})");
        return None;
    }
    Some(tempfile::tempdir().unwrap())
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Writes the whole infrastructure as PEM files.
fn write_pki(folder: &Path, pki: &Pki) {
    let pem = |der: &[u8]| certs_to_pem([der]).unwrap();
    for (name, entity) in [
        ("root", &pki.root),
        ("middle", &pki.middle),
        ("node", &pki.node),
        ("tls", &pki.tls),
        ("evidence", &pki.evidence),
        ("operator", &pki.operator),
    ] {
        write(folder, &format!("{name}.pem"), pem(&entity.der));
        write(folder, &format!("{name}.key"), &**key_to_pem(&entity.key).unwrap());
    }
    write(folder, "middles.pem", pem(&pki.middle.der));
    write(folder, "all.pem", certs_to_pem([&pki.node.der[..], &pki.middle.der]).unwrap());
}

/// `openssl verify` of a leaf at [`NOW`] against a trusted file.
fn verify(folder: &Path, scheme: Scheme, trusted: &str, rest: &[&str]) -> (bool, String) {
    let time = "1767225600";
    assert_eq!(time.parse::<u64>().unwrap(), NOW.0 / 1000);
    let mut args = vec!["verify", "-x509_strict", "-attime", time, "-CAfile", trusted];
    if scheme == Scheme::Sm2Sm3 {
        // OpenSSL 3 gives the identifier to the leaf only, so SM2 chains are verified link by link
        args.extend(["-partial_chain", "-vfyopt", "distid:1234567812345678"]);
    }
    args.extend(rest);
    openssl(folder, &args)
}

#[test]
fn openssl_verifies_what_we_build() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    for scheme in SCHEMES {
        write_pki(folder, &Pki::new(scheme));
        let host = crate::testpki::HOST;
        let links: [(&str, &[&str]); 8] = [
            ("root.pem", &["root.pem"]),
            ("root.pem", &["middle.pem"]),
            ("middle.pem", &["node.pem"]),
            ("node.pem", &["-purpose", "sslserver", "tls.pem"]),
            ("node.pem", &["-purpose", "sslclient", "tls.pem"]),
            ("node.pem", &["-verify_hostname", host, "tls.pem"]),
            ("root.pem", &["-purpose", "sslclient", "operator.pem"]),
            ("root.pem", &["evidence.pem"]),
        ];
        for (trusted, rest) in links {
            let rest = &[&["-partial_chain"][..], rest].concat();
            let (success, text) = verify(folder, scheme, trusted, rest);
            assert!(success, "{trusted} {rest:?}: {text}");
        }
        // and it refuses what we refuse
        let refused: [(&str, &[&str]); 4] = [
            ("root.pem", &["node.pem"]),
            ("middle.pem", &["tls.pem"]),
            ("node.pem", &["-verify_hostname", "node-b.bank.example", "tls.pem"]),
            ("root.pem", &["-purpose", "sslserver", "operator.pem"]),
        ];
        for (trusted, rest) in refused {
            let (success, text) = verify(folder, scheme, trusted, rest);
            assert!(!success, "{trusted} {rest:?}: {text}");
        }
    }
}

/// Whole chains and revocation lists: OpenSSL 3 has no place for SM2's identifier there, scripts/interop lets
/// OpenSSL 4 do it.
#[test]
fn openssl_verifies_chains_and_lists() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    for scheme in SCHEMES {
        let pki = Pki::new(scheme);
        write_pki(folder, &pki);
        let lists = [crl(&pki.root, &[], NOW), crl(&pki.middle, &[&[3; 16]], NOW)];
        let lists: String = lists.iter().map(|l| crl_to_pem(l).unwrap()).collect();
        write(folder, "lists.pem", &lists);
        let text = accepts(folder, &["crl", "-noout", "-text", "-in", "lists.pem"]);
        assert!(text.contains("No Revoked Certificates") && text.contains("X509v3 CRL Number"), "{text}");
        if scheme == Scheme::Sm2Sm3 {
            continue;
        }
        let verify = |rest: &[&str]| verify(folder, scheme, "root.pem", rest);
        let (success, text) = verify(&["-untrusted", "all.pem", "-purpose", "sslserver", "tls.pem"]);
        assert!(success, "{text}");
        let (success, text) = verify(&["-crl_check", "-CRLfile", "lists.pem", "middle.pem"]);
        assert!(success, "{text}");
        let node = ["-crl_check_all", "-CRLfile", "lists.pem", "-untrusted", "middles.pem", "node.pem"];
        let (success, text) = verify(&node);
        assert!(!success && text.contains("certificate revoked"), "{text}");
    }
}

#[test]
fn openssl_prints_the_extensions() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    for scheme in SCHEMES {
        write_pki(folder, &Pki::new(scheme));
        let print = |name: &str| accepts(folder, &["x509", "-noout", "-text", "-in", name]);
        let node = print("node.pem");
        for expected in [
            "CA:TRUE, pathlen:0",
            "Digital Signature, Certificate Sign, CRL Sign",
            "DNS:node-a.bank.example",
            "Excluded:",
            "node-a",
        ] {
            assert!(node.contains(expected), "{expected}: {node}");
        }
        let tls = print("tls.pem");
        let algorithm = match scheme {
            Scheme::Sm2Sm3 => "SM2-with-SM3",
            Scheme::EcdsaP256Sha256 => "ecdsa-with-SHA256",
        };
        let curve = match scheme {
            Scheme::Sm2Sm3 => "ASN1 OID: SM2",
            Scheme::EcdsaP256Sha256 => "ASN1 OID: prime256v1",
        };
        for expected in
            [algorithm, curve, "CA:FALSE", "TLS Web Server Authentication, TLS Web Client Authentication"]
        {
            assert!(tls.contains(expected), "{expected}: {tls}");
        }
        // key and certificate belong together
        let public = accepts(folder, &["pkey", "-in", "tls.key", "-pubout"]);
        assert_eq!(public, accepts(folder, &["x509", "-in", "tls.pem", "-noout", "-pubkey"]));
    }
}

/// Keys and certificates that OpenSSL makes, read and verified by us.
#[test]
fn we_read_what_openssl_makes() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    for (scheme, curve) in [(Scheme::Sm2Sm3, "SM2"), (Scheme::EcdsaP256Sha256, "P-256")] {
        let (digest, id): (&str, &[&str]) = match scheme {
            Scheme::Sm2Sm3 => ("-sm3", &["-sigopt", "distid:1234567812345678"]),
            Scheme::EcdsaP256Sha256 => ("-sha256", &[]),
        };
        let genkey = |name: &str| {
            let group = format!("group:{curve}");
            accepts(folder, &["genpkey", "-algorithm", "EC", "-pkeyopt", &group, "-out", name]);
        };
        genkey("ca.key");
        let ca =
            ["req", "-x509", "-new", "-key", "ca.key", digest, "-subj", "/O=测试/CN=openssl ca", "-utf8"];
        let more = ["-days", "30", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", "ca.pem"];
        accepts(folder, &[&ca[..], id, &more].concat());
        genkey("leaf.key");
        let request = ["req", "-new", "-key", "leaf.key", digest, "-subj", "/CN=leaf", "-out", "leaf.csr"];
        accepts(folder, &[&request[..], id].concat());
        write(
            folder,
            "leaf.ext",
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:a.example\n\
             basicConstraints=critical,CA:FALSE\n",
        );
        let sign = ["x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", digest];
        let vfy: &[&str] = match scheme {
            Scheme::Sm2Sm3 => &["-vfyopt", "distid:1234567812345678"],
            Scheme::EcdsaP256Sha256 => &[],
        };
        let more = ["-days", "20", "-extfile", "leaf.ext", "-out", "leaf.pem"];
        accepts(folder, &[&sign[..], id, vfy, &more].concat());
        let read = |name: &str| certs_from_pem(&std::fs::read(folder.join(name)).unwrap()).unwrap().remove(0);
        let (ca, leaf) = (read("ca.pem"), read("leaf.pem"));
        let at = UnixMillis(parse_cert(&leaf).unwrap().not_before.0 + 1000);
        let verified = verify_chain(&[&leaf], &[&ca], at, Expect::TlsServer).unwrap();
        assert_eq!(verified.public_key.scheme, scheme);
        assert_eq!(verified.dns, ["a.example"]);
        assert_eq!(parse_cert(&ca).unwrap().subject.organization.as_deref(), Some("测试"));
        let key = std::fs::read_to_string(folder.join("leaf.key")).unwrap();
        assert_eq!(*key_from_pem(&key).unwrap().public_key(), verified.public_key);
    }
}

#[test]
fn openssl_takes_our_requests_and_we_take_its() {
    let Some(dir) = folder() else { return };
    let folder = dir.path();
    for (scheme, curve, more) in
        [(Scheme::Sm2Sm3, "SM2", &["-sm3"][..]), (Scheme::EcdsaP256Sha256, "P-256", &["-sha256"])]
    {
        let key = crate::KeyPair::from_secret(scheme, [9; 32]).unwrap();
        let subject = Subject { common_name: Some("bank-suzhou-1".to_owned()), ..Subject::default() };
        let sign = |d: &[u8; 32]| key.sign_digest(d).map_err(|e| e.to_string());
        let der = build_request(&subject, key.public_key(), &sign).unwrap();
        write(folder, "ours.csr", request_to_pem(&der).unwrap());
        let verify = ["req", "-in", "ours.csr", "-noout", "-verify", "-subject"];
        let id = ["-vfyopt", "distid:1234567812345678"];
        let said = accepts(folder, &[&verify[..], if curve == "SM2" { &id } else { &[] }].concat());
        assert!(said.contains("bank-suzhou-1"), "{said}");

        let made = ["genpkey", "-algorithm", "EC", "-out", "k", "-pkeyopt"];
        accepts(folder, &[&made[..], &[&format!("ec_paramgen_curve:{curve}")]].concat());
        let ask = ["req", "-new", "-key", "k", "-subj", "/CN=theirs", "-out", "theirs.csr"];
        let id = ["-sigopt", "distid:1234567812345678"];
        accepts(folder, &[&ask[..], more, if curve == "SM2" { &id } else { &[] }].concat());
        let text = std::fs::read_to_string(folder.join("theirs.csr")).unwrap();
        let (subject, key) = parse_request(&request_from_pem(&text).unwrap()).unwrap();
        assert_eq!((subject.common_name.as_deref(), key.scheme), (Some("theirs"), scheme));
    }
}
