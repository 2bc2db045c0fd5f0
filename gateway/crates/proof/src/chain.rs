//! Headers of the chain: who may sign them, and whether enough did.
//!
//! A header is taken only with a quorum of the set that stood before it, by weight: total − (total − 1)/3.
//! A header that names another set is taken only if members of the *old* set that signed it reach the old
//! quorum, and the new set's signatures reach the new one (DESIGN, "Trust root"). The header's own list is
//! never believed for itself.

use gw_proto::{
    Digest, Hex, PublicKey, Scheme, Signature, UnixMillis,
    fisco::{BlockHeader, FiscoError, MAX_SEALERS, parse_0x, parse_digest, text::parse_fixed},
    genesis::{Genesis, Sealer},
    ids::Height,
};
use std::collections::BTreeSet;

/// The largest total weight of a set.
const MAX_TOTAL_WEIGHT: u64 = 1 << 53;

/// Why a header is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A field is not what FISCO writes.
    #[error("header {number}: {source}")]
    Shape {
        /// which block it claims to be
        number: u64,
        /// the field and its rule
        source: FiscoError,
    },
    /// The claimed hash is not the hash of the fields.
    #[error("header {number}: claims hash {claimed}, its fields hash to {computed}")]
    Hash {
        /// which block it claims to be
        number: u64,
        /// as claimed
        claimed: Digest,
        /// of the fields
        computed: Digest,
    },
    /// Two signatures under one index.
    #[error("header {number}: sealer index {index} signs more than once")]
    RepeatedIndex {
        /// which block it claims to be
        number: u64,
        /// the index
        index: u64,
    },
    /// A signature under an index that the list does not have.
    #[error("header {number}: signature of sealer {index}, the list has {sealers}")]
    IndexOutOfRange {
        /// which block it claims to be
        number: u64,
        /// the index
        index: u64,
        /// how many sealers there are
        sealers: usize,
    },
    /// A signature that does not hold.
    #[error("header {number}: the signature of sealer {index} does not verify")]
    Signature {
        /// which block it claims to be
        number: u64,
        /// the index
        index: u64,
    },
    /// Too little weight signed.
    #[error("header {number}: weight {signed} of the {which} sealers signed, {needed} is needed")]
    ShortQuorum {
        /// which block it claims to be
        number: u64,
        /// the set: `pinned` or `new`
        which: &'static str,
        /// weight of the valid signatures
        signed: u64,
        /// the quorum
        needed: u64,
    },
    /// A list that cannot be a sealer set.
    #[error("sealer list: {0}")]
    Set(&'static str),
}

impl ChainError {
    /// Whether the sealers' signatures are too few, as opposed to a header that is wrong in itself.
    pub fn is_short_quorum(&self) -> bool {
        matches!(self, Self::ShortQuorum { .. })
    }
}

/// The consensus nodes that may sign the next header: 1 to 256, each once, each of some weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealerSet(Vec<Sealer>);

impl SealerSet {
    /// From a list, in the chain's order.
    pub fn new(sealers: Vec<Sealer>) -> Result<Self, ChainError> {
        if sealers.is_empty() {
            return Err(ChainError::Set("must not be empty"));
        }
        if sealers.len() > MAX_SEALERS {
            return Err(ChainError::Set("must have at most 256 sealers"));
        }
        if sealers.iter().any(|s| s.weight == 0) {
            return Err(ChainError::Set("must give each sealer a weight of at least 1"));
        }
        let total = sealers.iter().try_fold(0u64, |sum, s| sum.checked_add(s.weight));
        if total.is_none_or(|t| t > MAX_TOTAL_WEIGHT) {
            return Err(ChainError::Set("must have a total weight of at most 2^53"));
        }
        let keys: BTreeSet<_> = sealers.iter().map(|s| s.key).collect();
        if keys.len() != sealers.len() {
            return Err(ChainError::Set("must not name a key twice"));
        }
        Ok(Self(sealers))
    }

    /// The set that signs block 1.
    pub fn of_genesis(genesis: &Genesis) -> Result<Self, ChainError> {
        Self::new(genesis.sealers.clone())
    }

    /// The sealers, in the chain's order.
    pub fn sealers(&self) -> &[Sealer] {
        &self.0
    }

