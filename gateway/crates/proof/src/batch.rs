//! Trees over up to 1024 leaves, their paths, and the check of one signed leaf.
//!
//! The shape follows from the number of leaves alone: a node without a sibling moves up unchanged and
//! adds nothing to a path. So index and size fix a path's length, and a path of any other length is
//! refused before anything is hashed.

use crate::ProofError;
use gw_proto::{
    Digest, PublicKey,
    merkle::{Leaf, LeafKind, MAX_LEAVES, ROOT_CONTEXT, SignedLeaf, node_hash},
};

/// A built tree: hashes of all levels, leaves first.
#[derive(Debug, Clone)]
pub struct Tree {
    levels: Vec<Vec<Digest>>,
}

/// Builds the tree over 1 to 1024 leaves.
pub fn build(leaves: &[Leaf]) -> Result<Tree, ProofError> {
    check_count(leaves.len())?;
    let hashes = leaves
        .iter()
        .enumerate()
        .map(|(index, l)| l.hash().ok_or(ProofError::AudienceTooLong { index }))
        .collect::<Result<_, _>>()?;
    Ok(Tree::over(hashes))
}

fn check_count(found: usize) -> Result<(), ProofError> {
    match u32::try_from(found) {
        Ok(1..=MAX_LEAVES) => Ok(()),
        _ => Err(ProofError::LeafCount { found }),
    }
}

