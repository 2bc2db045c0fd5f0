//! What one endpoint of the chain can be asked. Nothing it says is believed before `verify`.

use crate::error::LedgerError;
use async_trait::async_trait;
use gw_proto::{
    Digest, Height,
    fisco::{BlockHeader, Receipt, Transaction},
};

/// A block as an endpoint tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBlock {
    /// header with the sealers' signatures
    pub header: BlockHeader,
    /// all its transactions, in order
    pub transactions: Vec<Transaction>,
    /// their receipts, in the same order
    pub receipts: Vec<Receipt>,
}

/// One endpoint. Each call ends within the implementation's own deadline, and bounds what it reads.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// For people and metrics: scheme, host and port.
    fn endpoint(&self) -> &str;
    /// The height it claims to have.
    async fn head(&self) -> Result<Height, LedgerError>;
    /// A whole block.
    async fn block(&self, height: Height) -> Result<RawBlock, LedgerError>;
    /// A block's header alone.
    async fn header(&self, height: Height) -> Result<BlockHeader, LedgerError> {
        Ok(self.block(height).await?.header)
    }
    /// Takes a transaction. The same transaction again is no error. `Ok` says that the endpoint took it, not
    /// that a block holds it.
    async fn submit(&self, tx: &Transaction) -> Result<Digest, LedgerError>;
}