    /// The sum of all weights.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|s| s.weight).sum()
    }

    /// The weight that must have signed: total − (total − 1)/3.
    pub fn quorum(&self) -> u64 {
        let total = self.total();
        total - total.saturating_sub(1) / 3
    }

    /// The weight of those of its members whose keys are listed.
    fn weight_of(&self, signers: &[Hex<64>]) -> u64 {
        self.0.iter().filter(|s| signers.contains(&s.key)).map(|s| s.weight).sum()
    }

    /// The set that a header names. To be trusted only if the header is verified, or its hash is known.
    pub fn named_by(header: &BlockHeader) -> Result<Self, ChainError> {
        let shape = |source| ChainError::Shape { number: header.number, source };
        let mut sealers = Vec::with_capacity(header.sealer_list.len());
        for (key, weight) in header.sealer_list.iter().zip(&header.consensus_weights) {
            sealers.push(Sealer { key: parse_fixed("sealerList", key).map_err(shape)?, weight: *weight });
        }
        Self::new(sealers)
    }
}

/// A header that a quorum signed. Only [`verify_header`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedHeader {
    hash: Digest,
    parent: Digest,
    number: Height,
    time: UnixMillis,
    txs_root: Digest,
    receipts_root: Digest,
    next: SealerSet,
    sealers_changed: bool,
}

impl VerifiedHeader {
    /// Its hash, computed.
    pub fn hash(&self) -> Digest {
        self.hash
    }
    /// Its parent's hash.
    pub fn parent(&self) -> Digest {
        self.parent
    }
    /// Its number.
    pub fn number(&self) -> Height {
        self.number
    }
    /// The proposer's time.
    pub fn time(&self) -> UnixMillis {
        self.time
    }
    /// Root of the transactions' hashes.
    pub fn txs_root(&self) -> Digest {
        self.txs_root
    }
    /// Root of the receipts' hashes.
    pub fn receipts_root(&self) -> Digest {
        self.receipts_root
    }
    /// The set that must sign the next header, or agree to another.
    pub fn next(&self) -> &SealerSet {
        &self.next
    }
    /// Whether it named another set than the one it was checked against.
    pub fn sealers_changed(&self) -> bool {
        self.sealers_changed
    }
}

/// Recomputes a header's hash and counts the weight that signed it, against the set that stood before it.
pub fn verify_header(header: &BlockHeader, set: &SealerSet) -> Result<VerifiedHeader, ChainError> {
    let number = header.number;
    let shape = |source| ChainError::Shape { number, source };
    let hash = header.compute_hash().map_err(shape)?;
    let claimed = parse_digest("hash", &header.hash).map_err(shape)?;
    if claimed != hash {
        return Err(ChainError::Hash { number, claimed, computed: hash });
    }
    let named = SealerSet::named_by(header)?;
    let signers = verify_signatures(header, &named, &hash)?;
    let changed = named != *set;
    reach(number, if changed { "new" } else { "pinned" }, &named, &signers)?;
    if changed {
        reach(number, "pinned", set, &signers)?;
    }
    let parent = header.parent_info.first();
    let parent = parent.map(|p| parse_digest("parentInfo.blockHash", &p.block_hash)).transpose();
    Ok(VerifiedHeader {
        hash,
        parent: parent.map_err(shape)?.unwrap_or(Hex([0; 32])),
        number: Height(number),
        time: UnixMillis(header.timestamp),
        txs_root: parse_digest("txsRoot", &header.txs_root).map_err(shape)?,
        receipts_root: parse_digest("receiptsRoot", &header.receipts_root).map_err(shape)?,
        next: named,
        sealers_changed: changed,
    })
}

fn reach(number: u64, which: &'static str, set: &SealerSet, signers: &[Hex<64>]) -> Result<(), ChainError> {
    let (signed, needed) = (set.weight_of(signers), set.quorum());
    if signed < needed {
        return Err(ChainError::ShortQuorum { number, which, signed, needed });
    }
    Ok(())
}

/// The keys that signed. A signature that does not hold makes the header wrong, even if others suffice:
/// FISCO keeps none, so somebody put it there.
fn verify_signatures(
    header: &BlockHeader,
    named: &SealerSet,
    hash: &Digest,
) -> Result<Vec<Hex<64>>, ChainError> {
    let number = header.number;
    let mut seen = BTreeSet::new();
    let mut signers = Vec::with_capacity(header.signature_list.len());
    for entry in &header.signature_list {
        let index = entry.sealer_index;
        if !seen.insert(index) {
            return Err(ChainError::RepeatedIndex { number, index });
        }
        let sealer = usize::try_from(index)
            .ok()
            .and_then(|i| named.0.get(i))
            .ok_or(ChainError::IndexOutOfRange { number, index, sealers: named.0.len() })?;
        let signature = parse_signature(&entry.signature, &sealer.key)
            .map_err(|source| ChainError::Shape { number, source })?;
        let key = PublicKey { scheme: Scheme::Sm2Sm3, point: sealer.key };
        gw_sm::verify(&key, &hash.0, &signature).map_err(|_| ChainError::Signature { number, index })?;
        signers.push(sealer.key);
    }
    Ok(signers)
}

