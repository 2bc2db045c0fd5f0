//! `put(bytes)`: writing a transaction's input, and taking the payload out of the hashed bytes.
//!
//! FISCO hashes nonce ‖ to ‖ input ‖ abi without lengths, so an endpoint could present our transaction
//! under another split, with a group that is not ours, and make a follower overlook a revocation. The
//! payload is therefore taken from the hashed bytes by position, not from the JSON fields: 4 bytes of
//! version, the pinned chain and group, 8 bytes of block limit, 16 of nonce, the pinned contract, then
//! exactly one canonical ABI encoding up to the end. Every split of the same bytes gives the same answer.

use super::{FiscoError, Transaction};
use crate::{canon, genesis::Genesis, record::MAX_BATCH_BYTES};

/// Bytes of an ABI word.
const WORD: usize = 32;
/// Bytes of block limit and nonce together.
const LIMIT_AND_NONCE: usize = 8 + 16;

/// Why a transaction carries no record of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum SkipReason {
    /// It does not start with version 0 and the pinned chain and group.
    #[error("another version, chain or group")]
    OtherChain,
    /// After block limit and a nonce of 16 bytes, the record contract does not follow.
    #[error("another contract, or a nonce that is not of 32 hex digits")]
    OtherContract,
    /// Another function than `put(bytes)`.
    #[error("another function than put(bytes)")]
    OtherFunction,
    /// Not the one encoding of one `bytes` argument: offset, length, padding, or something after the end.
    #[error("input is not the canonical encoding of one bytes argument")]
    NotCanonical,
    /// A payload beyond 32 KiB.
    #[error("payload larger than a batch may be")]
    TooLarge,
}

/// The first four bytes of SM3("put(bytes)").
pub fn put_selector() -> [u8; 4] {
    let [a, b, c, d, ..] = canon::sm3(b"put(bytes)").0;
    [a, b, c, d]
}

/// A 256-bit big-endian word of a number.
fn word(value: usize) -> [u8; WORD] {
    let mut out = [0u8; WORD];
    let bytes = value.to_be_bytes();
    for (slot, byte) in out.iter_mut().rev().zip(bytes.iter().rev()) {
        *slot = *byte;
    }
    out
}

/// The input of a call `put(payload)`: selector ‖ offset 32 ‖ length ‖ payload ‖ zeros to a whole word.
pub fn encode_put_input(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + 2 * WORD + payload.len().next_multiple_of(WORD));
    out.extend_from_slice(&put_selector());
    out.extend_from_slice(&word(WORD));
    out.extend_from_slice(&word(payload.len()));
    out.extend_from_slice(payload);
    out.resize(4 + 2 * WORD + payload.len().next_multiple_of(WORD), 0);
    out
}

/// The payload of an input that [`encode_put_input`] wrote, and of no other.
fn decode_put_input(input: &[u8]) -> Result<Vec<u8>, SkipReason> {
    let rest = input.strip_prefix(&put_selector()[..]).ok_or(SkipReason::OtherFunction)?;
    let rest = rest.strip_prefix(&word(WORD)[..]).ok_or(SkipReason::NotCanonical)?;
    let (length, rest) = rest.split_first_chunk::<WORD>().ok_or(SkipReason::NotCanonical)?;
    let (high, low) = length.split_at(WORD - 8);
    let low = low.iter().fold(0u64, |acc, b| acc << 8 | u64::from(*b));
    let length = usize::try_from(low).map_err(|_| SkipReason::TooLarge)?;
    if high.iter().any(|b| *b != 0) || length > MAX_BATCH_BYTES {
        return Err(SkipReason::TooLarge);
    }
    if rest.len() != length.next_multiple_of(WORD) {
        return Err(SkipReason::NotCanonical);
    }
    let (payload, padding) = rest.split_at_checked(length).ok_or(SkipReason::NotCanonical)?;
    if padding.iter().any(|b| *b != 0) {
        return Err(SkipReason::NotCanonical);
    }
    Ok(payload.to_vec())
}

/// What the hashed bytes of every transaction of this chain start with.
fn chain_prefix(genesis: &Genesis) -> Vec<u8> {
    [&[0u8; 4][..], genesis.chain.as_bytes(), genesis.group.as_bytes()].concat()
}

impl Transaction {
    /// The payload, if this is a transaction of ours in its one canonical form.
    ///
    /// [`FiscoError::Skip`] means that it is not ours: a block may hold it, it changes nothing.
    pub fn payload(&self, genesis: &Genesis) -> Result<Vec<u8>, FiscoError> {
        Ok(payload_of(&self.preimage()?, genesis)?)
    }

    /// Whether the hashed bytes start with version 0 and the pinned chain and group. FISCO's pool takes no
    /// other; an inner node of the Merkle tree presented as a transaction cannot start like that.
    pub fn is_of_chain(&self, genesis: &Genesis) -> Result<bool, FiscoError> {
        Ok(self.preimage()?.starts_with(&chain_prefix(genesis)))
    }
}

fn payload_of(preimage: &[u8], genesis: &Genesis) -> Result<Vec<u8>, SkipReason> {
    let rest = preimage.strip_prefix(&chain_prefix(genesis)[..]).ok_or(SkipReason::OtherChain)?;
    let (_, rest) = rest.split_at_checked(LIMIT_AND_NONCE).ok_or(SkipReason::OtherContract)?;
    let input = rest.strip_prefix(genesis.contract.as_bytes()).ok_or(SkipReason::OtherContract)?;
    decode_put_input(input)
}
