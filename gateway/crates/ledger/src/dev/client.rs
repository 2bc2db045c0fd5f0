//! Who connects, and who may submit.

use gw_proto::canon::Digest;
use gw_sm::cert::parse_cert;
use std::net::IpAddr;

/// A client: the certificate it proved to hold, or else where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// its address
    pub address: IpAddr,
    /// SM3 of its certificate's SubjectPublicKeyInfo, on a mutual TLS connection
    pub spki: Option<Digest>,
    /// its certificate's common name
    pub name: Option<String>,
}

/// A client that may submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedClient {
    /// by SM3 of its certificate's SubjectPublicKeyInfo
    Key(Digest),
    /// by its certificate's common name
    Name(String),
}

/// Who may submit. Everyone who can connect may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitters {
    /// whoever can connect: for tests and a ledger on the loopback interface
    Anyone,
    /// only these, over mutual TLS
    Listed(Vec<ListedClient>),
}

impl Client {
    /// A client over plain TCP.
    pub fn plain(address: IpAddr) -> Self {
        Self { address, spki: None, name: None }
    }
    /// A client over TLS: `leaf` is the certificate that the handshake has verified. One that cannot be read
    /// here names nobody.
    pub fn with_certificate(address: IpAddr, leaf: &[u8]) -> Self {
        match parse_cert(leaf) {
            Ok(cert) => Self { address, spki: Some(cert.spki), name: cert.subject.common_name },
            Err(_) => Self::plain(address),
        }
    }
    /// What its rate is counted under.
    pub(super) fn key(&self) -> String {
        match &self.spki {
            Some(spki) => spki.to_string(),
            None => self.address.to_string(),
        }
    }
}

impl Submitters {
    /// Whether this client may submit.
    pub fn allow(&self, client: &Client) -> bool {
        match self {
            Self::Anyone => true,
            Self::Listed(list) => list.iter().any(|listed| match listed {
                ListedClient::Key(key) => client.spki.as_ref() == Some(key),
                // a name counts only where a certificate was verified
                ListedClient::Name(name) => client.spki.is_some() && client.name.as_ref() == Some(name),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::Hex;
    use std::net::Ipv4Addr;

    #[test]
    fn only_a_listed_certificate_submits() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (a, b) = (Hex([1; 32]), Hex([2; 32]));
        let list = Submitters::Listed(vec![ListedClient::Key(a), ListedClient::Name("node-b".into())]);
        let client = |spki, name: &str| Client { address, spki, name: Some(name.into()) };
        assert!(list.allow(&client(Some(a), "other")));
        assert!(list.allow(&client(Some(b), "node-b")));
        assert!(!list.allow(&client(Some(b), "node-c")));
        assert!(!list.allow(&client(None, "node-b")));
        assert!(!list.allow(&Client::plain(address)));
        assert!(!list.allow(&Client::with_certificate(address, b"not a certificate")));
        assert!(Submitters::Anyone.allow(&Client::plain(address)));
        assert!(!Submitters::Listed(Vec::new()).allow(&client(Some(a), "other")));
    }
}
