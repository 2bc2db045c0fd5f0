//! Plain TCP on loopback in front of an admin listener, with an operator's certificate: for a browser.
//!
//! A headless browser takes a client certificate only by a policy for the whole machine, and none speaks
//! RFC 8998. It sees `http://127.0.0.1`, which browsers treat as a secure origin like HTTPS.

use super::{
    caller::Caller,
    consortium::{Consortium, Listener},
    thief::{first_cert, load_key},
    wire::{runtime, tls_profile},
};
use anyhow::{Context as _, Result, anyhow};
use gw_sm::{
    cert::certs_from_pem,
    tls::{TlsIdentity, Trust, client_config},
};
use rustls_pki_types::ServerName;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::TlsConnector;

/// Running; ends when it is dropped.
pub struct Forwarder {
    at: SocketAddr,
    _runtime: Runtime,
}

impl Forwarder {
    /// Listens at a port of the kernel's choice and connects onward as this caller.
    pub fn start(c: &Consortium, gateway: &str, caller: &Caller) -> Result<Self> {
        let (cert, key) = caller.identity.as_ref().context("a caller without a certificate")?;
        let chain = certs_from_pem(&std::fs::read(cert)?).map_err(|e| anyhow!("{e}"))?;
        let identity =
            TlsIdentity { chain: chain.into_iter().map(Into::into).collect(), key: Arc::new(load_key(key)?) };
        let trust = Trust { roots: vec![first_cert(&caller.roots)?.into()], crls: Vec::new() };
        let config = client_config(tls_profile(c.profile()), &identity, &trust, &[b"http/1.1"]);
        let connector = TlsConnector::from(Arc::new(config.map_err(|e| anyhow!("{e}"))?));
        let (to, runtime) = (c.address(gateway, Listener::Admin)?, runtime()?);
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let at = listener.local_addr()?;
        runtime.spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                // what breaks shows in the browser
                tokio::spawn(forward(browser, connector.clone(), to));
            }
        });
        Ok(Self { at, _runtime: runtime })
    }

    /// A page's address for the browser.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }
}

async fn forward(mut browser: TcpStream, connector: TlsConnector, to: SocketAddr) -> std::io::Result<()> {
    browser.set_nodelay(true)?;
    let tcp = TcpStream::connect(to).await?;
    tcp.set_nodelay(true)?;
    let mut gateway = connector.connect(ServerName::from(to.ip()), tcp).await?;
    tokio::io::copy_bidirectional(&mut browser, &mut gateway).await.map(drop)
}
