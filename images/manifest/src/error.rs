//! What can be wrong with a build's files.

use gw_attest::AttestError;

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not a PE/COFF program that firmware would start.
    #[error("{what} is no PE32+ program as firmware measures it: {detail}")]
    Program {
        /// which file
        what: String,
        /// what does not fit
        detail: &'static str,
    },
    /// A certificate that does not fit into a signature list.
    #[error("{what} is no certificate in DER, or larger than a signature list takes")]
    Certificate {
        /// whose
        what: String,
    },
    /// A signature that does not verify.
    #[error("signature {number} does not verify under its key; sign what `image-manifest input` prints")]
    Signature {
        /// counted from 1
        number: usize,
    },
    /// A log, or the manifest itself.
    #[error(transparent)]
    Attest(#[from] AttestError),
}
