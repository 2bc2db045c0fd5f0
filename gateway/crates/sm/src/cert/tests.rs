//! Chains that hold and chains that must not, on both curves.

use super::*;
use crate::testpki::{DAY, Entity, HOST, NOW, Pki, crl, ip, issue, key, named, spec};
use gw_proto::Scheme;
use rustls_pki_types::ServerName;

const SCHEMES: [Scheme; 2] = [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256];

fn refused(result: Result<VerifiedCert, CertError>) -> CertError {
    result.unwrap_err()
}

fn wrong_usage(result: Result<VerifiedCert, CertError>) {
    let error = refused(result);
    assert!(matches!(error, CertError::WrongUsage(_)), "{error:?}");
}

#[test]
fn what_is_built_verifies_for_its_use_and_no_other() {
    for scheme in SCHEMES {
        let pki = Pki::new(scheme);
        let roots: &[&[u8]] = &[&pki.root.der];
        let node: &[&[u8]] = &[&pki.node.der, &pki.middle.der];
        let chains: [(&[&[u8]], &[Expect]); 4] = [
            (&pki.tls_chain(), &[Expect::TlsServer, Expect::TlsClient]),
            (node, &[Expect::NodeKey]),
            (&[&pki.evidence.der], &[Expect::EvidenceSigner]),
            (&[&pki.operator.der], &[Expect::TlsClient]),
        ];
        for (chain, fits) in chains {
            for expect in [Expect::NodeKey, Expect::EvidenceSigner, Expect::TlsClient, Expect::TlsServer] {
                let result = verify_chain(chain, roots, NOW, expect);
                if fits.contains(&expect) {
                    let cert = result.unwrap();
                    assert_eq!(*cert, parse_cert(chain[0]).unwrap());
                } else {
                    wrong_usage(result);
                }
            }
        }
        let cert = verify_chain(node, roots, NOW, Expect::NodeKey).unwrap();
        assert_eq!(cert.public_key, *pki.node.key.public_key());
        assert_eq!(cert.subject, named("node-a"));
        assert!(cert.is_ca);
        assert_eq!(cert.serial, vec![3; 16]);
        // the root may come along, the end entity's issuers in any order
        let long: &[&[u8]] = &[&pki.tls.der, &pki.middle.der, &pki.node.der, &pki.root.der];
        verify_chain(long, roots, NOW, Expect::TlsServer).unwrap();
        verify_chain(&[node[0], node[1], &pki.root.der], roots, NOW, Expect::NodeKey).unwrap();
    }
}

