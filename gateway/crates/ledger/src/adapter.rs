//! FISCO BCOS 3's JSON-RPC, the part that a follower and a submitter need.
//!
//! `getBlockNumber`, `getBlockByNumber`, `getTransactionReceipt`, `sendTransaction`, as FISCO-BCOS 3.x
//! `bcos-rpc/jsonrpc` answers them. HTTP inside the node's own network, or international TLS: FISCO's own
//! SM-SSL is dual-certificate and out of rustls' reach (PROTOCOL, "Settled"). What an endpoint says is only
//! parsed here, never believed.

mod http;

use crate::{
    endpoint::{Ledger, RawBlock},
    error::{LedgerError, clip},
};
use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gw_proto::{
    Digest, Height,
    fisco::{BlockHeader, MAX_TRANSACTIONS, Receipt, Transaction, parse_digest, write_0x},
    genesis::Genesis,
    tars::encode_transaction,
};
use http::Connections;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Bounds on one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpcOptions {
    /// for a connection with its TLS handshake; default 5 s
    pub connect_timeout: Duration,
    /// for one call; default 10 s
    pub call_timeout: Duration,
    /// most bytes of an answer; default 32 MiB, a full block of full batches in hex
    pub max_answer: usize,
    /// connections at most, and receipts asked for at once; default 4
    pub connections: usize,
}

impl Default for RpcOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            max_answer: 32 * 1024 * 1024,
            connections: 4,
        }
    }
}

/// The most values of an answer: a full block has some 100,000. Two bytes of JSON can become 32 of memory.
const MAX_VALUES: usize = 1 << 20;

/// FISCO's codes for a transaction that it has already: 10000 nonce used, 10004 in the pool, 10005 on the
/// chain, 10011 in the pool and accepted. Our nonces are 96 random bits: the one that used it was ourselves.
const KNOWN_ALREADY: [i64; 4] = [10000, 10004, 10005, 10011];

/// One endpoint that speaks FISCO BCOS 3's JSON-RPC.
pub struct FiscoRpc {
    connections: Connections,
    group: String,
    options: RpcOptions,
    next_id: AtomicU64,
}

#[derive(Serialize)]
struct Call<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'static str,
    params: &'a serde_json::Value,
}

#[derive(Deserialize)]
struct Answer<T> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default = "none")]
    result: Option<T>,
    #[serde(default)]
    error: Option<RpcError>,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
struct RpcError {
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct FullBlock {
    #[serde(flatten)]
    header: BlockHeader,
    #[serde(default)]
    transactions: Vec<Transaction>,
}

/// What the answer to `sendTransaction` must say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    transaction_hash: String,
}

/// Commas outside of texts: each value of a list or an object but its first stands behind one.
fn count_commas(json: &[u8]) -> usize {
    let (mut commas, mut in_text, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b',' if !in_text => commas += 1,
            _ => {}
        }
    }
    commas
}

impl FiscoRpc {
    /// An endpoint by its address: `http://host:port`, or `https://host:port` with a TLS configuration.
    pub fn new(
        address: &str,
        tls: Option<Arc<rustls::ClientConfig>>,
        genesis: &Genesis,
        options: RpcOptions,
    ) -> Result<Self, LedgerError> {
        let connections = Connections::new(address, tls, &options)?;
        Ok(Self { connections, group: genesis.group.clone(), options, next_id: AtomicU64::new(1) })
    }

    fn endpoint_name(&self) -> String {
        self.connections.name().to_owned()
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: serde_json::Value,
    ) -> Result<T, LedgerError> {
        let after = self.options.call_timeout;
        let within = tokio::time::timeout(after, self.call_untimed(method, &params));
        within
            .await
            .unwrap_or_else(|_| Err(LedgerError::Timeout { endpoint: self.endpoint_name(), method, after }))
    }

    async fn call_untimed<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &serde_json::Value,
    ) -> Result<T, LedgerError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = serde_json::to_vec(&Call { jsonrpc: "2.0", id, method, params })
            .map_err(|e| LedgerError::Encode(e.to_string()))?;
        let bytes = self.connections.post(method, body).await?;
        if count_commas(&bytes) >= MAX_VALUES {
            return Err(self.odd(method, &format!("more than {MAX_VALUES} values")));
        }
        let answer: Answer<T> =
            serde_json::from_slice(&bytes).map_err(|e| self.odd(method, &e.to_string()))?;
        if let Some(e) = answer.error {
            let (endpoint, message) = (self.endpoint_name(), clip(&e.message));
            return Err(LedgerError::Refused { endpoint, method, code: e.code, message });
        }
        if answer.id != Some(id) {
            return Err(self.odd(method, "the id is not that of the call"));
        }
        answer.result.ok_or_else(|| self.odd(method, "neither result nor error"))
    }

    fn odd(&self, method: &'static str, what: &str) -> LedgerError {
        LedgerError::Answer { endpoint: self.endpoint_name(), method, what: clip(what) }
    }

    async fn receipt(&self, hash: String) -> Result<Receipt, LedgerError> {
        let params = serde_json::json!([self.group, "", hash, false]);
        self.call("getTransactionReceipt", params).await
    }
}

#[async_trait]
impl Ledger for FiscoRpc {
    fn endpoint(&self) -> &str {
        self.connections.name()
    }

    async fn head(&self) -> Result<Height, LedgerError> {
        let params = serde_json::json!([self.group, ""]);
        self.call("getBlockNumber", params).await.map(Height)
    }

    async fn block(&self, height: Height) -> Result<RawBlock, LedgerError> {
        let method = "getBlockByNumber";
        let params = serde_json::json!([self.group, "", height, false, false]);
        let block: FullBlock = self.call(method, params).await?;
        if block.transactions.len() > MAX_TRANSACTIONS {
            return Err(self.odd(method, "more transactions than a block may have"));
        }
        for tx in &block.transactions {
            // it goes into the next call: a hash and nothing else
            parse_digest("hash", &tx.hash).map_err(|e| self.odd(method, &e.to_string()))?;
        }
        let hashes: Vec<String> = block.transactions.iter().map(|tx| tx.hash.clone()).collect();
        let receipts = stream::iter(hashes).map(|hash| self.receipt(hash));
        let receipts = receipts.buffered(self.options.connections.max(1)).try_collect().await?;
        Ok(RawBlock { header: block.header, transactions: block.transactions, receipts })
    }

    async fn header(&self, height: Height) -> Result<BlockHeader, LedgerError> {
        let params = serde_json::json!([self.group, "", height, true, true]);
        self.call("getBlockByNumber", params).await
    }

    async fn submit(&self, tx: &Transaction) -> Result<Digest, LedgerError> {
        let method = "sendTransaction";
        let hash = tx.compute_hash()?;
        let params = serde_json::json!([self.group, "", write_0x(&encode_transaction(tx)?), false]);
        match self.call::<Sent>(method, params).await {
            Ok(sent) if parse_digest(method, &sent.transaction_hash) == Ok(hash) => Ok(hash),
            Ok(_) => Err(self.odd(method, "it took another transaction than the one sent")),
            Err(LedgerError::Refused { code, .. }) if KNOWN_ALREADY.contains(&code) => Ok(hash),
            Err(e) => Err(e),
        }
    }
}
