//! Who is not let in, and why.

use super::*;
use crate::{
    cert::{CertKind, CertSpec},
    sig,
    testpki::{ip, issue, key, spec},
};
use rustls::{
    AlertDescription, CertificateError, Error, SignatureAlgorithm, SignatureScheme,
    sign::{Signer, SigningKey},
};

/// What the server found wrong with the client.
fn by_server(server: &ServerConfig, client: &ClientConfig) -> Error {
    let mut pair = Pair::new(&Arc::new(server.clone()), &Arc::new(client.clone()), HOST);
    let (server, client) = *pair.settle().unwrap_err();
    assert!(matches!(client, None | Some(Error::AlertReceived(_))), "{client:?}");
    server.unwrap()
}

/// What the client found wrong with the server.
fn by_client(server: &ServerConfig, client: &ClientConfig, name: &str) -> Error {
    let mut pair = Pair::new(&Arc::new(server.clone()), &Arc::new(client.clone()), name);
    let (server, client) = *pair.settle().unwrap_err();
    assert!(matches!(server, Some(Error::AlertReceived(_))), "{server:?}");
    client.unwrap()
}

fn cert(error: CertificateError) -> Error {
    Error::InvalidCertificate(error)
}

fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => other.0.to_string(),
        other => format!("{other:?}"),
    }
}

/// A server and a client with given identities, both believing `roots` and `lists`.
fn with(
    profile: Profile,
    server: &TlsIdentity,
    client: &TlsIdentity,
    trust: &Trust,
) -> (ServerConfig, ClientConfig) {
    let mut server = server_config(profile, server, trust, ALPN).unwrap();
    let mut client = client_config(profile, client, trust, ALPN).unwrap();
    server.time_provider = at(NOW);
    client.time_provider = at(NOW);
    (server, client)
}

#[test]
fn a_client_without_certificate() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let (server, _) = configs(profile, &pki);
        let provider = provider(profile);
        let verifier = verifier(profile, &trust(&pki, &[]), Expect::TlsServer, &provider).unwrap();
        let client = ClientConfig::builder_with_details(provider, at(NOW))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        assert_eq!(by_server(&server, &client), Error::NoCertificatesPresented);
    }
}

#[test]
fn an_unknown_ca() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let k = |seed| key(profile.scheme(), seed);
        let root = issue(&spec(CertKind::Root, "other root", &k(41), 41), k(41), None);
        let leaf = issue(&spec(CertKind::TlsServerClient, "stranger", &k(42), 42), k(42), Some(&root));
        let stranger = identity(&leaf, &[]);
        let trust = trust(&pki, &[]);
        let own = node_identity(&pki);
        let (server, client) = with(profile, &own, &stranger, &trust);
        assert_eq!(by_server(&server, &client), cert(CertificateError::UnknownIssuer));
        let (server, client) = with(profile, &stranger, &own, &trust);
        assert_eq!(by_client(&server, &client, HOST), cert(CertificateError::UnknownIssuer));
    }
}

#[test]
fn revoked_unlisted_or_under_an_old_list() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let own = node_identity(&pki);
        let [root_list, middle_list] = good_lists(&pki);
        let revoked = crl(&pki.middle, &[&[3; 16]], UnixMillis(NOW.0 - 1000));
        let old = crl(&pki.middle, &[], UnixMillis(NOW.0 - 2 * DAY));
        let cases = [
            (vec![root_list.clone(), revoked], CertificateError::Revoked),
            (vec![root_list.clone()], CertificateError::UnknownRevocationStatus),
            (vec![middle_list], CertificateError::UnknownRevocationStatus),
            (vec![root_list, old], CertificateError::ExpiredRevocationList),
        ];
        for (lists, expected) in cases {
            let strict = trust(&pki, &lists);
            let (server, client) = configs(profile, &pki);
            let (strict_server, strict_client) = with(profile, &own, &own, &strict);
            assert_eq!(by_server(&strict_server, &client), cert(expected.clone()));
            assert_eq!(by_client(&server, &strict_client, HOST), cert(expected));
        }
    }
}