#[test]
fn unknown_issuer_time_signature_and_size() {
    for scheme in SCHEMES {
        let pki = Pki::new(scheme);
        let other = issue(&spec(CertKind::Root, "other", &key(scheme, 9), 9), key(scheme, 9), None);
        // same name as the true root, another key
        let squatter = issue(&spec(CertKind::Root, "root", &key(scheme, 8), 8), key(scheme, 8), None);
        let cases: [(Vec<&[u8]>, Expect, UnixMillis); 3] = [
            (pki.tls_chain().to_vec(), Expect::TlsServer, UnixMillis(DAY)),
            (vec![&pki.node.der, &pki.middle.der], Expect::NodeKey, UnixMillis(300 * DAY)),
            (vec![&pki.evidence.der], Expect::EvidenceSigner, UnixMillis(300 * DAY)),
        ];
        for (chain, expect, life) in cases {
            let verify = |root: &Entity, at| refused(verify_chain(&chain, &[&root.der], at, expect));
            assert_eq!(verify(&other, NOW), CertError::UnknownIssuer);
            assert_eq!(verify(&squatter, NOW), CertError::BadSignature);
            let late = UnixMillis(NOW.0 + life.0 + 1000);
            assert!(matches!(verify(&pki.root, late), CertError::Expired { .. }), "{expect:?}");
            let early = UnixMillis(NOW.0 - life.0 - 1000);
            assert!(matches!(verify(&pki.root, early), CertError::NotYetValid { .. }), "{expect:?}");
            if chain.len() > 1 {
                let gap = verify_chain(&chain[..1], &[&pki.root.der], NOW, expect);
                assert_eq!(refused(gap), CertError::UnknownIssuer);
            }
            // each byte of the signature counts
            let mut bent = chain[0].to_vec();
            *bent.last_mut().unwrap() ^= 1;
            let mut with_bent = chain.clone();
            with_bent[0] = &bent;
            let error = refused(verify_chain(&with_bent, &[&pki.root.der], NOW, expect));
            assert_eq!(error, CertError::BadSignature);
            let five = vec![chain[0]; 5];
            let error = refused(verify_chain(&five, &[&pki.root.der], NOW, expect));
            assert_eq!(error, CertError::TooMany { what: "certificates in a chain", found: 5, limit: 4 });
        }
        assert_eq!(refused(verify_chain(&[], &[&pki.root.der], NOW, Expect::NodeKey)), CertError::Empty);
        let error = refused(verify_chain(&[&[0; MAX_CERT + 1]], &[&pki.root.der], NOW, Expect::NodeKey));
        assert!(matches!(error, CertError::TooLarge { .. }));
        assert_eq!(Anchors::new(&[]).unwrap_err(), CertError::Empty);
        assert!(matches!(Anchors::new(&[&pki.tls.der]).unwrap_err(), CertError::WrongUsage(_)));
        // an expired root is no root
        let old = CertSpec {
            not_after: UnixMillis(NOW.0 - DAY),
            ..spec(CertKind::Root, "root", &key(scheme, 1), 1)
        };
        let old = issue(&old, key(scheme, 1), None);
        let chain: &[&[u8]] = &[&pki.evidence.der];
        let error = refused(verify_chain(chain, &[&old.der], NOW, Expect::EvidenceSigner));
        assert!(matches!(error, CertError::Expired { .. }), "{error:?}");
    }
}

#[test]
fn curves_are_kept_apart_when_asked() {
    let sm = Pki::new(Scheme::Sm2Sm3);
    let p256 = Pki::new(Scheme::EcdsaP256Sha256);
    let anchors = Anchors::new(&[&sm.root.der, &p256.root.der]).unwrap();
    for (pki, own, other) in
        [(&sm, Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256), (&p256, Scheme::EcdsaP256Sha256, Scheme::Sm2Sm3)]
    {
        for (chain, expect) in [
            (&pki.tls_chain()[..], Expect::TlsServer),
            (&[&pki.node.der[..], &pki.middle.der][..], Expect::NodeKey),
        ] {
            let rules = Rules {
                anchors: &anchors,
                crls: &[],
                at: NOW,
                expect,
                curve: Some(own),
                name: None,
                cache: None,
            };
            rules.verify(chain).unwrap();
            let rules = Rules { curve: Some(other), ..rules };
            assert_eq!(refused(rules.verify(chain)), CertError::WrongCurve);
        }
    }
    // an SM2 leaf under a P-256 root: fine without a curve rule, refused with either
    let mixed = issue(
        &spec(CertKind::EvidenceSigner, "firm", &key(Scheme::Sm2Sm3, 5), 5),
        key(Scheme::Sm2Sm3, 5),
        Some(&p256.root),
    );
    let rules = Rules {
        anchors: &anchors,
        crls: &[],
        at: NOW,
        expect: Expect::EvidenceSigner,
        curve: None,
        name: None,
        cache: None,
    };
    rules.verify(&[&mixed.der]).unwrap();
    for curve in SCHEMES {
        let rules = Rules { curve: Some(curve), ..rules };
        assert_eq!(refused(rules.verify(&[&mixed.der])), CertError::WrongCurve);
    }
}

