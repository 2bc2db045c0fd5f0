//! Width-2 Merkle trees as FISCO BCOS 3 builds them.
//!
//! Node = SM3(left ‖ right). An odd node at the end of a level stands alone and is *hashed alone*:
//! SM3(node); it does not move up unchanged and is not doubled (FISCO-BCOS 3.x `merkle/Merkle.h`,
//! `calculateLevelHashes`). A tree of one leaf has the leaf as its root, an empty one 32 zero bytes.
//! Leaves and inner nodes are not told apart by a prefix: whoever takes a leaf from outside must check what
//! it is the hash of (`Transaction::is_of_chain`). There is no outside vector for more than one leaf.

use crate::{
    bytes::Hex,
    canon::{self, Digest},
};

fn parent(pair: &[Digest]) -> Digest {
    let bytes: Vec<u8> = pair.iter().flat_map(|d| d.0).collect();
    canon::sm3(&bytes)
}

fn next_level(level: &[Digest]) -> Vec<Digest> {
    level.chunks(2).map(parent).collect()
}

/// The root over the leaves, in order.
pub fn merkle_root(leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = next_level(&level);
    }
    level.first().copied().unwrap_or(Hex([0; 32]))
}

/// The siblings of a leaf from the bottom up; a level where its node stands alone adds none. Empty if the
/// index is out of range.
pub fn merkle_path(leaves: &[Digest], index: usize) -> Vec<Digest> {
    let mut path = Vec::new();
    if index >= leaves.len() {
        return path;
    }
    let (mut level, mut at) = (leaves.to_vec(), index);
    while level.len() > 1 {
        path.extend(level.get(at ^ 1));
        level = next_level(&level);
        at /= 2;
    }
    path
}

/// The root that a leaf at `index` of `count` has with these siblings; `None` if the path is too short, too
/// long, or the index out of range.
pub fn merkle_root_from_path(leaf: Digest, index: usize, count: usize, path: &[Digest]) -> Option<Digest> {
    if index >= count {
        return None;
    }
    let (mut node, mut at, mut width, mut path) = (leaf, index, count, path.iter());
    while width > 1 {
        node = if at % 2 == 1 {
            parent(&[*path.next()?, node])
        } else if at + 1 < width {
            parent(&[node, *path.next()?])
        } else {
            parent(&[node])
        };
        at /= 2;
        width = width.div_ceil(2);
    }
    if path.next().is_some() { None } else { Some(node) }
}
