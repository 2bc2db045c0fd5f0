//! Certificate chains of node keys, as seen on mutual TLS: they go into answers for offline verification.

use gw_proto::{B64, NodeId};
use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

/// The most nodes remembered; a consortium has some hundreds.
pub const MAX_NODES: usize = 4_096;

/// Chain of each node's key, node CA certificate first, without the root.
#[derive(Default)]
pub struct Certificates {
    chains: RwLock<BTreeMap<NodeId, Vec<B64>>>,
}

impl Certificates {
    /// Remembers a chain that a verified TLS handshake showed.
    pub fn learn(&self, node: &NodeId, chain: Vec<B64>) {
        if self.chains.read().unwrap_or_else(PoisonError::into_inner).get(node) == Some(&chain) {
            return;
        }
        let mut chains = self.chains.write().unwrap_or_else(PoisonError::into_inner);
        if chains.len() < MAX_NODES || chains.contains_key(node) {
            chains.insert(node.clone(), chain);
        }
    }
    /// The chain of a node.
    pub fn find(&self, node: &NodeId) -> Option<Vec<B64>> {
        self.chains.read().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }
}
