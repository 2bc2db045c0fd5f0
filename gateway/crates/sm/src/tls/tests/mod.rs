//! Two ends in memory, shaken hands on both profiles.

mod refused;

use super::*;
use crate::testpki::{DAY, Entity, HOST, NOW, Pki, crl};
use gw_proto::{UnixMillis, clock::FakeClock};
use rustls::{
    ClientConnection, ConnectionCommon, HandshakeKind, ProtocolVersion, ServerConnection, SideData,
};
use rustls_pki_types::ServerName;
use std::{
    io::{Read as _, Write as _},
    ops::{Deref, DerefMut},
};

pub(super) const PROFILES: [Profile; 2] = [Profile::Sm, Profile::International];
pub(super) const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

pub(super) fn der(bytes: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from(bytes.to_vec())
}

pub(super) fn copy(key: &KeyPair) -> Arc<KeyPair> {
    Arc::new(KeyPair::from_secret(key.public_key().scheme, **key.secret()).unwrap())
}

pub(super) fn identity(leaf: &Entity, rest: &[&Entity]) -> TlsIdentity {
    let chain = std::iter::once(leaf).chain(rest.iter().copied()).map(|e| der(&e.der)).collect();
    TlsIdentity { chain, key: copy(&leaf.key) }
}

pub(super) fn node_identity(pki: &Pki) -> TlsIdentity {
    identity(&pki.tls, &[&pki.node, &pki.middle])
}

pub(super) fn trust(pki: &Pki, lists: &[Vec<u8>]) -> Trust {
    Trust {
        roots: vec![der(&pki.root.der)],
        crls: lists.iter().map(|l| CertificateRevocationListDer::from(l.clone())).collect(),
    }
}

pub(super) fn good_lists(pki: &Pki) -> [Vec<u8>; 2] {
    let from = UnixMillis(NOW.0 - 1000);
    [crl(&pki.root, &[], from), crl(&pki.middle, &[&[77; 16]], from)]
}

fn at(now: UnixMillis) -> Arc<dyn TimeProvider> {
    time_provider(Arc::new(FakeClock::at(now)))
}

/// Both sides as in production, standing still at [`NOW`].
pub(super) fn configs(profile: Profile, pki: &Pki) -> (ServerConfig, ClientConfig) {
    let (own, trust) = (node_identity(pki), trust(pki, &good_lists(pki)));
    let mut server = server_config(profile, &own, &trust, ALPN).unwrap();
    let mut client = client_config(profile, &own, &trust, ALPN).unwrap();
    server.time_provider = at(NOW);
    client.time_provider = at(NOW);
    (server, client)
}

/// What each side made of it: (server, client).
type Refusal = (Option<rustls::Error>, Option<rustls::Error>);

/// Two ends.
pub(super) struct Pair {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
}

