//! The TLS key of this start: made in memory, certified by the node key, at most a day old.
//!
//! A TLS 1.3 server signs before it sees the client's certificate, so a chip-held TLS key could be
//! starved by strangers (DESIGN.md, "Keys"). The node key signs once, here; the ledger's TLS-binding
//! record then ties [`MadeIdentity::binding`] to the node.

use crate::{config::HostName, dial::server_name};
use gw_proto::{NodeId, UnixMillis, record::TlsBinding};
use gw_sm::{
    KeyPair,
    cert::{CertError, CertInfo, CertKind, CertSpec, Issuer, Subject, build_cert, parse_cert},
    tls::TlsIdentity,
};
use hsm_api::{Entropy, HsmError, Signer};
use rustls_pki_types::CertificateDer;
use std::{sync::Arc, time::Duration};

/// Peers' clocks may be behind ours by this much. Small: it is taken from the certificate's day.
const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// The ledger takes no binding that is longer (PROTOCOL.md).
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Less than this left of the node CA's certificate: no TLS certificate is made under it.
const MIN_LEFT: Duration = Duration::from_secs(10 * 60);

/// Why there is no TLS identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No certificate of the node key.
    #[error("identity.node_ca_chain is empty; put the node CA certificate first")]
    NoChain,
    /// The chain's first certificate is another key's.
    #[error(
        "the first certificate of identity.node_ca_chain is not the node key's; is keystore.node_key the key that was enrolled?"
    )]
    WrongKey,
    /// The node key's certificate is not in date.
    #[error(
        "the node CA certificate is valid from {} to {}, now is {}; check the clock, or enrol again",
        .not_before.rfc3339(), .not_after.rfc3339(), .now.rfc3339()
    )]
    NotInDate {
        /// from
        not_before: UnixMillis,
        /// until
        not_after: UnixMillis,
        /// our clock
        now: UnixMillis,
    },
    /// The certificate cannot be read or built.
    #[error("cannot make the TLS certificate; check identity.node_ca_chain and the keystore")]
    Certificate(#[from] CertError),
    /// No randomness.
    #[error("no randomness for the TLS key")]
    Entropy(#[from] HsmError),
}

/// A fresh TLS key and its certificate.
#[derive(Debug, Clone)]
pub struct MadeIdentity {
    /// chain (TLS certificate, node CA certificate, intermediates) and the key, which is in memory only
    pub tls: TlsIdentity,
    /// for the TLS-binding record
    pub binding: TlsBinding,
}

/// What an identity is made from.
pub struct Request<'a> {
    /// whose
    pub node: &'a NodeId,
    /// names besides `<node-id>.xinguan.internal`; the node CA's name constraints must allow them
    pub extra_names: &'a [HostName],
    /// at most [`MAX_LIFETIME`]; cut to it
    pub lifetime: Duration,
    /// the node CA certificate first, then intermediates
    pub node_ca_chain: &'a [CertificateDer<'static>],
    /// now
    pub now: UnixMillis,
}

/// Makes a key and certifies it by the node key. Blocks while the signer works.
pub fn make(
    request: &Request<'_>,
    node_key: &dyn Signer,
    entropy: &dyn Entropy,
) -> Result<MadeIdentity, IdentityError> {
    let ca_der = request.node_ca_chain.first().ok_or(IdentityError::NoChain)?;
    let ca = parse_cert(ca_der)?;
    if ca.public_key != *node_key.public_key() {
        return Err(IdentityError::WrongKey);
    }
    let (not_before, not_after) = validity(&ca, request.now, request.lifetime)?;
    let key = KeyPair::generate(node_key.public_key().scheme, |out| entropy.fill(out))?;
    let spec = spec(request, &key, entropy, not_before, not_after)?;
    let sign = |digest: &[u8; 32]| node_key.sign_digest(digest).map_err(|e| e.to_string());
    let issuer = Issuer { certificate: Some(ca_der), key: node_key.public_key(), sign: &sign };
    let der = build_cert(&spec, &issuer)?;
    // what the certificate says, cut to seconds, is what the record must say
    let made = parse_cert(&der)?;
    let binding = TlsBinding { spki: made.spki, not_before: made.not_before, not_after: made.not_after };
    let mut chain = vec![CertificateDer::from(der)];
    chain.extend_from_slice(request.node_ca_chain);
    Ok(MadeIdentity { tls: TlsIdentity { chain, key: Arc::new(key) }, binding })
}

fn validity(
    ca: &CertInfo,
    now: UnixMillis,
    lifetime: Duration,
) -> Result<(UnixMillis, UnixMillis), IdentityError> {
    if now < ca.not_before || now.plus(MIN_LEFT) > ca.not_after {
        return Err(IdentityError::NotInDate { not_before: ca.not_before, not_after: ca.not_after, now });
    }
    let backdated = u64::try_from(BACKDATE.as_millis()).unwrap_or(0);
    let not_before = UnixMillis(now.0.saturating_sub(backdated)).max(ca.not_before);
    let not_after = not_before.plus(lifetime.min(MAX_LIFETIME)).min(ca.not_after);
    Ok((not_before, not_after))
}

fn spec(
    request: &Request<'_>,
    key: &KeyPair,
    entropy: &dyn Entropy,
    not_before: UnixMillis,
    not_after: UnixMillis,
) -> Result<CertSpec, HsmError> {
    let mut serial = [0u8; 16];
    entropy.fill(&mut serial)?;
    // positive and not zero (RFC 5280 §4.1.2.2)
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    let mut dns = vec![server_name(request.node)];
    let mut ips = Vec::new();
    for name in request.extra_names {
        match name {
            HostName::Dns(name) if !dns.contains(name) => dns.push(name.clone()),
            HostName::Ip(ip) if !ips.contains(ip) => ips.push(*ip),
            HostName::Dns(_) | HostName::Ip(_) => {}
        }
    }
    Ok(CertSpec {
        kind: CertKind::TlsServerClient,
        subject: Subject { common_name: Some(request.node.to_string()), ..Subject::default() },
        public_key: *key.public_key(),
        not_before,
        not_after,
        serial,
        dns,
        ips,
    })
}
