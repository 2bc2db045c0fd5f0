//! A log that only grows: tree hashes and both proofs of RFC 9162 §2.1, over SM3.
//!
//! The hashes of complete subtrees are stored where the log is ([`Place`]); a [`Frontier`] of at most 63 of them adds
//! an entry without reading any. Proofs read a few: O(log² n). Entries before [`forgotten`] can be let go.

use gw_proto::{Digest, merkle::node_hash, sm3};

/// No log is larger: beyond it canonical JSON has no integers.
pub const MAX_SIZE: u64 = (1 << 53) - 1;
/// No proof is longer.
pub const MAX_PATH: usize = 2 * 53;

/// A complete subtree: `2^level` leaves, the `index`-th of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// 0 for a leaf
    pub level: u32,
    /// from 0, from the left
    pub index: u64,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The entry lies outside the log, or the older log is the larger.
    #[error("{part} does not lie in a log of {size} entries")]
    Outside {
        /// index, or size of the older log
        part: u64,
        /// of the log
        size: u64,
    },
    /// Too few hashes, or too many.
    #[error("the proof has {found} hashes, which is not the number for these sizes")]
    Length {
        /// hashes there
        found: usize,
    },
    /// It leads to another root.
    #[error("the proof does not lead to the log's root")]
    Root,
    /// The older log is not the beginning of the newer.
    #[error("the older log is not the beginning of the newer: it was rewritten")]
    Rewritten,
    /// As many subtrees as the size has ones in binary.
    #[error("a log of {size} entries does not end in {found} subtrees")]
    Frontier {
        /// of the log
        size: u64,
        /// subtrees there
        found: usize,
    },
}

/// MTH of one entry: SM3(0x00 ‖ entry).
pub fn leaf_hash(entry: &[u8]) -> Digest {
    sm3(&[&[0], entry].concat())
}

/// The right edge of a log: enough to add to it, and to tell its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// complete subtrees, the largest first
    peaks: Vec<Digest>,
}

impl Frontier {
    /// As it was: size and [`peaks`](Self::peaks).
    pub fn restore(size: u64, peaks: Vec<Digest>) -> Result<Self, LogError> {
        if size > MAX_SIZE || usize::try_from(size.count_ones()).ok() != Some(peaks.len()) {
            return Err(LogError::Frontier { size, found: peaks.len() });
        }
        Ok(Self { size, peaks })
    }

    /// Entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Complete subtrees, the largest first.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Adds an entry's leaf. The subtrees that it completes: to be stored, itself among them.
    pub fn push(&mut self, leaf: Digest) -> Vec<(Place, Digest)> {
        let (mut place, mut hash) = (Place { level: 0, index: self.size }, leaf);
        let mut made = vec![(place, hash)];
        while place.index % 2 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = node_hash(&left, &hash);
            place = Place { level: place.level + 1, index: place.index / 2 };
            made.push((place, hash));
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
        made
    }

    /// The log's hash; of an empty one SM3 of nothing.
    pub fn root(&self) -> Digest {
        let right_to_left = self.peaks.iter().rev().copied();
        right_to_left.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(|| sm3(&[]))
    }
}

/// The subtrees that a log of `size` entries ends in, the largest first.
pub fn peaks_of(size: u64) -> Vec<Place> {
    let levels = (0..u64::BITS).rev().filter(|level| (size >> level) & 1 == 1);
    levels.map(|level| Place { level, index: (size >> level) - 1 }).collect()
}

/// Places that no proof about an entry from `first` on reads any more, once the entry before it was let go.
pub fn forgotten(first: u64) -> Vec<Place> {
    let levels = if first == 0 { 0..0 } else { 0..first.trailing_zeros() };
    levels
        .flat_map(|level| [2, 1].map(|back| Place { level, index: (first >> level).saturating_sub(back) }))
        .collect()
}

/// The largest power of two below `width`, which is at least 2.
fn split(width: u64) -> u64 {
    width.next_power_of_two() / 2
}