/// Moves all waiting bytes once in each direction.
fn carry<A: SideData, B: SideData>(
    from: &mut impl DerefMut<Target = ConnectionCommon<A>>,
    to: &mut impl DerefMut<Target = ConnectionCommon<B>>,
) -> Result<bool, rustls::Error> {
    let mut wire = Vec::new();
    while from.deref().wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut rest = &wire[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(!wire.is_empty())
}

impl Pair {
    pub(super) fn new(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Self {
            client: ClientConnection::new(client.clone(), name).unwrap(),
            server: ServerConnection::new(server.clone()).unwrap(),
        }
    }
    /// Carries bytes to and fro until nothing moves.
    pub(super) fn settle(&mut self) -> Result<(), Box<Refusal>> {
        loop {
            let up = carry(&mut self.client, &mut self.server);
            // an alert still goes out
            let down = carry(&mut self.server, &mut self.client);
            match (up, down) {
                (Ok(false), Ok(false)) => return Ok(()),
                (Ok(_), Ok(_)) => {}
                (Ok(_), Err(client)) => {
                    let server = carry(&mut self.client, &mut self.server).err();
                    return Err(Box::new((server, Some(client))));
                }
                (Err(server), down) => return Err(Box::new((Some(server), down.err()))),
            }
        }
    }
    /// Sends `bytes` from the client, back from the server, and compares.
    pub(super) fn echo(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        for (place, chunk) in bytes.chunks(16 * 1024).enumerate() {
            let start = place * 16 * 1024;
            let part = &mut got[start..start + chunk.len()];
            self.client.writer().write_all(chunk).unwrap();
            self.settle().unwrap();
            self.server.reader().read_exact(part).unwrap();
            assert_eq!(part, chunk);
            self.server.writer().write_all(part).unwrap();
            self.settle().unwrap();
            part.fill(0);
            self.client.reader().read_exact(part).unwrap();
        }
        assert_eq!(got, bytes);
    }
    fn exporters(&self, label: &str, context: &[u8]) -> ([u8; 32], [u8; 32]) {
        let client = self.client.export_keying_material([0; 32], label.as_bytes(), Some(context)).unwrap();
        let server = self.server.export_keying_material([0; 32], label.as_bytes(), Some(context)).unwrap();
        (client, server)
    }
}

fn check_negotiated(profile: Profile, pair: &Pair, pki: &Pki) {
    assert_eq!(pair.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let suite = pair.server.negotiated_cipher_suite().unwrap().suite();
    let expected = match profile {
        Profile::Sm => TLS_SM4_GCM_SM3,
        Profile::International => rustls::CipherSuite::TLS13_AES_256_GCM_SHA384,
    };
    assert_eq!(suite, expected);
    assert_eq!(pair.client.negotiated_cipher_suite().unwrap().suite(), expected);
    assert_eq!(pair.server.alpn_protocol(), Some(&b"h2"[..]));
    let chain: Vec<_> = pki.tls_chain().map(der).to_vec();
    assert_eq!(pair.server.peer_certificates(), Some(&chain[..]));
    assert_eq!(pair.client.peer_certificates(), Some(&chain[..]));
}

#[test]
fn a_full_mutual_handshake_and_data() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let (server, client) = configs(profile, &pki);
        let mut pair = Pair::new(&Arc::new(server), &Arc::new(client), HOST);
        pair.settle().unwrap();
        assert_eq!(pair.server.handshake_kind(), Some(HandshakeKind::Full));
        check_negotiated(profile, &pair, &pki);
        let group = pair.client.negotiated_key_exchange_group().unwrap().name();
        let expected = match profile {
            Profile::Sm => CURVE_SM2,
            Profile::International => rustls::NamedGroup::X25519,
        };
        assert_eq!(group, expected);
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        pair.echo(&bytes);
        pair.echo(b"");
    }
}

#[test]
fn exporters_agree_and_bind_label_and_context() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let (server, client) = configs(profile, &pki);
        let (server, client) = (Arc::new(server), Arc::new(client));
        let mut pair = Pair::new(&server, &client, HOST);
        pair.settle().unwrap();
        let (a, b) = pair.exporters("EXPORTER-xinguan-1", b"report");
        assert_eq!(a, b);
        assert_ne!(a, pair.exporters("EXPORTER-xinguan-1", b"another").0);
        assert_ne!(a, pair.exporters("EXPORTER-xinguan-2", b"report").0);
        let mut second = Pair::new(&server, &client, HOST);
        second.settle().unwrap();
        assert_ne!(a, second.exporters("EXPORTER-xinguan-1", b"report").0);
    }
}

#[test]
fn key_update_in_both_directions() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let (server, client) = configs(profile, &pki);
        let mut pair = Pair::new(&Arc::new(server), &Arc::new(client), HOST);
        pair.settle().unwrap();
        for _ in 0..3 {
            pair.client.refresh_traffic_keys().unwrap();
            pair.echo(b"after the client's update");
            pair.server.refresh_traffic_keys().unwrap();
            pair.echo(b"after the server's update");
        }
    }
}