#[test]
fn expired_or_not_yet_valid() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let own = node_identity(&pki);
        for (from, to, expected) in [
            (NOW.0 - DAY, NOW.0 - 1000, CertificateError::Expired),
            (NOW.0 + 1000, NOW.0 + DAY, CertificateError::NotValidYet),
        ] {
            let k = key(profile.scheme(), 43);
            let spec = CertSpec {
                not_before: UnixMillis(from),
                not_after: UnixMillis(to),
                ..spec(CertKind::TlsServerClient, "late", &k, 43)
            };
            let leaf = issue(&spec, k, Some(&pki.node));
            let late = identity(&leaf, &[&pki.node, &pki.middle]);
            let trust = trust(&pki, &[]);
            let (server, client) = with(profile, &own, &late, &trust);
            assert_eq!(by_server(&server, &client), cert(expected.clone()));
            let (server, client) = with(profile, &late, &own, &trust);
            assert_eq!(by_client(&server, &client, HOST), cert(expected));
        }
    }
}

#[test]
fn made_for_another_use() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let own = node_identity(&pki);
        let trust = trust(&pki, &[]);
        // an operator's client certificate on a server, a document signer's on a client
        let operator = identity(&pki.operator, &[]);
        let (server, client) = with(profile, &operator, &own, &trust);
        let error = by_client(&server, &client, HOST);
        assert!(reason(&error).contains("extended key usage"), "{error:?}");
        let signer = identity(&pki.evidence, &[]);
        let (server, client) = with(profile, &own, &signer, &trust);
        let error = by_server(&server, &client);
        assert!(reason(&error).contains("extended key usage"), "{error:?}");
        // a node key itself: a CA certificate; our own side refuses to show it
        let ca = identity(&pki.node, &[&pki.middle]);
        assert!(matches!(
            client_config(profile, &ca, &trust, ALPN),
            Err(TlsError::Identity(CertError::WrongUsage(_)))
        ));
        // a client with the operator's certificate is welcome
        let (server, client) = with(profile, &own, &operator, &trust);
        Pair::new(&Arc::new(server), &Arc::new(client), HOST).settle().unwrap();
    }
}

#[test]
fn another_name() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let (server, client) = configs(profile, &pki);
        for name in ["node-b.bank.example", "127.0.0.1"] {
            assert_eq!(by_client(&server, &client, name), cert(CertificateError::NotValidForName));
        }
        // a node's leaf for an address or host that its node key may not certify
        let k = key(profile.scheme(), 44);
        let spec =
            CertSpec { ips: vec![ip("127.0.0.1")], ..spec(CertKind::TlsServerClient, "node-a tls", &k, 44) };
        let leaf = issue(&spec, k, Some(&pki.node));
        let beyond = identity(&leaf, &[&pki.node, &pki.middle]);
        let (server, client) = with(profile, &beyond, &node_identity(&pki), &trust(&pki, &[]));
        assert_eq!(by_client(&server, &client, "127.0.0.1"), cert(CertificateError::NotValidForName));
    }
}

/// A client that shows the other curve's certificate inside this profile.
#[test]
fn another_curve() {
    for (profile, other) in [(Profile::Sm, Scheme::EcdsaP256Sha256), (Profile::International, Scheme::Sm2Sm3)]
    {
        let pki = Pki::new(profile.scheme());
        let foreign = Pki::new(other);
        let foreign_own = node_identity(&foreign);
        // neither as our own certificate nor as a root
        assert!(matches!(
            server_config(profile, &foreign_own, &trust(&pki, &[]), ALPN),
            Err(TlsError::Identity(CertError::WrongCurve))
        ));
        assert!(matches!(
            client_config(profile, &node_identity(&pki), &trust(&foreign, &[]), ALPN),
            Err(TlsError::Root(CertError::WrongCurve))
        ));
        // over the wire: foreign chain, a key that signs in this profile's scheme
        let (server, mut client) = configs(profile, &pki);
        let own_key = certified_key(profile, &node_identity(&pki)).unwrap().key;
        let key = CertifiedKey::new(foreign_own.chain, own_key);
        client.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
        let error = by_server(&server, &client);
        assert_eq!(reason(&error), CertError::WrongCurve.to_string());
    }
}

