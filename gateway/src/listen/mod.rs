//! Listening: address limits, TLS 1.3, HTTP, and who is at the other end.
//!
//! Stage 1 of a query. Order of events on a connection, cheap refusals first:
//! 1. `admission`: connections and new connections per address, in total, and unfinished handshakes;
//! 2. TLS handshake under a deadline; client certificate required, revocation as the server config says;
//! 3. HTTP/1.1 or HTTP/2 (`connection`): head, idle and exchange deadlines; body bounds ([`body`]);
//! 4. the router is called with [`ConnInfo`] as a request extension.
//!
//! A certificate that passes here is *valid*, not *listed*: who it belongs to is decided per request.

mod accept;
mod activity;
mod admission;
pub mod body;
mod connection;
pub mod identity;
mod io;
mod peer;
mod reason;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

pub use accept::{ListenError, Server};
pub use body::{BodyError, collect};
pub(crate) use connection::Tracked;
pub(crate) use io::SharedIo;
pub use io::{ExportError, ExporterHandle};
pub use peer::{PeerCert, PeerCertError};
pub(crate) use reason::handshake_failure;

use arc_swap::ArcSwap;
use gw_proto::{Clock, UnixMillis};
use gw_sm::tls::{Profile, TlsError, TlsIdentity, Trust};
use std::{net::SocketAddr, sync::Arc};

/// The server's TLS configuration; replacing it affects new handshakes only.
pub type ServerTls = Arc<ArcSwap<rustls::ServerConfig>>;

/// A listener's TLS configuration: HTTP/2 preferred, dates judged by `clock`.
pub fn server_tls(
    profile: Profile,
    identity: &TlsIdentity,
    trust: &Trust,
    clock: Arc<dyn Clock>,
) -> Result<rustls::ServerConfig, TlsError> {
    let mut config = gw_sm::tls::server_config(profile, identity, trust, &[b"h2", b"http/1.1"])?;
    config.time_provider = gw_sm::tls::time_provider(clock);
    Ok(config)
}

/// Which listener a request came in on. Never decides rights alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// the institution's own systems
    Bank,
    /// other gateways
    Man,
    /// administration
    Admin,
}

impl ListenerKind {
    /// The name in files, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::Man => "man",
            Self::Admin => "admin",
        }
    }
}

/// The connection under a request. Every request carries it as an extension.
#[derive(Debug, Clone)]
pub struct ConnInfo {
    /// where it came in
    pub listener: ListenerKind,
    /// from where
    pub peer: SocketAddr,
    /// the client's certificate: chain, dates and revocation were checked at the handshake
    pub cert: Arc<PeerCert>,
    /// how it is protected
    pub profile: Profile,
    /// channel binding
    pub exporter: ExporterHandle,
    /// when the handshake was finished
    pub connected_at: UnixMillis,
}