#[test]
fn sessions_resume_until_forgotten() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let (mut server, client) = configs(profile, &pki);
        let sessions = Arc::new(Sessions::new(16));
        server.session_storage = sessions.clone();
        let (server, client) = (Arc::new(server), Arc::new(client));
        let connect = || {
            let mut pair = Pair::new(&server, &client, HOST);
            pair.settle().unwrap();
            assert!(pair.client.early_data().is_none(), "no early data");
            // tickets arrive with the first data
            pair.echo(b"hello");
            check_negotiated(profile, &pair, &pki);
            assert_eq!(pair.client.handshake_kind(), pair.server.handshake_kind());
            pair.server.handshake_kind().unwrap()
        };
        assert_eq!(connect(), HandshakeKind::Full);
        for _ in 0..20 {
            assert_eq!(connect(), HandshakeKind::Resumed);
            assert!(!sessions.is_empty() && sessions.len() <= 16);
        }
        sessions.clear();
        assert_eq!(connect(), HandshakeKind::Full);
    }
}

/// A client that sends a share of a group which the server does not have, and offers the right one.
#[test]
fn hello_retry_request() {
    for profile in PROFILES {
        let pki = Pki::new(profile.scheme());
        let (server, _) = configs(profile, &pki);
        let own = provider(profile);
        let foreign = match profile {
            Profile::Sm => rustls::crypto::ring::kx_group::X25519,
            Profile::International => rustls::crypto::ring::kx_group::SECP384R1,
        };
        let mut kx_groups = vec![foreign];
        kx_groups.extend(&own.kx_groups);
        let odd = Arc::new(CryptoProvider { kx_groups, ..(*own).clone() });
        let trust = trust(&pki, &[]);
        let verifier = verifier(profile, &trust, Expect::TlsServer, &odd).unwrap();
        let key = certified_key(profile, &node_identity(&pki)).unwrap();
        let mut client = ClientConfig::builder_with_details(odd, at(NOW))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        client.alpn_protocols = vec![b"h2".to_vec()];
        let mut pair = Pair::new(&Arc::new(server), &Arc::new(client), HOST);
        pair.settle().unwrap();
        assert_eq!(pair.server.handshake_kind(), Some(HandshakeKind::FullWithHelloRetryRequest));
        check_negotiated(profile, &pair, &pki);
        pair.echo(b"after a retry");
    }
}

/// Keys through rustls' own loader, from PKCS#8: each profile takes its curve only.
#[test]
fn key_loading_takes_the_profiles_curve() {
    use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    for profile in PROFILES {
        for scheme in [Scheme::Sm2Sm3, Scheme::EcdsaP256Sha256] {
            let key = crate::cert::key_to_pkcs8(&crate::testpki::key(scheme, 4)).unwrap();
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()));
            let loaded = provider(profile).key_provider.load_private_key(key);
            assert_eq!(loaded.is_ok(), scheme == profile.scheme(), "{profile:?} {scheme:?}");
        }
    }
}

/// The cache spares CA certificates and lists their verification, and changes no decision.
#[test]
fn verified_signatures_are_remembered() {
    let pki = Pki::new(Scheme::Sm2Sm3);
    let trust = trust(&pki, &good_lists(&pki));
    let verifier = verifier(Profile::Sm, &trust, Expect::TlsClient, &provider(Profile::Sm)).unwrap();
    let chain = node_identity(&pki).chain;
    let verify = |now: u64| {
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now));
        rustls::server::danger::ClientCertVerifier::verify_client_cert(
            &*verifier,
            &chain[0],
            &chain[1..],
            now,
        )
    };
    verify(NOW.0).unwrap();
    let kept = verifier.remembered();
    // three certificates, two lists
    assert_eq!(kept, 5);
    verify(NOW.0 + 1000).unwrap();
    assert_eq!(verifier.remembered(), kept);
    assert!(verify(NOW.0 + DAY).is_err(), "expired, remembered or not");
}