#[test]
fn names_and_name_constraints() {
    let scheme = Scheme::Sm2Sm3;
    let pki = Pki::new(scheme);
    let anchors = Anchors::new(&[&pki.root.der]).unwrap();
    let verify = |leaf: &Entity, name: &str| {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let rules = Rules {
            anchors: &anchors,
            crls: &[],
            at: NOW,
            expect: Expect::TlsServer,
            curve: Some(scheme),
            name: Some(&name),
            cache: None,
        };
        rules.verify(&[&leaf.der, &pki.node.der, &pki.middle.der])
    };
    verify(&pki.tls, HOST).unwrap();
    assert_eq!(refused(verify(&pki.tls, "node-b.bank.example")), CertError::NameMismatch);
    assert_eq!(refused(verify(&pki.tls, "127.0.0.1")), CertError::NameMismatch);
    let leaf = |dns: &[&str], ips: &[&str]| {
        let spec = CertSpec {
            dns: dns.iter().map(|d| (*d).to_owned()).collect(),
            ips: ips.iter().map(|i| ip(i)).collect(),
            ..spec(CertKind::TlsServerClient, "leaf", &key(scheme, 4), 4)
        };
        issue(&spec, key(scheme, 4), Some(&pki.node))
    };
    // a node's CA cannot speak for another host or any address
    assert_eq!(refused(verify(&leaf(&[HOST, "node-b.bank.example"], &[]), HOST)), CertError::NameMismatch);
    assert_eq!(refused(verify(&leaf(&[HOST], &["10.0.0.1"]), HOST)), CertError::NameMismatch);
    assert_eq!(refused(verify(&leaf(&[HOST], &["::1"]), HOST)), CertError::NameMismatch);
    verify(&leaf(&["api.node-a.bank.example"], &[]), "api.node-a.bank.example").unwrap();
    // unless its certificate lists the address
    let node = CertSpec {
        ips: vec![ip("10.0.0.1")],
        ..spec(CertKind::NodeCa { dns: HOST.into() }, "node-a", &key(scheme, 3), 3)
    };
    let node = issue(&node, key(scheme, 3), Some(&pki.root));
    for (address, fits) in [("10.0.0.1", true), ("10.0.0.2", false), ("::1", false)] {
        let leaf = CertSpec {
            ips: vec![ip(address)],
            ..spec(CertKind::TlsServerClient, "leaf", &key(scheme, 4), 4)
        };
        let leaf = issue(&leaf, key(scheme, 4), Some(&node));
        let result = verify_chain(&[&leaf.der, &node.der], &[&pki.root.der], NOW, Expect::TlsServer);
        assert_eq!(result.is_ok(), fits, "{address}: {result:?}");
    }
}

#[test]
fn path_lengths() {
    let scheme = Scheme::Sm2Sm3;
    let pki = Pki::new(scheme);
    // a node key cannot make another CA
    let below = spec(CertKind::NodeCa { dns: HOST.into() }, "below", &key(scheme, 7), 7);
    let below = issue(&below, key(scheme, 7), Some(&pki.node));
    let chain: &[&[u8]] = &[&below.der, &pki.node.der, &pki.middle.der];
    wrong_usage(verify_chain(chain, &[&pki.root.der], NOW, Expect::NodeKey));
    let leaf = spec(CertKind::TlsServerClient, "leaf", &key(scheme, 4), 4);
    let leaf = issue(&leaf, key(scheme, 4), Some(&below));
    let chain: &[&[u8]] = &[&leaf.der, &below.der, &pki.node.der, &pki.middle.der];
    wrong_usage(verify_chain(chain, &[&pki.root.der], NOW, Expect::TlsServer));
    // an end entity cannot issue
    let sign = |d: &[u8; 32]| pki.tls.key.sign_digest(d).map_err(|e| e.to_string());
    let issuer = Issuer { certificate: Some(&pki.tls.der), key: pki.tls.key.public_key(), sign: &sign };
    let spec = spec(CertKind::TlsServerClient, "leaf", &key(scheme, 4), 4);
    assert_eq!(build_cert(&spec, &issuer), Err(CertError::WrongIssuer));
}