impl Tree {
    fn over(hashes: Vec<Digest>) -> Self {
        let mut levels = vec![hashes];
        while let Some(below) = levels.last().filter(|l| l.len() > 1) {
            let above = below
                .chunks(2)
                .filter_map(|pair| match pair {
                    [left, right] => Some(node_hash(left, right)),
                    [alone] => Some(*alone),
                    _ => None,
                })
                .collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// The tree's hash.
    pub fn root(&self) -> Digest {
        // never empty: `build` refuses no leaves, and every level above has at least one node
        self.levels.last().and_then(|l| l.first()).copied().unwrap_or(gw_proto::Hex([0; 32]))
    }

    /// Number of leaves.
    pub fn size(&self) -> u32 {
        self.levels.first().and_then(|l| u32::try_from(l.len()).ok()).unwrap_or(0)
    }

    /// Siblings from the leaf up; `None` if there is no such leaf.
    pub fn path(&self, index: u32) -> Option<Vec<Digest>> {
        let mut at = usize::try_from(index).ok()?;
        self.levels.first()?.get(at)?;
        let mut path = Vec::new();
        for level in &self.levels {
            path.extend(level.get(at ^ 1).filter(|_| level.len() > 1));
            at /= 2;
        }
        Some(path)
    }
}

/// The levels, from the leaf up, at which the node has a sibling; true where it stands on the right.
fn turns(index: u32, size: u32) -> impl Iterator<Item = bool> {
    let (mut at, mut width) = (index, size);
    std::iter::from_fn(move || {
        while width > 1 {
            let (here, there) = (at, at ^ 1);
            let paired = there < width;
            at /= 2;
            width = width.div_ceil(2);
            if paired {
                return Some(here % 2 == 1);
            }
        }
        None
    })
}

/// The root that a leaf's hash and path lead to, in a tree of `size` leaves.
pub fn root_from_path(leaf: &Digest, index: u32, size: u32, path: &[Digest]) -> Result<Digest, ProofError> {
    if !(1..=MAX_LEAVES).contains(&size) {
        return Err(ProofError::Size { found: size });
    }
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    let expected = turns(index, size).count();
    if path.len() != expected {
        return Err(ProofError::PathLength { expected, found: path.len() });
    }
    Ok(turns(index, size).zip(path).fold(*leaf, |node, (on_the_right, sibling)| {
        if on_the_right { node_hash(sibling, &node) } else { node_hash(&node, sibling) }
    }))
}

/// Checks one message's signature: right kind, right audience, right message, right key, whole path.
///
/// Cheap comparisons come first, so that a stranger's message costs no curve arithmetic.
pub fn verify_leaf(
    signed: &SignedLeaf,
    key: &PublicKey,
    kind: LeafKind,
    audience: &str,
    digest: &Digest,
) -> Result<(), ProofError> {
    let (leaf, root) = (&signed.leaf, &signed.root);
    if root.context != ROOT_CONTEXT {
        return Err(ProofError::Context);
    }
    if leaf.kind != kind {
        return Err(ProofError::Kind { expected: kind, found: leaf.kind });
    }
    if leaf.audience != audience {
        return Err(ProofError::Audience);
    }
    if leaf.digest != *digest {
        return Err(ProofError::Digest);
    }
    if root.key_id != key.id() {
        return Err(ProofError::KeyId { expected: key.id(), found: root.key_id });
    }
    let hash = leaf.hash().ok_or(ProofError::AudienceTooLong { index: 0 })?;
    if root_from_path(&hash, signed.index, root.size, &signed.path)? != root.root {
        return Err(ProofError::Root);
    }
    let input = signed.root_signing_input().map_err(|_| ProofError::Canon)?;
    gw_sm::verify(key, &input, &signed.signature).map_err(|_| ProofError::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gw_proto::{Hex, Scheme, UnixMillis, merkle::Root, sm3};
    use gw_sm::KeyPair;
    use proptest::prelude::*;

    fn leaf(i: u32) -> Leaf {
        Leaf {
            kind: LeafKind::Reply,
            audience: "bank-suzhou".into(),
            salt: sm3(&i.to_be_bytes()),
            digest: sm3(&[b"digest", &i.to_be_bytes()[..]].concat()),
        }
    }

    fn signed(key: &KeyPair, size: u32, index: u32) -> SignedLeaf {
        let leaves: Vec<Leaf> = (0..size).map(leaf).collect();
        let tree = build(&leaves).unwrap();
        let root = Root {
            context: ROOT_CONTEXT.into(),
            key_id: key.public_key().id(),
            size,
            time: UnixMillis(1_790_000_000_000),
            root: tree.root(),
        };
        let mut s = SignedLeaf {
            leaf: leaves[index as usize].clone(),
            index,
            path: tree.path(index).unwrap(),
            root,
            signature: Hex([0; 64]),
        };
        s.signature = key.sign(&s.root_signing_input().unwrap()).unwrap();
        s
    }

    fn check(s: &SignedLeaf, key: &KeyPair, i: u32) -> Result<(), ProofError> {
        verify_leaf(s, key.public_key(), LeafKind::Reply, "bank-suzhou", &leaf(i).digest)
    }

    #[test]
    fn every_leaf_of_every_size_leads_to_the_root() {
        let hashes: Vec<Digest> = (0..MAX_LEAVES).map(|i| sm3(&i.to_be_bytes())).collect();
        for size in 1..=MAX_LEAVES {
            let tree = Tree::over(hashes[..size as usize].to_vec());
            assert_eq!(tree.size(), size);
            for index in 0..size {
                let path = tree.path(index).unwrap();
                assert!(path.len() <= 10);
                let root = root_from_path(&hashes[index as usize], index, size, &path);
                assert_eq!(root, Ok(tree.root()), "leaf {index} of {size}");
            }
            assert_eq!(tree.path(size), None);
        }
    }

    /// RFC-6962-like drawing of five leaves: ((ab)(cd))e, with e moved up twice.
    #[test]
    fn a_lone_node_moves_up_unchanged() {
        let leaves: Vec<Leaf> = (0..5).map(leaf).collect();
        let h: Vec<Digest> = leaves.iter().map(|l| l.hash().unwrap()).collect();
        let (ab, cd) = (node_hash(&h[0], &h[1]), node_hash(&h[2], &h[3]));
        let tree = build(&leaves).unwrap();
        assert_eq!(tree.root(), node_hash(&node_hash(&ab, &cd), &h[4]));
        assert_eq!(tree.path(4).unwrap(), vec![node_hash(&ab, &cd)]);
        assert_eq!(tree.path(2).unwrap(), vec![h[3], ab, h[4]]);
        assert_eq!(build(&leaves[..1]).unwrap().root(), h[0]);
    }

    #[test]
    fn no_leaves_too_many_leaves_long_audience() {
        assert_eq!(build(&[]).unwrap_err(), ProofError::LeafCount { found: 0 });
        let many: Vec<Leaf> = (0..=MAX_LEAVES).map(leaf).collect();
        assert_eq!(build(&many).unwrap_err(), ProofError::LeafCount { found: 1025 });
        let long = Leaf { audience: "x".repeat(129), ..leaf(0) };
        assert_eq!(build(&[leaf(1), long]).unwrap_err(), ProofError::AudienceTooLong { index: 1 });
    }

    /// An inner node can't be passed off as a leaf, nor a leaf as an inner node: their first bytes differ.
    #[test]
    fn leaf_and_node_cannot_be_confused() {
        let key = KeyPair::from_secret(Scheme::Sm2Sm3, [7; 32]).unwrap();
        let four = signed(&key, 4, 0);
        // claim: a tree of two, whose first leaf is the inner node over leaves 0 and 1
        let mut two = four.clone();
        two.path = vec![four.path[1]];
        two.root.size = 2;
        two.signature = key.sign(&two.root_signing_input().unwrap()).unwrap();
        assert_eq!(check(&two, &key, 0), Err(ProofError::Root));
        // and the 65 bytes under an inner node's hash are never the bytes under a leaf's
        let (a, b) = (leaf(0).hash().unwrap(), leaf(1).hash().unwrap());
        let under_node = [&[1u8][..], &a.0, &b.0].concat();
        assert_eq!(sm3(&under_node), node_hash(&a, &b));
        let mut under_leaf = under_node;
        under_leaf[0] = 0;
        assert_ne!(sm3(&under_leaf), node_hash(&a, &b));
    }

    #[test]
    fn context_kind_audience_and_size_are_named() {
        let key = KeyPair::from_secret(Scheme::EcdsaP256Sha256, [7; 32]).unwrap();
        let good = signed(&key, 3, 1);
        check(&good, &key, 1).unwrap();
        let k = key.public_key();
        let d = leaf(1).digest;
        let as_request = verify_leaf(&good, k, LeafKind::Request, "bank-suzhou", &d);
        assert_eq!(as_request, Err(ProofError::Kind { expected: LeafKind::Request, found: LeafKind::Reply }));
        assert_eq!(verify_leaf(&good, k, LeafKind::Reply, "bank-wuxi", &d), Err(ProofError::Audience));
        assert_eq!(check(&good, &key, 2), Err(ProofError::Digest));
        let mut bad = good.clone();
        bad.root.context = "another-batch".into();
        bad.signature = key.sign(&bad.root_signing_input().unwrap()).unwrap();
        assert_eq!(check(&bad, &key, 1), Err(ProofError::Context));
        let mut bad = good.clone();
        bad.index = 3;
        assert_eq!(check(&bad, &key, 1), Err(ProofError::Index { index: 3, size: 3 }));
        let mut bad = good.clone();
        bad.root.size = 0;
        assert_eq!(check(&bad, &key, 1), Err(ProofError::Size { found: 0 }));
        let mut bad = good.clone();
        bad.root.size = 1025;
        assert_eq!(check(&bad, &key, 1), Err(ProofError::Size { found: 1025 }));
        let mut bad = good.clone();
        bad.path = vec![sm3(b"x"); 5_000];
        assert_eq!(check(&bad, &key, 1), Err(ProofError::PathLength { expected: 2, found: 5_000 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_change_fails(
            size in 1u32..=1024, at in 0u32..1024, byte in 0usize..32, bit in 0u8..8, other in 0u32..1024,
        ) {
            let index = at % size;
            let key = KeyPair::from_secret(Scheme::Sm2Sm3, [7; 32]).unwrap();
            let good = signed(&key, size, index);
            prop_assert_eq!(check(&good, &key, index), Ok(()));

            let flip = |d: &mut Digest| d.0[byte] ^= 1 << bit;
            let mut bad = Vec::new();
            let mut change = |f: &dyn Fn(&mut SignedLeaf)| {
                let mut s = good.clone();
                f(&mut s);
                if s != good { bad.push(s); }
            };
            change(&|s| flip(&mut s.leaf.digest));
            change(&|s| flip(&mut s.leaf.salt));
            change(&|s| s.leaf.kind = LeafKind::Request);
            change(&|s| s.leaf.audience.push('x'));
            change(&|s| s.index = other % size);
            change(&|s| s.index = s.index.wrapping_add(size));
            change(&|s| s.path.iter_mut().for_each(flip));
            change(&|s| { let n = s.path.len().max(1); if let Some(p) = s.path.get_mut(byte % n) { flip(p) } });
            change(&|s| s.path.push(sm3(b"one more")));
            change(&|s| { s.path.pop(); });
            change(&|s| s.path.reverse());
            change(&|s| s.root.size = other + 1);
            change(&|s| s.root.time.0 += 1);
            change(&|s| flip(&mut s.root.root));
            change(&|s| flip(&mut s.root.key_id.0));
            change(&|s| s.root.context.push('2'));
            change(&|s| s.signature.0[byte] ^= 1 << bit);
            change(&|s| s.signature.0[32 + byte] ^= 1 << bit);
            for s in &bad {
                prop_assert!(check(s, &key, index).is_err(), "{:?}", s);
            }
            // the right leaf under another key, with and without that key's id in the root
            let wrong = KeyPair::from_secret(Scheme::Sm2Sm3, [8; 32]).unwrap();
            prop_assert!(check(&good, &wrong, index).is_err());
            let mut claimed = good.clone();
            claimed.root.key_id = wrong.public_key().id();
            prop_assert_eq!(check(&claimed, &wrong, index), Err(ProofError::Signature));
        }
    }
}