/// r ‖ s; FISCO's SDKs append the signer's public key, which must then be the sealer's.
fn parse_signature(text: &str, key: &Hex<64>) -> Result<Signature, FiscoError> {
    let field = "signatureList.signature";
    let bytes = parse_0x(field, text, 128)?;
    let size = FiscoError::Size { field, expected: 64, found: bytes.len() };
    let (signature, rest) = bytes.split_first_chunk::<64>().ok_or(size.clone())?;
    match rest {
        [] => Ok(Hex(*signature)),
        appended if appended == key.0 => Ok(Hex(*signature)),
        [_, ..] if rest.len() == 64 => {
            Err(FiscoError::Value { field, rule: "appended key must be the sealer's" })
        }
        _ => Err(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::fisco::{Parent, SealerSignature, write_0x};
    use gw_sm::KeyPair;
    use proptest::prelude::*;

    fn real() -> BlockHeader {
        let path = format!(
            "{}/../../../tests/fixtures/fisco/fisco-bcos-3.3-sm-block2.json",
            env!("CARGO_MANIFEST_DIR")
        );
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn real_set() -> SealerSet {
        SealerSet::named_by(&real()).unwrap()
    }

    fn key(i: u8) -> KeyPair {
        KeyPair::from_secret(Scheme::Sm2Sm3, [i; 32]).unwrap()
    }

    fn set(keys: &[(u8, u64)]) -> SealerSet {
        let sealers =
            keys.iter().map(|(i, weight)| Sealer { key: key(*i).public_key().point, weight: *weight });
        SealerSet::new(sealers.collect()).unwrap()
    }

    /// A header that names `keys` and is signed by those at `signers`.
    fn header(keys: &[(u8, u64)], signers: &[usize]) -> BlockHeader {
        let zero = write_0x(&[0; 32]);
        let mut h = BlockHeader {
            version: 0,
            hash: String::new(),
            number: 7,
            parent_info: vec![Parent { block_number: 6, block_hash: zero.clone() }],
            txs_root: zero.clone(),
            receipts_root: zero.clone(),
            state_root: zero,
            gas_used: "0".into(),
            timestamp: 1,
            sealer: 0,
            sealer_list: keys.iter().map(|(i, _)| write_0x(&key(*i).public_key().point.0)).collect(),
            extra_data: "0x".into(),
            consensus_weights: keys.iter().map(|(_, w)| *w).collect(),
            signature_list: vec![],
        };
        let hash = h.compute_hash().unwrap();
        h.hash = write_0x(&hash.0);
        h.signature_list = signers
            .iter()
            .map(|i| SealerSignature {
                sealer_index: *i as u64,
                signature: write_0x(&key(keys[*i].0).sign(&hash.0).unwrap().0),
            })
            .collect();
        h
    }

    #[test]
    fn a_real_header_with_three_of_four_sealers() {
        let v = verify_header(&real(), &real_set()).unwrap();
        assert_eq!(v.number(), Height(2));
        assert_eq!(write_0x(&v.hash().0), real().hash);
        assert_eq!(write_0x(&v.parent().0), real().parent_info[0].block_hash);
        assert!(!v.sealers_changed());
        assert_eq!(real_set().quorum(), 3);
    }

    #[test]
    fn a_real_header_changed_is_refused() {
        let check = |change: &dyn Fn(&mut BlockHeader)| {
            let mut h = real();
            change(&mut h);
            verify_header(&h, &real_set()).unwrap_err()
        };
        let two = check(&|h| h.signature_list.truncate(2));
        assert_eq!(two, ChainError::ShortQuorum { number: 2, which: "pinned", signed: 2, needed: 3 });
        let repeated = check(&|h| h.signature_list[2] = h.signature_list[0].clone());
        assert_eq!(repeated, ChainError::RepeatedIndex { number: 2, index: 0 });
        let beyond = check(&|h| h.signature_list[2].sealer_index = 4);
        assert_eq!(beyond, ChainError::IndexOutOfRange { number: 2, index: 4, sealers: 4 });
        let swapped = check(&|h| h.signature_list[2].sealer_index = 3);
        assert_eq!(swapped, ChainError::Signature { number: 2, index: 3 });
        assert!(matches!(check(&|h| h.timestamp += 1), ChainError::Hash { .. }));
        assert!(matches!(check(&|h| h.sealer_list.reverse()), ChainError::Hash { .. }));
        assert!(matches!(check(&|h| h.extra_data = "0x00".into()), ChainError::Shape { .. }));
        let twice = check(&|h| h.sealer_list[1] = h.sealer_list[0].clone());
        assert!(matches!(twice, ChainError::Hash { .. }));
    }

    #[test]
    fn the_key_may_be_appended_to_a_signature() {
        let keys = [(1, 1)];
        let mut h = header(&keys, &[0]);
        let appended = |h: &mut BlockHeader, key: &Hex<64>| {
            h.signature_list[0].signature = format!("{}{key}", &h.signature_list[0].signature[..130]);
        };
        appended(&mut h, &key(1).public_key().point);
        verify_header(&h, &set(&keys)).unwrap();
        appended(&mut h, &key(2).public_key().point);
        assert!(matches!(verify_header(&h, &set(&keys)), Err(ChainError::Shape { .. })));
    }

    #[test]
    fn a_set_is_sane() {
        let s = |i: u8, weight| Sealer { key: Hex([i; 64]), weight };
        assert!(SealerSet::new(vec![]).is_err());
        assert!(SealerSet::new(vec![s(1, 0)]).is_err());
        assert!(SealerSet::new(vec![s(1, 1), s(1, 1)]).is_err());
        assert!(SealerSet::new(vec![s(1, u64::MAX), s(2, 1)]).is_err());
        let many = (0..=MAX_SEALERS).map(|i| {
            let mut sealer = s(0, 1);
            sealer.key.0[..8].copy_from_slice(&(i as u64).to_be_bytes());
            sealer
        });
        assert!(SealerSet::new(many.collect()).is_err());
        for (total, quorum) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7)] {
            assert_eq!(SealerSet::new(vec![s(1, total)]).unwrap().quorum(), quorum, "{total}");
        }
    }

    #[test]
    fn another_set_needs_the_old_quorum_too() {
        let old = [(1, 1), (2, 1), (3, 1), (4, 1)];
        // one more sealer, signed by four of five: three of the old among them
        let more = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)];
        let v = verify_header(&header(&more, &[0, 1, 2, 4]), &set(&old)).unwrap();
        assert!(v.sealers_changed());
        assert_eq!(v.next(), &set(&more));
        // a set of strangers signs for itself
        let strangers = [(11, 1), (12, 1), (13, 1), (14, 1)];
        let error = verify_header(&header(&strangers, &[0, 1, 2, 3]), &set(&old)).unwrap_err();
        assert_eq!(error, ChainError::ShortQuorum { number: 7, which: "pinned", signed: 0, needed: 3 });
        // two of the old and two new ones
        let mixed = [(1, 1), (2, 1), (11, 1), (12, 1)];
        let error = verify_header(&header(&mixed, &[0, 1, 2, 3]), &set(&old)).unwrap_err();
        assert_eq!(error, ChainError::ShortQuorum { number: 7, which: "pinned", signed: 2, needed: 3 });
        // the old quorum alone does not make the new one
        let heavy = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 10)];
        let error = verify_header(&header(&heavy, &[0, 1, 2, 3]), &set(&old)).unwrap_err();
        assert_eq!(error, ChainError::ShortQuorum { number: 7, which: "new", signed: 4, needed: 10 });
        // the old weights count for the old quorum, not those that the header gives its signers
        let lifted = [(1, 100), (2, 1), (3, 1), (4, 1)];
        let error = verify_header(&header(&lifted, &[0, 1]), &set(&old)).unwrap_err();
        assert_eq!(error, ChainError::ShortQuorum { number: 7, which: "pinned", signed: 2, needed: 3 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Accepted if and only if the signers' weight reaches the quorum.
        #[test]
        fn weight_decides(weights in prop::collection::vec(1u64..9, 1..6), mask: u8) {
            let keys: Vec<(u8, u64)> = weights.iter().enumerate().map(|(i, w)| (u8::try_from(i).unwrap() + 1, *w)).collect();
            let signers: Vec<usize> = (0..keys.len()).filter(|i| mask >> i & 1 == 1).collect();
            let signed: u64 = signers.iter().map(|i| weights[*i]).sum();
            let total: u64 = weights.iter().sum();
            let enough = 3 * signed > 2 * total; // more than two thirds
            let result = verify_header(&header(&keys, &signers), &set(&keys));
            prop_assert_eq!(result.is_ok(), enough, "{} of {}", signed, total);
        }
    }
}