#[test]
fn revocation_is_fail_closed() {
    for scheme in SCHEMES {
        let pki = Pki::new(scheme);
        let anchors = Anchors::new(&[&pki.root.der]).unwrap();
        let cache = SignatureCache::new(64);
        let verify = |chain: &[&[u8]], expect, lists: &[&[u8]], at| {
            let crls: Vec<Crl> = lists.iter().map(|l| Crl::from_der(l).unwrap()).collect();
            let rules = Rules {
                anchors: &anchors,
                crls: &crls,
                at,
                expect,
                curve: None,
                name: None,
                cache: Some(&cache),
            };
            rules.verify(chain)
        };
        let root_list = crl(&pki.root, &[], NOW);
        let middle_list = crl(&pki.middle, &[&[77; 16]], NOW);
        let soon = UnixMillis(NOW.0 + 1000);
        let node: &[&[u8]] = &[&pki.node.der, &pki.middle.der];
        let tls: &[&[u8]] = &pki.tls_chain();
        for (chain, expect) in [(node, Expect::NodeKey), (tls, Expect::TlsClient)] {
            verify(chain, expect, &[&root_list, &middle_list], soon).unwrap();
            // any certificate of the chain without a list
            for lists in [&[&root_list[..]], &[&middle_list[..]]] {
                let error = refused(verify(chain, expect, lists, soon));
                assert_eq!(error, CertError::UnknownRevocation);
            }
            // the node's or the intermediate's certificate is revoked
            let node_gone = crl(&pki.middle, &[&[3; 16]], NOW);
            let middle_gone = crl(&pki.root, &[&[2; 16]], NOW);
            let error = refused(verify(chain, expect, &[&root_list, &node_gone], soon));
            assert_eq!(error, CertError::Revoked);
            let error = refused(verify(chain, expect, &[&middle_gone, &middle_list], soon));
            assert_eq!(error, CertError::Revoked);
            // out of date: the past's list, the future's list; revoked stays revoked
            let old = crl(&pki.middle, &[], UnixMillis(NOW.0 - 2 * DAY));
            let error = refused(verify(chain, expect, &[&root_list, &old], soon));
            assert!(matches!(error, CertError::CrlOutOfDate { .. }), "{error:?}");
            let coming = crl(&pki.middle, &[], UnixMillis(NOW.0 + DAY));
            let error = refused(verify(chain, expect, &[&root_list, &coming], soon));
            assert!(matches!(error, CertError::CrlOutOfDate { .. }), "{error:?}");
            let old_gone = crl(&pki.middle, &[&[3; 16]], UnixMillis(NOW.0 - 2 * DAY));
            let lists: &[&[u8]] = &[&root_list, &middle_list, &old_gone];
            assert_eq!(refused(verify(chain, expect, lists, soon)), CertError::Revoked);
            // a list in the issuer's name by another key says nothing
            let fake = key(scheme, 8);
            let fake = issue(&spec(CertKind::Intermediate, "middle", &fake, 8), fake, Some(&pki.root));
            let fake = crl(&fake, &[&[3; 16]], NOW);
            let error = refused(verify(chain, expect, &[&root_list, &fake], soon));
            assert_eq!(error, CertError::UnknownRevocation);
            verify(chain, expect, &[&root_list, &fake, &middle_list], soon).unwrap();
        }
        // a leaf of a node CA that lives longer than a day needs a list of that node
        let long = CertSpec {
            not_after: UnixMillis(NOW.0 + 20 * DAY),
            ..spec(CertKind::TlsServerClient, "long", &key(scheme, 4), 4)
        };
        let long = issue(&long, key(scheme, 4), Some(&pki.node));
        let chain: &[&[u8]] = &[&long.der, &pki.node.der, &pki.middle.der];
        let lists: &[&[u8]] = &[&root_list, &middle_list];
        let error = refused(verify(chain, Expect::TlsServer, lists, soon));
        assert_eq!(error, CertError::UnknownRevocation);
        let node_list = crl(&pki.node, &[], NOW);
        let lists: &[&[u8]] = &[&root_list, &middle_list, &node_list];
        verify(chain, Expect::TlsServer, lists, soon).unwrap();
        // a node's list also counts against a short-lived leaf
        let node_list = crl(&pki.node, &[&[4; 16]], NOW);
        let lists: &[&[u8]] = &[&root_list, &middle_list, &node_list];
        assert_eq!(refused(verify(tls, Expect::TlsServer, lists, soon)), CertError::Revoked);
        assert!(cache.len() <= 64 && !cache.is_empty());
    }
}

