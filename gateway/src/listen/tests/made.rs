//! The TLS identity of a start.

use super::super::identity::{self, IdentityError, MAX_LIFETIME};
use super::*;
use crate::config::HostName;
use gw_proto::{NodeId, UnixMillis};
use gw_sm::cert::{Expect, parse_cert, verify_chain};
use std::time::Duration;

fn node() -> NodeId {
    NodeId::parse("gw").unwrap()
}

#[test]
fn it_chains_to_the_root_and_says_what_the_record_says() {
    for profile in PROFILES {
        let pki = Pki::new(profile);
        let (ca, signer) = pki.node_ca("gw");
        let request = identity::Request {
            node: &node(),
            extra_names: &[
                HostName::Ip([127, 0, 0, 1].into()),
                HostName::Dns("gw.xinguan.internal".to_owned()),
            ],
            lifetime: Duration::from_secs(48 * 3600),
            node_ca_chain: &[ca.into()],
            now: NOW,
        };
        let made = identity::make(&request, &signer, &CountingEntropy).unwrap();
        let chain: Vec<&[u8]> = made.tls.chain.iter().map(AsRef::as_ref).collect();
        for expect in [Expect::TlsServer, Expect::TlsClient] {
            verify_chain(&chain, &[&pki.root.der], NOW, expect).unwrap();
        }
        let info = parse_cert(chain[0]).unwrap();
        assert_eq!(info.dns, ["gw.xinguan.internal"], "a name is listed once");
        assert_eq!(info.subject.common_name.as_deref(), Some("gw"));
        assert_eq!(
            (info.spki, info.not_before, info.not_after),
            (made.binding.spki, made.binding.not_before, made.binding.not_after)
        );
        // what the ledger takes: not a millisecond over a day
        assert!(made.binding.not_after.since(made.binding.not_before) <= MAX_LIFETIME);
        let again = identity::make(&request, &signer, &CountingEntropy).unwrap();
        assert_ne!(again.binding.spki, made.binding.spki, "each start has its own key");
        assert!(!format!("{made:?}").contains(&hex::encode(**made.tls.key.secret())));
    }
}

#[test]
fn it_never_outlives_the_node_ca() {
    let pki = Pki::new(Profile::Sm);
    let (ca, signer) = pki.node_ca("gw");
    let ends = parse_cert(&ca).unwrap().not_after;
    let (node, chain) = (node(), [ca.into()]);
    let at = |now| identity::Request {
        node: &node,
        extra_names: &[],
        lifetime: MAX_LIFETIME,
        node_ca_chain: &chain,
        now,
    };
    let made = identity::make(&at(UnixMillis(ends.0 - 3_600_000)), &signer, &CountingEntropy).unwrap();
    assert_eq!(made.binding.not_after, ends);
    for now in [UnixMillis(ends.0 - 60_000), UnixMillis(ends.0 + 1), UnixMillis(0)] {
        let refused = identity::make(&at(now), &signer, &CountingEntropy);
        assert!(matches!(refused, Err(IdentityError::NotInDate { .. })), "{refused:?}");
    }
}

#[test]
fn another_keys_chain_is_refused() {
    let pki = Pki::new(Profile::Sm);
    let (ca, _) = pki.node_ca("gw");
    let (_, other) = pki.node_ca("gw");
    let (node, chain) = (node(), [ca.into()]);
    let request = |node_ca_chain| identity::Request {
        node: &node,
        extra_names: &[],
        lifetime: MAX_LIFETIME,
        node_ca_chain,
        now: NOW,
    };
    let refused = identity::make(&request(&chain), &other, &CountingEntropy);
    assert!(matches!(refused, Err(IdentityError::WrongKey)), "{refused:?}");
    let refused = identity::make(&request(&[]), &other, &CountingEntropy);
    assert!(matches!(refused, Err(IdentityError::NoChain)), "{refused:?}");
}
