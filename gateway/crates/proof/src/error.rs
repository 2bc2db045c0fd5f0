//! Why a tree is not built, a leaf is not believed, a trust file is not taken.

use gw_proto::merkle::{LeafKind, MAX_LEAVES};

/// Everything that goes wrong in this crate outside a verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No leaves, or more than 1024.
    #[error("a tree has 1 to {MAX_LEAVES} leaves, found {found}")]
    LeafCount {
        /// leaves found
        found: usize,
    },
    /// The audience is longer than 128 bytes.
    #[error("leaf {index} has an audience of more than 128 bytes")]
    AudienceTooLong {
        /// which leaf
        index: usize,
    },
    /// The root does not name this protocol's context.
    #[error("the signed root is not of context `{}`", gw_proto::merkle::ROOT_CONTEXT)]
    Context,
    /// The root claims no leaves, or more than 1024.
    #[error("the signed root claims {found} leaves, a tree has 1 to {MAX_LEAVES}")]
    Size {
        /// leaves claimed
        found: u32,
    },
    /// The index lies outside the tree.
    #[error("leaf index {index} lies outside a tree of {size} leaves")]
    Index {
        /// the index
        index: u32,
        /// leaves in the tree
        size: u32,
    },
    /// The path has not the length that index and size call for.
    #[error("the path has {found} hashes, {expected} are needed for this index and size")]
    PathLength {
        /// hashes needed
        expected: usize,
        /// hashes found
        found: usize,
    },
    /// The leaf is of another kind.
    #[error("the leaf is signed as {found:?}, expected {expected:?}")]
    Kind {
        /// what it should be
        expected: LeafKind,
        /// what it is
        found: LeafKind,
    },
    /// The leaf is for somebody else.
    #[error("the leaf is signed for another audience")]
    Audience,
    /// The leaf covers another message.
    #[error("the leaf covers another message")]
    Digest,
    /// Signed by another key.
    #[error("the root is signed by key {found}, expected {expected}")]
    KeyId {
        /// the key that should have signed
        expected: gw_proto::KeyId,
        /// the key that the root names
        found: gw_proto::KeyId,
    },
    /// The path does not lead to the root.
    #[error("leaf and path do not lead to the signed root")]
    Root,
    /// The signature does not hold.
    #[error("the root's signature does not verify")]
    Signature,
    /// No canonical form.
    #[error("the signed root has no canonical form")]
    Canon,
    /// The trust file is too large.
    #[error("trust file of {found} bytes, at most {limit} are read")]
    TrustSize {
        /// bytes found
        found: usize,
        /// bytes read at most
        limit: usize,
    },
    /// The trust file is not JSON of the expected shape.
    #[error("not a trust file ({detail}); it holds `genesis` and `roots`, as given at enrolment")]
    TrustForm {
        /// what the parser says
        detail: String,
    },
    /// The trust file names no root certificate.
    #[error("the trust file names no root certificate; 1 to 16 are needed, found {found}")]
    TrustRoots {
        /// roots found
        found: usize,
    },
}