#[test]
fn building_refuses_nonsense() {
    let scheme = Scheme::Sm2Sm3;
    let pki = Pki::new(scheme);
    let k = key(scheme, 4);
    let sign = |d: &[u8; 32]| pki.root.key.sign_digest(d).map_err(|e| e.to_string());
    let issuer = Issuer { certificate: Some(&pki.root.der), key: pki.root.key.public_key(), sign: &sign };
    let good = spec(CertKind::TlsServerClient, "leaf", &k, 4);
    build_cert(&good, &issuer).unwrap();
    let bad: [(&str, CertSpec); 6] = [
        ("zero serial", CertSpec { serial: [0; 16], ..good.clone() }),
        ("validity", CertSpec { not_after: UnixMillis(good.not_before.0 - 1000), ..good.clone() }),
        ("wildcard", CertSpec { dns: vec!["*.bank.example".into()], ..good.clone() }),
        ("host", CertSpec { dns: vec!["信关".into()], ..good.clone() }),
        ("no name at all", CertSpec { dns: vec![], subject: Subject::default(), ..good.clone() }),
        (
            "serial number",
            CertSpec {
                subject: Subject { serial_number: Some("名".into()), ..Subject::default() },
                ..good.clone()
            },
        ),
    ];
    for (what, spec) in bad {
        assert!(matches!(build_cert(&spec, &issuer), Err(CertError::Build(_))), "{what}");
    }
    // a signer with another key, one that fails
    let wrong = |d: &[u8; 32]| k.sign_digest(d).map_err(|e| e.to_string());
    assert_eq!(build_cert(&good, &Issuer { sign: &wrong, ..issuer }), Err(CertError::WrongIssuer));
    let busy = |_: &[u8; 32]| Err("chip busy".to_owned());
    assert_eq!(
        build_cert(&good, &Issuer { sign: &busy, ..issuer }),
        Err(CertError::Signer("chip busy".into()))
    );
    // a company code does not reach a log
    let subject = Subject { serial_number: Some("91320000MA1A2B3C4D".into()), ..Subject::default() };
    assert!(!format!("{subject:?}").contains("9132"));
    let with_code = CertSpec { subject: subject.clone(), ..good };
    assert_eq!(parse_cert(&build_cert(&with_code, &issuer).unwrap()).unwrap().subject, subject);
}

#[test]
fn pem_round_trips() {
    for scheme in SCHEMES {
        let pki = Pki::new(scheme);
        let text = key_to_pem(&pki.tls.key).unwrap();
        let back = key_from_pem(&text).unwrap();
        assert_eq!(back.public_key(), pki.tls.key.public_key());
        assert_eq!(**back.secret(), **pki.tls.key.secret());
        let chain = pki.tls_chain();
        let text = certs_to_pem(chain).unwrap();
        assert_eq!(certs_from_pem(text.as_bytes()).unwrap(), chain);
        let list = crl(&pki.root, &[], NOW);
        assert_eq!(crls_from_pem(crl_to_pem(&list).unwrap().as_bytes()).unwrap(), [list]);
    }
    assert_eq!(certs_from_pem(b"nothing here"), Err(CertError::Empty));
    for bad in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert!(key_from_pem(bad).is_err());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Parsers are total, and no flipped bit of a certificate goes unseen.
    #[test]
    fn parsers_are_total(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
        drop(parse_cert(&bytes));
        drop(Crl::from_der(&bytes));
        drop(certs_from_pem(&bytes));
        drop(key_from_pem(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn any_changed_byte_is_noticed(place in 0usize..400, mask in 1u8..=255) {
        let pki = Pki::new(Scheme::Sm2Sm3);
        let mut der = pki.evidence.der.clone();
        let place = place % der.len();
        der[place] ^= mask;
        proptest::prop_assert!(
            verify_chain(&[&der], &[&pki.root.der], NOW, Expect::EvidenceSigner).is_err(),
            "byte {place}"
        );
    }
}
