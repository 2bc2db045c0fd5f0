//! Nonces of requests: each is taken once, until it expires. Bounded.

use crate::reject::{self, Rejection};
use gw_proto::{Hex, NodeId, UnixMillis};
use std::{
    collections::{BTreeSet, HashSet},
    sync::Mutex,
};

/// The most nonces remembered at once.
pub const MAX_NONCES: usize = 200_000;

/// What was taken and is not expired.
#[derive(Default)]
pub struct Nonces {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    seen: HashSet<(NodeId, [u8; 32])>,
    by_expiry: BTreeSet<(UnixMillis, NodeId, [u8; 32])>,
}

impl Nonces {
    /// Takes a nonce, or refuses it as replayed. Expired ones are forgotten on the way.
    pub fn claim(
        &self,
        node: &NodeId,
        nonce: &Hex<32>,
        expires: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), Rejection> {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while let Some(first) = inner.by_expiry.first().filter(|f| f.0 < now).cloned() {
            inner.by_expiry.remove(&first);
            inner.seen.remove(&(first.1, first.2));
        }
        if inner.seen.len() >= MAX_NONCES {
            return Err(Rejection::new(reject::BUSY, "too many requests are remembered"));
        }
        if !inner.seen.insert((node.clone(), nonce.0)) {
            return Err(Rejection::new(reject::REPLAYED, "the nonce was used already"));
        }
        inner.by_expiry.insert((expires, node.clone(), nonce.0));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_until_it_expires_and_per_node() {
        let n = Nonces::default();
        let (a, b) = (NodeId::parse("node-a").unwrap(), NodeId::parse("node-b").unwrap());
        let at = UnixMillis;
        n.claim(&a, &Hex([1; 32]), at(100), at(50)).unwrap();
        assert_eq!(n.claim(&a, &Hex([1; 32]), at(100), at(60)).unwrap_err().problem.name, "request-replayed");
        n.claim(&b, &Hex([1; 32]), at(100), at(60)).unwrap();
        assert!(n.claim(&a, &Hex([1; 32]), at(100), at(100)).is_err(), "not before it has expired");
        n.claim(&a, &Hex([1; 32]), at(300), at(101)).unwrap();
        assert_eq!(n.inner.lock().unwrap().seen.len(), 1);
    }
}