/// MTH of the entries from `start` until `end`, as the recursion of RFC 9162 §2.1.1 cuts them.
fn range<E>(read: &mut impl FnMut(Place) -> Result<Digest, E>, start: u64, end: u64) -> Result<Digest, E> {
    let width = end.saturating_sub(start);
    if width.is_power_of_two() {
        let level = width.trailing_zeros();
        return read(Place { level, index: start >> level });
    }
    let middle = start + split(width);
    let left = range(read, start, middle)?;
    Ok(node_hash(&left, &range(read, middle, end)?))
}

/// PATH of RFC 9162 §2.1.3.1, from the leaf up. Empty where the entry lies outside; nothing verifies then.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    mut read: impl FnMut(Place) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let (mut start, mut end, mut path) = (0, size, Vec::new());
    while index < size && end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range(&mut read, middle, end)?);
            end = middle;
        } else {
            path.push(range(&mut read, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// PROOF of RFC 9162 §2.1.4.1 that the first `older` of `size` entries are the older log.
pub fn consistency<E>(
    older: u64,
    size: u64,
    mut read: impl FnMut(Place) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let (mut start, mut end, mut path) = (0, size, Vec::new());
    while (1..size).contains(&older) && older != end {
        let middle = start + split(end - start);
        if older <= middle {
            path.push(range(&mut read, middle, end)?);
            end = middle;
        } else {
            path.push(range(&mut read, start, middle)?);
            start = middle;
        }
    }
    // whoever checks knows the older root already, where this is all of it
    if start > 0 {
        path.push(range(&mut read, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks an inclusion proof (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    path: &[Digest],
    root: &Digest,
) -> Result<(), LogError> {
    if index >= size || size > MAX_SIZE {
        return Err(LogError::Outside { part: index, size });
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return Err(LogError::Length { found: path.len() });
        }
        if climb(&mut at, &mut last) {
            hash = node_hash(sibling, &hash);
        } else {
            hash = node_hash(&hash, sibling);
        }
    }
    if last != 0 {
        return Err(LogError::Length { found: path.len() });
    }
    if hash == *root { Ok(()) } else { Err(LogError::Root) }
}

/// Checks a consistency proof (RFC 9162 §2.1.4.2): that `older` is the beginning of `newer`; each size and root.
pub fn verify_consistency(
    older: (u64, &Digest),
    newer: (u64, &Digest),
    path: &[Digest],
) -> Result<(), LogError> {
    let (size, root) = newer;
    if older.0 == 0 || older.0 > size || size > MAX_SIZE {
        return Err(LogError::Outside { part: older.0, size });
    }
    if older.0 == size {
        let same = path.is_empty() && older.1 == root;
        return if same { Ok(()) } else { Err(LogError::Rewritten) };
    }
    let (mut at, mut last) = (older.0 - 1, size - 1);
    let complete = at.trailing_ones();
    (at, last) = (at >> complete, last >> complete);
    let length = LogError::Length { found: path.len() };
    // a complete older tree is itself what the proof begins with
    let (first, rest) = if at == 0 { (older.1, path) } else { path.split_first().ok_or(length)? };
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(length);
        }
        if climb(&mut at, &mut last) {
            (old, new) = (node_hash(sibling, &old), node_hash(sibling, &new));
        } else {
            new = node_hash(&new, sibling);
        }
    }
    if last != 0 {
        return Err(length);
    }
    if new != *root {
        return Err(LogError::Root);
    }
    if old == *older.1 { Ok(()) } else { Err(LogError::Rewritten) }
}

/// One step up; whether the sibling stands on the left. A right edge without sibling rises until it has one.
fn climb(at: &mut u64, last: &mut u64) -> bool {
    let left = *at % 2 == 1 || at == last;
    if left {
        while at.is_multiple_of(2) && *at != 0 {
            (*at, *last) = (*at >> 1, *last >> 1);
        }
    }
    (*at, *last) = (*at >> 1, *last >> 1);
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A log with the hashes that it would store.
    #[derive(Default)]
    struct Kept {
        frontier: Frontier,
        nodes: BTreeMap<Place, Digest>,
        leaves: Vec<Digest>,
    }

    impl Kept {
        fn of(size: u64, seed: u64) -> Self {
            let mut this = Self::default();
            (0..size).for_each(|n| this.add(&[seed.to_be_bytes(), n.to_be_bytes()].concat()));
            this
        }
        fn add(&mut self, entry: &[u8]) {
            let leaf = leaf_hash(entry);
            self.leaves.push(leaf);
            self.nodes.extend(self.frontier.push(leaf));
        }
        fn read(&self) -> impl FnMut(Place) -> Result<Digest, Place> + '_ {
            |place| self.nodes.get(&place).copied().ok_or(place)
        }
        fn root_at(&self, size: u64) -> Digest {
            naive(&self.leaves[..usize::try_from(size).unwrap()])
        }
        fn forget_until(&mut self, first: u64) {
            for first in 1..=first {
                for place in forgotten(first) {
                    self.nodes.remove(&place);
                }
            }
        }
    }

    /// MTH word for word out of RFC 9162 §2.1.1.
    fn naive(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => sm3(&[]),
            [one] => *one,
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                node_hash(&naive(&leaves[..k]), &naive(&leaves[k..]))
            }
        }
    }

    #[test]
    fn roots_are_those_of_the_rfc_and_of_our_batches() {
        let mut log = Kept::default();
        for size in 0..=260_u64 {
            assert_eq!(log.frontier.root(), log.root_at(size), "{size}");
            let places = peaks_of(size);
            let kept: Vec<Digest> = places.iter().map(|p| log.nodes[p]).collect();
            assert_eq!(Frontier::restore(size, kept).unwrap(), log.frontier);
            if size > 0 {
                let path = inclusion(0, size, log.read()).unwrap();
                let other = batch::root_from_path(&log.leaves[0], 0, u32::try_from(size).unwrap(), &path);
                assert_eq!(other.unwrap(), log.frontier.root(), "the batches' verifier, {size}");
            }
            log.add(&size.to_be_bytes());
        }
    }

    #[test]
    fn every_pair_of_sizes_and_every_entry() {
        let log = Kept::of(70, 1);
        for size in 1..=70 {
            let root = log.root_at(size);
            for part in 0..size {
                let path = inclusion(part, size, log.read()).unwrap();
                let leaf = log.leaves[usize::try_from(part).unwrap()];
                assert_eq!(verify_inclusion(&leaf, part, size, &path, &root), Ok(()), "{part} of {size}");
                let older = part + 1;
                let path = consistency(older, size, log.read()).unwrap();
                let proved = verify_consistency((older, &log.root_at(older)), (size, &root), &path);
                assert_eq!(proved, Ok(()), "{older} then {size}");
            }
        }
    }

    #[test]
    fn what_is_outside_is_refused() {
        let log = Kept::of(5, 1);
        let (root, leaf) = (log.root_at(5), log.leaves[0]);
        assert_eq!(inclusion(5, 5, log.read()).unwrap(), []);
        assert_eq!(verify_inclusion(&leaf, 5, 5, &[], &root), Err(LogError::Outside { part: 5, size: 5 }));
        assert_eq!(verify_inclusion(&leaf, 0, 0, &[], &root), Err(LogError::Outside { part: 0, size: 0 }));
        let none = verify_consistency((0, &sm3(&[])), (5, &root), &[]);
        assert_eq!(
            none,
            Err(LogError::Outside { part: 0, size: 5 }),
            "nothing is the beginning of everything"
        );
        let larger = verify_consistency((6, &root), (5, &root), &[]);
        assert_eq!(larger, Err(LogError::Outside { part: 6, size: 5 }));
        let huge = verify_inclusion(&leaf, 0, u64::MAX, &[leaf; 64], &root);
        assert!(matches!(huge, Err(LogError::Outside { .. })));
        assert!(Frontier::restore(3, vec![leaf]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// Random logs: whatever is changed in a proof, it does not hold any more. Proptest prints the seed.
        #[test]
        fn any_change_fails(
            seed: u64, size in 1u64..400, at: u64, from: u64, bit in 0usize..256, which: usize,
        ) {
            let log = Kept::of(size, seed);
            let (index, older) = (at % size, from % size + 1);
            let (leaf, root) = (log.leaves[usize::try_from(index).unwrap()], log.root_at(size));
            let flip = |d: &Digest| { let mut d = *d; d.0[bit / 8] ^= 1 << (bit % 8); d };
            let altered = |path: &[Digest]| {
                let mut all = vec![[path, &[leaf]].concat()];
                if !path.is_empty() {
                    let mut one = path.to_vec();
                    one[which % path.len()] = flip(&one[which % path.len()]);
                    all.extend([one, path[1..].to_vec(), path[..path.len() - 1].to_vec()]);
                }
                all
            };

            let path = inclusion(index, size, log.read()).unwrap();
            prop_assert_eq!(verify_inclusion(&leaf, index, size, &path, &root), Ok(()));
            prop_assert!(path.len() <= 9);
            for bad in altered(&path) {
                prop_assert!(verify_inclusion(&leaf, index, size, &bad, &root).is_err());
            }
            prop_assert!(verify_inclusion(&flip(&leaf), index, size, &path, &root).is_err());
            prop_assert!(verify_inclusion(&leaf, index, size, &path, &flip(&root)).is_err());
            for other in (0..size).filter(|o| *o != index) {
                prop_assert!(verify_inclusion(&leaf, other, size, &path, &root).is_err(), "as entry {}", other);
            }

            let path = consistency(older, size, log.read()).unwrap();
            let old = log.root_at(older);
            prop_assert_eq!(verify_consistency((older, &old), (size, &root), &path), Ok(()));
            for bad in altered(&path) {
                prop_assert!(verify_consistency((older, &old), (size, &root), &bad).is_err());
            }
            prop_assert!(verify_consistency((older, &flip(&old)), (size, &root), &path).is_err());
            prop_assert!(verify_consistency((older, &old), (size, &flip(&root)), &path).is_err());
        }

        /// One entry of the past is another, all hashes made anew: the old head is no beginning of it.
        #[test]
        fn a_rewritten_past_has_no_proof(seed: u64, size in 2u64..300, at: u64, from: u64) {
            let older = from % (size - 1) + 1;
            let changed = at % older;
            let (honest, mut forged) = (Kept::of(older, seed), Kept::default());
            for n in 0..size {
                let seed = if n == changed { seed.wrapping_add(1) } else { seed };
                forged.add(&[seed.to_be_bytes(), n.to_be_bytes()].concat());
            }
            let path = consistency(older, size, forged.read()).unwrap();
            let found = verify_consistency((older, &honest.root_at(older)), (size, &forged.root_at(size)), &path);
            prop_assert!(found.is_err());
        }

        /// What is left after forgetting proves all that is kept, and nothing more is left than that takes.
        #[test]
        fn forgetting_keeps_the_proofs_of_what_is_kept(seed: u64, size in 1u64..300, keep: u64) {
            let first = keep % size;
            let mut log = Kept::of(size, seed);
            log.forget_until(first);
            let root = log.root_at(size);
            for index in first..size {
                let path = inclusion(index, size, log.read()).unwrap();
                let leaf = log.leaves[usize::try_from(index).unwrap()];
                prop_assert_eq!(verify_inclusion(&leaf, index, size, &path, &root), Ok(()));
            }
            for older in first.max(1)..=size {
                let path = consistency(older, size, log.read()).unwrap();
                prop_assert_eq!(verify_consistency((older, &log.root_at(older)), (size, &root), &path), Ok(()));
            }
            let kept: Vec<Digest> = peaks_of(first).iter().map(|p| log.nodes[p]).collect();
            prop_assert_eq!(Frontier::restore(first, kept).unwrap().root(), log.root_at(first));
            let bound = 2 * (size - first) + 2 * 64;
            prop_assert!(u64::try_from(log.nodes.len()).unwrap() <= bound, "{} nodes", log.nodes.len());
        }
    }
}
