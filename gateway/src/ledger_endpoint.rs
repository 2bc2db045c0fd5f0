//! A ledger endpoint whose TLS client certificate changes over with the gateway's keys.

use crate::dial::ClientTls;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use gw_ledger::{FiscoRpc, Ledger, LedgerError, RawBlock, RpcOptions};
use gw_proto::{
    Digest, Height,
    fisco::{BlockHeader, Transaction},
    genesis::Genesis,
};
use std::sync::Arc;

struct Current {
    made_with: Option<Arc<rustls::ClientConfig>>,
    rpc: FiscoRpc,
}

/// FISCO's RPC over the TLS configuration of the moment.
pub struct RenewingEndpoint {
    address: String,
    genesis: Genesis,
    tls: Option<ClientTls>,
    current: ArcSwap<Current>,
}

impl RenewingEndpoint {
    /// `tls` for `https` addresses.
    pub fn new(address: &str, genesis: &Genesis, tls: Option<ClientTls>) -> Result<Self, LedgerError> {
        let current = make(address, genesis, tls.as_ref())?;
        Ok(Self { address: address.to_owned(), genesis: genesis.clone(), tls, current: ArcSwap::from_pointee(current) })
    }

    /// The adapter; a new one when the TLS configuration was exchanged.
    fn rpc(&self) -> Result<Arc<Current>, LedgerError> {
        let current = self.current.load_full();
        let same = match (&self.tls, &current.made_with) {
            (Some(now), Some(then)) => Arc::ptr_eq(&now.load(), then),
            _ => true,
        };
        if same {
            return Ok(current);
        }
        let fresh = Arc::new(make(&self.address, &self.genesis, self.tls.as_ref())?);
        self.current.store(Arc::clone(&fresh));
        Ok(fresh)
    }
}

fn make(address: &str, genesis: &Genesis, tls: Option<&ClientTls>) -> Result<Current, LedgerError> {
    let made_with = tls.map(|t| t.load_full());
    let rpc = FiscoRpc::new(address, genesis, made_with.clone(), RpcOptions::default())?;
    Ok(Current { made_with, rpc })
}

#[async_trait]
impl Ledger for RenewingEndpoint {
    fn endpoint(&self) -> &str {
        &self.address
    }
    async fn head(&self) -> Result<Height, LedgerError> {
        self.rpc()?.rpc.head().await
    }
    async fn block(&self, height: Height) -> Result<RawBlock, LedgerError> {
        self.rpc()?.rpc.block(height).await
    }
    async fn header(&self, height: Height) -> Result<BlockHeader, LedgerError> {
        self.rpc()?.rpc.header(height).await
    }
    async fn submit(&self, tx: &Transaction) -> Result<Digest, LedgerError> {
        self.rpc()?.rpc.submit(tx).await
    }
}
