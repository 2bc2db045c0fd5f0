//! Where the state stands, and the entries that say so in the store.

use crate::error::LedgerError;
use gw_policy::{LAYOUT, StateRead, View};
use gw_proof::SealerSet;
use gw_proto::{
    Digest, Height, Hex, UnixMillis,
    canon::{domain, domain_digest},
    genesis::{Genesis, Sealer},
    jcs,
};
use gw_store::{Store, StoreError, Write};
use serde::{Deserialize, Serialize};

/// For how many blocks the hash is kept: 36 days of heartbeats on an idle chain.
pub(super) const HASHES_KEPT: u64 = 1 << 17;

/// First bytes of this crate's keys; the second is the layout's version.
const PREFIX: [u8; 2] = [b'l', 1];

/// The newest verified block, and who may sign the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// its number; 0 before the first
    pub height: Height,
    /// its hash
    pub hash: Digest,
    /// the highest verified header time so far
    pub time: UnixMillis,
    /// rolling digest of the state
    pub state_digest: Digest,
    /// the sealers after it
    pub sealers: SealerSet,
}

/// As stored. The policy's layout stands in it, so that a program with another one starts anew.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    genesis: Digest,
    layout: Hex<2>,
    height: Height,
    hash: Digest,
    time: UnixMillis,
    state_digest: Digest,
    sealers: Vec<Sealer>,
}

/// What a state of this consortium and this program carries.
pub(super) struct Keys {
    genesis: Digest,
}

impl Keys {
    pub(super) fn of(genesis: &Genesis) -> Result<Self, LedgerError> {
        Ok(Self { genesis: genesis.digest()? })
    }
}

fn cursor_key() -> Vec<u8> {
    [&PREFIX[..], b"c"].concat()
}

fn hash_key(height: Height) -> Vec<u8> {
    [&PREFIX[..], b"h", &height.0.to_be_bytes()].concat()
}

impl Cursor {
    /// Before block 1: the pinned hash of block 0 and the pinned sealers.
    pub fn of_genesis(genesis: &Genesis) -> Result<Self, LedgerError> {
        check_names(genesis)?;
        let sealers = SealerSet::of_genesis(genesis).map_err(|e| LedgerError::Genesis(e.to_string()))?;
        Ok(Self {
            height: Height(0),
            hash: genesis.block0,
            time: UnixMillis(0),
            state_digest: domain_digest(domain::STATE, &genesis.digest()?.0),
            sealers,
        })
    }

    /// The entries that go into the same transaction as the block's changes.
    pub(super) fn writes(&self, keys: &Keys) -> Result<Vec<Write>, LedgerError> {
        let stored = Stored {
            genesis: keys.genesis,
            layout: Hex(LAYOUT),
            height: self.height,
            hash: self.hash,
            time: self.time,
            state_digest: self.state_digest,
            sealers: self.sealers.sealers().to_vec(),
        };
        let mut writes =
            vec![Write::put(cursor_key(), jcs(&stored)?), Write::put(hash_key(self.height), self.hash.0)];
        writes.extend(self.height.0.checked_sub(HASHES_KEPT).map(|h| Write::remove(hash_key(Height(h)))));
        Ok(writes)
    }
}

/// The hashed bytes of a transaction start with these names: they must be long enough that no inner node of
/// a Merkle tree can be ground into them (`Transaction::is_of_chain`), and must fit FISCO's own bounds.
fn check_names(genesis: &Genesis) -> Result<(), LedgerError> {
    let wrong = |what: &str| Err(LedgerError::Genesis(what.to_owned()));
    if genesis.chain.len() + genesis.group.len() < 8 {
        return wrong("`chain` and `group` must have at least 8 bytes together");
    }
    if genesis.chain.len() > 64 || genesis.group.len() > 64 {
        return wrong("`chain` and `group` must have at most 64 bytes each");
    }
    let address = genesis.contract.strip_prefix("0x").unwrap_or_default();
    if Hex::<20>::parse(address).is_err() {
        return wrong("`contract` must be 0x and 40 lower-case hex digits");
    }
    Ok(())
}

pub(super) fn load_hash(store: &dyn Store, height: Height) -> Result<Option<Digest>, StoreError> {
    Ok(store.read(&hash_key(height))?.and_then(|v| <[u8; 32]>::try_from(v).ok()).map(Hex))
}

/// The stored cursor, if the state is whole: of this genesis and layout, and in agreement with the policy's
/// own head. `None` for an empty store. The error says what is wrong; the remedy is to start anew.
pub(super) fn load_checked(store: &dyn Store, keys: &Keys) -> Result<Option<Cursor>, String> {
    let Some(bytes) = store.read(&cursor_key()).map_err(|e| e.to_string())? else {
        let rest = store.scan(&[], 1).map_err(|e| e.to_string())?;
        return if rest.is_empty() { Ok(None) } else { Err("entries without a cursor".into()) };
    };
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|e| format!("cursor: {e}"))?;
    if stored.genesis != keys.genesis {
        return Err("it belongs to another genesis document".into());
    }
    if stored.layout.0 != LAYOUT {
        return Err("another version of this program wrote it".into());
    }
    let raw = super::Raw(store);
    let head = View::new(&raw as &dyn StateRead).head().map_err(|e| e.to_string())?;
    let agrees = head.is_some_and(|h| {
        h.height == stored.height && h.hash == stored.hash && h.state_digest == stored.state_digest
    });
    if !agrees {
        return Err("cursor and head differ".into());
    }
    if load_hash(store, stored.height).map_err(|e| e.to_string())? != Some(stored.hash) {
        return Err("the hash of the newest block is missing".into());
    }
    let sealers = SealerSet::new(stored.sealers).map_err(|e| e.to_string())?;
    Ok(Some(Cursor {
        height: stored.height,
        hash: stored.hash,
        time: stored.time,
        state_digest: stored.state_digest,
        sealers,
    }))
}