#[test]
fn the_other_profile() {
    let sm = Pki::new(Scheme::Sm2Sm3);
    let international = Pki::new(Scheme::EcdsaP256Sha256);
    let (sm_server, sm_client) = configs(Profile::Sm, &sm);
    let (server, client) = configs(Profile::International, &international);
    for (server, client) in [(&sm_server, &client), (&server, &sm_client)] {
        let error = by_server(server, client);
        assert!(matches!(error, Error::PeerIncompatible(_)), "{error:?}");
    }
}

/// RFC 8998 §3.2.1: a handshake signature under the certificates' identifier is no handshake signature.
#[test]
fn a_signature_under_the_wrong_identifier() {
    #[derive(Debug, Clone)]
    struct WrongId(Arc<KeyPair>);
    impl SigningKey for WrongId {
        fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
            Some(Box::new(self.clone()))
        }
        fn algorithm(&self) -> SignatureAlgorithm {
            SignatureAlgorithm::Unknown(8)
        }
    }
    impl Signer for WrongId {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
            let digest = sig::message_digest(self.0.public_key(), message).unwrap();
            Ok(crate::cert::signature_to_der(&self.0.sign_digest(&digest).unwrap()).unwrap())
        }
        fn scheme(&self) -> SignatureScheme {
            SM2SIG_SM3
        }
    }
    let pki = Pki::new(Scheme::Sm2Sm3);
    let (server, mut client) = configs(Profile::Sm, &pki);
    let own = node_identity(&pki);
    let key = CertifiedKey::new(own.chain, Arc::new(WrongId(own.key)));
    client.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
    assert_eq!(by_server(&server, &client), cert(CertificateError::BadSignature));
}

/// One flipped bit on the wire ends the connection.
#[test]
fn a_changed_record() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let (server, client) = configs(profile, &pki);
        let mut pair = Pair::new(&Arc::new(server), &Arc::new(client), HOST);
        pair.settle().unwrap();
        pair.client.writer().write_all(b"a report").unwrap();
        let mut wire = Vec::new();
        pair.client.write_tls(&mut wire).unwrap();
        let middle = wire.len() / 2;
        wire[middle] ^= 1;
        pair.server.read_tls(&mut &wire[..]).unwrap();
        assert_eq!(pair.server.process_new_packets().unwrap_err(), Error::DecryptError);
        let mut alert = Vec::new();
        pair.server.write_tls(&mut alert).unwrap();
        pair.client.read_tls(&mut &alert[..]).unwrap();
        let told = pair.client.process_new_packets().unwrap_err();
        assert_eq!(told, Error::AlertReceived(AlertDescription::BadRecordMac));
    }
}

#[test]
fn nonsense_in_the_configuration() {
    let profile = Profile::Sm;
    let pki = Pki::new(profile.scheme());
    let good = node_identity(&pki);
    let refused = |own: &TlsIdentity, trust: &Trust| server_config(profile, own, trust, ALPN).unwrap_err();
    let mixed = TlsIdentity { key: copy(&pki.operator.key), ..good.clone() };
    assert!(matches!(refused(&mixed, &trust(&pki, &[])), TlsError::KeyMismatch));
    let empty = TlsIdentity { chain: vec![], ..good.clone() };
    assert!(matches!(refused(&empty, &trust(&pki, &[])), TlsError::Identity(CertError::Empty)));
    let long = TlsIdentity { chain: vec![good.chain[0].clone(); 5], ..good.clone() };
    assert!(matches!(refused(&long, &trust(&pki, &[])), TlsError::Identity(CertError::TooMany { .. })));
    assert!(matches!(refused(&good, &Trust::default()), TlsError::Root(CertError::Empty)));
    assert!(matches!(refused(&good, &trust(&pki, &[vec![0x30, 0]])), TlsError::Crl(_)));
    assert!(format!("{good:?}").contains("KeyPair(hidden)"));
}
